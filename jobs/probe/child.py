"""One of the two processes in which the check tries a product's Python functions: without PyFlink, to start quickly.

It imports the functions, says so, and then tries one per line of its standard input. Its answers have a pipe of their
own, as functions may print.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from jobs.probe import outside
from jobs.probe.arguments import Literal
from jobs.probe.kept import mentioned
from jobs.probe.limits import OfThread, limits
from jobs.probe.orders import tried
from jobs.probe.trial import Trial, invoke, raised
from jobs.product import own_functions
from jobs.product.column_types import ColumnTypeError, parse

_MEMORY = 3 << 30
_CPU_IN_ALL = 300


def main(argument: str) -> None:
    """Import the functions, report what was found, then try one function for each line of the input."""
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
    limits.cpu, limits.wall = told["cpu_seconds"], told["wall_seconds"]
    signal.signal(signal.SIGPROF, limits.over)
    signal.signal(signal.SIGALRM, limits.over)
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
        str(own_functions.root()) + os.sep, invoke.__code__, told["secrets"], told["real_secrets"]
    )
    outside.install(watch, timedelta(days=told["days_ahead"]))
    return watch


def _imported(
    function: dict[str, Any], watch: outside.Watch
) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    of_thread = OfThread()
    limits.begin()
    try:
        call = own_functions.imported(function["python"])
    except own_functions.FunctionError as e:
        return None, {"kind": "own", "problem": str(e)}
    except BaseException as e:  # noqa: BLE001 - sys.exit, too
        seen = watch.take()
        return None, {
            "kind": "import",
            "problem": "; ".join(seen[:3]) or f"its import raises {raised(e).detail}",
        }
    finally:
        limits.end()
    if seen := watch.take():
        return None, {
            "kind": "outside",
            "problem": "; ".join(f"{s} when it is imported" for s in seen[:3]),
        }
    if changed := of_thread.restore():
        return None, {"kind": "thread", "problem": f"{changed} when it is imported"}
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
