"""Somebody meddles, answers get lost, processes die and freeze: it is named, readers notice nothing, nothing is left.

The tests share two small products and follow each other. What takes a minute by itself goes on during the next ones.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from replay import offsets
from replay.core.model import Attempt, Publication, State
from replay.iceberg import lake
from replay.kafka import log
from tests.integration.disturbed_product import Shop, Watch, holder, is_locked, publishes, token
from tests.integration.running import RunningStack, wait_until
from tests.integration.test_orders import stop_jobs, supervisorctl

pytestmark = pytest.mark.timeout(600)

TEN_YEARS = str(10 * 365 * 24 * 3_600_000)
"""Of milliseconds: the broker has nothing to delete yet."""
CANCELLED = "its job became CANCELED, and not by this controller"


@pytest.fixture(scope="module")
def shops(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, Shop]]:
    """Two products whose logs are there; one test deploys them. The first one's live job is on the session cluster."""
    folder = tmp_path_factory.mktemp("products")
    tea, coffee = Shop(stack, folder, "tea"), Shop(stack, folder, "coffee")
    try:
        yield tea, coffee
    finally:
        for shop in (tea, coffee):
            stop_jobs(stack, shop.name)
            shop.close()


@pytest.fixture
def tea(shops: tuple[Shop, Shop]) -> Shop:
    return shops[0]


@pytest.fixture
def coffee(shops: tuple[Shop, Shop]) -> Shop:
    return shops[1]


@contextmanager
def running(stack: RunningStack, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is killed at the end of a block, unless it has ended."""
    process = stack.kappa.start(*command)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def begin_candidate(shop: Shop) -> None:
    """Another attempt of the live release, left to the controller."""
    shop.stack.kappa(
        "deploy", shop.name, "--from", str(shop.folder), "--again", "--no-auto-switch", "--no-wait"
    )


def test_two_products_replay_at_once_though_one_deploy_is_killed_while_it_submits(
    tea: Shop, coffee: Shop
) -> None:
    stack = tea.stack
    supervisorctl(stack, "stop", "controller")  # the command itself is to submit
    try:
        with running(stack, "deploy", "tea", "--from", str(tea.folder)):
            tea.wait_submission("r1-a1")
        other = stack.kappa.start("deploy", "coffee", "--from", str(coffee.folder))
        wait_until(
            lambda: coffee.state.attempts,
            180,
            "the second one is on its way before anybody follows the first",
        )
    finally:
        supervisorctl(stack, "start", "controller")
    said, _ = other.communicate(timeout=300)
    assert other.returncode == 0, said
    tea.wait_state("r1-a1", State.active)

    first, second = tea.attempt("r1-a1"), coffee.attempt("r1-a1")
    assert (first.cluster, second.cluster) == ("", "coffee-r1-a1")
    assert first.caught_up_at and second.created < first.caught_up_at
    for shop in (tea, coffee):
        shop.began_afresh("r1-a1")
        shop.everything_is_right()


def test_the_client_of_a_candidate_is_killed_before_its_submission_arrives(tea: Shop) -> None:
    begin_candidate(tea)
    os.killpg(tea.wait_submission("r1-a2"), signal.SIGKILL)
    wait_until(lambda: not tea.submission("r1-a2"), 10, "the client is dead")
    assert tea.jobs("r1-a2") == {}


def test_main_moved_by_somebody_is_named_and_waited_for(tea: Shop) -> None:
    (genesis,) = (
        t.metadata.refs[lake.GENESIS].snapshot_id
        for t in tea.tables()
        if t.name()[-1] == "order_rows"
    )

    def move(snapshot: int) -> None:
        tea.change_table(
            "order_rows", lambda t: t.manage_snapshots().set_current_snapshot(snapshot).commit()
        )

    move(genesis)
    (told,) = wait_until(
        lambda: [p["blocked"] for p in tea.stack.kappa.json("status", "tea") if p["blocked"]],
        60,
        "status tells of it",
    )
    shown = tea.published
    assert told["message"] == "somebody else moved main of tea: publishing stops here"
    assert f"order_rows={shown.after['order_rows']}" in told["expected"]
    assert f"order_rows={genesis}" in told["found"]
    tea.wait_checkpoint("r1-a1")
    assert tea.published == shown

    move(shown.after["order_rows"])
    tea.more()
    tea.everything_is_right()
    assert tea.status().blocked is None
    candidate = tea.state.candidate
    assert candidate and candidate.name == "r1-a2"


def test_a_live_job_that_somebody_cancels_goes_on_from_its_checkpoint(tea: Shop) -> None:
    before = tea.attempt("r1-a1")
    tea.cancel("r1-a1")
    wait_until(
        lambda: len(tea.attempt("r1-a1").job_ids) > 1 and tea.attempt("r1-a1").confirmed,
        180,
        lambda: f"the job goes on: {tea.told()}",
    )
    after = tea.attempt("r1-a1")
    assert after.restore and after.restore.split("/")[-2] == before.job_id
    assert int(after.restore.rpartition("chk-")[2]) >= before.checkpoint
    tea.more()
    tea.everything_is_right()
    assert tea.history("r1-a1")["lost"] == CANCELLED
    assert [
        e["reason"]
        for e in tea.stack.kappa.json("history", "tea")["events"]
        if e["attempt"] == "r1-a1"
    ][-2:] == ["lost", "resumed"]


def test_a_cluster_lost_with_its_checkpoints_is_replayed_while_readers_keep_what_they_saw(
    coffee: Shop,
) -> None:
    lost = coffee.attempt("r1-a1")
    with Watch(coffee) as readers:
        coffee.stack.kill(f"jobmanager-{lost.cluster}")
        # a task may be writing there still
        shutil.rmtree(coffee.checkpoints("r1-a1"), ignore_errors=True)
        assert not list(coffee.checkpoints("r1-a1").glob("*/*/_metadata"))
        coffee.more()
        shown = coffee.published
        wait_until(
            lambda: len(coffee.state.attempts) > 1,
            180,
            lambda: f"a new attempt begins: {coffee.told()}",
        )
        coffee.wait_state("r1-a2", State.active)
        coffee.everything_is_right()
    assert readers.only_went_on() == [lost.job_id, coffee.attempt("r1-a2").job_id]
    assert offsets.covers(coffee.published.covered, shown.covered)
    assert coffee.attempt("r1-a1").error.startswith("the cluster lost its job after checkpoint ")
    assert coffee.attempt("r1-a1").error.endswith(", and of its checkpoints none was kept")
    coffee.began_afresh("r1-a2")
    coffee.is_gone("r1-a1")


def test_the_submission_that_never_arrived_was_repeated_under_the_same_id(tea: Shop) -> None:
    candidate = tea.wait_state("r1-a2", State.audited)
    assert len(candidate.job_ids) == 1
    tea.began_afresh("r1-a2")


def test_deleted_offsets_of_a_consumer_group_are_named_and_take_nothing_back(tea: Shop) -> None:
    for name in ("r1-a1", "r1-a2"):
        attempt = tea.attempt(name)

        def named(attempt: Attempt = attempt) -> bool:
            # the job commits them again at its next checkpoint
            log.delete_group(tea.stack.settings, attempt.group)
            return "disturbed" in tea.history(attempt.name)

        wait_until(named, 60, f"the history of {name} tells of it")
        assert tea.history(name)["disturbed"] == (
            f"somebody changed the committed offsets of group kappa-tea-{name}: deleted those of tea-0. Nothing "
            "depends on them, and the job commits its own at its next checkpoint"
        )
        tea.wait_checkpoint(name)
        assert offsets.covers(
            tea.attempt(name).positions[-1].offsets, attempt.positions[-1].offsets
        )
    tea.more()
    tea.everything_is_right()


def test_a_log_that_would_forget_is_kept_from_readers_until_it_is_put_right(tea: Shop) -> None:
    tea.configure_topic("retention.ms", TEN_YEARS)
    waits = wait_until(
        lambda: told if "be whole" in (told := tea.status().waits) else "", 60, "status tells of it"
    )
    assert f"topic tea: expected retention.ms=-1, found retention.ms={TEN_YEARS}" in waits
    assert "--entity-name tea --add-config retention.ms=-1" in waits

    tea.configure_topic("retention.ms", "-1")
    wait_until(
        lambda: "its checks passed; readers see it after: kappa switch tea" in tea.status().waits,
        60,
        lambda: tea.status().waits,
    )
    tea.everything_is_right()


def test_a_candidate_whose_branch_somebody_drops_is_over(tea: Shop) -> None:
    tea.change_table(
        "hourly_orders", lambda t: t.manage_snapshots().remove_branch("r1-a2").commit()
    )
    tea.wait_state("r1-a2", State.failed)
    (ended,) = tea.status().ended
    # Either is seen first: a table without the branch, or a checkpoint that is in the other tables alone.
    assert ended.attempt == "r1-a2" and ended.error.startswith(
        (
            "branch r1-a2 is not what its job wrote: ",
            "somebody else dropped or moved branch r1-a2: ",
        )
    )
    tea.is_gone("r1-a2")
    tea.more()
    tea.everything_is_right()


def test_a_client_killed_after_its_submission_arrived_makes_no_second_job(tea: Shop) -> None:
    begin_candidate(tea)
    client = tea.wait_submission("r1-a3")
    tea.wait_accepted("r1-a3")
    os.killpg(client, signal.SIGKILL)  # fails when there was nothing left to kill
    candidate = tea.wait_state("r1-a3", State.audited)
    assert len(candidate.job_ids) == 1
    tea.began_afresh("r1-a3")


def test_a_candidate_whose_job_somebody_cancels_is_over(tea: Shop) -> None:
    tea.cancel("r1-a3")
    tea.wait_state("r1-a3", State.failed)
    assert tea.status().ended[-1].error == CANCELLED
    tea.is_gone("r1-a3")
    tea.everything_is_right()


def test_a_controller_killed_before_it_heard_of_its_submission_makes_no_second_job(
    tea: Shop,
) -> None:
    begin_candidate(tea)
    tea.wait_submission("r1-a4")
    controller = tea.stack.pid("controller")
    os.kill(controller, signal.SIGSTOP)
    try:
        tea.wait_accepted("r1-a4")
    finally:
        os.kill(controller, signal.SIGKILL)
    candidate = tea.wait_state("r1-a4", State.audited)
    assert len(candidate.job_ids) == 1
    tea.began_afresh("r1-a4")


def test_a_candidate_that_a_person_aborts_leaves_nothing(tea: Shop) -> None:
    live = tea.attempt("r1-a1")
    tea.stack.kappa("abort", "tea")
    aborted = tea.attempt("r1-a4")
    assert (aborted.state, aborted.cleaned) == (State.aborted, True)
    assert aborted.error.startswith("aborted by ")
    tea.is_gone("r1-a4")
    tea.more()
    tea.everything_is_right()
    assert tea.attempt("r1-a1").job_ids == live.job_ids


@dataclass(frozen=True)
class Greed:
    """A candidate that exhausts its heap, and what it must not touch."""

    live: Attempt
    processes: tuple[int, int]


@pytest.fixture(scope="module")
def greed(shops: tuple[Shop, Shop], tmp_path_factory: pytest.TempPathFactory) -> Greed:
    """Its rows are of a gigabyte each; from now on its TaskManager dies again and again."""
    tea, _ = shops
    folder = tmp_path_factory.mktemp("greedy") / "tea"
    shutil.copytree(tea.folder, folder)
    rows = folder / "order_rows.sql"
    before, columns, after = rows.read_text().rpartition("SELECT order_id, ordered_at, shop")
    rows.write_text(
        before
        + columns.replace("shop", "REPEAT(REPEAT(REPEAT(shop, 120), 1000), 10000) AS shop")
        + after
    )
    settings = folder / "product.yaml"
    settings.write_text(settings.read_text() + "max_restarts: 1\n")
    untouched = Greed(
        tea.attempt("r1-a1"), (tea.stack.pid("jobmanager"), tea.stack.pid("taskmanager"))
    )
    tea.stack.kappa("deploy", "tea", "--from", str(folder), "--no-wait")
    wait_until(
        lambda: tea.attempt("r2-a1").confirmed, 240, lambda: f"the greedy job runs: {tea.told()}"
    )
    return untouched


def freeze_while_it_publishes(shop: Shop, pid: int) -> Publication:
    """Stop a controller that has written down what it is about to publish, and has not said that it did.

    Never within a transaction of SQLite, which would keep everybody else out until it thaws.
    """
    deadline, asked = time.monotonic() + 300, 0.0
    while time.monotonic() < deadline:
        if time.monotonic() - asked > 3:
            shop.more()  # of what brings no row one checkpoint in a minute is published
            asked = time.monotonic()
        wait_at_work(shop, pid)
        if not publishes(shop):
            continue
        os.kill(pid, signal.SIGSTOP)
        if holder(shop) == pid and not is_locked(shop) and (intent := shop.state.unfinished):
            return intent
        os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"{pid} was not stopped in the middle of a publication: {shop.told()}")


def wait_at_work(shop: Shop, pid: int) -> None:
    """Return at once when a controller has the product's lease: it keeps it for a moment only."""
    deadline = time.monotonic() + 120
    while holder(shop) != pid:
        assert time.monotonic() < deadline, f"{pid} does nothing: {shop.told()}"


def test_a_second_controller_takes_over_from_a_frozen_one_which_changes_nothing_when_it_thaws(
    tea: Shop, greed: Greed
) -> None:
    frozen = tea.stack.pid("controller")
    with running(tea.stack, "controller") as second, Watch(tea) as readers:
        assert second.stdout and any("controller started" in line for line in second.stdout)
        intent = freeze_while_it_publishes(tea, frozen)
        try:
            fence = token(tea)
            wait_until(
                lambda: tea.published.checkpoint > intent.checkpoint + 1,
                120,
                lambda: f"publishing goes on: {tea.told()}",
            )
            assert token(tea) > fence
        finally:
            os.kill(frozen, signal.SIGCONT)
        wait_at_work(tea, frozen)
        tea.more()
        tea.everything_is_right()
        second.terminate()
        assert second.wait(60) == 0
    assert readers.only_went_on() == [greed.live.job_id]


def test_a_candidate_that_exhausts_its_heap_costs_the_live_release_nothing(
    tea: Shop, greed: Greed
) -> None:
    failed = tea.wait_state("r2-a1", State.failed)
    assert re.fullmatch(
        r"its job restarted \d times without a checkpoint in between: .+ \(taskmanager-tea-r2-a1: "
        r"Terminating due to java.lang.OutOfMemoryError: Java heap space\)",
        failed.error,
    ), failed.error

    live = tea.attempt("r1-a1")
    assert (live.job_ids, live.restarts) == (greed.live.job_ids, greed.live.restarts)
    job = tea.platform.job(live)
    assert job and (job.status, job.restarts) == ("RUNNING", 0)
    assert live.checkpoint > greed.live.checkpoint + 5
    assert (tea.stack.pid("jobmanager"), tea.stack.pid("taskmanager")) == greed.processes
    tea.is_gone("r2-a1")
    tea.everything_is_right()


def test_a_candidate_that_does_not_catch_up_in_time_is_aborted(tea: Shop) -> None:
    done = tea.stack.kappa(
        "deploy", "tea", "--from", str(tea.folder), "--again", "--timeout", "1", check=False
    )
    assert done.returncode == 1
    assert "it had not caught up 1 s after its deploy" in done.stderr
    tea.wait_state("r1-a5", State.aborted)
    tea.is_gone("r1-a5")


def test_in_the_end_only_the_live_ones_are_there(tea: Shop, coffee: Shop) -> None:
    clusters = tea.platform.clusters
    assert clusters and {n for n in clusters.names() if n.startswith(("tea-", "coffee-"))} == {
        "coffee-r1-a2"
    }
    for shop, live in ((tea, "r1-a1"), (coffee, "r1-a2")):
        assert [a.name for a in shop.state.live] == [live]
        shop.everything_is_right()
        for table in shop.tables():
            assert set(table.metadata.refs) == {lake.MAIN, lake.GENESIS, live}
