"""Keys that functions read from `$KAPPA_SECRETS`: a release names the one that it was built with by its id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

NAMED = "keys.json"
"""File of an archived release: name of a key's file → id."""


def key_id(content: str) -> str:
    """What tells keys apart and says nothing else of them: scrypt (RFC 7914), so that guessing a weak one is dear."""
    return hashlib.scrypt(
        content.strip().encode(), salt=b"kappa: id of a key", n=2**14, r=8, p=1, dklen=8
    ).hex()


def kept(name: str, identity: str) -> str:
    """The file that keeps this key when another takes its name."""
    return f"{name}.{identity}"


def file_of(folder: Path, name: str, release: Path) -> Path:
    """The file of the key that a release was built with; outside of an archived release, the one of that name."""
    try:
        return folder / kept(name, json.loads((release / NAMED).read_text())[name])
    except (FileNotFoundError, KeyError):
        return folder / name
