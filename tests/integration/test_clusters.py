"""A Flink cluster for one attempt beside the session cluster: starts, comes back, goes without a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local import flink, preflight, supervise
from local import stack as local_stack
from replay.errors import RefusedError
from replay.flink.clusters import Clusters, clusters
from tests.integration import listeners
from tests.integration.running import RunningStack

NAME = "orders-r7-a1"
JOBMANAGER, TASKMANAGER = f"jobmanager-{NAME}", f"taskmanager-{NAME}"


@pytest.fixture(scope="module")
def program(stack: RunningStack) -> Iterator[Clusters]:
    """The program that the stack's settings name; what it started is stopped."""
    found = clusters(stack.settings)
    assert found is not None
    yield found
    for name in found.names():
        found.stop(name)


@pytest.fixture
def rest(stack: RunningStack, program: Clusters) -> str:
    """A cluster with its slots registered."""
    address = program.start(NAME).rest
    for name in (JOBMANAGER, TASKMANAGER):
        stack.wait_ready(name)
    return address


def _slots(rest: str) -> int:
    return int(httpx.get(f"{rest}/overview", timeout=5).json()["slots-total"])


def _threads_nice(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob(f"{pid}/task/*/stat"):
        try:
            found.add(int(stat.read_text().rpartition(")")[2].split()[16]))
        except OSError:  # a thread that has ended
            continue
    return found


def test_its_slots_register_and_it_listens_on_loopback_only(stack: RunningStack, rest: str) -> None:
    assert _slots(rest) == _slots(stack.settings.flink.rest) == flink.SLOTS
    found = listeners.of_pid(stack.pid(JOBMANAGER)) | listeners.of_pid(stack.pid(TASKMANAGER))
    assert [listener for listener in found if not listener.is_loopback] == []
    ports = {
        port
        for name in (JOBMANAGER, TASKMANAGER)
        for port in local_stack.port_map(stack.layout)[name]
    }
    assert ports <= {listener.port for listener in found}


def test_people_see_it(stack: RunningStack, rest: str) -> None:
    programs = {row["program"]: row for row in stack.kappa.json("status")["programs"]}
    assert programs[JOBMANAGER]["ready"] and programs[TASKMANAGER]["ready"]
    assert "Rest endpoint listening" in stack.kappa("logs", JOBMANAGER, "-n", "100000").stdout
    assert stack.kappa("doctor", check=False).stdout.count("problem ") == 0


def test_a_second_start_changes_nothing(stack: RunningStack, program: Clusters, rest: str) -> None:
    before = stack.pid(JOBMANAGER), stack.pid(TASKMANAGER)
    assert program.start(NAME).rest == rest
    stack.kappa("up")
    assert (stack.pid(JOBMANAGER), stack.pid(TASKMANAGER)) == before


def test_it_catches_up_at_a_lower_priority_until_it_is_live(
    stack: RunningStack, program: Clusters, rest: str
) -> None:
    session = _threads_nice(stack.pid("taskmanager"))
    (usual,) = session
    assert _threads_nice(stack.pid(TASKMANAGER)) == {usual + 10}
    program.live(NAME)
    if os.geteuid() == 0:
        assert _threads_nice(stack.pid(TASKMANAGER)) == {usual}
    else:
        assert (
            f"renice -n 0 -g {stack.pid(TASKMANAGER)}" in stack.kappa("doctor", check=False).stdout
        )
    stack.wait_restarted(TASKMANAGER, stack.kill(TASKMANAGER))
    assert _threads_nice(stack.pid(TASKMANAGER)) == {usual}


@pytest.mark.chaos
@pytest.mark.parametrize("name", [TASKMANAGER, JOBMANAGER])
def test_a_killed_process_comes_back_and_the_session_cluster_stays(
    stack: RunningStack, rest: str, name: str
) -> None:
    session = stack.pid("jobmanager"), stack.pid("taskmanager")
    stack.wait_restarted(name, stack.kill(name))
    stack.wait_ready(TASKMANAGER)
    assert _slots(rest) == flink.SLOTS
    assert (stack.pid("jobmanager"), stack.pid("taskmanager")) == session


@pytest.mark.soak
def test_down_and_up_bring_it_back(stack: RunningStack, program: Clusters, rest: str) -> None:
    stack.kappa("down")
    assert supervise.orphans(stack.layout) == {}
    assert program.names() == {NAME}
    stack.kappa("up")
    assert stack.ready(JOBMANAGER) and stack.ready(TASKMANAGER)
    assert program.start(NAME).rest == rest


def test_clusters_side_by_side_share_no_port(
    stack: RunningStack, program: Clusters, rest: str
) -> None:
    other = program.start("orders-r8-a1").rest
    assert other != rest
    ports = local_stack.port_map(stack.layout)
    assert set(ports[JOBMANAGER] + ports[TASKMANAGER]).isdisjoint(
        ports["jobmanager-orders-r8-a1"] + ports["taskmanager-orders-r8-a1"]
    )
    assert program.names() == {NAME, "orders-r8-a1"}
    program.stop("orders-r8-a1")
    assert _slots(rest) == flink.SLOTS


def test_a_stop_leaves_no_process_port_or_file_but_its_logs(
    stack: RunningStack, program: Clusters, rest: str
) -> None:
    ports = [
        port
        for name in (JOBMANAGER, TASKMANAGER)
        for port in local_stack.port_map(stack.layout)[name]
    ]
    for _ in range(2):
        program.stop(NAME)
        assert program.names() == frozenset()
    assert not {JOBMANAGER, TASKMANAGER} & set(supervise.orphans(stack.layout).values())
    assert all(preflight.port_free(port) for port in ports)
    left = {file.relative_to(stack.home).parts[0] for file in stack.home.rglob(f"*{NAME}*")}
    assert left == {"logs"}
    assert stack.ready("taskmanager")
    assert {row["program"] for row in stack.kappa.json("status")["programs"]} == set(
        local_stack.ORDER
    )


def test_a_refusal_reaches_the_caller_as_it_was_said(
    stack: RunningStack, program: Clusters
) -> None:
    with pytest.raises(RefusedError) as e:
        program.start("Orders")
    assert e.value.found == "Orders"
