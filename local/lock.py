"""`python -m local.lock`: resolve the stack's roots with their dependencies and rewrite `jars.lock`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from local.jars import LOCK_FILE, Jar, sha256_of

CLOSURES = {"kafka": "org.apache.kafka:kafka_2.13:4.1.1"}
FILES = {
    # Kafka's jars use SLF4J 1.7, which prints nothing without a binding. Not resolved together with Kafka: Log4j's
    # own dependency management would turn kafka-clients back to 3.8.
    "kafka": ["org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"],
    "registry": ["io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz"],
    "flink": [
        "org.apache.flink:flink-sql-connector-kafka:4.0.1-2.0",
        "org.apache.flink:flink-sql-avro-confluent-registry:2.1.0",
        "org.apache.iceberg:iceberg-flink-runtime-2.1:1.11.0",
        "org.apache.hadoop:hadoop-client-api:3.4.2",
        "org.apache.hadoop:hadoop-client-runtime:3.4.2",
        "org.xerial:sqlite-jdbc:3.54.1.0",
        "org.postgresql:postgresql:42.7.14",
    ],
    # Only where config.yaml names an object store. 2.1.0 is the newest that is published for Flink 2.1.
    "s3": [
        "org.apache.flink:flink-s3-fs-hadoop:2.1.0",
        "org.apache.iceberg:iceberg-aws-bundle:1.11.0",
    ],
    # Only with `kappa up --tiered`: LocalTieredStorage, by which Kafka tests its remote tier.
    "tiered": [
        "org.apache.kafka:kafka-storage:4.1.1:test:jar",
        "org.apache.kafka:kafka-server-common:4.1.1:test:jar",
    ],
    # ASM changes compiled classes of Flink's: see local/patches.py.
    "build": ["org.eclipse.jdt:ecj:3.40.0", "org.ow2.asm:asm:9.8"],
    "test": ["org.junit.platform:junit-platform-console-standalone:1.13.4"],
}
HEADER = """\
# The jars of the embedded stack, from Maven Central. Written by: python -m local.lock
# sha256 size group:artifact:version[:classifier:type] parts
"""


def main() -> None:
    """Resolve, download, hash, write."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=60)
        wanted: dict[str, set[str]] = {}
        for part, root in CLOSURES.items():
            _, nodes = context.resolver.get_dependency_list([context.create_dependency(root)])
            for coordinate in (
                root,
                *(
                    f"{n.dep.groupId}:{n.dep.artifactId}:{n.dep.version}"
                    for n in nodes
                    if n.dep.scope in ("compile", "runtime")
                ),
            ):
                wanted.setdefault(coordinate, set()).add(part)
        for part, coordinates in FILES.items():
            for coordinate in coordinates:
                wanted.setdefault(coordinate, set()).add(part)
        lines = []
        for coordinate in sorted(wanted):
            group, artifact, version, classifier, packaging = Jar(
                "", 0, coordinate, frozenset()
            ).fields
            file = (
                context.project(group, artifact)
                .at_version(version)
                .artifact(classifier, packaging)
                .resolve()
            )
            lines.append(
                f"{sha256_of(file)} {file.stat().st_size} {coordinate} {','.join(sorted(wanted[coordinate]))}"
            )
            sys.stderr.write(f"{coordinate}\n")
    LOCK_FILE.write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
