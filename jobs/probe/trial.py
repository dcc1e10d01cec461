"""One function and the rows that it is tried with, and what a call of it comes to."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.probe.arguments import Literal, Operand, Values, rows
from jobs.probe.returned import ReturnedError, as_declared, as_pandas, from_pandas
from jobs.product.column_types import Type

_SHOWN = 160


class LimitError(BaseException):
    """A function does not end. No Exception, which functions catch."""


@dataclass(frozen=True)
class Answer:
    """What one call came to."""

    kind: str
    """value, raises, or returns: what is not of the declared type"""
    text: str
    detail: str = field(default="", compare=False)


class FoundError(Exception):
    """Something is wrong with a function: its kind, and what to say."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


@dataclass(frozen=True)
class Trial:
    """One function and the operands that it is called with."""

    name: str
    call: Callable[..., Any]
    vectorised: bool
    declared: Type
    operands: tuple[Operand, ...]
    mentioned: tuple[Any, ...]
    zone: str
    backwards: bool
    """The other process begins with the other end."""

    def rows(self) -> list[Values]:
        """Its arguments, made again, as a function may change them."""
        found = rows(self.operands, self.name, self.mentioned)
        return [
            tuple(self._local(v, o) for v, o in zip(r, self.operands, strict=True)) for r in found
        ]

    def _local(self, value: Any, operand: Operand) -> Any:
        """As PyFlink hands a TIMESTAMP_LTZ to plain Python: on the clocks of the product's zone."""
        if self.vectorised or value is None or not str(operand).startswith("TIMESTAMP_LTZ"):
            return value
        pytz: Any = importlib.import_module("pytz")
        return pytz.timezone(self.zone).localize(value)

    def shown(self, values: Sequence[Any]) -> str:
        """The call, as it is written in SQL or Python."""
        return f"{self.name}({', '.join(short(shown(v), 60) for v in values)})"


def shown(value: Any) -> str:
    """A value as Python writes it; dictionaries were sorted already."""
    return repr(value)


def short(text: str, length: int = _SHOWN) -> str:
    """What fits on a line."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def batch_of(trial: Trial, table: list[Values]) -> list[Answer]:
    """The answers for some rows at once; what the call raises is that of each."""
    arguments = [
        _argument(trial, o, [values[at] for values in table]) for at, o in enumerate(trial.operands)
    ]
    before = [shown_column(a) for a in arguments]
    try:
        found = from_pandas(invoke(trial.call, arguments), trial.declared, len(table), trial.zone)
    except LimitError:
        raise
    except ReturnedError as e:
        return [Answer("returns", "another type", str(e))] * len(table)
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        return [raised(e)] * len(table)
    if [shown_column(a) for a in arguments] != before:
        raise FoundError("changes", f"{trial.shown(table[0])} changes its arguments")
    return [_value(trial, v) for v in found]


def _argument(trial: Trial, operand: Operand, values: list[Any]) -> Any:
    if isinstance(operand, Literal):  # PyFlink hands a constant on as it is
        return operand.value
    return as_pandas(values, operand, trial.zone)


def shown_column(argument: Any) -> str:
    """A Series or DataFrame, to see whether it was changed."""
    return shown(argument.values.tolist()) if hasattr(argument, "values") else shown(argument)


def invoke(call: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Nothing but the function: what is asked for below this is the product's doing."""
    return call(*arguments)


def called(trial: Trial, values: Values) -> Answer:
    try:
        value = invoke(trial.call, values)
    except LimitError:
        raise
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        return raised(e)
    return _value(trial, value)


def _value(trial: Trial, value: Any) -> Answer:
    try:
        text = shown(as_declared(value, trial.declared))
    except ReturnedError as e:
        return Answer("returns", "another type", str(e))
    if len(text) > _SHOWN:
        text = f"{short(text, _SHOWN // 2)} ({len(text)} characters, SHA-256 {_digest(text)})"
    return Answer("value", text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:12]


def raised(error: BaseException) -> Answer:
    name = type(error).__name__
    return Answer("raises", f"{name} raised", f"{name}: {' '.join(str(error).split())}")
