"""A Flink standalone session cluster from PyFlink's wheel: a FLINK_HOME of links, its settings, its commands."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import yaml

from jobs.processes import RELEASE_ENVIRONMENT
from local import answers, jars, objects
from local.layout import FlinkPorts, Layout, java_home, python
from local.preflight import port_free
from local.supervise import Program

SLOTS = 4

LOG4J_CONSOLE = """\
monitorInterval = 30
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-40.40c{1.} [%t] %m%n
logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.hadoop.name = org.apache.hadoop
logger.hadoop.level = ERROR
"""

LOG4J_CLIENT = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-40.40c{1.} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
# It logs its whole environment when it starts Python, and so every secret that config.yaml takes from there.
logger.python.name = org.apache.flink.client.python.PythonEnvUtils
logger.python.level = WARN
"""


@dataclass(frozen=True)
class Cluster:
    """One JobManager and one TaskManager: what they do not share with another such pair."""

    ports: FlinkPorts
    conf: Path
    """FLINK_CONF_DIR"""
    tmp: Path
    pids: Path
    name: str = ""
    """Of an attempt's own cluster; the session cluster has none."""
    jobmanager_mb: int = 1024
    """Process size in MiB, as Flink divides it up; also below."""
    jobmanager_overhead_mb: int = 192
    taskmanager_mb: int = 4096
    lib: Path | None = None
    """FLINK_LIB_DIR, the jars of an attempt's release; None: those of FLINK_HOME."""

    @property
    def jobmanager(self) -> str:
        """The JobManager's program."""
        return f"jobmanager-{self.name}" if self.name else "jobmanager"

    @property
    def taskmanager(self) -> str:
        """The TaskManager's program."""
        return f"taskmanager-{self.name}" if self.name else "taskmanager"

    @property
    def port_map(self) -> dict[str, tuple[int, ...]]:
        """The ports of each program."""
        return {self.jobmanager: self.ports.jobmanager, self.taskmanager: self.ports.taskmanager}

    @property
    def rest(self) -> str:
        """REST address of the JobManager."""
        return f"http://127.0.0.1:{self.ports.rest}"


def session(layout: Layout) -> Cluster:
    """The stack's own cluster."""
    return Cluster(layout.ports.flink, layout.flink / "conf", layout.tmp, layout.run)


def settings(layout: Layout, cluster: Cluster, java_options: str) -> dict[str, object]:
    """A cluster's configuration; `java_options` are the ones that the wheel's own configuration asks for."""
    ports, host = cluster.ports, "127.0.0.1"
    # Libraries unpack native code there, and a killed JVM leaves it.
    scratch = f"-Djava.io.tmpdir={cluster.tmp}"
    store = objects.of(layout)
    return {
        "jobmanager.rpc.address": host,
        "jobmanager.rpc.port": ports.jobmanager_rpc,
        "jobmanager.bind-host": host,
        "blob.server.port": ports.jobmanager_blobs,
        "jobmanager.memory.process.size": f"{cluster.jobmanager_mb}m",
        "jobmanager.memory.jvm-overhead.min": f"{cluster.jobmanager_overhead_mb}m",
        "jobmanager.memory.jvm-metaspace.size": "192m",
        "rest.address": host,
        "rest.bind-address": host,
        "rest.port": ports.rest,
        "rest.bind-port": ports.rest,
        # No jar is uploaded and no job cancelled from the web page, and no other page's scripts may read it.
        "web.submit.enable": False,
        "web.cancel.enable": False,
        "web.access-control-allow-origin": cluster.rest,
        # The controller learns of a checkpoint from REST, and readers see it then: not 3 s later.
        "rest.cache.checkpoint-statistics.timeout": "200 ms",
        # It asks at a checkpoint whether operators dropped records: not what was known 10 s before.
        "metrics.fetcher.update-interval": "500 ms",
        # Metrics of all TaskManagers are asked for together, and not again before each has answered or this has passed.
        # One that is killed while it is asked never answers: with Flink's own 10 minutes the controller sees for so
        # long what the metrics were before, a clock that has not come anywhere, and publishes nothing.
        "web.timeout": "60 s",
        "jobstore.expiration-time": 604_800,
        "taskmanager.host": host,
        "taskmanager.bind-host": host,
        "taskmanager.rpc.port": ports.taskmanager_rpc,
        "taskmanager.data.port": ports.taskmanager_data,
        "taskmanager.data.bind-port": ports.taskmanager_data,
        "taskmanager.resource-id": cluster.taskmanager,
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.memory.process.size": f"{cluster.taskmanager_mb}m",
        "taskmanager.memory.managed.fraction": 0.2,
        "taskmanager.memory.jvm-metaspace.size": "384m",
        "parallelism.default": 1,
        "pipeline.object-reuse": True,
        "classloader.check-leaked-classloader": False,
        "execution.checkpointing.dir": store.checkpoints if store else layout.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": (layout.home / "savepoints").as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": 3,
        # Without end: a process that was killed comes back, and the controller judges a job that keeps failing.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "5 min",
        # A TaskManager that has just started loads classes while a hundred tasks are handed to it, one after the other:
        # with Flink's own 10 s a busy machine fails them, and again at each restart, without end.
        "pekko.ask.timeout": "60 s",
        # A killed TaskManager is noticed after two unanswered heartbeats; a long garbage collection is not death.
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": 30_000,
        # Started again at the address of one that was killed, a TaskManager may talk to a JobManager that does not hear
        # it; another process is heard. After so long without a JobManager it ends, and the supervisor starts the next.
        "taskmanager.registration.timeout": "45 s",
        "python.executable": str(python()),
        "python.client.executable": str(python()),
        "io.tmp.dirs": str(cluster.tmp),
        "web.tmpdir": str(cluster.tmp),
        "env.java.home": str(java_home()),
        "env.log.dir": str(layout.logs),
        "env.pid.dir": str(cluster.pids),
        # UPPER, LOWER and the names of days and months are of a language, which must not be the machine's.
        "env.java.opts.all": f"{java_options} -Duser.language=en -Duser.country=US"
        f"{objects.java_options(layout)}",
        "env.java.opts.client": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "env.java.opts.jobmanager": f"-XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError {scratch}",
        # Tier4…: a job's classes are made for it and compiled again. Only what is truly hot is worth the optimising
        # compiler: four times the JVM's own thresholds take a quarter of its time away.
        # A TaskManager out of heap collects garbage for minutes instead of dying. With these limits it fails an
        # allocation once 90 % of the time goes to collections that free less than 5 %, and that ends the process.
        "env.java.opts.taskmanager": "-XX:Tier4InvocationThreshold=20000 -XX:Tier4MinInvocationThreshold=2400 "
        "-XX:Tier4CompileThreshold=60000 -XX:Tier4BackEdgeThreshold=160000 "
        "-XX:+UseParallelGC -XX:+UseGCOverheadLimit -XX:GCTimeLimit=90 "
        f"-XX:GCHeapFreeLimit=5 -XX:+ExitOnOutOfMemoryError {scratch}",
        "taskmanager.jvm-exit-on-oom": True,
        **(store.options if store else {}),
    }


def wheel_jars() -> list[Path]:
    """The jars that PyFlink's wheel brings for Flink's `lib`."""
    return sorted((_wheel() / "lib").glob("*.jar"))


def lib_jars() -> list[Path]:
    """All jars of Flink's `lib` that are not our own."""
    # Flink's side of Python too: loaded again with each job, its buffers outside of the heap would outlive the job.
    python = sorted((_wheel() / "opt").glob("flink-python-*.jar"))
    return [*wheel_jars(), *python, *jars.paths("flink")]


def write(layout: Layout, own: list[Path]) -> None:
    """Make FLINK_HOME: scripts, configuration, and a `lib` linked to the wheel's, the pinned and our own jars."""
    wheel = _wheel()
    for folder in (layout.flink, layout.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    scripts = layout.flink / "bin"
    shutil.copytree(wheel / "bin", scripts, dirs_exist_ok=True)
    for script in scripts.iterdir():
        if script.suffix != ".jar":
            script.chmod(0o755)  # wheels carry no run bits
    stored = [
        path
        for jar, path in zip(jars.read_lock(objects.PART), jars.paths(objects.PART), strict=True)
        if jar in objects.needed(layout)
    ]
    plugins = [path for path in stored if path.name.startswith(objects.PLUGIN)]
    _link(
        layout.flink / "lib", [*lib_jars(), *(path for path in stored if path not in plugins), *own]
    )
    _link(layout.flink / "opt", sorted((wheel / "opt").glob("*.jar")))
    shutil.rmtree(layout.flink / "plugins", ignore_errors=True)
    (layout.flink / "plugins").mkdir()
    if plugins:
        _link(layout.flink / "plugins" / objects.PART, plugins)
    write_conf(layout, session(layout))
    (layout.flink / "conf" / "log4j-cli.properties").write_text(LOG4J_CLIENT)
    (layout.flink / "conf" / "log4j-session.properties").write_text(LOG4J_CLIENT)


def write_conf(layout: Layout, cluster: Cluster) -> None:
    """Make a cluster's folders, and write what its processes read."""
    for folder in (cluster.conf, cluster.tmp, cluster.pids):
        folder.mkdir(parents=True, exist_ok=True)
    own = yaml.safe_load((_wheel() / "conf" / "config.yaml").read_text())["env"]["java"]["opts"][
        "all"
    ]
    text = yaml.safe_dump(settings(layout, cluster, _options(own)), sort_keys=False, width=10_000)
    file = cluster.conf / "config.yaml"
    file.touch()
    file.chmod(0o600)  # there may be the keys of an object store in it
    file.write_text(text)
    (cluster.conf / "log4j-console.properties").write_text(LOG4J_CONSOLE)


def programs(layout: Layout, cluster: Cluster) -> list[Program]:
    """What the supervisor runs for a cluster."""
    variables = environment(layout, cluster)
    return [
        Program(cluster.jobmanager, command(layout, "jobmanager"), 30, variables),
        Program(
            cluster.taskmanager,
            [
                str(python()),
                "-m",
                "local.taskmanager",
                str(layout.home),
                *command(layout, "taskmanager"),
            ],
            40,
            variables,
        ),
    ]


def further_taskmanagers(layout: Layout) -> dict[str, tuple[int, int]]:
    """The session cluster's TaskManagers beside the first: program → RPC and data port."""
    numbers = range(2, layout.taskmanagers + 1)
    return {f"taskmanager{n}": layout.ports.further_taskmanager(n) for n in numbers}


def further_programs(layout: Layout) -> list[Program]:
    """What the supervisor runs for them. They share their configuration with the first, but for ports and name."""
    *_, first = programs(layout, session(layout))
    found = []
    for name, (rpc, data) in further_taskmanagers(layout).items():
        own = {
            "taskmanager.rpc.port": rpc,
            "taskmanager.data.port": data,
            "taskmanager.data.bind-port": data,
            "taskmanager.resource-id": name,
        }
        options = [word for key, value in own.items() for word in ("-D", f"{key}={value}")]
        found.append(replace(first, name=name, command=[*first.command, *options]))
    return found


def further_ready(layout: Layout, data_port: int) -> bool:
    """Whether one of them listens, and all TaskManagers have offered their slots."""
    if port_free(data_port):
        return False
    overview = _overview(session(layout))
    return overview is not None and int(overview["slots-total"]) >= SLOTS * layout.taskmanagers


def command(layout: Layout, program: str) -> list[str]:
    """What runs in the foreground as 'jobmanager' or 'taskmanager'."""
    return [str(layout.flink / "bin" / f"{program}.sh"), "start-foreground"]


def environment(layout: Layout, cluster: Cluster) -> dict[str, str]:
    """What Flink's scripts and processes need; also right for `flink run`."""
    return {
        "JAVA_HOME": str(java_home()),
        "FLINK_HOME": str(layout.flink),
        "FLINK_CONF_DIR": str(cluster.conf),
        **({"FLINK_LIB_DIR": str(cluster.lib)} if cluster.lib else {}),
        "KAPPA_SECRETS": str(layout.secrets),
        **RELEASE_ENVIRONMENT,
    }


def jobmanager_ready(cluster: Cluster) -> bool:
    """Whether the dispatcher answers."""
    return _overview(cluster) is not None


def taskmanager_ready(cluster: Cluster) -> bool:
    """Whether the TaskManager listens and has offered its slots; the JobManager remembers those of a dead one."""
    if port_free(cluster.ports.taskmanager_data):
        return False
    overview = _overview(cluster)
    return overview is not None and int(overview["slots-total"]) >= SLOTS


def _overview(cluster: Cluster) -> dict[str, int] | None:
    answer = answers.get(f"{cluster.rest}/overview")
    if answer is None or answer.status_code != 200:
        return None
    try:
        found: dict[str, int] = answer.json()
    except ValueError:
        return None
    return found


def _wheel() -> Path:
    # found, not imported: importing it takes long and sets environment variables
    spec = find_spec("pyflink")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _options(all_options: str) -> str:
    """Without the exports of the compiler's modules, which this runtime has not and warns about."""
    return " ".join(option for option in all_options.split() if "jdk.compiler/" not in option)


def _link(folder: Path, targets: list[Path]) -> None:
    """Make the folder hold exactly links to the targets."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for target in targets:
        (folder / target.name).symlink_to(target)
