"""A home is copied, goes on, is lost with all that came after the copy, and is restored from it."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.supervise import orphans
from replay.store.store import Store
from tests.integration.running import Kappa, RunningStack, free_port_base, wait_until
from tests.integration.test_topics import TOPIC, avsc, lines, order, produce

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]
COUNT = "SELECT count(*) AS n, sum(amount) AS amount FROM shop_rows"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    """A stack of its own, which comes to harm."""
    home = tmp_path / "home"
    kappa = Kappa(home)
    try:
        kappa("up", "--port-base", str(free_port_base(33_000)))
        yield RunningStack(home)
    finally:
        kappa("down", check=False)


def append(stack: RunningStack, first: int, count: int, day: int) -> None:
    """Orders of a day, and a heartbeat that carries the log's clock on to the next."""
    orders = [
        {**order(n), "ordered_at": f"2024-06-{day:02}T10:{n % 60:02}:00Z"}
        for n in range(first, first + count)
    ]
    done = produce(stack, lines(*orders), "--key", "order_id", "--timestamp", "ordered_at")
    assert done.returncode == 0, done.stderr
    heartbeat = {"value": None, "appended": f"2024-06-{day + 1:02}T00:00:00.000Z"}
    done = produce(stack, lines(heartbeat), "--envelope")
    assert done.returncode == 0, done.stderr


def wait_rows(stack: RunningStack, count: int) -> None:
    """Until readers see so many orders, each once."""
    expected = [{"n": count, "amount": f"{sum(range(count)) + count / 2:.2f}"}]

    def seen() -> bool:
        found: list[dict[str, Any]] = stack.kappa.json("query", "shop", COUNT)
        return found == expected

    wait_until(seen, 180, f"readers see {expected}")


def shown(stack: RunningStack) -> str:
    """The attempt that readers see."""
    store = Store(stack.settings.store)
    try:
        published = store.load("shop").published
    finally:
        store.close()
    assert published is not None
    return published.attempt_name


def test_what_was_copied_together_goes_on_together(stack: RunningStack, tmp_path: Path) -> None:
    kappa, folder, copy = stack.kappa, tmp_path / "sql" / "shop", tmp_path / "copy.tar"
    kappa("topic", "create", TOPIC, "--partitions", "1", "--schema", avsc(tmp_path))
    append(stack, 0, 60, day=3)
    kappa("new", "shop", "--topic", TOPIC, "--to", str(folder))
    kappa("deploy", "shop", "--from", str(folder), "--timeout", "300")
    wait_rows(stack, 60)
    before = shown(stack)

    kappa("down")
    with tarfile.open(copy, "w") as archive:
        archive.add(stack.home, "home")
    kappa("up")
    append(stack, 60, 40, day=4)
    wait_rows(stack, 100)

    kappa("down")
    assert orphans(stack.layout) == {}
    shutil.rmtree(stack.home)
    with tarfile.open(copy) as archive:
        archive.extractall(tmp_path, filter="fully_trusted")
    kappa("up")
    assert shown(stack) == before
    wait_rows(stack, 60)
    append(stack, 60, 20, day=4)
    wait_rows(stack, 80)
    kappa("audit", "shop")
    kappa("verify", "shop", timeout=600)
