"""Python functions of the product whose rows are compared: one for each value, one for a batch."""

from __future__ import annotations

from typing import Any

import pandas as pd


def spelled(number: int | None, text: str | None) -> str | None:
    """Of both arguments alone."""
    return None if number is None else f"{number:+d}{text or ''}"


def doubled(numbers: pd.Series[Any]) -> pd.Series[Any]:
    """Twice each number below a limit that a BIGINT has room for; None stays None."""
    return pd.Series([None if n is None or n != n else int(n) * 2 for n in numbers], dtype=object)
