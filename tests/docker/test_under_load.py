"""What happens to services of docker-compose.yml under load loses nothing, repeats nothing and needs no hands."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.docker.deployment import Orders, run, wait_until

SECONDS = 10
"""So long a fault lasts that is not over at once."""
TRIES = 60


@contextmanager
def frozen_at_work(orders: Orders) -> Iterator[str]:
    """A controller that was frozen while it had the product's lease, which is given back after each pass.

    Both are frozen while it is asked who has it: on a busy machine that takes longer than a lease, which the other one
    would have by then.
    """
    deployment = orders.deployment
    controllers = [deployment.container("controller", number) for number in (1, 2)]
    for _ in range(TRIES):
        time.sleep(random.uniform(0, 0.5))
        with ExitStack() as both:
            frozen = {container: both.enter_context(ExitStack()) for container in controllers}
            for container, until_thawed in frozen.items():
                until_thawed.enter_context(deployment.paused(container))
            holder = deployment.holder("orders")
            for container in controllers:
                if container != holder:
                    frozen[container].close()
            if holder:
                yield holder
                return
    pytest.fail(f"frozen {TRIES} times, and never with the lease")


LONG = pytest.mark.soak
"""One of a kind is tried by continuous integration, all of them by `make test-docker`."""


@pytest.mark.parametrize(
    "service",
    [
        pytest.param("kafka", marks=LONG),
        pytest.param("registry", marks=LONG),
        pytest.param("postgres", marks=LONG),
        pytest.param("s3", marks=LONG),
        "taskmanager",
        pytest.param("jobmanager", marks=LONG),
    ],
)
def test_a_service_that_is_killed_comes_back_and_nothing_is_lost(
    orders: Orders, service: str
) -> None:
    with orders.load():
        container = orders.deployment.container(service)
        orders.deployment.kill(container)
        orders.deployment.wait_healthy(container)
    orders.check()


@LONG
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


@LONG
def test_a_controller_without_its_database_leaves_the_work_to_the_other(orders: Orders) -> None:
    container = orders.deployment.container("controller")
    with orders.load():
        with orders.deployment.cut_off(container, "database"):
            seen = orders.covered()
            wait_until(lambda: orders.covered() > seen, 90, "the other one publishes")
            time.sleep(SECONDS)
        orders.deployment.wait_healthy(container)
    orders.check()


def test_all_are_without_the_database_and_then_with_it_again(orders: Orders) -> None:
    container = orders.deployment.container("postgres")
    with orders.load():
        with orders.deployment.cut_off(container, "database"):
            assert orders.covered() == 0, "kappa status reaches a database that is cut off"
            time.sleep(SECONDS)
        seen = orders.written
        wait_until(lambda: orders.covered() > seen, 120, "what came since then is published")
    orders.check()


@LONG
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
