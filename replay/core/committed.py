"""The offsets that a job commits to its consumer group: for display only, so who changes them is named, no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from replay import offsets
from replay.core.model import Attempt, Committed
from replay.offsets import Offsets

_COMMITS_WITHIN = 30.0
"""Seconds: the first commit of a source finds its group's coordinator first."""


def foreign_offsets(
    attempt: Attempt, committed: Mapping[str, Mapping[int, Committed]], growing: Offsets
) -> str:
    """What was done to an attempt's committed offsets from outside; empty: nothing.

    `growing` has the topics that are read without end: of the others the last offsets may never be committed.
    """
    if not attempt.committed or not attempt.positions[-1:] or not attempt.positions[-1].read:
        return ""  # nothing was committed yet, or by a connector that does not sign
    were_set = ", ".join(_set(attempt, committed))
    deleted = ", ".join(_deleted(committed, offsets.only(_settled(attempt), growing)))
    changes = [
        *([f"set {were_set}"] if were_set else []),
        *([f"deleted those of {deleted}"] if deleted else []),
    ]
    if not changes:
        return ""
    return (
        f"somebody changed the committed offsets of group {attempt.group}: {'; '.join(changes)}. "
        "Nothing depends on them, and the job commits its own at its next checkpoint"
    )


def _settled(attempt: Attempt) -> Offsets:
    """What the job had read so long ago that its commit has arrived: each source commits a while after a checkpoint."""
    newest = attempt.positions[-1].at
    return next(
        (p.read for p in reversed(attempt.positions) if p.at <= newest - _COMMITS_WITHIN), {}
    )


def _set(attempt: Attempt, committed: Mapping[str, Mapping[int, Committed]]) -> Iterator[str]:
    for topic, partitions in sorted(committed.items()):
        for partition, found in sorted(partitions.items()):
            if not any(found.by.startswith(f"kappa job {job} ") for job in attempt.job_ids):
                yield f"{topic}-{partition} to {found.offset:,}"


def _deleted(committed: Mapping[str, Mapping[int, Committed]], read: Offsets) -> Iterator[str]:
    for topic, partition, offset in offsets.partitions(read):
        if offset and partition not in committed.get(topic, {}):
            yield f"{topic}-{partition}"
