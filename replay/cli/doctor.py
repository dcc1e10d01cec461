"""What `kappa doctor --catalog` does, apart from how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from replay.finding import Finding
from replay.iceberg import catalog_checks, lake
from replay.output import busy
from replay.settings import load_settings


def catalog(namespace: str | None) -> Sequence[Finding]:
    """Try what products need of the catalog of the settings, in a namespace that is removed again."""
    settings = load_settings()
    with busy("examining the Iceberg catalog"):
        return catalog_checks.examine(partial(lake.open_catalog, settings), namespace)
