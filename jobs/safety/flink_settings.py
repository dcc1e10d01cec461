"""The Flink settings that a product may have: those that decide no row, each with its values and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jobs.product.names import did_you_mean

_DURATION = r"[1-9]\d* ?(ms|s|min|h|d)"
_SIZE = r"[1-9]\d* ?(b|kb|mb|gb)"
_NUMBER = r"[1-9]\d*"
_BOOLEAN = "true|false"


@dataclass(frozen=True)
class Setting:
    """What a setting may be, and why it decides no row."""

    values: str
    """A regular expression, regardless of case."""
    why: str


# Not execution.checkpointing.unaligned: a barrier that overtakes a watermark leaves windows open that the checkpoint's
# position says are closed.
SETTINGS: Mapping[str, Setting] = {
    "state.backend.type": Setting("hashmap|rocksdb", "where state is kept"),
    "execution.checkpointing.incremental": Setting(
        _BOOLEAN, "how much of the state a checkpoint writes"
    ),
    "execution.checkpointing.timeout": Setting(_DURATION, "when a slow checkpoint is given up"),
    "execution.checkpointing.min-pause": Setting(
        _DURATION, "how soon the next checkpoint may begin"
    ),
    **{
        f"state.backend.rocksdb.{name}": Setting(
            values, "what memory RocksDB has and how it uses it"
        )
        for name, values in {
            "memory.managed": _BOOLEAN,
            "memory.fixed-per-slot": _SIZE,
            "memory.write-buffer-ratio": r"0\.\d+",
            "memory.high-prio-pool-ratio": r"0\.\d+",
            "predefined-options": "DEFAULT|SPINNING_DISK_OPTIMIZED(_HIGH_MEM)?|FLASH_SSD_OPTIMIZED",
            "block.cache-size": _SIZE,
            "writebuffer.size": _SIZE,
            "writebuffer.count": _NUMBER,
            "thread.num": _NUMBER,
        }.items()
    },
    "pipeline.max-parallelism": Setting(
        r"12[89]|1[3-9]\d|[2-9]\d\d|[1-9]\d{3}|[12]\d{4}",
        "into how many parts keys are cut, 128 or more; each key's rows are the same",
    ),
    **{
        f"python.fn-execution.{name}": Setting(
            values, "how many rows Python takes at once; a test shows that rows do not depend on it"
        )
        for name, values in {
            "bundle.size": _NUMBER,
            "bundle.time": _NUMBER,
            "arrow.batch.size": _NUMBER,
            "memory.managed": _BOOLEAN,
        }.items()
    },
    "restart-strategy.type": Setting(
        "exponential-delay|fixed-delay|failure-rate", "how a failed job is restarted"
    ),
    **{
        f"restart-strategy.{name}": Setting(
            values, "how often and how soon a failed job is restarted"
        )
        for name, values in {
            "exponential-delay.initial-backoff": _DURATION,
            "exponential-delay.max-backoff": _DURATION,
            "exponential-delay.backoff-multiplier": r"\d+(\.\d+)?",
            "exponential-delay.reset-backoff-threshold": _DURATION,
            "exponential-delay.jitter-factor": r"\d+(\.\d+)?",
            "exponential-delay.attempts-before-reset-backoff": _NUMBER,
            "fixed-delay.attempts": _NUMBER,
            "fixed-delay.delay": _DURATION,
            "failure-rate.max-failures-per-interval": _NUMBER,
            "failure-rate.failure-rate-interval": _DURATION,
            "failure-rate.delay": _DURATION,
        }.items()
    },
    "table.optimizer.agg-phase-strategy": Setting(
        "AUTO|ONE_PHASE|TWO_PHASE",
        "whether rows are also aggregated before they are distributed; sums are exact",
    ),
}


def refused(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each setting that is not listed, or has another value, and what is allowed."""
    for key, value in settings.items():
        known = SETTINGS.get(key)
        if known is None:
            meant = did_you_mean(key, tuple(SETTINGS)) or "docs/safety.md lists them"
            yield f"flink setting {key}", f"no such setting, or one that decides no row ({meant})"
        elif not re.fullmatch(known.values, value, re.IGNORECASE):
            yield f"flink setting {key}: {value}", f"a value that matches {known.values}"
