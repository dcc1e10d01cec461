"""A construct that must not be deployed."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One refused construct, and what to write instead."""

    file: str
    line: int
    """From 1; 0: the file as a whole."""
    construct: str
    instead: str

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return asdict(self)
