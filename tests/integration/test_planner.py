"""The warm planner answers as one in a process of its own does, whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JError

from local.supervise import PLANNER, end_orphans, orphans
from replay.flink import planner, resolved
from replay.settings import Settings
from tests.integration.running import RunningStack, wait_until
from tests.unit import folders

ROOT = Path(__file__).parents[2]
PRODUCTS = ["tests/products/orders", "sql/flights", "tests/products/payments"]
SECONDS = 200.0


@pytest.fixture(scope="module")
def settings(stack: RunningStack) -> Settings:
    return stack.settings


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def pids(stack: RunningStack) -> set[int]:
    return {pid for pid, program in orphans(stack.layout).items() if program == PLANNER}


def is_java(pid: int) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name == "java"
    except FileNotFoundError:  # gone meanwhile
        return False


def jvm(stack: RunningStack) -> int:
    (found,) = filter(is_java, pids(stack))
    return found


def listens_on(pid: int) -> list[int]:
    """TCP ports on which a process listens, of IPv4 and IPv6."""
    inodes = {
        os.readlink(link).removeprefix("socket:[").rstrip("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(link).startswith("socket:[")
    }
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [int(w[1].rpartition(":")[2], 16) for w in lines if w[3] == "0A" and w[9] in inodes]


def answer_of(settings: Settings, folder: Path) -> str:
    """The warm planner's; one that has died is replaced at the next question."""
    for _ in range(2):
        if answer := planner.ask_warm(settings, folder, SECONDS):
            return answer
    log = settings.home / "logs" / "planner.log"
    raise AssertionError(f"no answer about {folder}: {log.read_text()[-3000:]}")


@pytest.mark.usefixtures("at_root")
def test_it_answers_as_a_process_of_its_own_does(settings: Settings, tmp_path: Path) -> None:
    refused = folders.write(tmp_path / "refused").folder
    for file in refused.glob("*.sql"):
        file.write_text("SELECT PROCTIME() AS now_ FROM orders\n")
    for folder in [*map(Path, PRODUCTS), refused, tmp_path / "missing"]:
        warm = answer_of(settings, folder)
        assert json.loads(warm) == resolved._ask_cold(settings, folder), folder


@pytest.mark.usefixtures("at_root")
def test_many_ask_one_process_at_once(stack: RunningStack, settings: Settings) -> None:
    assert planner.ask_warm(settings, Path(PRODUCTS[0]), SECONDS)
    before = jvm(stack)

    def ask(folder: str) -> str | None:
        return planner.ask_warm(settings, Path(folder), SECONDS)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, PRODUCTS[::2] * 3))
    assert answers[:2] * 3 == answers and None not in answers
    assert jvm(stack) == before


@pytest.mark.usefixtures("at_root")
def test_whoever_does_not_know_its_token_is_not_obeyed(
    stack: RunningStack, settings: Settings
) -> None:
    assert planner.ask_warm(settings, Path(PRODUCTS[0]), SECONDS)
    (port,) = listens_on(jvm(stack))
    stranger = JavaGateway(gateway_parameters=GatewayParameters(port=port))
    with pytest.raises(Py4JError):
        stranger.jvm.System.nanoTime()
    stranger.close()


def killed(which: Callable[[int], bool]) -> Callable[[RunningStack], None]:
    def kill(stack: RunningStack) -> None:
        for pid in filter(which, pids(stack)):
            with suppress(ProcessLookupError):  # a fork that has answered
                os.kill(pid, signal.SIGKILL)

    return kill


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(killed(is_java), id="its JVM is killed"),
        pytest.param(killed(lambda pid: not is_java(pid)), id="it is killed"),
        pytest.param(killed(lambda _: True), id="both are killed"),
    ],
)
def test_the_next_question_is_answered(
    stack: RunningStack, settings: Settings, disturb: Callable[[RunningStack], None]
) -> None:
    folder = Path(PRODUCTS[0])
    assert resolved.ask(settings, folder)["ok"]
    disturb(stack)
    assert resolved.ask(settings, folder)["ok"]
    assert resolved.ask(settings, folder)["ok"]
    wait_until(lambda: sum(map(is_java, pids(stack))) == 1, 20, "one JVM is left")


@pytest.mark.usefixtures("at_root")
def test_a_question_that_nobody_waits_for_is_given_up(
    stack: RunningStack, settings: Settings
) -> None:
    assert resolved.ask(settings, Path(PRODUCTS[0]))["ok"]
    # The fork that has just answered may take a moment to end.
    wait_until(lambda: len(pids(stack)) == 2, 60, lambda: f"server and JVM: {pids(stack)}")
    before = pids(stack)
    with pytest.raises(TimeoutError):
        planner.ask_warm(settings, Path("sql/flights"), 0.3)
    wait_until(lambda: pids(stack) == before, 60, lambda: f"{pids(stack)} are {before}")
    assert resolved.ask(settings, Path(PRODUCTS[0]))["ok"]


@pytest.mark.usefixtures("at_root")
def test_one_that_stands_still_is_not_waited_for(
    stack: RunningStack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved.ask(settings, Path(PRODUCTS[0]))["ok"]
    wait_until(lambda: len(pids(stack)) == 2, 60, lambda: f"server and JVM: {pids(stack)}")
    (server,) = [pid for pid in pids(stack) if not is_java(pid)]
    monkeypatch.setattr(planner, "TAKEN_SECONDS", 1.0)
    os.kill(server, signal.SIGSTOP)
    try:
        assert resolved.ask(settings, Path(PRODUCTS[0]))["ok"]
    finally:
        os.kill(server, signal.SIGCONT)


@pytest.mark.usefixtures("at_root")
def test_who_asks_nothing_keeps_nobody_out_for_long(settings: Settings) -> None:
    assert resolved.ask(settings, Path(PRODUCTS[0]))["ok"]
    silent = [planner._connection(settings) for _ in range(3)]
    assert None not in silent
    assert planner.ask_warm(settings, Path(PRODUCTS[0]), SECONDS)
    for connection in silent:
        assert connection
        connection.close()


@pytest.mark.usefixtures("at_root")
def test_what_is_given_up_leaves_no_folder_behind(
    stack: RunningStack, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    end_orphans(stack.layout, program=PLANNER)
    with pytest.raises(TimeoutError):  # a new server, whose requests have their scratch there
        planner.ask_warm(settings, Path("sql/flights"), 3.0)
    wait_until(
        lambda: [*tmp_path.glob("kappa-probe-*")] == [], 20, lambda: f"{[*tmp_path.iterdir()]}"
    )
    end_orphans(stack.layout, program=PLANNER)


def test_it_ends_when_nobody_asks(settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "jobs.check_server", str(tmp_path / "s")]
    env = {**os.environ, **planner.environment(settings), "KAPPA_PROGRAM": ""}
    subprocess.run([*command, "--idle-seconds", "0.1"], env=env, timeout=120, check=True)


def test_it_ends_with_the_stack(stack: RunningStack, settings: Settings) -> None:
    assert resolved.ask(settings, ROOT / PRODUCTS[0])["ok"]
    assert set(end_orphans(stack.layout, program=PLANNER).values()) == {PLANNER}
    wait_until(lambda: not pids(stack), 20, "nothing of it is left")
