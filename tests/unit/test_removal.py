"""The end of a product: nothing is left of it, wherever the removal was interrupted, and nothing else goes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pyiceberg.catalog import Catalog
from typer.testing import CliRunner

from jobs.product.folder import Product
from replay.cli import remove as run_remove
from replay.cli.main import app
from replay.controller import cleaning, removal
from replay.controller.loop import Loop
from replay.controller.platform import Platform
from replay.controller.removal import Remains, erase, own_tables, remains
from replay.core.model import Attempt, ProductState, Publication, Release, State
from replay.errors import ConfigError, RetryableError
from replay.flink.clusters import Clusters
from replay.flink.submit import Client
from replay.iceberg import lake, table_changes
from replay.kafka import log
from replay.releases.release import bindings_file
from replay.settings import Settings
from replay.store.store import Store
from tests.unit.lake_tables import (
    JOB,
    compact,
    make_product,
    make_settings,
    publish,
    sink,
    sink_all,
)

ACTIVE = Attempt("shop", 1, 1, 10.0, 2, (JOB,), state=State.retired)
STATE = ProductState("shop", (Release("shop", 1, "f1", 10.0, {}),), (ACTIVE,))


class DiedError(BaseException):
    """The command was killed here."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return lake.open_catalog(settings)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    deleted: list[str] = []
    monkeypatch.setattr(log, "delete_group", lambda _, group: deleted.append(group))
    return deleted


@pytest.fixture
def product(settings: Settings, catalog: Catalog, tmp_path: Path, groups: list[str]) -> Product:
    """Published from r1-a1, with everything that a product leaves, beside another one that is called much the same."""
    made = make_product(tmp_path / "product")
    table_changes.ensure(catalog, made)
    lake.create_branch(catalog, made, "r1-a1")
    shown = {
        **sink_all(catalog, made, "r1-a1", 1),
        "orders": sink(catalog, "orders", "r1-a1", 1, [{"id": 1}]),
    }
    publish(catalog, made, shown)
    sink(catalog, "orders", "r1-a1", 2, [{"id": 2}])
    for name in ("shop", "shop_b"):
        for file in (
            f"checkpoints/{name}/r1-a1/{JOB}/chk-7/_metadata",
            f"releases/{name}/f1/release.json",
            f"checked/{name}-{'a' * 64}.json",
        ):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("{}")
        bindings = bindings_file(settings, name, "r1-a1")
        bindings.parent.mkdir(parents=True)
        bindings.write_text("{}")
    catalog.create_namespace("shop_b")
    return made


def left(tmp_path: Path) -> set[str]:
    """Files of a product, but for the catalog's database."""
    return {
        str(f.relative_to(tmp_path))
        for f in tmp_path.rglob("*")
        if f.is_file() and "catalog.db" not in f.name and f.parts[len(tmp_path.parts)] != "product"
    }


OF_THE_OTHER = {
    f"checkpoints/shop_b/r1-a1/{JOB}/chk-7/_metadata",
    "releases/shop_b/f1/release.json",
    f"checked/shop_b-{'a' * 64}.json",
    "attempts/shop_b/r1-a1.json",
}


def test_nothing_is_left_and_another_product_keeps_all(
    settings: Settings, catalog: Catalog, product: Product, tmp_path: Path, groups: list[str]
) -> None:
    assert set(remains(settings, catalog, STATE).tables) == set(product.outputs)
    erase(settings, catalog, None, STATE, keep_tables=False, fence=lambda: None)
    assert left(tmp_path) == OF_THE_OTHER
    assert lake.pointers(catalog, "shop") == {}
    assert ("shop",) not in catalog.list_namespaces()
    assert groups == ["kappa-shop-r1-a1"]
    assert remains(settings, catalog, ProductState("shop")).nothing


@pytest.mark.parametrize("at", range(1, 6))
def test_killed_anywhere_the_same_again_leaves_nothing(
    settings: Settings, catalog: Catalog, product: Product, tmp_path: Path, at: int
) -> None:
    passed = iter(range(1, 100))

    def die() -> None:
        if next(passed) == at:
            raise DiedError

    with pytest.raises(DiedError):
        erase(settings, catalog, None, STATE, keep_tables=False, fence=die)
    erase(settings, catalog, None, STATE, keep_tables=False, fence=lambda: None)
    assert left(tmp_path) == OF_THE_OTHER
    assert lake.pointers(catalog, "shop") == {}


def test_killed_between_a_tables_files_and_its_row(
    settings: Settings,
    catalog: Catalog,
    product: Product,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(_: object) -> None:
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr(catalog, "drop_table", die)
        with pytest.raises(DiedError):
            erase(settings, catalog, None, STATE, keep_tables=False, fence=lambda: None)
    erase(settings, lake.open_catalog(settings), None, STATE, keep_tables=False, fence=lambda: None)
    assert left(tmp_path) == OF_THE_OTHER


def test_tables_that_are_kept_hold_what_readers_saw_and_no_more(
    settings: Settings, catalog: Catalog, product: Product, tmp_path: Path
) -> None:
    """As the command does it: the last branch goes as that of any attempt."""
    found = cleaning.garbage(catalog, "shop", product.outputs, "r1-a1", (JOB,))
    cleaning.remove(catalog, "shop", product.outputs, "r1-a1", found)
    erase(settings, catalog, None, STATE, keep_tables=True, fence=lambda: None)
    table = catalog.load_table("shop.orders")
    assert table.scan().to_arrow()["id"].to_pylist() == [1]
    assert set(table.metadata.refs) == {"main", "genesis"}
    assert {f.split("/")[0] for f in left(tmp_path) - OF_THE_OTHER} == {"lake"}


def test_a_table_that_somebody_made_in_the_namespace_stays(
    settings: Settings, catalog: Catalog, product: Product
) -> None:
    schema = catalog.load_table("shop.totals").schema()
    catalog.create_table("shop.mine", schema)
    assert "mine" not in own_tables(catalog, "shop")
    erase(settings, catalog, None, STATE, keep_tables=False, fence=lambda: None)
    assert set(lake.pointers(catalog, "shop")) == {"mine"}


def test_clusters_of_attempts_that_were_not_cleaned_end(
    settings: Settings, catalog: Catalog, product: Product
) -> None:
    stopped: list[str] = []

    clusters = cast(Clusters, SimpleNamespace(stop=stopped.append))
    attempts = (
        replace(ACTIVE, cluster="shop-r1-a1"),
        replace(ACTIVE, number=2, cluster="shop-r1-a2", cleaned=True),
    )
    erase(
        settings,
        catalog,
        clusters,
        replace(STATE, attempts=attempts),
        keep_tables=False,
        fence=lambda: None,
    )
    assert stopped == ["shop-r1-a1"]


def test_every_live_attempt_ends_and_none_twice() -> None:
    live = replace(ACTIVE, state=State.active, recheck=True)
    candidate = replace(ACTIVE, release=2, state=State.replaying)
    ending = replace(ACTIVE, release=3, state=State.standby, stop=State.retired, error="me")
    state = ProductState("shop", (), (live, candidate, ending, replace(ACTIVE, release=4)))
    assert [(a.name, a.stop, a.recheck) for a in removal.ending(state, "me")] == [
        ("r1-a1", State.retired, False),
        ("r2-a1", State.aborted, False),
    ]


def test_it_is_stopped_once_only_the_branch_that_readers_see_is_left() -> None:
    shown = Publication(1, "shop", 1, 1, 1, {}, {}, {}, 1.0, finished=2.0)
    other = replace(ACTIVE, number=2)
    state = replace(STATE, attempts=(ACTIVE, other), publications=(shown,))
    assert not removal.is_stopped(state, keep_tables=True)
    assert removal.is_stopped(state, keep_tables=False), (
        "tables that are dropped take their branches with them"
    )
    assert removal.is_stopped(state.with_attempts(replace(other, cleaned=True)), keep_tables=True)
    assert removal.last_branch(state) == ACTIVE
    assert removal.last_branch(state.with_attempts(replace(ACTIVE, cleaned=True))) is None


# The command


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(run_remove, "load_settings", lambda: settings)
    return settings


def run(*arguments: str, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["remove", *arguments], input=typed)
    return done.exit_code, str(done.exception) if isinstance(
        done.exception, Exception
    ) else done.output


def test_its_name_is_asked_for(home: Settings, product: Product, tmp_path: Path) -> None:
    before = left(tmp_path)
    for arguments, typed in (
        (("shop",), "shopp\n"),
        (("shop", "--yes", "shop_b"), ""),
        (("shop",), "\n"),
    ):
        code, said = run(*arguments, typed=typed)
        assert (code, "shop is not removed" in said) == (1, True)
    assert before <= left(tmp_path)


def test_a_dry_run_only_says_what_goes(home: Settings, product: Product, tmp_path: Path) -> None:
    before = left(tmp_path)
    code, said = run("shop", "--dry-run")
    assert code == 0
    assert "tables dropped with their rows: orders, rejects, totals" in " ".join(said.split())
    assert before <= left(tmp_path)


@pytest.mark.parametrize("typed", [False, True])
def test_a_product_whose_deploy_came_to_nothing_is_removed(
    home: Settings, product: Product, tmp_path: Path, typed: bool
) -> None:
    """The store knows nothing of it."""
    code, said = run("shop", typed="shop\n") if typed else run("shop", "--yes", "shop")
    assert code == 0, said
    assert {f for f in left(tmp_path) if not f.startswith("store.db")} == OF_THE_OTHER


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../releases", "shop/..", "shop/", "Shop", "shop\n", "*", "s" * 200]
)
def test_what_is_no_name_of_a_product_deletes_nothing(
    home: Settings, catalog: Catalog, product: Product, tmp_path: Path, name: str
) -> None:
    before = left(tmp_path)
    assert run("--yes", name, "--", name)[0] == 1
    with pytest.raises(ConfigError, match="is not the name of a product"):
        erase(home, catalog, None, ProductState(name), keep_tables=False, fence=lambda: None)
    assert before <= left(tmp_path)


def test_a_product_that_is_not_there(home: Settings) -> None:
    code, said = run("nobody", "--yes", "nobody")
    assert (code, said.splitlines()[0]) == (1, "there is no product 'nobody'")


def test_a_group_with_members_is_waited_for(
    home: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = iter([True, True, False])

    def delete_group(_: Settings, group: str) -> None:
        if next(busy, False):
            raise RetryableError(f"consumer group {group} is in use")

    monkeypatch.setattr(log, "delete_group", delete_group)
    store = Store(home.store)
    lease = store.acquire("shop", "test", 10)
    assert lease
    store.add_release(lease, STATE.releases[0])
    store.save(lease, ACTIVE)
    store.finish_publication(
        lease, store.begin_publication(lease, Publication(0, "shop", 1, 1, 1, {}, {}, {}, 1.0)), 2.0
    )
    store.give_back(lease)
    naps: list[float] = []
    loop = Loop(Platform(home), store)
    run_remove.carry_out(loop, "shop", keep_tables=False, by="me", sleep=naps.append)
    assert (store.products(), len(naps)) == ([], 2)
    assert store.load("shop") == ProductState("shop")
    store.close()


def test_words_of_what_goes() -> None:
    said: Callable[[bool], str] = lambda keep: run_remove.in_words(  # noqa: E731
        "shop", Remains(("orders",), 2, 3), keep_tables=keep
    )
    assert said(False) == (
        "remove shop for good: 2 releases, 3 attempts with their jobs, branches, checkpoints, "
        "consumer groups and history; tables dropped with their rows: orders; topics and "
        "sql/shop stay"
    )
    assert "tables kept as they are: orders" in said(True)


# What kappa abort and kappa retire leave


@pytest.mark.parametrize("state", [State.aborted, State.retired, State.failed])
def test_an_ended_attempt_leaves_nothing(
    settings: Settings,
    catalog: Catalog,
    product: Product,
    tmp_path: Path,
    groups: list[str],
    monkeypatch: pytest.MonkeyPatch,
    state: State,
) -> None:
    """Beside r1-a1, which readers see: no file, no branch, no group, no bindings, and nothing in memory."""
    before = left(tmp_path)
    job = "b" * 32
    ended = Attempt("shop", 2, 1, 20.0, 2, (job,), state=state)
    lake.create_branch(catalog, product, ended.name)
    for checkpoint in (1, 2):
        sink(catalog, "orders", ended.name, checkpoint, [{"id": 7}], job_id=job)
    compact(catalog, "orders", ended.name)
    for file in (
        bindings_file(settings, "shop", ended.name),
        tmp_path / f"checkpoints/shop/{ended.name}/{job}/x",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    platform = Platform(settings)
    monkeypatch.setattr(platform, "product", lambda *_: product)
    platform._clients[job] = cast(Client, object())
    shown = Publication(1, "shop", 1, 1, 1, {}, {}, {}, 1.0, finished=2.0)
    known = replace(
        STATE, attempts=(replace(ACTIVE, state=State.active), ended), publications=(shown,)
    )
    for _ in range(2):
        files = platform.garbage(product, ended)
        platform.clean(product, ended, known, files, lambda: None)
    metadata = {
        f for f in left(tmp_path) ^ before if "/metadata/" in f and f.endswith(".metadata.json")
    }
    assert left(tmp_path) - metadata == before - metadata
    assert ended.name not in catalog.load_table("shop.orders").metadata.refs
    assert groups == [ended.group] * 2
    assert not (tmp_path / "checkpoints/shop" / ended.name).exists()
    assert platform._clients == {}
