"""Releases: named by content, complete, atomic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.product.folder import Product, ProductError, load_release
from replay.core.model import Release
from replay.errors import ConfigError
from replay.releases import release as releases
from replay.settings import CatalogSettings, FlinkSettings, Settings
from tests.unit import folders

SETTINGS = {**folders.SETTINGS, "outputs": {"out": {}}}
SQL = "SELECT a FROM orders"
COLUMNS = {"out": (("a", "INT"),)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        kafka={},
        registry="http://registry",
        store="sqlite://",
        secrets=tmp_path / "secrets",
        flink=FlinkSettings(
            rest="http://127.0.0.1:8081", home=tmp_path / "flink", checkpoints="file:///ck"
        ),
        catalog=CatalogSettings(flink={}, pyiceberg={}),
    )


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return folders.write(tmp_path / "sql" / "tiny", settings=SETTINGS, sql=SQL, columns=COLUMNS)


def test_a_release_holds_everything_that_decides_the_result(
    settings: Settings, product: Product
) -> None:
    built = releases.build(settings, product)
    assert built.folder == settings.home / "releases" / "tiny" / built.fingerprint
    names = {p.relative_to(built.folder).as_posix() for p in built.folder.rglob("*") if p.is_file()}
    assert {
        "product/product.yaml",
        "product/out.sql",
        "product/schemas/orders.avsc",
        "jobs/run.py",
        "jobs/bindings.py",
        "jobs/product/model.py",
        "udfs/__init__.py",
        "release.json",
        "resolved.json",
    } <= names
    assert not any(n.endswith((".java", ".pyc")) for n in names)
    assert not (built.folder / "product" / "out.sql").stat().st_mode & 0o222, "read-only"


def test_the_same_content_is_the_same_release(settings: Settings, product: Product) -> None:
    assert not releases.is_built(settings, product)
    first = releases.build(settings, product)
    assert releases.is_built(settings, product)
    assert releases.build(settings, product) == first
    assert [p.name for p in first.folder.parent.iterdir()] == [first.fingerprint]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda f: (f / "out.sql").write_text("SELECT 1 AS a FROM orders"), id="content"
        ),
        pytest.param(lambda f: (f / "out.sql").rename(f / "other.sql"), id="name"),
        pytest.param(lambda f: (f / "notes.md").write_text(""), id="an empty file more"),
    ],
)
def test_any_change_is_another_release(
    settings: Settings, product: Product, change: Callable[[Path], object]
) -> None:
    before = releases.fingerprint_of(settings, product)
    change(product.folder)
    assert releases.fingerprint_of(settings, product) != before


def test_what_the_planner_said_is_archived_and_read_again(
    settings: Settings, product: Product
) -> None:
    built = releases.build(settings, product)
    archived = load_release(built.folder)
    assert archived.resolved == product.resolved
    assert (archived.folder, archived.settings) == (built.folder / "product", product.settings)
    assert archived.columns["out"] == product.columns["out"]


def test_what_the_planner_said_does_not_name_a_release(
    settings: Settings, product: Product
) -> None:
    other = folders.resolved(product, {"out": (("a", "BIGINT"),)})
    assert other.resolved != product.resolved
    assert releases.fingerprint_of(settings, other) == releases.fingerprint_of(settings, product)


def test_an_archived_release_without_the_planners_answer_is_named(
    settings: Settings, product: Product
) -> None:
    built = releases.build(settings, product)
    (built.folder / "resolved.json").unlink()
    with pytest.raises(ProductError) as e:
        load_release(built.folder)
    assert (e.value.file, e.value.expected) == (
        built.folder / "resolved.json",
        "what Flink's planner said of the release",
    )


def test_a_build_that_fails_leaves_nothing(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("replay.releases.archive.shutil.copyfile", full_disk)
    with pytest.raises(OSError, match="No space left"):
        releases.build(settings, product)
    assert list((settings.releases / "tiny").iterdir()) == []


def test_release_numbers() -> None:
    built = releases.Build("f2", Path("/r"), "abc", "c2")
    one = Release("p", 1, "f1", 0.0, {"airlines": {0: 16}})
    two = Release("p", 2, "f2", 0.0, {"airlines": {0: 16}})
    assert releases.next_release((), "p", built, {"airlines": {0: 16}}, 5.0).name == "r1"
    assert releases.next_release((one, two), "p", built, {"airlines": {0: 16}}, 5.0) == two
    grown = releases.next_release((one, two), "p", built, {"airlines": {0: 17}}, 5.0)
    assert grown == Release("p", 3, "f2", 5.0, {"airlines": {0: 17}}, "abc", "c2")


def test_an_unknown_product_names_those_that_there_are(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(product.folder.parent.parent)
    assert releases.find_folder("tiny", None) == Path("sql/tiny")
    with pytest.raises(ConfigError) as e:
        releases.find_folder("flihgts", None)
    assert str(e.value) == (
        "there is no product 'flihgts'\n"
        "  expected: a folder sql/flihgts with product.yaml\n"
        "  found:    products tiny\n"
        "  next:     the same with --from, and flihgts's folder"
    )
    with pytest.raises(ConfigError, match=r"next: +kappa plan tiny$"):
        releases.find_folder("tinny", None)
