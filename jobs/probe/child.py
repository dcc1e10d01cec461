"""One of the two processes in which the check tries a product's Python functions: without PyFlink, to start quickly.

It imports the functions, says so, and then tries one per line of its standard input. Its answers have a pipe of their
own, as functions may print.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import CellType, CodeType, FunctionType
from typing import Any

from jobs.probe import outside
from jobs.probe.arguments import Literal, Operand, Values, rows
from jobs.probe.returned import ReturnedError, as_declared, as_pandas, from_pandas
from jobs.product import own_functions
from jobs.product.column_types import ColumnTypeError, Type, parse

_MEMORY, _CPU_IN_ALL = 3 << 30, 300
_SHOWN, _MENTIONED, _LISTED = 160, 60, 16


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


# --- one function ------------------------------------------------------------------------------------------------


def tried(
    trial: Trial, watch: outside.Watch
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(what is wrong with it: kind and words; each call and its answer)."""
    found: list[tuple[str, str]] = []
    try:
        answers = _vectorised(trial, watch) if trial.vectorised else _plain(trial, watch)
    except FoundError as e:
        return [(e.kind, e.text)], []
    table = trial.rows()
    for kind in ("raises", "returns"):
        wrong = [(values, a) for values, a in zip(table, answers, strict=True) if a.kind == kind]
        if wrong:
            values, answer = min(wrong, key=lambda w: len(trial.shown(w[0])))
            found.append((kind, f"{trial.shown(values)} {kind} {short(answer.detail)}"))
    return found, [(trial.shown(v), a.text) for v, a in zip(table, answers, strict=True)]


def _plain(trial: Trial, watch: outside.Watch) -> list[Answer]:
    """Each row's answer: the same in three orders, one after the other."""
    first: dict[int, Answer] = {}
    there, kept = _there(trial), []
    for number, order in enumerate((there, _shuffled(there, trial), there)):
        table = trial.rows()
        with _Run(trial, watch, number) as run:
            for index in order:
                run.values, before = table[index], shown(table[index])
                answer = _called(trial, table[index])
                if shown(table[index]) != before:
                    raise FoundError(
                        "changes", f"{trial.shown(trial.rows()[index])} changes its arguments"
                    )
                _same(
                    trial,
                    table[index],
                    first.setdefault(index, answer),
                    answer,
                    "when it is called again",
                )
        kept.append(kept_by_modules())
    _refuse_changes(kept)
    return [first[i] for i in range(len(there))]


def _vectorised(trial: Trial, watch: outside.Watch) -> list[Answer]:
    """Each row's answer: the same in a batch of all, again, in another order, and in batches of a few rows.

    Where the call with all of them raises, each is tried alone, and those that do not raise then go together.
    """
    table, there = trial.rows(), _there(trial)
    first: dict[int, Answer] = {}
    with _Run(trial, watch, 0) as run:
        answers = _batch(trial, [table[i] for i in there])
        if {a.kind for a in answers} != {"value"}:
            for index in there:
                run.values = table[index]
                [first[index]] = _batch(trial, [table[index]])
            good = [i for i in there if first[i].kind == "value"]
            if len(good) == len(there):  # what no row gives alone is of all of them together
                raise FoundError(
                    "batch",
                    f"a batch of {len(there)} rows {answers[0].kind} {short(answers[0].detail)}, "
                    "and none of them does alone",
                )
            answers = _batch(trial, [table[i] for i in good]) if good else []
            there = good
        first.update(zip(there, answers, strict=True))
    mixed, kept = _shuffled(there, trial), []
    for number, split in enumerate(([there], [mixed], _cut(mixed, trial), _cut(there, trial))):
        with _Run(trial, watch, number + 1) as run:
            for batch in split if there else []:
                run.values = table[batch[0]] if len(batch) == 1 else None
                for index, answer in zip(
                    batch, _batch(trial, [table[i] for i in batch]), strict=True
                ):
                    when = (
                        _size(batch)
                        if len(batch) < len(there)
                        else "the same rows in another order"
                    )
                    if batch == there:
                        _same(trial, table[index], first[index], answer, "when it is called again")
                    else:
                        _same(trial, table[index], first[index], answer, f"in {when}", _size(there))
        kept.append(kept_by_modules())
    _refuse_changes(kept)
    return [first[i] for i in range(len(table))]


def _size(batch: Sequence[int]) -> str:
    return f"a batch of {len(batch)} row{'s' * (len(batch) != 1)}"


def _there(trial: Trial) -> list[int]:
    order = list(range(len(trial.rows())))
    return order[::-1] if trial.backwards else order


def _batch(trial: Trial, table: list[Values]) -> list[Answer]:
    """The answers for some rows at once; what the call raises is that of each."""
    arguments = [
        _argument(trial, o, [values[at] for values in table]) for at, o in enumerate(trial.operands)
    ]
    before = [shown_column(a) for a in arguments]
    try:
        found = from_pandas(_invoke(trial.call, arguments), trial.declared, len(table), trial.zone)
    except LimitError:
        raise
    except ReturnedError as e:
        return [Answer("returns", "another type", str(e))] * len(table)
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        return [_raised(e)] * len(table)
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


def _invoke(call: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Nothing but the function: what is asked for below this is the product's doing."""
    return call(*arguments)


def _called(trial: Trial, values: Values) -> Answer:
    try:
        value = _invoke(trial.call, values)
    except LimitError:
        raise
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        return _raised(e)
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


def _raised(error: BaseException) -> Answer:
    name = type(error).__name__
    return Answer("raises", f"{name} raised", f"{name}: {' '.join(str(error).split())}")


def _same(
    trial: Trial, values: Values, one: Answer, other: Answer, when: str, batch: str = ""
) -> None:
    if one != other:
        there = f"in {batch}" if batch else "first"
        words = f"{trial.shown(values)} gives {_words(one)} {there}, and {_words(other)} {when}"
        raise FoundError("batch" if batch else "differs", words)


def _words(answer: Answer) -> str:
    return short(answer.text if answer.kind == "value" else answer.detail)


def _shuffled(order: Sequence[int], trial: Trial) -> list[int]:
    found = list(order)
    random.Random(f"{trial.name} {trial.backwards}").shuffle(found)
    return found


def _cut(order: Sequence[int], trial: Trial) -> list[list[int]]:
    """Batches of a few rows."""
    chance, found, at = random.Random(f"{trial.name} {len(order)} {trial.backwards}"), [], 0
    while at < len(order):
        size = chance.choice((1, 2, 3, 5, 13))
        found.append(list(order[at : at + size]))
        at += size
    return found


class _Run:
    """One go at all rows, in limited time: with other shared random numbers than before, whose use is seen."""

    def __init__(self, trial: Trial, watch: outside.Watch, number: int) -> None:
        self.values: Values | None = None
        """Of the call that is under way."""
        self._trial, self._watch, self._number = trial, watch, number
        self._before: dict[str, Any] = {}

    def __enter__(self) -> _Run:
        if (
            self._number
            and "numpy" in sys.modules
            and {"now", "today"} & {*map(str, self._trial.mentioned)}
        ):
            # numpy's 'now' is of whole seconds, and of a clock that cannot be set
            select.select([], [], [], 1.01)
        seed = self._number * 2 + self._trial.backwards
        random.seed(seed)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed(seed)
        self._before = _shared_random()
        _limits.begin()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """What was asked of the world comes first: it is why answers differ."""
        _limits.end()
        seen = self._watch.take()
        if any(
            self._before[name] != state
            for name, state in _shared_random().items()
            if name in self._before
        ):
            seen.append("draws from the random numbers that all code shares")
        if seen:
            raise FoundError("outside", "; ".join(seen[:3])) from error
        if isinstance(error, LimitError):
            words = self._trial.shown(self.values) if self.values is not None else self._trial.name
            raise FoundError("limit", f"{words} does not end: {error}") from error


def _shared_random() -> dict[str, Any]:
    """The states of what is loaded so far."""
    numpy = sys.modules.get("numpy")
    found: dict[str, Any] = {"random": random.getstate()}
    if numpy is not None:
        found["numpy"] = [*map(str, numpy.random.get_state()[1:])]
    return found


@dataclass
class _Limits:
    """In how many seconds the calls of a function, or an import, must end; 0 while neither is under way."""

    cpu: float = 0
    wall: float = 0

    def begin(self) -> None:
        """Again after each further second, should a function catch everything."""
        signal.setitimer(signal.ITIMER_PROF, self.cpu, min(self.cpu, 1))
        signal.setitimer(signal.ITIMER_REAL, self.wall, min(self.wall, 1))

    def end(self) -> None:
        """Nothing is limited any more."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def over(self, number: int, frame: Any) -> None:
        """A signal's handler."""
        cpu = number == signal.SIGPROF
        raise LimitError(
            f"stopped after {self.cpu:g} s of CPU" if cpu else f"stopped after {self.wall:g} s"
        )


_limits = _Limits()


# --- what its modules keep --------------------------------------------------------------------------------------


def _refuse_changes(kept: list[dict[str, str]]) -> None:
    """What is computed once is the same after the last go at all rows as it was before that; a counter is not."""
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


# --- what its code mentions --------------------------------------------------------------------------------------


def mentioned(call: Callable[..., Any]) -> list[str | int | float]:
    """Constants of a function's code and of its module's: the values that its branches ask for."""
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


# --- the process -------------------------------------------------------------------------------------------------


def main(argument: str) -> None:
    """Import, say what was found, then try a function per line."""
    told = json.loads(argument)
    answers, requests = os.fdopen(told["answers"], "w"), os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # for a function that reads its standard input
    if any(f["vectorised"] for f in told["functions"].values()):
        for library in (
            "numpy.random",
            "pandas",
            "pyarrow",
        ):  # before the clock is set: they are not the product's
            importlib.import_module(library)
    _limits.cpu, _limits.wall = told["cpu_seconds"], told["wall_seconds"]
    signal.signal(signal.SIGPROF, _limits.over)
    signal.signal(signal.SIGALRM, _limits.over)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    # should the check be killed while this loops
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_IN_ALL, _CPU_IN_ALL))
    watch = _watch(told)
    imported = {name: _imported(f, watch) for name, f in told["functions"].items()}
    _write(answers, {name: found for name, (_, found) in imported.items()})
    for line in requests:
        asked = json.loads(line)
        call, _ = imported[asked["name"]]
        assert call is not None
        _write(answers, _asked(told, asked, call, watch))
    # the check, which ends this one and does so, was killed
    shutil.rmtree(told["folder"], ignore_errors=True)


def _watch(told: dict[str, Any]) -> outside.Watch:
    watch = outside.Watch(
        str(own_functions.root()) + os.sep, _invoke.__code__, told["secrets"], told["real_secrets"]
    )
    outside.install(watch, timedelta(days=told["days_ahead"]))
    return watch


def _imported(
    function: dict[str, Any], watch: outside.Watch
) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    _limits.begin()
    try:
        call = own_functions.imported(function["python"])
    except own_functions.FunctionError as e:
        return None, {"kind": "own", "problem": str(e)}
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        seen = watch.take()
        return None, {
            "kind": "import",
            "problem": "; ".join(seen[:3]) or f"its import raises {_raised(e).detail}",
        }
    finally:
        _limits.end()
    if seen := watch.take():
        return None, {
            "kind": "outside",
            "problem": "; ".join(f"{s} when it is imported" for s in seen[:3]),
        }
    return call, {"kind": "", "problem": "", "mentioned": mentioned(call)}


def _asked(
    told: dict[str, Any], asked: dict[str, Any], call: Callable[..., Any], watch: outside.Watch
) -> Any:
    function = told["functions"][asked["name"]]
    try:
        operands = tuple(
            Literal(o["value"]) if "value" in o else parse(o["type"]) for o in asked["operands"]
        )
    except ColumnTypeError as e:
        return {
            "found": [("operand", f"no values can be made of an argument's type: {e.found}")],
            "answers": [],
        }
    try:
        inspect.signature(call).bind(*operands)
    except TypeError as e:
        text = f"it is called with {len(operands)} argument{'s' * (len(operands) != 1)}: {e}"
        return {"found": [("arity", text)], "answers": []}
    trial = Trial(
        asked["name"],
        call,
        function["vectorised"],
        parse(function["returns"]),
        operands,
        tuple(asked["mentioned"]),
        told["zone"],
        told["backwards"],
    )
    found, answers = tried(trial, watch)
    return {"found": found, "answers": answers}


def _write(answers: Any, found: Any) -> None:
    answers.write(json.dumps(found) + "\n")
    answers.flush()
