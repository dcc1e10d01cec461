"""What of a product decides its rows: the rest may change without a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import Product, load_product, load_release
from replay.releases import computation
from replay.releases.computation import fingerprint, parts
from replay.releases.release import archived_parts, build, code, computation_parts
from tests.unit.folders import CONTRACT, SCHEMA, SETTINGS, SQL, changed, write
from tests.unit.lake_tables import make_settings

CODE = {"jobs/bindings.py": b"1", "udfs/x.py": b"2"}


def of(product: Product, code: dict[str, bytes] = CODE) -> str:
    return fingerprint(parts(product, code))


def topic(**rules: Any) -> dict[str, Any]:
    return {"settings": changed(SETTINGS, lambda s: s["topics"]["orders"].update(rules))}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"settings": {**SETTINGS, "description": "words"}}, id="description"),
        pytest.param({"settings": {**SETTINGS, "parallelism": 4}}, id="parallelism"),
        pytest.param(
            {"settings": {**SETTINGS, "checkpoint_interval": "1s"}}, id="checkpoint_interval"
        ),
        pytest.param(
            {"settings": {**SETTINGS, "backlog_checkpoint_interval": "1min", "max_drift": "7d"}},
            id="backlog",
        ),
        pytest.param({"settings": {**SETTINGS, "lag_limit": {"records": 1}}}, id="lag_limit"),
        pytest.param(
            {"settings": {**SETTINGS, "switch": "auto", "deadline": "2h", "standbys": 3}},
            id="policies",
        ),
        pytest.param({"settings": {**SETTINGS, "warnings": ["checks/x.sql"]}}, id="warnings"),
        pytest.param(
            {
                "settings": changed(
                    SETTINGS,
                    lambda s: s["outputs"]["sums"].update(window={"column": "day", "size": "1d"}),
                )
            },
            id="the window that a comparison uses",
        ),
        pytest.param({"contract": {**CONTRACT, "team": {"name": "us"}}}, id="owner"),
        pytest.param(
            {
                "contract": changed(
                    CONTRACT, lambda c: c["schema"][0].update(quality=[{"metric": "rowCount"}])
                )
            },
            id="quality",
        ),
        pytest.param(
            {
                "contract": changed(
                    CONTRACT,
                    lambda c: c["schema"][0]["properties"][0].update(
                        description="number", required=True, classification="restricted"
                    ),
                )
            },
            id="a column's description",
        ),
        pytest.param({"contract": {}}, id="no contract"),
        pytest.param(
            {
                "settings": changed(
                    SETTINGS,
                    lambda s: s["outputs"]["rows"].update(kind="rows", of="orders", key=["a"]),
                )
            },
            id="what follows from the SQL, said",
        ),
        pytest.param(
            {"settings": {**SETTINGS, "outputs": ["rows", "sums"]}}, id="outputs as a list"
        ),
        pytest.param(
            {"settings": {**SETTINGS, "outputs": dict(reversed(SETTINGS["outputs"].items()))}},
            id="order of outputs",
        ),
        pytest.param({"schema": {**SCHEMA, "doc": "an order"}}, id="doc of a schema"),
        pytest.param(
            {"sql": "-- rows\n" + SQL.replace("SELECT", "\n  SELECT").replace("of the shop", "")},
            id="comments",
        ),
    ],
)
def test_what_decides_no_row(tmp_path: Path, change: dict[str, Any]) -> None:
    assert of(write(tmp_path / "a")) == of(write(tmp_path / "b", **change))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"sql": SQL.replace("a, 'x", "a + 1, 'x")}, id="sql"),
        pytest.param({"sql": SQL.replace("x -- y", "x -- z")}, id="text that looks like a comment"),
        pytest.param(
            {"sql": SQL.replace("FROM orders", "FROM orders /*+ OPTIONS('a'='b') */")}, id="a hint"
        ),
        pytest.param({"settings": {**SETTINGS, "time_zone": "Europe/Berlin"}}, id="time_zone"),
        pytest.param(
            {"settings": {**SETTINGS, "flink": {"state.backend.type": "rocksdb"}}}, id="flink"
        ),
        pytest.param(topic(allowed_lateness="2h"), id="lateness"),
        pytest.param(
            {
                "settings": changed(
                    SETTINGS, lambda s: s["functions"]["f"].update(python="udfs.x:g")
                )
            },
            id="function",
        ),
        pytest.param(topic(topic="shop.orders"), id="name in Kafka"),
        pytest.param(topic(time="log_appended"), id="time"),
        pytest.param(topic(max_ahead="1h"), id="max_ahead"),
        pytest.param(topic(identity=[]), id="identity"),
        pytest.param(topic(once="topic"), id="once"),
        pytest.param(topic(columns={"c": "a + 1"}), id="a computed column"),
        pytest.param(
            {"settings": changed(SETTINGS, lambda s: s["outputs"]["rows"].update(where="a > 0"))},
            id="where",
        ),
        pytest.param(
            {"settings": changed(SETTINGS, lambda s: s["outputs"].pop("sums"))}, id="an output less"
        ),
        pytest.param(
            {"schema": changed(SCHEMA, lambda s: s["fields"][0].update(type="long"))},
            id="schema of a topic",
        ),
    ],
)
def test_what_decides_rows(tmp_path: Path, change: dict[str, Any]) -> None:
    assert of(write(tmp_path / "a")) != of(write(tmp_path / "b", **change))


def test_python_and_views_decide_rows_and_other_files_do_not(tmp_path: Path) -> None:
    product = write(tmp_path)
    assert of(product) != of(product, {**CODE, "udfs/x.py": b"3"})
    assert of(product) == of(product, {**CODE, "README.md": b""})
    before = of(product)
    (tmp_path / "checks" / "x.sql").write_text("SELECT 1")
    (tmp_path / "README.md").write_text("words")
    assert of(load_product(tmp_path)) == before
    (tmp_path / "views.sql").write_text("CREATE VIEW v AS SELECT a FROM orders")
    assert of(load_product(tmp_path)) != before


PLAN = (Path(__file__).parents[1] / "plans" / "flights.json").read_text()


def planned(product: Product, compiled: str = PLAN) -> Product:
    assert product.resolved
    return product.model_copy(
        update={"resolved": product.resolved.model_copy(update={"plan": compiled})}
    )


def renumbered(compiled: str) -> str:
    """The same operators, with other numbers and descriptions."""
    plan = json.loads(compiled)
    for node in plan["nodes"]:
        node["id"] += 1000
        node["description"] = "words"
    for edge in plan["edges"]:
        edge["source"] += 1000
        edge["target"] += 1000
    return json.dumps(plan)


def test_with_a_plan_the_text_of_sql_does_not_count(tmp_path: Path) -> None:
    before, other = (
        write(tmp_path / "a"),
        write(tmp_path / "b", sql=SQL.replace("a, 'x", "a + 0, 'x")),
    )
    assert of(planned(before)) == of(planned(other, renumbered(PLAN)))
    assert of(planned(before)) != of(before)


def test_each_table_has_its_own_part_of_the_plan() -> None:
    before = computation.plans(PLAN)
    after = computation.plans(PLAN.replace("PT1H", "PT2H"))
    assert (
        before.keys()
        == after.keys()
        == {"plan/departures", "plan/hourly_departures", "plan/daily_routes"}
    )
    assert {part for part in before if before[part] != after[part]} == {"plan/hourly_departures"}


def test_words_in_python_do_not_count(tmp_path: Path) -> None:
    product = write(tmp_path)
    code = b"def f(x):\n    return x + 1\n"
    said = b'"""A module."""\n\n# why\ndef f(x):\n    """It adds."""\n    return (x + 1)\n'
    assert of(product, {"udfs/x.py": code}) == of(product, {"udfs/x.py": said})
    assert of(product, {"udfs/x.py": code}) != of(product, {"udfs/x.py": code.replace(b"1", b"2")})


def test_a_byte_of_what_no_job_runs_asks_for_nothing(tmp_path: Path) -> None:
    product = write(tmp_path / "tiny", settings={**SETTINGS, "functions": {}})
    names = code(product).keys()
    assert {"jobs/run.py", "jobs/wiring.py", "jobs/generate.py", "udfs/__init__.py"} <= names
    assert not {"jobs/check.py", "jobs/maintenance.py", "udfs/privacy.py"} & names
    of_the_check = ("jobs/planner/", "jobs/probe/", "jobs/safety/", "jobs/plan/")
    assert not [name for name in names if name.startswith(of_the_check)]
    clocks = {"f": {"python": "udfs.wall_clock:next_wall_clock", "returns": "INT"}}
    with_function = write(tmp_path / "other", settings={**SETTINGS, "functions": clocks})
    assert {n for n in code(with_function) if n.startswith("udfs/")} == {
        "udfs/__init__.py",
        "udfs/wall_clock.py",
    }


def test_a_string_that_other_lexers_think_open_is_compared_as_text(tmp_path: Path) -> None:
    """In Flink's SQL the first string is a backslash; for other lexers it goes on, and '-- z' is a comment."""
    sql = "SELECT '\\' AS a, 'x' || ' -- {} ' AS b FROM orders"
    assert of(write(tmp_path / "a", sql=sql.format("y"))) != of(
        write(tmp_path / "b", sql=sql.format("z"))
    )


def test_an_archived_release_has_the_computation_it_was_built_from(tmp_path: Path) -> None:
    product, settings = write(tmp_path / "tiny"), make_settings(tmp_path / "home")
    built = build(settings, product)
    archived = load_release(built.folder)
    assert archived_parts(built.folder, archived) == computation_parts(settings, product)
    assert (
        built.computation == fingerprint(computation_parts(settings, product)) != built.fingerprint
    )
    assert (
        json.loads((built.folder / "release.json").read_text())["computation"] == built.computation
    )
