"""The peers, their environments, and one run of one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import StaticTable

from bench.measure import Meter
from local import jars
from replay.errors import KappaError
from replay.kafka import log
from replay.secret import revealed
from replay.settings import Settings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TOPICS = "kappa-peer-"
"""In the names of consumer groups, and so of topics that peers make."""
SECONDS = 0.25
"""Between samples of the memory."""


@dataclass(frozen=True)
class Peer:
    """One program at the same work."""

    name: str
    module: str
    """The file beside this one, with what it depends on at its top (PEP 723)."""
    lacks: tuple[str, ...]
    """Of what the product does."""
    processes: int = 1

    @property
    def script(self) -> Path:
        """Its file."""
        return HERE / f"{self.module}.py"


@dataclass(frozen=True)
class Limits:
    """What a peer may take before it is stopped."""

    seconds: float
    memory_mb: int


@dataclass(frozen=True)
class Run:
    """What one run took."""

    seconds: float
    """From the start of the process until its output was there."""
    start_seconds: float
    """Of them before it began to read: interpreter, imports, JVM."""
    cpu_seconds: float
    start_cpu_seconds: float
    peak_memory_mb: int
    rows: pa.Table


class PeerError(KappaError):
    """A peer could not be installed, or did not come to its end."""


def install(peer: Peer) -> tuple[str, dict[str, str]]:
    """The Python of the peer's own environment, and what else it is told in its environment variables."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        raise PeerError(
            "there is no uv", expected="uv on the PATH, or its path in $UV", next="make bench-peers"
        )
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    }
    _output([uv, "sync", "--quiet", "--script", str(peer.script)], environment)
    python = _output([uv, "python", "find", "--script", str(peer.script)], environment).strip()
    lock = HERE / f"{peer.module}.lock"
    if lock.exists():
        needed, cache = jars.read_lock(file=lock), jars.cache_folder()
        jars.ensure(needed, cache, lambda _: None)
        environment["PEER_JARS"] = ",".join(str(cache / "jars" / jar.file) for jar in needed)
    return python, environment


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=900, check=False
    )
    if done.returncode:
        raise PeerError(f"{' '.join(command[1:3])} failed", found=done.stderr.strip()[-600:])
    return done.stdout


def run(
    peer: Peer,
    python: str,
    environment: Mapping[str, str],
    settings: Settings,
    ends: Mapping[int, int],
    limits: Limits,
) -> Run:
    """Start it, measure it with all that it starts, read what it wrote. PeerError when it fails or takes too much."""
    with tempfile.TemporaryDirectory(prefix="kappa-peer-", dir=settings.home) as scratch:
        folder = Path(scratch)
        output = folder / "output"
        bootstrap = revealed(settings.kafka)["bootstrap.servers"]
        command = [
            python,
            "-m",
            f"bench.peers.{peer.module}",
            "--bootstrap",
            bootstrap,
            "--registry",
            settings.registry.url,
            "--ends",
            json.dumps(ends),
            "--output",
            str(output),
            "--folder",
            scratch,
            "--processes",
            str(peer.processes),
        ]
        with (folder / "said").open("wb") as said:
            began = time.time()
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            try:
                start_cpu, cpu, peak = _watch(process, folder / "ready", limits)
            finally:
                _stop(process)
        if process.returncode or not output.exists():
            words = (folder / "said").read_text(errors="replace").strip()
            raise PeerError(f"it ended with {process.returncode}", found=words[-2000:])
        ready = folder / "ready"
        return Run(
            output.stat().st_mtime - began,
            ready.stat().st_mtime - began if ready.exists() else 0.0,
            cpu,
            start_cpu,
            peak >> 20,
            read_output(output),
        )


def _watch(
    process: subprocess.Popen[bytes], ready: Path, limits: Limits
) -> tuple[float, float, int]:
    """CPU seconds until it was ready and until its end, and its peak memory."""
    meter, deadline, at_start = Meter((process.pid,)), time.monotonic() + limits.seconds, 0.0
    while True:
        # A process that has ended keeps its times until it is waited for.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        cpu = meter.sample()
        if not at_start and ready.exists():
            at_start = cpu
        if ended:
            return at_start, cpu, meter.peak
        if meter.peak >> 20 > limits.memory_mb:
            raise PeerError(f"stopped when it had taken {meter.peak >> 20:,} MB")
        if time.monotonic() > deadline:
            raise PeerError(f"stopped after {limits.seconds:.0f} s")
        time.sleep(SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started, if anything is left of them."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def drop_topics(settings: Settings) -> None:
    """Topics that a peer made for its state."""
    client = log.admin(settings)
    names = [name for name in client.list_topics(timeout=log.TIMEOUT).topics if TOPICS in name]
    for future in client.delete_topics(names).values() if names else ():
        future.result(log.TIMEOUT)


def read_output(output: Path) -> pa.Table:
    """What a peer wrote: a Parquet file, or the name of its Iceberg table's metadata."""
    if output.read_bytes()[:4] == b"PAR1":
        return pq.read_table(output)
    return StaticTable.from_metadata(json.loads(output.read_text())["iceberg"]).scan().to_arrow()
