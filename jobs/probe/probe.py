"""Python functions are deterministic as far as calls can show: each is tried in two processes.

The two have another clock, environment, folder, hash seed and seed of random numbers, call in another order, and must
answer the same. They start beside the planner's JVM and import the product's modules; what the SQL calls functions with
is known only from the plan.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.plan.compiled import Node, function_name
from jobs.probe.outside import SECRETS
from jobs.product.folder import Product
from jobs.product.own_functions import ALLOWED, is_own
from jobs.safety.problem import Problem

_CPU_SECONDS, _WALL_SECONDS = 5.0, 20.0
"""Seconds in which all calls of one function must end. They take milliseconds, but the machine may be busy."""
_PATIENCE = 20.0
"""Further seconds in which a process should itself notice that a call does not end."""
_ALIKE = {
    "outside": "what it needs as an argument, such as a column or the event's own time; data as a module of udfs/",
    "thread": "with decimal.localcontext() as c, or with numpy.errstate(…), in the function: each thread has its own "
    "settings, and which of them calls the function depends on the run",
    "differs": "a function of its arguments alone, which keeps nothing from call to call",
    "processes": "a function of its arguments alone, independent of the order of a set, of hash(), of id() and of "
    "the machine's settings",
    "batch": "a function that treats each row alone: where a batch ends depends on the run, and a NULL in a batch "
    "turns "
    "its whole numbers into floats",
    "raises": "a function that returns None for what it cannot use: one such record would stop the job, again and "
    "again",
    "returns": "a value of the declared type, or None: one such record would stop the job, or become another value",
    "changes": "a function that changes a copy of its argument: others are called with the same value",
    "limit": "a function that ends, whatever its arguments are",
    "crash": "a function that does not end the process",
    "arity": "as many arguments in SQL as the function has",
    "operand": "a CAST to a type that a table can hold",
    "own": ALLOWED,
    "import": "a module of udfs/ that can be imported on any machine",
}
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from jobs.probe.child import main; main(sys.argv[2])"
# What the two processes have in their environment; what a machine needs to find its libraries is left as it is.
_KEPT = ("PATH", "LD_LIBRARY_PATH")
_ENVIRONMENTS = (
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LANG": "C.UTF-8", "USER": "one", "HOME": "/nonexistent/one",
     "PYTHONTZPATH": ""},
    {"PYTHONHASHSEED": "2", "TZ": "XST-5:45XDT", "LC_ALL": "C", "USER": "another", "HOME": "/nonexistent/another",
     "PYTHONTZPATH": "", "PYTHONUTF8": "1", "FURTHER": "variable"},
)  # fmt: skip
# A plan has constants of these types as Python has them.
_PLAIN = ("CHAR", "VARCHAR", "TINYINT", "SMALLINT", "INT", "BIGINT", "BOOLEAN", "DOUBLE", "FLOAT")
_DAYS_AHEAD = (0, 1_111.4)


class Probe:
    """The two processes that try a product's functions; no processes if the product has none."""

    def __init__(self, product: Product, path: Sequence[str] | None = None) -> None:
        self._yaml = str(product.folder / "product.yaml")
        self._functions = {
            name: f for name, f in product.settings.functions.items() if is_own(f.python)
        }
        self._zone = product.settings.time_zone
        self._path = [str(Path(p).resolve()) for p in (sys.path if path is None else path)]
        self._folder = ""
        self._processes: list[_Process] = []
        self._imported: list[dict[str, Any]] | None = None

    def start(self) -> None:
        """Start the processes, which begin to import, without waiting for them."""
        if not self._functions:
            return
        self._folder = tempfile.mkdtemp(prefix="kappa-probe-")
        self._processes = [
            _Process(self._told(number), self._path, Path(self._folder) / str(number), number)
            for number in range(2)
        ]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _told(self, number: int) -> dict[str, Any]:
        wanted = {
            name: {"python": f.python, "vectorised": f.vectorised, "returns": f.returns}
            for name, f in self._functions.items()
        }
        limits = {"cpu_seconds": _CPU_SECONDS, "wall_seconds": _WALL_SECONDS}
        return {
            **limits,
            "functions": wanted,
            "zone": self._zone,
            "backwards": bool(number),
            "days_ahead": _DAYS_AHEAD[number],
            "real_secrets": os.environ.get(SECRETS, ""),
        }

    def imports(self) -> list[Problem]:
        """What is wrong with the modules and the functions in them."""
        if not self._processes:
            return []
        try:
            self._imported = [process.answer() for process in self._processes]
        except _EndedError as e:
            names = ", ".join(self._functions)
            return [self._problem(names, "crash", f"its import {e}")]
        return [
            self._problem(name, found["kind"], found["problem"])
            for name in self._functions
            for found in [next((i[name] for i in self._imported if i[name]["problem"]), None)]
            if found
        ]

    def calls(self, nodes: Iterable[Node]) -> list[Problem]:
        """What is wrong with the functions that a plan calls, tried on values of its operands' types."""
        if not self._processes or self._imported is None:
            return []
        problems: list[Problem] = []
        asked = [
            {
                "name": name,
                "operands": operands,
                "mentioned": self._imported[0][name].get("mentioned", []),
            }
            for name, operands in called(nodes, self._functions)
        ]
        for call in asked:
            name = str(call["name"])
            for process in self._processes:
                process.ask(call)
            try:
                one, other = (process.answer() for process in self._processes)
            except _EndedError as e:
                return [*problems, self._problem(name, "crash", f"a call {e}")]
            problems += [self._problem(name, kind, text) for kind, text in compared(one, other)]
        return list(dict.fromkeys(problems))

    def _problem(self, name: str, kind: str, text: str) -> Problem:
        python = f" ({self._functions[name].python})" if name in self._functions else ""
        return Problem(self._yaml, 0, f"function {name}{python}: {text}", _ALIKE[kind])


@contextmanager
def probing(product: Product) -> Iterator[Probe]:
    """A probe of the product's functions, whose processes end with the context."""
    probe = Probe(product)
    try:
        yield probe
    finally:
        probe.close()


def called(nodes: Iterable[Node], names: Iterable[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each function that a plan calls, once for each distinct list of operands: types, and the values of constants."""
    known, found = set(names), {}
    for node in nodes:
        for call in node.calls():
            if (name := function_name(call)) in known:
                operands = [operand(o) for o in call.get("operands") or ()]
                found[json.dumps([name, operands])] = (name, operands)
    return list(found.values())


def operand(expression: dict[str, Any]) -> dict[str, Any]:
    """An argument as the plan has it: its type, and its value if it is a constant text or number."""
    type_ = expression.get("type")
    text = str(type_.get("type", "") if isinstance(type_, dict) else type_)
    if isinstance(type_, dict) and type_.get("nullable") is False:
        text += " NOT NULL"
    value = expression.get("value")
    plain = text.partition("(")[0].split(" ")[0] in _PLAIN
    if expression.get("kind") == "LITERAL" and (plain or value is None):
        return {"type": text, "value": value}
    return {"type": text}


def compared(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong, as (kind, text): what either process found, else the first call whose two answers differ."""
    found = list(
        dict.fromkeys((kind, text) for answer in (one, other) for kind, text in answer["found"])
    )
    if found:
        kinds = dict.fromkeys(kind for kind, _ in found)
        return [next(f for f in found if f[0] == kind) for kind in kinds]
    for (call, first), (_, second) in zip(one["answers"], other["answers"], strict=True):
        if first != second:
            return [("processes", f"{call} gives {first} in one process, and {second} in another")]
    return []


# --- a process ---------------------------------------------------------------------------------------------------


class _EndedError(Exception):
    """A process ended or does not answer."""


class _Process:
    """One process, whose answers come on a pipe of their own."""

    def __init__(self, told: dict[str, Any], path: list[str], folder: Path, number: int) -> None:
        secrets = folder / "secrets"
        secrets.mkdir(mode=0o700, parents=True)
        self._answers, write = os.pipe()
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        told = {**told, "answers": write, "secrets": str(secrets), "folder": str(folder.parent)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-c", _BOOT, json.dumps(path), json.dumps(told)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(write,),
            cwd=folder, env={**kept, **_ENVIRONMENTS[number], SECRETS: str(secrets), "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # an interrupt is for the check, which ends this
        )  # fmt: skip
        os.close(write)
        self._read = b""

    def ask(self, call: dict[str, Any]) -> None:
        """Ask the process to try a function."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(call).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the next answer says that it ended

    def answer(self) -> dict[str, Any]:
        """The next answer; _EndedError when none comes."""
        until = time.monotonic() + _WALL_SECONDS + _PATIENCE
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise _EndedError(f"does not end within {_WALL_SECONDS + _PATIENCE:.0f} s")
            if not (more := os.read(self._answers, 1 << 20)):
                raise _EndedError(f"ends the process, with code {self._process.wait()}")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
        os.close(self._answers)
