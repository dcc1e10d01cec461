"""A release runs with the jars that it was built with, also after Flink's `lib` got others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from replay.controller import cleaning
from replay.controller.platform import Platform
from replay.core.model import Attempt, ProductState, Release
from replay.errors import RefusedError
from replay.flink.clusters import Started
from replay.kafka import log
from replay.releases import archive, kept_jars, retention, runtime
from replay.releases import release as releases
from replay.releases.release import Build, lib_folder
from replay.settings import Settings
from tests.unit import folders
from tests.unit.test_launch import record

LIB = {
    "00-flink-patches.jar": "patches",
    "flink-dist-2.1.3.jar": "flink",
    "kappa-connector.jar": "connector A",
    "log4j-core-2.24.jar": "logger",
}
ATTEMPT = Attempt(
    product="tiny",
    release=1,
    number=1,
    created=0.0,
    parallelism=1,
    job_ids=("a" * 32,),
    cluster="tiny-r1-a1",
    rest="http://there:1",
    own_jars=True,
)


def write_lib(settings: Settings, jars: dict[str, str]) -> Path:
    """Flink's `lib` with exactly these, each written over what was there: as `cp` does it."""
    lib = settings.flink.home / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    for jar in lib.iterdir():
        if jar.name not in jars:
            jar.unlink()
    for name, content in jars.items():
        (lib / name).write_text(content)
    return lib


@pytest.fixture
def settings(settings: Settings) -> Settings:
    write_lib(settings, LIB)
    return settings


@pytest.fixture
def built(settings: Settings, tmp_path: Path) -> Build:
    return releases.build(settings, folders.write(tmp_path / "sql" / "tiny"))


@pytest.fixture
def upgraded(settings: Settings, built: Build) -> None:
    write_lib(
        settings,
        {
            **LIB,
            "kappa-connector.jar": "connector B",
            "new.jar": "new",
            "log4j-core-2.24.jar": "",
            "log4j-core-2.25.jar": "newer logger",
        },
    )
    (settings.flink.home / "lib" / "log4j-core-2.24.jar").unlink()


def provide(settings: Settings, built: Build) -> dict[str, str]:
    lib = kept_jars.provide(settings, built.folder, lib_folder(settings, "tiny", "r1-a1"))
    assert lib is not None
    return {jar.name: jar.read_text() for jar in sorted(lib.iterdir())}


def jar_of(settings: Settings, content: str) -> Path:
    """Where a jar of this content is kept."""
    [found] = [jar for jar in kept_jars.folder(settings).iterdir() if jar.read_text() == content]
    return found


def release(built: Build) -> Release:
    return Release("tiny", 1, built.fingerprint, 0.0, {})


def test_what_decides_rows_is_of_the_release_and_what_carries_them_of_now(
    settings: Settings, built: Build, upgraded: None
) -> None:
    assert provide(settings, built) == {
        "00-flink-patches.jar": "patches",
        "flink-dist-2.1.3.jar": "flink",
        "kappa-connector.jar": "connector A",
        "log4j-core-2.25.jar": "newer logger",
    }


def test_it_takes_no_further_space_and_stays_as_it_is(settings: Settings, built: Build) -> None:
    before = provide(settings, built)
    lib = lib_folder(settings, "tiny", "r1-a1")
    assert (lib / "kappa-connector.jar").samefile(jar_of(settings, "connector A"))
    made = lib.stat().st_ino
    write_lib(settings, {**LIB, "log4j-core-2.24.jar": "newer"})
    assert provide(settings, built) == before, "its cluster may be running with it"
    assert lib.stat().st_ino == made


def test_one_that_somebody_changed_is_made_again(settings: Settings, built: Build) -> None:
    before = provide(settings, built)
    lib = lib_folder(settings, "tiny", "r1-a1")
    (lib / "kappa-connector.jar").unlink()
    (lib / "kappa-connector.jar").write_text("another")
    (lib / "added.jar").write_text("added")
    assert provide(settings, built) == before


def test_what_is_no_longer_kept_is_still_there_for_who_has_it(
    settings: Settings, built: Build, upgraded: None
) -> None:
    before = provide(settings, built)
    jar_of(settings, "connector A").unlink()
    assert provide(settings, built) == before


def test_jars_that_are_gone_are_named(settings: Settings, built: Build, upgraded: None) -> None:
    kept = jar_of(settings, "connector A")
    kept.unlink()
    with pytest.raises(RefusedError) as e:
        provide(settings, built)
    assert str(e.value) == (
        f"jars that the release {built.folder} was built with are gone\n"
        f"  expected: kappa-connector.jar as {kept}\n"
        "  found:    no such files\n"
        "  next:     restore them from a backup; the controller tries again by itself. Or kappa deploy tiny, which "
        "builds a release with the jars of now"
    )
    assert kept_jars.others(settings, built.folder), "it goes nowhere else instead"


def test_a_kept_jar_that_was_changed_is_refused(settings: Settings, built: Build) -> None:
    kept = jar_of(settings, "connector A")
    kept.chmod(0o644)
    kept.write_text("connector X")
    with pytest.raises(RefusedError) as e:
        provide(settings, built)
    assert e.value.message == f"the kept jar {kept} was changed"
    assert not lib_folder(settings, "tiny", "r1-a1").exists()
    assert list(lib_folder(settings, "tiny", "r1-a1").parent.iterdir()) == []


def test_the_jars_of_another_flink_wait_for_its_python(settings: Settings, built: Build) -> None:
    write_lib(settings, {"flink-dist-2.2.0.jar": "flink 2.2"})
    with pytest.raises(RefusedError) as e:
        provide(settings, built)
    assert (e.value.expected, e.value.found) == ("apache-flink 2.1.3", "apache-flink 2.2.0")
    assert e.value.message == f"the release {built.folder} runs on another Flink than is installed"


def test_a_release_of_before_jars_were_kept_runs_with_what_there_is(
    settings: Settings, built: Build, upgraded: None
) -> None:
    record(built, lambda m: m["job"].pop("jars"))
    jar_of(settings, "connector A").unlink()
    assert kept_jars.provide(settings, built.folder, lib_folder(settings, "tiny", "r1-a1")) is None
    assert kept_jars.others(settings, built.folder) == ""


def test_other_jars_are_told_where_an_attempt_could_have_its_own(
    settings: Settings, built: Build, upgraded: None
) -> None:
    a, b = (
        runtime.short(runtime.digest(jar))
        for jar in (
            jar_of(settings, "connector A"),
            settings.flink.home / "lib" / "kappa-connector.jar",
        )
    )
    new = runtime.short(runtime.digest(settings.flink.home / "lib" / "new.jar"))
    alone = settings.model_copy(
        update={"flink": settings.flink.model_copy(update={"clusters": ("/bin/program",)})}
    )
    on_session = replace(ATTEMPT, cluster="", rest="", own_jars=False)
    assert Platform(alone).other_jars(on_session, release(built)) == (
        f"kappa-connector.jar {a} → {b}, new.jar none → {new}"
    )
    assert Platform(settings).other_jars(on_session, release(built)) == "", "all share one cluster"


def test_the_same_jars_are_no_others(settings: Settings, built: Build) -> None:
    write_lib(settings, {**LIB, "log4j-core-2.24.jar": "newer"})
    assert kept_jars.others(settings, built.folder) == ""


def test_an_attempt_with_its_own_jars_has_no_other_runtime(
    settings: Settings, built: Build, upgraded: None
) -> None:
    product, platform = folders.write(settings.home / "again"), Platform(settings)
    assert platform.other_runtime(product, ATTEMPT, release(built)) == ""
    assert "kappa-connector.jar" in platform.other_runtime(
        product, replace(ATTEMPT, own_jars=False), release(built)
    )


def test_cluster_and_client_get_the_same(
    settings: Settings, built: Build, upgraded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Program:
        def start(self, name: str, lib: Path | None = None) -> Started:
            self.told = name, lib
            return Started("http://there:1", own_jars=True)

    platform, program = Platform(settings), Program()
    monkeypatch.setattr(platform, "clusters", program)
    platform.start_cluster(replace(ATTEMPT, rest="", own_jars=False), release(built))
    lib = lib_folder(settings, "tiny", "r1-a1")
    assert program.told == ("tiny-r1-a1", lib)
    assert platform._submission(ATTEMPT, release(built)).lib == lib
    assert platform._submission(replace(ATTEMPT, own_jars=False), release(built)).lib is None


def test_what_ends_leaves_none(
    settings: Settings, built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "delete_group", lambda settings, group: None)
    monkeypatch.setattr(cleaning, "remove_checkpoints", lambda settings, uri: None)
    provide(settings, built)
    lib = lib_folder(settings, "tiny", "r1-a1")
    (lib.parent / f".{lib.name}-cut-short").mkdir()
    cleaning.forget(settings, "tiny", "r1-a1", "group", "file:///ck")
    assert list(lib.parent.iterdir()) == []
    assert jar_of(settings, "connector A").exists()


def test_jars_that_no_release_needs_go_after_a_day(
    settings: Settings, built: Build, upgraded: None
) -> None:
    kept_jars.keep(settings)

    def contents() -> set[str]:
        return {jar.read_text() for jar in kept_jars.folder(settings).iterdir()}

    assert contents() == {
        "patches",
        "flink",
        "connector A",
        "connector B",
        "logger",
        "newer logger",
        "new",
    }
    write_lib(settings, LIB)
    state = ProductState("tiny", (release(built),))
    at = jar_of(settings, "new").stat().st_mtime
    retention.sweep(settings, state, at + retention.UNNAMED_SECONDS - 1)
    assert len(contents()) == 7
    retention.sweep(settings, state, at + retention.UNNAMED_SECONDS + 1)
    assert contents() == {"patches", "flink", "connector A", "logger"}
    write_lib(settings, {**LIB, "log4j-core-2.24.jar": "yet another"})
    retention.sweep(settings, ProductState("other"), at + retention.UNNAMED_SECONDS + 1)
    assert contents() == {"patches", "flink", "connector A"}, (
        "those of other products' releases stay"
    )


def test_nothing_goes_while_a_release_cannot_be_read(
    settings: Settings, built: Build, upgraded: None
) -> None:
    kept_jars.keep(settings)
    write_lib(settings, LIB)
    file = built.folder / runtime.NAMED
    file.chmod(0o644)
    file.write_text("{")
    at = jar_of(settings, "new").stat().st_mtime
    retention.sweep(
        settings, ProductState("tiny", (release(built),)), at + retention.UNNAMED_SECONDS + 1
    )
    assert jar_of(settings, "new").exists()


def test_a_release_says_that_its_jars_are_kept(built: Build) -> None:
    assert json.loads((built.folder / archive.MANIFEST).read_text())["job"]["jars"] is True
