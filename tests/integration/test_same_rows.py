"""SQL that the check lets in gives the same rows, live or replayed, at any parallelism, whatever befalls the job.

Statements are made up, many of them in one job over a log that sits on edges; each run's conditions are others.
KAPPA_SAME_ROWS_MINUTES=60 goes on for so long, with another log and other statements each time.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs.product import zones
from local import flink
from replay.flink.submit import submit_env
from tests.integration.running import RunningStack, wait_until
from tests.integration.same_rows_log import ZONES, make_log
from tests.integration.same_rows_runs import (
    Conditions,
    JobError,
    Laboratory,
    Rows,
    build_sink,
    own_functions,
)
from tests.integration.same_rows_sql import statements
from tests.integration.same_rows_words import Statement

# PyFlink and Beam warn of much when they are imported.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(0)]

MINUTES = float(os.environ.get("KAPPA_SAME_ROWS_MINUTES", "0"))
SEED = int(os.environ.get("KAPPA_SAME_ROWS_SEED", "3"))
ONE_PHASE = {"table.optimizer.agg-phase-strategy": "ONE_PHASE"}
SMALL_BUNDLES = {
    "python.fn-execution.bundle.size": "3",
    "python.fn-execution.arrow.batch.size": "2",
}


@dataclass(frozen=True)
class Size:
    """Of one round."""

    statements: int
    records: int
    runs: tuple[Conditions, ...]


def conditions(chance: random.Random, count: int) -> tuple[Conditions, ...]:
    """A replay by one subtask, and other runs by chance."""
    settings: tuple[Mapping[str, str], ...] = (
        {},
        {},
        ONE_PHASE,
        SMALL_BUNDLES,
        {"state.backend.type": "rocksdb"},
    )
    some = chance.sample(settings, 2)  # each takes a plan of its own, which is most of the work
    return (
        Conditions("first"),
        *(
            Conditions(
                f"run {number}",
                parallelism=chance.choice((1, 2, 4)),
                live=chance.random() < 0.6,
                kills=chance.choice((0, 0, 0, 1, 2)),
                restores=chance.choice((0, 0, 1)),
                at_once=chance.choice((1, 3, 20, 500)),
                seed=chance.randrange(10**6),
                flink=chance.choice(some),
            )
            for number in range(1, count)
        ),
    )


VERSIONS = Statement(
    "SELECT e.ts, e.id, e.k, p.city, p.size\n"
    "FROM readings AS e LEFT JOIN shops_versions FOR SYSTEM_TIME AS OF e.ts AS p ON e.k = p.k",
    "temporal join",
)
"""Of what is read to an end: a resumed job has to come to it again, or what joins it stands still."""

PYTHON = Statement(
    "SELECT ts, id, spelled(CAST(i AS BIGINT), k) AS a, doubled(i) AS v FROM readings", "python"
)
"""A function for each value, and one for a batch."""

SHORT = Size(
    20,
    240,
    (
        Conditions("first"),
        Conditions("another order", parallelism=2, at_once=3, seed=1, flink=ONE_PHASE),
        Conditions("live", parallelism=4, live=True, kills=1, seed=2, at_once=20),
        Conditions("resumed", parallelism=2, live=True, restores=1, seed=3, flink=SMALL_BUNDLES),
    ),
)


@dataclass
class Figures:
    """What was tried, and what was found."""

    tried: Counter[str] = field(default_factory=Counter)
    """Statements by what they try."""
    refused: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    """Statements by what they try, once for each run beside the first."""
    rows: int = 0
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.compared.items()))
        reasons = "".join(f"\n  {count} × {reason}" for reason, count in self.refused.most_common())
        return (
            f"{self.tried.total()} statements tried, {self.refused.total()} refused by the check, "
            f"{self.compared.total()} compared in runs ({kinds}), {self.rows} rows{reasons}"
        )

    @property
    def always_refused(self) -> list[str]:
        """Kinds of statements of which many were tried, and none ever ran: nothing is known of them."""
        return [k for k, count in self.tried.items() if count >= 5 and not self.compared[k]]


@pytest.fixture(scope="module")
def sink(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The connector that keeps rows; and Flink's planner and client in this process, with the stack's connectors."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in submit_env(stack.settings).items():
            if name != "PYTHONPATH":
                patch.setenv(name, value)
        with own_functions(tmp_path_factory.mktemp("code")):
            yield build_sink(tmp_path_factory.mktemp("sink"))


def differences(first: Rows, other: Rows) -> dict[str, str]:
    """Table → the rows that only one of both has."""
    found = {}
    for table in first:
        only = (
            (first[table] - other[table], "only in the first"),
            (other[table] - first[table], "only in the other"),
        )
        said = [
            f"    {count} × {row}  {where}"
            for rows, where in only
            for row, count in sorted(rows.items())[:5]
        ]
        if said:
            counts = (
                f"{first[table].total()} and {other[table].total()} rows, {only[0][0].total()} and "
                f"{only[1][0].total()} of them only in one"
            )
            found[table] = "\n".join([f"    {counts}", *said])
    return found


def play(laboratory: Laboratory, size: Size, seed: int, figures: Figures) -> None:
    """One round: statements that are let in, run under all conditions."""
    made = {
        **statements(seed, size.statements, has_sessions=zones.is_fixed(laboratory.zone)),
        "versions": VERSIONS,
        "python": PYTHON,
    }
    good, refused = laboratory.admitted(made)
    figures.tried.update(s.kind for s in made.values())
    for name, problem in refused.items():
        figures.refused[f"{made[name].kind}: {problem.construct[:100]}"] += 1
    first: Rows | None = None
    for under in size.runs:
        began = time.monotonic()
        try:
            rows = laboratory.run(good, under)
        except JobError as e:
            figures.found.append(
                f"seed {seed}, {laboratory.zone}, {under}\n  {e}\n{alone(laboratory, good, under)}"
            )
            continue
        print(  # noqa: T201
            f"seed {seed}, {laboratory.zone}, {under}: {len(good)} statements, "
            f"{sum(r.total() for r in rows.values())} rows, {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if first is None:
            first = rows
            figures.rows += sum(r.total() for r in rows.values())
            continue
        figures.compared.update(s.kind for s in good.values())
        if found := differences(first, rows):
            again = differences_alone(
                laboratory, {n: good[n] for n in found if n in good}, size.runs[0], under
            )
            for table, said in found.items():
                sql = good[table].sql if table in good else "the rejects"
                figures.found.append(
                    f"seed {seed}, {table}, {laboratory.zone}, {size.runs[0]}; {under}\n{sql}\n{said}"
                    f"\n    {again}"
                )


def differences_alone(
    laboratory: Laboratory, some: Mapping[str, Statement], first: Conditions, under: Conditions
) -> str:
    """Whether statements differ without the others, too."""
    if not some:
        return "the rejects alone are not run again"
    try:
        found = differences(*(laboratory.run(some, each) for each in (first, under)))
    except JobError as e:
        return f"without the others {e}"
    return f"without the others {', '.join(found) or 'none'} of {', '.join(some)} differ"


def alone(laboratory: Laboratory, good: Mapping[str, Statement], under: Conditions) -> str:
    """The smallest half of half of the statements with which the job fails, too."""
    names = list(good)
    while len(names) > 1:
        halves = names[: len(names) // 2], names[len(names) // 2 :]
        failing = (half for half in halves if _fails(laboratory, {n: good[n] for n in half}, under))
        if not (some := next(failing, None)):
            break
        names = some
    return "\n".join(f"{name}: {good[name].sql}" for name in names)


def _fails(laboratory: Laboratory, some: Mapping[str, Statement], under: Conditions) -> bool:
    try:
        laboratory.run(some, under)
    except JobError:
        return True
    return False


def laboratory_of(
    stack: RunningStack, sink: Path, folder: Path, seed: int, size: Size
) -> Laboratory:
    wait_until(
        lambda: stack.free_slots() == flink.SLOTS,
        60,
        "all slots of the session cluster are free: a product that another test left has a job there",
    )
    zone = list(ZONES)[seed % len(ZONES)]
    return Laboratory(stack, sink, folder, make_log(random.Random(seed), zone, size.records), zone)


def test_the_same_log_gives_the_same_rows(stack: RunningStack, sink: Path, tmp_path: Path) -> None:
    figures = Figures()
    play(laboratory_of(stack, sink, tmp_path, SEED, SHORT), SHORT, SEED, figures)
    print(figures)  # noqa: T201
    assert not figures.found, "\n\n".join(figures.found)
    assert {"python", "temporal join"} <= set(figures.compared)


@pytest.mark.soak
@pytest.mark.skipif(not MINUTES, reason="KAPPA_SAME_ROWS_MINUTES says for how long")
def test_other_logs_and_statements(stack: RunningStack, sink: Path, tmp_path: Path) -> None:
    figures, ends = Figures(), time.monotonic() + MINUTES * 60
    seed = SEED if "KAPPA_SAME_ROWS_SEED" in os.environ else int(time.time())
    while time.monotonic() < ends:
        chance = random.Random(seed)
        size = Size(30, chance.choice((200, 600)), conditions(chance, 8))
        play(laboratory_of(stack, sink, tmp_path, seed, size), size, seed, figures)
        print(figures, *figures.found, sep="\n", flush=True)  # noqa: T201
        seed += 1
    assert not figures.found, "\n\n".join(figures.found)
    assert figures.always_refused == []
