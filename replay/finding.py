"""What one check found of something that is not ours, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.errors import KappaError


@dataclass(frozen=True)
class Finding:
    """A check that was run: good unless there is an error."""

    name: str
    found: str = ""
    means: str = ""
    """What follows from it for products."""
    note: bool = False
    """Products can live with it, and a person would want to know."""
    error: KappaError | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs: problems as other checks have them."""
        e = self.error
        problem = (
            {"message": e.message, "expected": e.expected, "found": e.found, "next": e.next}
            if e
            else None
        )
        return {
            "name": self.name,
            "found": self.found,
            "means": self.means,
            "note": self.note,
            "problems": [problem] if problem else [],
        }
