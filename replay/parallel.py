"""Questions of one caller that do not depend on each other, asked at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

THREADS = 64
"""Of the process: several products ask at the same time, each a question a vertex or a source of its job."""

A = TypeVar("A")
B = TypeVar("B")


def each(ask: Callable[[A], B], of: Iterable[A]) -> list[B]:
    """The answers, in the order of the questions; the first error is raised. A question must not call this itself."""
    wanted = list(of)
    if len(wanted) <= 1:
        return [ask(one) for one in wanted]
    return list(_threads().map(ask, wanted))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="ask")
