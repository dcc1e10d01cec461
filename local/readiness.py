"""Which programs of the stack answer, and waiting until all of them do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from local import answers, cluster_files, flink, kafka, registry
from local.config_file import is_written
from local.layout import Layout
from local.supervise import State, Supervisor
from replay.errors import KappaError, RetryableError

READY_SECONDS = 240
"""Of the stack, without anything that moves: on two busy cores all of its JVMs together took two minutes, and a broker
that recovers a large log says so for as long as it takes."""
LONGEST_SECONDS = 3_600
"""A program may write for ever that it waits for another."""
CLUSTER_READY_SECONDS = 60
"""The same, further, for each Flink cluster beside the session cluster."""


def checks(layout: Layout) -> dict[str, Callable[[], bool]]:
    """Programs that answer others, with the question whether they do."""
    found: dict[str, Callable[[], bool]] = {
        "kafka": partial(kafka.ready, layout),
        "registry": partial(registry.ready, layout),
    }
    for cluster in (flink.session(layout), *cluster_files.known(layout)):
        found[cluster.jobmanager] = partial(flink.jobmanager_ready, cluster)
        found[cluster.taskmanager] = partial(flink.taskmanager_ready, cluster)
    for name, (_, data) in flink.further_taskmanagers(layout).items():
        found[name] = partial(flink.further_ready, layout, data)
    if is_written(layout):  # otherwise the address of the controller is not known
        found["controller"] = partial(controller_ready, layout)
    return found


def controller_ready(layout: Layout) -> bool:
    """Whether its loop goes round."""
    answer = answers.get(f"http://127.0.0.1:{layout.ports.controller}/healthz")
    return answer is not None and answer.status_code == 200


def wait_ready(layout: Layout, supervisor: Supervisor, progress: Callable[[str], None]) -> None:
    """Until every program that answers others does; KappaError for one that was given up, or takes too long."""
    started = time.monotonic()
    waiting = list(checks(layout))
    seconds = READY_SECONDS + CLUSTER_READY_SECONDS * len(cluster_files.known(layout))
    moving = Moving(layout.logs, started)
    while waiting:
        states = {state.name: state for state in supervisor.states()}
        ready = checks(layout)
        for name in list(waiting):
            if name not in ready:  # a cluster that the controller stopped meanwhile
                waiting.remove(name)
            elif ready[name]():
                waiting.remove(name)
                progress(f"{name} is ready ({time.monotonic() - started:.0f} s)")
            elif name in states and states[name].state == "FATAL":
                raise _gave_up(layout, states[name])
        if not states:
            raise _no_supervisor(layout)
        if not waiting:
            return
        now = time.monotonic()
        if moving.still_for(waiting, now) > seconds or now - started > LONGEST_SECONDS:
            raise _too_slow(waiting, states.get(waiting[0]), now - started)
        time.sleep(0.3)


class Moving:
    """Since when nothing has moved: fewer programs are waited for, or one of them writes to its log."""

    def __init__(self, logs: Path, now: float) -> None:
        self._logs, self._since = logs, now
        self._seen: dict[str, int] = {}

    def still_for(self, waiting: Sequence[str], now: float) -> float:
        """Seconds without a change, after one more look."""
        seen = {name: self._size(name) for name in waiting}
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since

    def _size(self, name: str) -> int:
        try:
            return (self._logs / f"{name}.log").stat().st_size
        except OSError:
            return 0


def _gave_up(layout: Layout, state: State) -> KappaError:
    log = layout.logs / f"{state.name}.log"
    tail = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    return KappaError(
        f"{state.name} does not start",
        expected="a process that stays up",
        found="\n".join([state.problem or "it ended again and again", *tail]),
        next=f"kappa logs {state.name}",
    )


def _no_supervisor(layout: Layout) -> KappaError:
    return KappaError(
        "the supervisor has gone",
        expected="a running supervisord",
        found="none",
        next=f"see {layout.logs / 'supervisor.log'}, then: kappa up",
    )


def _too_slow(waiting: Sequence[str], first: State | None, seconds: float) -> RetryableError:
    return RetryableError(
        f"not ready after {seconds:.0f} s: {', '.join(waiting)}",
        expected="an answer from each",
        found=str(asdict(first)) if first else "no process",
        next=f"kappa logs {waiting[0]}",
    )
