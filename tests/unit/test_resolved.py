"""What Flink's planner says of a product: asked once per content, refused with all that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import udfs
from jobs.product.folder import Product, load_product
from replay.errors import KappaError, RefusedError, RetryableError
from replay.flink import resolved
from replay.settings import Settings
from tests.unit import fake_planner
from tests.unit.fake_planner import FakePlanner
from tests.unit.folders import COLUMNS, CONTRACT, SQL, changed, write


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> FakePlanner:
    (settings.flink.home / "lib").mkdir(parents=True)
    (settings.flink.home / "lib" / "kappa-log.jar").write_bytes(b"1")
    return fake_planner.install(monkeypatch)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """As it is read from its folder."""
    return load_product(write(tmp_path / "tiny").folder)


def test_the_planner_is_asked_once_per_content(
    planner: FakePlanner, settings: Settings, product: Product
) -> None:
    assert not resolved.is_resolved(settings, product)
    first = resolved.resolve(settings, product)
    assert list(first.outputs) == ["rows", "sums", "rejects"]
    assert planner.asked == [["-m", "jobs.check", str(product.folder), "--json"]]
    assert resolved.is_resolved(settings, product)
    assert resolved.resolve(settings, product) == first
    assert len(planner.asked) == 1


def test_what_is_saved_during_a_check_is_checked_too(
    planner: FakePlanner,
    settings: Settings,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the answer about what stood there before would be remembered for what was saved meanwhile."""
    file, edits = product.folder / "rows.sql", iter(["-- saved\n"])
    answer = planner.answer

    def answer_and_save(asked: Product) -> Any:
        said = answer(asked)
        file.write_text(file.read_text() + next(edits, ""))
        return said

    monkeypatch.setattr(planner, "answer", answer_and_save)
    before = load_product(write(product.folder.parent / "before").folder)
    resolved.resolve(settings, product)
    assert len(planner.asked) == 2
    assert resolved.is_resolved(settings, load_product(product.folder))
    assert not resolved.is_resolved(settings, before)


def test_a_folder_that_never_rests_is_not_checked_for_ever(
    planner: FakePlanner, settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, answer = product.folder / "rows.sql", planner.answer

    def answer_and_save(asked: Product) -> Any:
        file.write_text(file.read_text() + "-- again\n")
        return answer(asked)

    monkeypatch.setattr(planner, "answer", answer_and_save)
    with pytest.raises(RetryableError, match="changes while it is checked"):
        resolved.resolve(settings, product)
    assert len(planner.asked) == resolved.CHANGES


@pytest.mark.usefixtures("planner")
def test_an_answer_that_cannot_be_kept_is_an_answer(settings: Settings, product: Product) -> None:
    (settings.home / "checked").write_text("no folder")
    assert list(resolved.resolve(settings, product).outputs) == ["rows", "sums", "rejects"]
    assert not resolved.is_resolved(settings, product)


def test_another_folder_with_the_same_content_is_known(
    planner: FakePlanner, settings: Settings, product: Product, tmp_path: Path
) -> None:
    resolved.resolve(settings, product)
    copy = load_product(write(tmp_path / "copy").folder)
    assert resolved.resolve(settings, copy).outputs == resolved.resolve(settings, product).outputs
    assert len(planner.asked) == 1


def test_any_other_content_is_asked_about(
    planner: FakePlanner, settings: Settings, product: Product, tmp_path: Path
) -> None:
    resolved.resolve(settings, product)
    planner.columns = {**COLUMNS, "rows": (("a", "BIGINT"), *COLUMNS["rows"][1:])}
    other = load_product(
        write(
            tmp_path / "other", sql=SQL.replace("SELECT a", "SELECT CAST(a AS BIGINT) AS a")
        ).folder
    )
    assert resolved.resolve(settings, other).columns["rows"][0].type == "BIGINT"
    assert resolved.resolve(settings, product).columns["rows"][0].type == "INT"
    assert len(planner.asked) == 2


@pytest.mark.parametrize("jar", ["kappa-log.jar", "new.jar"])
def test_another_connector_may_see_it_otherwise(
    planner: FakePlanner, settings: Settings, product: Product, jar: str
) -> None:
    resolved.resolve(settings, product)
    (settings.flink.home / "lib" / jar).write_bytes(b"another")
    assert not resolved.is_resolved(settings, product)
    resolved.resolve(settings, product)
    assert len(planner.asked) == 2


@pytest.mark.parametrize("text", ["", "{", "{}", '{"outputs": {"rows": {"kind": "rows"}}}'])
def test_an_answer_that_cannot_be_read_is_asked_for_again(
    planner: FakePlanner, settings: Settings, product: Product, text: str
) -> None:
    resolved.resolve(settings, product)
    (file,) = (settings.home / "checked").iterdir()
    file.write_text(text)
    assert not resolved.is_resolved(settings, product)
    resolved.resolve(settings, product)
    assert len(planner.asked) == 2
    assert resolved.is_resolved(settings, product)


def test_what_the_contract_says_of_columns_is_not_remembered(
    planner: FakePlanner, settings: Settings, product: Product, tmp_path: Path
) -> None:
    known = resolved.resolve(settings, product)
    assert known.columns["rows"][0].description == ""
    described = load_product(
        write(
            tmp_path / "described",
            contract=changed(
                CONTRACT,
                lambda c: c["schema"][0]["properties"][0].update(
                    description="number", required=True
                ),
            ),
        ).folder
    )
    column = resolved.resolve(settings, described).columns["rows"][0]
    assert (column.description, column.required, column.type) == ("number", True, "INT")


def test_without_a_home_nothing_is_remembered(planner: FakePlanner, product: Product) -> None:
    assert list(resolved.resolve(None, product).outputs) == ["rows", "sums", "rejects"]
    resolved.resolve(None, product)
    assert len(planner.asked) == 2
    assert resolved.remembered(None, product) is None


def test_every_problem_is_listed_and_nothing_remembered(
    planner: FakePlanner, settings: Settings, product: Product
) -> None:
    planner.refuse("PROCTIME", line=3)
    planner.refuse("topic orders is read 2 times", line=0)
    for _ in range(2):
        with pytest.raises(RefusedError) as e:
            resolved.resolve(settings, product)
    assert str(e.value) == (
        "this product cannot be deployed:\n"
        "    x.sql:3: PROCTIME\n      write instead: y\n"
        "    x.sql: topic orders is read 2 times\n      write instead: y\n"
        f"  next:     fix these, then: kappa check {product.folder}"
    )
    assert len(planner.asked) == 2
    assert not (settings.home / "checked").exists()


def test_a_planner_that_dies_is_not_taken_for_an_answer(
    planner: FakePlanner, settings: Settings, product: Product
) -> None:
    planner.silent = "java.lang.OutOfMemoryError: Java heap space"
    with pytest.raises(KappaError) as e:
        resolved.resolve(settings, product)
    assert (e.value.message, e.value.found) == ("the check did not finish", planner.silent)


def test_a_planner_that_hangs_is_given_up(
    planner: FakePlanner, settings: Settings, product: Product
) -> None:
    planner.hangs = True
    with pytest.raises(RetryableError, match="Flink's planner gave no answer"):
        resolved.resolve(settings, product)


def test_a_process_that_dies_is_an_error_with_its_words(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no Java here' >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr("replay.flink.resolved.sys.executable", str(python))
    with pytest.raises(KappaError, match="no Java here"):
        resolved.ask(settings, product.folder)


def test_the_planner_has_the_stacks_flink_and_nobodys_python_path(
    planner: FakePlanner, settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    resolved.resolve(settings, product)
    assert planner.env["FLINK_HOME"] == str(settings.flink.home)
    assert planner.env["PYTHONPATH"] == str(Path(udfs.__file__).parents[1])
    assert planner.env["PATH"] == os.environ["PATH"]
