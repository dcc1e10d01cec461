"""What `kappa audit` says to do, by what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.product.folder import Product
from jobs.product.model import Topic
from jobs.product.settings import ProductSettings
from replay.audit.accounting import AuditReport, PartitionAudit
from replay.audit.advice import advice, faults


def product(**fields: Any) -> Product:
    topics = {
        "placed": Topic(topic="orders", time="at", allowed_lateness="1h", **fields),
        "shops": Topic(role="dimension", time="at", allowed_lateness="1h", key=("id",)),
    }
    return Product(
        folder=Path("/nowhere"), settings=ProductSettings(name="shop", topics=topics, outputs={})
    )


def report(
    topic: str = "orders", unaccounted: int = 0, stray: int = 0, **violations: int
) -> AuditReport:
    found = {"unaccounted": unaccounted, **violations}
    one = PartitionAudit(
        topic, 1, 9, {}, unaccounted, violations, {kind: (3, 4) for kind, n in found.items() if n}
    )
    return AuditReport(
        "shop", (one, PartitionAudit(topic, 2, 9, {"rows": 9}, 0)), {"order_rows": stray}
    )


@pytest.mark.parametrize(
    ("found", "of", "expected"),
    [
        pytest.param(
            report(unaccounted=2),
            product(),
            "if the SELECT of a row table of placed leaves them out (a WHERE, an inner join), say so with "
            "where: in product.yaml, or use a LEFT JOIN; else a replay has them: kappa deploy shop --again",
            id="left out",
        ),
        pytest.param(
            report("shops", unaccounted=2),
            product(),
            "of shops a replay writes them again: kappa deploy shop --again",
            id="a version",
        ),
        pytest.param(
            report(events_twice=2),
            product(identity=("id",)),
            "an event of placed was sent to two partitions, or at two times, and each is looked for by itself: "
            "set once: topic for placed in product.yaml, or have the producer choose the partition by id",
            id="a replay would do it again",
        ),
        pytest.param(
            report(events_twice=2),
            product(identity=("id",), once="topic"),
            "of placed a replay writes them again: kappa deploy shop --again",
            id="twice all the same",
        ),
        pytest.param(
            report(wrong_rejects=2),
            product(),
            "of placed a replay judges them again, as when their schema was registered after the job had read "
            "them: kappa deploy shop --again",
            id="wrongly rejected",
        ),
        pytest.param(
            report(keys_astray=2),
            product(keyed_by=("shop",)),
            "records of one key of placed are in several partitions (the number of partitions was changed, or a "
            "producer chooses them otherwise), so their order in ROWS OVER, LAG or MATCH_RECOGNIZE depends on the "
            "run: leave keyed_by: [shop] out of product.yaml, and what needs it out of the SQL",
            id="keys astray",
        ),
        pytest.param(
            report(offsets_twice=2),
            product(),
            "of placed a replay writes them again: kappa deploy shop --again",
            id="a record twice",
        ),
        pytest.param(
            report(stray=2),
            product(),
            "rows of order_rows were not written by its job, or its topic was deleted and created "
            "again: kappa deploy shop --again",
            id="stray rows",
        ),
    ],
)
def test_the_advice_fits_the_finding(found: AuditReport, of: Product, expected: str) -> None:
    assert advice(of, found).split("\n            ") == [expected, "keep this output"]


def test_findings_name_their_place() -> None:
    assert faults(report(unaccounted=2, events_twice=1, stray=7)) == (
        "orders-1: 2 unaccounted, such as at offsets 3, 4; orders-1: 1 events_twice, such as at offsets 3, 4; "
        "order_rows: 7 rows that come from no record of the log"
    )


def test_each_advice_is_given_once() -> None:
    one = report(unaccounted=2).partitions[0]
    assert advice(product(), AuditReport("shop", (one, one))).count("kappa deploy shop") == 1
