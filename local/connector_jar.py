"""The Java in jobs/connector, compiled by Eclipse's batch compiler: no JDK is needed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from replay.errors import ConfigError, KappaError

JAVA_FOLDER = Path(__file__).parent.parent / "jobs" / "connector"
MAIN = JAVA_FOLDER / "src" / "main"
TEST = JAVA_FOLDER / "src" / "test"
VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
# Flink 2.1 supports Java 17; `--release 17` would need a JDK's signature files.
COMPILE = (
    "-source",
    "17",
    "-target",
    "17",
    "-proc:none",
    "-encoding",
    "UTF-8",
    "-Xlint",
    "-failOnWarning",
)
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: the same sources give the same jar."""


def build_connector_jar(
    java: Path, ecj: Path, classpath: Sequence[Path], out: Path, *, source: Path = MAIN
) -> Path:
    """Compile them into a jar, unless `out` was already made from the same sources, compiler and class path.

    The jar appears whole or not at all, and is byte for byte the same wherever it is built.
    """
    wanted = fingerprint(source, ecj, classpath)
    if built_from(out) == wanted:
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".connector-", dir=out.parent) as scratch:
        classes = Path(scratch) / "classes"
        compile_java(java, ecj, classpath, [source / "java"], classes)
        jar = Path(scratch) / out.name
        write_jar(jar, wanted, (*files_below(classes), *files_below(source / "resources")))
        os.replace(jar, out)
    return out


def run_connector_tests(
    java: Path,
    ecj: Path,
    junit: Path,
    connector_jar: Path,
    classpath: Sequence[Path],
    sources: Sequence[Path] = (TEST / "java",),
    properties: Mapping[str, str] | None = None,
) -> str:
    """Compile their JUnit tests and run them against the jar; the report, or KappaError with it."""
    said = {"kappa.vectors": str(VECTORS), **(properties or {})}
    code, report = run_junit(java, ecj, (connector_jar, *classpath, junit), sources, said)
    if code != 0:
        raise KappaError("the Java code fails its tests", found=report, next="fix jobs/connector")
    return report


def run_junit(
    java: Path,
    ecj: Path,
    libraries: Sequence[Path],
    sources: Sequence[Path],
    properties: Mapping[str, str],
) -> tuple[int, str]:
    """Compile JUnit tests with these libraries, JUnit among them, and run them: exit code and report."""
    with tempfile.TemporaryDirectory(prefix="connector-tests-") as scratch:
        classes = Path(scratch) / "classes"
        compile_java(java, ecj, libraries, sources, classes)
        run = subprocess.run(
            [
                java,
                *(f"-D{name}={value}" for name, value in properties.items()),
                "-cp",
                joined((classes, TEST / "resources", *libraries)),
                "org.junit.platform.console.ConsoleLauncher",
                "execute",
                f"--scan-classpath={classes}",
                "--disable-banner",
                "--disable-ansi-colors",
                "--details=tree",
                "--fail-if-no-tests",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    return run.returncode, run.stdout + run.stderr


def compile_java(
    java: Path, ecj: Path, classpath: Sequence[Path], sources: Sequence[Path], classes: Path
) -> None:
    """Compile folders of sources; ConfigError with the compiler's own words."""
    command: list[str | Path] = [
        java,
        "-jar",
        ecj,
        *COMPILE,
        "-cp",
        joined(classpath),
        "-d",
        classes,
        *sources,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if run.returncode != 0:
        raise ConfigError(
            f"{sources[0]} does not compile",
            expected="Java 17 that fits the pinned Flink jars",
            found=(run.stderr or run.stdout).strip(),
            next="fix it, then: kappa up",
        )


def fingerprint(source: Path, ecj: Path, classpath: Sequence[Path]) -> str:
    """SHA-256 over the sources' paths and contents, the compile options and the names of the pinned jars."""
    digest = hashlib.sha256()
    for name, content in files_below(source):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    for text in (*COMPILE, ecj.name, *sorted(jar.name for jar in classpath)):
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()


def built_from(jar: Path) -> str | None:
    """The fingerprint that a jar carries as its comment; None when there is no jar or it is damaged."""
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.comment.decode() if archive.testzip() is None else None
    except (FileNotFoundError, zipfile.BadZipFile, zlib.error, UnicodeDecodeError):
        return None


def write_jar(jar: Path, comment: str, entries: Iterable[tuple[str, bytes]]) -> None:
    """Write a jar whose bytes depend on nothing but its contents."""
    with zipfile.ZipFile(jar, "w") as archive:
        archive.comment = comment.encode()
        for name, content in (
            ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n\r\n"),
            *sorted(entries),
        ):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(relative path with '/', content) of every file, sorted by path."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def joined(classpath: Sequence[Path]) -> str:
    """A class path as Java takes it."""
    return os.pathsep.join(str(path) for path in classpath)
