"""A key of a product's functions belongs to its releases: another key is another release, the old one keeps its own."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pandas as pd
import pytest

from jobs.product.folder import Product
from jobs.product.model import Function
from replay.errors import ConfigError, ConflictError
from replay.releases import archive, keys, plan
from replay.releases import release as releases
from replay.releases.reason import Kind
from replay.settings import Settings
from tests.unit import folders, products
from tests.unit.lake_tables import make_settings
from tests.unit.test_release import COLUMNS, SETTINGS, SQL
from udfs import privacy
from udfs.keys import key_id

ONE, TWO = "0" * 64, "1" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = make_settings(tmp_path / "home")
    made.secrets.mkdir()
    rotate(made, ONE)
    return made


@pytest.fixture
def product(tmp_path: Path) -> Product:
    functions = {
        "pseudonym": {"python": "udfs.privacy:pseudonym", "returns": "STRING", "vectorised": True}
    }
    return folders.write(
        tmp_path / "sql" / "tiny",
        settings={**SETTINGS, "functions": functions},
        sql=SQL,
        columns=COLUMNS,
    )


def rotate(settings: Settings, key: str) -> None:
    (settings.secrets / "pseudonym.key").write_text(key)


def test_functions_that_read_a_key_say_so(product: Product) -> None:
    assert keys.names(product) == keys.names(products.flights()) == {"pseudonym.key"}
    assert keys.names(products.orders()) == frozenset()
    clocks = {"f": Function(python="udfs.wall_clock:next_wall_clock", returns="INT")}
    other = product.model_copy(
        update={"settings": product.settings.model_copy(update={"functions": clocks})}
    )
    assert keys.names(other) == frozenset()


def test_another_key_is_another_release_and_the_old_one_keeps_its_own(
    settings: Settings, product: Product
) -> None:
    first = releases.build(settings, product)
    assert releases.build(settings, product) == first and releases.is_built(settings, product)
    rotate(settings, TWO)
    assert not releases.is_built(settings, product)
    second = releases.build(settings, product)
    assert (first.fingerprint, first.computation) != (second.fingerprint, second.computation)
    assert first.computation != second.computation
    for key, built in ((ONE, first), (TWO, second)):
        kept = settings.secrets / f"pseudonym.key.{key_id(key)}"
        assert kept.read_text() == key and stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert keys.of_release(built.folder) == {"pseudonym.key": key_id(key)}
        assert key not in (built.folder / "keys.json").read_text()
        archive.verify(built.folder, built.fingerprint)
    rotate(settings, ONE)
    assert releases.build(settings, product) == first


def test_a_release_of_functions_without_keys_is_named_as_before(
    settings: Settings, tmp_path: Path
) -> None:
    plain = folders.write(tmp_path / "sql" / "plain", settings=SETTINGS, sql=SQL, columns=COLUMNS)
    before = releases.build(settings, plain)
    rotate(settings, TWO)
    assert releases.build(settings, plain) == before
    assert (
        before.fingerprint == releases.fingerprint_of(settings, plain)
        and not (before.folder / "keys.json").exists()
    )


def test_the_plan_names_the_key(settings: Settings, product: Product) -> None:
    built = releases.build(settings, product)
    old = plan.Version(product, {}, releases.archived_parts(built.folder, product))
    rotate(settings, TWO)
    new = plan.Version(product, {}, releases.computation_parts(settings, product))
    (reason,) = plan.compare(old, new).reasons
    assert (reason.kind, reason.where) == (Kind.replay, "secrets/pseudonym.key")
    assert reason.what == (
        f"another key: {key_id(ONE)} → {key_id(TWO)}; the release that readers see keeps its own"
    )


def test_an_id_tells_keys_apart_and_nothing_else() -> None:
    assert key_id(ONE) == key_id(ONE + "\n") != key_id(TWO)
    assert len(key_id(ONE)) == 16 and key_id(ONE) not in ONE


def test_a_worker_reads_the_key_of_its_release(
    settings: Settings, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions are imported from the archived release, whatever the key is by now."""
    built = releases.build(settings, product)
    rotate(settings, TWO)
    monkeypatch.setenv("KAPPA_SECRETS", str(settings.secrets))
    for file, key in (
        (built.folder / "udfs" / "privacy.py", ONE),
        (tmp_path / "udfs" / "privacy.py", TWO),
    ):
        monkeypatch.setattr(privacy, "__file__", str(file))
        privacy._key.cache_clear()
        privacy._pseudonym.cache_clear()
        assert privacy._key() == bytes.fromhex(key)
        assert len(privacy.pseudonym(pd.Series(["a"]))[0]) == 32
    privacy._key.cache_clear()
    privacy._pseudonym.cache_clear()


def test_a_key_that_is_missing_is_asked_for(settings: Settings, product: Product) -> None:
    (settings.secrets / "pseudonym.key").unlink()
    with pytest.raises(ConfigError, match=r"the key pseudonym\.key cannot be read"):
        releases.build(settings, product)


def test_a_kept_key_that_is_another_is_refused(settings: Settings, product: Product) -> None:
    (settings.secrets / f"pseudonym.key.{key_id(ONE)}").write_text(TWO)
    with pytest.raises(ConflictError, match=r"the key pseudonym\.key was changed") as e:
        releases.build(settings, product)
    assert ONE not in str(e.value) and TWO not in str(e.value)
    assert json.dumps(e.value.as_dict())
