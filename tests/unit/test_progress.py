"""How far a deploy has come, as people and programs see it."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from replay.cli.progress import LONG, LiveLag, Meter, Progress, long_step, measure
from replay.cli.progress_display import (
    JsonDisplay,
    LiveDisplay,
    PlainDisplay,
    lines,
    panel,
    short,
)
from replay.core.model import Attempt, Position, State

ENDS = {"flights": {0: 100, 1: 100}, "airlines": {0: 16}}


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def progress(clock: Clock | None = None, **fields: Any) -> Progress:
    attempt = Attempt(
        "flights",
        1,
        1,
        0.0,
        2,
        ("j",),
        State.replaying,
        positions=(Position(7, {"flights": {0: 50, 1: 40}, "airlines": {0: 16}}, 1.0, ENDS),),
    )
    shown = measure(
        attempt,
        {"flights": {0: 80, 1: 30}},
        ENDS,
        {"status": "RUNNING", "restarts": 1},
        Meter(clock or Clock()),
        0,
        "",
    )
    return replace(shown, **fields)


def test_what_is_read_is_at_least_what_is_covered() -> None:
    p = progress()
    assert (p.read, p.covered, p.total, p.lag) == (80 + 40 + 16, 50 + 40 + 16, 216, 110)
    assert [(t.topic, t.read, t.total) for t in p.topics] == [
        ("airlines", 16, 16),
        ("flights", 120, 200),
    ]


def test_records_that_came_after_the_target_do_not_count() -> None:
    attempt = Attempt(
        "flights", 1, 1, 0.0, 2, ("j",), positions=(Position(7, {"flights": {0: 500, 1: 500}}),)
    )
    p = measure(attempt, {}, {"flights": {0: 100, 1: 100}}, {}, Meter(Clock()), 7, "")
    assert (p.read, p.total, p.lag) == (200, 200, 0)


def test_the_lag_in_seconds_is_how_long_ago_the_log_ended_there() -> None:
    position = Position(7, {"flights": {0: 90, 1: 90}}, 5.0, {"flights": {0: 100, 1: 100}})
    attempt = Attempt(
        "flights",
        1,
        1,
        0.0,
        2,
        ("j",),
        positions=(
            replace(position, checkpoint=6, at=2.0, ends={"flights": {0: 90, 1: 80}}),
            position,
        ),
    )
    p = measure(attempt, {}, {"flights": {0: 150, 1: 90}}, {}, Meter(Clock()), 0, "")
    assert (p.total, p.covered, p.lag, p.lag_seconds) == (240, 180, 60, 3.0)


@pytest.mark.parametrize(
    ("eta", "told"),
    [
        (3.2, "3 s left"),
        (599.0, "599 s left"),
        (7_200.0, "120 min left"),
        (715_889.0, None),
        (None, None),
    ],
)
def test_how_long_it_takes_is_told_unless_it_stands_still(
    eta: float | None, told: str | None
) -> None:
    text, *_ = lines(progress(eta_seconds=eta, rate=5.0))
    assert ("left" in text) is (told is not None)
    assert told is None or told in text


def test_the_rate_is_that_of_the_last_seconds_and_survives_a_restart() -> None:
    clock = Clock()
    meter = Meter(clock)
    for second, count in enumerate([0, 1000, 2000, 3000]):
        clock.time = second
        rate = meter.rate(count)
    assert rate == 1000
    clock.time = 4
    assert meter.rate(500) == 0, "read again from a checkpoint"
    clock.time = 5
    assert meter.rate(900) == 400


def test_plain_lines_come_at_changes_and_every_few_seconds() -> None:
    clock = Clock()
    written: list[str] = []
    display = PlainDisplay(written.append, clock)
    display.show(progress())
    display.show(progress(read=150))
    assert len(written) == 1
    display.show(progress(checkpoint=8))
    assert len(written) == 2
    clock.time = 5
    display.show(progress(checkpoint=8))
    assert len(written) == 3
    assert written[0] == "    0 s  r1-a1 replaying  62 % of 216  lag 110  chk-7  restarts 1"


def test_what_is_waited_for_is_said_once_until_it_changes() -> None:
    clock = Clock()
    written: list[str] = []
    display = PlainDisplay(written.append, clock)
    for seconds, note in enumerate(("a waits", "a waits", "b waits", "", "a waits")):
        clock.time = 10 * seconds
        display.show(progress(note=note))
    assert [line.strip() for line in written if "waits" in line] == [
        "a waits",
        "b waits",
        "a waits",
    ]
    assert len(written) == 5 + 3


def test_a_step_that_takes_long_is_said_at_once_and_its_parts_every_few_seconds() -> None:
    clock = Clock()
    written: list[str] = []
    display = PlainDisplay(written.append, clock)
    display.show(progress())
    display.show(progress(doing="r1-a1 checking"))
    for second in range(1, 12):
        clock.time = second
        display.show(progress(doing=f"r1-a1 checking: check {second} of 11"))
    assert [line.strip() for line in written if "checking" in line] == [
        "r1-a1 checking",
        "r1-a1 checking: check 5 of 11",
        "r1-a1 checking: check 10 of 11",
    ]


@pytest.mark.parametrize("step", LONG)
def test_a_step_that_takes_long_is_named_with_its_attempt(step: type) -> None:
    attempt = Attempt("flights", 2, 1, 0.0, 2, ("j",))
    fields = {f.name: attempt if f.name == "attempt" else None for f in dataclasses.fields(step)}
    assert long_step(step(**fields)) == f"r2-a1 {LONG[step]}"


def test_seconds_go_on_while_nothing_else_does() -> None:
    clock = Clock()
    display = LiveDisplay(clock)
    assert drawn_lines(display) == [""]
    display._said, clock.time = "checking the SQL with Flink's planner", 7
    assert drawn_lines(display) == ["7 s"]
    display.show(progress(elapsed_seconds=60.0, doing="r1-a1 checking"))
    clock.time = 70
    first, *_, last = drawn_lines(display)
    assert first == "flights r1-a1  replaying  123 s"
    assert last == "r1-a1 checking"


def drawn_lines(display: LiveDisplay) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=80, color_system=None).print(display.drawn())
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_what_to_do_is_seen_to_its_end_where_the_panel_is_redrawn() -> None:
    note = (
        "results wait for rates: "
        + "the clock of its partition 0 is far behind, " * 6
        + "append a record to it"
    )
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None, soft_wrap=True)
    with Live(panel(progress(note=note)), console=console, auto_refresh=False) as live:
        live.refresh()
    shown = " ".join(screen.getvalue().split())
    assert note in shown


def test_ndjson_repeats_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonDisplay()
    for p in (progress(), progress(elapsed_seconds=1.0), progress(read=140)):
        display.show(p)
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [d["read"] for d in lines] == [136, 140]
    assert lines[0]["topics"][1] == {"topic": "flights", "read": 120, "total": 200}


LIVE = LiveLag("r1-a1", 12_345, 3.2, 1_234, 1_233, 0)
HUGE: dict[str, Any] = {
    "read": 53_345_678,
    "total": 98_765_432,
    "lag": 55_555_555,
    "rate": 123_456.7,
    "eta_seconds": 500.0,
    "checkpoint": 1_234,
    "live": LIVE,
}


def drawn(p: Progress) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=80, force_terminal=True, color_system=None).print(panel(p))
    return screen.getvalue().splitlines()


def test_the_panel_fits_80_columns() -> None:
    rows = drawn(progress(**HUGE))
    assert max(len(row) for row in rows) <= 80
    assert [row for row in rows if "…" in row] == []
    assert rows[1].split()[-5:] == ["98,765,432", "123,457/s", "500", "s", "left"]
    assert [row.split() for row in rows[-3:]] == [
        ["lag", "seconds", "checkpoint", "readers", "see", "restarts"],
        ["r1-a1", "replaying", "55,555,555", "-", "1234", "-", "1"],
        ["r1-a1", "live", "12,345", "3", "1234", "1233", "0"],
    ]


def test_lines_fit_80_columns_one_for_each_attempt() -> None:
    shown = list(lines(progress(**HUGE, elapsed_seconds=3600.0, restarts=0)))
    assert shown == [
        " 3600 s  r1-a1 replaying  54 % of 98.8M  123k/s  500 s left  lag 55.6M  chk-1234",
        "         r1-a1 live  lag 12.3k (3 s)  chk-1234  readers chk-1233",
    ]
    assert max(map(len, shown)) <= 80


def test_a_line_of_its_own_tells_trouble_in_its_first_line() -> None:
    assert list(lines(progress(note="Flink does not answer\n  expected: …")))[1:] == [
        "         Flink does not answer"
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (12_345, "12.3k"),
        (99_949, "99.9k"),
        (99_960, "100k"),
        (371_067, "371k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (98_765_432, "98.8M"),
        (2.5e9, "2.5G"),
    ],
)
def test_short_numbers(count: int, expected: str) -> None:
    assert short(count) == expected
