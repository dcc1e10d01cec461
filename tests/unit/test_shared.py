"""What controllers on several hosts share: each finds the releases and the bindings that another has written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.bindings import VERSION
from replay.controller import platform, removal
from replay.controller.platform import Platform
from replay.core.model import Attempt, ProductState, Release
from replay.errors import RefusedError
from replay.kafka import log
from replay.releases import kept_jars, launch, release, runtime, shared
from replay.releases.archive import verified
from replay.settings import Settings
from replay.storage import MissingFileError, below, filesystem
from tests.object_store import BUCKET, ObjectStore
from tests.unit import folders
from tests.unit.lake_tables import make_settings

ATTEMPT = Attempt("shop", 1, 1, 10.0, 2, ("a" * 32,))


@pytest.fixture(params=["in a folder", "in an object store"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two homes that share a folder, one of another machine."""
    if request.param == "in a folder":
        uri, storage = f"file://{tmp_path}/shared", {}
    else:
        store: ObjectStore = request.getfixturevalue("object_store")
        uri, storage = (
            f"s3://{BUCKET}/{tmp_path.parent.name}-{tmp_path.name}/shared",
            store.properties,
        )
    made = [
        make_settings(tmp_path / name, storage=storage).model_copy(update={"shared": uri})
        for name in ("one", "other")
    ]
    return made[0], made[1]


@pytest.fixture
def built(
    hosts: tuple[Settings, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Release:
    """A release that the first host has built."""
    monkeypatch.setattr("replay.releases.release.runtimes.of", lambda *_: {})
    product = folders.write(
        tmp_path / "sql" / "shop",
        columns={"out": (("a", "INT"),)},
        sql="SELECT a FROM orders",
        settings={**folders.SETTINGS, "name": "shop", "outputs": {"out": {}}},
    )
    made = release.build(hosts[0], product)
    return Release("shop", 1, made.fingerprint, 10.0, {}, None, made.computation)


def objects(settings: Settings) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    system, root = filesystem(settings, settings.shared)
    found = system.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
    return sorted(f.path.removeprefix(f"{root}/") for f in found if f.type is FileType.File)


def overwrite(settings: Settings, name: str, content: bytes) -> None:
    system, path = filesystem(settings, below(settings.shared, name))
    system.create_dir(path.rpartition("/")[0])
    with system.open_output_stream(path) as stream:
        stream.write(content)


def test_another_host_starts_the_release_that_one_has_built(
    hosts: tuple[Settings, Settings], built: Release
) -> None:
    one, other = hosts
    here = release.release_folder(one, "shop", built.fingerprint)
    there = release.release_folder(other, "shop", built.fingerprint)
    assert there == other.releases / "shop" / built.fingerprint
    assert verified(there, built.fingerprint) == there
    contents = [
        {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
        for folder in (here, there)
    ]
    assert contents[0] == contents[1]
    assert all(f.stat().st_mode & 0o222 == 0 for f in there.rglob("*") if f.is_file())
    assert launch.of_release(there).entry == "jobs/run.py"


def test_what_a_job_is_bound_to_is_what_the_last_controller_wrote(
    hosts: tuple[Settings, Settings], built: Release
) -> None:
    one, other = hosts
    file = release.bindings_file(one, "shop", ATTEMPT.name)
    for group in ("first", "second"):
        platform.write_bindings(file, {"version": VERSION, "group": group})
        shared.keep_bindings(one, "shop", file)
        submission = Platform(other)._submission(ATTEMPT, built)
        assert submission.bindings == release.bindings_file(other, "shop", ATTEMPT.name)
        assert submission.bindings.read_bytes() == file.read_bytes()
        assert submission.bindings.stat().st_mode & 0o077 == 0
    assert submission.release == other.releases / "shop" / built.fingerprint


def test_a_home_begins_to_share_what_it_has(
    hosts: tuple[Settings, Settings], built: Release
) -> None:
    one = hosts[0]
    shared.forget(one, "shop")
    file = release.bindings_file(one, "shop", ATTEMPT.name)
    platform.write_bindings(file, {"version": VERSION})
    assert Platform(one)._submission(ATTEMPT, built).bindings == file
    assert objects(one) == [f"releases/shop/{built.fingerprint}.zip"]


@pytest.mark.parametrize("content", [b"PK\3\4 and no more", b""], ids=["torn", "empty"])
def test_a_shared_release_that_was_damaged_is_not_started(
    hosts: tuple[Settings, Settings], built: Release, content: bytes
) -> None:
    overwrite(hosts[1], f"releases/shop/{built.fingerprint}.zip", content)
    with pytest.raises(RefusedError) as e:
        Platform(hosts[1])._submission(ATTEMPT, built)
    assert e.value.message == (
        f"the archived release {hosts[1].shared}/releases/shop/{built.fingerprint}.zip was changed"
    )
    assert list((hosts[1].releases / "shop").glob("*")) == []


def test_another_release_under_its_name_is_not_started(
    hosts: tuple[Settings, Settings], built: Release
) -> None:
    wrong = "f" * 64
    shared.keep_release(
        hosts[0], "shop", wrong, release.release_folder(hosts[0], "shop", built.fingerprint)
    )
    with pytest.raises(RefusedError, match="was changed") as e:
        Platform(hosts[1])._submission(ATTEMPT, replace(built, fingerprint=wrong))
    assert e.value.found.startswith(".: its content is that of release")


def test_what_is_missing_is_named(hosts: tuple[Settings, Settings], built: Release) -> None:
    with pytest.raises(RefusedError, match="is missing"):
        Platform(hosts[1])._submission(ATTEMPT, replace(built, fingerprint="e" * 64))
    with pytest.raises(MissingFileError) as e:
        Platform(hosts[1])._submission(ATTEMPT, built)
    assert e.value.expected == f"{hosts[1].shared}/attempts/shop/r1-a1.json"


def test_releases_that_nothing_names_go_by_the_clock_that_dates_them(
    hosts: tuple[Settings, Settings], built: Release
) -> None:
    one = hosts[0]
    other = f"releases/shop/{'d' * 64}.zip"
    overwrite(one, other, b"older")
    overwrite(one, "releases/shop/mine.txt", b"somebody's")
    shared.keep_release(one, "shop", built.fingerprint, one.releases / "shop" / built.fingerprint)
    shared.forget_releases(one, "shop", {built.fingerprint}, timedelta(hours=1))
    assert other in objects(one)
    shared.forget_releases(one, "shop", {built.fingerprint}, timedelta(seconds=-1))
    assert objects(one) == [f"releases/shop/{built.fingerprint}.zip", "releases/shop/mine.txt"]


def test_of_a_product_that_was_removed_nothing_is_shared(
    hosts: tuple[Settings, Settings], built: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    from replay.iceberg import lake

    one, other = hosts
    file = release.bindings_file(one, "shop", ATTEMPT.name)
    platform.write_bindings(file, {"version": VERSION})
    shared.keep_bindings(one, "shop", file)
    overwrite(one, f"releases/shopping/{built.fingerprint}.zip", b"another product's")
    monkeypatch.setattr(log, "delete_group", lambda *_: None)
    catalog, gone = lake.open_catalog(other), ProductState("shop")
    assert removal.remains(other, catalog, gone).files == (
        f"{other.shared}/attempts/shop",
        f"{other.shared}/releases/shop",
    )
    removal.erase(other, catalog, None, gone, keep_tables=False, fence=lambda: None)
    assert objects(one) == [f"releases/shopping/{built.fingerprint}.zip"]
    assert removal.remains(other, catalog, gone).nothing


# Jars


def with_jars(settings: Settings, **contents: str) -> Settings:
    """A home whose Flink has these jars."""
    lib = settings.flink.home / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    for name, content in {"flink-dist-2.1.3": "flink", **contents}.items():
        (lib / f"{name}.jar").write_text(content)
    return settings


def provided(settings: Settings, built: release.Build, branch: str = "r1-a1") -> dict[str, str]:
    folder = release.release_folder(settings, "tiny", built.fingerprint)
    lib = kept_jars.provide(settings, folder, settings.home / "attempts" / "tiny" / f"{branch}.lib")
    assert lib
    return {jar.name: jar.read_text() for jar in lib.iterdir()}


def shared_jars(settings: Settings) -> set[str]:
    return {name for name in objects(settings) if name.startswith("jars/")}


def test_the_jars_of_a_release_are_there_for_the_other_host(
    hosts: tuple[Settings, Settings], tmp_path: Path
) -> None:
    one, other = with_jars(hosts[0], connector="A"), with_jars(hosts[1], connector="B")
    built = release.build(one, folders.write(tmp_path / "sql" / "tiny"))
    assert len(shared_jars(one)) == 2
    assert provided(other, built) == {"flink-dist-2.1.3.jar": "flink", "connector.jar": "A"}


def test_a_shared_jar_that_was_changed_is_refused(
    hosts: tuple[Settings, Settings], tmp_path: Path
) -> None:
    one, other = with_jars(hosts[0], connector="A"), with_jars(hosts[1], connector="B")
    built = release.build(one, folders.write(tmp_path / "sql" / "tiny"))
    for name in shared_jars(one):
        overwrite(one, name, b"another")
    with pytest.raises(RefusedError, match=r"the shared jar .* was changed"):
        provided(other, built)


def test_jars_of_a_time_when_nothing_was_shared_are_shared_by_who_has_them(
    hosts: tuple[Settings, Settings], tmp_path: Path
) -> None:
    one, other = with_jars(hosts[0], connector="A"), with_jars(hosts[1], connector="B")
    alone = one.model_copy(update={"shared": ""})
    built = release.build(alone, folders.write(tmp_path / "sql" / "tiny"))
    shared.keep_release(one, "tiny", built.fingerprint, built.folder)
    with pytest.raises(RefusedError, match="are gone"):
        provided(other, built)
    assert provided(one, built) == provided(other, built)


def test_shared_jars_that_no_release_of_any_host_needs_go(
    hosts: tuple[Settings, Settings], tmp_path: Path
) -> None:
    one, other = with_jars(hosts[0], connector="A"), with_jars(hosts[1], connector="B")
    release.build(one, folders.write(tmp_path / "sql" / "tiny"))
    overwrite(one, f"jars/{'a' * 64}.jar", b"of nobody")
    kept_jars.keep(other)  # the newest, which its release is about to follow
    at_once = timedelta(seconds=-1)
    shared.forget_jars(other, kept_jars.needed(other), runtime.NAMED, timedelta(days=1))
    assert len(shared_jars(one)) == 4
    shared.forget_jars(other, kept_jars.needed(other), runtime.NAMED, at_once)
    assert len(shared_jars(one)) == 3 and f"jars/{'a' * 64}.jar" not in shared_jars(one)


def test_a_local_folder_is_read_as_flink_and_pyiceberg_write_it(tmp_path: Path) -> None:
    """They take an escape in a URI for part of the name."""
    folder = tmp_path / "c%2B%2B a"
    folder.mkdir()
    (folder / "file").touch()
    for uri in (f"file://{folder}", f"file:{folder}", str(folder)):
        system, root = filesystem(make_settings(tmp_path), uri)
        assert system.get_file_info(f"{root}/file").is_file, uri
