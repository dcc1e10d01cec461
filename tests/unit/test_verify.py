"""What `kappa verify` follows, compares, refuses, remembers and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replay.cli import verify as run_verify
from replay.cli.progress_display import Display
from replay.cli.verify import Verification
from replay.compare import diff as differing
from replay.compare.changes import DiffReport, TableDiff
from replay.compare.diff import Side
from replay.controller import preflight
from replay.controller import verify as verifying
from replay.controller.act import new_attempt
from replay.controller.loop import Loop
from replay.controller.platform import Platform
from replay.controller.verify import Plan, Terms, comparable, plan
from replay.core.model import (
    Attempt,
    Checkpoint,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.errors import ConflictError, KappaError, RefusedError, RetryableError
from replay.flink.rest import Slots
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform

R1 = Release("flights", 1, "f1", 0.0, {"airlines": {0: 16}})
COVERED = {"flights": {0: 100, 1: 90}, "airlines": {0: 16}}
PUBLISHED = Publication(1, "flights", 1, 1, 9, {}, {"t": 2}, COVERED, 0.0, 1.0)


def attempt(number: int = 1, state: State = State.active, **fields: Any) -> Attempt:
    return replace(
        Attempt("flights", 1, number, float(number), 2, (f"j{number}",), state, confirmed=True),
        **fields,
    )


def state(*attempts: Attempt, published: Publication | None = PUBLISHED) -> ProductState:
    return ProductState("flights", (R1,), attempts, (published,) if published else ())


SHADOW = attempt(2, State.replaying, shadow=True)


# Which shadow


def test_a_shadow_is_of_the_release_that_readers_see_and_as_parallel() -> None:
    todo = plan(state(attempt(parallelism=3, metadata=4)), Terms(deadline=7.0), 99.0, "new")
    assert todo.new
    assert todo.shadow == Attempt(
        "flights", 1, 2, 99.0, 3, ("new",), shadow=True, deadline=7.0, metadata=4
    )
    assert todo.sentence == (
        "flights r1-a2: replaying r1 from offset zero as a shadow, parallelism 3; readers see r1-a1"
    )


def test_it_may_have_another_parallelism_and_a_cluster_of_its_own() -> None:
    todo = plan(state(attempt()), Terms(1, own_cluster=True), 99.0, "new")
    assert (todo.shadow.parallelism, todo.shadow.cluster) == (1, "flights-r1-a2")


@pytest.mark.parametrize("asked", [None, 2])
def test_a_shadow_that_runs_is_followed(asked: int | None) -> None:
    assert plan(state(attempt(), SHADOW), Terms(asked), 99.0, "new") == Plan(
        SHADOW, attempt(), new=False
    )


def test_what_readers_see_can_be_verified_when_its_job_is_lost() -> None:
    lost = attempt(state=State.failed)
    assert plan(state(lost), Terms(), 99.0, "new").shown == lost


@pytest.mark.parametrize(
    ("before", "asked", "message", "next_command"),
    [
        pytest.param(
            state(attempt(), published=None),
            None,
            "nothing of 'flights' is published",
            "kappa deploy flights",
            id="nothing to verify",
        ),
        pytest.param(
            state(attempt(), attempt(2, State.replaying)),
            None,
            "a candidate of flights is under way",
            "kappa deploy flights  (follows it; or end it: kappa abort flights)",
            id="a candidate",
        ),
        pytest.param(
            state(attempt(), SHADOW),
            1,
            "another verification of flights is under way",
            "kappa abort flights",
            id="another parallelism",
        ),
        pytest.param(
            state(attempt(), replace(SHADOW, release=2)),
            None,
            "another verification of flights is under way",
            "kappa abort flights",
            id="readers were switched over since",
        ),
    ],
)
def test_what_is_refused(
    before: ProductState, asked: int | None, message: str, next_command: str
) -> None:
    with pytest.raises(KappaError) as e:
        plan(before, Terms(asked), 99.0, "new")
    assert (e.value.message, e.value.next) == (message, next_command)


# When


def at(*positions: tuple[int, int], tip: int) -> Attempt:
    """Checkpoint and offset of partition 0 of each position, and the checkpoint that is in every table."""
    return replace(
        SHADOW,
        tip=Checkpoint(tip, {"t": 3}),
        positions=tuple(
            Position(c, read := {"flights": {0: offset, 1: 90}, "airlines": {0: 16}}, read=read)
            for c, offset in positions
        ),
    )


@pytest.mark.parametrize(
    ("shadow", "expected"),
    [
        pytest.param(SHADOW, False, id="nothing read"),
        pytest.param(at((1, 50), (2, 100), tip=2), True, id="it covers what readers saw"),
        pytest.param(at((1, 50), (2, 100), tip=1), False, id="not yet in every table"),
        pytest.param(at((1, 50), (2, 99), tip=2), False, id="a record is missing"),
    ],
)
def test_it_is_compared_once_it_has_all_that_readers_saw(shadow: Attempt, expected: bool) -> None:
    assert comparable(COVERED)(shadow, state(attempt(), shadow)) is expected


@pytest.mark.parametrize(
    ("shadow", "published", "message"),
    [
        (
            replace(SHADOW, stop=State.failed, error="boom"),
            PUBLISHED,
            "flights r1-a2 failed, and nothing was compared",
        ),
        (
            replace(SHADOW, stop=State.aborted),
            PUBLISHED,
            "flights r1-a2 was given up, and nothing was compared",
        ),
        (
            SHADOW,
            replace(PUBLISHED, release=2),
            "readers of flights were switched over while r1 was being verified",
        ),
    ],
    ids=["failed", "aborted", "switched"],
)
def test_a_verification_that_comes_to_nothing(
    shadow: Attempt, published: Publication, message: str
) -> None:
    with pytest.raises(KappaError, match=message):
        comparable(COVERED)(shadow, state(attempt(), shadow, published=published))


# The whole of it, over the fake platform


class Cluster(FakePlatform):
    """The controller's fake platform, with what else `kappa verify` asks."""

    catalog = None
    free_slots = 4

    def slots(self) -> Slots:
        return Slots(self.free_slots, 4)

    def read_positions(self, attempt: Attempt) -> dict[str, dict[int, int]]:
        return {}


class Heard(Display):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Laboratory:
    """A deployed product, and a diff that finds what it is told."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.platform = Cluster(self.clock)
        self.store = Store(f"sqlite:///{folder / 'store.db'}", self.clock)
        self.loop = Loop(self.platform, self.store, self.clock, holder="me")
        self.work = Verification(
            cast(Settings, None), cast(Platform, self.platform), self.loop, self.sleep
        )
        self.heard = Heard()
        self.sides: list[tuple[Side, Side]] = []
        self.found = TableDiff("rows", "rows", compared_old=190, compared_new=190, same=190)
        self.interrupt_at: float | None = None
        with self.loop.leased("flights") as lease:
            assert lease
            self.store.add_release(lease, R1)
            self.store.save(
                lease, new_attempt(ProductState("flights"), 1, 2, 0.0, "live", own_cluster=False)
            )
        while not ((shown := self.state.published) and shown.covered == COVERED):
            self.sleep(1)
            self.loop.run_once("flights")
        assert self.state.active

    @property
    def state(self) -> ProductState:
        return self.store.load("flights")

    def sleep(self, seconds: float) -> None:
        self.clock.time += 1
        if self.interrupt_at is not None and self.clock.time > self.interrupt_at:
            self.interrupt_at = None
            raise KeyboardInterrupt
        if self.clock.time % 3 == 0:
            self.platform.complete_checkpoint()

    def diff(self, _: Settings, old: Side, new: Side) -> DiffReport:
        self.sides.append((old, new))
        return DiffReport(
            "flights", old.name, new.name, {"flights": {0: 100, 1: 90}}, None, (self.found,)
        )

    def verify(self, parallelism: int | None = None) -> verifying.Verdict:
        verdict = self.work.verdict("flights", parallelism, self.heard)
        self.work.clean(verdict.shadow)
        return verdict


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    here = Laboratory(tmp_path)
    monkeypatch.setattr(differing, "diff", here.diff)
    monkeypatch.setattr(preflight, "preflight_log", lambda *_: None)
    monkeypatch.setattr("replay.controller.preflight.lake.current_metadata", lambda *_: {})
    monkeypatch.setattr(preflight, "disks", lambda *_: ())
    yield here
    here.store.close()


def history(lab: Laboratory) -> list[tuple[str, str]]:
    return [(e.attempt, e.reason) for e in lab.store.events("flights") if e.attempt != "r1-a1"]


def test_equal_rows_are_told_and_remembered_and_nothing_is_left(lab: Laboratory) -> None:
    verdict = lab.verify(1)
    assert verdict.error() is None
    ((old, new),) = lab.sides
    assert (old.name, new.name) == ("r1-a1", "r1-a2")
    assert old.snapshots == verdict.published.after
    assert new.covered == COVERED
    assert history(lab) == [
        ("r1-a2", "built"),
        ("r1-a2", "replaying"),
        ("r1-a2", "verified"),
        ("r1-a2", "retired"),
    ]
    event = next(e for e in lab.store.events("flights") if e.reason == "verified")
    assert event.detail == (
        f"equal to r1-a1 checkpoint {verdict.published.checkpoint}: 190 rows of 1 tables, "
        "parallelism 1 against 2, below flights 0:100 1:90"
    )
    assert lab.platform.cleaned == ["r1-a2"]
    assert lab.platform.clusters == set()
    active = lab.state.active
    assert active
    assert active.name == "r1-a1"
    assert lab.platform.jobs["live"].status == "RUNNING"


def test_other_rows_fail_it_and_are_remembered_and_nothing_is_left(lab: Laboratory) -> None:
    lab.found = TableDiff(
        "rows", "rows", compared_old=190, compared_new=189, same=180, only_old=1, changed=9
    )
    verdict = lab.verify()
    assert str(verdict.error()) == (
        "a replay of flights r1 gives other rows than readers see\n"
        "  expected: every row of r1-a2 equal to r1-a1\n"
        "  found:    rows: 1 only in r1-a1, 9 changed\n"
        "  next:     kappa deploy flights --again  (fresh rows for readers; keep this output)"
    )
    assert ("r1-a2", "differs") in history(lab)
    shadow = lab.state.attempt("r1-a2")
    assert (shadow.state, shadow.cleaned) == (State.retired, True)
    assert shadow.error == "its rows are not those of r1-a1: rows: 1 only in r1-a1, 9 changed"


def test_a_second_one_begins_afresh(lab: Laboratory) -> None:
    lab.verify()
    assert lab.verify().shadow.name == "r1-a3"


def test_one_that_was_interrupted_is_picked_up(lab: Laboratory) -> None:
    lab.interrupt_at = lab.clock.time + 2
    with pytest.raises(KeyboardInterrupt):
        lab.verify()
    assert lab.state.shadow
    assert lab.verify().shadow.name == "r1-a2"
    assert lab.heard.lines[1].startswith("flights r1-a2: under way: following its replay of r1")


def test_the_result_stands_when_the_cleaning_is_interrupted(lab: Laboratory) -> None:
    verdict = lab.work.verdict("flights", None, lab.heard)
    lab.interrupt_at = lab.clock.time
    lab.work.clean(verdict.shadow)
    assert not lab.state.attempt("r1-a2").cleaned
    assert ("r1-a2", "verified") in history(lab)


def test_a_shadow_whose_job_fails_is_cleaned_away(lab: Laboratory) -> None:
    lab.interrupt_at = lab.clock.time + 3
    with pytest.raises(KeyboardInterrupt):
        lab.verify()
    lab.platform.jobs[lab.state.attempt("r1-a2").job_id].status = "FAILED"
    with pytest.raises(KappaError, match="r1-a2 failed, and nothing was compared"):
        lab.verify()
    for _ in range(5):
        lab.loop.run_once("flights")
    assert lab.platform.cleaned == ["r1-a2"]


def test_tables_that_cannot_be_compared_end_the_shadow(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> DiffReport:
        raise RefusedError("no key")

    monkeypatch.setattr(differing, "diff", refuse)
    with pytest.raises(RefusedError):
        lab.verify()
    shadow = lab.state.attempt("r1-a2")
    assert (shadow.stop, shadow.error) == (State.aborted, "no key")


def test_a_passing_trouble_leaves_the_shadow_to_the_next_try(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        m.setattr(
            differing, "diff", lambda *_: (_ for _ in ()).throw(RetryableError("Kafka is down"))
        )
        with pytest.raises(RetryableError):
            lab.verify()
    assert lab.verify().shadow.name == "r1-a2"


def test_rows_that_are_not_final_prove_nothing(lab: Laboratory) -> None:
    lab.found = TableDiff("rows", "rows")
    with pytest.raises(RetryableError, match="no row of flights is final yet"):
        lab.verify()
    assert lab.state.shadow, "it reads on"


def test_a_switch_in_between_ends_it(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    def switched(*_: Any) -> Any:
        raise ConflictError("readers were switched over")

    monkeypatch.setattr("replay.cli.verify.verify.comparable", lambda _: switched)
    with pytest.raises(ConflictError):
        lab.verify()
    assert lab.state.attempt("r1-a2").stop is State.aborted


def test_too_few_slots_are_refused_before_anything_is_recorded(lab: Laboratory) -> None:
    lab.platform.free_slots = 1
    lab.platform.clusters = cast(Any, None)
    with pytest.raises(RefusedError) as e:
        lab.verify()
    assert e.value.next == "kappa verify flights --parallelism 1"
    assert lab.state.shadow is None


def test_what_is_said_to_programs(lab: Laboratory) -> None:
    said = run_verify.as_dict(lab.verify(1))
    assert SimpleNamespace(
        **{k: said[k] for k in ("equal", "rows", "shown_parallelism", "shadow_parallelism")}
    ) == SimpleNamespace(equal=True, rows=190, shown_parallelism=2, shadow_parallelism=1)
