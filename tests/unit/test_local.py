"""The embedded stack's pure parts: the lock of jars, layouts, configurations, what is in the way of a start."""

from __future__ import annotations

import configparser
import hashlib
import io
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from local import (
    config_file,
    doctor,
    flink,
    jars,
    kafka,
    preflight,
    readiness,
    registry,
    remembered,
    stack,
    tail,
)
from local.jars import Jar
from local.layout import Layout, Ports
from local.preflight import Problem
from local.supervise import Program, Supervisor, configuration
from replay.controller import service_log
from replay.errors import ConfigError, ConflictError, KappaError
from replay.settings import load_settings

CONTENT = b"a jar"
JAR = Jar(
    hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "org.example:thing:1.0", frozenset({"flink"})
)
HOME = Path("/srv/kappa")


def _cached(cache: Path, content: bytes) -> Path:
    file = cache / "jars" / JAR.file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_the_lock_pins_every_part_by_sha256() -> None:
    pinned = jars.read_lock()
    assert {part for jar in pinned for part in jar.parts} == {
        "kafka",
        "registry",
        "flink",
        "build",
        "s3",
        "test",
        "tiered",
    }
    assert all(
        len(jar.sha256) == 64 and int(jar.sha256, 16) >= 0 and jar.size > 0 for jar in pinned
    )
    assert len({jar.coordinate for jar in pinned}) == len(pinned)


def test_kafkas_jars_agree_on_one_version() -> None:
    versions = {
        jar.fields[2] for jar in jars.read_lock("kafka") if jar.fields[0] == "org.apache.kafka"
    }
    assert versions == {"4.1.1"}


@pytest.mark.parametrize(
    ("coordinate", "file"),
    [
        ("org.example:thing:1.0", "org/example/thing/1.0/thing-1.0.jar"),
        ("org.example:thing:1.0:all:tar.gz", "org/example/thing/1.0/thing-1.0-all.tar.gz"),
    ],
)
def test_a_jar_lies_where_a_repository_has_it(coordinate: str, file: str) -> None:
    assert Jar("", 0, coordinate, frozenset()).file == Path(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (CONTENT, None),
        (None, "missing"),
        (b"a j", "half-downloaded: 3 of 5 bytes"),
        (b"A jar", "altered: its SHA-256 is not the pinned one"),
        (b"a jar and more", "altered: its SHA-256 is not the pinned one"),
    ],
    ids=["whole", "missing", "half", "altered", "longer"],
)
def test_damage_to_a_jar_is_named(
    tmp_path: Path, content: bytes | None, problem: str | None
) -> None:
    if content is not None:
        _cached(tmp_path, content)
    assert jars.damage(JAR, tmp_path) == problem


def test_whole_jars_are_not_fetched_again(tmp_path: Path) -> None:
    _cached(tmp_path, CONTENT)
    said: list[str] = []
    jars.ensure([JAR], tmp_path, said.append)
    assert said == []


def test_a_half_downloaded_jar_is_fetched_again_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _cached(tmp_path, b"a j")
    monkeypatch.setattr(jars, "_download", lambda jar, scratch: _downloaded(scratch, CONTENT))
    said: list[str] = []
    jars.ensure([JAR], tmp_path, said.append)
    assert file.read_bytes() == CONTENT
    assert said[0] == "thing-1.0.jar is half-downloaded: 3 of 5 bytes: fetching it again"
    assert [p.name for p in tmp_path.iterdir()] == ["jars"]


def test_a_jar_that_is_not_the_pinned_one_never_reaches_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "_download", lambda jar, scratch: _downloaded(scratch, b"evil!"))
    with pytest.raises(KappaError, match=r"org\.example:thing:1\.0 is not the pinned file"):
        jars.ensure([JAR], tmp_path, lambda _: None)
    assert not (tmp_path / "jars" / JAR.file).exists()


def _downloaded(scratch: Path, content: bytes) -> Path:
    file = scratch / "thing.jar"
    file.write_bytes(content)
    return file


def test_every_port_is_its_own() -> None:
    ports = [port for ports in Ports(19_000).of.values() for port in ports]
    assert len(set(ports)) == len(ports) == 10
    assert min(ports) == 19_080 and max(ports) == 19_094


def test_the_port_base_is_remembered(tmp_path: Path) -> None:
    assert remembered.layout_of(tmp_path).ports.base == 19_000
    (tmp_path / "stack.yaml").write_text("port_base: 21000\n")
    assert remembered.layout_of(tmp_path).ports.base == 21_000
    assert remembered.layout_of(tmp_path, 22_000).ports.base == 22_000


def test_a_remote_tier_is_asked_for_once_and_remembered(tmp_path: Path) -> None:
    def jars_of(layout: Layout) -> set[str]:
        return {jar.coordinate for jar in stack.jars_needed(layout) if kafka.PART in jar.parts}

    plain = remembered.layout_of(tmp_path)
    assert not plain.tiered and jars_of(plain) == set()
    assert "remote.log" not in kafka.server_properties(plain)
    asked = remembered.layout_of(tmp_path, tiered=True)
    with pytest.raises(ConflictError) as e:
        remembered.refuse_other_form(asked)
    assert str(e.value) == (
        "the stack of this home runs without a remote tier\n  expected: a broker that was started with one\n"
        "  found:    remote.log.storage.system.enable=false\n  next:     kappa down, then: kappa up --tiered"
    )
    (tmp_path / "stack.yaml").write_text("port_base: 21000\ntiered: true\n")
    again = remembered.layout_of(tmp_path)
    assert again.tiered and len(jars_of(again)) == 2
    remembered.refuse_other_form(again)
    assert f"rsm.config.dir={tmp_path}/kafka/remote\n" in kafka.server_properties(again)
    assert "kafka-storage-4.1.1-test.jar" in " ".join(kafka.command(again))
    assert "test.jar" not in " ".join(kafka.command(plain))


def test_further_taskmanagers_are_remembered_and_have_ports_of_their_own(tmp_path: Path) -> None:
    assert remembered.layout_of(tmp_path).taskmanagers == 1
    asked = remembered.layout_of(tmp_path, taskmanagers=3)
    (tmp_path / "stack.yaml").write_text("port_base: 21000\n")
    with pytest.raises(ConflictError, match="runs with other TaskManagers") as e:
        remembered.refuse_other_form(asked)
    assert e.value.next == "kappa down, then: kappa up --taskmanagers 3"
    (tmp_path / "stack.yaml").write_text("port_base: 21000\ntaskmanagers: 3\n")
    layout = remembered.layout_of(tmp_path)
    remembered.refuse_other_form(layout)
    with pytest.raises(ConflictError):
        remembered.refuse_other_form(remembered.layout_of(tmp_path, taskmanagers=1))
    further = {p.name: p for p in flink.further_programs(layout)}
    assert list(further) == ["taskmanager2", "taskmanager3"]
    assert further["taskmanager3"].command[-2:] == ["-D", "taskmanager.resource-id=taskmanager3"]
    ports = [port for used in stack.port_map(layout).values() for port in used]
    assert len(set(ports)) == len(ports) == 14 and max(ports) == 21_094
    assert preflight.needed_mb(layout) == 13_600
    assert not flink.further_programs(Layout(HOME))


@pytest.mark.parametrize("text", ["", "port_base: many", "port_base", "- 1", "{"])
def test_a_damaged_memory_of_the_ports_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.yaml").write_text(text)
    with pytest.raises(ConfigError) as e:
        remembered.layout_of(tmp_path)
    assert e.value.next == f"delete {tmp_path / 'stack.yaml'}, then: kappa up --port-base 19000"


@pytest.mark.parametrize("base", [80, 65_500])
def test_a_port_base_out_of_range_is_refused(base: int) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        remembered.layout_of(HOME, base)


def test_nothing_in_kafkas_log_expires_and_no_topic_appears_by_itself() -> None:
    settings = dict(
        line.split("=", 1) for line in kafka.server_properties(Layout(HOME)).splitlines()
    )
    assert settings["log.retention.ms"] == "-1"
    assert settings["log.retention.bytes"] == "-1"
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"


def test_flink_listens_on_loopback_and_keeps_checkpoints() -> None:
    settings = flink.settings(Layout(HOME), flink.session(Layout(HOME)), "")
    hosts = {key: value for key, value in settings.items() if key.endswith(("host", "address"))}
    assert set(hosts.values()) == {"127.0.0.1"}
    assert (
        settings["execution.checkpointing.externalized-checkpoint-retention"]
        == "RETAIN_ON_CANCELLATION"
    )
    assert "-XX:+ExitOnOutOfMemoryError" in str(settings["env.java.opts.taskmanager"])


def test_the_registry_keeps_schemas_on_disk_and_listens_on_loopback() -> None:
    environment = registry.environment(Layout(HOME))
    assert (
        environment["APICURIO_DATASOURCE_URL"]
        == "jdbc:h2:file:/srv/kappa/registry/registry;WRITE_DELAY=0"
    )
    assert {environment["QUARKUS_HTTP_HOST"], environment["QUARKUS_MANAGEMENT_HOST"]} == {
        "127.0.0.1"
    }


def test_supervisord_restarts_programs_and_keeps_their_words() -> None:
    program = Program("thing", ["/bin/thing", "an argument", "100%"], 10, {"A": "b;c%d"})
    parsed = configparser.RawConfigParser()
    parsed.read_string(configuration(Layout(HOME), [program]))
    section = parsed["program:thing"]
    assert section["autorestart"] == "true"
    assert shlex.split(section["command"].replace("%%", "%")) == [
        "/bin/thing",
        "an argument",
        "100%",
    ]
    assert section["environment"] == 'A="b;c%%d",KAPPA_HOME="/srv/kappa",KAPPA_PROGRAM="thing"'
    assert parsed["unix_http_server"]["chmod"] == "0600"


def test_settings_written_are_settings_read(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert config_file.write_settings(layout)
    settings = load_settings(tmp_path)
    assert settings.kafka == {"bootstrap.servers": "127.0.0.1:19092"}
    assert settings.flink.home == tmp_path / "flink"
    assert settings.catalog.pyiceberg["uri"] == f"sqlite:///{tmp_path}/lake/catalog.db"
    assert settings.catalog.pyiceberg["warehouse"] == settings.catalog.flink["warehouse"]


def test_settings_of_a_person_are_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    config_file.write_settings(layout)
    mine = yaml.safe_dump({**config_file.settings_of(layout), "registry": "http://elsewhere"})
    layout.settings.write_text(mine)
    assert not config_file.write_settings(layout)
    assert layout.settings.read_text() == mine


def test_a_secret_is_made_once_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "pseudonym.key"
    stack.write_secret(file)
    first = file.read_text()
    stack.write_secret(file)
    assert file.read_text() == first
    assert len(bytes.fromhex(first)) == 32
    assert file.stat().st_mode & 0o777 == 0o600


def _messages(found: Iterable[Problem]) -> list[str]:
    return [str(problem.error()) for problem in found]


def test_each_problem_before_a_start_is_clear() -> None:
    assert _messages(preflight.python_problems((3, 12))) == [
        "this is the wrong Python\n  expected: Python 3.11\n  found:    Python 3.12\n"
        "  next:     uv sync --python 3.11"
    ]
    assert _messages(preflight.disk_problems(HOME, 100)) == [
        "too little disk\n  expected: 2,000 MB free for /srv/kappa\n  found:    100 MB\n"
        "  next:     free some space, or put the home elsewhere: KAPPA_HOME=/a/bigger/disk kappa up"
    ]
    assert _messages(preflight.memory_problems(512)) == [
        "too little memory\n  expected: 5,000 MB available\n  found:    512 MB\n"
        "  next:     stop something else (another home? KAPPA_HOME=… kappa down), then: kappa up"
    ]


def test_nothing_is_in_the_way_of_a_good_machine() -> None:
    assert _messages(preflight.python_problems((3, 11))) == []
    assert _messages(preflight.path_problems(Layout(HOME))) == []
    assert _messages(preflight.disk_problems(HOME, 90_000)) == []
    assert _messages(preflight.memory_problems(16_000)) == []
    assert _messages(preflight.memory_problems(None)) == []


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("/" + "x" * 80, "too long for the supervisor's Unix socket"),
        ("/srv/my data", "characters that Flink's scripts or Java's class path split at"),
        ("/srv/a:b", "characters that Flink's scripts or Java's class path split at"),
    ],
)
def test_a_home_whose_path_cannot_work_is_refused(home: str, message: str) -> None:
    (found,) = _messages(preflight.path_problems(Layout(Path(home))))
    assert message in found


def test_a_port_in_use_names_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not preflight.port_free(port)
        (found,) = _messages(preflight.port_problems(Layout(HOME, Ports(port - 92)).ports.of))[:1]
    assert f"port {port} is in use" in found
    assert "(pid " in found
    assert preflight.port_free(port)


def test_the_end_of_a_log_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kafka.log").write_text("one\ntwo\nthree\n")
    tail.tail(tmp_path, "kafka", 2, follow=False)
    assert capsys.readouterr().out == "two\nthree\n"


LOG = """\
2026-11-26 23:59:59Z info    controller started  holder=vm:19410:fb3db7 metrics=http://127.0.0.1:19094/metrics
2026-11-27 04:51:50Z warning flights r1-a1: replaying; results wait for weather: the clock \
of its partition 0 is at 2013-01-01 03:00:00Z, 6 h behind flights  job=1a2b3c4d
2026-11-27 04:51:52Z error   flights: ZeroDivisionError: division by zero
  Traceback (most recent call last):
{"event": "started", "level": "info"}
"""


def test_the_controllers_log_reads_well_on_80_columns() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    write = tail.TerminalLines(console)
    for line in LOG.splitlines(keepends=True):
        write(line)
    shown = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert max(map(len, shown)) <= 80
    assert shown == [
        "2026-11-26",
        "23:59:59 info    controller started  holder=vm:19410:fb3db7",
        "                 metrics=http://127.0.0.1:19094/metrics",
        "2026-11-27",
        "04:51:50 warning flights r1-a1: replaying; results wait for weather: the clock",
        "                 of its partition 0 is at 2013-01-01 03:00:00Z, 6 h behind",
        "                 flights  job=1a2b3c4d",
        "04:51:52 error   flights: ZeroDivisionError: division by zero",
        "  Traceback (most recent call last):",
        '{"event": "started", "level": "info"}',
    ]


def test_what_the_service_writes_is_what_its_log_is_read_as() -> None:
    event = {
        "event": "publish",
        "level": "info",
        "timestamp": "2026-11-27T04:51:50.1Z",
        "product": "orders",
    }
    assert tail._LINE.match(service_log.line(None, "", event))


@pytest.mark.parametrize("name", ["zookeeper", "../secret", "/etc/hostname"])
def test_only_logs_of_the_stack_are_printed(tmp_path: Path, name: str) -> None:
    (tmp_path / "kafka.log").write_text("")
    with pytest.raises(ConfigError, match="there is no log of"):
        tail.tail(tmp_path, name, 2, follow=False)


def test_doctor_names_products_of_which_publishing_waits_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_stack", lambda _: iter(()))
    monkeypatch.setattr("local.doctor.Supervisor.running", lambda _: True)
    stopped = {
        "message": "somebody moved main",
        "expected": "r1-a1",
        "found": "t=7",
        "next": "kappa rollback",
    }
    checks = doctor.examine(
        tmp_path,
        lambda: [{"product": "fine", "blocked": None}, {"product": "flights", "blocked": stopped}],
    )
    (problem,) = next(check.problems for check in checks if check.name == "products")
    assert problem == Problem(
        "flights: publishing has stopped: somebody moved main", "r1-a1", "t=7", "kappa rollback"
    )


HELD = Problem("port 1 is in use", "127.0.0.1:1 free for kafka", "something listens there", "")


@pytest.mark.parametrize(
    ("killed", "looks"),
    [
        pytest.param(True, ["held", "held", "free", "free"], id="killed: until its ports are free"),
        pytest.param(False, ["held"], id="somebody else's port"),
    ],
)
def test_a_start_waits_for_the_ports_of_what_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool, looks: list[str]
) -> None:
    layout = Layout(tmp_path)
    found: list[str] = []

    def port_problems(_: object) -> Iterator[Problem]:
        found.append("held" if len(found) < 2 else "free")
        if found[-1] == "held":
            yield HELD

    monkeypatch.setattr(preflight, "port_problems", port_problems)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for other in ("path", "disk", "memory"):
        monkeypatch.setattr(preflight, f"{other}_problems", lambda *_: ())
    layout.run.mkdir(parents=True)
    if killed:
        layout.supervisor_pid.write_text("1")

    def started(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(jars, "ensure", started)
    with pytest.raises(InterruptedError if killed else KappaError):
        stack._start(layout, Supervisor(layout), print)
    assert found == looks


def test_what_starts_is_waited_for_as_long_as_something_moves(tmp_path: Path) -> None:
    moving = readiness.Moving(tmp_path, 0.0)
    assert moving.still_for(["kafka", "registry"], 10.0) == 0.0
    assert moving.still_for(["kafka", "registry"], 50.0) == 40.0
    (tmp_path / "kafka.log").write_text("recovering")
    assert moving.still_for(["kafka", "registry"], 60.0) == 0.0
    assert moving.still_for(["kafka"], 90.0) == 0.0
    (tmp_path / "registry.log").write_text("is waited for no more")
    assert moving.still_for(["kafka"], 300.0) == 210.0
