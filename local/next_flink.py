"""`python -m local.next_flink`: where the connector does not fit the next line of Flink. Nothing is installed.

Its sources are compiled with that line's jars, and its test `FlinkInternalsTest` runs beside them: what differs is
printed, a sentence each.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from local import flink, jars, patches
from local.connector_jar import MAIN, TEST, compile_java, run_junit
from local.layout import java
from replay.errors import ConfigError, RetryableError

FLINK = "2.2.1"
ROOTS = (
    f"org.apache.flink:flink-table-runtime:{FLINK}",
    f"org.apache.flink:flink-connector-base:{FLINK}",
    f"org.apache.flink:flink-clients:{FLINK}",
)
"""Modules that bring, with their dependencies, what flink-dist and its neighbours in Flink's `lib` have."""
FILES = (
    "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",
    "org.apache.flink:flink-sql-avro-confluent-registry:2.2.0",
    "org.apache.flink:flink-python:2.2.0",
)
"""Jars that bring their dependencies with them; the newest for that line."""
_OF_FLINK = ("flink-",)
_ERROR = re.compile(
    r"(?:ERROR|WARNING) in (\S+) \(at line (\d+)\)\n.*?\n\t\s*\^+\n(.+?)\n-{5,}", re.DOTALL
)
_FAILED = re.compile(r"AssertionFailedError: (.+)")


def main() -> int:
    """Exit code 0: the connector fits; 1: it does not; 2: the jars cannot be had."""
    try:
        libraries = fetched(jars.cache_folder() / "next")
    except RetryableError as e:
        sys.stdout.write(f"{e}\n")
        return 2
    found = list(differences(libraries))
    sys.stdout.writelines(f"{sentence}\n" for sentence in found)
    sys.stdout.write(
        f"Flink {FLINK}: {len(found)} differences that the connector would have to follow\n"
    )
    return 1 if found else 0


def fetched(cache: Path) -> list[Path]:
    """The jars of the next line; RetryableError when one cannot be had."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=cache, timeout=60)
    wanted = dict.fromkeys(FILES)
    coordinate = ""
    try:
        for coordinate in ROOTS:
            _, nodes = context.resolver.get_dependency_list([context.create_dependency(coordinate)])
            wanted[coordinate] = None
            for node in nodes:
                if node.dep.scope in ("compile", "runtime"):
                    of = node.dep
                    wanted[f"{of.groupId}:{of.artifactId}:{of.version}"] = None
        found = []
        for coordinate in wanted:
            group, artifact, version = coordinate.split(":")
            project = context.project(group, artifact).at_version(version)
            found.append(Path(project.artifact().resolve()))
    except Exception as e:  # jgo raises whatever requests, the file system or a checksum brings
        raise RetryableError(
            f"Flink {FLINK} cannot be had, so nothing was compared",
            expected=f"{coordinate} in Maven Central",
            found=f"{type(e).__name__}: {e}",
            next="check the network, or name another release in local/next_flink.py",
        ) from e
    return found


def differences(libraries: Sequence[Path]) -> Iterator[str]:
    """What differs, a sentence each."""
    cache = jars.cache_folder()
    needed = [jar for part in ("build", "flink", "test") for jar in jars.read_lock(part)]
    jars.ensure(needed, cache, lambda message: None)
    ecj, asm = jars.path_of("ecj", cache), jars.path_of("asm", cache)
    junit = jars.path_of("junit-platform-console-standalone", cache)
    ours = [jar for jar in flink.lib_jars() if not jar.name.startswith(_OF_FLINK)]
    classpath = [*libraries, *ours, asm]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            compile_java(java(), ecj, classpath, [MAIN / "java"], Path(scratch))
        except ConfigError as e:
            yield from compiler_errors(str(e.found))
    code, report = run_junit(
        java(),
        ecj,
        [*classpath, junit],
        [TEST / "java" / "kappa" / "internals"],
        {"kappa.patched": patches.digests()},
    )
    found = list(test_failures(report))
    yield from found
    if code != 0 and not found:
        yield f"FlinkInternalsTest cannot run: {report.strip()[-400:]}"


def compiler_errors(output: str) -> Iterator[str]:
    """The errors of Eclipse's compiler, and its warnings, which count as errors: one line each."""
    found = False
    for file, line, message in _ERROR.findall(output):
        found = True
        yield f"{Path(file).name}:{line} does not compile: {' '.join(message.split())}"
    if not found:
        yield f"The connector does not compile: {output[-400:]}"


def test_failures(report: str) -> Iterable[str]:
    """The sentences of JUnit's failed tests, each once."""
    return dict.fromkeys(match.strip() for match in _FAILED.findall(report))


if __name__ == "__main__":
    sys.exit(main())
