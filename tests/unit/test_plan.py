"""A changed folder against what readers see: nothing, metadata, a replay, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.product.column_types import Row, parse, stored
from replay.releases import computation
from replay.releases.computation import parts
from replay.releases.plan import Version, compare
from replay.releases.reason import Kind, Reason
from tests.unit.folders import COLUMNS, CONTRACT, SCHEMA, SETTINGS, SQL, changed, write

CODE = {"jobs/bindings.py": b"1\n", "udfs/x.py": b"2\n"}
NOTHING, METADATA, REPLAY, BREAKING = Kind
LAYOUT = "nothing that counts: comments, order, layout, names of views, defaults"
NEW_ROWS = "write the new rows to a new output rows_2 (product.yaml, rows_2.sql)"


def version(
    folder: Path,
    code: dict[str, bytes] = CODE,
    reference: dict[str, dict[int, int]] | None = None,
    extra: dict[str, str] | None = None,
    **changes: Any,
) -> Version:
    for path, text in (extra or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    product = write(folder, **changes)
    files = {p.as_posix(): (folder / p).read_bytes() for p in product.files}
    return Version(
        product,
        {**files, **{p: c for p, c in code.items() if p.startswith("udfs/")}},
        parts(product, code),
        reference or {},
    )


def row(fields: str) -> Row:
    found = stored(parse(f"ROW<{fields}>"))
    assert isinstance(found, Row)
    return found


def described(index: int, **fields: Any) -> dict[str, Any]:
    return {
        "contract": changed(CONTRACT, lambda c: c["schema"][0]["properties"][index].update(fields))
    }


def typed(**types: str) -> dict[str, Any]:
    """Columns of `rows`, with other types or more of them."""
    return {"columns": {**COLUMNS, "rows": tuple({**dict(COLUMNS["rows"]), **types}.items())}}


def output(**fields: Any) -> dict[str, Any]:
    return {"settings": changed(SETTINGS, lambda s: s["outputs"]["rows"].update(fields))}


MORE_COLUMNS = typed(c="DATE")
FEWER_COLUMNS = {"columns": {**COLUMNS, "rows": tuple(c for c in COLUMNS["rows"] if c[0] != "b")}}
ONE_OUTPUT = {"settings": changed(SETTINGS, lambda s: s["outputs"].pop("sums"))}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, (), id="nothing"),
        pytest.param(
            {"extra": {"checks/b.sql": "SELECT 1"}},
            (Reason(METADATA, "checks/b.sql", "new, and decides no row"),),
            id="a check",
        ),
        pytest.param(
            {"extra": {"README.md": "words"}},
            (Reason(METADATA, "README.md", "new, and decides no row"),),
            id="README",
        ),
        pytest.param(
            {"sql": SQL.replace("of the shop", "of shops")},
            (Reason(METADATA, "rows.sql", LAYOUT),),
            id="a comment",
        ),
        pytest.param(
            {"schema": {**SCHEMA, "doc": "an order"}},
            (Reason(METADATA, "schemas/orders.avsc", LAYOUT),),
            id="doc",
        ),
        pytest.param(
            {"settings": {**SETTINGS, "switch": "auto", "lag_limit": {"records": 1}}},
            (
                Reason(METADATA, "product.yaml: lag_limit.records", "10000 → 1"),
                Reason(METADATA, "product.yaml: switch", "manual → auto"),
            ),
            id="policies",
        ),
        pytest.param(
            {"settings": {**SETTINGS, "parallelism": 4}},
            (Reason(METADATA, "product.yaml: parallelism", "2 → 4"),),
            id="parallelism",
        ),
        pytest.param(
            {"contract": {**CONTRACT, "team": {"name": "us"}}},
            (Reason(METADATA, "contract.yaml: team", "changed"),),
            id="owner",
        ),
        pytest.param(
            described(0, required=True, quality=[{"metric": "nullValues", "mustBe": 0}]),
            (Reason(METADATA, "contract.yaml: rows.a", "quality, required changed"),),
            id="quality",
        ),
        pytest.param(
            output(key=["a"]),
            (Reason(METADATA, "product.yaml", LAYOUT),),
            id="the key it had by default",
        ),
        pytest.param(
            {"settings": changed(SETTINGS, lambda s: s["outputs"]["sums"].update(key=["n"]))},
            (Reason(METADATA, "table sums", "a key: n"),),
            id="a key where none was",
        ),
        pytest.param(
            {"sql": SQL.replace("a, 'x", "a + 1, 'x")},
            (Reason(REPLAY, "rows.sql", "changed"),),
            id="SQL",
        ),
        pytest.param(
            {"schema": changed(SCHEMA, lambda s: s["fields"][0].update(type="long"))},
            (Reason(REPLAY, "schemas/orders.avsc", "changed"),),
            id="a topic's schema",
        ),
        pytest.param(
            {"code": {**CODE, "udfs/x.py": b"3\n"}},
            (Reason(REPLAY, "udfs/x.py", "changed"),),
            id="a function",
        ),
        pytest.param(
            {"code": {**CODE, "jobs/new.py": b""}},
            (Reason(REPLAY, "jobs/new.py", "new"),),
            id="the job",
        ),
        pytest.param(
            {
                "settings": changed(
                    SETTINGS, lambda s: s["topics"]["orders"].update(allowed_lateness="2h")
                )
            },
            (Reason(REPLAY, "product.yaml: topics.orders.allowed_lateness", "1h → 2h"),),
            id="lateness",
        ),
        pytest.param(
            {"settings": {**SETTINGS, "outputs": dict(reversed(SETTINGS["outputs"].items()))}},
            (Reason(METADATA, "product.yaml", LAYOUT),),
            id="order of outputs",
        ),
        pytest.param(
            {"settings": {**SETTINGS, "outputs": ["rows", "sums"]}},
            (Reason(METADATA, "product.yaml", LAYOUT),),
            id="outputs as a list",
        ),
        pytest.param(
            output(where="a > 0"),
            (Reason(REPLAY, "product.yaml: outputs.rows.where", "none → a > 0"),),
            id="where",
        ),
        pytest.param(
            {"extra": {"views.sql": "CREATE VIEW v AS SELECT a FROM orders"}},
            (Reason(REPLAY, "views.sql", "new"),),
            id="views",
        ),
        pytest.param(
            {
                "settings": changed(
                    SETTINGS, lambda s: s["topics"]["orders"].update(columns={"c": "a + 1"})
                )
            },
            (Reason(REPLAY, "product.yaml: topics.orders.columns.c", "none → a + 1"),),
            id="a computed column",
        ),
        pytest.param(
            {"reference": {"colours": {0: 7, 1: 1}}},
            (
                Reason(
                    REPLAY,
                    "topic colours",
                    "new reference data: 5 → 8 records; a release reads what is there "
                    "when it is built",
                ),
            ),
            id="reference data",
        ),
        pytest.param(
            MORE_COLUMNS,
            (Reason(REPLAY, "column rows.c", "new, DATE: added to the table before the replay"),),
            id="expand",
        ),
        pytest.param(
            typed(a="BIGINT"),
            (
                Reason(
                    REPLAY, "column rows.a", "INT → BIGINT: widened in the table before the replay"
                ),
            ),
            id="widen",
        ),
        pytest.param(
            typed(b="VARCHAR(9)"),
            (Reason(REPLAY, "column rows.b", "STRING → VARCHAR(9): the same type in the table"),),
            id="the same in the table",
        ),
        pytest.param(
            FEWER_COLUMNS,
            (
                Reason(
                    REPLAY,
                    "column rows.b",
                    "removed: it stays in the table until the last "
                    "release that writes it is retired",
                ),
            ),
            id="contract",
        ),
        pytest.param(
            typed(a="STRING"),
            (
                Reason(
                    BREAKING,
                    "column rows.a",
                    "INT → STRING: its readers could not go on",
                    f"leave rows.a as it was, and {NEW_ROWS}",
                ),
            ),
            id="another type",
        ),
        pytest.param(
            output(kind="aggregate", key=["a"]),
            (
                Reason(
                    BREAKING,
                    "table rows",
                    "of another kind: rows of orders → aggregate",
                    f"leave rows as it was, and {NEW_ROWS}",
                ),
            ),
            id="another kind",
        ),
        pytest.param(
            output(key=["a", "b"]),
            (
                Reason(
                    BREAKING,
                    "table rows",
                    "another key: a → a, b",
                    f"leave rows as it was, and {NEW_ROWS}",
                ),
            ),
            id="another key",
        ),
    ],
)
def test_classification(
    tmp_path: Path, change: dict[str, Any], expected: tuple[Reason, ...]
) -> None:
    old = version(tmp_path / "old", reference={"colours": {0: 5}})
    new = version(tmp_path / "new", **{"reference": {"colours": {0: 5}}, **change})
    found = compare(old, new)
    assert found.reasons == expected
    assert found.kind == (expected[0].kind if expected else NOTHING)


def test_a_first_release(tmp_path: Path) -> None:
    found = compare(None, version(tmp_path))
    assert found.reasons == (
        Reason(REPLAY, "tiny", "nothing is published yet: this is the first release"),
    )


def test_a_removed_output_is_refused_and_a_new_one_is_not(tmp_path: Path) -> None:
    both, one = version(tmp_path / "both"), version(tmp_path / "one", **ONE_OUTPUT)
    found = compare(both, one)
    assert found.kind is BREAKING
    assert found.reasons[0] == Reason(
        BREAKING,
        "table sums",
        "removed, and its readers would see it stand still for ever",
        "keep sums; or write the others as a product of another name",
    )
    assert compare(one, both).kind is REPLAY
    assert compare(one, both).reasons == (
        Reason(REPLAY, "table sums", "new, made before the replay"),
        Reason(REPLAY, "sums.sql", "new"),
    )


def test_the_new_output_has_a_name_that_is_free(tmp_path: Path) -> None:
    two = changed(SETTINGS, lambda s: s["outputs"].update(rows_2={}))
    columns = typed(a="STRING")["columns"]
    new = version(tmp_path / "new", settings=two, columns={**columns, "rows_2": columns["rows"]})
    assert "rows_3.sql" in compare(version(tmp_path / "old"), new).reasons[0].instead


@pytest.mark.parametrize(
    ("tables", "change", "expected"),
    [
        pytest.param("a INT", MORE_COLUMNS, "", id="as readers see it"),
        pytest.param(
            "c STRING", MORE_COLUMNS, "column rows.c", id="a column of an aborted release"
        ),
        pytest.param("a BIGINT", MORE_COLUMNS, "", id="widened by an aborted release"),
        pytest.param("a BIGINT", typed(a="BIGINT"), "", id="widened the same way"),
        pytest.param("c STRING", {}, "", id="nothing is replayed"),
    ],
)
def test_what_another_release_left_in_the_table(
    tmp_path: Path, tables: str, change: dict[str, Any], expected: str
) -> None:
    found = compare(
        version(tmp_path / "old"), version(tmp_path / "new", **change), {"rows": row(tables)}
    )
    assert (found.reasons[0].where if found.kind is BREAKING else "") == expected


def test_fields_inside_of_a_column(tmp_path: Path) -> None:
    """Readers go on where fields come and go or get wider, and not where one becomes narrower or something else."""
    old, new = (
        version(tmp_path / name, **typed(b=type_))
        for name, type_ in (
            ("old", "ROW<X INT, Y ARRAY<ROW<Z INT, GONE DATE>>, M MAP<STRING, BIGINT>>"),
            ("new", "ROW<X STRING, Y ARRAY<ROW<Z BIGINT, MORE DATE>>, M MAP<STRING, INT>>"),
        )
    )
    assert compare(old, new).reasons == (
        Reason(
            BREAKING,
            "column rows.b.X",
            "INT → STRING: its readers could not go on",
            f"leave rows.b as it was, and {NEW_ROWS}",
        ),
        Reason(
            BREAKING,
            "column rows.b.M.value",
            "BIGINT → INT: its readers could not go on",
            f"leave rows.b as it was, and {NEW_ROWS}",
        ),
        Reason(
            REPLAY, "column rows.b.Y[].Z", "INT → BIGINT: widened in the table before the replay"
        ),
        Reason(
            REPLAY,
            "column rows.b.Y[].GONE",
            "removed: it stays in the table until the last release that writes it is retired",
        ),
        Reason(REPLAY, "column rows.b.Y[].MORE", "new, DATE: added to the table before the replay"),
    )


def test_another_layout_asks_for_a_replay(tmp_path: Path) -> None:
    new = version(tmp_path / "new", **output(partition=["b", "bucket(4, a)"], sort=["a desc"]))
    keep = "set before the replay; jobs that run, and files that are there, keep theirs"
    assert compare(version(tmp_path / "old"), new).reasons == (
        Reason(REPLAY, "table rows", f"partition: none → b, bucket(4, a), {keep}"),
        Reason(REPLAY, "table rows", f"sort: none → a desc, {keep}"),
    )
    assert computation.fingerprint(new.parts) != computation.fingerprint(
        version(tmp_path / "old").parts
    )


def test_the_diff_is_one_that_patch_understands(tmp_path: Path) -> None:
    old = version(tmp_path / "old", extra={"checks/gone.sql": "SELECT 1\n"})
    new = version(
        tmp_path / "new",
        sql=SQL.replace("SELECT a", "SELECT a + 1"),
        extra={"checks/new.sql": "SELECT 2\n"},
        code={**CODE, "udfs/x.py": b"\xff"},
    )
    assert compare(old, new).diff.splitlines() == [
        "--- a/checks/gone.sql",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-SELECT 1",
        "--- /dev/null",
        "+++ b/checks/new.sql",
        "@@ -0,0 +1 @@",
        "+SELECT 2",
        "--- a/rows.sql",
        "+++ b/rows.sql",
        "@@ -1 +1 @@",
        "-SELECT a, 'x -- y' AS b FROM orders -- of the shop",
        "+SELECT a + 1, 'x -- y' AS b FROM orders -- of the shop",
        "binary file udfs/x.py differs",
    ]
