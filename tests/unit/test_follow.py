"""What `kappa deploy` shows while it follows an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from replay.cli.deploy import Follow
from replay.cli.progress_display import PlainDisplay
from replay.controller import deploy as deploying
from replay.controller.loop import Loop
from replay.controller.platform import Platform
from replay.core.model import Attempt, Check, ProductState, State, Tables
from replay.errors import RetryableError
from replay.offsets import Offsets
from replay.store.store import Store
from tests.unit.control_platform import Clock, FakePlatform
from tests.unit.control_steps import begin

HOUR = 3_600_000


class Followed(FakePlatform):
    """The simulated platform with what a display asks of it besides."""

    def read_positions(self, attempt: Attempt) -> Offsets:
        return {}


class Deploy:
    """A deploy that is followed; each line that is shown has the time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.platform = Followed(self.clock)
        self.store = Store("sqlite://")
        self.loop = Loop(self.platform, self.store, self.clock, holder="me")
        self.lines: list[tuple[float, str]] = []

    def follow(self, **terms: Any) -> Attempt:
        """Until it is published, with a checkpoint every five seconds."""
        target = {**self.platform.ends_now, **self.platform.reference}
        attempt = begin(self.loop, self.platform, **terms)
        begun = self.clock.time
        display = PlainDisplay(
            lambda text: self.lines.append((self.clock.time - begun, text.strip())), self.clock
        )

        def sleep(_: float) -> None:
            self.clock.time += 1
            if self.clock.time % 5 == 0:
                self.platform.complete_checkpoint()

        follow = Follow(self.loop, cast(Platform, self.platform), target, display, sleep)
        return follow.until(attempt, lambda a, s: deploying.finished(a, s, target))

    def said(self, text: str) -> float:
        """When a line with this text was shown first."""
        return next(at for at, line in self.lines if text in line)


@pytest.fixture
def deploy() -> Iterator[Deploy]:
    made = Deploy()
    yield made
    made.store.close()


def test_submitting_and_checking_are_shown(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    check = deploy.platform.checks

    def slow(tables: Tables, shown: Tables | None) -> tuple[Check, ...]:
        for n in range(1, 5):
            deploy.clock.time += 4
            cast(Any, deploy.platform).tell(f"check {n} of 4, checks/{n}.sql")
        return check(tables, shown)

    monkeypatch.setattr(deploy.platform, "checks", slow)
    assert deploy.follow(own_cluster=True).state is State.active
    doing = [line for _, line in deploy.lines if line.startswith("r1-a1 ")]
    assert doing == [
        "r1-a1 starting a Flink cluster of its own",
        "r1-a1 preparing tables and branch, then flink run",
        "r1-a1 flink run is running",
        "r1-a1 checking",
        "r1-a1 checking: check 2 of 4, checks/2.sql",
        "r1-a1 checking: check 4 of 4, checks/4.sql",
    ]
    assert deploy.said("r1-a1 submitting") == 0


def test_a_quiet_dimension_is_told_of_within_ten_seconds_with_its_clock_and_what_to_do(
    deploy: Deploy,
) -> None:
    deploy.platform.clocks_now = {"flights": {0: 10**12, 1: 10**12 - 7 * HOUR}}
    deploy.follow()
    assert (
        deploy.said(
            "results wait for flights: the clock of its partition 1 is at 2001-09-08 18:46:40Z, 7 h behind "
            "flights; append a record to it"
        )
        <= 10
    )


def test_what_a_job_fails_of_is_told_while_it_is_restarted(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = deploy.platform.job

    def failing(attempt: Attempt) -> Any:
        found = look(attempt)
        if found and 5 <= deploy.clock.time - 1_000 <= 9:
            return type(found)(
                found.id, "RESTARTING", restarts=1, error="java.io.IOException: disk full"
            )
        return found

    monkeypatch.setattr(deploy.platform, "job", failing)
    deploy.follow()
    assert 5 <= deploy.said("java.io.IOException: disk full") <= 6


def test_a_store_that_goes_away_for_a_while_is_told_of_and_waited_for(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = deploy.store.load

    def away(product: str) -> ProductState:
        if 5 <= deploy.clock.time - 1_000 <= 9:
            raise RetryableError(
                "the controller's store does not answer", expected="an answer", found="none"
            )
        return load(product)

    monkeypatch.setattr(deploy.store, "load", away)
    assert deploy.follow().state is State.active
    assert 5 <= deploy.said("the controller's store does not answer") <= 6
