"""The story of the flights product on a running stack: a bug goes live, its fix is replayed beside it, compared, shown.

The tests share one log and follow each other.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from replay import offsets
from replay.core.model import State
from replay.iceberg import lake
from replay.kafka import log
from tests.integration.flights_product import (
    AFTER_MIDNIGHT,
    KEYS,
    NAME,
    Product,
    Reader,
    everything_is_right,
    first_difference,
    loading,
    no_late_record_was_dropped,
    readers_were_never_deceived,
    reference_is_there,
)
from tests.integration.running import RunningStack, wait_until
from tests.oracle import WRONG

pytestmark = pytest.mark.timeout(900)

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def product(stack: RunningStack) -> Iterator[Product]:
    """The product with a reader that never rests."""
    reader = Reader(stack)
    reader.start()
    try:
        yield Product(stack, reader)
    finally:
        reader.stop()


@pytest.fixture(scope="module")
def with_the_bug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product's folder as it was before the bug was found."""
    root = tmp_path_factory.mktemp("wrong")
    shutil.copytree(REPOSITORY / "sql", root / "sql")
    patch = (REPOSITORY / "demo" / "wrong_midnight.patch").read_text()
    subprocess.run(["patch", "-s", "-p1", "-d", root], input=patch, text=True, check=True)
    return root / "sql" / NAME


def test_a_release_goes_live_while_the_log_is_loaded(product: Product, with_the_bug: Path) -> None:
    stack = product.stack
    with loading(stack, scale=1):
        wait_until(lambda: reference_is_there(stack), 60, "the reference data is in the log")
        product.deploy("--from", str(with_the_bug))
    stack.kappa("load", NAME, "--until", "2013-12-01", "--rate", "12000")
    # the same release: followed until the rest is published too
    product.deploy("--from", str(with_the_bug))

    assert [a.name for a in product.state.attempts] == ["r1-a1"]
    assert len(product.reader.seen) > 2, "too few publications to show anything"
    readers_were_never_deceived(product)


def test_the_key_of_pseudonyms_is_in_its_own_files_alone(product: Product) -> None:
    """Not in a log, a release, bindings, a checkpoint, a job graph, an answer of Flink's, an argument, a variable."""
    settings, attempt = product.stack.settings, product.state.attempts[0]
    key = (settings.secrets / "pseudonym.key").read_text().strip()

    def holds(file: Path) -> bool:
        try:
            return file.is_file() and key.encode() in file.read_bytes()
        except OSError:  # it is gone, or somebody else's
            return False

    assert {file.parent for file in settings.home.rglob("*") if holds(file)} == {settings.secrets}
    assert len(list(settings.secrets.glob("pseudonym.key.*"))) == 1, "the release's own"
    processes = [
        file for name in ("cmdline", "environ") for file in Path("/proc").glob(f"[0-9]*/{name}")
    ]
    assert not [file for file in processes if holds(file)]
    rest = attempt.rest or settings.flink.rest
    for path in ("", "/config", "/plan", "/exceptions"):
        answer = httpx.get(f"{rest}/jobs/{attempt.job_id}{path}")
        assert answer.status_code == 200 and key not in answer.text


def test_the_fix_is_planned(product: Product) -> None:
    plan = product.stack.kappa.json("plan", NAME)
    assert plan["kind"] == "replay"
    assert plan["needs"]["records"] == offsets.total(
        log.end_offsets(product.stack.settings, log_topics(product))
    )
    assert [a.name for a in product.state.attempts] == ["r1-a1"], "a plan changes nothing"


def test_the_fix_is_replayed_beside_the_live_release(product: Product) -> None:
    stack = product.stack
    product.reader.only_job = True
    traffic = stack.kappa.start("load", NAME, "--rate", "500")
    moments = product.deploy("--no-auto-switch")
    said, _ = traffic.communicate(timeout=300)
    assert traffic.returncode == 0, said

    state = product.state
    assert {a.name: a.state for a in state.attempts} == {
        "r1-a1": State.active,
        "r2-a1": State.audited,
    }
    assert [c.name for c in state.attempt("r2-a1").checks if c.blocking and c.offending] == []
    assert state.attempt("r1-a1").rest != state.attempt("r2-a1").rest, (
        "each on a Flink cluster of its own"
    )
    lags = [m["live"]["records"] for m in moments if m.get("live")]
    assert lags and max(lags) <= 10_000, f"the live release fell behind during the replay: {lags}"

    wait_until(
        lambda: offsets.covers(product.published.covered, growing_ends(product)),
        120,
        "r1 published the end",
    )
    everything_is_right(product, 1, WRONG)
    no_late_record_was_dropped(product)


def test_what_the_fix_changes(product: Product) -> None:
    wait_until(
        lambda: offsets.covers(
            product.state.attempt("r2-a1").positions[-1].offsets, growing_ends(product)
        ),
        120,
        "r2 has read the log to its end too",
    )
    report = product.stack.kappa.json("diff", NAME, "--samples", str(2 * AFTER_MIDNIGHT))
    tables = {t["table"]: t for t in report["tables"]}
    departures, hourly, daily, rejects = (
        tables[t] for t in ("departures", "hourly_departures", "daily_routes", "rejects")
    )
    assert (departures["only_old"], departures["only_new"], departures["changed"]) == (
        0,
        AFTER_MIDNIGHT,
        0,
    )
    appeared = {
        "|".join(str(v) for v in sample["key"].values())
        for sample in departures["samples"]["only_new"]
    }
    assert appeared == {
        r["key"] for r in product.stack.kappa.json("load", NAME, "--list", "after-midnight")
    }
    for aggregate in (hourly, daily):
        assert aggregate["only_old"] == 0 and aggregate["only_new"] + aggregate["changed"] > 0
        before, after = aggregate["sums"]["flights"]
        assert after - before == AFTER_MIDNIGHT
    assert (rejects["only_new"], rejects["changed"]) == (0, 0)
    assert rejects["only_old"] >= AFTER_MIDNIGHT, "and the repeated events of some"


def test_readers_are_switched_back_and_forth(product: Product) -> None:
    kappa = product.stack.kappa
    product.reader.only_job = False
    for command, shown, other in (
        ("switch", "r2-a1", "r1-a1"),
        ("rollback", "r1-a1", "r2-a1"),
        ("switch", "r2-a1", "r1-a1"),
    ):
        said = kappa.json(command, NAME, "--dry-run")
        assert (said["dry_run"], product.published.attempt_name) == (True, other)
        said = kappa.json(command, NAME)
        assert (said["published"], said["records_behind_before"]) == (shown, 0)
        assert product.state.attempt(other).state is State.standby
        assert kappa.json(command, NAME)["changed"] is False, "said twice, done once"
    everything_is_right(product, 1)
    no_late_record_was_dropped(product)


def test_what_is_retired_leaves_nothing(product: Product) -> None:
    stack = product.stack
    before = product.state.attempt("r1-a1")
    assert stack.kappa("retire", NAME, "r2", check=False).returncode != 0, "readers see it"
    stack.kappa("retire", NAME, "r1")
    stack.kappa("retire", NAME, "r1")  # said twice

    assert product.state.attempt("r1-a1").state is State.retired
    jobs = httpx.get(f"{stack.settings.flink.rest}/jobs/overview", trust_env=False).json()["jobs"]
    assert {j["jid"]: j["state"] for j in jobs}.get(before.job_id) in (None, "CANCELED")
    catalog = lake.open_catalog(stack.settings)
    for table in KEYS:
        metadata = catalog.load_table((NAME, table)).metadata
        assert "r1-a1" not in metadata.refs
        assert all(lake.written_by(s)[0] not in before.job_ids for s in metadata.snapshots)
    assert log.committed_offsets(stack.settings, before.group, ["flights"])["flights"] == {}
    assert not (stack.layout.checkpoints / NAME / "r1-a1").exists()
    wait_until(
        lambda: not unreferenced_data_files(stack),
        60,
        lambda: f"no file is left that nobody names: {unreferenced_data_files(stack)}",
    )
    everything_is_right(product, 1)


def test_replayed_from_zero_at_another_parallelism_to_the_same_rows(product: Product) -> None:
    before, rows = product.active, product.rows()  # live rows: December came while it ran
    product.deploy("--again", "--parallelism", "1", "--auto-switch")

    active = product.active
    assert active.parallelism == 1 and active.name != before.name
    replayed = product.rows()
    for name, table in rows.items():
        assert table.num_rows == replayed[name].num_rows, name
        assert table.equals(replayed[name]), first_difference(name, table, replayed[name])
    no_late_record_was_dropped(product)
    readers_were_never_deceived(product)


@pytest.mark.soak
def test_every_rung_of_the_bench_runs(product: Product, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [
        sys.executable,
        "-m",
        "bench.ladder",
        "--until",
        "2013-02-01",
        "--results",
        str(results),
    ]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=product.stack.kappa.environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(results.read_text())["rows"]}
    assert {"raw_consumer", "pass_through", "four_joins", "gold_rocksdb", "product_iceberg"} <= set(
        rows
    )
    assert rows["product_iceberg"]["tables"]["departures"]["rows"] > 20_000


@pytest.mark.soak
@pytest.mark.chaos
def test_killed_under_load(product: Product) -> None:
    stack, attempt = product.stack, product.active
    assert not attempt.cluster, "on the session cluster, whose processes are killed"
    with loading(stack, scale=3):
        for program in ("taskmanager", "jobmanager", "kafka"):
            product.wait_published_beyond(
                product.published.checkpoint, f"before {program} is killed"
            )
            newest = product.active.checkpoint
            stack.wait_restarted(program, stack.kill(program))
            # One checkpoint may have been on its way; another takes a job that works again.
            product.wait_published_beyond(newest + 1, f"after {program} was killed")
    stack.kappa("load", NAME, "--scale", "3")
    product.deploy()

    assert product.active.name == attempt.name, "resumed from a checkpoint, not begun again"
    assert len(product.active.job_ids) > len(attempt.job_ids), (
        "the new JobManager was given the job again"
    )
    everything_is_right(product, scale=3)
    no_late_record_was_dropped(product)


def log_topics(product: Product) -> list[str]:
    return ["flights", "weather", "airlines", "airports", "planes"]


def growing_ends(product: Product) -> offsets.Offsets:
    return log.end_offsets(product.stack.settings, ["flights", "weather"])


def unreferenced_data_files(stack: RunningStack) -> set[str]:
    """Data files on disk that no snapshot of their table names; for a moment, those that a live job writes just now."""
    catalog = lake.open_catalog(stack.settings)
    found: set[str] = set()
    for table in KEYS:
        loaded = catalog.load_table((NAME, table))
        on_disk = {str(p) for p in Path(urlsplit(loaded.location()).path).glob("data/**/*.parquet")}
        named = {urlsplit(f).path for f in loaded.inspect.all_files()["file_path"].to_pylist()}
        assert on_disk and named, f"{table} has no files at all"
        found |= on_disk - named
    return found
