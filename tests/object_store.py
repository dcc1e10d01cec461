"""An object store on loopback: SeaweedFS, one program. It has a key for everything and one that only reads `lake`."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pyarrow.fs import FileSelector, FileType, S3FileSystem

KEY, SECRET = "kappa-key", "kappa-secret"
READER_KEY, READER_SECRET = "reader-key", "reader-secret"
BUCKET, TABLES = "lake", "tables"
"""Of files, and of the REST catalog."""
_IDENTITIES = [
    {
        "name": "kappa",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin"],
        "account": {"id": "kappa", "displayName": "kappa"},
    },
    {
        "name": "reader",
        "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
        "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"],
    },
]
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.https",
)
_SECURE = "s3.port.https"


@dataclass
class ObjectStore:
    """A store with the bucket `lake`; it keeps its ports and what it holds when it is started again."""

    folder: Path
    ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    )
    certificate: Path | None = None
    """A PEM file of it and its key: clients are told the address with TLS."""
    identities: Sequence[Mapping[str, Any]] = ()
    """Further ones, in the form of its configuration."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        if self.certificate:
            return f"https://127.0.0.1:{self.ports[_SECURE]}"
        return self._plain

    @property
    def _plain(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    @property
    def properties(self) -> dict[str, str]:
        """Settings' `storage`."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": KEY,
            "s3.secret-access-key": SECRET,
            "s3.region": "us-east-1",
        }

    @property
    def reading(self) -> dict[str, str]:
        """Keys that only read."""
        return {"s3.access-key-id": READER_KEY, "s3.secret-access-key": READER_SECRET}

    @property
    def catalog(self) -> dict[str, str]:
        """Settings' `catalog.pyiceberg` of its REST catalog, once `make_catalog` was called."""
        uri = f"http://127.0.0.1:{self.ports['s3.port.iceberg']}"
        return {
            "type": "rest",
            "uri": uri,
            "warehouse": f"s3://{TABLES}",
            "credential": f"{KEY}:{SECRET}",
            "oauth2-server-uri": f"{uri}/v1/oauth/tokens",
        }

    def make_catalog(self) -> None:
        """Make the bucket of the REST catalog."""
        self._weed(
            "shell",
            f"-master=127.0.0.1:{self.ports['master.port']}.{self.ports['master.port.grpc']}",
            f"-filer=127.0.0.1:{self.ports['filer.port']}.{self.ports['filer.port.grpc']}",
            said=f"s3tables.bucket -create -name {TABLES} -account kappa\n",
        )

    def _weed(self, *arguments: str, said: str) -> None:
        done = subprocess.run(
            [_program(), *arguments],
            input=said,
            text=True,
            capture_output=True,
            cwd=self.folder,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 and "ARN" in done.stdout, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        identities = self.folder / "s3.json"
        identities.write_text(json.dumps({"identities": [*_IDENTITIES, *self.identities]}))
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _program(),
                    "server",
                    f"-dir={data}",
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-filer",
                    "-s3",
                    f"-s3.config={identities}",
                    "-s3.port.lance=0",
                    "-volume.max=100",
                    "-master.volumeSizeLimitMB=100",
                    *(
                        f"-{name}={port}"
                        for name, port in self.ports.items()
                        if name != _SECURE or self.certificate
                    ),
                    *(
                        (f"-s3.cert.file={self.certificate}", f"-s3.key.file={self.certificate}")
                        if self.certificate
                        else ()
                    ),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _wait(self, seconds: float = 60) -> None:
        until, last = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            try:
                if (
                    httpx.get(f"{self._plain}/healthz", timeout=1, trust_env=False).status_code
                    == 200
                ):
                    # Healthy before it can write: the volume server joins a moment later.
                    files = self.filesystem(allow_bucket_creation=True)
                    files.create_dir(BUCKET)
                    with files.open_output_stream(f"{BUCKET}/.ready") as stream:
                        stream.write(b"yes")
                    files.delete_file(f"{BUCKET}/.ready")
                    return
            except (httpx.HTTPError, OSError) as e:
                last = str(e)
            assert self._process is None or self._process.poll() is None, (
                self.folder / "weed.log"
            ).read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"the object store is not up after {seconds:g} s: {last}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; it can be started again."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def filesystem(self, **options: Any) -> S3FileSystem:
        return S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=self._plain,
            region="us-east-1",
            **options,
        )

    def objects(self, folder: str) -> set[str]:
        """URIs of the objects below a folder of the bucket."""
        found = self.filesystem().get_file_info(
            FileSelector(f"{BUCKET}/{folder}", recursive=True, allow_not_found=True)
        )
        return {f"s3://{f.path}" for f in found if f.type == FileType.File}


def _program() -> str:
    found = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert found, "make install brings weed"
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now, below those that the kernel gives to others."""
    found: list[int] = []
    candidate = 20_000 + hash((time.monotonic_ns(), sys.executable)) % 8_000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    return found
