"""The services of docker-compose.yml under test: their containers, what is done to them, and a product on them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import fastavro
import httpx
from confluent_kafka import Producer

T = TypeVar("T")
# A lease that is given back expires in 1970. The holder's name begins with its host's.
HOLDER = """
import sys
import sqlalchemy as sa
from replay.database import with_driver
from replay.secret import reveal
from replay.settings import load_settings
asked = sa.text("SELECT holder FROM leases WHERE product = :product AND expires > 1000000000")
with sa.create_engine(with_driver(reveal(load_settings().store))).connect() as c:
    print(c.execute(asked, {"product": sys.argv[1]}).scalar() or "")
"""
BEGIN, MINUTE = 1_704_067_200_000, 60_000  # 2024-01-01T00:00:00Z


def wait_until(condition: Callable[[], T], timeout: float, message: str | Callable[[], str]) -> T:
    """The condition's first true value; AssertionError with the message when there is none within so many seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout:g} s: {message() if callable(message) else message}"
            )
        time.sleep(1)
    return value


def run(*command: str, check: bool = True, timeout: float = 600) -> str:
    """A command's output; AssertionError with all that it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    said = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert not check or done.returncode == 0, said
    return done.stdout


def make_readable(folder: Path) -> None:
    """For the users that containers have."""
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)


@dataclass(frozen=True)
class Deployment:
    """A project of Compose that is up."""

    project: str
    files: tuple[str, ...]

    @property
    def client(self) -> str:
        """The container of the command line."""
        return f"{self.project}-client"

    def holder(self, product: str) -> str:
        """The controller's container that has the product's lease at this moment; empty: none."""
        host = run("docker", "exec", self.client, "python", "-c", HOLDER, product).partition(":")[0]
        ids = {
            self.inspect(self.container("controller", number))["Id"][:12]: number
            for number in (1, 2)
        }
        return self.container("controller", ids[host]) if host in ids else ""

    def compose(self, *arguments: str) -> str:
        files = [part for file in self.files for part in ("-f", file)]
        return run("docker", "compose", *files, "-p", self.project, *arguments)

    def kappa(self, *arguments: str, check: bool = True) -> str:
        """As `docker compose run --rm kappa …`, without a container for each command."""
        return run("docker", "exec", self.client, "kappa", *arguments, check=check)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kappa(*arguments, "--output", "json"))

    def container(self, service: str, number: int = 1) -> str:
        return f"{self.project}-{service}-{number}"

    def inspect(self, container: str) -> Any:
        return json.loads(run("docker", "inspect", container))[0]

    def kill(self, container: str) -> None:
        """kill -9 of all its processes. Not `docker kill`: Docker takes that for a wish, and starts it no more."""
        before = self.inspect(container)
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        wait_until(
            lambda: self.inspect(container)["RestartCount"] > before["RestartCount"]
            and self.inspect(container)["State"]["Running"],
            60,
            f"{container} is started again",
        )

    def wait_healthy(self, container: str, timeout: float = 180) -> None:
        wait_until(
            lambda: self.inspect(container)["State"]["Health"]["Status"] == "healthy",
            timeout,
            f"{container} is healthy",
        )

    @contextmanager
    def paused(self, container: str) -> Iterator[None]:
        """Frozen, as by a long garbage collection or a suspended machine; then thawed."""
        run("docker", "pause", container)
        try:
            yield
        finally:
            run("docker", "unpause", container)

    @contextmanager
    def unplugged(self, container: str) -> Iterator[None]:
        """All its links are down, as if somebody had drawn its cables; addresses, names and connections stay."""
        links = self._links(container)
        try:
            for link in links:
                run("ip", "link", "set", link, "down")
            yield
        finally:
            for link in links:
                run("ip", "link", "set", link, "up")

    def _links(self, container: str) -> list[str]:
        """The host's ends of its virtual cables."""
        asked = "cat /sys/class/net/eth*/iflink"
        numbers = run("docker", "exec", container, "sh", "-c", asked).split()
        found = json.loads(run("ip", "-json", "link"))
        return [link["ifname"] for link in found if str(link["ifindex"]) in numbers]

    @contextmanager
    def cut_off(self, container: str, network: str) -> Iterator[None]:
        """Without a network, then with it again, under the names that it had."""
        network = f"{self.project}_{network}"
        aliases = self.inspect(container)["NetworkSettings"]["Networks"][network]["Aliases"]
        run("docker", "network", "disconnect", network, container)
        try:
            yield
        finally:
            run(
                "docker",
                "network",
                "connect",
                *(part for name in aliases for part in ("--alias", name)),
                network,
                container,
            )


@dataclass
class Orders:
    """The product `orders`, or a copy of it, and its topic, which is written from the host."""

    deployment: Deployment
    kafka_port: int
    registry_port: int
    name: str = "orders"
    partitions: int = 1
    written: int = 0
    """Orders that the broker has acknowledged, each a minute after the one before."""
    _lost: list[str] = field(default_factory=list)

    def create(self) -> None:
        schema, partitions = f"sql/{self.name}/schemas/{self.name}.avsc", str(self.partitions)
        self.deployment.kappa(
            "topic", "create", self.name, "--schema", schema, "--partitions", partitions
        )
        answer = (
            httpx.get(
                f"http://127.0.0.1:{self.registry_port}/apis/ccompat/v7/subjects/{self.name}-value/versions/1",
                trust_env=False,
            )
            .raise_for_status()
            .json()
        )
        self._id, self._schema = answer["id"], fastavro.parse_schema(json.loads(answer["schema"]))
        self._producer = Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{self.kafka_port}",
                "enable.idempotence": True,
                "message.timeout.ms": 300_000,
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )

    def append(self, count: int) -> None:
        for _ in range(count):
            self._append(self.written)
            self.written += 1
        assert self._producer.flush(240) == 0
        assert not self._lost

    def _append(self, number: int) -> None:
        at = BEGIN + number * MINUTE
        body = io.BytesIO()
        fastavro.schemaless_writer(
            body,
            self._schema,
            {
                "order_id": f"o{number}",
                "ordered_at": at,
                "shop": "abc"[number % 3],
                "cents": number,
            },
        )
        self._producer.produce(
            self.name,
            b"\0" + self._id.to_bytes(4, "big") + body.getvalue(),
            partition=number % self.partitions,
            timestamp=at,
            on_delivery=self._delivered,
        )

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self._lost.append(str(error))

    @contextmanager
    def load(self) -> Iterator[None]:
        """Fifty orders a second meanwhile."""
        ended, trouble = threading.Event(), list[BaseException]()

        def write() -> None:
            try:
                while not ended.wait(0.2):
                    self.append(10)
            except BaseException as e:  # noqa: BLE001  told to the test
                trouble.append(e)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert not trouble, trouble

    def covered(self) -> int:
        """Offsets that the published tables cover; 0 while that cannot be said."""
        said = self.deployment.kappa("status", self.name, "--output", "json", check=False)
        try:
            return int(json.loads(said)[0]["readers"]["covered"])
        except (ValueError, LookupError, TypeError):
            return 0

    def wait_published(self, timeout: float = 300) -> None:
        """Until readers see all that was written."""
        wait_until(
            lambda: self.covered() >= self.written,
            timeout,
            lambda: f"{self.written} orders are published, not {self.covered()}:\n"
            + self.deployment.kappa("history", self.name, check=False)[-3000:],
        )

    def check(self) -> int:
        """Every offset is accounted for, and every order is a row once; returns their count."""
        self.wait_published()
        total = self.deployment.json("audit", self.name)["totals"]
        assert total["unaccounted"] == 0, total
        (rows,) = self.deployment.json(
            "query",
            self.name,
            "SELECT count(*) AS n, count(DISTINCT order_id) AS ids, "
            "sum(cents)::BIGINT AS cents FROM order_rows",
        )
        n = rows["n"]
        # of an hour, which is how late an order may be, as the slowest partition has it
        assert n >= self.written - 60 - self.partitions, (n, self.written)
        assert rows == {"n": n, "ids": n, "cents": n * (n - 1) // 2}
        return int(n)
