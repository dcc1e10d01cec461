"""What people write as a query, a check or a rule reads the product's tables: it writes nothing, and reads no more."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from jobs.product.folder import Product
from replay.checks import gate
from replay.core.model import Tables
from replay.errors import KappaError
from replay.iceberg import lake, table_changes
from replay.query import confine, duck, query, sandbox, statements
from replay.query.sandbox import Sandbox, SandboxError, open_sandbox
from replay.settings import QuerySettings, Settings
from tests.unit.lake_tables import make_product, make_settings, publish, sink, sink_all

CANARY = "c4nary-d0-not-sh0w"
UNPUBLISHED = 7_777_777
LIMITS = QuerySettings(seconds=60, memory_mb=256, disk_mb=64)

# {data}: a published data file; {hidden}: one of a branch that is not published; {meta}: a table's metadata;
# {table}: a table's folder; {canary}: a folder beside the lake; {other}: a table of another product.
HOSTILE = {
    "writes": """
        EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO '{data}' (FORMAT parquet)
        COPY (SELECT 1 AS a) TO '{data}' (FORMAT parquet)
        COPY orders TO '{canary}/out.csv'
        EXPLAIN COPY (SELECT 1) TO '{data}'
        explain/**/analyze/* -- */copy(select 1)to'{data}'
        EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{data}' (FORMAT csv)
        COPY FROM DATABASE memory TO memory
        EXPORT DATABASE '{canary}/dump'
        IMPORT DATABASE '{canary}'
        CREATE TABLE x AS SELECT 1
        CREATE OR REPLACE VIEW orders AS SELECT 1
        CREATE TEMP MACRO f(a) AS TABLE FROM read_text(a)
        CREATE TYPE mood AS ENUM (SELECT content FROM read_text('{canary}/canary.txt'))
        INSERT INTO orders VALUES (1)
        UPDATE orders SET id = 1
        DELETE FROM orders
        MERGE INTO orders USING totals ON true WHEN MATCHED THEN DELETE
        TRUNCATE orders
        DROP VIEW orders
        ALTER TABLE orders ADD COLUMN x INT
        VACUUM
        CHECKPOINT
        FORCE CHECKPOINT
        BEGIN TRANSACTION
        COMMENT ON VIEW orders IS 'x'
        SELECT * FROM set_iceberg_table_properties('{table}', MAP {{'a': 'b'}})
        SELECT * FROM remove_iceberg_table_properties('{table}', ['a'])
        SELECT * FROM iceberg_to_ducklake('{table}', '{canary}/lake')
        SELECT * FROM checkpoint()
        SELECT write_log('x', level := 'info')
        SELECT nextval('s')
    """,
    "files": """
        SELECT * FROM read_text('{canary}/canary.txt')
        SELECT * FROM read_blob('{canary}/canary.txt')
        SELECT * FROM read_csv('{canary}/canary.csv')
        SELECT * FROM read_csv_auto('{canary}/canary.csv')
        SELECT * FROM read_json('{canary}/canary.json')
        SELECT * FROM read_ndjson_objects('{canary}/canary.json')
        SELECT * FROM sniff_csv('{canary}/canary.csv')
        SELECT * FROM glob('{canary}/*')
        SELECT * FROM read_parquet('{hidden}')
        SELECT * FROM parquet_scan('{hidden}')
        SELECT * FROM parquet_scan(['{hidden}'])
        SELECT * FROM parquet_metadata('{hidden}')
        SELECT * FROM parquet_kv_metadata('{hidden}')
        SELECT * FROM parquet_schema('{hidden}')
        SELECT * FROM read_avro('{canary}/canary.avro')
        SELECT * FROM read_duckdb('{canary}/x.db')
        SELECT * FROM iceberg_scan('{meta}')
        SELECT * FROM iceberg_scan('{other}')
        SELECT * FROM iceberg_snapshots('{meta}')
        SELECT * FROM iceberg_metadata('{meta}')
        SELECT * FROM main.read_text('{canary}/canary.txt')
        SELECT * FROM system.main.read_text('{canary}/canary.txt')
        SELECT * FROM "read_text"('{canary}/canary.txt')
        SELECT * FROM READ_TEXT('{canary}/canary.txt')
        FROM '{canary}/canary.csv'
        FROM '{hidden}'
        FROM "{canary}/canary.csv"
        SELECT c.* FROM '{canary}/canary.csv' AS c
        SELECT * FROM orders, '{canary}/canary.csv'
        DESCRIBE '{canary}/canary.csv'
        SUMMARIZE '{canary}/canary.csv'
        DESCRIBE FROM read_csv('{canary}/canary.csv')
        EXPLAIN SELECT * FROM read_csv('{canary}/canary.csv')
        EXPLAIN FROM '{canary}/canary.csv'
        TABLE '{canary}/canary.csv'
        PIVOT '{canary}/canary.csv' ON a USING count(*)
        PIVOT '{canary}/canary.csv' ON a IN ('x') USING count(*)
        PIVOT (FROM read_csv('{canary}/canary.csv')) ON a USING count(*)
        PIVOT orders ON id IN (SELECT content FROM read_text('{canary}/canary.txt')) USING count(*)
        FROM (PIVOT read_csv('{canary}/canary.csv') ON a USING count(*))
        UNPIVOT '{canary}/canary.csv' ON a
        FROM orders PIVOT (count(*) FOR id IN (1)) JOIN '{canary}/canary.csv' ON true
        WITH c AS (FROM '{canary}/canary.csv') FROM c
        WITH a AS (FROM '{canary}/canary.csv'), "{canary}/canary.csv" AS (SELECT 1) FROM a
        SELECT (WITH "{canary}/canary.csv" AS (SELECT 1) SELECT 1), * FROM '{canary}/canary.csv'
        WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r, read_text('{canary}/canary.txt')) FROM r
    """,
    "nested": """
        SELECT (SELECT content FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders WHERE id IN (SELECT size FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders WHERE EXISTS (FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders ORDER BY (SELECT size FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders LIMIT (SELECT size FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders GROUP BY id HAVING count(*) > (SELECT size FROM read_text('{canary}/canary.txt'))
        SELECT id FROM orders QUALIFY lag(1) OVER (ORDER BY (SELECT size FROM read_text('{canary}/canary.txt'))) = 1
        SELECT * REPLACE ((SELECT size FROM read_text('{canary}/canary.txt')) AS id) FROM orders
        SELECT list_transform([1], x -> (SELECT content FROM read_text('{canary}/canary.txt')))
        SELECT sum(id) FILTER (WHERE id > (SELECT size FROM read_text('{canary}/canary.txt'))) FROM orders
        SELECT CASE WHEN true THEN (SELECT content FROM read_text('{canary}/canary.txt')) END
        PIVOT orders ON (SELECT content FROM read_text('{canary}/canary.txt')) USING count(*)
        PIVOT orders ON id USING max((SELECT content FROM read_text('{canary}/canary.txt')))
        PIVOT (FROM orders JOIN read_text('{canary}/canary.txt') t ON true) ON id USING count(*)
        PIVOT_WIDER '{canary}/canary.csv' ON a USING count(*)
        SUMMARIZE (FROM read_csv('{canary}/canary.csv'))
        DESCRIBE query('FROM read_text(''{canary}/canary.txt'')')
        SELECT * FROM read_text($${canary}/canary.txt$$)
        WITH x AS NOT MATERIALIZED (FROM read_text('{canary}/canary.txt')) SELECT 1
        SELECT count(*) OVER w FROM orders WINDOW w AS (ORDER BY (SELECT size FROM read_text('{canary}/canary.txt')))
        SELECT 1 FROM orders USING SAMPLE 10% (bernoulli) UNION SELECT size FROM read_blob('{canary}/canary.txt')
        SELECT id FROM orders UNION ALL SELECT size FROM read_text('{canary}/canary.txt')
        VALUES ((SELECT content FROM read_text('{canary}/canary.txt')))
        FROM orders o, LATERAL (SELECT * FROM read_text('{canary}/canary.txt'))
        FROM orders ASOF JOIN read_text('{canary}/canary.txt') t ON orders.id >= t.size
        FROM unnest((SELECT list(content) FROM read_text('{canary}/canary.txt')))
        SELECT COLUMNS((SELECT content FROM read_text('{canary}/canary.txt'))) FROM orders
        SELECT DISTINCT ON ((SELECT size FROM read_text('{canary}/canary.txt'))) id FROM orders
    """,
    "sql in text": """
        SELECT * FROM query('FROM read_text(''{canary}/canary.txt'')')
        SELECT * FROM query_table('{canary}/canary.csv')
        SELECT * FROM query_table(['orders', '{canary}/canary.csv'])
        SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
        PRAGMA json_execute_serialized_sql('x')
        SELECT json_serialize_plan('FROM read_text(''{canary}/canary.txt'')')
        SELECT * FROM histogram_values('{canary}/canary.csv', a)
        SELECT * FROM histogram('{canary}/canary.csv', a)
        PREPARE p AS SELECT 1
        EXECUTE p
        DEALLOCATE p
        SELECT $1
    """,
    "databases and the network": """
        ATTACH '{canary}/x.db'
        ATTACH '{canary}/x.db' AS x (READ_ONLY)
        DETACH memory
        USE main
        INSTALL httpfs
        LOAD httpfs
        LOAD '{canary}/x.duckdb_extension'
        FORCE INSTALL httpfs FROM community
        UPDATE EXTENSIONS
        FROM 'https://example.com/x.parquet'
        SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')
        SELECT * FROM read_parquet('s3://bucket/x.parquet')
        CREATE SECRET s (TYPE s3)
        DROP SECRET s
        FROM duckdb_secrets()
        FROM which_secret('s3://x', 's3')
    """,
    "settings and the machine": """
        SET enable_external_access = true
        SET GLOBAL memory_limit = '1TB'
        RESET memory_limit
        PRAGMA database_list
        PRAGMA enable_profiling
        CALL pragma_database_size()
        CALL enable_logging()
        FROM duckdb_settings()
        FROM duckdb_views()
        FROM duckdb_views
        FROM duckdb_logs()
        FROM sqlite_master
        FROM pg_catalog.pg_views
        FROM pragma_database_list
        FROM information_schema.views
        FROM duckdb_temporary_files()
        FROM duckdb_external_file_cache()
        SHOW DATABASES
        SHOW VARIABLES
        SELECT current_setting('temp_directory')
        SELECT current_setting('allowed_directories')
        SELECT getenv('HOME')
        SELECT getvariable('x')
        SELECT current_query()
        SELECT pg_get_viewdef(1)
        SELECT sleep_ms(1)
        FROM arrow_scan(1, 2, 3)
        FROM pandas_scan(1)
        FROM python_map_function(1)
        FROM seq_scan('orders')
        FROM sys
        FROM json
        FROM requests
        SELECT * FROM information_schema.tables AS t, duckdb_views() AS v
        SHOW TABLES FROM x; COPY (SELECT 1) TO '{data}'
        SET VARIABLE x = (SELECT content FROM read_text('{canary}/canary.txt'))
        SELECT txid_current()
        SELECT pg_conf_load_time()
    """,
    "shape": """
        SELECT 1; SELECT 2
        SELECT 1; COPY (SELECT 1) TO '{data}'
        COPY (SELECT 1) TO '{data}'; SELECT 1
        ;;; COPY (SELECT 1) TO '{data}'
        SELECT 1;/* x */COPY (SELECT 1) TO '{data}'
        -- SELECT 1
        /* SELECT 1 */
        SELECT /* '; */ * FROM read_text('{canary}/canary.txt') -- '
        EXPLAIN EXPLAIN SELECT 1
        EXPLAIN ANALYZE SELECT 1
        EXPLAIN SELECT 1; COPY (SELECT 1) TO '{data}'
        EXPLAIN PIVOT orders ON id USING count(*)
        FROM orders AT (VERSION => 1)
        FROM nobody.orders
        FROM other.public.orders
    """,
}

GOOD = r"""
    SELECT count(*) AS n FROM orders
    select Id from ORDERS
    SELECT id FROM shop.orders
    SELECT id FROM memory.shop.orders
    FROM orders
    FROM orders SELECT id WHERE id = 1;
    TABLE orders
    VALUES (1, 'a'), (2, 'b')
    WITH a AS (FROM orders), b AS MATERIALIZED (FROM a) SELECT count(*) FROM b, a
    WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r
    WITH "a b" AS (SELECT 1 AS "c d") SELECT "c d" FROM "a b"
    SELECT o.id, t.amount FROM orders o LEFT JOIN totals t USING (day)
    SELECT id FROM orders UNION ALL BY NAME SELECT 1 AS id
    SELECT id FROM orders EXCEPT SELECT 5
    SELECT id, sum(amount) OVER (PARTITION BY day ORDER BY id ROWS 2 PRECEDING) AS s FROM orders QUALIFY s > 0
    SELECT row_number() OVER w, lag(id) OVER w FROM orders WINDOW w AS (ORDER BY id)
    PIVOT orders ON day USING sum(amount) GROUP BY id
    PIVOT orders ON id IN (1, 2) USING sum(amount)
    PIVOT orders /* wide */ ON id, day -- both\n USING sum(amount) AS s, count(*) AS n GROUP BY log_partition ORDER BY 1
    PIVOT (SELECT o.id, t.day FROM orders o JOIN totals t ON o.day = t.day) ON id USING count(*)
    SELECT count(*) FROM (PIVOT orders ON id USING sum(amount))
    PIVOT orders ON concat(id, ',', 'x') USING sum(amount)
    /* é */ PIVOT orders ON concat(id, 'é"', 'x') -- é\n USING sum(amount)
    /* é */ EXPLAIN SELECT 'é'
    UNPIVOT orders ON id, log_offset INTO NAME what VALUE n
    FROM orders PIVOT (sum(amount) FOR id IN (1, 2) GROUP BY day)
    DESCRIBE orders
    DESCRIBE SELECT id AS x FROM orders
    DESCRIBE
    SHOW TABLES
    SHOW ALL TABLES
    SHOW orders
    SUMMARIZE orders
    SUMMARIZE SELECT id FROM orders
    EXPLAIN SELECT * FROM orders
    explain /* why */ from orders
    SELECT table_name FROM information_schema.tables
    SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'orders'
    SELECT [1, 2][1], {'a': {'b': 1}}.a.b, MAP {1: 'x'}[1], [x + 1 FOR x IN [1, 2] IF x > 1]
    SELECT list_transform([1, 2], lambda x: x + 1), list_filter([1, 2], x -> x > 1)
    SELECT unnest([1, 2]), unnest({'a': 1, 'b': 2})
    SELECT * FROM unnest([1, 2]) AS t(x), range(3) AS r(n), generate_series(1, 2)
    SELECT * FROM json_each('{"a": 1}')
    SELECT '{"a": [1]}'::JSON ->> '$.a[0]', json_extract('{"a": 1}', 'a')
    SELECT TIMESTAMPTZ '2024-01-01 00:00:00+01' AT TIME ZONE 'Europe/Berlin', timezone('Asia/Tokyo', now())
    SELECT now() > TIMESTAMPTZ '2000-01-01 00:00:00+00', current_date > DATE '2000-01-01', current_timestamp IS NOT NULL
    SELECT date_trunc('month', day), extract(year FROM day), day + INTERVAL 1 DAY, strftime(day, '%Y') FROM orders
    SELECT id::VARCHAR, TRY_CAST('x' AS INT), CAST(amount AS DECIMAL(9, 2)), id::DOUBLE / 2 FROM orders
    SELECT CASE WHEN id > 1 THEN 'a' ELSE 'b' END, id BETWEEN 1 AND 2, id IN (1, 2), id IS DISTINCT FROM 2 FROM orders
    SELECT id FROM orders WHERE amount > (SELECT avg(amount) FROM orders) AND EXISTS (FROM totals t WHERE t.day = day)
    SELECT id FROM orders WHERE id = ANY (SELECT id FROM orders)
    SELECT * EXCLUDE (id) REPLACE (amount * 2 AS amount) RENAME (day AS d) FROM orders
    SELECT COLUMNS('log_.*') FROM orders
    SELECT count(*) FILTER (WHERE id > 1), count(DISTINCT day), string_agg(id::VARCHAR, ',' ORDER BY id) FROM orders
    SELECT day, sum(amount) FROM orders GROUP BY ROLLUP (day) ORDER BY ALL LIMIT 5 OFFSET 0
    SELECT grouping(day), count(*) FROM orders GROUP BY CUBE (day)
    SELECT DISTINCT ON (day) id FROM orders ORDER BY id
    SELECT id FROM orders USING SAMPLE 50%
    SELECT a.id FROM orders a ASOF JOIN orders b ON a.id >= b.id
    SELECT x.n FROM orders o, LATERAL (SELECT o.id + 1 AS n) AS x
    SELECT md5('a'), regexp_replace('abc', 'b', 'x'), 'A' ILIKE 'a', 'a' || 'b', lower('A').upper(), 'é' COLLATE NOCASE
    SELECT approx_count_distinct(id), quantile_cont(amount, 0.5), arg_max(id, amount), median(amount) FROM orders
    SELECT #1 FROM orders
"""


def listed(text: str) -> list[str]:
    return [line.strip().replace("\\n", "\n") for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class World:
    """A home with a lake, of which a branch is not published, beside a folder that is none of a query's business."""

    settings: Settings
    product: Product
    snapshots: Mapping[str, int]
    files: Mapping[str, str]

    def sums(self) -> dict[str, str]:
        return {
            str(p): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(self.settings.home.parent.rglob("*"))
            if p.is_file() and "spill" not in p.parts and not p.name.startswith("catalog.db")
        }

    def sql(self, statement: str) -> str:
        return statement.format(**self.files)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    top = tmp_path_factory.mktemp("top")
    settings = make_settings(top / "home")
    catalog = lake.open_catalog(settings)
    product = make_product(settings.home)
    table_changes.ensure(catalog, product)
    lake.create_branch(catalog, product, "r1-a1")
    heads = {
        **sink_all(catalog, product, "r1-a1", 1),
        "orders": sink(
            catalog,
            "orders",
            "r1-a1",
            1,
            [{"id": n, "amount": n / 2, "log_offset": n, "log_partition": 0} for n in range(1, 6)],
        ),
    }
    publish(catalog, product, heads)
    at = lake.pointers(catalog, "shop")["orders"].removeprefix("file://")
    table = Path(at).parent.parent
    before = set(table.rglob("*.parquet"))
    sink(catalog, "orders", "r1-a1", 2, [{"id": UNPUBLISHED, "log_offset": 9, "log_partition": 0}])
    (hidden,) = set(table.rglob("*.parquet")) - before
    canary = top / "canary"
    canary.mkdir()
    for name, text in {
        "canary.txt": CANARY,
        "canary.csv": f"a,b\n{CANARY},1\n",
        "canary.json": f'{{"a": "{CANARY}"}}',
        "canary.avro": CANARY,
        "x.db": CANARY,
    }.items():
        (canary / name).write_text(text)
    other = top / "other" / "metadata"
    other.mkdir(parents=True)
    (other / "v1.metadata.json").write_text(Path(at).read_text())
    return World(
        settings,
        product,
        heads,
        {
            "data": str(next(iter(before))),
            "hidden": str(hidden),
            "meta": at,
            "table": str(table),
            "canary": str(canary),
            "other": str(other / "v1.metadata.json"),
        },
    )


@pytest.fixture(scope="module")
def open_world(world: World) -> Iterator[Sandbox]:
    places = query.places(world.settings, "shop")
    with open_sandbox(LIMITS, {"shop": places}, folder=world.settings.spill) as found:
        yield found


@pytest.mark.parametrize("family", HOSTILE)
def test_what_does_not_just_read_the_tables_is_refused(
    world: World, open_world: Sandbox, family: str
) -> None:
    before = world.sums()
    for statement in listed(HOSTILE[family]):
        with pytest.raises(SandboxError) as e:
            raise AssertionError(f"{statement}: {open_world.ask(world.sql(statement)).rows}")
        assert e.value.kind in ("refused", "sql", "name"), (statement, e.value.kind, e.value.found)
        error = query.in_words(e.value, "shop", ["orders", "rejects", "totals"], LIMITS)
        assert error.expected and error.found and error.next.startswith("kappa query shop"), (
            statement
        )
        assert CANARY not in str(error) and str(UNPUBLISHED) not in str(error)
    assert world.sums() == before
    assert open_world.ask("SELECT count(*) FROM orders").rows == [[5]]


def test_hostile_statements_are_many() -> None:
    assert sum(len(listed(statements)) for statements in HOSTILE.values()) > 150


@pytest.mark.skipif(not confine.landlock_version(), reason="this kernel has no Landlock")
def test_without_the_list_nothing_is_written_and_nothing_else_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the list have a hole, the process itself still cannot."""
    unchecked = (
        "import sys; from replay.query import query_process as p; p.readable = lambda c, sql, names: sql; "
        "p.main(sys.stdin.buffer, sys.stdout.buffer)"
    )
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-I", "-c", unchecked))
    before = world.sums()
    answered, said = 0, dict[str, SandboxError]()
    places = query.places(world.settings, "shop")
    with open_sandbox(LIMITS, {"shop": places}, folder=world.settings.spill) as unguarded:
        for statement in (s for family in HOSTILE.values() for s in listed(family)):
            if statement.startswith(
                (
                    "FROM arrow_scan",
                    "FROM pandas_scan",
                    "FROM python_map",
                    "BEGIN",
                    "USE",
                    "DROP VIEW",
                    "CREATE OR REPLACE",
                )
            ):
                continue  # which take addresses in memory, or change what the next ones mean
            try:
                answer = unguarded.ask(world.sql(statement))
                answered += 1
                assert CANARY not in str(answer.rows), statement
            except SandboxError as e:
                said[statement] = e
                with suppress(SandboxError):
                    unguarded.ask("ROLLBACK")  # of what EXPORT begins
    assert answered > 20  # the list was off
    assert not [s for s, e in said.items() if e.kind == "ended" or CANARY in e.found]
    assert world.sums() == before


@pytest.mark.parametrize("statement", listed(GOOD))
def test_what_reads_the_tables_goes_on_working(open_world: Sandbox, statement: str) -> None:
    assert open_world.ask(statement).columns


def test_an_answer_is_what_duckdb_gives(open_world: Sandbox) -> None:
    sql = """SELECT 170141183460469231731687303715884105727::HUGEINT, 1.5::DOUBLE, 'inf'::FLOAT, 1.50::DECIMAL(9, 2),
        '\\x00\\xFF'::BLOB, DATE '2020-01-01', TIME '01:02:03.5', TIMESTAMP '2020-01-01 01:02:03.123456',
        TIMESTAMPTZ '2020-01-01 01:02:03+02', TIMETZ '01:02:03+02', INTERVAL '1 month 2 days 3 seconds',
        '12345678-1234-1234-1234-123456789012'::UUID, [1, NULL], {'type': 'bytes', 'value': [DATE '2020-01-01']},
        MAP {1: 'a', 2: NULL}, MAP {DATE '2020-01-01': {'x': 1.5::DECIMAL(3, 1)}}, [1, 2]::INT[2], union_value(k := 1),
        '101'::BIT, true, NULL, 'é"\\n', '{"a": 1}'::JSON, 1 AS x, 2 AS x, []"""
    with duck.connect() as connection:
        cursor = connection.execute(sql)
        columns, rows = duck.names_of(cursor), [list(row) for row in cursor.fetchall()]
    answer = open_world.ask(sql)
    assert (answer.columns, answer.rows, answer.count) == (columns, rows, 1)
    assert [[type(v) for v in row] for row in answer.rows] == [
        [type(v) for v in row] for row in rows
    ]
    nan = open_world.ask("SELECT 'nan'::DOUBLE").rows[0][0]
    assert nan != nan


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        pytest.param(
            "SELECT count(*) FROM range(100000000000000) t(r) WHERE r % 7 = 3", "time", id="time"
        ),
        pytest.param("SELECT list(r) FROM range(1000000000) t(r)", "memory", id="memory"),
        pytest.param("SELECT repeat('x', 3000000000)", "memory", id="one value"),
        pytest.param("SELECT r FROM range(1000000000) t(r) ORDER BY hash(r)", "memory", id="disk"),
        pytest.param("SELECT repeat('x', 1000) FROM range(100000)", "answer", id="answer"),
    ],
)
def test_limits_are_named(world: World, tmp_path: Path, sql: str, kind: str) -> None:
    limits = QuerySettings(seconds=0.5 if kind == "time" else 300, memory_mb=64, disk_mb=16)
    places = query.places(world.settings, "shop")
    with open_sandbox(limits, {"shop": places}, folder=tmp_path) as found:
        with pytest.raises(SandboxError) as e:
            found.ask(sql)
        assert e.value.kind == kind, e.value.found
        process = found._process
    assert process.poll() is not None
    error = query.in_words(e.value, "shop", ["orders"], limits)
    named = {
        "time": "queries.seconds",
        "memory": "queries.memory_mb",
        "answer": "queries.memory_mb",
    }
    assert named[kind] in error.next and "config.yaml" in error.next
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_is_told(world: World) -> None:
    with open_sandbox(LIMITS, {"shop": query.places(world.settings, "shop")}) as found:
        found._process.kill()
        with pytest.raises(SandboxError, match="its process ended"):
            found.ask("SELECT 1")


def test_what_killed_processes_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    left = tmp_path / "query-left"
    left.mkdir()
    (left / "duckdb_temp").write_text("x")
    first = Sandbox(LIMITS, tmp_path)
    used = Path(first._spill)
    for folder in (left, used):
        os.utime(folder, (0, 0))
    Sandbox(LIMITS, tmp_path).close()
    assert not left.exists() and used.exists()
    first.close()
    assert not used.exists()


_ASKING = """
import signal
import sys
from pathlib import Path
from replay.query.sandbox import Sandbox
from replay.settings import QuerySettings
signal.signal(signal.SIGINT, signal.default_int_handler)  # which what runs in the background has not
sandbox = Sandbox(QuerySettings(), Path(sys.argv[1]))
try:
    sandbox.open({"empty": {}})
    print(sandbox._process.pid, flush=True)
    sandbox.ask("SELECT count(*) FROM range(100000000000) a, range(100000000000) b")
finally:
    sandbox.close()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_whoever_asked(tmp_path: Path, how: signal.Signals) -> None:
    asking = subprocess.Popen(
        [sys.executable, "-c", _ASKING, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert asking.stdout
    process = os.pidfd_open(int(asking.stdout.readline()))
    asking.send_signal(how)
    ended, _, _ = select.select([process], [], [], 30)
    os.close(process)
    assert ended and asking.wait() != 0
    asking.stdout.close()


def test_the_process_has_no_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPPA_CANARY", CANARY)
    with open_sandbox(LIMITS, {"shop": query.places(world.settings, "shop")}) as found:
        folder = Path(f"/proc/{found._process.pid}")
        for name in ("environ", "cmdline"):
            assert CANARY.encode() not in (folder / name).read_bytes()


def test_checks_and_rules_keep_to_the_same(world: World, tmp_path: Path) -> None:
    before = world.sums()
    for number, statement in enumerate(
        (
            "EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO '{data}'",
            "FROM read_text('{canary}/canary.txt')",
            "FROM '{hidden}'",
            "SELECT getenv('HOME')",
        )
    ):
        folder = tmp_path / str(number)
        (folder / "checks").mkdir(parents=True)
        (folder / "checks" / "x.sql").write_text(world.sql(statement))
        product = make_product(folder)
        with pytest.raises(KappaError, match=r"the check 'checks/x\.sql' cannot run"):
            gate.validate(product)
        with pytest.raises(KappaError, match=r"the check 'checks/x\.sql' cannot run"):
            gate.run(world.settings, Tables(product, world.snapshots, {}))
    assert world.sums() == before


def test_every_function_of_duckdb_was_looked_at() -> None:
    """With another DuckDB: read what its new functions do, and add them to the list or to REFUSED."""
    with duck.connect() as connection:
        rows = connection.execute(
            "SELECT lower(function_name), function_type FROM duckdb_functions()"
        ).fetchall()
    kinds = {"scalar", "aggregate", "macro"}
    names = {
        n
        for n, kind in rows
        if kind in kinds and n[0].isalpha() and not n.startswith(("icu_collate_", "pg_"))
    }
    assert names - statements.functions() == REFUSED
    tables = {n for n, kind in rows if kind in ("table", "table_macro")}
    assert tables >= statements.TABLE_FUNCTIONS - {"generate_subscripts", "regexp_split_to_table"}
    assert duckdb.__version__ == "1.5.5"


_REFUSED = """
    col_description combine constant_or_null create_sort_key current_connection_id current_query current_query_id
    current_setting current_transaction_id currval finalize format_pg_type get_block_size getvariable
    has_any_column_privilege has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege
    has_function_privilege has_language_privilege has_schema_privilege has_sequence_privilege has_server_privilege
    has_table_privilege has_tablespace_privilege iceberg_verify_equality_deletes icu_sort_key in_search_path
    inet_client_addr inet_client_port inet_server_addr inet_server_port json_deserialize_sql json_serialize_plan
    json_serialize_sql map_to_pg_oid nextval obj_description parse_duckdb_log_message setseed shobj_description sleep_ms
    stats timetz_byte_comparable txid_current unpivot_list variant_bytes_to_variant variant_to_parquet_variant
    vector_type write_log
"""
REFUSED = frozenset(_REFUSED.split())


def test_rows_of_the_caller_arrive_as_they_are_without_pyarrow(tmp_path: Path) -> None:
    """PyArrow takes more memory than all else that the process has."""
    moment = dt.datetime(2013, 7, 1, 12, 0, 0, 1, tzinfo=dt.UTC)
    rows = {
        "whole": [1, -(2**63), None],
        "part": [0.5, float("inf"), None],
        "sure": [True, False, None],
        "text": ["ü", "", None],
        "bytes": [b"\x00\xff", b"", None],
        "day": [moment.date(), dt.date(1, 1, 1), None],
        "moment": [moment, moment, None],
        "exact": [Decimal("12345678901234567890.123456789"), Decimal(0), None],
        "time": [moment.time(), dt.time(), None],
        "list": [[1, None], [], None],
        "nested": [{"a": "x", "b": [1]}, {}, None],
        "nothing": [None, None, None],
    }
    table = pa.table(rows)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        expected = connection.register("t", table).execute("FROM t").fetchall()
    with open_sandbox(LIMITS, {"shop": {}}, {"t": table}, folder=tmp_path) as sandbox:
        answer = sandbox.ask("FROM t")
        maps = Path(f"/proc/{sandbox._process.pid}/maps").read_text()
    assert [tuple(row) for row in answer.rows] == expected
    assert "duckdb" in maps and "libarrow" not in maps and "pandas" not in maps
