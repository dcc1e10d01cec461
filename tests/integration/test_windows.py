"""Windows on local time lose nothing: in zones of every kind, live and replayed, against a calculation of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import flink, jars
from local.connector_jar import TEST, compile_java
from local.layout import java
from local.patches import JAR_NAME, build_patches_jar
from tests.integration import window_runs
from tests.integration.window_runs import Rows, Run

ZONES = (
    "UTC",
    "Etc/GMT-9",
    "Asia/Tokyo",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Kolkata",
    "Asia/Kathmandu",  # no change since 2011
    "America/New_York",
    "Africa/Cairo",
    "Australia/Lord_Howe",  # daylight saving time, one by half an hour
    "America/Sao_Paulo",
    "Europe/Istanbul",
    "Europe/Moscow",  # gave it up
    "Asia/Magadan",
    "Asia/Pyongyang",
    "Pacific/Apia",  # set back by two hours, by half an hour, forward by a day
)
RUNS = [
    run
    for zone in ZONES
    for run in (Run(zone, live=True), Run(zone, live=False, phase="ONE_PHASE"))
]
FAULTS = {
    Run("Asia/Tokyo", live=True): {
        "TUMBLE:1440:1440:0",
        "HOP:2880:1440:0",
        "CUMULATE:10080:1440:0",
        "DAYS",
    },
    Run("Asia/Kolkata", live=True, phase="ONE_PHASE"): {
        "TUMBLE:60:60:0",
        "HOP:180:60:0",
        "CUMULATE:1440:60:0",
        "ONCE",
    },
    Run("UTC", live=False): {
        "TUMBLE:60:60:15",
        "TUMBLE:1440:1440:300",
        "HOP:90:30:10",
        "CUMULATE:1440:360:120",
    },
    Run("Europe/Moscow", live=True): {"TUMBLE:30:30:0", "TUMBLE:60:60:0"},
    Run("Asia/Pyongyang", live=False): {"ONCE"},
}
"""Some of what Flink gets wrong without the patches, a run for each kind of fault."""

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """WindowRuns and Flink's own jars."""
    cache, classes = jars.cache_folder(), tmp_path_factory.mktemp("classes")
    needed = [jar for part in ("build", "test") for jar in jars.read_lock(part)]
    jars.ensure(needed, cache, lambda message: None)
    compile_java(
        java(),
        jars.path_of("ecj", cache),
        flink.wheel_jars(),
        [TEST / "java" / "kappa" / "flink" / "WindowRuns.java"],
        classes,
    )
    return [classes, *flink.wheel_jars()]


@pytest.fixture(scope="module")
def patched(classpath: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Run, Rows]:
    """What each run comes to, on the class path that the stack has."""
    ecj, asm = jars.path_of("ecj"), jars.path_of("asm")
    jar = build_patches_jar(
        java(), ecj, asm, flink.lib_jars(), tmp_path_factory.mktemp("lib") / JAR_NAME
    )
    return window_runs.run(java(), [jar, *classpath], RUNS)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_record_is_in_its_windows(patched: dict[Run, Rows], run: Run) -> None:
    expected = window_runs.expected(run.zone)
    missing, extra = expected - patched[run], patched[run] - expected
    assert (sorted(missing), sorted(extra)) == ([], [])
    assert {window for window, *_ in expected} == {
        *map(str, window_runs.WINDOWS),
        *window_runs.BEHIND,
    }


def test_without_the_patches_windows_lose_records(classpath: list[Path]) -> None:
    """A Flink that passes this test no longer needs them."""
    for run, faulty in window_runs.run(java(), classpath, list(FAULTS)).items():
        expected = window_runs.expected(run.zone)
        assert FAULTS[run] <= {window for window, *_ in expected - faulty}, run.name
