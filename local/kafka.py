"""One Kafka broker and KRaft controller in one process, from Kafka's own jars."""

from __future__ import annotations

import subprocess
from pathlib import Path
from uuid import uuid4

from local import jars
from local.layout import Layout, java
from local.preflight import port_free
from replay.errors import KappaError

JVM = (
    "-Xms256m",
    "-Xmx640m",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)

PART = "tiered"
"""Of jars.lock: Kafka's own remote tier for its tests, a folder."""
SEGMENT_BYTES = 64 << 20
LOCAL_BYTES = 256 << 20
"""Of each partition of a topic that is offloaded: older segments are in the remote tier alone."""

LOG4J = """\
status = ERROR
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} %m%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
"""


def server_properties(layout: Layout) -> str:
    """The broker's settings. The log is the truth: nothing in it expires, and no topic appears by accident."""
    ports = layout.ports
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{ports.kafka_controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{ports.kafka},CONTROLLER://127.0.0.1:{ports.kafka_controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ports.kafka}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": layout.kafka_data,
        "auto.create.topics.enable": "false",
        "log.retention.ms": -1,
        "log.retention.bytes": -1,
        # Kafka forgets a group's offsets after a week without members; what a job has covered must stay known.
        "offsets.retention.minutes": 2_147_483_647,
        "group.initial.rebalance.delay.ms": 0,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "num.recovery.threads.per.data.dir": 2,
        **(_remote_tier(layout) if layout.tiered else {}),
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _remote_tier(layout: Layout) -> dict[str, object]:
    """Topics with remote.storage.enable=true keep their last segments here, and all of them in a folder."""
    storage, index = "rsm.config.", "rlmm.config.remote.log.metadata.topic."
    return {
        "remote.log.storage.system.enable": "true",
        "remote.log.storage.manager.class.name": "org.apache.kafka.server.log.remote.storage.LocalTieredStorage",
        "remote.log.storage.manager.impl.prefix": storage,
        f"{storage}dir": layout.kafka_remote,
        "remote.log.metadata.manager.listener.name": "PLAINTEXT",
        f"{index}replication.factor": 1,
        f"{index}num.partitions": 4,
        # An active segment is never offloaded, and with Kafka's own size it stays active up to a gigabyte.
        "log.segment.bytes": SEGMENT_BYTES,
        "log.local.retention.bytes": LOCAL_BYTES,
        "log.retention.check.interval.ms": 30_000,
    }


def write(layout: Layout) -> None:
    """Write the broker's settings."""
    layout.kafka.mkdir(parents=True, exist_ok=True)
    (layout.kafka / "server.properties").write_text(server_properties(layout))
    (layout.kafka / "log4j2.properties").write_text(LOG4J)


def format_storage(layout: Layout) -> bool:
    """Give an empty data folder its cluster id, once; whether there was something to do."""
    if (layout.kafka_data / "meta.properties").exists():
        return False
    if layout.kafka_data.is_dir() and any(layout.kafka_data.glob("*/*.log")):
        raise KappaError(
            "Kafka's data folder holds data but no meta.properties",
            expected=str(layout.kafka_data / "meta.properties"),
            found="no such file",
            next="restore the folder from a backup, or start with another KAPPA_HOME",
        )
    properties = layout.kafka / "server.properties"
    done = subprocess.run(
        [
            java(),
            *_classpath(layout),
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={_log4j(layout)}",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _cluster_id(),
            "-c",
            properties,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KappaError(
            "Kafka could not format its storage",
            expected="exit code 0",
            found=(done.stdout + done.stderr)[-2000:].strip(),
            next="kappa doctor",
        )
    return True


def command(layout: Layout) -> list[str]:
    """What the supervisor runs."""
    return [
        str(java()),
        *JVM,
        f"-Dlog4j2.configurationFile={_log4j(layout)}",
        *_classpath(layout),
        "kafka.Kafka",
        str(layout.kafka / "server.properties"),
    ]


def ready(layout: Layout) -> bool:
    """Whether the broker answers a metadata request."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    if port_free(layout.ports.kafka):  # librdkafka would try for long, and log each try
        return False
    client = AdminClient({"bootstrap.servers": f"127.0.0.1:{layout.ports.kafka}", "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _classpath(layout: Layout) -> list[str]:
    found = [*jars.paths("kafka"), *(jars.paths(PART) if layout.tiered else [])]
    return ["-cp", ":".join(map(str, found))]


def _log4j(layout: Layout) -> Path:
    return layout.kafka / "log4j2.properties"


def _cluster_id() -> str:
    """22 characters of URL-safe base64, as Kafka's Uuid prints itself; never with a leading dash."""
    from base64 import urlsafe_b64encode

    while (text := urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
