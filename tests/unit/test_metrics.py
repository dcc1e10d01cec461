"""What /metrics says of the simulated platform, as Prometheus would read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pyiceberg.catalog import Catalog

from replay.controller import intents
from replay.controller.loop import LEASE_SECONDS, Loop
from replay.controller.platform import Platform
from replay.core.model import Check, State
from replay.core.observed import SubmissionStatus
from replay.errors import RefusedError, RetryableError
from replay.iceberg import lake, table_changes
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.control_platform import NO_ANSWER, Clock, FakePlatform
from tests.unit.control_steps import begin, want
from tests.unit.lake_tables import make_product, publish, sink
from tests.unit.watched import Watched


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def loop(platform: FakePlatform, store: Store, clock: Clock) -> Loop:
    return Loop(platform, store, clock, holder="me")


@pytest.fixture
def watched(loop: Loop, platform: FakePlatform, clock: Clock) -> Watched:
    return Watched(loop, platform, clock)


OF = {"product": "flights"}
R1 = {**OF, "attempt": "r1-a1"}


def test_an_attempt_that_replays_has_a_lag_and_nothing_is_published(watched: Watched) -> None:
    watched.platform.speed = 10
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    assert watched.labelled("kappa_attempt_info") == [
        {**R1, "release": "r1", "role": "replaying", "job_id": "job-1-0"}
    ]
    assert watched.value("kappa_attempt_job_running", **R1) == 1
    position = watched.loop.store.load("flights").attempts[0].positions[-1]
    left = 190 - sum(position.offsets["flights"].values())
    assert watched.value("kappa_attempt_lag_records", **R1) == left > 0
    assert watched.value("kappa_attempt_lag_seconds", **R1) == watched.clock.time - 1_003, (
        "at least since the first"
    )
    assert watched.value("kappa_published_checkpoint_age_seconds", **OF) is None
    assert watched.value("kappa_publications_total", **OF, kind="publish") == 0


def test_publications_are_counted_and_timed_and_what_readers_see_is_told(watched: Watched) -> None:
    watched.platform.arriving = 3
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    moves = len(watched.platform.published)
    assert watched.value("kappa_publications_total", **OF, kind="switch") == 1
    assert watched.value("kappa_publications_total", **OF, kind="publish") == moves - 1 > 3
    assert watched.value("kappa_publication_duration_seconds_count", **OF) == moves
    assert watched.value("kappa_publication_delay_seconds_count", **OF) == moves - 1
    assert watched.value("kappa_publication_delay_seconds_sum", **OF) == 0, (
        "in the round that saw the checkpoint"
    )
    shown = watched.loop.store.load("flights").published
    assert shown
    assert watched.value("kappa_published_checkpoint", **OF) == shown.checkpoint
    assert watched.labelled("kappa_published_info") == [{**R1, "release": "r1"}]
    assert watched.value("kappa_published_lag_records", **OF) == 0
    watched.clock.time += 100
    assert watched.value("kappa_published_checkpoint_age_seconds", **OF) == 100, (
        "it grows though the loop stands still"
    )
    assert watched.value("kappa_product_observed_age_seconds", **OF) == 100


def test_rejects_are_told_where_the_tables_metadata_say_how_many(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    assert watched.value("kappa_published_rejects_records", **OF) is None
    watched.platform.rejected = 3
    watched.rounds(1)
    assert watched.value("kappa_published_rejects_records", **OF) == 3


def test_the_platform_knows_of_rejects_once_it_was_asked_what_readers_see(
    settings: Settings, catalog: Catalog, tmp_path: Path
) -> None:
    product = make_product(tmp_path)
    table_changes.ensure(catalog, product)
    with closing(Platform(settings)) as platform:
        assert platform.rejects(product) is None
        platform.main(product)
        assert platform.rejects(product) == 0
        lake.create_branch(catalog, product, "r1-a1")
        rejected = [{"reason": "late"}, {"reason": "late"}]
        snapshots = {
            t: sink(catalog, t, "r1-a1", 1, rejected if t == "rejects" else ())
            for t in product.outputs
        }
        publish(catalog, product, snapshots)
        assert platform.main(product) == (snapshots, False)
        assert platform.rejects(product) == 2


def test_a_rollback_is_a_publication_of_its_kind(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    begin(watched.loop, watched.platform, release=2)
    watched.rounds(30)
    want(watched.loop, lambda s: intents.rollback(s, None))
    watched.rounds(3)
    assert watched.value("kappa_publications_total", **OF, kind="rollback") == 1
    assert {labels["role"] for labels in watched.labelled("kappa_attempt_info")} == {
        "active",
        "standby",
    }


def test_series_of_an_attempt_end_with_it(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    begin(watched.loop, watched.platform, release=2)
    watched.rounds(3)
    assert {r["attempt"] for r in watched.labelled("kappa_attempt_lag_records")} == {
        "r1-a1",
        "r2-a1",
    }
    want(watched.loop, lambda s: intents.abort(s, "me"))
    watched.rounds(6)
    assert {
        labels["attempt"] for _, pairs in watched.samples() if "attempt" in (labels := dict(pairs))
    } == {"r1-a1"}


def test_nothing_is_left_of_a_product_that_is_gone(
    watched: Watched, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = watched.samples().keys()
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    monkeypatch.setattr(watched.platform, "job", lambda attempt: 1 / 0)
    watched.rounds(1)
    assert [labels for _, labels in watched.samples() if dict(labels).get("product")]
    monkeypatch.setattr(store, "products", list)
    watched.rounds(1)
    assert [labels for _, labels in watched.samples() if dict(labels).get("product")] == []
    assert watched.samples().keys() == before


def test_restarts_are_those_of_the_current_job(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    watched.platform.jobs["job-1-0"].restarts = 3
    watched.rounds(1)
    assert watched.value("kappa_attempt_restarts_total", **R1) == 3


def test_what_goes_wrong_is_counted_by_class_and_dated(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    assert watched.value("kappa_product_failing", **OF) == 0

    def raising(error: Exception) -> Callable[..., NoReturn]:
        def fail(*_: object) -> NoReturn:
            raise error

        return fail

    with monkeypatch.context() as broken:
        broken.setattr(
            watched.platform, "main", raising(RetryableError("the catalog does not answer"))
        )
        watched.rounds(2)
        broken.setattr(watched.platform, "main", raising(ZeroDivisionError()))
        watched.rounds(1)
        assert watched.value("kappa_product_failing", **OF) == 1
        failed_at = watched.clock.time
    watched.rounds(1)
    assert watched.value("kappa_product_failing", **OF) == 0
    assert watched.value("kappa_pass_errors_total", **OF, error="RetryableError") == 2
    assert watched.value("kappa_pass_errors_total", **OF, error="unexpected") == 1
    assert watched.value("kappa_pass_errors_total", **OF, error="ConflictError") == 0
    assert (
        watched.value("kappa_last_error_timestamp_seconds", **OF, error="unexpected") == failed_at
    )
    assert len(watched.labelled("kappa_last_error_timestamp_seconds")) == 1


def test_a_cluster_that_does_not_answer_is_no_attempt_without_lag(watched: Watched) -> None:
    """Where the log ends was not asked; what was true before says nothing of now."""
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    watched.platform.down = True
    watched.rounds(1)
    assert watched.value("kappa_attempt_job_running", **R1) == 0
    assert watched.value("kappa_product_waiting", **OF) == 1
    assert watched.value("kappa_attempt_lag_seconds", **R1) is None
    assert watched.value("kappa_published_lag_seconds", **OF) is None
    assert watched.value("kappa_attempt_checkpoint_age_seconds", **R1) == 1


# Refusals


def refused(watched: Watched) -> dict[str, float]:
    return {
        dict(labels)["why"]: value
        for (name, labels), value in watched.samples().items()
        if name == "kappa_refusals_total" and value
    }


def test_a_switch_that_checks_forbid_is_one_refusal(watched: Watched) -> None:
    watched.platform.complaints = [Check("checks/x.sql", True, 2, "2 offending rows")]
    begin(watched.loop, watched.platform)
    watched.rounds(40)
    assert watched.loop.store.load("flights").attempts[0].state is State.failed
    assert refused(watched) == {"checks": 1}


def test_a_job_that_flink_does_not_take_is_one_refusal(watched: Watched) -> None:
    watched.platform.submit_fails = [SubmissionStatus(refused="ValidationException: no column x")]
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    assert refused(watched) == {"submission": 1}


def test_a_lost_answer_is_no_refusal(watched: Watched) -> None:
    watched.platform.submit_fails = [NO_ANSWER]
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    assert refused(watched) == {}


def test_an_attempt_for_which_there_is_no_room_is_one_refusal(watched: Watched) -> None:
    watched.platform.no_room = True
    begin(watched.loop, watched.platform, own_cluster=True)
    watched.rounds(9)
    assert watched.loop.store.load("flights").attempts[0].state is State.failed
    assert refused(watched) == {"start": 1}


def test_publishing_that_stops_is_one_refusal_however_long_it_stands(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(30)
    right = dict(watched.platform.main_now)
    for times in (1, 2):
        watched.platform.main_now = dict.fromkeys(right, 1)
        watched.rounds(6)
        assert watched.value("kappa_product_blocked", **OF) == 1
        watched.platform.main_now = dict(watched.platform.published[-1])
        watched.rounds(6)
        assert watched.value("kappa_product_blocked", **OF) == 0
        assert refused(watched) == {"blocked": times}


def test_a_step_that_is_refused_is_counted_each_time(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.platform.arriving = 3
    begin(watched.loop, watched.platform)
    watched.rounds(30)

    def refuse(*_: object) -> NoReturn:
        raise RefusedError("the catalog keeps no branches")

    monkeypatch.setattr(watched.platform, "publish", refuse)
    watched.rounds(3)
    assert refused(watched) == {"error": 1}
    assert watched.value("kappa_pass_errors_total", **OF, error="RefusedError") == 1


# Leases and rounds


def test_the_lease_is_held_while_the_controller_acts_and_missed_while_another_does(
    watched: Watched, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(watched.loop, watched.platform)
    held: list[float | None] = []
    submit = watched.platform.submit

    def look(*args: Any) -> None:
        held.append(watched.value("kappa_lease_held", **OF))
        submit(*args)

    monkeypatch.setattr(watched.platform, "submit", look)
    watched.rounds(1)
    assert held == [1]
    assert watched.value("kappa_lease_held", **OF) == 0
    assert store.acquire("flights", "another", LEASE_SECONDS)
    watched.rounds(3)
    assert (watched.value("kappa_lease_misses_total", **OF) or 0) >= 1


def test_rounds_passes_and_the_store_are_told(
    watched: Watched, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(2)
    assert watched.value("kappa_store_up") == 1
    assert watched.value("kappa_last_round_timestamp_seconds") == watched.clock.time
    count = watched.value("kappa_pass_duration_seconds_count", **OF)
    assert count and count >= 2

    def fail() -> NoReturn:
        raise RetryableError("the controller's store does not answer")

    monkeypatch.setattr(store, "products", fail)
    watched.rounds(1)
    assert watched.value("kappa_store_up") == 0
    assert watched.value("kappa_pass_duration_seconds_count", **OF) == count, (
        "its products are not forgotten"
    )


def test_names_and_units_are_as_prometheus_has_them(watched: Watched) -> None:
    begin(watched.loop, watched.platform)
    watched.rounds(9)
    families = list(
        text_string_to_metric_families(generate_latest(watched.metrics.registry).decode())
    )
    ours = [f for f in families if f.name.startswith("kappa_")]
    assert len(ours) > 20
    for family in ours:
        assert family.documentation.endswith("."), family.name
        if family.type == "counter":
            assert all(s.name.endswith("_total") for s in family.samples), family.name
        if any(word in family.name for word in ("age", "lag", "duration", "delay", "timestamp")):
            assert family.name.endswith(("_seconds", "_records")), family.name
        assert not any(s.name.endswith("_created") for s in family.samples)
