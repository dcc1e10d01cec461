"""A Flink cluster for one attempt: its settings, its ports, and starts and stops that may be repeated."""

from __future__ import annotations

import configparser
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from local import cluster_files, clusters, flink, preflight, readiness, stack
from local.cluster_files import Memory
from local.clusters import NEEDED_MB, LocalClusters
from local.layout import FlinkPorts, Layout, Ports
from local.supervise import State, Supervisor, configuration
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError

NAME = "flights-r2-a1"
PLENTY = 16_000


class FakeSupervisor(Supervisor):
    """Reads the groups that are on disk, as supervisord does, and starts nothing."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self.layout = layout
        self.up = True
        self.groups: dict[str, dict[str, str]] = {}
        """group → program → state"""
        self.added: list[str] = []

    def running(self) -> bool:
        return self.up

    def pid(self) -> int:
        return os.getpid()

    def states(self) -> list[State]:
        programs = {"kafka": {"kafka": "RUNNING"}, **self.groups} if self.up else {}
        return [
            State(name, group, state, 2**22 if state == "RUNNING" else 0, 1, "")
            for group, members in programs.items()
            for name, state in members.items()
        ]

    def add_group(self, name: str) -> None:
        parsed = configparser.RawConfigParser()
        parsed.read(self.layout.cluster_programs / f"{name}.conf")
        members = parsed[f"group:{name}"]["programs"].split(",")
        assert all(f"program:{member}" in parsed for member in members)
        if name not in self.groups:
            self.added.append(name)
            self.groups[name] = dict.fromkeys(members, "STOPPED")

    def remove_group(self, name: str) -> None:
        self.groups.pop(name, None)

    def start_program(self, group: str, name: str) -> None:
        self.groups[group][name] = "RUNNING"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(preflight, "port_free", lambda port: True)
    made = Layout(tmp_path)
    made.logs.mkdir()
    return made


@pytest.fixture
def supervisor(layout: Layout) -> FakeSupervisor:
    return FakeSupervisor(layout)


@pytest.fixture
def local(layout: Layout, supervisor: FakeSupervisor) -> LocalClusters:
    return LocalClusters(layout, supervisor, lambda: PLENTY)


def _files(layout: Layout) -> list[str]:
    return sorted(
        str(file.relative_to(layout.home)) for file in layout.home.rglob("*") if file.is_file()
    )


def test_a_cluster_shares_neither_ports_nor_scratch_space_with_the_session_cluster() -> None:
    home = Layout(Path("/srv/kappa"))
    own = flink.settings(home, cluster_files.cluster_of(home, NAME, Memory(19_100)), "")
    shared = flink.settings(home, flink.session(home), "")
    differing = {key for key in own if own[key] != shared[key]}
    assert differing == {
        "jobmanager.rpc.port",
        "blob.server.port",
        "rest.port",
        "rest.bind-port",
        "taskmanager.rpc.port",
        "taskmanager.data.port",
        "taskmanager.data.bind-port",
        "taskmanager.resource-id",
        "io.tmp.dirs",
        "web.tmpdir",
        "web.access-control-allow-origin",
        "env.pid.dir",
        "env.java.opts.jobmanager",
        "env.java.opts.taskmanager",
        "jobmanager.memory.process.size",
        "jobmanager.memory.jvm-overhead.min",
        "taskmanager.memory.process.size",
    }
    assert own["io.tmp.dirs"] == "/srv/kappa/clusters/flights-r2-a1/tmp"
    assert own["rest.port"] == 19_100
    assert {value for key, value in own.items() if key.endswith(("host", "address"))} == {
        "127.0.0.1"
    }


def test_blocks_of_ports_touch_neither_each_other_nor_a_stack_of_the_next_base() -> None:
    blocks = [port for first in Ports(19_000).for_clusters for port in FlinkPorts(first).all]
    assert len(set(blocks)) == len(blocks) == 16 * 5
    assert (min(blocks), max(blocks)) == (19_100, 19_179)
    assert {port for ports in Ports(19_100).of.values() for port in ports}.isdisjoint(blocks)


def test_a_cluster_gets_the_first_block_that_is_free() -> None:
    home = Layout(Path("/srv/kappa"))
    assert clusters.free_block(home, [], lambda port: True).first == 19_100
    assert clusters.free_block(home, [FlinkPorts(19_100)], lambda port: True).first == 19_105
    assert (
        clusters.free_block(home, [FlinkPorts(19_105)], lambda port: port != 19_104).first == 19_110
    )


def test_no_block_left_is_refused() -> None:
    with pytest.raises(RefusedError) as e:
        clusters.free_block(Layout(Path("/srv/kappa")), [FlinkPorts(19_100)], lambda port: False)
    assert str(e.value) == (
        "no ports are left for another Flink cluster\n"
        "  expected: 5 free ports in a row on 127.0.0.1, from 19100 to 19179\n"
        "  found:    1 clusters of this home, and perhaps others that listen there\n"
        "  next:     kappa status; retire or abort an attempt that is not needed"
    )


def test_a_start_has_both_programs_supervised(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    assert local.start(NAME).rest == "http://127.0.0.1:19100"
    assert supervisor.groups == {
        NAME: {f"jobmanager-{NAME}": "RUNNING", f"taskmanager-{NAME}": "RUNNING"}
    }
    parsed = configparser.RawConfigParser()
    parsed.read(layout.cluster_programs / f"{NAME}.conf")
    section = parsed[f"program:taskmanager-{NAME}"]
    assert f'KAPPA_PROGRAM="taskmanager-{NAME}"' in section["environment"]
    assert f'FLINK_CONF_DIR="{layout.clusters / NAME / "conf"}"' in section["environment"]
    script = layout.flink / "bin" / "taskmanager.sh"
    assert section["command"].endswith(
        f" -m local.taskmanager {layout.home} {script} start-foreground"
    )
    assert section["stdout_logfile"] == str(layout.logs / f"taskmanager-{NAME}.log")


def _lib(folder: Path, *jars: str) -> Path:
    lib = folder / "lib"
    lib.mkdir(parents=True)
    for name in jars or ("flink-dist-2.1.3.jar", "kappa-connector.jar"):
        (lib / name).touch()
    return lib


def test_a_cluster_has_the_jars_that_it_was_started_with(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    lib, another = _lib(layout.home / "r2"), _lib(layout.home / "another")
    _lib(layout.flink)
    started = local.start(NAME, str(lib))
    assert started.lib == lib
    assert local.start(NAME, str(another)).lib == lib, "it runs already"
    local.live(NAME)
    (layout.cluster_programs / f"{NAME}.conf").unlink()
    cluster_files.write_all(layout)  # as `kappa up` does
    parsed = configparser.RawConfigParser()
    parsed.read(layout.cluster_programs / f"{NAME}.conf")
    for program in (f"jobmanager-{NAME}", f"taskmanager-{NAME}"):
        assert f'FLINK_LIB_DIR="{lib}"' in parsed[f"program:{program}"]["environment"]
    supervisor.groups[NAME] = dict.fromkeys(supervisor.groups[NAME], "FATAL")
    assert local.start(NAME, str(another)).lib == another
    assert supervisor.added == [NAME, NAME], "its processes get what they are to read now"
    assert local.start("flights-r3-a1").lib is None


@pytest.mark.parametrize(
    "jars",
    [pytest.param(("flink-dist-2.0.0.jar",), id="of another Flink"), pytest.param((), id="gone")],
)
def test_a_cluster_that_could_not_start_is_left_to_the_controller(
    local: LocalClusters, layout: Layout, jars: tuple[str, ...]
) -> None:
    _lib(layout.flink)
    lib = _lib(layout.home / "r2", *jars)
    if not jars:
        shutil.rmtree(lib)
    local.start(NAME, str(lib))
    local.start("orders-r1-a1")
    cluster_files.write_all(layout)
    assert local.names() == {"orders-r1-a1"}
    assert [file.stem for file in layout.cluster_programs.iterdir()] == ["orders-r1-a1"]


def test_supervisord_reads_the_clusters_of_the_home(layout: Layout) -> None:
    parsed = configparser.RawConfigParser()
    parsed.read_string(configuration(layout, []))
    assert parsed["include"]["files"] == str(layout.cluster_programs / "*.conf")


def test_a_second_start_is_the_same(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    first, files = local.start(NAME), _files(layout)
    assert local.start(NAME) == first
    assert supervisor.added == [NAME]
    assert _files(layout) == files


def test_a_start_starts_again_what_was_given_up(
    local: LocalClusters, supervisor: FakeSupervisor
) -> None:
    local.start(NAME)
    supervisor.groups[NAME][f"taskmanager-{NAME}"] = "FATAL"
    local.start(NAME)
    assert supervisor.groups[NAME][f"taskmanager-{NAME}"] == "RUNNING"


def test_a_start_that_was_cut_short_is_finished(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    address = local.start(NAME)
    supervisor.groups.clear()
    (layout.cluster_programs / f"{NAME}.conf").unlink()
    assert local.start(NAME) == address
    assert set(supervisor.groups) == {NAME}
    supervisor.groups.clear()
    local.supervise_all()
    assert set(supervisor.groups) == {NAME}


def test_clusters_keep_their_ports(local: LocalClusters, layout: Layout) -> None:
    assert [local.start(f"flights-r{n}-a1").ports.first for n in (1, 2, 3)] == [
        19_100,
        19_105,
        19_110,
    ]
    local.stop("flights-r2-a1")
    assert local.start("orders-r1-a1").ports.first == 19_105
    assert local.start("flights-r3-a1").ports.first == 19_110
    assert stack.port_map(layout)["taskmanager-orders-r1-a1"] == (19_108, 19_109)


def test_a_stop_leaves_nothing(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    local.start(NAME)
    assert local.names() == {NAME}
    local.stop(NAME)
    assert supervisor.groups == {}
    assert _files(layout) == ["run/clusters.lock"]
    assert local.names() == frozenset()
    local.stop(NAME)


def test_a_stop_needs_no_supervisor(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    local.start(NAME)
    supervisor.up = False
    local.stop(NAME)
    assert _files(layout) == ["run/clusters.lock"]


def test_a_stop_that_was_cut_short_is_finished(
    local: LocalClusters,
    layout: Layout,
    supervisor: FakeSupervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(name: str) -> None:
        raise KeyboardInterrupt

    local.start(NAME)
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "remove_group", killed)
        with pytest.raises(KeyboardInterrupt):
            local.stop(NAME)
    assert local.names() == {NAME}
    assert cluster_files.known(layout) == []
    local.stop(NAME)
    assert local.names() == frozenset() and supervisor.groups == {}
    assert _files(layout) == ["run/clusters.lock"]


def test_what_is_left_of_a_half_started_cluster_is_listed(
    local: LocalClusters, layout: Layout
) -> None:
    (layout.clusters / NAME / "conf").mkdir(parents=True)
    (layout.clusters / "Not one of ours").mkdir()
    assert local.names() == {NAME}
    assert cluster_files.known(layout) == []


def test_a_start_without_a_stack_says_so(
    local: LocalClusters, layout: Layout, supervisor: FakeSupervisor
) -> None:
    supervisor.up = False
    with pytest.raises(RetryableError) as e:
        local.start(NAME)
    assert e.value.next == "kappa up"
    assert _files(layout) == ["run/clusters.lock"]


@pytest.mark.parametrize(
    "name", ["kafka", "../flights-r1", "flights-r1-a1/..", "Flights-r1", "flights r1-a1", "-", ""]
)
def test_only_names_of_attempts_are_taken(local: LocalClusters, layout: Layout, name: str) -> None:
    for action in (local.start, local.stop, local.live):
        with pytest.raises(RefusedError, match="this cannot be the name of a cluster"):
            action(name)
    assert _files(layout) == []


def test_too_little_memory_is_refused_and_leaves_nothing(
    layout: Layout, supervisor: FakeSupervisor
) -> None:
    with pytest.raises(RefusedError) as e:
        LocalClusters(layout, supervisor, lambda: 2_000).start(NAME)
    assert str(e.value) == (
        "too little memory for a Flink cluster of its own for flights-r2-a1\n"
        "  expected: 4,026 MB available\n"
        "  found:    2,000 MB\n"
        "  next:     kappa status; retire or abort an attempt, or stop something else"
    )
    assert _files(layout) == ["run/clusters.lock"]


def test_memory_that_another_cluster_may_still_take_is_not_available(
    layout: Layout, supervisor: FakeSupervisor
) -> None:
    LocalClusters(layout, supervisor, lambda: NEEDED_MB).start("orders-r1-a1")
    with pytest.raises(RefusedError) as e:
        LocalClusters(layout, supervisor, lambda: 2 * NEEDED_MB - 1).start(NAME)
    assert e.value.found == "8,051 MB, 4,026 MB of it promised to other attempts' clusters"
    LocalClusters(layout, supervisor, lambda: 2 * NEEDED_MB).start(NAME)


def test_a_running_cluster_needs_no_more_memory(layout: Layout, supervisor: FakeSupervisor) -> None:
    address = LocalClusters(layout, supervisor, lambda: NEEDED_MB).start(NAME)
    assert LocalClusters(layout, supervisor, lambda: 100).start(NAME) == address


def test_a_port_that_a_stranger_took_is_named(
    local: LocalClusters, supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.start(NAME)
    supervisor.groups.clear()
    monkeypatch.setattr(preflight, "port_free", lambda port: port != 19_101)
    with pytest.raises(KappaError, match="port 19101 is in use"):
        local.start(NAME)


def test_a_cluster_catches_up_until_it_is_live(local: LocalClusters, layout: Layout) -> None:
    local.start(NAME)
    assert cluster_files.is_catching_up(layout, f"taskmanager-{NAME}")
    assert not cluster_files.is_catching_up(layout, "taskmanager")
    assert local.live(NAME) and local.live(NAME)
    assert not cluster_files.is_catching_up(layout, f"taskmanager-{NAME}")
    local.start(NAME)
    assert cluster_files.recall(layout, NAME) == Memory(19_100, live=True)


def test_why_a_taskmanager_ended_is_the_last_thing_that_its_jvm_said(
    local: LocalClusters, layout: Layout
) -> None:
    assert local.why(NAME) == ""
    log = layout.logs / f"taskmanager-{NAME}.log"
    log.write_text("INFO Terminating due to nothing\n")
    assert local.why(NAME) == ""
    log.write_text(
        "Terminating due to java.lang.OutOfMemoryError: Metaspace\nINFO here again\n"
        "Terminating due to java.lang.OutOfMemoryError: Java heap space\nINFO here again\n"
    )
    assert (
        local.why(NAME)
        == f"taskmanager-{NAME}: Terminating due to java.lang.OutOfMemoryError: Java heap space"
    )


def test_only_a_cluster_that_was_started_goes_live(local: LocalClusters) -> None:
    with pytest.raises(RefusedError, match="there is no cluster flights-r2-a1"):
        local.live(NAME)


def test_live_says_when_the_system_does_not_permit_it(
    local: LocalClusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(which: int, who: int, priority: int) -> None:
        raise PermissionError

    local.start(NAME)
    monkeypatch.setattr(os, "getpriority", lambda which, pid: 0 if pid == os.getpid() else 10)
    monkeypatch.setattr(os, "setpriority", refuse)
    assert not local.live(NAME)
    assert local.slow() == {f"taskmanager-{NAME}": 2**22}


@pytest.mark.parametrize("text", ["", "first_port: many\nlive: false", "- 1", "{"])
def test_a_damaged_memory_of_a_cluster_says_what_to_do(layout: Layout, text: str) -> None:
    folder = layout.clusters / NAME
    folder.mkdir(parents=True)
    (folder / "cluster.yaml").write_text(text)
    with pytest.raises(ConfigError) as e:
        cluster_files.known(layout)
    assert e.value.next == f"kappa down; rm -r {folder}; kappa up"


def test_up_writes_the_clusters_that_are_to_run_and_no_others(
    local: LocalClusters, layout: Layout
) -> None:
    local.start(NAME)
    (layout.clusters / NAME / "conf" / "config.yaml").unlink()
    (layout.cluster_programs / "gone-r1-a1.conf").write_text("")
    cluster_files.write_all(layout)
    assert [file.name for file in layout.cluster_programs.iterdir()] == [f"{NAME}.conf"]
    assert (
        yaml.safe_load((layout.clusters / NAME / "conf" / "config.yaml").read_text())["rest.port"]
        == 19_100
    )
    assert f"taskmanager-{NAME}" in readiness.checks(layout)


def test_logs_of_the_newest_clusters_that_are_gone_stay(
    local: LocalClusters, layout: Layout
) -> None:
    for n in range(5):
        for name in (
            f"jobmanager-flights-r{n}-a1.log",
            f"taskmanager-flights-r{n}-a1.log",
            f"taskmanager-flights-r{n}-a1.log.1",
        ):
            (layout.logs / name).write_text("")
            os.utime(layout.logs / name, (n, n))
    (layout.logs / "taskmanager.log").write_text("")
    local.start("flights-r0-a1")
    cluster_files.prune_logs(layout, keep=2)
    left = {file.name.split(".")[0] for file in layout.logs.iterdir()}
    assert left == {
        "taskmanager",
        *(f"{p}-flights-r{n}-a1" for p in ("jobmanager", "taskmanager") for n in (0, 3, 4)),
    }


def test_the_command_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["clusters", str(tmp_path), "list"])
    clusters.main()
    assert capsys.readouterr().out == "[]\n"
    monkeypatch.setattr("sys.argv", ["clusters", str(tmp_path), "start", NAME])
    with pytest.raises(SystemExit) as ended:
        clusters.main()
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"] == "RetryableError"
