"""The embedded stack: comes up, comes back, keeps its data, says what is in its way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from local import flink, supervise
from local.layout import Ports
from replay.kafka import log
from tests.integration import listeners
from tests.integration.running import Kappa, RunningStack, free_port_base, wait_until


def _create_topic(stack: RunningStack, topic: str) -> None:
    for future in log.admin(stack.settings).create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(30)


def _produce(stack: RunningStack, topic: str, value: bytes) -> None:
    producer = Producer({**stack.settings.kafka, "enable.idempotence": True, "log_level": 0})
    producer.produce(topic, value)
    assert producer.flush(60) == 0


def _end_offset(stack: RunningStack, topic: str) -> int:
    consumer = Consumer({**stack.settings.kafka, "group.id": "test", "log_level": 0})
    try:
        return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])
    finally:
        consumer.close()


def _register_schema(stack: RunningStack, subject: str) -> int:
    answer = httpx.post(
        f"{stack.settings.registry.url}/subjects/{subject}/versions",
        json={"schema": '{"type": "string"}'},
    )
    answer.raise_for_status()
    return int(answer.json()["id"])


def test_up_again_changes_nothing(stack: RunningStack) -> None:
    before = {name: stack.pid(name) for name in stack.layout.ports.of}
    stack.kappa("up")
    assert {name: stack.pid(name) for name in stack.layout.ports.of} == before


def test_the_controller_says_how_it_is(stack: RunningStack) -> None:
    url = f"http://127.0.0.1:{stack.layout.ports.controller}"
    health = httpx.get(f"{url}/healthz", trust_env=False)
    assert (health.status_code, health.text) == (200, "ok\n")
    assert "kappa_store_up 1.0" in httpx.get(f"{url}/metrics", trust_env=False).text
    assert "controller started" in stack.kappa("logs", "controller", "-n", "10000").stdout


def test_every_listener_is_on_loopback(stack: RunningStack) -> None:
    found = {
        listener
        for process, _ in listeners.of_home(stack.home)
        for listener in listeners.of_process(process)
    }
    assert {p for ports in stack.layout.ports.of.values() for p in ports} <= {
        listener.port for listener in found
    }
    assert [listener for listener in found if not listener.is_loopback] == []


@pytest.mark.chaos
@pytest.mark.parametrize(
    "program", ["registry", "taskmanager", "jobmanager", "kafka", "controller"]
)
def test_a_killed_process_comes_back(stack: RunningStack, program: str) -> None:
    killed = stack.kill(program)
    stack.wait_restarted(program, killed)
    if program in ("jobmanager", "taskmanager"):
        stack.wait_ready("taskmanager", 180)


@pytest.mark.soak
@pytest.mark.chaos
def test_a_taskmanager_out_of_heap_dies_and_comes_back(stack: RunningStack) -> None:
    rest, before = stack.settings.flink.rest, stack.pid("taskmanager")
    command = [
        str(stack.settings.flink.home / "bin" / "flink"),
        "run",
        "-d",
        "-py",
        str(Path(__file__).with_name("fill_heap.py")),
    ]
    environment = flink.environment(stack.layout, flink.session(stack.layout))
    submitted = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    job = submitted.stdout.split("JobID ")[-1].strip()
    try:
        wait_until(
            lambda: stack.pid("taskmanager") not in (0, before),
            200,
            "another TaskManager is started",
        )
    finally:
        httpx.patch(f"{rest}/jobs/{job}", timeout=30)
    log = (stack.layout.logs / "taskmanager.log").read_text()
    assert "Terminating due to java.lang.OutOfMemoryError" in log
    stack.wait_ready("taskmanager", 180)
    wait_until(
        lambda: httpx.get(f"{rest}/jobs/{job}").json()["state"] == "CANCELED",
        60,
        "the job is cancelled",
    )


@pytest.mark.chaos
def test_a_killed_broker_and_registry_lose_nothing(stack: RunningStack) -> None:
    topic = f"kept-{uuid4().hex[:8]}"
    _create_topic(stack, topic)
    _produce(stack, topic, b"one")
    schema = _register_schema(stack, f"{topic}-value")
    for program in ("kafka", "registry"):
        stack.wait_restarted(program, stack.kill(program))
    assert _end_offset(stack, topic) == 1
    assert httpx.get(f"{stack.settings.registry.url}/schemas/ids/{schema}").status_code == 200


def test_down_and_up_keep_topics_and_schemas(stack: RunningStack) -> None:
    topic = f"kept-{uuid4().hex[:8]}"
    _create_topic(stack, topic)
    _produce(stack, topic, b"one")
    schema = _register_schema(stack, f"{topic}-value")
    secret = (stack.settings.secrets / "pseudonym.key").read_text()
    stack.kappa("down")
    assert "is not running; start it: kappa up" in stack.kappa("status").stdout
    assert supervise.orphans(stack.layout) == {}
    stack.kappa("up")
    assert _end_offset(stack, topic) == 1
    assert httpx.get(f"{stack.settings.registry.url}/schemas/ids/{schema}").status_code == 200
    assert (stack.settings.secrets / "pseudonym.key").read_text() == secret


@pytest.mark.soak
@pytest.mark.chaos
def test_up_cleans_up_after_a_killed_supervisor(stack: RunningStack) -> None:
    pid = int(stack.layout.supervisor_pid.read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not supervise.Supervisor(stack.layout).running(), 10, "the supervisor is gone"
    )
    assert set(supervise.orphans(stack.layout).values()) >= set(stack.layout.ports.of)
    said = stack.kappa("up").stderr
    assert "which had outlived its supervisor" in said
    assert all(stack.ready(name) for name in stack.layout.ports.of)


@pytest.mark.soak
def test_two_ups_at_once_make_one_stack(stack: RunningStack) -> None:
    stack.kappa("down")
    first, second = stack.kappa.start("up"), stack.kappa.start("up")
    said = [process.communicate(timeout=200)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert sum("starting the stack in" in text for text in said) == 1
    assert any("is running here: waiting for it" in text for text in said)


def test_a_second_home_is_refused_a_port_in_use(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("a") / "home"  # short: its supervisor has a socket there
    done = Kappa(home)("up", "--port-base", str(stack.layout.ports.base), check=False)
    assert done.returncode == 1
    port = stack.layout.ports.kafka
    assert (
        f"error: port {port} is in use\n  expected: 127.0.0.1:{port} free for kafka\n"
        in done.stderr
    )
    assert f"kafka of the home {stack.home}" in done.stderr
    assert "next:     kappa up --port-base 29000, or another number" in done.stderr


def test_another_port_base_is_refused_while_the_stack_runs(stack: RunningStack) -> None:
    done = stack.kappa("up", "--port-base", str(stack.layout.ports.base + 1), check=False)
    assert done.returncode == 1
    assert "the stack of this home runs on other ports" in done.stderr


def test_homes_side_by_side_share_no_port_and_no_socket(
    stack: RunningStack, tmp_path: Path
) -> None:
    base = free_port_base(stack.layout.ports.base + 100)
    ours = {port for ports in stack.layout.ports.of.values() for port in ports}
    theirs = {port for ports in Ports(base).of.values() for port in ports}
    assert ours.isdisjoint(theirs)
    other = Kappa(tmp_path / "home")
    assert other.json("status")["programs"] == []
    assert "nothing was running" in other("down").stdout
    assert all(stack.ready(name) for name in stack.layout.ports.of)


def test_doctor_finds_a_stranger_on_a_port_and_a_home_that_is_open(tmp_path: Path) -> None:
    base = free_port_base(31_000)
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "stack.yaml").write_text(f"port_base: {base}\n")
    with socket.create_server(("127.0.0.1", base + 92)):
        done = Kappa(home)("doctor", check=False)
    assert done.returncode == 1
    assert f"port {base + 92} is in use" in done.stdout
    assert "other users of this machine can look into KAPPA_HOME" in done.stdout


def test_logs_say_what_happened(stack: RunningStack) -> None:
    wait_until(
        lambda: "Kafka Server started" in stack.kappa("logs", "kafka", "-n", "100000").stdout,
        10,
        "the broker's log tells of its start",
    )
    follower = stack.kappa.start("logs", "registry", "-f", "-n", "1")
    time.sleep(1)
    assert follower.poll() is None
    follower.terminate()
    follower.communicate(timeout=10)
