"""Topics on a real broker and registry, and a product that is made of one without a line of Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaReference

from replay.kafka import schema_registry, topics
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs

TOPIC = "srv.public.orders"
FIELDS: list[dict[str, Any]] = [
    {"name": "order_id", "type": "string"},
    {"name": "ordered_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
    {
        "name": "amount",
        "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2},
    },
    {"name": "table", "type": ["null", "string"], "default": None},
]
CURRENCY = {"name": "currency", "type": "string", "default": "EUR"}


def avsc(folder: Path, *more: dict[str, Any]) -> str:
    file = folder / "order.avsc"
    file.write_text(json.dumps({"type": "record", "name": "Order", "fields": [*FIELDS, *more]}))
    return str(file)


def order(number: int, **more: Any) -> dict[str, Any]:
    return {
        "order_id": f"o{number}",
        "ordered_at": f"2024-06-03T{number // 60:02}:{number % 60:02}:00.000001Z",
        "state": "PAID" if number % 2 else "NEW",
        "amount": f"{number}.50",
        **more,
    }


def lines(*values: Any) -> str:
    return "".join(json.dumps(v) + "\n" for v in values)


def produce(
    stack: RunningStack, text: str, *options: str, topic: str = TOPIC
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "replay", "topic", "produce", topic, *options],
        input=text,
        text=True,
        env=stack.kappa.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def peeked(stack: RunningStack, *options: str, topic: str = TOPIC) -> list[dict[str, Any]]:
    out = stack.kappa("topic", "peek", topic, *options, "--output", "json").stdout
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def filled(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> RunningStack:
    """A topic of two partitions with 120 orders, keyed and dated, and a heartbeat in each partition."""
    stack.kappa(
        "topic",
        "create",
        TOPIC,
        "--partitions",
        "2",
        "--schema",
        avsc(tmp_path_factory.mktemp("avsc")),
    )
    done = produce(
        stack,
        lines(*map(order, range(120)), None),
        "--key",
        "order_id",
        "--timestamp",
        "ordered_at",
    )
    assert done.returncode == 0, done.stderr
    return stack


def test_create_said_twice_is_done_once(filled: RunningStack, tmp_path: Path) -> None:
    again = filled.kappa.json(
        "topic", "create", TOPIC, "--partitions", "2", "--schema", avsc(tmp_path)
    )
    assert (again["created"], again["registered"], again["version"]) == (False, False, 1)
    refused = filled.kappa("topic", "create", TOPIC, "--partitions", "3", check=False)
    assert refused.returncode == 1
    assert (
        f"topic {TOPIC} exists with other partitions\n  expected: 3\n  found:    2\n"
        in refused.stderr
    )


def test_a_dry_run_creates_nothing(stack: RunningStack, tmp_path: Path) -> None:
    said = stack.kappa.json("topic", "create", "never", "--schema", avsc(tmp_path), "--dry-run")
    assert (said["created"], said["registered"]) == (True, True)
    assert "never" not in topics.names(stack.settings)
    assert stack.kappa("topic", "describe", "never", check=False).returncode == 1


def test_the_topic_is_as_the_log_wants_it(filled: RunningStack) -> None:
    described = filled.kappa.json("topic", "describe", TOPIC)
    assert described["problems"] == []
    assert (described["dated"], described["schema"]["version"]) == ("CreateTime", 1)
    assert sum(p["end"] for p in described["partitions"]) == 122
    assert TOPIC in [row["topic"] for row in filled.kappa.json("topic", "list")]


def test_records_arrive_as_they_were_written(filled: RunningStack) -> None:
    found = peeked(filled, "-n", "200", "--from", "beginning")
    records = [r for r in found if r["kind"] == "record"]
    assert sorted(r["value"]["order_id"] for r in records) == sorted(f"o{n}" for n in range(120))
    seventh = next(r for r in records if r["key"] == "o7")
    assert seventh["value"] == {
        "order_id": "o7",
        "ordered_at": "2024-06-03T00:07:00.000001Z",
        "state": "PAID",
        "amount": "7.50",
        "table": None,
    }
    assert seventh["appended"] == "2024-06-03T00:07:00.000Z"
    assert [r["kind"] for r in found].count("heartbeat") == 2
    assert peeked(filled, "-n", "2") == found[-2:]


def test_what_peek_prints_is_produced_again(filled: RunningStack, tmp_path: Path) -> None:
    filled.kappa("topic", "create", "copy", "--partitions", "2", "--schema", avsc(tmp_path))
    found = peeked(filled, "-n", "200", "--from", "beginning")
    done = produce(filled, lines(*found), "--envelope", topic="copy")
    assert done.returncode == 0, done.stderr
    assert peeked(filled, "-n", "200", "--from", "beginning", topic="copy") == found


def test_a_bad_line_ends_it_and_nothing_before_it_is_lost(
    stack: RunningStack, tmp_path: Path
) -> None:
    stack.kappa("topic", "create", "strict", "--schema", avsc(tmp_path))
    done = produce(
        stack, lines(order(1), order(2), order(3, amount="1.234"), order(4)), topic="strict"
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: line 3 of standard input is no record of strict: field amount; 2 records before it are in the log\n"
        "  expected: decimal(10, 2): a number of at most 8 digits before and 2 after the point\n"
        '  found:    "1.234"\n'
        "  next:     correct it, and send from line 3 on\n"
    )
    assert [r["value"]["order_id"] for r in peeked(stack, topic="strict")] == ["o1", "o2"]


def test_undecodable_records_are_shown_with_the_reason(stack: RunningStack, tmp_path: Path) -> None:
    stack.kappa("topic", "create", "odd", "--schema", avsc(tmp_path))
    produce(
        stack,
        lines(
            {"payload": "hex:0102"}, {"payload": "hex:00000f423f00"}, {"key": "k", "value": None}
        ),
        "--envelope",
        topic="odd",
    )
    assert [(r["kind"], r.get("reason")) for r in peeked(stack, topic="odd")] == [
        ("undecodable", "magic byte is 0x01, not 0x00"),
        ("undecodable", "schema id 999999 is unknown to the registry"),
        ("tombstone", None),
    ]


def test_tail_shows_what_arrives_until_ctrl_c(stack: RunningStack, tmp_path: Path) -> None:
    stack.kappa("topic", "create", "live", "--schema", avsc(tmp_path))
    produce(stack, lines(order(1)), topic="live")
    with stack.kappa.start("topic", "tail", "live", "--output", "json") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["value"]["order_id"] == "o1"
        produce(stack, lines(order(2)), topic="live")
        assert json.loads(tail.stdout.readline())["value"]["order_id"] == "o2"
        tail.send_signal(signal.SIGINT)
        assert tail.wait(30) == 0


def test_the_newest_are_found_before_a_tail_of_aborted_records(
    stack: RunningStack, tmp_path: Path
) -> None:
    stack.kappa("topic", "create", "aborted", "--schema", avsc(tmp_path))
    produce(stack, lines(order(1), order(2), order(3)), topic="aborted")
    producer = Producer({**stack.settings.kafka, "transactional.id": "topics-test", "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(150):
        producer.produce("aborted", b"never")
    producer.flush(30)
    producer.abort_transaction(30)
    assert [r["value"]["order_id"] for r in peeked(stack, "-n", "2", topic="aborted")] == [
        "o2",
        "o3",
    ]


def test_a_schema_that_refers_to_another_subject_is_read_whole(
    stack: RunningStack, tmp_path: Path
) -> None:
    money = {
        "type": "record",
        "name": "Money",
        "namespace": "shop",
        "fields": [{"name": "cents", "type": "int"}],
    }
    bill = {
        "type": "record",
        "name": "Bill",
        "namespace": "shop",
        "fields": [
            {"name": "id", "type": "int"},
            {"name": "price", "type": "shop.Money"},
            {"name": "tip", "type": "Money"},
        ],
    }
    stack.kappa("topic", "create", "bills")
    with schema_registry.client(stack.settings) as registry:
        registry.register_schema("money", Schema(json.dumps(money), "AVRO"))
        refers = [SchemaReference("shop.Money", "money", 1)]
        registry.register_schema("bills-value", Schema(json.dumps(bill), "AVRO", refers))
    value = {"id": 1, "price": {"cents": 5}, "tip": {"cents": 2}}
    done = produce(stack, lines(value), topic="bills")
    assert done.returncode == 0, done.stderr
    assert [r["value"] for r in peeked(stack, topic="bills")] == [value]
    folder = tmp_path / "sql" / "billing"
    stack.kappa("new", "billing", "--topic", "bills", "--to", str(folder))
    assert stack.kappa.json("check", str(folder))["schemas"] == []


@pytest.fixture
def shop(filled: RunningStack) -> Iterator[RunningStack]:
    """A stack on which a product of this name may be deployed: its job leaves its slot to others."""
    yield filled
    stop_jobs(filled, "shop")


def test_from_an_empty_log_to_rows_and_a_schema_that_grows(
    shop: RunningStack, tmp_path: Path
) -> None:
    kappa, folder = shop.kappa, tmp_path / "sql" / "shop"
    kappa("new", "shop", "--topic", TOPIC, "--to", str(folder))
    kappa("check", str(folder))
    assert "2 passed" in kappa("test", str(folder)).stdout
    produce(shop, "\n")  # dated now: every window closes
    kappa("deploy", "shop", "--from", str(folder), "--timeout", "200")
    count = "SELECT count(*) AS n, sum(amount) AS amount FROM shop_rows"
    assert kappa.json("query", "shop", count) == [{"n": 120, "amount": "7200.00"}]
    assert kappa.json("query", "shop", "SELECT sum(events) AS n FROM hourly_shop") == [{"n": 120}]
    kappa("audit", "shop")

    kappa("topic", "create", TOPIC, "--schema", avsc(tmp_path, CURRENCY))
    (compared,) = kappa.json("plan", "shop", "--from", str(folder))["schemas"]
    assert (compared["kind"], compared["what"], compared["next"]) == (
        "registry_newer",
        'version 2 has + currency string, default "EUR"',
        f"kappa pull shop --from {folder}",
    )
    (pulled,) = kappa.json("pull", "shop", "--from", str(folder))["pulled"]
    assert pulled["changes"] == ['+ currency string, default "EUR"']
    assert kappa.json("plan", "shop", "--from", str(folder))["schemas"] == []
    wait_until(
        lambda: kappa.json("query", "shop", count)[0]["n"] == 120, 30, "the active release goes on"
    )


def test_avro_without_a_registry_is_produced_and_shown(stack: RunningStack, tmp_path: Path) -> None:
    topic, schema = "srv.orders-of-no-registry", avsc(tmp_path)
    stack.kappa("topic", "create", topic)
    written = ("--format", "avro-single-object", "--schema", schema)
    done = produce(stack, lines(order(1), order(2)), *written, topic=topic)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"next:  kappa topic peek {topic} {' '.join(written)}\n")
    found = peeked(stack, *written, topic=topic)
    assert [r["value"]["order_id"] for r in found] == ["o1", "o2"]
    [alone, _] = peeked(stack, topic=topic)
    assert alone["kind"] == "undecodable" and "names a schema that no registry" in alone["reason"]
