"""The Python functions of a product: those of `udfs`, the package that every release is archived with."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

PACKAGE = "udfs"
ALLOWED = (
    "module:function, a function that a module of udfs/ defines, such as udfs.privacy:pseudonym"
)
_NAME = re.compile(rf"{PACKAGE}(\.\w+)*:\w+")


class FunctionError(ValueError):
    """What a product names is no function of its own."""


def is_own(python: str) -> bool:
    """Whether `module:function` names something in a module of udfs/, which a release is archived with."""
    return _NAME.fullmatch(python) is not None


def imported(python: str) -> Callable[..., Any]:
    """The function; FunctionError where a module of udfs/ does not define it, or what its import raises."""
    if not is_own(python):
        raise FunctionError(f"no module of {PACKAGE}/")
    module, _, attribute = python.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    if found is None:
        raise FunctionError(f"{module} has no {attribute}")
    code = inner(found)
    if code is None:
        raise FunctionError(f"no function but {_kind(found)}")
    if not Path(code.__code__.co_filename).resolve().is_relative_to(root()):
        raise FunctionError(f"a function of {code.__module__}, which no release is archived with")
    call: Callable[..., Any] = found
    return call


def inner(found: Any) -> FunctionType | None:
    """The function itself, also below a functools.lru_cache; None of anything else that can be called."""
    if isinstance(found, functools._lru_cache_wrapper):
        found = found.__wrapped__
    return found if inspect.isfunction(found) else None


def root() -> Path:
    """The folder of udfs/."""
    return Path(importlib.import_module(PACKAGE).__file__ or "").resolve().parent


def _kind(found: Any) -> str:
    if inspect.isclass(found):
        return "a class"
    if inspect.isbuiltin(found):
        return "a built-in"
    return f"an object of class {type(found).__name__}"
