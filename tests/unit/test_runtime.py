"""What a job runs with besides its own files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import tzdata

from jobs.processes import PYTHON_ENVIRONMENT
from jobs.product import zones
from jobs.product.folder import Product
from replay.errors import ConfigError
from replay.releases import plan, release, runtime
from replay.releases.reason import Kind
from replay.settings import Settings
from tests.unit import folders
from tests.unit.test_release import COLUMNS, SETTINGS, SQL

CLOCK = {"python": "udfs.wall_clock:next_wall_clock", "returns": "INT"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    lib = settings.flink.home / "lib"
    lib.mkdir(parents=True)
    for name in (
        "flink-dist-2.1.3.jar",
        "kappa-connector.jar",
        "log4j-core.jar",
        "sqlite-jdbc.jar",
    ):
        (lib / name).write_text(name)
    return settings


def product(folder: Path, **fields: object) -> Product:
    return folders.write(
        folder, settings={**SETTINGS, "functions": {}, **fields}, sql=SQL, columns=COLUMNS
    )


def test_jars_that_compute(settings: Settings, tmp_path: Path) -> None:
    assert list(runtime.of(settings, product(tmp_path / "a"))) == [
        "jars/flink-dist-2.1.3.jar",
        "jars/kappa-connector.jar",
    ]


def test_python_is_a_part_where_there_are_functions(settings: Settings, tmp_path: Path) -> None:
    found = runtime.of(settings, product(tmp_path / "a", functions={"f": CLOCK}))
    assert {
        "python",
        "hash seed",
        "python/apache-flink",
        "python/apache-beam",
        "python/pyarrow",
    } <= found.keys()
    assert not {"python/ruff", "python/pytest", "python/duckdb"} & found.keys(), (
        "none that no worker imports"
    )


def test_rules_of_zones_are_a_part_where_clocks_are_set(settings: Settings, tmp_path: Path) -> None:
    assert (
        runtime.of(settings, product(tmp_path / "a", time_zone="Europe/Berlin"))["time zones"]
        == "2025b"
    )
    assert "time zones" not in runtime.of(settings, product(tmp_path / "b", time_zone="UTC"))


def test_two_sources_of_rules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tzdata, "IANA_VERSION", "1999a")
    with pytest.raises(ConfigError) as e:
        runtime.time_zones()
    assert (e.value.expected, e.value.found) == (
        "IANA 2025b, as Java has",
        "1999a in the package tzdata",
    )


def test_the_machines_rules_are_not_asked() -> None:
    code = "import zoneinfo; print(zoneinfo.TZPATH, zoneinfo.ZoneInfo('Europe/Berlin'))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=PYTHON_ENVIRONMENT, capture_output=True, text=True
    )
    assert run.stdout == "() Europe/Berlin\n"
    at = datetime(2024, 7, 1, tzinfo=UTC)
    assert at.astimezone(zones.zone("Europe/Berlin")).utcoffset() == timedelta(hours=2)
    assert zones.zone("Asia/Kolkata").key == "Asia/Kolkata"
    assert isinstance(zones.zone("UTC"), ZoneInfo)


@pytest.mark.parametrize(
    "name", ["Europe/Paris/", "../etc/passwd", "Europe", "", "/etc/localtime", "No/Where"]
)
def test_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="a time zone such as"):
        zones.check(name)


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        pytest.param(
            lambda lib: (lib / "kappa-connector.jar").write_text("another"),
            "runtime/jars/kappa-connector.jar",
            r"[0-9a-f]{12} → ae448ac86c4e: its rows may differ",
            id="a jar of other content",
        ),
        pytest.param(
            lambda lib: (lib / "flink-dist-2.1.3.jar").rename(lib / "flink-dist-2.1.4.jar"),
            "runtime/jars/flink-dist-2.1.3.jar",
            r"[0-9a-f]{12} → none: its rows may differ",
            id="another Flink",
        ),
    ],
)
def test_another_runtime_is_another_release_that_needs_a_replay(
    settings: Settings, tmp_path: Path, change: Callable[[Path], object], where: str, what: str
) -> None:
    made = product(tmp_path / "tiny")
    built = release.build(settings, made)
    old = plan.Version(made, {}, release.archived_parts(built.folder, made))
    change(settings.flink.home / "lib")
    assert release.fingerprint_of(settings, made) != built.fingerprint
    found = plan.compare(old, plan.Version(made, {}, release.computation_parts(settings, made)))
    assert found.kind is Kind.replay
    [reason] = [r for r in found.reasons if r.where == where]
    assert re.fullmatch(what, reason.what)


def test_differences_are_told_in_short() -> None:
    built = {
        "jars/a.jar": "0" * 64,
        "python/pyarrow": "19.0",
        "python": "CPython 3.11.7",
        "plan/rows": "x",
    }
    now = {
        "jars/a.jar": "1" * 64,
        "jars/b.jar": "2" * 64,
        "python/pyarrow": "20.0",
        "python": "CPython 3.11.7",
    }
    assert runtime.differences(built, now) == (
        "a.jar 000000000000 → 111111111111, b.jar none → 222222222222, pyarrow 19.0 → 20.0"
    )
    assert runtime.differences(built, built) == ""


def test_a_jar_that_only_carries_asks_for_no_replay(settings: Settings, tmp_path: Path) -> None:
    made = product(tmp_path / "tiny")
    before = release.fingerprint_of(settings, made)
    (settings.flink.home / "lib" / "log4j-core.jar").write_text("another")
    assert release.fingerprint_of(settings, made) == before
