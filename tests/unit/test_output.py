"""What commands print is what the data says, whatever is in it and wherever it goes."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from rich.console import Console, Group
from rich.text import Text

from replay import output
from replay.output import Output, RowsOutput, View, print_rows, rows_table, show, waiting

ODD = ["[red]alarm[/red]", "[/nope]", ":smile:", "[a]", "[link=x]"]


def shown(
    capsys: pytest.CaptureFixture[str], rows: list[dict[str, object]], **how: str
) -> list[str]:
    """The cells of a table that was printed, row by row."""
    print_rows(rows, Output.text, **how)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [cell.strip() for line in lines for cell in line.strip("│").split("│")]


@pytest.mark.parametrize("value", ODD)
def test_a_value_is_no_markup(capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert shown(capsys, [{"a": value, "b": [value]}]) == [value, f"[{value}]"]
    print_rows([{value: 1}], Output.text, title=value)
    assert capsys.readouterr().out.count(value) == 2


def test_nothing_is_cut_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row: dict[str, object] = {f"a_column_with_a_long_name_{i}": "x" * 40 for i in range(9)}
    assert shown(capsys, [row]) == ["x" * 40] * 9
    print_rows([row], Output.text)
    head = capsys.readouterr().out.splitlines()[1]
    assert [name for name in row if name not in head] == []


def test_what_is_null_differs_from_an_empty_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, [{"a": "", "b": None, "c": 1}], null="NULL") == ["", "NULL", "1"]
    assert shown(capsys, [{"a": "", "b": None}]) == ["", ""]


def test_a_view_is_one_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show(View({"a": [1, "ü"]}, "for people"), Output.json)
    printed = capsys.readouterr().out
    assert (printed.count("\n"), json.loads(printed)) == (1, {"a": [1, "ü"]})


def test_a_view_is_lines_and_tables_one_below_the_other_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(View({}, ["first [a]", rows_table([{"n": 1_000}]), Text("last")]), Output.text)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("first [a]", "last")
    assert "│ 1,000 │" in lines


def test_a_view_of_nothing_prints_nothing_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show(View({"changed": False}, []), Output.text)
    assert capsys.readouterr().out == ""


def test_lines_are_whole_and_what_is_laid_out_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replay.output.out._width", 40)
    long = " ".join(["word"] * 20)
    show(View({}, [long, Group(Text(long))]), Output.text)
    whole, *folded = capsys.readouterr().out.splitlines()
    assert whole == long
    assert len(folded) > 1
    assert max(map(len, folded)) <= 40


VALUES: list[dict[str, object]] = [
    {
        "id": 1,
        "amount": Decimal("12345678901234567890.10"),
        "ratio": float("nan"),
        "raw": b"\x00\xff",
        "note": 'said "no", twice',
        "at": dt.datetime(2024, 6, 3, 9, 5, tzinfo=dt.UTC),
        "tags": ["a", float("inf")],
        "ok": True,
    },
    {
        "id": 2,
        "amount": None,
        "ratio": 0.5,
        "raw": b"",
        "note": "",
        "at": None,
        "tags": [],
        "ok": False,
    },
]


def test_json_is_what_any_parser_of_json_takes(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    print_rows(VALUES, RowsOutput.json)
    first, second = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert first == {
        "id": 1,
        "amount": "12345678901234567890.10",
        "ratio": None,
        "raw": "AP8=",
        "note": 'said "no", twice',
        "at": "2024-06-03 09:05:00+00:00",
        "tags": ["a", None],
        "ok": True,
    }
    assert (second["raw"], second["note"], second["at"]) == ("", "", None)
    show(View({"rate": float("nan"), "of": [float("inf")]}, ""), Output.json)
    assert json.loads(capsys.readouterr().out, parse_constant=refuse) == {
        "rate": None,
        "of": [None],
    }


def test_csv_is_read_back_and_null_is_no_empty_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(VALUES, RowsOutput.csv)
    printed = capsys.readouterr().out
    assert printed.splitlines()[2] == '2,,0.5,"","",,[],false'
    first, second = csv.DictReader(io.StringIO(printed, newline=""))
    assert first == {
        "id": "1",
        "amount": "12345678901234567890.10",
        "ratio": "nan",
        "raw": "AP8=",
        "note": 'said "no", twice',
        "at": "2024-06-03 09:05:00+00:00",
        "tags": '["a", null]',
        "ok": "true",
    }
    assert second["note"] == ""


def test_csv_as_another_engine_reads_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_rows([{"a": "x", "b": None}, {"a": " \r\n,", "b": ""}], RowsOutput.csv)
    file = tmp_path / "rows.csv"
    file.write_text(capsys.readouterr().out, newline="")
    read = duckdb.sql(
        f"SELECT * FROM read_csv('{file}', allow_quoted_nulls=false, all_varchar=true)"
    )
    assert read.fetchall() == [("x", None), (" \r\n,", "")]


def test_no_row_is_a_line_of_names_in_csv(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], RowsOutput.csv, columns=["a", "b"])
    assert capsys.readouterr().out == "a,b\r\n"


def test_vertical_has_a_line_for_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(
        [{"a": 1, "long": "x\ny"}, {"a": None, "long": ""}], RowsOutput.vertical, null="NULL"
    )
    assert [line.rstrip("─") for line in capsys.readouterr().out.splitlines()] == [
        "─ 1 ",
        "a     1",
        "long  x",
        "      y",
        "─ 2 ",
        "a     NULL",
        "long",
    ]


@pytest.mark.parametrize(
    ("columns", "form", "is_table"),
    [
        (2, RowsOutput.text, True),
        (12, RowsOutput.text, False),
        (12, RowsOutput.table, True),
        (2, RowsOutput.vertical, False),
    ],
)
def test_rows_that_are_wider_than_the_terminal_are_vertical_unless_a_table_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, columns: int, form: RowsOutput, *, is_table: bool
) -> None:
    file = io.StringIO()
    screen = Console(file=file, width=80, force_terminal=True, color_system=None, soft_wrap=True)
    monkeypatch.setattr(output, "out", screen)
    print_rows([{f"column_{n}": "x" * 8 for n in range(columns)}], form)
    shown = file.getvalue()
    assert ("┃" in shown) is is_table
    if not is_table:
        assert (
            shown.splitlines()[1].rstrip() == f"{'column_0':<{8 if columns < 11 else 9}}  xxxxxxxx"
        )


def test_half_of_a_surrogate_pair_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": "\ud83d", "b": "ü😀"})
    said = capsys.readouterr().out
    assert said == '{"a": "\\ud83d", "b": "ü😀"}\n'
    assert json.loads(said) == {"a": "\ud83d", "b": "ü😀"}


class Timer:
    """One whose time has come at once, or not before it is cancelled."""

    is_over = True

    def __init__(self, seconds: float, work: Callable[[], None]) -> None:
        self._work = work
        self.daemon = False

    def start(self) -> None:
        if self.is_over:
            self._work()

    def cancel(self) -> None:
        """Nothing is left to cancel."""

    join = cancel


class Screen(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("tty", "environment", "is_over", "is_shown"),
    [
        (True, {"TERM": "xterm"}, True, True),
        (True, {"TERM": "xterm"}, False, False),
        (True, {"TERM": "dumb"}, True, False),
        (False, {"TERM": "xterm"}, True, False),
        (False, {"FORCE_COLOR": "1"}, True, False),
    ],
    ids=["long", "short", "dumb", "piped", "piped in colour"],
)
def test_a_terminal_does_not_stand_still(
    monkeypatch: pytest.MonkeyPatch,
    tty: bool,
    environment: dict[str, str],
    is_over: bool,
    is_shown: bool,
) -> None:
    """And nothing is redrawn elsewhere."""
    monkeypatch.setattr(Timer, "is_over", is_over)
    monkeypatch.setattr("replay.output.threading.Timer", Timer)
    screen = Screen(tty)
    console = Console(file=screen, width=80, _environ=environment)
    with waiting("asking Flink", console):
        assert not screen.getvalue().endswith("\x1b[?25l"), "the cursor is hidden"
    assert ("asking Flink" in screen.getvalue()) == is_shown
    assert bool(screen.getvalue()) == is_shown
