"""Keyed pseudonyms: the same value gives the same pseudonym, and without the key nobody can tell which."""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from udfs import keys

SECRETS = ("pseudonym.key",)
"""Secret files that functions of this module read: the id of what is in them belongs to a release that calls one."""
_MINIMUM_KEY_BYTES = 16


@lru_cache(maxsize=1)
def _key() -> bytes:
    """The release's key in `$KAPPA_SECRETS` (hexadecimal), read once per process; its value is never shown."""
    folder = os.environ.get("KAPPA_SECRETS")
    if not folder:
        raise RuntimeError(
            "pseudonym: expected KAPPA_SECRETS to name the folder of secret files, found it unset"
        )
    file = keys.file_of(Path(folder), SECRETS[0], release=Path(__file__).parents[1])
    try:
        key = bytes.fromhex(file.read_text().strip())
    except (OSError, ValueError) as e:
        raise RuntimeError(
            f"pseudonym: expected a hexadecimal key in {file}, found {type(e).__name__}"
        ) from None
    if len(key) < _MINIMUM_KEY_BYTES:
        raise RuntimeError(
            f"pseudonym: expected {_MINIMUM_KEY_BYTES} bytes or more in {file}, found {len(key)}"
        )
    return key


def pseudonym(values: pd.Series[Any]) -> pd.Series[Any]:
    """HMAC-SHA256 (RFC 2104) of each value's UTF-8 bytes, its first 128 bits in hexadecimal; None stays None."""
    return pd.Series([_pseudonym(value) for value in values], dtype=object)


# A product's values repeat (4,044 tail numbers in 336,776 flights): most calls are a look-up.
@lru_cache(maxsize=100_000)
def _pseudonym(value: str | None) -> str | None:
    return None if value is None else hmac.digest(_key(), value.encode(), "sha256")[:16].hex()
