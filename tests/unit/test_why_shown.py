"""What a person says to `kappa why`, and what it prints."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import Product
from replay.cli import why as run_why
from replay.compare.diff import Side
from replay.errors import ConfigError, RefusedError
from replay.output import RowsOutput
from replay.settings import Settings
from replay.why import rows, span
from replay.why.records import Became, Candidate, Evidence, Place
from replay.why.why import Explanation, Subject
from tests.unit import folders
from tests.unit.why_records import at, candidate

# What a person says


def test_values_are_read_by_the_types_of_the_columns(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    assert rows.wanted(product, "sums", ["day=2024-01-01", "n=3"]) == {
        "day": date(2024, 1, 1),
        "n": 3,
    }
    assert rows.wanted(product, "rows", ["a=NULL", "b=x=y"]) == {"a": None, "b": "x=y"}


@pytest.mark.parametrize(
    ("table", "said", "expected"),
    [
        pytest.param("sumz", [], "sums", id="no such table"),
        pytest.param("sums", ["dy=2024-01-01"], "day", id="no such column"),
        pytest.param("sums", ["day"], "COLUMN=VALUE", id="no value"),
        pytest.param("sums", ["day=monday"], "DATE", id="no day"),
        pytest.param("sums", ["n=many"], "a number", id="no number"),
    ],
)
def test_what_names_no_row_is_refused_with_what_would(
    tmp_path: Path, table: str, said: list[str], expected: str
) -> None:
    with pytest.raises(ConfigError) as e:
        rows.wanted(folders.write(tmp_path), table, said)
    assert expected in e.value.expected


def test_several_rows_are_answered_with_a_command_for_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = Side("r1-a1", folders.write(tmp_path), {}, {})
    found = [{"a": 1, "b": "it's", "log_partition": 0, "log_offset": n} for n in (4, 5)]
    monkeypatch.setattr(rows, "find", lambda *_: found)
    with pytest.raises(RefusedError) as e:
        rows.one(Settings.__new__(Settings), side, "rows", {"a": 1})
    assert str(e.value).splitlines() == [
        "tiny.rows has more than one row with a=1",
        "  expected: the values of one row that readers see, such as those of its key: log_partition, log_offset",
        "  found:    rows with log_partition=0 log_offset=4; log_partition=0 log_offset=5",
        "  next:     kappa why tiny.rows log_partition=0 log_offset=4",
    ]


def test_a_text_that_would_mean_another_value_is_asked_for_in_quotes(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    for text in ("NULL", "'x'", "'NULL'", "it's", "'"):
        said = rows.typable(text, "UTC")
        assert rows.wanted(product, "rows", [f"b={said}"]) == {"b": text}
    assert rows.typable(None, "UTC") == "NULL"


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        pytest.param(
            "rows",
            {"a": 1},
            "kappa why tiny.rows log_partition=0 log_offset=4 --release r1 --release r2",
            id="of two releases",
        ),
        pytest.param(
            "sums",
            {"n": 1},
            "kappa why tiny.sums day=2024-01-01 n=1 --release r1 --release r2",
            id="of a table without a key",
        ),
        pytest.param(
            "sums",
            {"n": 1, "day": date(2024, 1, 1)},
            'kappa query tiny "SELECT * FROM sums LIMIT 5"',
            id="where nothing tells them apart",
        ),
    ],
)
def test_the_next_command_names_another_row(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    key: dict[str, Any],
    expected: str,
) -> None:
    row = {"a": 1, "b": "x", "log_partition": 0, "log_offset": 4, "day": date(2024, 1, 1), "n": 1}
    monkeypatch.setattr(rows, "find", lambda *_: [row, row])
    side = Side("r1-a1", folders.write(tmp_path), {}, {})
    with pytest.raises(RefusedError) as e:
        rows.one(Settings.__new__(Settings), side, table, key, ("r1", "r2"))
    assert e.value.next == expected


def test_a_column_that_only_one_release_has_differs(tmp_path: Path) -> None:
    output = folders.write(tmp_path).outputs["sums"]
    row = {"day": date(2024, 1, 1), "n": 1}
    assert rows.differing(output, row, {"day": date(2024, 1, 1)}) == ("n",)
    assert rows.differing(output, row, {**row, "cents": 5}) == ()


# What a person sees


def explained(
    product: Product, name: str, counted: int, again: dict[str, Any] | None
) -> Explanation:
    """A day of six records: so many count, one is a copy, one is late, one is text, the others are filtered."""
    evidence = [
        *(Evidence(candidate(n), Became.counted) for n in range(counted)),
        *(Evidence(candidate(n), Became.filtered) for n in range(counted, 3)),
        Evidence(candidate(3), Became.repeated, "of orders-0 @ 0"),
        Evidence(candidate(4), Became.rejected, f"late: at 2024 {'is more than 1h ' * 9}"),
        Evidence(
            Candidate(Place("orders", 0, 5), at(9), None),
            Became.undecodable,
            "undecodable: magic byte is 0x70, not 0x00",
        ),
    ]
    side = Side(name, product, {}, {})
    day = {"day": date(2024, 1, 1), "n": counted}
    return Explanation(
        Subject(side, 7, "sums", {"day": date(2024, 1, 1)}, {}),
        day,
        span.Span(datetime(2024, 1, 1), datetime(2024, 1, 2), "UTC"),
        {"orders": 6},
        tuple(evidence),
        again,
        again,
        {"orders": ("id", "shop")},
    )


def printed(
    capsys: pytest.CaptureFixture[str], found: list[Explanation], form: RowsOutput = RowsOutput.text
) -> str:
    run_why.show_all(found, 10, form)
    return capsys.readouterr().out


def test_a_row_its_records_and_the_verdict_fit_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    text = printed(
        capsys, [explained(product, "r1-a1", 2, {"day": date(2024, 1, 1), "n": 2})]
    ).splitlines()
    assert max(map(len, text)) <= 80
    assert text[:5] == [
        "tiny.sums, r1-a1, checkpoint 7",
        "  day  2024-01-01",
        "  n    2",
        "events of 2024-01-01 00:00:00 to 2024-01-02 00:00:00 (UTC)",
        "run over 6 of orders",
    ]
    assert text[-2:] == [
        "counted 2, repeated 1, filtered 1, rejected 1, undecodable 1",
        "adds up: the SQL of r1-a1 over these 2 records gives the row",
    ]


def test_a_row_that_does_not_add_up_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 1})
    text = printed(capsys, [found])
    assert "  n    2    (the records that count give 1)" in text
    assert "does not add up: in n" in text
    [release] = json.loads(printed(capsys, [found], RowsOutput.json))["releases"]
    assert (release["adds_up"], release["differing"]) == (False, ["n"])
    assert [r["offset"] for r in release["records"] if r["became"] == "counted"] == [0, 1]


def test_records_of_which_it_is_not_told_prove_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    told = [explained(product, f"r{n}-a1", 2, {"day": date(2024, 1, 1), "n": 2}) for n in (1, 2)]
    may = (Evidence(candidate(n), Became.not_told) for n in (20, 21, 22))
    untold = replace(told[0], evidence=(*told[0].evidence, *may))
    text = printed(capsys, [untold]).splitlines()
    assert text[-2:] == [
        "the SQL of r1-a1 gives the row over 2 that count and 3 that may",
        "of some it is not told whether they count: there are too many to try each",
    ]
    data = json.loads(printed(capsys, [untold, told[1]], RowsOutput.json))
    assert [release["adds_up"] for release in data["releases"]] == [None, True]
    counted = (Evidence(candidate(20), Became.counted), *told[1].evidence)
    found = [untold, replace(told[1], evidence=counted)]
    assert json.loads(printed(capsys, found, RowsOutput.json))["only_in_one"] == []
    assert "the same records count in r1-a1 and r2-a1, as far as it is told" in printed(
        capsys, found
    )


def test_a_release_that_is_behind_is_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    first, second = (explained(product, f"r{n}-a1", 2, None) for n in (1, 2))
    behind = replace(
        second, row=None, whole=None, evidence=(), read={}, behind="it has come to orders-0 @ 17"
    )
    text = printed(capsys, [first, behind]).splitlines()
    assert text[-3:] == [
        "r2-a1 may still have it: it has come to orders-0 @ 17",
        "",
        "r1-a1 and r2-a1 are not compared",
    ]
    data = json.loads(printed(capsys, [first, behind], RowsOutput.json))
    assert data["only_in_one"] is None
    assert (data["releases"][1]["adds_up"], data["releases"][1]["behind"]) == (None, behind.behind)


def test_a_row_that_depends_on_earlier_records_is_not_said_to_be_of_another_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 1})
    assert "kappa audit tiny" in printed(capsys, [found])
    text = printed(capsys, [replace(found, looks_back=True)])
    assert "kappa audit" not in text
    assert "takes other records into account" in text


def test_a_row_that_the_sql_gives_and_the_table_lacks_does_not_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(folders.write(tmp_path), "r1-a1", 2, {"day": date(2024, 1, 1), "n": 2})
    text = printed(capsys, [replace(found, row=None)])
    assert "  no such row\n" in text
    assert "does not add up: the SQL of r1-a1 gives such a row\n" in text
    assert "the table has none" in text and "not even all" not in text
    none = replace(found, row=None, again=None, whole=None)
    assert "adds up: the SQL of r1-a1 gives no such row over these records" in printed(
        capsys, [none]
    )


def test_a_release_that_does_not_reject_a_record_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    row = {c.name: None for c in product.outputs["rejects"].columns}
    found = explained(product, "r1-a1", 1, row)
    rejected = replace(found, subject=replace(found.subject, table="rejects"), row=row)
    accepted = replace(rejected, row=None, again=None, whole=None)
    for one, expected in (
        (rejected, "adds up: the SQL of r1-a1 rejects this record, with this reason"),
        (accepted, "adds up: the SQL of r1-a1 does not reject this record"),
    ):
        assert expected in printed(capsys, [one]).splitlines()


def test_two_releases_show_what_counts_in_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = folders.write(tmp_path)
    found = [explained(product, f"r{n}-a1", n, {"day": date(2024, 1, 1), "n": n}) for n in (1, 2)]
    data = json.loads(printed(capsys, found, RowsOutput.json))
    assert [(r["offset"], r["became"]) for r in data["only_in_one"]] == [
        (1, {"r1-a1": "filtered", "r2-a1": "counted"})
    ]
    text = printed(capsys, found)
    assert "records that count in only one" in text
    assert max(map(len, text.splitlines())) <= 80
    rows_of_csv = printed(capsys, found, RowsOutput.csv).splitlines()
    assert len(rows_of_csv) == 1 + 2 * 6
