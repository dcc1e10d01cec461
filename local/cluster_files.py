"""What a home keeps of its Flink clusters of single attempts: memory, configuration, logs."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from local import flink
from local.flink import Cluster
from local.layout import FlinkPorts, Layout
from local.supervise import group_configuration
from replay.errors import ConfigError
from replay.flink.clusters import NAME

JOBMANAGER_MB, JOBMANAGER_OVERHEAD_MB = 768, 128
"""MiB. One job's: 320 of heap, where the session cluster's has 512 for many jobs and their history."""
TASKMANAGER_MB = 3072
"""MiB. One job's: 1,411 for the heap of its tasks, where the session cluster's 2,056 are for two."""
LOGS_KEPT = 10
"""Clusters that are gone of which the logs stay: they tell why an attempt failed."""
_LOG = re.compile(r"(?:job|task)manager-(.+?)\.log(\.\d+)?")


@dataclass(frozen=True)
class Memory:
    """What a cluster's folder remembers between starts: cluster.yaml."""

    first_port: int
    live: bool = False
    lib: str = ""
    """Folder with its jars; empty: those of the session cluster."""


def recall(layout: Layout, name: str) -> Memory | None:
    """What is remembered of a cluster, None when it was never started whole."""
    file = memory_file(layout, name)
    try:
        found = yaml.safe_load(file.read_text())
        return Memory(int(found["first_port"]), bool(found["live"]), str(found.get("lib") or ""))
    except FileNotFoundError:
        return None
    except (TypeError, KeyError, ValueError, yaml.YAMLError) as e:
        raise ConfigError(
            f"{file} cannot be read",
            expected="first_port: a number, live: true or false",
            found=repr(e),
            next=f"kappa down; rm -r {file.parent}; kappa up",
        ) from e


def names(layout: Layout) -> list[str]:
    """Every cluster of which there is something left, also half started or half stopped ones."""
    found = layout.clusters.glob("*")
    return sorted(
        folder.name for folder in found if folder.is_dir() and NAME.fullmatch(folder.name)
    )


def known(layout: Layout) -> list[Cluster]:
    """The clusters that are to run."""
    found = ((name, recall(layout, name)) for name in names(layout))
    return [cluster_of(layout, name, memory) for name, memory in found if memory]


def cluster_of(layout: Layout, name: str, memory: Memory) -> Cluster:
    """A cluster with everything of its own below its folder, but for its jars."""
    folder = layout.clusters / name
    return Cluster(
        FlinkPorts(memory.first_port),
        folder / "conf",
        folder / "tmp",
        folder / "run",
        name,
        JOBMANAGER_MB,
        JOBMANAGER_OVERHEAD_MB,
        TASKMANAGER_MB,
        Path(memory.lib) if memory.lib else None,
    )


def is_catching_up(layout: Layout, program: str) -> bool:
    """Whether a program belongs to a cluster that serves no readers yet."""
    memory = recall(layout, program.partition("-")[2]) if "-" in program else None
    return memory is not None and not memory.live


def write(layout: Layout, cluster: Cluster) -> None:
    """Everything that a cluster's processes and their supervisor read."""
    flink.write_conf(layout, cluster)
    text = group_configuration(layout, cluster.name, flink.programs(layout, cluster))
    _replace(programs_file(layout, cluster.name), text)


def write_all(layout: Layout) -> None:
    """The same for all that are to run, and for no other.

    One whose jars are of another Flink than is installed, or are gone, would not start, and nor would the stack: it is
    forgotten, and the controller gets it the right jars or says why it cannot.
    """
    for cluster in known(layout):
        if cluster.lib and _flink(cluster.lib) != _flink(layout.flink / "lib"):
            shutil.rmtree(layout.clusters / cluster.name)
    clusters = known(layout)
    for file in layout.cluster_programs.glob("*.conf"):
        if file.stem not in {cluster.name for cluster in clusters}:
            file.unlink()
    for cluster in clusters:
        write(layout, cluster)


def prune_logs(layout: Layout, keep: int = LOGS_KEPT) -> None:
    """Delete the oldest logs of clusters that are gone."""
    running = set(names(layout))
    found: dict[str, list[Path]] = {}
    for file in layout.logs.glob("*manager-*.log*"):
        if (match := _LOG.fullmatch(file.name)) and match[1] not in running:
            found.setdefault(match[1], []).append(file)
    newest_first = sorted(
        found.values(), key=lambda files: max(file.stat().st_mtime for file in files), reverse=True
    )
    for files in newest_first[keep:]:
        for file in files:
            file.unlink(missing_ok=True)


def _flink(lib: Path) -> list[str]:
    """The jar that is Flink itself: its version is in the name."""
    return sorted(jar.name for jar in lib.glob("flink-dist-*.jar"))


def memory_file(layout: Layout, name: str) -> Path:
    return layout.clusters / name / "cluster.yaml"


def programs_file(layout: Layout, name: str) -> Path:
    return layout.cluster_programs / f"{name}.conf"


def remember(layout: Layout, name: str, memory: Memory) -> None:
    _replace(memory_file(layout, name), yaml.safe_dump(asdict(memory)))


def _replace(file: Path, text: str) -> None:
    """Whole or not at all, also for who reads it at this moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)
