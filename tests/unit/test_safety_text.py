"""The replay-safety check without Flink: what it refuses by name, and what it reads in a plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs import safety
from jobs.check import check, product_statements
from jobs.product import load_product
from jobs.safety import Problem, check_plan, check_text, parse_plan

ORDERS = Path(__file__).parents[1] / "products" / "orders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(ORDERS, tmp_path / "orders")


def problems(folder: Path) -> list[Problem]:
    product = load_product(folder)
    return list(check_text(product, product_statements(product)))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_orders_is_safe() -> None:
    assert problems(ORDERS) == []


@pytest.mark.parametrize("word", sorted(safety._WORDS))
@pytest.mark.parametrize("form", ["{}", "{}()", "`{}`()", "/*+ {}('a' = '1 d') */ 1"])
def test_refused_words(folder: Path, word: str, form: str) -> None:
    change(folder / "rejects.sql", "SELECT 'orders',", f"SELECT\n  {form.format(word.lower())},")
    assert problems(folder) == [Problem(str(folder / "rejects.sql"), 3, word, safety._WORDS[word])]


def test_every_source_of_time_and_chance_is_refused() -> None:
    assert set(safety._WORDS) >= {
        "PROCTIME", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_ROW_TIMESTAMP", "LOCALTIME",
        "LOCALTIMESTAMP", "NOW", "RAND", "RAND_INTEGER", "UUID", "STATE_TTL"}


@pytest.mark.parametrize("text", [
    "'now'", "`now`", "'UUID'", "-- NOW()\n1", "/* NOW() */ 1", "UNIX_TIMESTAMP('2024-01-01')"])
def test_names_strings_and_comments_are_no_functions(folder: Path, text: str) -> None:
    change(folder / "rejects.sql", "SELECT 'orders',", f"SELECT {text},")
    assert problems(folder) == []


def test_unix_timestamp_of_now(folder: Path) -> None:
    change(folder / "rejects.sql", "SELECT 'orders',", "SELECT UNIX_TIMESTAMP(),")
    (problem,) = problems(folder)
    assert (problem.line, problem.construct) == (2, "UNIX_TIMESTAMP()")


@pytest.mark.parametrize(("option", "instead"), [
    ("scan.watermark.idle-timeout", safety._OPTIONS["scan.watermark.idle-timeout"]),
    ("scan.watermark.alignment.group", safety._OPTIONS["scan.watermark"]),
    ("scan.startup.mode", "nothing: the job starts at offset zero"),
    ("scan.startup.timestamp-millis", "nothing: the job starts at offset zero"),
    ("scan.bounded.mode", "role: reference in product.yaml, which fixes the end with the release"),
    ("scan.parallelism", safety._OPTIONS["scan.parallelism"]),
    ("connector", "nothing: addresses, formats and positions are bound by the job"),
    ("properties.bootstrap.servers", "nothing: addresses, formats and positions are bound by the job"),
    ("sink.parallelism", "nothing: addresses, formats and positions are bound by the job"),
])
def test_refused_options(folder: Path, option: str, instead: str) -> None:
    change(folder / "sources.sql", "WITH ('topic' = 'orders')", f"WITH (\n  'topic' = 'orders',\n  '{option}' = 'x')")
    assert problems(folder) == [Problem(str(folder / "sources.sql"), 14, f"option '{option}'", instead)]


def test_refused_options_in_a_hint(folder: Path) -> None:
    change(folder / "rejects.sql", "FROM orders\n",
           "FROM orders /*+ OPTIONS('scan.startup.mode' = 'latest-offset') */\n")
    (problem,) = problems(folder)
    assert (problem.line, problem.construct) == (4, "option 'scan.startup.mode'")


@pytest.mark.parametrize("setting", [
    "table.exec.state.ttl", "table.exec.source.idle-timeout", "table.exec.mini-batch.enabled", "table.local-time-zone",
    "execution.runtime-mode", "table.exec.async-lookup.timeout"])
def test_refused_settings(folder: Path, setting: str) -> None:
    change(folder / "product.yaml", "switch: auto", f"flink: {{{setting}: x}}")
    (problem,) = problems(folder)
    assert (problem.file, problem.construct) == (str(folder / "product.yaml"), f"flink setting {setting}")
    assert problem.instead in safety._SETTINGS.values()


def test_other_settings_are_the_products_own(folder: Path) -> None:
    change(folder / "product.yaml", "switch: auto", "flink: {state.backend.type: rocksdb}")
    assert problems(folder) == []


def test_a_function_must_be_declared_deterministic(folder: Path) -> None:
    change(folder / "product.yaml", "switch: auto", "functions: {shout: {python: 'udfs.text:shout', returns: STRING}}")
    assert problems(folder) == [Problem(
        str(folder / "product.yaml"), 0, "function shout is not declared deterministic",
        "deterministic: true, once equal arguments give equal results in every run")]


def test_set_belongs_into_product_yaml(folder: Path) -> None:
    change(folder / "sources.sql", "CREATE TABLE", "SET 'a' = 'b';\nCREATE TABLE")
    assert problems(folder) == [Problem(str(folder / "sources.sql"), 1, "SET", "flink: in product.yaml")]


def test_a_table_that_is_no_topic(folder: Path) -> None:
    file = folder / "sources.sql"
    file.write_text(file.read_text() + "\nCREATE TABLE parcels (id INT);\n")
    (problem,) = problems(folder)
    assert (problem.line, problem.construct) == (14, "table parcels")
    assert problem.instead == "the name of a topic of product.yaml: orders"


def test_all_problems_are_told_and_no_planner_is_asked(folder: Path) -> None:
    change(folder / "rejects.sql", "SELECT 'orders',", "SELECT UUID(),")
    change(folder / "product.yaml", "switch: auto", "flink: {table.exec.state.ttl: 1 d}")
    found, plan = check(folder)
    assert [p.construct for p in found] == ["UUID", "flink setting table.exec.state.ttl"]
    assert plan == ""


def test_a_folder_that_is_no_product(tmp_path: Path) -> None:
    found, _ = check(tmp_path)
    assert found == (Problem(str(tmp_path / "product.yaml"), 0, "none", "a file"),)


OF_THE_LOG = "WATERMARK FOR ordered_at AS appended - INTERVAL '1' HOUR"


def read_once(folder: Path, watermark: str) -> None:
    change(folder / "product.yaml", "    identity: [order_id]\n", "    identity: [order_id]\n    once: true\n")
    change(folder / "sources.sql", OF_THE_LOG, watermark)


@pytest.mark.parametrize("time", ["ordered_at", "`ordered_at`"])
def test_the_time_of_events_that_are_read_once_is_their_own(folder: Path, time: str) -> None:
    read_once(folder, f"WATERMARK FOR {time} AS ordered_at")
    assert problems(folder) == []


@pytest.mark.parametrize("watermark", [
    OF_THE_LOG, "WATERMARK FOR ordered_at AS ordered_at - INTERVAL '1' HOUR", "WATERMARK FOR ordered_at AS appended",
    "PRIMARY KEY (order_id) NOT ENFORCED"])
def test_any_other_time_of_events_that_are_read_once_is_refused(folder: Path, watermark: str) -> None:
    read_once(folder, watermark)
    (problem,) = problems(folder)
    assert problem.construct == "orders is read once, by another time than its own"
    text = (folder / "sources.sql").read_text().splitlines()
    assert text[problem.line - 1].strip().startswith(("WATERMARK", "CREATE TABLE orders"))


# --- plans, as Flink prints them ---

SCAN = ("TableSourceScan(table=[[default_catalog, default_database, orders, "
        "watermark=[-(appended, 3600000:INTERVAL HOUR)]]], fields=[a])")
PLAN = """== Optimized Execution Plan ==
Calc(select=[a])(reuse_id=[1])
+- {scan}

Sink(table=[default_catalog.default_database.order_rows], fields=[a])
+- {operator}(where=[(ordered_at >= (appended - 3600000:INTERVAL HOUR))])
   +- Reused(reference_id=[1])

Sink(table=[default_catalog.default_database.rejects], fields=[a])
+- Calc(select=[a], where=[(ordered_at >= (appended - 3600000:INTERVAL HOUR))])
   +- Reused(reference_id=[1])
""".replace("{scan}", SCAN)


def test_shared_parts_of_a_plan_are_one() -> None:
    first, second = parse_plan(PLAN.replace("{operator}", "Calc"))
    assert first.inputs[0].inputs[0] is second.inputs[0].inputs[0]


def test_a_plan_without_objection() -> None:
    assert list(check_plan(load_product(ORDERS), PLAN.replace("{operator}", "Calc"))) == []


@pytest.mark.parametrize("operator", sorted(safety._REFUSED_NODES))
def test_refused_operators(operator: str) -> None:
    found = list(check_plan(load_product(ORDERS), PLAN.replace("{operator}", operator)))
    assert [(p.construct, p.instead) for p in found] == [(operator, safety._REFUSED_NODES[operator])]


def test_lookup_joins_are_refused() -> None:
    assert "LookupJoin" in safety._REFUSED_NODES


def test_events_that_are_read_once_have_a_watermark_and_a_late_filter(folder: Path) -> None:
    read_once(folder, "WATERMARK FOR ordered_at AS ordered_at")
    product = load_product(folder)
    plan = PLAN.replace("{operator}", "Calc").replace("-(appended, 3600000:INTERVAL HOUR)", "ordered_at", 1)
    assert list(check_plan(product, plan)) == []
    found = [p.construct for p in check_plan(product, plan.replace(", watermark=[ordered_at]", ""))]
    assert found == ["orders has no watermark"]
    found = [p.construct for p in check_plan(product, plan.replace("3600000", "60000"))]
    assert found == ["nothing sets the late records of orders apart: a window would drop them unseen"]


def test_a_topic_read_twice() -> None:
    plan = PLAN.replace("{operator}", "Calc")
    plan += f"\nSink(table=[default_catalog.default_database.hourly_orders], fields=[a])\n+- {SCAN}\n"
    assert "topic orders is read 2 times" in [p.construct for p in check_plan(load_product(ORDERS), plan)]


def test_a_topic_that_nothing_reads() -> None:
    plan = PLAN.replace("{operator}", "Calc").replace("default_database, orders", "default_database, parcels")
    assert "topic orders is not read" in [p.construct for p in check_plan(load_product(ORDERS), plan)]


def test_no_plan_at_all() -> None:
    assert "a plan without a sink" in [p.construct for p in check_plan(load_product(ORDERS), "")]
