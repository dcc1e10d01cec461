"""Apicurio Registry speaking the Confluent schema registry API; schemas in an H2 file below the home."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from local import answers, jars
from local.layout import Layout, java

JVM = (
    "-Xms64m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
)
"""It answers a few requests a minute: the interpreter and the first compiler start fastest."""


def application(cache: Path) -> Path:
    """The unpacked application, next to the jars; its folder has the archive's name, so a new pin is unpacked."""
    return (
        cache
        / "apps"
        / jars.path_of("apicurio-registry-app", cache).name.removesuffix("-all.tar.gz")
    )


def unpack(cache: Path) -> None:
    """Unpack the verified archive once; the folder appears whole or not at all."""
    target = application(cache)
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as scratch:
        whole = Path(scratch) / "app"
        with tarfile.open(jars.path_of("apicurio-registry-app", cache)) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(whole, filter="data")
            else:  # Python 3.11.2, which Debian 12 has, knows no filters; the archive is the pinned one
                archive.extractall(whole)
        try:
            whole.rename(target)
        except OSError:
            if not target.is_dir():  # else another `kappa up` was faster
                raise


def command(cache: Path) -> list[str]:
    """What the supervisor runs."""
    return [str(java()), *JVM, "-jar", str(application(cache) / "quarkus-run.jar")]


def environment(layout: Layout) -> dict[str, str]:
    """Settings: loopback only, and every registered schema on disk before it is answered (WRITE_DELAY=0)."""
    return {
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "h2",
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{layout.registry / 'registry'};WRITE_DELAY=0",
        "QUARKUS_HTTP_HOST": "127.0.0.1",
        "QUARKUS_HTTP_PORT": str(layout.ports.registry),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
        "QUARKUS_MANAGEMENT_PORT": str(layout.ports.registry_health),
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
    }


def write(layout: Layout) -> None:
    """Make the folder of its database."""
    layout.registry.mkdir(parents=True, exist_ok=True)


def url(layout: Layout) -> str:
    """Base URL of the Confluent schema registry API."""
    return f"http://127.0.0.1:{layout.ports.registry}/apis/ccompat/v7"


def ready(layout: Layout) -> bool:
    """Whether it lists its subjects."""
    answer = answers.get(f"{url(layout)}/subjects")
    return answer is not None and answer.status_code == 200
