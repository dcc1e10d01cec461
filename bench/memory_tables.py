"""What bench.memory measures: tables, a log, and an audit or a diff of them.

Tables are real ones, in a catalog of their own; the log is made up while it is read, so that no broker counts. Of
twenty offsets sixteen have a row; of the others one each is a duplicate, late, filtered, and a heartbeat. The diff's
other side has another amount in one row of a hundred.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.product.folder import Product
from jobs.product.model import Column, Output, OutputSettings, Resolved, Topic
from jobs.product.settings import ProductSettings
from replay.audit.audit import AuditSubject, audit
from replay.compare.diff import Side, diff
from replay.iceberg import lake, table_changes
from replay.offsets import Offsets
from replay.settings import Settings

PARTITIONS = 4
CHUNK = 2_000_000
"""Rows of one commit."""
CLASSES = 20
DUPLICATE, LATE, FILTERED, HEARTBEAT = 0, 5, 10, 15
"""Of an offset, divided by CLASSES, the rest that is of each class; others have a row."""
FIRST = 1_700_000_000_000
"""Milliseconds since the epoch of the first record."""
HOUR = 3_600_000
WIDE = 20
"""Columns of text that wide rows have beside the others, of 15 characters each: half of them of a thousand values, the
others with another one in every row."""
COLUMNS = {
    "order_rows": (
        ("id", "BIGINT"),
        ("amount", "BIGINT"),
        ("log_partition", "INT"),
        ("log_offset", "BIGINT"),
    ),
    "rejects": (
        ("log_topic", "STRING"),
        ("log_partition", "INT"),
        ("log_offset", "BIGINT"),
        ("reason", "STRING"),
        ("payload", "BYTES"),
    ),
}


class Log:
    """Records by their offsets, a millisecond apart; the last one comes a day after the others."""

    def __init__(self, covered: int) -> None:
        self._covered = covered

    def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes | None]]:
        for offset in range(start, end):
            value = None if offset % CLASSES == HEARTBEAT else b"%d,%d" % (partition, offset)
            yield offset, self._appended(offset), value

    def decode(self, topic: str, value: bytes) -> dict[str, Any] | None:
        partition, offset = map(int, value.split(b","))
        number = offset - 1 if offset % CLASSES == DUPLICATE and offset else offset
        late = 2 * HOUR if offset % CLASSES == LATE else 0
        amount = -1 if offset % CLASSES == FILTERED else offset % 1000
        happened = dt.datetime.fromtimestamp((self._appended(offset) - late) / 1000, dt.UTC)
        return {"id": (partition << 40) + number, "amount": amount, "ordered_at": happened}

    def offsets_at(self, topics: Iterable[str], timestamp_ms: int) -> dict[str, dict[int, int]]:
        last = self._covered - 1
        at = min(max(timestamp_ms - FIRST, 0), last)
        return {topic: dict.fromkeys(range(PARTITIONS), at) for topic in topics}

    def _appended(self, offset: int) -> int:
        return FIRST + offset + (24 * HOUR if offset == self._covered - 1 else 0)


def settings_of(home: Path) -> Settings:
    """A catalog of its own, and nothing else."""
    (home / "lake").mkdir(parents=True, exist_ok=True)
    nowhere = "http://127.0.0.1:1"
    return Settings.model_validate(
        {
            "home": home,
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "registry": nowhere,
            "flink": {
                "rest": nowhere,
                "home": home / "flink",
                "checkpoints": f"file://{home}/checkpoints",
            },
            "catalog": {
                "flink": {},
                "pyiceberg": {
                    "type": "sql",
                    "uri": f"sqlite:///{home}/lake/catalog.db",
                    "warehouse": f"file://{home}/lake/warehouse",
                },
            },
            "store": f"sqlite:///{home}/store.db",
            "secrets": home / "secrets",
        }
    )


def product(wide: bool = False) -> Product:
    """Events with an identity, a table that filters them, and rejects."""
    topic = Topic(time="ordered_at", allowed_lateness="1h", identity=("id",))
    outputs = {
        name: [Column(name=n, type=t) for n, t in columns] for name, columns in COLUMNS.items()
    }
    if wide:
        outputs["order_rows"] += [Column(name=f"text_{i}", type="STRING") for i in range(WIDE)]
    return Product(
        folder=Path("/nowhere"),
        settings=ProductSettings(
            name="shop", topics={"orders": topic}, outputs={"order_rows": OutputSettings()}
        ),
        resolved=Resolved(
            longest_wait=60,
            outputs={
                "order_rows": Output(
                    kind="rows",
                    of=("orders",),
                    where="amount >= 0",
                    select="…",
                    columns=outputs["order_rows"],
                ),
                "rejects": Output(kind="rejects", select="…", columns=outputs["rejects"]),
            },
        ),
    )


def build(home: Path, offsets: int, wide: bool = False) -> dict[str, dict[str, int]]:
    """Branch → table → snapshot, of two attempts that have read so many offsets."""
    catalog, found = lake.open_catalog(settings_of(home)), {}
    table_changes.ensure(catalog, product(wide))
    for branch in ("r1-a1", "r2-a1"):
        lake.create_branch(catalog, product(), branch)
        for start in range(0, offsets // PARTITIONS, CHUNK // PARTITIONS):
            end = min(start + CHUNK // PARTITIONS, offsets // PARTITIONS)
            for table, rows in (
                ("order_rows", _orders(start, end, changed=branch == "r2-a1", wide=wide)),
                ("rejects", _rejects(start, end)),
            ):
                loaded = catalog.load_table(("shop", table))
                loaded.append(rows.cast(loaded.schema().as_arrow()), branch=branch)
        found[branch] = {
            table: catalog.load_table(("shop", table)).metadata.refs[branch].snapshot_id
            for table in COLUMNS
        }
    return found


def _orders(start: int, end: int, *, changed: bool, wide: bool) -> pa.Table:
    places = [(p, np.arange(start, end, dtype=np.int64)) for p in range(PARTITIONS)]
    kept = [
        (p, o[~np.isin(o % CLASSES, (DUPLICATE, LATE, FILTERED, HEARTBEAT)) | (o == 0)])
        for p, o in places
    ]
    offsets = np.concatenate([o for _, o in kept])
    partitions = np.concatenate([np.full(len(o), p, dtype=np.int32) for p, o in kept])
    amounts = offsets % 1000 + ((offsets % 100 == 1) if changed else 0)
    texts = {f"text_{i}": _texts(offsets, i) for i in range(WIDE if wide else 0)}
    return pa.table(
        {
            "id": (partitions.astype(np.int64) << 40) + offsets,
            "amount": amounts,
            "log_partition": partitions,
            "log_offset": offsets,
            **texts,
        }
    )


def _texts(offsets: NDArray[np.int64], column: int) -> pa.Array:
    """15 characters each."""
    numbers = offsets * 7_919 + column if column % 2 else offsets % 1000
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 15, f"{column % 10}")


def _rejects(start: int, end: int) -> pa.Table:
    offsets = np.arange(start, end, dtype=np.int64)
    offsets = offsets[offsets % CLASSES == LATE]
    partitions = np.repeat(np.arange(PARTITIONS, dtype=np.int32), len(offsets))
    places = np.tile(offsets, PARTITIONS)
    payloads = pc.binary_join_element_wise(
        pa.array(partitions).cast(pa.string()), pa.array(places).cast(pa.string()), ","
    ).cast(pa.binary())
    return pa.table(
        {
            "log_topic": pa.repeat("orders", len(places)),
            "log_partition": partitions,
            "log_offset": places,
            "reason": pa.repeat("late: it happened long before", len(places)),
            "payload": payloads,
        }
    )


def work(
    what: str, home: Path, offsets: int, wide: bool, snapshots: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """One audit or diff in this process: whether it found what there is, and what."""
    each = offsets // PARTITIONS
    covered: Offsets = {"orders": dict.fromkeys(range(PARTITIONS), each)}
    settings, model, log = settings_of(home), product(wide), Log(each)
    if what == "audit":
        report = audit(settings, model, AuditSubject(snapshots["r1-a1"], covered), log)
        of_each = each // CLASSES * PARTITIONS
        found = report.totals
        right = (
            report.ok
            and [found[name] for name in ("late", "filtered", "heartbeats")] == [of_each] * 3
        )
    else:
        sides = [Side(name, model, snapshots[name], covered) for name in ("r1-a1", "r2-a1")]
        compared = {t.table: t for t in diff(settings, *sides, reader=log).tables}["order_rows"]
        right = (
            compared.changed == PARTITIONS * (each // 100)
            and not compared.only_old
            and not compared.only_new
        )
        found = {"same": compared.same, "changed": compared.changed}
    return {"right": right, "found": found}
