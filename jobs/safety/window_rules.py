"""What makes a window safe to replay: the log's clock, and rows that do not wait for it before a session. Pure."""

from __future__ import annotations

from jobs.plan.compiled import Node
from jobs.product import zones
from jobs.product.folder import Product
from jobs.safety.functions import LOG_CLOCK
from jobs.safety.problem import Found

AT_ONCE = frozenset(
    {
        "table-source-scan",
        "calc",
        "python-calc",
        "correlate",
        "python-correlate",
        "exchange",
        "union",
        "values",
        "expand",
        "drop-update-before",
        "watermark-assigner",
        "mini-batch-assigner",
    }
)


def windowed(product: Product, node: Node) -> Found:
    windowing = node.body.get("windowing") or {}
    if windowing.get("isRowtime") is False:
        yield f"{node.type} in processing time", LOG_CLOCK
    if node.window.get("type") == "SessionWindow":
        yield from _session(product, node)


def legacy_window(product: Product, node: Node) -> Found:
    window = node.window
    if window.get("isRowtime") is False or "PROCTIME" in str(window.get("timeField", "")):
        yield "group-window-aggregate in processing time", LOG_CLOCK
    kind = str(window.get("kind") or window.get("type", "")).upper()
    if kind.startswith(("SLIDE", "SLIDING", "HOP")) and not zones.is_fixed(
        product.settings.time_zone
    ):
        yield (
            "GROUP BY HOP(…), which counts wrongly in a time zone whose clocks change",
            "FROM TABLE(HOP(TABLE …, DESCRIPTOR(…), slide, size)) … GROUP BY window_start, window_end",
        )
    if kind.startswith("SESSION"):
        yield from _session(product, node)


def _session(product: Product, node: Node) -> Found:
    holding = next(
        (n for before in node.inputs for n in before.walk() if not _hands_on_at_once(n)), None
    )
    # A window operator whose input has been given its sessions already only takes them over.
    if (
        holding is not None
        and (node.body.get("windowing") or {}).get("strategy", "TimeAttribute") == "TimeAttribute"
    ):
        yield (
            f"a session of rows that {holding.type} holds until the log's clock has passed them",
            "SESSION of a topic's own rows, de-duplicated by identity in the source (without once: topic) if needed: "
            "among rows that were held, one exactly at the end of a session belongs to it in some runs and not in "
            "others",
        )
    if not zones.is_fixed(product.settings.time_zone):
        yield (
            "a session window in a time zone whose clocks change, where an hour is missing or passes twice",
            "time_zone: UTC, or another zone whose clocks never change",
        )


def _hands_on_at_once(node: Node) -> bool:
    """Whether no row of an operator waits for the watermark.

    The source's watermark stays two milliseconds below every row to come (LogClock.java). A row that waited for the
    watermark to come to its own time may follow one that is one millisecond below: with it a session that ends at the
    row's time is over, though it would take the row in.
    """
    if node.type == "interval-join":
        return ((node.body.get("intervalJoinSpec") or {}).get("joinSpec") or {}).get(
            "joinType"
        ) == "INNER"
    if node.type == "window-table-function":
        return node.window.get("type") != "SessionWindow"
    return node.type in AT_ONCE
