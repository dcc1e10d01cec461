"""Where a home is. It imports nothing, so that a command that needs no more starts at once."""

from __future__ import annotations

import os
from pathlib import Path


def kappa_home() -> Path:
    """`$KAPPA_HOME`, by default `.kappa` below the working directory."""
    return Path(os.environ.get("KAPPA_HOME") or ".kappa").absolute()
