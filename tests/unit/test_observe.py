"""Looking at the platform: in the right order, and no more than needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jobs.product.folder import Product
from replay.controller.look_cache import STRAYS_SECONDS, UNANSWERED_SECONDS, LookCache
from replay.controller.observe import observe
from replay.controller.quiet import Clocks
from replay.core.model import (
    Attempt,
    Checkpoint,
    CheckpointPosition,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.core.observed import FlinkDownError
from replay.errors import KappaError, RefusedError, RetryableError
from replay.offsets import Offsets
from tests.unit.control_platform import Clock, FakeJob, FakePlatform

ATTEMPT = Attempt(
    "flights", 1, 1, 0.0, 2, ("j",), State.replaying, submitted_at=1.0, confirmed=True
)
RELEASE = Release("flights", 1, "f", 0.0, {"airlines": {0: 16}})


class RecordingPlatform(FakePlatform):
    """Remembers the order of questions."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("position", "committed", "job", "publishable", "retained", "ends"):
            object.__getattribute__(self, "__dict__").setdefault("asked", []).append(name)
        return object.__getattribute__(self, name)


def state(attempt: Attempt, *publications: Publication) -> ProductState:
    return ProductState("flights", (RELEASE,), (attempt,), publications)


@pytest.mark.parametrize(
    ("attempt", "job", "asked"),
    [
        pytest.param(
            replace(ATTEMPT, positions=(Position(3, {}),)),
            FakeJob("r1-a1", checkpoint=3),
            ["job", "committed", "ends"],
            id="replaying",
        ),
        pytest.param(
            ATTEMPT,
            FakeJob("r1-a1", checkpoint=3),
            ["job", "position", "committed", "ends", "publishable"],
            id="a new checkpoint",
        ),
        pytest.param(
            replace(ATTEMPT, state=State.active),
            FakeJob("r1-a1", checkpoint=3),
            ["job", "position", "committed", "ends", "publishable"],
            id="may be published",
        ),
        pytest.param(ATTEMPT, None, ["job", "publishable", "retained"], id="lost"),
        pytest.param(
            ATTEMPT,
            FakeJob("r1-a1", status="FAILED", checkpoint=3),
            ["job", "publishable", "retained"],
            id="ended",
        ),
        pytest.param(
            replace(ATTEMPT, confirmed=False), FakeJob("r1-a1"), ["job", "ends"], id="not confirmed"
        ),
    ],
)
def test_no_more_is_asked_than_what_flink_says_makes_worth_it(
    attempt: Attempt, job: FakeJob | None, asked: list[str]
) -> None:
    platform = RecordingPlatform(Clock(), jobs={"j": job} if job else {})
    observe(platform, state(attempt), 0.0)
    assert platform.__dict__["asked"] == asked


def test_the_position_is_that_of_the_job_that_runs_now() -> None:
    reached = CheckpointPosition(4, {"flights": {0: 5}}, {"flights": {0: 6}})
    jobs = {
        "i": FakeJob("r1-a1", checkpoint=9, position=replace(reached, checkpoint=9)),
        "j": FakeJob("r1-a1", checkpoint=4, position=reached),
    }
    seen = observe(
        FakePlatform(Clock(), jobs=jobs), state(replace(ATTEMPT, job_ids=("i", "j"))), 0.0
    )
    assert seen.attempts["r1-a1"].position == reached


def test_nothing_is_read_from_the_lake_when_there_is_no_newer_checkpoint() -> None:
    platform = RecordingPlatform(Clock(), jobs={"j": FakeJob("r1-a1", checkpoint=3)})
    shown = Publication(1, "flights", 1, 1, 3, {}, {}, {}, 0.0, 1.0)
    observe(
        platform,
        state(replace(ATTEMPT, state=State.active, positions=(Position(3, {}),)), shown),
        0.0,
    )
    assert "publishable" not in platform.__dict__["asked"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [((), {"WindowJoin[9]": 1}), ((Position(3, {}),), {})],
    ids=["a new checkpoint", "no new checkpoint"],
)
def test_operators_that_drop_records_are_looked_for_at_each_checkpoint(
    known: tuple[Position, ...], expected: dict[str, int]
) -> None:
    job = FakeJob("r1-a1", checkpoint=3, position=CheckpointPosition(3, {}, {}))
    platform = FakePlatform(Clock(), jobs={"j": job}, dropped={"WindowJoin[9]": 1})
    assert (
        observe(platform, state(replace(ATTEMPT, positions=known)), 0.0)
        .attempts["r1-a1"]
        .late_dropped
        == expected
    )


def test_the_logs_ends_are_asked_for_once_behind_every_jobs_checkpoint() -> None:
    """A checkpoint holds no more than its ends say: of an attempt that is to overtake another, this is the proof."""
    platform = RecordingPlatform(
        Clock(), jobs={"j": FakeJob("r1-a1", checkpoint=3), "k": FakeJob("r1-a2", checkpoint=4)}
    )
    second = replace(ATTEMPT, number=2, job_ids=("k",))
    seen = observe(platform, ProductState("flights", (RELEASE,), (ATTEMPT, second)), 0.0).attempts
    assert platform.__dict__["asked"] == [
        "job",
        "position",
        "committed",
        "job",
        "position",
        "committed",
        "ends",
        "publishable",
        "publishable",
    ]
    assert seen["r1-a1"].ends == seen["r1-a2"].ends == platform.ends_now


QUIET: dict[str, dict[int, int | None]] = {"flights": {0: 10**12, 1: 10**12 - 7 * 3_600_000}}


RUNS, ENDED = FakeJob("r1-a1", checkpoint=3), FakeJob("r1-a1", status="FAILED", checkpoint=3)
NOT_SENT = replace(ATTEMPT, state=State.built, submitted_at=None, confirmed=False)


@pytest.mark.parametrize(
    ("attempt", "job", "told"),
    [
        pytest.param(ATTEMPT, RUNS, True, id="a replay"),
        pytest.param(NOT_SENT, None, True, id="a replay that is to be submitted"),
        pytest.param(
            replace(ATTEMPT, state=State.active, positions=(Position(3, {}, 100.0),)),
            RUNS,
            True,
            id="the live job, whose checkpoints go on",
        ),
        pytest.param(replace(ATTEMPT, state=State.active), None, False, id="the live job is lost"),
        pytest.param(ATTEMPT, ENDED, False, id="a replay that failed"),
        pytest.param(replace(ATTEMPT, stop=State.aborted), RUNS, False, id="one that ends"),
    ],
)
def test_what_results_wait_for_is_told_where_results_are_to_come(
    attempt: Attempt, job: FakeJob | None, told: bool
) -> None:
    platform = FakePlatform(Clock(), jobs={"j": job} if job else {}, clocks_now=QUIET)
    assert bool(observe(platform, state(attempt), 101.0).attempts["r1-a1"].held_back) is told


def test_the_logs_clocks_are_asked_for_every_few_seconds_whoever_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change is told within 10 s, and a round over many products asks the log for little."""
    platform = FakePlatform(Clock(), jobs={"j": RUNS, "k": RUNS}, clocks_now=QUIET)
    asked: list[float] = []
    waits, now = LookCache(platform), 0.0

    def clocks(product: Product) -> Clocks:
        asked.append(now)
        return QUIET

    monkeypatch.setattr(platform, "clocks", clocks)
    both = ProductState(
        "flights", (RELEASE,), (ATTEMPT, replace(ATTEMPT, number=2, job_ids=("k",)))
    )
    for now in map(float, range(0, 21, 2)):
        seen = observe(platform, both, now, waits).attempts
        assert all(s.held_back for s in seen.values())
    assert asked == [0.0, 8.0, 16.0]


def test_a_clock_that_was_set_back_is_no_reason_not_to_ask() -> None:
    platform = FakePlatform(Clock(), jobs={"j": RUNS}, clocks_now=QUIET)
    waits = LookCache(platform)
    assert observe(platform, state(ATTEMPT), 3_600.0, waits).attempts["r1-a1"].held_back
    platform.clocks_now = {}
    assert observe(platform, state(ATTEMPT), 0.0, waits).attempts["r1-a1"].held_back == ""


def test_a_cluster_out_of_reach_is_not_a_cluster_without_jobs() -> None:
    platform = FakePlatform(Clock(), down=True)
    seen = observe(platform, state(ATTEMPT), 0.0)
    assert seen.attempts["r1-a1"].unreachable == "Flink's JobManager does not answer"


@pytest.mark.parametrize(
    ("answer", "said", "asked"),
    [
        pytest.param(
            "taskmanager-a: ImagePullBackOff",
            "taskmanager-a: ImagePullBackOff",
            [0, 60, 120],
            id="known",
        ),
        pytest.param("", "", [0, 60, 120], id="not known"),
        pytest.param(
            RetryableError("no answer", expected="", found="", next=""), "", [0], id="in vain"
        ),
    ],
)
def test_why_a_cluster_does_not_answer_is_asked_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, answer: str | KappaError, said: str, asked: list[int]
) -> None:
    platform, found = FakePlatform(Clock(), down=True), []

    def exit_reason(_: Attempt) -> str:
        found.append(now)
        if isinstance(answer, KappaError):
            raise answer
        return answer

    monkeypatch.setattr(platform, "exit_reason", exit_reason)
    cache = LookCache(platform)
    for now in range(0, 122, 2):
        seen = observe(platform, state(ATTEMPT), float(now), cache).attempts["r1-a1"]
        assert seen.exit_reason == said
    assert found == asked


def test_a_product_without_attempts_needs_no_look() -> None:
    assert observe(FakePlatform(Clock(), down=True), ProductState("flights"), 0.0).attempts == {}


def test_main_is_looked_at_while_there_is_something_to_clean_up() -> None:
    platform = FakePlatform(Clock())
    platform.lake.ensure_tables()
    platform.main_now = {"flights_rows": 7, "flights_hourly": 8}
    over = replace(ATTEMPT, state=State.aborted)
    assert observe(platform, state(over), 0.0).main == {"flights_rows": 7, "flights_hourly": 8}
    assert observe(platform, state(replace(over, cleaned=True)), 0.0).main == {}
    shown = Publication(1, "flights", 1, 1, 3, {}, {}, {}, 0.0, 1.0)
    assert observe(platform, state(over, shown), 0.0).main == {}, "readers see it"


SHOWN = Publication(1, "flights", 1, 1, 1, {}, {"flights_rows": 10}, {}, 0.0, 1.0)
EACH = list(range(0, 26, 2))
READ = {"flights": {0: 5}}
MORE = {"flights": {0: 6}}


@pytest.mark.parametrize(
    ("says", "committed", "reads", "asked"),
    [
        pytest.param({}, 4, READ, [0, 20], id="nothing read"),
        pytest.param({}, 3, MORE, [0, *EACH[3:]], id="a checkpoint that is not in the tables yet"),
        pytest.param({}, 4, MORE, [0, 6], id="a checkpoint with more records"),
        pytest.param({}, 4, None, [0, 6], id="a checkpoint without a position"),
        pytest.param({"same_files": False}, 4, READ, EACH, id="new rows"),
        pytest.param({"log_changes": ("another topic",)}, 4, READ, EACH, id="another log"),
    ],
)
def test_tables_with_nothing_new_are_asked_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
    says: dict[str, Any],
    committed: int,
    reads: Offsets | None,
    asked: list[int],
) -> None:
    platform, found = FakePlatform(Clock()), []
    before = Position(3, READ, 100.0, read=READ)
    attempt = replace(ATTEMPT, state=State.active, positions=(before,))

    def publishable(*_: object) -> tuple[Checkpoint, ...]:
        found.append(now)
        return (Checkpoint(committed, {"flights_rows": 30}),)

    monkeypatch.setattr(platform, "publishable", publishable)
    monkeypatch.setattr(platform, "same_files", lambda *_: says.get("same_files", True))
    monkeypatch.setattr(platform, "log_changes", lambda _: says.get("log_changes", ()))
    waits = LookCache(platform)
    for now in EACH:
        platform.jobs["j"] = replace(RUNS, checkpoint=3 if now < 6 else 4)
        if now >= 6 and reads is not None:
            platform.jobs["j"].position = CheckpointPosition(4, reads, reads)
        seen = observe(platform, state(attempt, SHOWN), now, waits).attempts["r1-a1"]
        assert seen.commits[0].id == committed
        assert (seen.nothing_new, seen.log_changes) == (
            says.get("same_files", True),
            says.get("log_changes", ()),
        )
    assert found == asked


def test_tables_are_asked_again_once_another_process_has_seen_a_newer_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`kappa verify` looks beside the controller, and records what it sees."""
    platform = FakePlatform(Clock(), jobs={"j": replace(RUNS, checkpoint=3)})
    old, new = (Checkpoint(n, {"flights_rows": 30 + n}) for n in (3, 4))
    attempt = replace(ATTEMPT, state=State.active, positions=(Position(2, READ, read=READ),))
    monkeypatch.setattr(platform, "same_files", lambda *_: True)
    monkeypatch.setattr(platform, "log_changes", lambda _: ())
    cache = LookCache(platform)

    def seen(tip: Checkpoint, there: tuple[Checkpoint, ...], now: float) -> object:
        monkeypatch.setattr(platform, "publishable", lambda *_: there)
        looked_at = state(replace(attempt, tip=tip), SHOWN)
        return observe(platform, looked_at, now, cache).attempts["r1-a1"].publishable

    assert seen(old, (old,), 0.0) == (old,)
    assert seen(old, (new, old), 2.0) == (old,), "asked a moment ago"
    assert seen(new, (new, old), 4.0) == (new, old)


CLEANED = replace(ATTEMPT, number=2, state=State.failed, cleaned=True)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        pytest.param(None, STRAYS_SECONDS, id="an answer"),
        pytest.param(
            FlinkDownError("no answer"), UNANSWERED_SECONDS, id="the session cluster is silent"
        ),
        pytest.param(
            RetryableError("nothing within 90 s"),
            UNANSWERED_SECONDS,
            id="the program for clusters hangs",
        ),
        pytest.param(
            RefusedError("exit code 1"), UNANSWERED_SECONDS, id="the program for clusters fails"
        ),
    ],
)
def test_readers_do_not_wait_for_whoever_knows_of_strays(
    monkeypatch: pytest.MonkeyPatch, error: KappaError | None, again: float
) -> None:
    platform, asked = FakePlatform(Clock(), jobs={"j": RUNS}), []
    waits, both = LookCache(platform), ProductState("flights", (RELEASE,), (ATTEMPT, CLEANED))

    def strays(attempts: object) -> tuple[str, ...]:
        asked.append(attempts)
        if error:
            raise error
        return ("r1-a2",)

    monkeypatch.setattr(platform, "strays", strays)
    assert observe(platform, both, 1000.0, waits).attempts["r1-a1"].job
    observe(platform, both, 1000.0 + again - 1, waits)
    assert asked == [[CLEANED]]
    assert observe(platform, both, 1000.0 + again, waits).strays == (() if error else ("r1-a2",))
    observe(platform, both, 900.0, waits)
    assert len(asked) == 3, "the clock was set back"


def test_who_looks_but_once_does_not_look_for_strays() -> None:
    platform = FakePlatform(Clock(), jobs={"j": replace(RUNS, branch="r1-a2")})
    gone = ProductState("flights", (RELEASE,), (replace(CLEANED, job_ids=("j",)),))
    assert observe(platform, gone, 0.0).strays == ()
    assert observe(platform, gone, 0.0, LookCache(platform)).strays == ("r1-a2",)
