"""What to do about what an audit found: it depends on the finding, and often a replay would not help. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.product.folder import Product
from jobs.product.model import Once, Role, Topic
from replay.audit.accounting import AuditReport, PartitionAudit

_NEW_LINE = "\n            "


def faults(report: AuditReport) -> str:
    """Every finding with its place and some offsets."""
    found = [
        f"{p.topic}-{p.partition}: {count} {kind}{_such_as(p, kind)}"
        for p in report.partitions
        for kind, count in _findings(p)
    ]
    found += [
        f"{table}: {count} rows that come from no record of the log"
        for table, count in report.stray_rows.items()
        if count
    ]
    return "; ".join(found)


def advice(product: Product, report: AuditReport) -> str:
    """A line for each kind of finding and topic."""
    lines = [_advice(product, kind, p) for p in report.partitions for kind, _ in _findings(p)]
    lines += [
        f"rows of {table} were not written by its job, or its topic was deleted and created again: "
        f"kappa deploy {product.name} --again"
        for table, count in report.stray_rows.items()
        if count
    ]
    return _NEW_LINE.join([*dict.fromkeys(lines), "keep this output"])


def _findings(p: PartitionAudit) -> Iterator[tuple[str, int]]:
    yield from (
        (kind, count)
        for kind, count in {"unaccounted": p.unaccounted, **p.violations}.items()
        if count
    )


def _such_as(p: PartitionAudit, kind: str) -> str:
    some = ", ".join(str(offset) for offset in p.samples.get(kind, ())[:5])
    return f", such as at offsets {some}" if some else ""


def _advice(product: Product, kind: str, p: PartitionAudit) -> str:
    topic, name = product.topics[p.topic], product.sql_name(p.topic)
    again = f"kappa deploy {product.name} --again"
    match kind:
        case "unaccounted" if topic.role is Role.events:
            return (
                f"if the SELECT of a row table of {name} leaves them out (a WHERE, an inner join), say so with "
                f"where: in product.yaml, or use a LEFT JOIN; else a replay has them: {again}"
            )
        case "events_twice":
            return _twice(topic, name, again)
        case "wrong_rejects":
            return (
                f"of {name} a replay judges them again, as when their schema was registered after the job had read "
                f"them: {again}"
            )
        case "keys_astray":
            return (
                f"records of one key of {name} are in several partitions (the number of partitions was changed, or "
                "a producer chooses them otherwise), so their order in ROWS OVER, LAG or MATCH_RECOGNIZE depends "
                f"on the run: leave keyed_by: [{', '.join(topic.keyed_by)}] out of product.yaml, and what needs "
                "it out of the SQL"
            )
        case _:  # a record in two rows or two classes, a version that is in no class
            return f"of {name} a replay writes them again: {again}"


def _twice(topic: Topic, name: str, again: str) -> str:
    """What to do about repeated events: a replay writes them again unless the rule of the topic changes."""
    if not topic.identity or topic.once is Once.in_topic:
        return f"of {name} a replay writes them again: {again}"
    return (
        f"an event of {name} was sent to two partitions, or at two times, and each is looked for by itself: set "
        f"once: topic for {name} in product.yaml, or have the producer choose the partition by "
        f"{', '.join(topic.identity)}"
    )
