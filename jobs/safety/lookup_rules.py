"""What makes look-ups, interval joins and the latest row of a key safe to replay. Pure."""

from __future__ import annotations

from typing import Any

from jobs.plan.compiled import WINDOWS, Node
from jobs.plan.origins import origins
from jobs.product.folder import Product
from jobs.product.model import Role
from jobs.safety import window_rules
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.problem import Found


def versions(product: Product, node: Node) -> tuple[str, ...]:
    """The topics whose versions a look-up reads; empty for any other operator."""
    if node.type not in ("correlate", "python-correlate"):
        return ()
    function = node.function.removesuffix("_at")
    lookups = product.settings.lookups
    return tuple(lookups[function].values()) if function in lookups else (function,)


def interval_join(product: Product, node: Node) -> Found:
    bounds = (node.body.get("intervalJoinSpec") or {}).get("windowBounds") or {}
    if bounds.get("isEventTime") is False:
        yield "an interval join in processing time", LOG_CLOCK


def correlate(product: Product, node: Node) -> Found:
    topics = product.settings.topics
    read = versions(product, node)
    dimensions = sorted({n for n in read if n in topics and topics[n].role is Role.dimension})
    if dimensions and not _waited(product, node):
        yield (
            f"a look-up in {', '.join(dimensions)} of events that no window has held back",
            "an identity for the events, so that the source holds them for their allowed lateness; or the look-up "
            "after a window",
        )
    if dimensions and not _at_event_time(product, node):
        yield (
            f"a look-up in {', '.join(dimensions)} at another time than its event's",
            "the topic's time, or window_time after a window: a row would wait for any later time",
        )
    name = node.function
    of_one_topic = name.removesuffix("_at") in topics and any(n in topics for n in read)
    if of_one_topic and node.body.get("joinType") != "LEFT":
        yield (
            f"{name} that leaves out rows without a version",
            f"LEFT JOIN LATERAL TABLE({name}(…)) AS … ON TRUE",
        )


def _at_event_time(product: Product, node: Node) -> bool:
    """Whether a look-up's time follows the watermark: Flink says so, or it comes from such a column."""
    operand: dict[str, Any] = ((node.body.get("functionCall") or {}).get("operands") or [{}])[0]
    while operand.get("internalName") == "$CAST$1":
        operand = operand["operands"][0]
    if operand.get("kind") != "FIELD_ACCESS":
        return False
    return _is_rowtime(operand) or _follows_watermark(product, node.inputs[0], operand["name"])


def _is_rowtime(field: dict[str, Any]) -> bool:
    row = field["expr"]["type"]  # a text where no column is a time attribute
    types = {f["name"]: f["fieldType"] for f in row["fields"]} if isinstance(row, dict) else {}
    found = types.get(field["name"])
    return isinstance(found, dict) and found.get("kind") == "ROWTIME"


def _follows_watermark(product: Product, before: Node, column: str) -> bool:
    """Whether a column is a topic's time, or a window's."""
    topics = product.settings.topics
    return column in before.columns and all(
        o.kind.startswith("window_") or (o.kind == "field" and o.name == topics[o.topic].time)
        for o in origins(before, before.columns.index(column))
    )


def _waited(product: Product, node: Node) -> bool:
    """Whether rows reach an operator after the watermark has passed them: from a window, or held by the source."""
    held = {*WINDOWS, "window-deduplicate", "window-rank", "over-aggregate"}
    if node.type in held:
        return True
    if node.topic:
        topic = product.settings.topics[node.topic]
        return topic.held_by_source or topic.role is Role.reference
    return all(_waited(product, before) for before in node.inputs)


def deduplicate(product: Product, node: Node) -> Found:
    before = tuple(node.walk())
    roles = {product.settings.topics[n.topic].role for n in before if n.topic}
    if Role.events in roles and node.body.get("keepLastRow"):
        yield (
            "the latest row of each key, which every further row changes",
            "ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time> DESC, log_partition DESC, "
            "log_offset DESC) on a TUMBLE; or all rows, of which readers take the latest (docs/pipelines.md)",
        )
    elif Role.events in roles:
        yield (
            "a de-duplication of events without a window",
            "identity in product.yaml, or ROW_NUMBER() OVER (PARTITION BY window_start, window_end, … ORDER BY <time>, "
            "log_partition, log_offset) on a TUMBLE",
        )
    elif roles and not any(
        n.type in {*WINDOWS, "window-rank", "window-deduplicate"} for n in before
    ):
        yield (
            "the latest version of records that are not in order of time",
            "a key of the topic, and the look-up LATERAL TABLE(T_at(<event time>, <key>)); or, of a "
            "dimension, a de-duplication in a window of the version's time first: which of two "
            "partitions is read first depends on the run",
        )


def of_reference(product: Product, node: Node) -> Found:
    """What waits for the log's clock, of a reference: that is of its records, of which any may have any time."""
    if node.type in (*window_rules.AT_ONCE, "sink", "window-table-function"):
        return
    waiting = list(node.inputs)
    while waiting:
        before = waiting.pop()
        topic = product.settings.topics.get(before.topic)
        if topic and topic.role is Role.reference and topic.time not in (None, "log_appended"):
            yield (
                f"{node.type} of {before.topic}, a reference with a time of its own, which no record is too late for",
                "a key of the topic, and the look-up "
                f"LATERAL TABLE({before.topic}_at(<event time>, <key>)), which waits for all of its versions; "
                "or role: dimension",
            )
        if before.type in (*window_rules.AT_ONCE, "window-table-function"):
            waiting += before.inputs
