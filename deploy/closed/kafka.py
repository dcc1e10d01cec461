"""What the official image of Kafka does with its environment: KAFKA_A_B=… is a.b=… of server.properties."""

import os
import subprocess
from pathlib import Path

from local import jars
from local.kafka import LOG4J
from local.layout import java

ELSEWHERE = ("KAFKA_HEAP_OPTS", "KAFKA_OPTS")
FOLDER = Path("/tmp/kafka")


def main() -> None:
    """Format the storage, if it is new, and become the broker."""
    FOLDER.mkdir(exist_ok=True)
    properties, log4j = FOLDER / "server.properties", FOLDER / "log4j2.properties"
    properties.write_text(
        "".join(
            f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}\n"
            for name, value in sorted(os.environ.items())
            if name.startswith("KAFKA_") and name not in ELSEWHERE
        )
    )
    log4j.write_text(LOG4J)
    run = [
        str(java()),
        *os.environ.get("KAFKA_HEAP_OPTS", "").split(),
        "-XX:+ExitOnOutOfMemoryError",
        *os.environ.get("KAFKA_OPTS", "").split(),
        f"-Dlog4j2.configurationFile={log4j}",
        "-cp",
        ":".join(str(path) for path in jars.paths("kafka")),
    ]
    subprocess.run(
        [
            *run,
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "-t",
            os.environ["CLUSTER_ID"],
            "-c",
            str(properties),
        ],
        check=True,
    )
    command = [*run, "kafka.Kafka", str(properties)]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
