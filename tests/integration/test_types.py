"""Every type, at its edges and damaged, through a job into Iceberg and back: as the audit reads it, or a reject."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]
from confluent_kafka.schema_registry import Schema

from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from replay.avro.body import UndecodableError
from replay.avro.reader import record_reader
from replay.kafka import log, schema_registry
from replay.query import query
from replay.store.store import Store
from tests.avro_schemas import Messages, Names
from tests.avro_vectors import rendered
from tests.integration.running import RunningStack
from tests.integration.test_orders import stop_jobs
from tests.types_doc import rows as documented

NAME, TABLE, BEGIN = "types", "everything", 1_704_067_200_000
HEADER = 5
LARGE = 6 << 20
MESSAGES = 400

PRODUCT = f"""
name: {NAME}
parallelism: 1
checkpoint_interval: 2s
topics:
  {NAME}:
    columns: {{seen: log_appended}}
    time: seen
    allowed_lateness: 1h
outputs:
  {TABLE}: {{}}
lag_limit: {{records: 1, seconds: 60, checkpoints: 1}}
max_rejects: 100%
switch: auto
"""


def pinned() -> dict[str, Any]:
    """A field of each documented type, nullable and not, in arrays, maps and records; some under hard names."""
    found: list[dict[str, Any]] = []
    for number, row in enumerate(documented()):
        avro = row.avro
        if isinstance(avro, dict) and "name" in avro:
            avro = {**avro, "name": f"{avro['name']}{number}"}
        again = avro["name"] if isinstance(avro, dict) and "name" in avro else avro
        within = again if isinstance(again, list) else ["null", again] if again != "null" else again
        # Tables have no nanoseconds within arrays and maps either; SQL casts a column's own.
        parts = (
            {
                "type": "record",
                "name": f"Parts{number}",
                "fields": [
                    {"name": "list", "type": {"type": "array", "items": within}},
                    {"name": "map", "type": {"type": "map", "values": again}},
                ],
            }
            if row.iceberg != "–"
            else "int"
        )
        found += [
            {"name": f"f{number}", "type": avro},
            {"name": f"n{number}", "type": within},
            {"name": f"p{number}", "type": parts},
        ]
    hard = ["payload", "error", "select", "order", "value", "TIMESTAMP"]
    found += [{"name": name, "type": ["null", "string"], "default": None} for name in hard]
    return {"type": "record", "name": "Everything", "fields": found}


def before() -> dict[str, Any]:
    """The schema of older producers: without the fields under hard names, and with an int that is a long now."""
    now = pinned()
    return {
        **now,
        "fields": [
            {**f, "type": "int"} if f["type"] == "long" else f
            for f in now["fields"]
            if "default" not in f
        ],
    }


def arithmetic(name: str, type_: str) -> list[str]:
    """What the check accepts of numbers that may be zero, NaN, infinite or too large for the result."""
    if type_ in ("DOUBLE", "FLOAT"):
        bounded = f"CASE WHEN ABS(`{name}`) < 1e15 THEN {{}} END AS {name}_{{}}"
        return [
            bounded.format(f"CAST(`{name}` AS DECIMAL(18, 3))", "exact"),
            bounded.format(f"CAST(`{name}` AS DECIMAL(4, 3))", "narrow"),
            bounded.format(f"ROUND(`{name}`, 2)", "round"),
            bounded.format(f"TRUNCATE(`{name}`, 2)", "cut"),
        ]
    if type_ in ("INT", "BIGINT") or type_.startswith("DECIMAL"):
        return [
            f"100 / NULLIF(`{name}`, 0) AS {name}_share",
            f"MOD(CAST(100 AS BIGINT), NULLIF(`{name}`, 0)) AS {name}_rest",
            f"CASE WHEN `{name}` > 0 THEN `{name}` / `{name}` END AS {name}_one",
        ]
    return []


@dataclass
class Log:
    """The topic, and what should become of its records."""

    stack: RunningStack
    values: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Offset → the row."""
    reasons: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """Offset → why it is a reject, and its bytes."""
    tombstones: int = 0

    def write(self) -> None:
        client = log.admin(self.stack.settings)
        config = {**log.TOPIC_CONFIG, "max.message.bytes": str(4 * LARGE)}
        client.create_topics([NewTopic(NAME, 1, 1, config=config)])[NAME].result(30)
        texts = [json.dumps(s) for s in (before(), pinned())]
        with schema_registry.client(self.stack.settings) as registry:
            ids = [
                registry.register_schema(f"{NAME}-value", Schema(text, "AVRO")) for text in texts
            ]
        wanted = parse(texts[-1])
        reads = {
            i: record_reader(parse(text), wanted, f"schema id {i}")
            for i, text in zip(ids, texts, strict=True)
        }
        producer = Producer(
            {**self.stack.settings.kafka, "log_level": 0, "message.max.bytes": 4 * LARGE}
        )
        for offset, value in enumerate(
            self.messages(dict(zip(ids, (before(), pinned()), strict=True)))
        ):
            producer.produce(NAME, value, partition=0, timestamp=BEGIN + offset * 1000)
            producer.poll(0)
            self.expect(offset, value, reads, wanted)
        assert producer.flush(60) == 0

    def messages(self, schemas: dict[int, Any]) -> Iterator[bytes | None]:
        yield from (None, b"", b"no Avro", frame(999_999) + b"\0")
        for schema_id, schema in schemas.items():
            names = Names({s["name"]: s for s in named(schema)})
            for wild in (0.0, 0.005):
                drawn = Messages(schema_id, schema, names, wild=wild)
                yield from (frame(schema_id) + drawn.message().body for _ in range(MESSAGES // 4))
        yield frame(max(schemas)) + large(drawn)

    def expect(self, offset: int, value: bytes | None, reads: dict[int, Any], wanted: Any) -> None:
        if value is None:
            self.tombstones += 1
            return
        schema_id = int.from_bytes(value[1:HEADER], "big")
        try:
            if schema_id not in reads or value[0]:
                raise UndecodableError(
                    "empty value"
                    if not value
                    else f"schema id {schema_id} is unknown to the registry"
                    if not value[0]
                    else f"magic byte is 0x{value[0]:02x}, not 0x00"
                )
            self.values[offset] = rendered(reads[schema_id](value, HEADER), wanted)
        except UndecodableError as e:
            self.reasons[offset] = f"undecodable: {e}", value


def named(schema: Any) -> Iterator[dict[str, Any]]:
    """The named types within a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from named(branch)
    elif isinstance(schema, dict):
        if "name" in schema:
            yield schema
        for inner in (
            schema.get("items"),
            schema.get("values"),
            *(f["type"] for f in schema.get("fields", ())),
        ):
            yield from named(inner)


def large(drawn: Messages) -> bytes:
    """A sound record whose last field, a nullable string, is of megabytes."""
    body, raw = next(
        (m.body, m.raw) for m in iter(drawn.message, None) if m.sound and m.raw["TIMESTAMP"] is None
    )
    text = "ü" * (LARGE // 2)
    length = bytes.fromhex("80808006")
    assert raw and body.endswith(b"\0")
    return body[:-1] + b"\2" + length + text.encode()


def frame(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big")


@pytest.fixture(scope="module")
def written(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    folder = tmp_path_factory.mktemp("products") / NAME
    (folder / "schemas").mkdir(parents=True)
    (folder / "product.yaml").write_text(PRODUCT)
    (folder / "schemas" / f"{NAME}.avsc").write_text(json.dumps(pinned()))
    columns = [
        f"CAST(`{f.name}` AS {f.type.replace('(9)', '(6)')}) AS `{f.name}`"
        if "(9)" in f.type
        else f"`{f.name}`"
        for f in fields(json.dumps(pinned()))
    ]
    columns += [
        expression
        for f in fields(json.dumps(pinned()))
        for expression in arithmetic(f.name, f.type)
    ]
    (folder / f"{TABLE}.sql").write_text(f"SELECT {', '.join(columns)} FROM {NAME}\n")
    found = Log(stack)
    found.write()
    try:
        stack.kappa("deploy", NAME, "--from", str(folder), "--timeout", "240")
        yield found
    finally:
        stop_jobs(stack, NAME)


def test_every_value_is_in_the_table_as_it_was_written(written: Log) -> None:
    assert len(written.values) > MESSAGES / 10
    wanted = parse(json.dumps(pinned()))
    with query.open_tables(written.stack.settings, NAME) as connection:
        names = ", ".join(f'"{f.name}"' for f in wanted.fields)
        table = connection.execute(
            f"SELECT log_offset, {names} FROM {TABLE} ORDER BY log_offset"
        ).fetchall()
    assert [row[0] for row in table] == sorted(written.values)
    for offset, *values in table:
        row = dict(zip((f.name for f in wanted.fields), values, strict=True))
        assert rendered(row, wanted) == written.values[offset], offset


def test_everything_else_is_a_reject_with_its_reason_and_bytes(written: Log) -> None:
    assert len(written.reasons) > MESSAGES / 10
    with query.open_tables(written.stack.settings, NAME) as connection:
        table = connection.execute("SELECT log_offset, reason, payload FROM rejects").fetchall()
    assert {offset: (reason, payload) for offset, reason, payload in table} == written.reasons


def test_the_tables_columns_are_as_documented(written: Log) -> None:
    with query.open_tables(written.stack.settings, NAME) as connection:
        found = {
            name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {TABLE}").fetchall()
        }
    for number, row in enumerate(documented()):
        if row.duckdb != "–":
            assert found[f"f{number}"].replace('"', "") == row.duckdb


def test_each_record_is_accounted_for_and_the_job_never_restarted(written: Log) -> None:
    report = written.stack.kappa.json("audit", NAME)
    assert report["ok"]
    (partition,) = report["partitions"]
    assert partition["rows"] == len(written.values) and partition["undecodable"] == len(
        written.reasons
    )
    (attempt,) = Store(written.stack.settings.store).load(NAME).live
    assert (attempt.restarts, attempt.resumes) == (0, 0)
