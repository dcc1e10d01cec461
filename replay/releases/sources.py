"""Where the folder of a product was when it was deployed last, so that its name is enough from then on.

It is what this home remembers, one file for each product. Only commands that were not told a folder ask for it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.settings import Settings

_FOLDER = "sources"


def remember(settings: Settings, product: str, folder: Path) -> None:
    """Keep the folder, unless it is one of the archive, which is removed some day. What cannot be kept is not."""
    folder = folder.absolute()
    if folder.is_relative_to(settings.releases):
        return
    file = settings.home / _FOLDER / product
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{folder}\n")


def forget(settings: Settings, product: str) -> None:
    """Of a product that is removed."""
    (settings.home / _FOLDER / product).unlink(missing_ok=True)


def remembered(home: Path, product: str) -> Path | None:
    """The folder of the last deploy, if it still has a product."""
    if not product or Path(product).name != product:
        return None
    try:
        folder = Path((home / _FOLDER / product).read_text().strip())
        return folder if folder.is_absolute() and (folder / "product.yaml").is_file() else None
    except (OSError, ValueError):
        return None
