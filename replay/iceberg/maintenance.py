"""Which files of a branch are too small, and what compaction made of them. Reads the tables; changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.table import Table

from replay.errors import ConfigError
from replay.iceberg import files, lake

TARGET = "128MB"
_SMALL = 0.75
"""Of the target: Iceberg's planner takes a file below that for one to be rewritten."""
_FEW = 5
"""Small files for which Iceberg's planner begins, if they are less than one target file together."""
_UNITS = {"": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}
_SIZE = re.compile(r"(\d+)\s*([KMG]B)?", re.IGNORECASE)
_LEAST = 2**20

Sizes = Mapping[str, int]
"""Data file → its size in bytes."""


def size_in_bytes(text: str) -> int:
    """`128MB` and the like; ConfigError for what is no size of a data file."""
    match = _SIZE.fullmatch(text.strip())
    found = int(match[1]) * _UNITS[(match[2] or "").upper()] if match else 0
    if found < _LEAST:
        raise ConfigError(
            "this is not a size of data files",
            expected="1MB or more, such as 128MB",
            found=text,
            next=f"--target-file-size {TARGET}",
        )
    return found


def too_small(sizes: Sizes, target: int) -> frozenset[str]:
    """The files that a compaction would put together: none if they are so few that it would not pay."""
    small = {file: size for file, size in sizes.items() if size < _SMALL * target}
    return (
        frozenset(small)
        if len(small) >= _FEW or (len(small) > 1 and sum(small.values()) > target)
        else frozenset()
    )


@dataclass(frozen=True)
class Compacted:
    """One table, before and after."""

    table: str
    before: Sizes
    after: Sizes
    small: frozenset[str]
    """Of `before`, those that were to be rewritten."""
    larger: int
    """How many files the compaction wrote instead. The others that are new in `after` are the job's."""

    @property
    def rewritten(self) -> int:
        """Files of before that the head has no more."""
        return len(self.small - self.after.keys())

    @property
    def failed(self) -> bool:
        """Whether there was something to do, and nothing of it was done."""
        return bool(self.small) and not self.rewritten

    def as_dict(self) -> dict[str, Any]:
        """For programs. What the job appended meanwhile is in the figures of after."""
        return {
            "table": self.table,
            "files_before": len(self.before),
            "files_after": len(self.after),
            "small": len(self.small),
            "rewritten": self.rewritten,
            "larger": self.larger,
            "bytes_before": sum(self.before.values()),
            "bytes_after": sum(self.after.values()),
        }

    def row(self, dry_run: bool = False) -> dict[str, Any]:
        """For people; with `dry_run` only how it is."""

        def both(figure: Callable[[Sizes], str]) -> str:
            return (
                figure(self.before) if dry_run else f"{figure(self.before)} → {figure(self.after)}"
            )

        done = f"{self.rewritten:,} → {self.larger:,}"
        return {
            "table": self.table,
            "files": both(lambda s: f"{len(s):,}"),
            "mean MB": both(lambda s: megabytes(sum(s.values()) / max(1, len(s)))),
            "MB": both(lambda s: megabytes(sum(s.values()))),
            **({"too small": len(self.small)} if dry_run else {"put together": done}),
        }


def sentence(compacted: Sequence[Compacted], branch: str, dry_run: bool) -> str:
    """What was done, in all tables."""
    small, rewritten = (
        sum(n) for n in zip(*((len(c.small), c.rewritten) for c in compacted), strict=True)
    )
    if not small:
        return "nothing to do: the small files are few"
    if dry_run:
        return f"would do: {small:,} small files of branch {branch} are put together"
    left = f"; {small - rewritten:,} are left for another run" if rewritten < small else ""
    return (
        f"{rewritten:,} small files of branch {branch} were put together{left}; readers get the larger ones with "
        "the next checkpoint"
    )


def megabytes(size: float) -> str:
    """To three digits, more or less."""
    return f"{size / 2**20:.{3 if size < 2**20 else 1}f}"


def sizes(tables: Mapping[str, Table], branch: str) -> dict[str, Sizes]:
    """Table → data files at the head of the branch."""
    return {
        name: _sizes(table.io, next(iter(lake.ancestors(table.metadata, branch))).manifest_list)
        for name, table in tables.items()
        if branch in table.metadata.refs
    }


def written(was: Table, now: Table, branch: str) -> int:
    """How many data files compactions wrote to the branch in between."""
    earlier = _compactions(was, branch)
    return sum(
        files for commit, files in _compactions(now, branch).items() if commit not in earlier
    )


def _compactions(table: Table, branch: str) -> dict[int, int]:
    """Compaction's snapshot on the branch → how many data files it wrote."""
    return {
        s.snapshot_id: int((s.summary and s.summary["added-data-files"]) or 0)
        for s in lake.ancestors(table.metadata, branch)
        if lake.same_rows(s)
    }


def _sizes(io: FileIO, manifest_list: str) -> Sizes:
    return {
        file: size
        for manifest in files.manifests_of(io, manifest_list)
        for file, size in files.sizes_of(io, manifest).items()
    }
