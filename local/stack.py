"""Bringing the embedded stack up and down, and what it looks like from outside."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import cluster_files, clusters, flink, jars, kafka, objects, preflight, privacy, registry
from local.config_file import write_settings
from local.connector_jar import build_connector_jar
from local.layout import Layout, java, python
from local.patches import JAR_NAME, build_patches_jar
from local.readiness import checks, wait_ready
from local.remembered import layout_of, refuse_other_form, refuse_other_ports, remember
from local.supervise import (
    DEAD,
    PLANNER,
    Program,
    State,
    Supervisor,
    configuration,
    end_orphans,
    resident_mb,
)
from replay.errors import ConfigError

Progress = Callable[[str], None]
PORTS_SECONDS = 15
"""After a start that did not end by itself."""
ORDER = ("kafka", "registry", "jobmanager", "taskmanager", "controller")
"""As they are shown; further Flink clusters come behind."""


@dataclass(frozen=True)
class ProgramStatus:
    """One program as `kappa status` shows it."""

    program: str
    state: str
    ready: bool | None
    pid: int | None
    ports: str
    memory_mb: int | None
    """Resident memory of the process and those it started."""
    up_seconds: int


def jars_needed(layout: Layout) -> list[jars.Jar]:
    """The jars of the running stack; those of the tests are fetched by the tests."""
    return [
        *(jar for jar in jars.read_lock() if not jar.parts <= {"test", objects.PART, kafka.PART}),
        *objects.needed(layout),
        *(jars.read_lock(kafka.PART) if layout.tiered else ()),
    ]


def programs(layout: Layout, cache: Path) -> list[Program]:
    """What the supervisor runs, in the order of start."""
    session = flink.session(layout)
    return [
        Program("kafka", kafka.command(layout), 10, stop_seconds=30),
        Program("registry", registry.command(cache), 20, registry.environment(layout)),
        *flink.programs(layout, session),
        *flink.further_programs(layout),
        Program(
            "controller",
            [str(python()), "-m", "replay", "controller"],
            50,
            flink.environment(layout, session),
        ),
    ]


def port_map(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The ports of each program."""
    found = {**layout.ports.of, **flink.further_taskmanagers(layout)}
    for cluster in cluster_files.known(layout):
        found |= cluster.port_map
    return found


def up(
    home: Path,
    port_base: int | None,
    progress: Progress,
    *,
    tiered: bool = False,
    taskmanagers: int | None = None,
) -> Layout:
    """Start whatever of the stack does not run, and wait until all of it answers."""
    layout = layout_of(home, port_base, tiered=tiered, taskmanagers=taskmanagers)
    for problem in preflight.path_problems(layout):  # before anything is written there
        raise problem.error()
    with locked(layout, progress):
        supervisor = Supervisor(layout)
        if supervisor.running():
            refuse_other_ports(layout)
            refuse_other_form(layout)
            _revive(layout, supervisor, progress)
        else:
            _start(layout, supervisor, progress)
        wait_ready(layout, supervisor, progress)
    return layout


def down(home: Path, progress: Progress) -> bool:
    """Stop everything; whether there was something to stop. Data stays."""
    layout = layout_of(home)
    if not home.is_dir():
        return False
    with locked(layout, progress):
        supervisor = Supervisor(layout)
        was_running = supervisor.running()
        if was_running:
            progress(f"stopping the stack in {home}")
            supervisor.stop()
        left = end_orphans(layout)
        _tell_of(left, progress)
    return was_running or bool(left)


def status(layout: Layout) -> list[ProgramStatus]:
    """Every program that the supervisor knows; none when it does not run."""
    ports, ready = port_map(layout), checks(layout)
    return [
        ProgramStatus(
            program=state.name,
            state=state.state,
            ready=ready[state.name]() if state.name in ready else None,
            pid=state.pid or None,
            ports=" ".join(map(str, ports.get(state.name, ()))),
            memory_mb=resident_mb(state.pid) if state.pid else None,
            up_seconds=state.up_seconds,
        )
        for state in sorted(Supervisor(layout).states(), key=_place)
    ]


def _place(state: State) -> tuple[int, str]:
    return (ORDER.index(state.name), "") if state.name in ORDER else (len(ORDER), state.group)


@contextmanager
def locked(layout: Layout, progress: Progress) -> Iterator[None]:
    """One `kappa up` or `kappa down` at a time per home; the others wait."""
    try:
        privacy.make_private(layout.home, progress)
        layout.run.mkdir(parents=True, exist_ok=True)
        stream = layout.lock.open("a+")
    except OSError as e:
        raise ConfigError(
            "KAPPA_HOME cannot be written",
            expected=f"a folder of yours: {layout.home}",
            found=str(e),
            next="KAPPA_HOME=/another/folder kappa up",
        ) from e
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            progress(
                f"another kappa up or down (pid {stream.read().strip() or '?'}) is running here: waiting for it"
            )
            fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            stream.truncate(0)
            os.write(stream.fileno(), str(os.getpid()).encode())
        except OSError:
            # a full disk, refused with an error of its own; lost is only what others are told
            pass
        yield


def _start(layout: Layout, supervisor: Supervisor, progress: Progress) -> None:
    _tell_of(end_orphans(layout), progress)
    if layout.supervisor_pid.exists():  # it did not end by itself
        _wait_for_ports(layout)
    for problem in preflight.problems(layout, port_map(layout)):
        raise problem.error()
    cache = jars.cache_folder()
    jars.ensure(jars_needed(layout), cache, progress)
    registry.unpack(cache)
    _write(layout, cache, progress)
    if kafka.format_storage(layout):
        progress("formatted Kafka's storage")
    progress(
        f"starting the stack in {layout.home} on ports {layout.ports.registry_health}–"
        f"{layout.ports.controller}"
    )
    supervisor.start()


def _tell_of(ended: Mapping[int, str], progress: Progress) -> None:
    for pid, program in ended.items():
        if program != PLANNER:  # it has no supervisor
            progress(f"stopped {program} (pid {pid}), which had outlived its supervisor")


def _wait_for_ports(layout: Layout) -> None:
    """A process that was killed keeps its ports until the kernel has taken its memory back: seconds, for a JVM."""
    deadline = time.monotonic() + PORTS_SECONDS
    while time.monotonic() < deadline and any(preflight.port_problems(port_map(layout))):
        time.sleep(0.1)


def _write(layout: Layout, cache: Path, progress: Progress) -> None:
    """Everything the programs read; again at each start, so that an upgrade takes effect."""
    for scratch in (layout.tmp, *(cluster.tmp for cluster in cluster_files.known(layout))):
        # native libraries and spill files of JVMs that were killed
        shutil.rmtree(scratch, ignore_errors=True)
    for folder in (layout.logs, layout.lake / "warehouse", layout.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    write_secret(layout.secrets / "pseudonym.key")
    kafka.write(layout)
    objects.write_truststore(layout)
    registry.write(layout)
    flink.write(layout, own_jars(layout, cache))
    cluster_files.write_all(layout)
    layout.supervisor_conf.write_text(configuration(layout, programs(layout, cache)))
    remember(layout)
    if not write_settings(layout):
        progress(f"kept {layout.settings}: it is not one that kappa up wrote")


def own_jars(layout: Layout, cache: Path) -> list[Path]:
    """The home's own, as two homes of different versions may share the cache."""
    ecj, asm, folder = (
        jars.path_of("ecj", cache),
        jars.path_of("asm", cache),
        layout.home / "connector",
    )
    libraries = [*flink.wheel_jars(), *jars.paths("flink", cache)]
    return [
        build_connector_jar(java(), ecj, libraries, folder / "kappa-connector.jar"),
        build_patches_jar(java(), ecj, asm, flink.lib_jars(), folder / JAR_NAME),
    ]


def write_secret(file: Path) -> None:
    """A random key, once, for its owner's eyes."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(32))


def _revive(layout: Layout, supervisor: Supervisor, progress: Progress) -> None:
    """Start again what was stopped or given up."""
    for state in supervisor.states():
        if state.state in DEAD:
            progress(f"starting {state.name}, which was {state.state}")
            supervisor.start_program(state.group, state.name)
    clusters.LocalClusters(layout, supervisor).supervise_all()
