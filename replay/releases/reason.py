"""Reasons for what a change of a product asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What has to be done, the least first."""

    nothing = "nothing"
    """Readers see this already."""
    metadata = "metadata"
    """The same rows: no replay, readers' tables stay."""
    replay = "replay"
    """Other rows: the log is read again from offset zero."""
    breaking = "breaking"
    """Readers of the tables could not go on: refused."""


@dataclass(frozen=True)
class Reason:
    """One thing that changed."""

    kind: Kind
    where: str
    """File, table or column."""
    what: str
    instead: str = ""
    """Of what is refused: what to write instead."""
