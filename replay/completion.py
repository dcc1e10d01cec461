"""What a shell completes: names that this home and the folders here know, without asking any program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from replay.home import kappa_home


def products(incomplete: str) -> list[str]:
    """Products below sql/, and those that were deployed from this home."""
    return _beginning(incomplete, _products())


def topics(incomplete: str) -> list[str]:
    """Topics whose schemas these products have."""
    return _beginning(
        incomplete, (f.stem for folder in _folders() for f in folder.glob("schemas/*.avsc"))
    )


def folders(incomplete: str) -> list[str]:
    """Folders of products below sql/."""
    return _beginning(incomplete, (str(f.parent) for f in Path("sql").glob("*/product.yaml")))


def _products() -> Iterator[str]:
    yield from (f.parent.name for f in Path("sql").glob("*/product.yaml"))
    yield from (f.name for f in (kappa_home() / "sources").glob("*"))


def _folders() -> Iterator[Path]:
    yield from Path("sql").glob("*")
    for remembered in (kappa_home() / "sources").glob("*"):
        yield Path(remembered.read_text().strip())


def _beginning(incomplete: str, names: Iterator[str]) -> list[str]:
    try:
        return sorted({name for name in names if name.startswith(incomplete)})
    except (OSError, ValueError):  # in the middle of a line nothing is to be said
        return []
