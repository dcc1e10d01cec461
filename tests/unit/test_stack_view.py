"""`kappa status` of the embedded stack: products first, and its programs in a line unless they are asked for."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, Group

from local import commands, stack
from local.stack import ProgramStatus
from replay.output import View


def program(name: str, **fields: object) -> ProgramStatus:
    said = {
        "program": name,
        "state": "RUNNING",
        "ready": True,
        "pid": 7,
        "ports": "1 2 3",
        "memory_mb": 600,
        "up_seconds": 2_900,
    }
    return ProgramStatus(**{**said, **fields})  # type: ignore[arg-type]


def shown(
    monkeypatch: pytest.MonkeyPatch, programs: list[ProgramStatus], *, each: bool = False
) -> list[str]:
    monkeypatch.setenv("KAPPA_HOME", "/home/of/kappa")
    monkeypatch.setattr(stack, "status", lambda layout: programs)
    view = commands.stack_view(lambda: View([{}], Group("flights", "  readers see r1"), {}), each)
    screen = io.StringIO()
    Console(file=screen, width=80, color_system=None).print(view.text)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_programs_that_run_are_a_line_below_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [program("kafka"), program("controller", ready=None)]) == [
        "flights",
        "  readers see r1",
        "",
        "stack /home/of/kappa: 2 of 2 programs run, 1,200 MB, for 48 min 20 s",
    ]


def test_a_program_that_does_not_run_or_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = [
        program("kafka", state="FATAL", pid=0, memory_mb=None, up_seconds=0, ready=None),
        program("registry", ready=False),
    ]
    assert shown(monkeypatch, programs)[3:] == [
        "stack /home/of/kappa: 0 of 2 programs run, 600 MB",
        "  kafka FATAL; next: kappa logs kafka",
        "  registry RUNNING, silent; next: kappa logs registry",
    ]


def test_each_program_when_asked_and_nothing_raw_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = program("kafka", state="STOPPED", pid=0, memory_mb=None, up_seconds=0, ready=None)
    lines = shown(monkeypatch, [program("controller"), stopped], each=True)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells == [
        ["controller", "RUNNING", "7", "1 to 3", "600", "48 min 20 s"],
        ["kafka", "STOPPED", "", "1 to 3", "", ""],
    ]


def test_a_stack_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [])[-1] == (
        "the stack of /home/of/kappa is not running; start it: kappa up"
    )
