"""The replay-safety check against Flink's own planner, on copies of products with one construct each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import RunningStack

from jobs.check import check, explain
from jobs.product import load_product
from jobs.safety import Problem, check_plan, check_text, distinct, parse_plan, scanned_topic
from replay.submit import submit_env

pytestmark = pytest.mark.filterwarnings("ignore")  # PyFlink and Beam warn of much when they are imported

ROOT = Path(__file__).parents[2]
ORDERS, FLIGHTS = ROOT / "tests" / "products" / "orders", ROOT / "sql" / "flights"
Copy = Callable[..., Path]

ORDERS_WATERMARK = "WATERMARK FOR ordered_at AS appended - INTERVAL '1' HOUR"
ORDERS_ON_TIME = " AND ordered_at >= appended - INTERVAL '1' HOUR"
ORDERS_TOPIC = "WITH ('topic' = 'orders')"
ORDERS_INSERT = "INSERT INTO order_rows (order_id, ordered_at, shop, cents, log_partition, log_offset)\nSELECT order_id"
ORDERS_WINDOW = "FROM TABLE(TUMBLE(TABLE orders_once, DESCRIPTOR(window_time), INTERVAL '1' HOUR))"
FLIGHTS_WATERMARK = "WATERMARK FOR happened AS happened "
FLIGHTS_ON_TIME = "  AND happened >= appended - INTERVAL '6' HOUR;"
WEATHER_WATERMARK = "WATERMARK FOR observed_at AS appended - INTERVAL '1' HOUR"
AIRPORT_JOIN = "LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest)) AS d ON TRUE"
WEATHER_JOIN = "LEFT JOIN weather_versions FOR SYSTEM_TIME AS OF f.happened AS w ON f.origin = w.origin"
WEATHER_ON_TIME = "SELECT * FROM weather WHERE error IS NULL AND observed_at >= appended - INTERVAL '1' HOUR"
WEATHER_IN_ORDER = f"""SELECT origin, CAST(observed_at AS TIMESTAMP_LTZ(3)) AS observed_at, temp, wind_speed, precip,
  visib, window_time AS valid_from FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, origin ORDER BY log_offset DESC) AS n
  FROM TABLE(TUMBLE(({WEATHER_ON_TIME}), DESCRIPTOR(observed_at), INTERVAL '1' MINUTE))
) WHERE n = 1"""
DEPARTURES = (FLIGHTS / "departures.sql").read_text()
DEPARTED = DEPARTURES[DEPARTURES.index("CREATE VIEW departed"):DEPARTURES.index("INSERT INTO departures")]
LOOKED_UP = "SELECT *\nFROM flown AS f, LATERAL TABLE(surroundings_at(f.happened, f.carrier, f.tailnum, f.origin));"
ONE_BY_ONE = f"""SELECT f.*, a.name AS airline_name, p.`year` AS plane_year, p.manufacturer AS plane_manufacturer,
  p.model AS plane_model, p.seats AS plane_seats, w.observed_at AS weather_observed_at, w.temp AS weather_temp,
  w.wind_speed AS weather_wind_speed, w.precip AS weather_precip, w.visib AS weather_visib
FROM flown AS f
LEFT JOIN LATERAL TABLE(airlines_at(f.happened, f.carrier)) AS a ON TRUE
LEFT JOIN LATERAL TABLE(planes_at(f.happened, f.tailnum)) AS p ON TRUE
{WEATHER_JOIN};"""
MANUAL_SWITCH = "switch: auto"


def temporal_join(versions: str) -> str:
    """`DEPARTED` with an event-time temporal join instead of the lookup of weather, on versions in state."""
    view = f"""CREATE VIEW weather_versions AS
SELECT origin, observed_at, temp, wind_speed, precip, visib, valid_from FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY origin ORDER BY valid_from DESC) AS newest FROM ({versions})
) WHERE newest = 1;
"""
    return view + DEPARTED.replace(LOOKED_UP, ONE_BY_ONE)


BY_TEXT = {
    "PROCTIME()": (
        ORDERS, "sources.sql", f"  {ORDERS_WATERMARK}", f"  seen AS PROCTIME(),\n  {ORDERS_WATERMARK}",
        "sources.sql", "PROCTIME"),
    "a quoted function": (
        ORDERS, "order_rows.sql", ORDERS_INSERT, ORDERS_INSERT.replace("SELECT order_id", "SELECT `UUID`()"),
        "order_rows.sql", "UUID"),
    "CURRENT_TIMESTAMP": (ORDERS, "order_rows.sql", "ordered_at >= appended -", "CURRENT_TIMESTAMP >= appended -",
                          "order_rows.sql", "CURRENT_TIMESTAMP"),
    "RAND": (ORDERS, "order_rows.sql", ORDERS_INSERT,
             ORDERS_INSERT.replace("SELECT order_id", "SELECT CAST(RAND() AS STRING)"), "order_rows.sql", "RAND"),
    "UUID": (ORDERS, "order_rows.sql", ORDERS_INSERT, ORDERS_INSERT.replace("SELECT order_id", "SELECT UUID()"),
             "order_rows.sql", "UUID"),
    "lookup join": (
        FLIGHTS, "departures.sql", AIRPORT_JOIN, AIRPORT_JOIN.replace("f.happened", "PROCTIME()"),
        "departures.sql", "PROCTIME"),
    "state time to live": (ORDERS, "product.yaml", MANUAL_SWITCH, "flink: {table.exec.state.ttl: 1 d}",
                           "product.yaml", "flink setting table.exec.state.ttl"),
    "state time to live in a hint": (
        ORDERS, "hourly_orders.sql", "SELECT shop", "SELECT /*+ STATE_TTL('orders_once' = '1d') */ shop",
        "hourly_orders.sql", "STATE_TTL"),
    "idle timeout": (ORDERS, "product.yaml", MANUAL_SWITCH, "flink: {table.exec.source.idle-timeout: 10 s}",
                     "product.yaml", "flink setting table.exec.source.idle-timeout"),
    "idle timeout of a source": (
        ORDERS, "sources.sql", ORDERS_TOPIC, "WITH ('topic' = 'orders', 'scan.watermark.idle-timeout' = '10 s')",
        "sources.sql", "option 'scan.watermark.idle-timeout'"),
    "start position": (
        ORDERS, "sources.sql", ORDERS_TOPIC, "WITH ('topic' = 'orders', 'scan.startup.mode' = 'latest-offset')",
        "sources.sql", "option 'scan.startup.mode'"),
    "start position in a hint": (
        ORDERS, "rejects.sql", "FROM orders\n", "FROM orders /*+ OPTIONS('scan.startup.mode' = 'latest-offset') */\n",
        "rejects.sql", "option 'scan.startup.mode'"),
    "more subtasks than partitions": (
        FLIGHTS, "sources.sql", "WITH ('topic' = 'weather')", "WITH ('topic' = 'weather', 'scan.parallelism' = '4')",
        "sources.sql", "option 'scan.parallelism'"),
    "another time than the event's": (
        FLIGHTS, "sources.sql", FLIGHTS_WATERMARK, "WATERMARK FOR happened AS appended - INTERVAL '6' HOUR ",
        "sources.sql", "flights is read once, by another time than its own"),
    "function not deterministic": (
        FLIGHTS, "product.yaml", "returns: STRING\n    vectorised: true\n    deterministic: true",
        "returns: STRING\n    vectorised: true",
        "product.yaml", "function pseudonym is not declared deterministic"),
}

BY_PLAN = {
    "watermark by the event's own time": (
        ORDERS, "sources.sql", ORDERS_WATERMARK, ORDERS_WATERMARK.replace("appended", "ordered_at"),
        "the watermark of orders is not the log's clock less the allowed lateness"),
    "watermark with another lateness": (
        ORDERS, "sources.sql", ORDERS_WATERMARK, ORDERS_WATERMARK.replace("'1'", "'2'"),
        "the watermark of orders is not the log's clock less the allowed lateness"),
    "watermark outside of the source": (
        FLIGHTS, "sources.sql", WEATHER_WATERMARK,
        "seen AS TO_TIMESTAMP_LTZ(CAST(pseudonym(origin) AS BIGINT), 3),\n"
        "  WATERMARK FOR observed_at AS seen - INTERVAL '1' HOUR",
        "the watermark of weather is not taken inside the source, per partition"),
    "no late filter of events that are read once": (
        FLIGHTS, "departures.sql", FLIGHTS_ON_TIME, ";",
        "nothing sets the late records of flights apart: a window would drop them unseen"),
    "no late filter": (
        ORDERS, "order_rows.sql", ORDERS_ON_TIME, "",
        "nothing sets the late records of orders apart: a window would drop them unseen"),
    "late filter of another lateness": (
        ORDERS, "order_rows.sql", ORDERS_ON_TIME, ORDERS_ON_TIME.replace("'1'", "'2'"),
        "nothing sets the late records of orders apart: a window would drop them unseen"),
    "source read more than once": (
        ORDERS, "product.yaml", MANUAL_SWITCH, "flink: {table.optimizer.reuse-sub-plan-enabled: 'false'}",
        "topic orders is read 3 times"),
    "update stream": (
        ORDERS, "hourly_orders.sql", f"SELECT shop, window_start, COUNT(*), SUM(cents)\n{ORDERS_WINDOW}\n"
        "GROUP BY window_start, window_end, shop",
        "SELECT shop, CAST(NULL AS TIMESTAMP(6)), COUNT(*), SUM(cents) FROM orders_once GROUP BY shop",
        "an update stream (I,UA) into append-only table hourly_orders"),
    "grouping without a window": (
        ORDERS, "hourly_orders.sql", f"SELECT shop, window_start, COUNT(*), SUM(cents)\n{ORDERS_WINDOW}\n"
        "GROUP BY window_start, window_end, shop",
        "SELECT shop, CAST(NULL AS TIMESTAMP(6)), COUNT(*), SUM(cents) FROM orders_once GROUP BY shop",
        "GroupAggregate"),
    "de-duplication without a window": (
        ORDERS, "order_rows.sql", "PARTITION BY window_start, window_end, order_id", "PARTITION BY order_id",
        "Deduplicate of events without a window"),
    "regular join": (
        FLIGHTS, "departures.sql", AIRPORT_JOIN, "LEFT JOIN airports AS d ON f.dest = d.faa", "Join"),
    "versions that are not in order": (
        FLIGHTS, "departures.sql", DEPARTED, temporal_join(
            f"SELECT origin, CAST(observed_at AS TIMESTAMP_LTZ(3)) AS observed_at, temp, wind_speed, precip, visib, "
            f"observed_at AS valid_from FROM ({WEATHER_ON_TIME})"),
        "the latest version of records that are not in order of time"),
    "a lookup that may wait long": (
        FLIGHTS, "product.yaml", "    once: true", "    once: false",
        "surroundings_at() of events that no window has held back"),
    "session windows": (
        ORDERS, "hourly_orders.sql", "TUMBLE(TABLE orders_once,", "SESSION(TABLE orders_once PARTITION BY shop,",
        "a session window"),
    "session windows in one phase": (
        FLIGHTS, "hourly_departures.sql", "TUMBLE(TABLE flights_once,",
        "SESSION(TABLE flights_once PARTITION BY (origin, carrier),", "a session window"),
    "first rows": (
        ORDERS, "order_rows.sql", "log_offset FROM orders_once", "log_offset FROM orders_once LIMIT 5", "Limit"),
}


@pytest.fixture(scope="module")
def planner(stack: RunningStack) -> Iterator[None]:
    """Flink's planner in this process, with the stack's connectors; its JVM starts at the first plan and stays."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in submit_env(stack.settings).items():
            if name != "PYTHONPATH":
                patch.setenv(name, value)
        yield


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of a product with one text replaced by another."""
    def changed(product: Path, file: str, old: str, new: str) -> Path:
        folder = tmp_path / product.name
        shutil.copytree(product, folder)
        text = (folder / file).read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new))
        return folder
    return changed


def _constructs(problems: tuple[Problem, ...]) -> list[str]:
    return [p.construct for p in problems]


@pytest.mark.parametrize(("product", "file", "old", "new", "named", "construct"), BY_TEXT.values(), ids=BY_TEXT)
def test_refused_by_its_text(copy: Copy, product: Path, file: str, old: str, new: str, named: str,
                             construct: str) -> None:
    folder = copy(product, file, old, new)
    problems, plan = check(folder)
    assert _constructs(problems) == [construct]
    assert plan == ""
    assert problems[0].file == str(folder / named)
    changed = [number for number, (before, after) in enumerate(_lines(product / file, folder / file), 1)
               if before != after]
    assert problems[0].line == (changed[0] if named.endswith(".sql") else 0)
    assert problems[0].instead


def _lines(before: Path, after: Path) -> list[tuple[str, str]]:
    return list(zip(before.read_text().splitlines(), after.read_text().splitlines(), strict=False))


@pytest.mark.usefixtures("planner")
@pytest.mark.parametrize(("product", "file", "old", "new", "construct"), BY_PLAN.values(), ids=BY_PLAN)
def test_refused_by_its_plan(copy: Copy, product: Path, file: str, old: str, new: str, construct: str) -> None:
    folder = copy(product, file, old, new)
    problems, _ = check(folder)
    assert construct in _constructs(problems), problems
    assert all(p.file.startswith(str(folder)) and p.instead for p in problems)


@pytest.mark.usefixtures("planner")
def test_processing_time_shows_in_the_plan_whatever_the_text(copy: Copy) -> None:
    folder = copy(ORDERS, "sources.sql", f"  {ORDERS_WATERMARK}", f"  seen AS PROCTIME(),\n  {ORDERS_WATERMARK}")
    text = folder / "hourly_orders.sql"
    text.write_text(text.read_text().replace("orders_once, DESCRIPTOR(window_time)", "orders, DESCRIPTOR(seen)"))
    product = load_product(folder)
    assert any(p.construct.endswith("in processing time") for p in check_plan(product, explain(product)))


@pytest.mark.usefixtures("planner")
@pytest.mark.parametrize(("file", "old", "new", "line", "column"), [
    ("order_rows.sql", "shop, cents, log_partition, log_offset FROM orders_once",
     "shop, pence, log_partition, log_offset\nFROM orders_once", 11, "pence"),
    ("order_rows.sql", "  SELECT *, ROW_NUMBER", "  SELECT colour, ROW_NUMBER", 4, "colour"),
    ("hourly_orders.sql", "SUM(cents)", "\n  SUM(pence)", 3, "pence"),
], ids=["in an insert", "in a view", "on a later line"])
def test_an_unknown_column_is_named_with_file_and_line(copy: Copy, file: str, old: str, new: str, line: int,
                                                       column: str) -> None:
    folder = copy(ORDERS, file, old, new)
    (problem,), _ = check(folder)
    assert (problem.file, problem.line) == (str(folder / file), line)
    assert problem.construct == f"Column '{column}' not found in any table"


@pytest.mark.usefixtures("planner")
def test_orders_is_safe() -> None:
    assert check(ORDERS)[0] == ()


@pytest.mark.usefixtures("planner")
def test_a_temporal_join_on_versions_in_order_is_safe(copy: Copy) -> None:
    problems, plan = check(copy(FLIGHTS, "departures.sql", DEPARTED, temporal_join(WEATHER_IN_ORDER)))
    assert problems == ()
    assert "TemporalJoin" in plan


@pytest.mark.usefixtures("planner")
def test_flights_is_safe_and_reads_each_topic_once() -> None:
    problems, plan = check(FLIGHTS)
    assert problems == ()
    assert list(check_text(load_product(FLIGHTS), ())) == []
    nodes = distinct(parse_plan(plan))
    assert sorted(filter(None, map(scanned_topic, nodes))) == ["airlines", "airports", "flights", "planes", "weather"]


@pytest.mark.usefixtures("planner")
def test_orders_tells_repeated_events_apart_once() -> None:
    nodes = distinct(parse_plan(check(ORDERS)[1]))
    deduplicated = [set(filter(None, map(scanned_topic, n.walk()))) for n in nodes if n.name == "WindowDeduplicate"]
    assert deduplicated == [{"orders"}]
