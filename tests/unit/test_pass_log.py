"""What the controller logs of its passes: in lines for people, and as JSON."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

import pytest
import structlog

from replay.controller import service_log
from replay.controller.loop import Loop, heartbeat
from replay.controller.pass_log import REPEAT_SECONDS, PassLog
from replay.controller.service import serve
from replay.controller.watching import Pass, Watcher, Watchers
from replay.core.model import Attempt, Check, ProductState
from replay.core.observed import Observation
from replay.core.steps import Blocked, Step, Wait
from replay.errors import ConfigError, RetryableError
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.control_steps import begin, published_to_the_end, turn
from tests.unit.log_lines import documents, texts

ATTEMPT = Attempt("flights", 1, 1, 0.0, 2, ("1a2b3c4d" * 4,))


def rounds(
    loop: Loop,
    log: PassLog,
    clock: Clock,
    number: int,
    before: Callable[[int], None] = lambda n: None,
) -> None:
    """So many rounds, a second apart; `before` is told of each that comes."""
    numbers = count(1)

    def pause() -> bool:
        n = next(numbers)
        clock.time += 1
        before(n)
        return n == number

    loop.watcher = log
    serve(loop, pause, round_seconds=None)


def passed(log: PassLog, step: Step) -> None:
    log.passed("flights", Pass(ProductState("flights"), Observation(), step), 0.1)


def test_steps_and_complaints_are_logged_once(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written = log_to()
    begin(loop, platform)
    rounds(loop, PassLog(clock), clock, 8, lambda n: setattr(platform, "down", 4 <= n <= 6))
    assert texts(written) == [
        "info    flights r1-a1: started flink run for its job  job=job-1-0",
        "info    flights r1-a1: Flink has its job  job=job-1-0",
        "warning flights r1-a1: Flink's JobManager does not answer  job=job-1-0",
        "info    flights: recovered",
    ]


def test_json_has_product_attempt_release_and_job_as_fields(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written = log_to(KAPPA_LOG="json")
    begin(loop, platform)
    rounds(loop, PassLog(clock), clock, 1)
    (line,) = documents(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "started flink run for its job",
        "level": "info",
        "logger": "replay.controller",
        "product": "flights",
        "attempt": "r1-a1",
        "release": "r1",
        "job_id": "job-1-0",
    }


def test_what_a_library_logs_during_a_step_says_of_which_attempt(
    loop: Loop,
    platform: FakePlatform,
    clock: Clock,
    log_to: Callable[..., io.StringIO],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = log_to(KAPPA_LOG="json")
    prepare = platform.prepare

    def noisy(*args: Any) -> None:
        logging.getLogger("pyiceberg.table").warning("retrying %s", "a commit")
        logging.getLogger("pyiceberg.table").info("not worth a line")
        prepare(*args)

    monkeypatch.setattr(platform, "prepare", noisy)
    begin(loop, platform)
    rounds(loop, PassLog(clock), clock, 1)
    first, *_ = documents(written)
    assert (first["event"], first["logger"], first["level"]) == (
        "retrying a commit",
        "pyiceberg.table",
        "warning",
    )
    assert (first["attempt"], first["release"], first["job_id"]) == ("r1-a1", "r1", "job-1-0")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_that_nobody_foresaw_leaves_its_traceback_once(
    loop: Loop,
    platform: FakePlatform,
    clock: Clock,
    log_to: Callable[..., io.StringIO],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    written = log_to(KAPPA_LOG=form)
    begin(loop, platform)

    def broken(*_: object) -> NoReturn:
        password = "hunter2"  # noqa: F841  a local variable is nobody's to read
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(platform, "job", broken)
    rounds(loop, PassLog(clock), clock, 3)
    text = written.getvalue()
    assert text.count("ZeroDivisionError: division by zero") == 2, (
        "the line itself, and the end of the traceback"
    )
    assert text.count("in broken") == 1
    assert "hunter2" not in text.replace('password = "hunter2"', "").replace(
        'password = \\"hunter2\\"', ""
    )
    if form == "text":
        assert texts(written)[:2] == [
            "error   flights: ZeroDivisionError: division by zero",
            "  Traceback (most recent call last):",
        ]


def test_an_error_that_was_foreseen_is_one_line_that_says_what_to_do(
    log_to: Callable[..., io.StringIO],
) -> None:
    written = log_to()
    error = RetryableError(
        "Kafka does not answer", expected="an answer", found="none", next="kappa status"
    )
    PassLog().failed("flights", error, 0.1)
    assert texts(written) == [
        "warning flights: Kafka does not answer expected: an answer found: none next: kappa status"
    ]


def test_why_an_attempt_ended_is_in_the_log(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    platform.complaints = [Check("checks/x.sql", True, 2, "2 offending rows")]
    begin(loop, platform)
    written = log_to()
    loop.watcher = PassLog(clock)
    turn(loop, platform, clock, 40)
    lines = [line.partition(": ")[2] for line in texts(written)]
    assert "ran the checks on checkpoint 4  job=job-1-0" in lines
    assert "failed: checks failed: checks/x.sql: 2 offending rows  job=job-1-0" in lines
    assert "removed its branch and files  job=job-1-0" in lines


def test_an_error_of_several_lines_is_one_line_in_json_too(
    clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written = log_to(KAPPA_LOG="json")
    passed(
        PassLog(clock), Wait("Flink does not answer\n  expected: REST\n  found:    nothing", True)
    )
    assert documents(written)[0]["event"] == "Flink does not answer expected: REST found: nothing"


def test_a_complaint_of_which_only_numbers_change_is_repeated_after_an_hour(
    clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written, log = log_to(), PassLog(clock)
    for minute in range(72):
        passed(log, Wait(f"r1-a1: partition 0 is {minute} min behind", True, ATTEMPT))
        clock.time += 60
    assert texts(written) == [
        "warning flights r1-a1: partition 0 is 0 min behind  job=1a2b3c4d",
        "warning flights r1-a1: partition 0 is 60 min behind  job=1a2b3c4d",
    ]
    assert REPEAT_SECONDS == 3600


def test_a_complaint_stays_the_same_while_steps_are_performed_and_other_attempts_wait_for_other_things(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    """Checkpoints go on, snapshots are expired, another release replays: the quiet partition is told of once."""
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    written, log = log_to(), PassLog(clock)
    platform.clocks_now = {"flights": {0: 10**12, 1: 10**12 - 7 * 3_600_000}}
    numbers = count(1)

    def pause() -> bool:
        clock.time += 2
        if (n := next(numbers)) % 5 == 0:
            platform.complete_checkpoint()
        if n == 200:
            begin(loop, platform, release=2)
        return n == 400

    loop.watcher = log
    serve(loop, pause, round_seconds=None)
    assert platform.expired
    lines = texts(written)
    told = [line for line in lines if line.startswith("warning")]
    assert told[0].startswith(
        "warning flights r1-a1: results wait for flights: the clock of its partition 1 is at "
    )
    assert len(told) <= 4, told
    assert not [line for line in lines if line.endswith("recovered")]


def test_another_partition_is_another_complaint(
    clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written, log = log_to(), PassLog(clock)
    for partition in (0, 1, 1):
        passed(log, Wait(f"its partition {partition} is 9 min behind", True))
    assert texts(written) == [
        "warning flights: its partition 0 is 9 min behind",
        "warning flights: its partition 1 is 9 min behind",
    ]


def test_what_stops_publishing_says_what_to_do(log_to: Callable[..., io.StringIO]) -> None:
    written = log_to()
    passed(
        PassLog(), Blocked("somebody else moved main of flights", "r1-a1", "t=7", "put main back")
    )
    assert texts(written) == [
        "warning flights: somebody else moved main of flights; expected r1-a1; found t=7; "
        "next: put main back"
    ]


def test_why_nothing_is_done_is_told_to_those_who_ask(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written, log = log_to(KAPPA_LOG_LEVEL="debug"), PassLog(clock)
    begin(loop, platform)
    turn(loop, platform, clock, 30)
    rounds(loop, log, clock, 1)
    assert (
        texts(written)[-1]
        == "debug   flights r1-a1: waiting: readers see all rows of its newest checkpoint  "
        "job=job-1-0"
    )


def test_a_store_that_is_down_is_told_once_and_is_no_product(
    log_to: Callable[..., io.StringIO],
) -> None:
    written, log = log_to(), PassLog()
    for _ in range(3):
        log.unlisted(RetryableError("the controller's store does not answer"))
    log.listed(["store"])
    log.listed(["store"])
    assert texts(written) == [
        "warning the controller's store does not answer  part=store",
        "info    recovered  part=store",
    ]


def test_of_a_product_that_is_gone_nothing_is_remembered(
    clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    written, log = log_to(), PassLog(clock)
    for products in (["flights"], [], ["flights"]):
        log.listed(products)
        passed(log, Wait("the same", True))
    assert texts(written) == ["warning flights: the same"] * 2


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("KAPPA_LOG", "xml", "text or json"),
        ("KAPPA_LOG_LEVEL", "loud", "debug or info or warning or error"),
    ],
)
def test_a_form_that_there_is_not_is_refused(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as e:
        service_log.configure({name: value}, io.StringIO())
    assert (e.value.expected, e.value.found) == (expected, value)


def test_what_tells_of_the_controller_and_fails_keeps_nobody_from_publishing(
    loop: Loop, platform: FakePlatform, clock: Clock, log_to: Callable[..., io.StringIO]
) -> None:
    class Broken(Watcher):
        def performed(self, *of: Any) -> NoReturn:
            raise ZeroDivisionError("division by zero")

    written = log_to()
    begin(loop, platform)
    log = PassLog(clock)
    loop.watcher = Watchers(Broken(), log)
    assert published_to_the_end(platform, turn(loop, platform, clock, 30))
    text = texts(written)
    assert len([line for line in text if line.startswith("error")]) == 1
    assert "error   what tells of the controller failed  watcher=Broken of=performed" in text
    assert "  ZeroDivisionError: division by zero" in text
    assert "info    flights r1-a1: started flink run for its job  job=job-1-0" in text, (
        "the others are told"
    )


def test_a_lease_that_cannot_be_renewed_is_told_of(log_to: Callable[..., io.StringIO]) -> None:
    written = log_to()
    tried = threading.Event()

    def fail() -> NoReturn:
        tried.set()
        raise RetryableError("the controller's store does not answer")

    with (
        structlog.contextvars.bound_contextvars(attempt="r1-a1"),
        heartbeat(fail, 1000, period=0.001),
    ):
        assert tried.wait(10)
    assert (
        "warning r1-a1: the lease could not be renewed  error=the controller's store does not answer"
        in texts(written)
    )
