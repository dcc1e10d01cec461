"""What happens to services of docker-compose.yml under load loses nothing, repeats nothing and needs no hands."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.docker.deployment import Orders, run, wait_until

SECONDS = 10
"""So long a fault lasts that is not over at once."""
TRIES = 60


@contextmanager
def frozen_at_work(orders: Orders) -> Iterator[str]:
    """A controller that was frozen while it had the product's lease."""
    deployment = orders.deployment
    for number in range(TRIES):
        container = deployment.container("controller", 1 + number % 2)
        time.sleep(random.uniform(0, 0.5))
        with deployment.paused(container):
            if deployment.holder("orders") == container:
                yield container
                return
    pytest.fail(f"frozen {TRIES} times, and never with the lease")


@pytest.mark.parametrize(
    "service", ["kafka", "registry", "postgres", "s3", "taskmanager", "jobmanager"]
)
def test_a_service_that_is_killed_comes_back_and_nothing_is_lost(
    orders: Orders, service: str
) -> None:
    with orders.load():
        container = orders.deployment.container(service)
        orders.deployment.kill(container)
        orders.deployment.wait_healthy(container)
    orders.check()


def test_controllers_are_killed_one_after_the_other(orders: Orders) -> None:
    with orders.load():
        for number in (1, 2):
            container = orders.deployment.container("controller", number)
            orders.deployment.kill(container)
            orders.deployment.wait_healthy(container)
    orders.check()


def test_the_other_controller_publishes_while_one_is_frozen_at_work(orders: Orders) -> None:
    with orders.load():
        with frozen_at_work(orders) as frozen:
            wait_until(
                lambda: orders.deployment.holder("orders") not in ("", frozen),
                90,
                "the other one took over",
            )
            seen = orders.covered()
            wait_until(lambda: orders.covered() > seen, 90, "the other one publishes")
        time.sleep(SECONDS)  # it goes on where it was, with a lease that is another's by now
    orders.check()


def test_a_controller_without_its_database_leaves_the_work_to_the_other(orders: Orders) -> None:
    container = orders.deployment.container("controller")
    with orders.load():
        with orders.deployment.cut_off(container, "database"):
            seen = orders.covered()
            wait_until(lambda: orders.covered() > seen, 90, "the other one publishes")
            time.sleep(SECONDS)
        orders.deployment.wait_healthy(container)
    orders.check()


@pytest.mark.parametrize("service", ["postgres", "s3"])
def test_a_store_is_restarted_in_publications(orders: Orders, service: str) -> None:
    """Three times, at moments that differ: a publication is made every two seconds."""
    container = orders.deployment.container(service)
    with orders.load():
        for _ in range(3):
            time.sleep(random.uniform(0, 4))
            run("docker", "restart", container)
            orders.deployment.wait_healthy(container)
    orders.check()
