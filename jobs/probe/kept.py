"""What a product's modules keep from call to call, and the constants that their code mentions."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import CellType, CodeType, FunctionType
from typing import Any

from jobs.probe.trial import FoundError, short
from jobs.product import own_functions

_MENTIONED = 60
_LISTED = 16


def refuse_changes(kept: list[dict[str, str]]) -> None:
    """Refuse values that changed during the last pass: a value computed once has settled by then, a counter has not."""
    before, after = kept[-2:]
    changed = [name for name, value in after.items() if before.get(name) != value]
    if changed:
        name = changed[0]
        words = f"{short(before.get(name, 'nothing'), 40)} and then {short(after[name], 40)}"
        raise FoundError("differs", f"it keeps what changes from call to call: {name} was {words}")


def kept_by_modules() -> dict[str, str]:
    """A summary of each variable of the product's modules."""
    package = own_functions.PACKAGE
    modules = [
        (n, m) for n, m in sys.modules.items() if n == package or n.startswith(f"{package}.")
    ]
    return {f"{module}.{name}": _summary(value) for module, found in modules
            for name, value in vars(found).items() if not name.startswith("__")}  # fmt: skip


def _summary(value: Any, depth: int = 3) -> str:
    if isinstance(value, str | int | float | bytes | None) or type(value).__module__ == "itertools":
        return short(repr(value))
    if not depth:
        return ""
    if isinstance(value, dict):
        value = [*value.items()] if len(value) <= _LISTED else len(value)
        return _summary(value, depth)
    if isinstance(value, list | tuple | set | frozenset | deque):
        inner = sorted(_summary(v, depth - 1) for v in value) if len(value) <= _LISTED else []
        return f"{len(value)} [{', '.join(inner)}]"
    if (
        isinstance(value, FunctionType)
        and value.__module__.partition(".")[0] == own_functions.PACKAGE
    ):
        cells = [c.cell_contents for c in value.__closure__ or () if c != CellType()]
        return _summary([value.__defaults__, value.__kwdefaults__, vars(value), cells], depth)
    if (value if isinstance(value, type) else type(value)).__module__.partition(".")[
        0
    ] == own_functions.PACKAGE:
        return _summary(dict(getattr(value, "__dict__", {})), depth)
    return ""


def mentioned(call: Callable[..., Any]) -> list[str | int | float]:
    """Constants in the code of a function and of its module: values that its branches compare with."""
    own = own_functions.inner(call)
    assert own is not None
    module = [value for name, value in own.__globals__.items() if not name.startswith("__")]
    theirs = [
        f.__code__ for f in module if isinstance(f, FunctionType) and f.__module__ == own.__module__
    ]
    held = [
        v
        for v in module
        if isinstance(v, str | int | float | dict | set | frozenset | list | tuple)
    ]
    near = _constants([own.__code__, *(own.__defaults__ or ())])
    far = _constants([*theirs, *held])
    found = dict.fromkeys([*sorted(near, key=repr), *sorted(far, key=repr)])
    return [m for m in found if m != own.__doc__][:_MENTIONED]


def _constants(values: Iterable[Any], depth: int = 3) -> Iterator[str | int | float]:
    for value in values:
        if (isinstance(value, str) and 0 < len(value) <= 100) or (
            type(value) in (int, float) and value == value
        ):
            yield value
        elif isinstance(value, CodeType):
            yield from _constants(value.co_consts, depth)
        elif (
            isinstance(value, dict | set | frozenset | list | tuple) and depth and len(value) < 1000
        ):
            yield from _constants(list(value), depth - 1)
