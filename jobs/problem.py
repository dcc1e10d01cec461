"""A construct that must not be deployed, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
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


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; one that differs only by case is the nearest."""
    by_case = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), list(by_case), n=1, cutoff=0.6)
    return by_case[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """'did you mean amount?', or the empty text."""
    found = nearest(name, names)
    return f"did you mean {found}?" if found else ""
