"""Bringing the embedded stack up and down, and what it looks like from outside."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import yaml

from local import answers, clusters, flink, jars, kafka, objects, preflight, privacy, registry
from local.connector_jar import build_connector_jar
from local.layout import DEFAULT_PORT_BASE, Layout, Ports, java, python
from local.patches import JAR_NAME, build_patches_jar
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
from replay.errors import ConfigError, ConflictError, KappaError, RetryableError
from replay.settings import VERSION

Progress = Callable[[str], None]
CONFIG_HEADER = (
    f"{objects.HEADER} for its embedded stack; remove this line to keep your own changes.\n"
)
READY_SECONDS = 240
"""Of the stack, without anything that moves: on two busy cores all of its JVMs together took two minutes, and a broker
that recovers a large log says so for as long as it takes."""
LONGEST_SECONDS = 3_600
"""A program may write for ever that it waits for another."""
CLUSTER_READY_SECONDS = 60
"""The same, further, for each Flink cluster beside the session cluster."""
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


def layout_of(
    home: Path,
    port_base: int | None = None,
    *,
    tiered: bool = False,
    taskmanagers: int | None = None,
) -> Layout:
    """The home's layout: ports and TaskManagers as asked for, else as remembered, else the default.

    A remote tier, once asked for, is always remembered: Kafka refuses to start without it where a topic uses it.
    """
    remembered = _remembered(home) or _NOTHING
    base = port_base or remembered.port_base or DEFAULT_PORT_BASE
    if not 1024 <= base <= 65_000:
        raise ConfigError(
            "this port base is out of range",
            expected="1024 to 65000",
            found=str(base),
            next=f"kappa up --port-base {DEFAULT_PORT_BASE}",
        )
    return Layout(
        home,
        Ports(base),
        tiered or remembered.tiered,
        taskmanagers or remembered.taskmanagers,
    )


def remembered_port_base(home: Path) -> int | None:
    """The port base of the last start."""
    return (_remembered(home) or _NOTHING).port_base


@dataclass(frozen=True)
class _Memory:
    """What stack.yaml remembers of the last start."""

    port_base: int | None = None
    tiered: bool = False
    taskmanagers: int = 1


_NOTHING = _Memory()


def _remembered(home: Path) -> _Memory | None:
    """What `kappa up` wrote; None of a home in which nothing was started yet."""
    try:
        found = yaml.safe_load((home / "stack.yaml").read_text())
        return _Memory(
            int(found["port_base"]),
            bool(found.get("tiered", False)),
            int(found.get("taskmanagers", 1)),
        )
    except FileNotFoundError:
        return None
    except (TypeError, KeyError, ValueError, yaml.YAMLError) as e:
        raise ConfigError(
            f"{home / 'stack.yaml'} cannot be read",
            expected="port_base: a number",
            found=repr(e),
            next=f"delete {home / 'stack.yaml'}, then: kappa up --port-base {DEFAULT_PORT_BASE}",
        ) from e


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


def checks(layout: Layout) -> dict[str, Callable[[], bool]]:
    """Programs that answer others, with the question whether they do."""
    found: dict[str, Callable[[], bool]] = {
        "kafka": partial(kafka.ready, layout),
        "registry": partial(registry.ready, layout),
    }
    for cluster in (flink.session(layout), *clusters.known(layout)):
        found[cluster.jobmanager] = partial(flink.jobmanager_ready, cluster)
        found[cluster.taskmanager] = partial(flink.taskmanager_ready, cluster)
    for name, (_, data) in flink.further_taskmanagers(layout).items():
        found[name] = partial(flink.further_ready, layout, data)
    if is_written(layout):  # otherwise the address of the controller is not known
        found["controller"] = partial(controller_ready, layout)
    return found


def controller_ready(layout: Layout) -> bool:
    """Whether its loop goes round."""
    answer = answers.get(f"http://127.0.0.1:{layout.ports.controller}/healthz")
    return answer is not None and answer.status_code == 200


def port_map(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The ports of each program."""
    found = {**layout.ports.of, **flink.further_taskmanagers(layout)}
    for cluster in clusters.known(layout):
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
            _refuse_other_ports(layout)
            _refuse_other_form(layout)
            _revive(layout, supervisor, progress)
        else:
            _start(layout, supervisor, progress)
        _wait_ready(layout, supervisor, progress)
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
    for scratch in (layout.tmp, *(cluster.tmp for cluster in clusters.known(layout))):
        # native libraries and spill files of JVMs that were killed
        shutil.rmtree(scratch, ignore_errors=True)
    for folder in (layout.logs, layout.lake / "warehouse", layout.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    write_secret(layout.secrets / "pseudonym.key")
    kafka.write(layout)
    objects.write_truststore(layout)
    registry.write(layout)
    flink.write(layout, own_jars(layout, cache))
    clusters.write_all(layout)
    layout.supervisor_conf.write_text(configuration(layout, programs(layout, cache)))
    remembered = {
        "port_base": layout.ports.base,
        **({"tiered": True} if layout.tiered else {}),
        **({"taskmanagers": layout.taskmanagers} if layout.taskmanagers > 1 else {}),
    }
    layout.stack_file.write_text(yaml.safe_dump(remembered))
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


def settings_of(layout: Layout) -> dict[str, object]:
    """config.yaml for this stack."""
    catalog, warehouse = layout.lake / "catalog.db", layout.lake / "warehouse"
    return {
        "version": VERSION,
        "kafka": {"bootstrap.servers": f"127.0.0.1:{layout.ports.kafka}"},
        "registry": registry.url(layout),
        "flink": {
            "rest": flink.session(layout).rest,
            "home": str(layout.flink),
            "checkpoints": layout.checkpoints.as_uri(),
            "clusters": [str(python()), "-m", "local.clusters", str(layout.home)],
        },
        "catalog": {
            "name": "lake",
            "flink": {
                "type": "iceberg",
                "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
                "uri": f"jdbc:sqlite:{catalog}?busy_timeout=30000",
                "jdbc.schema-version": "V1",
                "warehouse": warehouse.as_uri(),
            },
            "pyiceberg": {
                "type": "sql",
                "uri": f"sqlite:///{catalog}",
                "warehouse": warehouse.as_uri(),
            },
        },
        "store": f"sqlite:///{layout.home / 'store.db'}",
        "secrets": str(layout.secrets),
        "controller": {"port": layout.ports.controller},
    }


def addresses(layout: Layout) -> dict[str, str]:
    """What a person or another client connects to."""
    return {
        "kafka": f"127.0.0.1:{layout.ports.kafka}",
        "registry": registry.url(layout),
        "flink": flink.session(layout).rest,
        "metrics": f"http://127.0.0.1:{layout.ports.controller}/metrics",
    }


def is_written(layout: Layout) -> bool:
    """Whether config.yaml is there, and one that `kappa up` wrote."""
    return layout.settings.exists() and layout.settings.read_text().startswith(
        CONFIG_HEADER.split(";")[0]
    )


def write_settings(layout: Layout) -> bool:
    """Write config.yaml unless a person made it their own; whether it was written."""
    if layout.settings.exists() and not is_written(layout):
        return False
    text = CONFIG_HEADER + yaml.safe_dump(settings_of(layout), sort_keys=False)
    fresh = layout.settings.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(layout.settings)
    return True


def _refuse_other_ports(layout: Layout) -> None:
    running = remembered_port_base(layout.home)
    if running is not None and running != layout.ports.base:
        raise ConflictError(
            "the stack of this home runs on other ports",
            expected=f"port base {layout.ports.base}",
            found=f"port base {running}",
            next=f"kappa down, then: kappa up --port-base {layout.ports.base}",
        )


def _refuse_other_form(layout: Layout) -> None:
    """ConflictError for what a running stack would have to be started again for."""
    running = _remembered(layout.home) or _NOTHING
    if layout.tiered and not running.tiered:
        raise ConflictError(
            "the stack of this home runs without a remote tier",
            expected="a broker that was started with one",
            found="remote.log.storage.system.enable=false",
            next="kappa down, then: kappa up --tiered",
        )
    if layout.taskmanagers != running.taskmanagers:
        raise ConflictError(
            "the stack of this home runs with other TaskManagers",
            expected=str(layout.taskmanagers),
            found=str(running.taskmanagers),
            next=f"kappa down, then: kappa up --taskmanagers {layout.taskmanagers}",
        )


def _revive(layout: Layout, supervisor: Supervisor, progress: Progress) -> None:
    """Start again what was stopped or given up."""
    for state in supervisor.states():
        if state.state in DEAD:
            progress(f"starting {state.name}, which was {state.state}")
            supervisor.start_program(state.group, state.name)
    clusters.LocalClusters(layout, supervisor).supervise_all()


def _wait_ready(layout: Layout, supervisor: Supervisor, progress: Progress) -> None:
    started = time.monotonic()
    waiting = list(checks(layout))
    seconds = READY_SECONDS + CLUSTER_READY_SECONDS * len(clusters.known(layout))
    moving = Moving(layout.logs, started)
    while waiting:
        states = {state.name: state for state in supervisor.states()}
        ready = checks(layout)
        for name in list(waiting):
            if name not in ready:  # a cluster that the controller stopped meanwhile
                waiting.remove(name)
            elif ready[name]():
                waiting.remove(name)
                progress(f"{name} is ready ({time.monotonic() - started:.0f} s)")
            elif name in states and states[name].state == "FATAL":
                raise _gave_up(layout, states[name])
        if not states:
            raise KappaError(
                "the supervisor has gone",
                expected="a running supervisord",
                found="none",
                next=f"see {layout.logs / 'supervisor.log'}, then: kappa up",
            )
        now = time.monotonic()
        if waiting and (
            moving.still_for(waiting, now) > seconds or now - started > LONGEST_SECONDS
        ):
            found = states.get(waiting[0])
            raise RetryableError(
                f"not ready after {now - started:.0f} s: {', '.join(waiting)}",
                expected="an answer from each",
                found=str(asdict(found)) if found else "no process",
                next=f"kappa logs {waiting[0]}",
            )
        if waiting:
            time.sleep(0.3)


class Moving:
    """Since when nothing has moved: fewer programs are waited for, or one of them writes to its log."""

    def __init__(self, logs: Path, now: float) -> None:
        self._logs, self._since = logs, now
        self._seen: dict[str, int] = {}

    def still_for(self, waiting: Sequence[str], now: float) -> float:
        """Seconds without a change, after one more look."""
        seen = {name: self._size(name) for name in waiting}
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since

    def _size(self, name: str) -> int:
        try:
            return (self._logs / f"{name}.log").stat().st_size
        except OSError:
            return 0


def _gave_up(layout: Layout, state: State) -> KappaError:
    log = layout.logs / f"{state.name}.log"
    tail = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    return KappaError(
        f"{state.name} does not start",
        expected="a process that stays up",
        found="\n".join([state.problem or "it ended again and again", *tail]),
        next=f"kappa logs {state.name}",
    )
