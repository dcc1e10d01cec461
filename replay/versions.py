"""Whatever is kept carries the version of its form: older ones are read, newer ones refused.

A program that adds something which an older one may ignore, and lose when it writes, keeps the version. Whatever an
older program would get wrong comes with a new version.
"""

from __future__ import annotations

from replay.errors import RefusedError

USE_NEWER = "use the kappa that wrote it, or a newer one"


def refuse_newer(what: str, found: object, known: int, *, next: str = USE_NEWER) -> None:
    """RefusedError unless `found` is a version that this program reads: 1 to `known`."""
    if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= known:
        return
    newer = isinstance(found, int) and found > known
    message = f"{what} is of a newer version of kappa" if newer else f"{what} has no known version"
    raise RefusedError(
        message,
        expected=f"version {known}" if known == 1 else f"version 1 to {known}",
        found=f"version {found}",
        next=next,
    )
