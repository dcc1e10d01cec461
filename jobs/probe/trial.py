"""One function, the rows that it is tried with, and the answer of each call."""

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
    """A function does not end. It is not an Exception, because functions catch those."""


@dataclass(frozen=True)
class Answer:
    """The outcome of one call."""

    kind: str
    """`value`; `raises`; or `returns`: the value is not of the declared type."""
    text: str
    detail: str = field(default="", compare=False)


class FoundError(Exception):
    """A problem of a function: its kind and the text to report."""

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
    """Whether this process takes the rows in reverse order; the other one does not."""

    def rows(self) -> list[Values]:
        """The rows of arguments, built again each time, because a function may change them."""
        found = rows(self.operands, self.name, self.mentioned)
        return [
            tuple(self._local(v, o) for v, o in zip(r, self.operands, strict=True)) for r in found
        ]

    def _local(self, value: Any, operand: Operand) -> Any:
        """A TIMESTAMP_LTZ as PyFlink passes it to plain Python: in the product's time zone."""
        if self.vectorised or value is None or not str(operand).startswith("TIMESTAMP_LTZ"):
            return value
        pytz: Any = importlib.import_module("pytz")
        return pytz.timezone(self.zone).localize(value)

    def shown(self, values: Sequence[Any]) -> str:
        """The call, as it is written in SQL or Python."""
        return f"{self.name}({', '.join(short(shown(v), 60) for v in values)})"


def shown(value: Any) -> str:
    """A value as Python writes it; dictionaries have been sorted."""
    return repr(value)


def short(text: str, length: int = _SHOWN) -> str:
    """The text, shortened to fit on a line."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def batch_of(trial: Trial, table: list[Values]) -> list[Answer]:
    """The answers of one call with several rows; what the call raises is the answer for each row."""
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
    """A Series or DataFrame as text, to detect changes."""
    return shown(argument.values.tolist()) if hasattr(argument, "values") else shown(argument)


def invoke(call: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Call the function. Whatever is asked for below this stack frame is done by the product's code."""
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
        text = shown(as_declared(value, trial.declared, vectorised=trial.vectorised))
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
