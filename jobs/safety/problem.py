"""Constructs that must not be deployed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

Found = Iterator[tuple[str, str]]
"""What a rule refuses: constructs, each with what to write instead."""


@dataclass(frozen=True)
class Problem:
    """One refused construct, and what to write instead."""

    file: str
    line: int
    """Counted from 1; 0 means the whole file."""
    construct: str
    instead: str

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return asdict(self)
