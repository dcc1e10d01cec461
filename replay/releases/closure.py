"""Which Python files a program consists of: its modules, and all of some packages that these import. Runs nothing."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from jobs.product import trees


def modules(root: Path, entries: Iterable[str], packages: Collection[str]) -> dict[str, Path]:
    """Name → file, of these modules and of what they import from `packages`, all of which are folders in `root`.

    Also the packages that the modules are in, whose `__init__.py` Python runs first; and what is only imported inside
    of a function. A name that is no module is no error: `from jobs.product import names` may name either.
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if (
            name in found
            or name.partition(".")[0] not in packages
            or (file := _file(root, name)) is None
        ):
            continue
        found[name] = file
        waiting.append(name.rpartition(".")[0])
        if not trees.odd(file):
            waiting += imported(file, name)
    return found


def imported(file: Path, name: str) -> Iterator[str]:
    """The names that a module imports, as they may be names of modules; none of one that Python cannot read."""
    try:
        nodes = list(ast.walk(tree(file)))
    except (SyntaxError, ValueError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def tree(file: Path) -> ast.Module:
    """A module's syntax."""
    return _tree(file, file.stat().st_mtime_ns)


@lru_cache
def _tree(file: Path, _changed: int) -> ast.Module:
    return ast.parse(file.read_bytes())


def _file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next(
        (f for f in (place.with_suffix(".py"), place / "__init__.py") if name and f.is_file()), None
    )
