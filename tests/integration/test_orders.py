"""The tests' own small product from an empty log to published tables, and everything that may be in its way."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented all the same
    NewTopic,
)
from prometheus_client.parser import text_string_to_metric_families

from jobs.product.folder import Product, load_product
from replay.controller.loop import Loop, WaitForLease
from replay.controller.platform import Platform
from replay.core.model import State
from replay.kafka import log, schema_registry
from replay.store.store import Store
from tests.hints_typed import TYPED
from tests.integration.running import Kappa, RunningStack, wait_until

ORDERS = Path(__file__).parents[1] / "products" / "orders"
BEGIN = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
COUNT = 300
FAR_ID = (999_999).to_bytes(4, "big")


@dataclass(frozen=True)
class Order:
    """One order, a minute after the one before."""

    number: int

    @property
    def ordered_at(self) -> int:
        return BEGIN + self.number * MINUTE

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "order_id": f"o{self.number}",
            "ordered_at": self.ordered_at,
            "shop": "abc"[self.number % 3],
            "cents": self.number * 7,
        }


@dataclass(frozen=True)
class Written:
    """What a test put into the log, by offset."""

    rows: dict[int, Order]
    duplicates: list[int]
    late: list[int]
    undecodable: list[int]


class Writer:
    """Appends to one topic, by default of one partition, its clock in the records' timestamps."""

    def __init__(self, stack: RunningStack, product: Product, partitions: int = 1) -> None:
        (self._topic,) = product.topics
        self._schema = fastavro.parse_schema(
            json.loads(product.schema_file(self._topic).read_text())
        )
        log.create_topics(stack.settings, {self._topic: partitions})
        self._id = schema_registry.register(stack.settings, product)[self._topic]
        self._producer = Producer(
            {**stack.settings.kafka, "enable.idempotence": True, "log_level": 0}
        )
        self.offset = 0

    def encode(self, order: dict[str, Any]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._schema, order)
        return b"\0" + self._id.to_bytes(4, "big") + body.getvalue()

    def write(self, value: bytes | None, appended: int, partition: int = 0) -> int:
        """Append, and say at which offset, if there is one partition."""
        self._producer.produce(self._topic, value, partition=partition, timestamp=appended)
        self.offset += 1
        return self.offset - 1

    def order(self, order: Order) -> int:
        return self.write(self.encode(order.fields), order.ordered_at)

    def heartbeat(self, appended: int) -> None:
        """A record without a value: the log's clock alone, so that the last windows close."""
        self.write(None, appended)
        self.flush()

    def flush(self) -> None:
        assert self._producer.flush(60) == 0


def write_orders(writer: Writer) -> Written:
    """Orders, some of them sent twice, some reported hours late, and garbage of every kind in between."""
    good = writer.encode(Order(0).fields)
    garbage = [b"", b"plain text", b"\1" + good[1:], b"\0" + FAR_ID + good[5:], good[:-3]]
    rows: dict[int, Order] = {}
    duplicates: list[int] = []
    late: list[int] = []
    undecodable: list[int] = []
    for order in map(Order, range(COUNT)):
        rows[writer.order(order)] = order
        if order.number % 50 == 10:
            duplicates.append(writer.order(order))
        if order.number % 60 == 30:
            stale = {
                **order.fields,
                "order_id": f"late{order.number}",
                "ordered_at": order.ordered_at - 2 * HOUR,
            }
            late.append(writer.write(writer.encode(stale), order.ordered_at))
            undecodable.append(writer.write(garbage[len(undecodable)], order.ordered_at))
    writer.heartbeat(BEGIN + 2 * DAY)
    return Written(rows, duplicates, late, undecodable)


def another_product(folder: Path, name: str) -> Path:
    """A copy of the product under another name, with a topic of that name."""
    copy = folder / name
    shutil.copytree(ORDERS, copy)
    (copy / "schemas" / "orders.avsc").rename(copy / "schemas" / f"{name}.avsc")
    for file in copy.rglob("*.*"):
        file.write_text(re.sub(r"\borders\b", name, file.read_text()))
    return copy


@dataclass(frozen=True)
class Deployed:
    """The product on the stack, with all that was written before it was deployed."""

    stack: RunningStack
    writer: Writer
    written: Written

    def query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.stack.kappa.json("query", "orders", sql)
        return rows

    def audit(self) -> dict[str, Any]:
        report: dict[str, Any] = self.stack.kappa.json("audit", "orders")
        return report


@pytest.fixture(scope="module")
def orders(stack: RunningStack) -> Iterator[Deployed]:
    writer = Writer(stack, load_product(ORDERS))
    written = write_orders(writer)
    try:
        stack.kappa("deploy", "orders", "--from", str(ORDERS), "--timeout", "180")
        yield Deployed(stack, writer, written)
    finally:
        stop_jobs(stack, "orders")


def stop_jobs(stack: RunningStack, product: str) -> None:
    """Give slots and memory back. No command ends what readers see, and a cancelled job would be resumed."""
    with (
        closing(Platform(stack.settings)) as platform,
        closing(Store(stack.settings.store)) as store,
    ):
        with WaitForLease(Loop(platform, store), product) as lease:
            live = store.load(product).live
            store.save(lease, *(replace(a, stop=State.retired, promote=None) for a in live))
        wait_until(lambda: not store.load(product).live, 120, f"the jobs of {product} have ended")


def refused(stack: RunningStack, name: str, source: Path) -> str:
    """What `kappa deploy` says when it fails."""
    done = stack.kappa("deploy", name, "--from", str(source), check=False, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_tables_are_read_at_a_checkpoint_of_an_attempt_or_as_of_a_time(orders: Deployed) -> None:
    kappa, sql = orders.stack.kappa, "SELECT count(*) AS n FROM order_rows"
    events = kappa.json("history", "orders")["events"]
    (move,) = [e for e in events if e["reason"] == "switch"]
    checkpoint = move["detail"].removeprefix("checkpoint ")
    with closing(Store(orders.stack.settings.store)) as store:
        at = datetime.fromtimestamp(store.seconds(), UTC).isoformat()
    shown = [{"n": COUNT}]
    for when in (["--attempt", "r1"], ["--checkpoint", checkpoint], ["--at", at]):
        assert kappa.json("query", "orders", sql, *when) == shown, when
    shell = subprocess.run(
        [sys.executable, "-m", "replay", "shell", "orders", "--attempt", "r1-a1"],
        input=f"SHOW TABLES;\n{sql};\nSELECT 1 FROM nowhere;\nSELECT 'not reached';",
        env=kappa.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shell.returncode == 1 and "nowhere" in shell.stderr
    assert all(word in shell.stdout for word in ("hourly_orders", "order_rows", str(COUNT)))
    assert "not reached" not in shell.stdout
    before = kappa("query", "orders", sql, "--at", "2020-01-01", check=False)
    assert before.returncode == 1 and "2020-01-01 00:00:00Z" in before.stderr


def test_every_order_is_in_the_table_once_and_the_first_copy_is_kept(orders: Deployed) -> None:
    rows = orders.query(
        "SELECT log_offset, order_id, epoch_ms(ordered_at) AS ordered_at, shop, cents "
        "FROM order_rows ORDER BY log_offset"
    )
    assert rows == [
        {"log_offset": offset, **order.fields}
        for offset, order in sorted(orders.written.rows.items())
    ]


def test_hours_add_up(orders: Deployed) -> None:
    expected: dict[tuple[str, int], list[int]] = {}
    for order in orders.written.rows.values():
        expected.setdefault((order.fields["shop"], order.ordered_at // HOUR * HOUR), []).append(
            order.fields["cents"]
        )
    rows = orders.query(
        "SELECT shop, epoch_ms(hour) AS hour, orders, cents FROM hourly_orders ORDER BY shop, hour"
    )
    assert rows == [
        {"shop": shop, "hour": hour, "orders": len(cents), "cents": sum(cents)}
        for (shop, hour), cents in sorted(expected.items())
    ]


def test_a_preview_says_which_of_its_rows_a_replay_would_have(orders: Deployed) -> None:
    since, until = ("2024-01-01T02:00:00Z", "2024-01-01T04:30:00Z")
    part = ["--since", since, "--until", until, "--limit", "1000"]
    found = orders.stack.kappa.json("preview", str(ORDERS), *part)
    tables = {
        t["table"]: [row for row in t["sample"] if row.pop("determined")] for t in found["tables"]
    }
    hour = [o for o in orders.written.rows.values() if o.ordered_at // HOUR == BEGIN // HOUR + 2]
    assert sorted(tables["hourly_orders"], key=lambda row: str(row["shop"])) == [
        {
            "hour": "2024-01-01 02:00:00",
            "shop": shop,
            "orders": sum(o.fields["shop"] == shop for o in hour),
            "cents": sum(o.fields["cents"] for o in hour if o.fields["shop"] == shop),
        }
        for shop in "abc"
    ]
    settled = range(BEGIN + 3 * HOUR, BEGIN + 3 * HOUR + 30 * MINUTE)
    assert sorted(row["log_offset"] for row in tables["order_rows"]) == sorted(
        offset for offset, o in orders.written.rows.items() if o.ordered_at in settled
    )
    assert all(len(t["sample"]) == t["rows"] > t["determined"] > 0 for t in found["tables"][:2])


def test_a_preview_differs_from_what_readers_see_where_the_sql_does(
    orders: Deployed, tmp_path: Path
) -> None:
    kappa, rows = orders.stack.kappa, orders.written.rows
    part = ["--since", "2024-01-01T02:00:00Z", "--until", "2024-01-01T04:30:00Z"]
    same = kappa.json("preview", str(ORDERS), *part, "--diff")["diff"]
    assert same["equal"] and same["not_compared"] == {}
    assert [(t["table"], t["same"]) for t in same["tables"][:2]] == [
        ("order_rows", 30),  # from 03:00 to 03:30: see the test before
        ("hourly_orders", 3),
    ]

    edited = tmp_path / "orders"
    shutil.copytree(ORDERS, edited)
    settings, hourly = edited / "product.yaml", edited / "hourly_orders.sql"
    settings.write_text(
        settings.read_text().replace(
            "[order_rows, hourly_orders]",
            """{order_rows: {where: "shop <> 'b'"}, hourly_orders: {}}""",
        )
    )
    hourly.write_text(hourly.read_text().replace("SUM(cents)", "2 * SUM(cents)"))
    first, end = min(rows), next(o for o, order in sorted(rows.items()) if order.number == 200)
    spans = ["--offsets", f"orders:0={first}-{end}"]
    found = kappa.json("preview", str(edited), *spans, "--diff", "--limit", "1000")["diff"]
    assert not found["equal"]
    table, totals = found["tables"][:2]
    # Nothing is before the part, and its clock has come to the minute 199 less an hour of lateness.
    settled = {o: order for o, order in rows.items() if order.number < 199 - 60}
    left_out = {o for o, order in settled.items() if order.fields["shop"] == "b"}
    assert {row["key"]["order_id"] for row in table["samples"]["only_old"]} == {
        rows[o].fields["order_id"] for o in left_out
    }
    counts = ("same", "only_old", "only_new", "changed")
    assert [table[c] for c in counts] == [len(settled) - len(left_out), len(left_out), 0, 0]
    # Two hours have ended by then, each with a row of each shop.
    assert [totals[c] for c in counts] == [0, 0, 0, 6]
    assert totals["columns"] == {"cents": 6}


@pytest.mark.parametrize("hint", TYPED)
def test_what_a_message_says_to_type_next_works(orders: Deployed, hint: str) -> None:
    done = orders.stack.kappa(*TYPED[hint])
    assert done.stdout, "it shows something"
    assert "Traceback" not in done.stderr


def test_late_and_undecodable_records_are_in_rejects(orders: Deployed) -> None:
    rows = orders.query(
        "SELECT log_offset, reason, octet_length(payload) AS bytes FROM rejects ORDER BY log_offset"
    )
    reasons = {row["log_offset"]: row["reason"] for row in rows}
    assert (
        sorted(o for o, reason in reasons.items() if reason.startswith("late: "))
        == orders.written.late
    )
    undecodable = [o for o, reason in sorted(reasons.items()) if reason.startswith("undecodable: ")]
    assert undecodable == orders.written.undecodable
    assert len(rows) == len(orders.written.late) + len(orders.written.undecodable)
    assert [row["bytes"] for row in rows if row["log_offset"] == orders.written.undecodable[1]] == [
        len(b"plain text")
    ]


def test_every_record_is_accounted_for(orders: Deployed) -> None:
    (partition,) = orders.audit()["partitions"]
    w = orders.written
    kinds = ("rows", "duplicates", "late", "undecodable", "heartbeats", "unaccounted", "covered")
    counts = [len(w.rows), len(w.duplicates), len(w.late), len(w.undecodable), 1, 0]
    assert [partition[kind] for kind in kinds] == [*counts, sum(counts)]


def test_the_controller_tells_prometheus_of_what_readers_see(orders: Deployed) -> None:
    stack = orders.stack
    (attempt,) = (
        a["attempt"] for a in stack.kappa.json("attempts", "orders") if a["state"] == "active"
    )
    wait_until(
        lambda: scraped(stack).get(
            f'kappa_published_info{{attempt="{attempt}",product="orders",release="r1"}}'
        ),
        30,
        lambda: f"the controller has looked at it: {scraped(stack)}",
    )
    # While nothing arrives one checkpoint in a minute is published, and deploy has just shown one.
    wait_until(
        lambda: scraped(stack)['kappa_publications_total{kind="publish",product="orders"}'] > 0,
        120,
        lambda: f"the controller publishes: {scraped(stack)}",
    )
    found, w = scraped(stack), orders.written
    assert found['kappa_published_rejects_records{product="orders"}'] == len(w.late) + len(
        w.undecodable
    )
    assert found['kappa_published_lag_records{product="orders"}'] == 0
    age = found['kappa_published_checkpoint_age_seconds{product="orders"}']
    assert age < 60 + 30
    assert found[f'kappa_attempt_job_running{{attempt="{attempt}",product="orders"}}'] == 1
    assert found['kappa_pass_errors_total{error="unexpected",product="orders"}'] == 0
    assert f" orders {attempt}: publish checkpoint " in stack.kappa("logs", "controller").stdout


def scraped(stack: RunningStack) -> dict[str, float]:
    """What /metrics of the controller says of orders, by name and sorted labels."""
    answer = httpx.get(f"http://127.0.0.1:{stack.layout.ports.controller}/metrics", trust_env=False)
    assert answer.status_code == 200
    samples = (s for family in text_string_to_metric_families(answer.text) for s in family.samples)
    return {
        f"{s.name}{{{','.join(f'{k}={v!r}' for k, v in sorted(s.labels.items()))}}}".replace(
            "'", '"'
        ): s.value
        for s in samples
        if s.labels.get("product") == "orders"
    }


def test_a_missing_topic_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    said = refused(stack, "nowhere", another_product(tmp_path, "nowhere"))
    assert (
        "error: the log of nowhere is not whole: topic nowhere\n  expected: a topic\n  found:    none\n"
        in said
    )


def test_a_topic_that_forgets_is_refused(stack: RunningStack, tmp_path: Path) -> None:
    source = another_product(tmp_path, "forgotten")
    topic = NewTopic("forgotten", 1, 1, config={**log.TOPIC_CONFIG, "retention.ms": "86400000"})
    log.admin(stack.settings).create_topics([topic])["forgotten"].result(30)
    schema_registry.register(stack.settings, load_product(source))
    said = refused(stack, "forgotten", source)
    assert (
        "the log of forgotten is not whole: topic forgotten\n  expected: retention.ms=-1\n" in said
    )
    assert "found:    retention.ms=86400000\n" in said
    assert "--entity-name forgotten --add-config retention.ms=-1" in said


def test_an_incompatible_schema_is_refused(orders: Deployed, tmp_path: Path) -> None:
    source = tmp_path / "orders"
    shutil.copytree(ORDERS, source)
    schema = source / "schemas" / "orders.avsc"
    schema.write_text(
        schema.read_text().replace('"cents", "type": "long"', '"cents", "type": "string"')
    )
    before = orders.stack.kappa.json("attempts", "orders")
    said = refused(orders.stack, "orders", source)
    assert "expected: a schema that reads the records of every registered version\n" in said
    assert (
        "found:    orders.avsc does not read records of version 1: field cents: long is not readable as string"
        in (said)
    )
    assert [a["attempt"] for a in orders.stack.kappa.json("attempts", "orders")] == [
        a["attempt"] for a in before
    ]


def test_without_the_registry_a_deploy_is_refused_and_a_running_job_goes_on(
    orders: Deployed,
) -> None:
    stack, more = orders.stack, [Order(4 * 24 * 60 + n) for n in range(10)]
    supervisorctl(stack, "stop", "registry")
    try:
        said = refused(stack, "orders", ORDERS)
        assert (
            f"the schema registry does not answer\n  expected: {stack.settings.registry.url}\n"
            in said
        )
        assert "next:     kappa status, then kappa up" in said
        for order in more:
            orders.writer.order(order)
        orders.writer.heartbeat(BEGIN + 6 * DAY)
        wait_until(
            lambda: orders.query("SELECT count(*) AS n FROM order_rows")[0]["n"]
            == COUNT + len(more),
            60,
            "orders that came while the registry was down are published",
        )
    finally:
        stack.kappa("up")
    deployed = stack.kappa("deploy", "orders", "--from", str(ORDERS))
    assert "is active already: nothing to deploy" in deployed.stdout + deployed.stderr
    (partition,) = orders.audit()["partitions"]
    assert (partition["unaccounted"], partition["covered"]) == (0, orders.writer.offset)


def supervisorctl(stack: RunningStack, *args: str) -> None:
    subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "supervisor.supervisorctl",
            "-s",
            f"unix://{stack.layout.socket}",
            *args,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.soak
def test_deploy_after_ctrl_c_goes_on_with_the_same_attempt(
    stack: RunningStack, tmp_path: Path
) -> None:
    source = another_product(tmp_path, "parted")
    writer = Writer(stack, load_product(source))
    write_orders(writer)
    try:
        with stack.kappa.start("deploy", "parted", "--from", str(source)) as deploy:
            said = _interrupt_after(deploy, "replaying from offset zero")
        assert deploy.returncode == 130, said
        assert (
            f"detached; r1-a1 goes on. Follow it again with: kappa deploy parted --from {source}"
            in said
        )
        again = stack.kappa("deploy", "parted", "--from", str(source), "--timeout", "180")
        assert re.search(
            r"parted r1-a1 .* (is under way: following it|is active already)",
            again.stdout + again.stderr,
        )
        (attempt,) = stack.kappa.json("attempts", "parted")
        assert (attempt["attempt"], attempt["state"]) == ("r1-a1", "active")
        (count,) = stack.kappa.json("query", "parted", "SELECT count(*) AS n FROM order_rows")
        assert count["n"] == COUNT
        stack.kappa("audit", "parted")
    finally:
        stop_jobs(stack, "parted")


def _interrupt_after(process: subprocess.Popen[str], text: str, seconds: float = 90) -> str:
    """SIGINT once the process has said this; all that it said."""
    assert process.stdout is not None
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        said = ""
        for line in process.stdout:
            said += line
            if text in line:
                process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        watchdog.cancel()
    assert text in said, said
    return said


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of 1 MB, where the path of a home is short enough."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("full", [False, True], ids=["small", "full"])
def test_up_refuses_a_disk_without_room(small_disk: Path, full: bool) -> None:
    if full:
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "filling").write_bytes(bytes(2 << 20))
    done = Kappa(small_disk)("up", "--port-base", "29000", check=False)
    assert done.returncode == 1
    assert f"error: too little disk\n  expected: 2,000 MB free for {small_disk}\n" in done.stderr
    assert f"\n  found:    {0 if full else 1} MB\n" in done.stderr
    assert "next:     free some space" in done.stderr
    assert not (small_disk / "config.yaml").exists()
