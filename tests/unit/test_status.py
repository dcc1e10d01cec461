"""What `kappa status` says, and how often."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console, Group
from rich.text import Text

from jobs.product.settings import Verify
from replay import offsets, output
from replay.cli import look as run_status
from replay.cli import past
from replay.cli.look import lag, view
from replay.cli.progress import Meter, measure
from replay.controller.platform import Platform
from replay.controller.status import Inspection, ProductStatus, status
from replay.core.events import Event, Reason
from replay.core.model import Attempt, Check, Position, ProductState, Publication, Release, State
from replay.core.observed import FlinkDownError, Job, Observation, ObservedAttempt, Policy
from replay.core.steps import Blocked, Wait
from replay.errors import RetryableError
from replay.output import Output, View, watch
from replay.store.store import Store

NOW = 1_000.0
ENDS = {"flights": {0: 1_000}, "airlines": {0: 16}}
GROWING = {"flights": {0: 1_000}}


def position(checkpoint: int, offset: int, at: float, end: int = 1_000) -> Position:
    return Position(
        checkpoint, {"flights": {0: offset}, "airlines": {0: 16}}, at, {"flights": {0: end}}
    )


LIVE = Attempt(
    "flights",
    1,
    1,
    0.0,
    2,
    ("a" * 32,),
    State.active,
    confirmed=True,
    submitted_at=1.0,
    positions=(position(8, 990, 985.0, 990), position(9, 1_000, 990.0)),
)
CANDIDATE = Attempt(
    "flights",
    2,
    1,
    900.0,
    2,
    ("b" * 32,),
    State.replaying,
    cluster="flights-r2-a1",
    confirmed=True,
    submitted_at=901.0,
    positions=(position(1, 200, 980.0), position(2, 500, 990.0)),
    near=0,
)
PUBLISHED = Publication(
    1, "flights", 1, 1, 9, {}, {}, {"flights": {0: 990}, "airlines": {0: 16}}, 0.0, 1.0
)
R1 = Release("flights", 1, "f" * 64, 0.0, {"airlines": {0: 16}}, git_commit="c" * 40)
EVENTS = (
    Event("flights", 60.0, "r1-a1", Reason.switch, "checkpoint 3"),
    Event("flights", 61.0, "r1-a1", Reason.active),
)


def seen(checkpoint: int, **fields: Any) -> ObservedAttempt:
    return ObservedAttempt(
        Policy(), job=Job("j", "RUNNING", checkpoint=checkpoint), ends=GROWING, **fields
    )


def product(*attempts: Attempt) -> ProductState:
    return ProductState("flights", (R1, replace(R1, number=2)), attempts, (PUBLISHED,))


def told(
    *attempts: Attempt,
    step: Wait | Blocked = Wait("r1-a1: waiting for the next checkpoint"),  # noqa: B008
    others: Mapping[str, ObservedAttempt] | None = None,
) -> ProductStatus:
    sights = {a.name: seen(a.checkpoint) for a in attempts if not a.ended}
    return status(
        product(*attempts),
        EVENTS,
        Inspection(
            Observation({**sights, **(others or {})}), step, {"r2-a1": {"flights": {0: 700}}}
        ),
        NOW,
    )


def test_what_open_transactions_keep_from_being_read_is_named_and_is_no_lag() -> None:
    found = status(
        product(LIVE),
        EVENTS,
        Inspection(
            Observation({"r1-a1": seen(9)}), Wait("waiting"), {}, {"flights": {0: 1_500, 3: 2}}
        ),
        NOW,
    )
    assert found.open_transactions == {"flights-0": 1_500, "flights-3": 2}
    assert "  not readable before open transactions end: 1,500 offsets of flights-0, 2" in text(
        found
    )


def test_who_changed_committed_offsets_is_told() -> None:
    found = told(replace(LIVE, foreign_offsets="somebody changed the committed offsets"))
    assert "         somebody changed the committed offsets" in text(found)
    assert "flights: r1-a1 somebody changed the committed offsets" in view([found]).lines.values()


def test_where_a_switch_is_not_atomic_for_readers_it_is_said_with_where_the_recipe_stands() -> None:
    found = status(product(LIVE), EVENTS, None, NOW, "Flink does not answer", at_once=False)
    line = "a switch is not atomic for readers: docs/production.md#reading-several-tables"
    assert f"  {line}" in text(found)
    assert view([found]).lines["flights catalog"] == f"flights: {line}"
    assert view([found]).data[0]["at_once"] is False
    assert told(LIVE).at_once is None and f"  {line}" not in text(told(LIVE))
    page, _, anchor = line.rpartition(" ")[2].partition("#")
    headings = (Path(__file__).parents[2] / page).read_text().splitlines()
    assert anchor in [
        h.lstrip("# ").lower().replace(" ", "-") for h in headings if h.startswith("#")
    ]


@pytest.mark.parametrize(("fails", "at_once"), [("flink", False), ("catalog", None)])
def test_what_kind_of_catalog_it_is_is_told_unless_that_is_what_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, fails: str, at_once: bool | None
) -> None:
    def away(*_: Any) -> None:
        raise (
            FlinkDownError("Flink is down")
            if fails == "flink"
            else RetryableError("the catalog is down")
        )

    monkeypatch.setattr(run_status, "_sight", away)
    platform, store = (
        SimpleNamespace(catalog=object()),
        SimpleNamespace(load=lambda _: product(LIVE), events=lambda _: EVENTS, now=lambda: NOW),
    )
    found = run_status.look(cast(Platform, platform), cast(Store, store), "flights")
    assert (found.at_once, bool(found.trouble)) == (at_once, True)


def text(*products: ProductStatus) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=80, color_system=None).print(view(list(products)).text)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_all_of_a_product_on_80_columns() -> None:
    failing = Attempt("flights", 2, 2, 950.0, 1, ("d" * 32,), State.failed, error="boom " * 30)
    shown = text(told(LIVE, replace(CANDIDATE, near=1), failing))
    assert max(map(len, shown)) <= 80
    assert shown == [
        "flights",
        "  readers see r1-a1 (release ffffffffffff, git cccccccccccc), checkpoint 9",
        "  1,006 records, lag 10 (15 s); last switch 1970-01-01 00:01:00Z",
        "  r1-a1  active    checkpoint 9  no lag  restarts 0",
        "         job aaaaaaaa RUNNING, parallelism 2, on the session cluster",
        "  r2-a1  replaying checkpoint 2  lag 500  restarts 0",
        "         job bbbbbbbb RUNNING, parallelism 2, on a cluster of its own",
        "         70 % of 1,016 records read, 30/s, 10 s left, within limits 1 of 2 times",
        "  r2-a2  failed: boom boom boom boom boom boom boom boom boom boom boom boom",
        "  boom boom boom boom boom boom boom boom boom boom boom boom boom boom boom",
        "  boom boom boom",
        "  r1-a1: waiting for the next checkpoint",
    ]


SHADOW = Attempt("flights", 1, 2, 1_000.0, 2, ("e" * 32,), State.retired, shadow=True)
VERIFIED = Event(
    "flights",
    1_100.0,
    "r1-a2",
    Reason.verified,
    "equal to r1-a1 checkpoint 8: 990 rows of 2 tables",
)
DIFFERS = Event("flights", 1_100.0, "r1-a2", Reason.differs, "NOT equal (rows: 3 changed)")


def verified(*events: Event, shown: Attempt = LIVE) -> ProductStatus:
    sights = {
        shown.name: ObservedAttempt(
            Policy(verify=Verify.weekly), job=Job("j", "RUNNING", checkpoint=9), ends=GROWING
        )
    }
    return status(
        product(shown, SHADOW),
        (*EVENTS, *events),
        Inspection(Observation(sights), Wait("all is well"), {}),
        NOW,
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            (), "  not verified yet; next verification from 1970-01-08 00:16:40Z on", id="not yet"
        ),
        pytest.param(
            (VERIFIED,),
            "  verified 1970-01-01 00:18:20Z by r1-a2: equal to r1-a1 checkpoint 8: 990 rows",
            id="equal",
        ),
        pytest.param(
            (VERIFIED, DIFFERS),
            "  DIFFERS 1970-01-01 00:18:20Z by r1-a2: NOT equal (rows: 3 changed); next",
            id="the last one counts",
        ),
    ],
)
def test_what_the_last_verification_found_and_when_the_next_is_due(
    events: tuple[Event, ...], expected: str
) -> None:
    assert any(line.startswith(expected) for line in text(verified(*events))), text(
        verified(*events)
    )


def test_a_verification_that_failed_is_told_of_in_a_log_while_readers_see_that_release() -> None:
    assert "flights verified" in view([verified(DIFFERS)]).lines
    assert "flights verified" not in view([verified(VERIFIED)]).lines
    later = replace(LIVE, release=2)
    state = replace(
        product(later, replace(LIVE, state=State.standby), SHADOW),
        publications=(replace(PUBLISHED, release=2),),
    )
    assert "flights verified" not in view([status(state, (*EVENTS, DIFFERS), None, NOW)]).lines


def test_what_results_wait_for_is_told_whatever_comes_next() -> None:
    p = told(LIVE, others={"r1-a1": seen(9, held_back="results wait for weather: …")})
    assert (p.waits, p.odd) == (
        "r1-a1: waiting for the next checkpoint; results wait for weather: …",
        True,
    )


def test_checks_that_find_fault_with_what_readers_see_are_an_error() -> None:
    faulty = replace(
        LIVE,
        checks=(Check("checks/x.sql", True, 2, "2 offending rows"), Check("y", False, 1, "a row")),
    )
    assert (
        told(faulty).attempts[0].error
        == "checks find fault with what readers see: checks/x.sql: 2 offending rows"
    )
    assert told(replace(faulty, checks=(Check("y", False, 1, "a row"),))).attempts[0].error == ""


def test_checks_that_failed_or_warn_are_named() -> None:
    checked = replace(
        CANDIDATE,
        state=State.audited,
        audited_checkpoint=2,
        checks=(Check("rows", True, 0), Check("checks/a.sql", False, 3, "3 offending rows")),
    )
    assert "         checks on checkpoint 2: 1 passed; checks/a.sql: 3 offending rows (a" in text(
        told(LIVE, checked)
    )


def test_somebody_has_to_look() -> None:
    blocked = Blocked("somebody else moved main of flights", "r1-a1", "t=7", "put main back")
    shown = text(told(LIVE, step=blocked))
    assert shown[-4:] == [
        "  stopped: somebody else moved main of flights",
        "    expected: r1-a1",
        "    found: t=7",
        "    next: put main back",
    ]
    assert told(LIVE, step=blocked).stopped == (
        "publishing has stopped: somebody else moved main of flights; next: put main back"
    )
    assert not told(LIVE).stopped


def test_without_an_answer_what_is_remembered_is_told() -> None:
    shown = status(
        product(LIVE), EVENTS, None, NOW, "Flink does not answer: this is what is remembered"
    )
    assert "         job aaaaaaaa not asked, parallelism 2, on the session cluster" in text(shown)
    assert text(shown)[-1] == "  Flink does not answer: this is what is remembered"


@pytest.mark.parametrize("status", ["RESTARTING", "RUNNING", "FAILED"])
def test_the_last_exception_stands_beside_the_restarts_whatever_became_of_the_job(
    status: str,
) -> None:
    job = Job("j", status, restarts=3, error="java.io.IOException: disk full", failed_at=984.0)
    found = told(LIVE, others={"r1-a1": replace(seen(9), job=job)})
    shown = text(found)
    at = shown.index("  r1-a1  active    checkpoint 9  no lag  restarts 3")
    assert (
        shown[at + 1]
        == "         last exception (1970-01-01 00:16:24Z): java.io.IOException: disk full"
    )
    assert view([found]).lines["flights r1-a1 exception"] == (
        "flights: r1-a1 last exception (1970-01-01 00:16:24Z): java.io.IOException: disk full"
    )
    assert (
        view([found]).data[0]["attempts"][0]["last_exception"] == "java.io.IOException: disk full"
    )


def test_a_job_that_never_failed_has_no_last_exception() -> None:
    assert [line for line in text(told(LIVE)) if "exception" in line] == []


def test_before_the_first_deploy_has_caught_up() -> None:
    state = ProductState("flights", (R1,), (replace(CANDIDATE, release=1, positions=()),))
    shown = text(status(state, (), None, NOW))
    assert shown[1:3] == [
        "  readers see nothing yet",
        "  r1-a1  replaying checkpoint -  lag unknown  restarts 0",
    ]


@pytest.mark.parametrize(
    ("attempt", "role"),
    [
        (replace(LIVE, shadow=True, state=State.caught_up), "shadow"),
        (replace(LIVE, stop=State.retired), "stopping"),
        (LIVE, "active"),
    ],
)
def test_roles(attempt: Attempt, role: str) -> None:
    assert told(attempt).attempts[0].role == role


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 3.0), "no lag"),
        ((1_234, None), "lag 1,234"),
        ((1_234, 61.4), "lag 1,234 (1 min 1 s)"),
        ((1_234, 17_400.0), "lag 1,234 (4 h 50 min)"),
        ((None, None), "lag unknown"),
    ],
)
def test_lag(arguments: tuple[int | None, float | None], expected: str) -> None:
    assert lag(*arguments) == expected


def test_a_log_of_it_is_calm() -> None:
    lines = view([told(LIVE, CANDIDATE)]).lines
    assert list(lines.values()) == [
        "flights: readers see r1-a1 (release ffffffffffff)",
        "flights: r1-a1 active checkpoint 9 no lag restarts 0",
        "flights: r2-a1 replaying checkpoint 2 lag 500 restarts 0",
        "flights: r2-a1 70 % of 1,016 records read, 30/s, 10 s left",
    ]
    assert (
        "flights: Flink is down"
        in view([told(LIVE, step=Wait("Flink is down", True))]).lines.values()
    )


def test_programs_get_everything() -> None:
    data = json.loads(json.dumps(view([told(LIVE, CANDIDATE)]).data, default=str))
    assert data[0]["readers"]["git_commit"] == "c" * 40
    assert data[0]["attempts"][1]["progress"] == {
        "read": 716,
        "total": 1_016,
        "rate": 30.0,
        "eta_seconds": 10.0,
        "near": 0,
        "near_needed": 2,
    }


# --watch


def looks(*views: View | Exception) -> tuple[Callable[[], View], Callable[[float], None]]:
    """What each look finds, and the sleep that ends with Ctrl-C after the last."""
    left = list(views)

    def look() -> View:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def sleep(_: float) -> None:
        if not left:
            raise KeyboardInterrupt

    return look, sleep


def one(line: str) -> View:
    return View({"n": line}, line, {"a": line, "b": "same"})


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=file, width=80, color_system=None))
    return file


def test_a_pipe_gets_what_changed(printed: io.StringIO) -> None:
    look, sleep = looks(one("x"), one("x"), one("y"), RetryableError("Kafka is down"), one("y"))
    watch(look, Output.text, sleep)
    assert [line[9:] for line in printed.getvalue().splitlines()] == [
        "x",
        "same",
        "y",
        "Kafka is down",
        "y",
        "same",
    ]


def test_programs_get_a_document_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    look, sleep = looks(one("x"), one("x"), one("y"))
    watch(look, Output.json, sleep)
    assert [json.loads(line)["n"] for line in capsys.readouterr().out.splitlines()] == ["x", "y"]


def test_a_terminal_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(
        output, "out", Console(file=file, width=80, force_terminal=True, color_system=None)
    )
    look, sleep = looks(one("x"), one("y"))
    watch(look, Output.text, sleep)
    assert "x" in file.getvalue()
    assert "y" in file.getvalue()


def test_what_does_not_fit_a_terminal_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    screen = Console(file=file, width=80, height=10, force_terminal=True, color_system=None)
    monkeypatch.setattr(output, "out", screen)
    long = View([], Group(*(Text(f"line {n}") for n in range(30))), {})
    look, sleep = looks(long)
    watch(look, Output.text, sleep)
    shown = file.getvalue()
    assert "line 7" in shown
    assert "line 8" not in shown
    assert "… 22 more lines" in shown


def test_a_role_has_its_colour_and_restarts_are_seen() -> None:
    screen = io.StringIO()
    job = replace(CANDIDATE, restarts=3)
    shown = view([status(product(LIVE, job), (), None, NOW)]).text
    Console(file=screen, width=80, force_terminal=True, color_system="standard").print(shown)
    lines = screen.getvalue().splitlines()
    (active,) = [line for line in lines if "r1-a1" in line and "restarts" in line]
    (candidate,) = [line for line in lines if "r2-a1" in line and "restarts" in line]
    assert "32m active" in active  # green
    assert "36m replaying" in candidate  # cyan
    assert "33mrestarts 3" in candidate  # yellow


def test_status_and_the_panel_of_a_deploy_count_alike() -> None:
    """A bounded source is finished, and its position may be in no later checkpoint: none of it is lag."""
    reference = {"airports": {0: 93_000}}
    release = replace(R1, number=2, reference_offsets=reference)
    state = replace(product(LIVE, CANDIDATE), releases=(R1, release))
    inspection = Inspection(
        Observation({a.name: seen(a.checkpoint) for a in (LIVE, CANDIDATE)}), Wait("x"), {}
    )
    ends = inspection.observation.attempts["r2-a1"].ends
    told_by_status = status(state, (), inspection, NOW).attempts[1]
    wanted = offsets.replaced(ends, reference)
    panel = measure(CANDIDATE, {}, wanted, {}, Meter(), 0, "", reference=reference)
    assert told_by_status.progress is not None
    assert panel.lag == told_by_status.lag_records
    assert (panel.read, panel.total) == (
        told_by_status.progress.read,
        told_by_status.progress.total,
    )
    assert panel.total > 93_000 > panel.lag


# history


def test_long_details_of_the_history_wrap_beside_the_rest() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, color_system=None)
    rows = [
        {"at": "2026-11-21 07:31:05", "attempt": "r1-a1", "reason": "built", "detail": ""},
        {
            "at": "2026-11-21 07:31:45",
            "attempt": "r1-a1",
            "reason": "failed",
            "detail": "no column " * 8,
        },
        {"at": "2026-11-22 00:00:01", "attempt": "r1-a2", "reason": "built", "detail": ""},
    ]
    console.print(past.history_table(rows), soft_wrap=False)
    shown = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert shown == [
        "2026-11-21",
        "07:31:05    r1-a1  built",
        "07:31:45    r1-a1  failed  no column no column no column no column no column no",
        "                           column no column no column",
        "2026-11-22",
        "00:00:01    r1-a2  built",
    ]
