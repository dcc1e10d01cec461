"""State of every earlier version is upgraded, and the controller goes on: jobs resume, readers switch and roll back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError

from jobs.bindings import Bindings, read_bindings
from jobs.processes import RELEASE_ENVIRONMENT
from jobs.product.folder import load_release
from replay.controller import intents
from replay.controller.loop import LEASE_SECONDS, Loop
from replay.controller.platform import Platform
from replay.core.model import Attempt, ProductState, Release, State
from replay.flink.submit import submit_command
from replay.iceberg import branch_checkpoints, lake, table_changes
from replay.releases import launch
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.control_platform import FakePlatform
from tests.unit.control_steps import deploy, published_to_the_end, turn, want
from tests.unit.lake_tables import make_product
from tests.unit.state_fixture import (
    BINDINGS,
    BOUND,
    FIXTURES,
    HOME,
    JOBS,
    TABLES,
    VERSIONS,
    departures,
    newest,
    number,
    platform_of,
    store_of,
    unpacked,
    versions,
    without_broker,
    write,
)

ALL = sorted(FIXTURES.glob("state-*"), key=number)


@pytest.fixture(params=ALL, ids=lambda f: f.name)
def fixture(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@dataclass
class Scene:
    """The controller of now over the state of then."""

    loop: Loop
    platform: FakePlatform

    def turn(self, times: int = 60) -> ProductState:
        return turn(self.loop, self.platform, self.platform.clock, times)

    def grow(self) -> None:
        self.platform.ends_now = {
            t: {p: end + 50 for p, end in of.items()} for t, of in self.platform.ends_now.items()
        }


@pytest.fixture
def scene(fixture: Path, tmp_path: Path) -> Iterator[Scene]:
    """Some time after the controller of before was killed: its lease has expired."""
    platform = platform_of(fixture)
    platform.clock.time += LEASE_SECONDS
    with closing(Store(store_of(fixture, tmp_path / "store.db"), platform.clock)) as store:
        yield Scene(Loop(platform, store, platform.clock, holder="of now"), platform)


def states(state: ProductState) -> dict[str, State]:
    return {a.name: a.state for a in state.attempts}


def test_all_that_was_known_is_known(scene: Scene) -> None:
    state = scene.loop.store.load("flights")
    assert [r.name for r in state.releases] == ["r1", "r2", "r3", "r4"]
    assert states(state) == {
        "r1-a1": State.standby,
        "r2-a1": State.failed,
        "r3-a1": State.active,
        "r3-a2": State.retired,
        "r4-a1": state.attempt("r4-a1").state,
    }
    shown, replaying = state.attempt("r3-a1"), state.attempt("r4-a1")
    assert (len(shown.job_ids), shown.confirmed, bool(shown.restore)) == (2, True, True)
    assert [c.sample for c in shown.checks] == [({"origin": "JFK"},)]
    assert (replaying.cluster, replaying.auto_switch) == ("flights-r4-a1", False)
    assert state.unfinished and state.unfinished.attempt_name == "r3-a1"
    assert state.published and state.published.covered["flights"]
    assert {"switch", "lost", "resumed", "verified"} <= {
        e.reason for e in scene.loop.store.events("flights")
    }


def test_jobs_go_on_under_the_new_controller(scene: Scene) -> None:
    before = scene.loop.store.load("flights")
    scene.grow()
    state = scene.turn()
    assert published_to_the_end(scene.platform, state)
    assert state.published and state.published.attempt_name == "r3-a1"
    assert [a.job_ids for a in state.attempts] == [a.job_ids for a in before.attempts]
    assert state.attempt("r4-a1").caught_up_at is not None


def test_jobs_that_were_lost_meanwhile_are_resumed_from_their_checkpoints(scene: Scene) -> None:
    before = scene.loop.store.load("flights")
    scene.platform.lose_jobs()
    scene.platform.lose_cluster("flights-r4-a1")
    scene.grow()
    state = scene.turn(120)
    assert published_to_the_end(scene.platform, state)
    for name in ("r1-a1", "r3-a1", "r4-a1"):
        old, new = before.attempt(name), state.attempt(name)
        assert new.job_ids[:-1] == old.job_ids, f"{name} is resumed once"
        assert new.restore and old.job_id in new.restore
        assert scene.platform.jobs[new.job_id].status == "RUNNING"


def test_readers_are_switched_and_taken_back(scene: Scene) -> None:
    scene.grow()
    scene.turn()
    want(scene.loop, lambda s: intents.rollback(s, None))
    state = scene.turn()
    assert (states(state)["r1-a1"], states(state)["r3-a1"]) == (State.active, State.standby)
    assert published_to_the_end(scene.platform, state)
    want(scene.loop, lambda s: intents.switch(s, "r4"))
    scene.grow()
    state = scene.turn()
    assert states(state)["r4-a1"] is State.active
    assert published_to_the_end(scene.platform, state)
    want(scene.loop, lambda s: intents.rollback(s, "r1"))
    state = scene.turn()
    assert (states(state)["r1-a1"], states(state)["r4-a1"]) == (State.active, State.standby)
    assert state.published and state.published.attempt_name == "r1-a1"


def test_what_is_wanted_no_more_goes_and_a_new_release_comes(scene: Scene) -> None:
    scene.turn()
    want(scene.loop, lambda s: intents.abort(s, "me"))
    want(scene.loop, lambda s: intents.retire(s, "r1"))
    scene.turn()
    deploy(scene.loop, scene.platform, release=5)
    state = scene.turn(120)
    assert {
        n: s for n, s in states(state).items() if n in ("r1-a1", "r3-a1", "r4-a1", "r5-a1")
    } == {
        "r1-a1": State.retired,
        "r3-a1": State.standby,
        "r4-a1": State.aborted,
        "r5-a1": State.active,
    }
    assert {"r1-a1", "r4-a1"} <= set(scene.platform.cleaned)
    assert published_to_the_end(scene.platform, state)


# The archive and the bindings

READS = """
import sys, json
from pathlib import Path
from jobs.bindings import Bindings, sink_options, source_options
from MODULE import load_release
product = load_release(Path(sys.argv[1]))
bound = Bindings.model_validate_json(Path(sys.argv[2]).read_text())
print(json.dumps({"code": sys.modules["jobs.bindings"].__file__, "branch": bound.branch,
                  "tables": sorted(product.outputs),
                  "sources": {n: source_options(n, product, bound)["topic"] for n in product.settings.topics},
                  "sinks": {n: sink_options(n, bound)["branch"] for n in product.outputs}}))
"""
"""What jobs/pipeline.py does first, with the code of the release."""


def entry(fixture: Path) -> str:
    """What ran the release then."""
    return "jobs/pipeline.py" if fixture.name == "state-0" else "jobs/run.py"


def reads(fixture: Path) -> str:
    """The same, from the module that read a product then."""
    former = fixture.name in ("state-0", "state-1")
    return READS.replace("MODULE", "jobs.product" if former else "jobs.product.folder")


def test_an_archived_job_starts_again(fixture: Path, settings: Settings) -> None:
    folder, fingerprint = unpacked(fixture, settings.releases)
    attempt = Attempt(
        product="orders",
        release=1,
        number=1,
        created=0.0,
        parallelism=2,
        job_ids=JOBS,
        restore="file:///ck/chk-2",
    )
    release = Release("orders", 1, fingerprint, 0.0, {})
    platform = Platform(settings)
    product = platform.product(attempt, ProductState("orders", (release,), (attempt,)))
    assert product.outputs and product == load_release(folder)
    with without_broker():
        platform.prepare(product, attempt, release, lambda: None)
    submission = platform._submission(attempt, release)
    command = submit_command(settings, submission)
    assert command[command.index("-py") + 1] == str(folder / entry(fixture))
    assert command[command.index("-s") + 1] == "file:///ck/chk-2"
    read = subprocess.run(
        [sys.executable, "-c", reads(fixture), str(folder), str(submission.bindings)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **RELEASE_ENVIRONMENT, "PYTHONPATH": str(folder)},
    )
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == {
        "code": str(folder / "jobs" / "bindings.py"),
        "branch": "r1-a1",
        "tables": sorted(product.outputs),
        "sources": {"orders": "orders"},
        "sinks": dict.fromkeys(product.outputs, "r1-a1"),
    }


def test_a_job_of_now_reads_bindings_of_then(fixture: Path) -> None:
    found = read_bindings(fixture / BINDINGS)
    assert (found.branch, found.checkpoint_dir) == (
        BOUND,
        f"file://{HOME}/checkpoints/orders/{BOUND}",
    )
    assert found.model_copy(update={"version": 0, "reader": 0}) == Bindings.model_validate_json(
        (newest() / BINDINGS).read_text()
    ).model_copy(update={"version": 0, "reader": 0})


# Tables and their branches


def test_branches_of_then_are_read_and_written_on(
    fixture: Path, settings: Settings, catalog: Catalog
) -> None:
    product = make_product(settings.home)
    for name, metadata in json.loads((fixture / TABLES).read_text()).items():
        file = settings.home / "lake" / f"{name}.metadata.json"
        file.write_text(json.dumps(metadata).replace(str(HOME), str(settings.home)))
        try:
            catalog.create_namespace("shop")
        except NamespaceAlreadyExistsError:
            pass
        catalog.register_table(("shop", name), str(file))
    assert [c.id for c in branch_checkpoints.publishable(catalog, product, "r2-a1", JOBS, 2)] == [
        3,
        2,
        1,
    ]
    assert [
        c.id for c in branch_checkpoints.publishable(catalog, product, "r1-a1", ("c" * 32,))
    ] == [2, 1]
    shown = lake.published(catalog, product)
    assert (shown.job_id, shown.checkpoint) == (JOBS[-1], 3)
    table_changes.ensure(catalog, product, resume=True)
    lake.create_branch(catalog, product, "r2-a1", resume=True)
    assert [c.id for c in branch_checkpoints.publishable(catalog, product, "r2-a1", JOBS, 2)] == [
        3,
        2,
        1,
    ]
    lake.create_branch(catalog, product, "r3-a1")
    for name in product.outputs:
        refs = catalog.load_table(("shop", name)).metadata.refs
        assert refs["r3-a1"].snapshot_id == refs[lake.GENESIS].snapshot_id


# What is written now


def test_what_this_program_writes_is_of_the_newest_fixture(tmp_path: Path) -> None:
    write(tmp_path / "state")
    found = departures(tmp_path / "state", newest())
    assert not found, (
        f"the state has departed from {newest().name}: {'; '.join(found)}. If an older program must not read it, raise "
        "the version of that part (store: with a migration), and the part must read the form before; then keep the new "
        "form: .venv/bin/python tests/unit/state_fixture.py"
    )
    assert versions() == json.loads((newest() / VERSIONS).read_text()), (
        "a version was raised: keep its form with .venv/bin/python tests/unit/state_fixture.py"
    )


def test_a_departure_is_seen(tmp_path: Path) -> None:
    """The check above fails when it should: a column, a field, and another type of one."""
    copytree(newest(), tmp_path / "state")
    bound = json.loads((tmp_path / "state" / BINDINGS).read_text())
    del bound["group"]
    (tmp_path / "state" / BINDINGS).write_text(json.dumps({**bound, "parallelism": "2", "more": 1}))
    store = tmp_path / "state" / "store.sql"
    store.write_text(
        store.read_text()
        .replace("COMMIT;", "ALTER TABLE leases ADD COLUMN since FLOAT; COMMIT;")
        .replace('"near": ', '"nearly": ')
    )
    assert departures(tmp_path / "state", newest()) == [
        "bindings.group is gone",
        "bindings.more is new",
        "bindings.parallelism is str, was int",
        "store attempts.body.near is gone",
        "store attempts.body.nearly is new",
        "store leases.since is new",
    ]


def test_every_fixture_says_how_its_job_is_started(fixture: Path, settings: Settings) -> None:
    folder, _ = unpacked(fixture, settings.releases)
    found = launch.of_release(folder)
    said = json.loads((fixture / VERSIONS).read_text())
    assert found.entry == entry(fixture)
    assert found.bindings == said.get("bindings", 1)
