"""A Flink standalone session cluster from PyFlink's wheel: a FLINK_HOME of links, its settings, its commands."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import httpx
import yaml

from local import jars
from local.layout import Layout, java_home, python
from local.preflight import port_free

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
"""


def settings(layout: Layout, java_options: str) -> dict[str, object]:
    """Flink's configuration; `java_options` are the ones that the wheel's own configuration asks for."""
    ports, host = layout.ports, "127.0.0.1"
    return {
        "jobmanager.rpc.address": host,
        "jobmanager.rpc.port": ports.jobmanager_rpc,
        "jobmanager.bind-host": host,
        "blob.server.port": ports.jobmanager_blobs,
        "jobmanager.memory.process.size": "1024m",
        "jobmanager.memory.jvm-metaspace.size": "192m",
        "rest.address": host,
        "rest.bind-address": host,
        "rest.port": ports.flink_rest,
        "rest.bind-port": ports.flink_rest,
        "web.submit.enable": False,
        "jobstore.expiration-time": 604_800,
        "taskmanager.host": host,
        "taskmanager.bind-host": host,
        "taskmanager.rpc.port": ports.taskmanager_rpc,
        "taskmanager.data.port": ports.taskmanager_data,
        "taskmanager.data.bind-port": ports.taskmanager_data,
        "taskmanager.resource-id": "taskmanager",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.memory.process.size": "4096m",
        "taskmanager.memory.managed.fraction": 0.2,
        "taskmanager.memory.jvm-metaspace.size": "384m",
        "parallelism.default": 1,
        "pipeline.object-reuse": True,
        "classloader.check-leaked-classloader": False,
        "execution.checkpointing.dir": layout.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": (layout.home / "savepoints").as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": 3,
        # Without end: a process that was killed comes back, and the controller judges a job that keeps failing.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "5 min",
        # A killed TaskManager is noticed after two unanswered heartbeats; a long garbage collection is not death.
        "heartbeat.interval": 2_000,
        "heartbeat.timeout": 30_000,
        "python.executable": str(python()),
        "python.client.executable": str(python()),
        "io.tmp.dirs": str(layout.tmp),
        "web.tmpdir": str(layout.tmp),
        "env.java.home": str(java_home()),
        "env.log.dir": str(layout.logs),
        "env.pid.dir": str(layout.run),
        "env.java.opts.all": java_options,
        "env.java.opts.client": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "env.java.opts.jobmanager": "-XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError",
        # A TaskManager out of heap collects garbage for minutes instead of dying. With these limits it fails an
        # allocation once 90 % of the time goes to collections that free less than 5 %, and that ends the process.
        "env.java.opts.taskmanager": "-XX:+UseParallelGC -XX:+UseGCOverheadLimit -XX:GCTimeLimit=90 "
                                     "-XX:GCHeapFreeLimit=5 -XX:+ExitOnOutOfMemoryError",
        "taskmanager.jvm-exit-on-oom": True,
    }


def wheel_jars() -> list[Path]:
    """The jars that PyFlink's wheel brings for Flink's `lib`."""
    return sorted((_wheel() / "lib").glob("*.jar"))


def write(layout: Layout, format_jar: Path) -> None:
    """Make FLINK_HOME: scripts, configuration, and a `lib` linked to the wheel's and the pinned jars."""
    wheel = _wheel()
    for folder in (layout.flink, layout.tmp, layout.checkpoints, layout.flink / "conf"):
        folder.mkdir(parents=True, exist_ok=True)
    scripts = layout.flink / "bin"
    shutil.copytree(wheel / "bin", scripts, dirs_exist_ok=True)
    for script in scripts.iterdir():
        if script.suffix != ".jar":
            script.chmod(0o755)  # wheels carry no run bits
    _link(layout.flink / "lib", [*wheel_jars(), *jars.paths("flink"), format_jar])
    _link(layout.flink / "opt", sorted((wheel / "opt").glob("*.jar")))
    (layout.flink / "plugins").mkdir(exist_ok=True)
    conf = layout.flink / "conf"
    own = yaml.safe_load((wheel / "conf" / "config.yaml").read_text())["env"]["java"]["opts"]["all"]
    (conf / "config.yaml").write_text(yaml.safe_dump(settings(layout, _options(own)), sort_keys=False, width=10_000))
    (conf / "log4j-console.properties").write_text(LOG4J_CONSOLE)
    (conf / "log4j-cli.properties").write_text(LOG4J_CLIENT)
    (conf / "log4j-session.properties").write_text(LOG4J_CLIENT)


def command(layout: Layout, program: str) -> list[str]:
    """What the supervisor runs for 'jobmanager' or 'taskmanager'."""
    return [str(layout.flink / "bin" / f"{program}.sh"), "start-foreground"]


def environment(layout: Layout) -> dict[str, str]:
    """What Flink's scripts and processes need; also right for `flink run`."""
    return {
        "JAVA_HOME": str(java_home()),
        "FLINK_HOME": str(layout.flink),
        "FLINK_CONF_DIR": str(layout.flink / "conf"),
        "KAPPA_SECRETS": str(layout.secrets),
    }


def rest(layout: Layout) -> str:
    """REST address of the JobManager."""
    return f"http://127.0.0.1:{layout.ports.flink_rest}"


def jobmanager_ready(layout: Layout) -> bool:
    """Whether the dispatcher answers."""
    return _overview(layout) is not None


def taskmanager_ready(layout: Layout) -> bool:
    """Whether the TaskManager listens and has offered its slots; the JobManager remembers those of a dead one."""
    if port_free(layout.ports.taskmanager_data):
        return False
    overview = _overview(layout)
    return overview is not None and int(overview["slots-total"]) >= SLOTS


def _overview(layout: Layout) -> dict[str, int] | None:
    try:
        answer = httpx.get(f"{rest(layout)}/overview", timeout=2)
        found: dict[str, int] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return found if answer.status_code == 200 else None


def _wheel() -> Path:
    spec = find_spec("pyflink")  # found, not imported: importing it takes long and sets environment variables
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
