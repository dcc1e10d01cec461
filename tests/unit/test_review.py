"""A folder beside the release that readers see, in a real lake: what changed, what a replay takes, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import typer
from pyiceberg.catalog import Catalog

from jobs.product.folder import Product
from replay.cli import plan as run_plan
from replay.cli.from_git import Given
from replay.controller import preflight
from replay.controller import review as reviewing
from replay.controller.review import Disk, MeasuredReplay, ReplayEstimate, last_replay, review
from replay.core.log_identity import Topic
from replay.core.model import Attempt, Move, Position, ProductState, Publication, Release, State
from replay.core.observed import FlinkDownError
from replay.errors import ConfigError, RefusedError
from replay.flink import resolved
from replay.flink.rest import Slots
from replay.iceberg import lake, table_changes
from replay.kafka.schemas import Comparison
from replay.kafka.schemas import Kind as SchemaKind
from replay.kafka.whole_log import LogProblem
from replay.offsets import Offsets
from replay.output import Output
from replay.releases.reason import Kind
from replay.releases.release import build
from replay.settings import Settings
from tests.unit.folders import COLUMNS, SETTINGS, SQL, Types, write
from tests.unit.lake_tables import make_settings

MB = 1_000_000


@dataclass
class FakePlatform:
    """A log of 60 records beside 5 of reference data."""

    catalog: Catalog
    settings: Settings
    slots_now: Slots | None = field(default_factory=lambda: Slots(2, 4))
    clusters: object | None = None
    log: dict[str, dict[int, int]] = field(default_factory=lambda: {"orders": {0: 40, 1: 20}})
    reference: dict[str, dict[int, int]] = field(default_factory=lambda: {"colours": {0: 5}})
    changes: tuple[str, ...] = ()
    shown: dict[str, int] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)

    def ends(self, product: Product) -> Offsets:
        return self.log

    def log_changes(self, attempt: Attempt) -> tuple[str, ...]:
        return self.changes

    def log_advice(self, product: Product) -> list[str]:
        return self.advice

    def main(self, product: Product) -> tuple[dict[str, int], bool]:
        return self.shown, not self.shown

    def reference_ends(self, product: Product) -> Offsets:
        return self.reference

    def memory(self, rest: str) -> int:
        return 4_000 * MB

    def slots(self) -> Slots:
        if self.slots_now is None:
            raise FlinkDownError("Flink does not answer")
        return self.slots_now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "home")


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return write(tmp_path / "tiny")


@pytest.fixture
def platform(settings: Settings) -> FakePlatform:
    return FakePlatform(lake.open_catalog(settings), settings)


@pytest.fixture
def state(
    settings: Settings, product: Product, platform: FakePlatform, tmp_path: Path
) -> ProductState:
    """Readers see r1-a1, whose replay of 30 records took 10 s; its tables have files, its job a checkpoint."""
    table_changes.ensure(platform.catalog, product)
    rows = platform.catalog.load_table(("tiny", "rows"))
    rows.append(pa.table({"a": pa.array(range(1000), pa.int32()), "b": pa.array(["x"] * 1000)}))
    (chk := tmp_path / "home" / "checkpoints" / "tiny" / "r1-a1" / "chk-1").mkdir(parents=True)
    (chk / "_metadata").write_bytes(b"0" * 5000)
    built = build(settings, product)
    snapshot = rows.current_snapshot()
    assert snapshot is not None
    attempt = Attempt(
        "tiny",
        1,
        1,
        0.0,
        2,
        ("j",),
        State.active,
        submitted_at=100.0,
        caught_up_at=110.0,
        positions=(
            Position(1, {"orders": {0: 1}}, 105.0),
            Position(2, {"orders": {0: 20, 1: 10}}, 110.0),
            Position(3, {"orders": {0: 40, 1: 20}}, 500.0),
        ),
    )
    return ProductState(
        "tiny",
        (Release("tiny", 1, built.fingerprint, 0.0, {"colours": {0: 5}}, None, built.computation),),
        (attempt,),
        (
            Publication(
                1, "tiny", 1, 1, 3, {}, {"rows": snapshot.snapshot_id}, {}, 0.0, 1.0, Move.publish
            ),
        ),
    )


def candidate(state: ProductState, release: Release | None = None) -> ProductState:
    a = Attempt("tiny", release.number if release else 1, 2, 0.0, 2, ("k",), State.replaying)
    return replace(
        state,
        attempts=(*state.attempts, a),
        releases=(*state.releases, release) if release else state.releases,
    )


def test_nothing_changed(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    found = review(settings, platform, product, state)
    assert (found.change.kind, found.change.reasons, found.change.diff) == (Kind.nothing, (), "")
    assert found.shown is not None
    assert (found.shown.release.name, found.shown.attempt.name) == ("r1", "r1-a1")
    assert found.needs.records == 65


def test_another_log_than_readers_rows_are_of_is_refused(
    platform: FakePlatform, state: ProductState
) -> None:
    preflight.refuse_another_log(platform, state)
    platform.changes = ("topic orders was deleted and made again",)
    with pytest.raises(RefusedError) as e:
        preflight.refuse_another_log(platform, state)
    assert (e.value.message, e.value.found) == (
        "the log is not the one that tiny-r1-a1 has read, which readers see",
        "topic orders was deleted and made again",
    )
    preflight.refuse_another_log(platform, replace(state, publications=()))


def test_tables_that_an_earlier_product_left_are_told_of_before_the_replay(
    platform: FakePlatform, product: Product, state: ProductState
) -> None:
    platform.shown = {"rows": 5}
    preflight.refuse_kept_tables(platform, product, state)
    nothing = replace(state, publications=(), attempts=(), releases=())
    with pytest.raises(RefusedError, match="tables of an earlier tiny are there, with rows") as e:
        preflight.refuse_kept_tables(platform, product, nothing)
    assert e.value.next == "kappa remove tiny, which drops them; or another name in product.yaml"
    platform.shown = {}
    preflight.refuse_kept_tables(platform, product, nothing)


def test_the_estimate_is_by_the_last_replays_rate(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    needs = review(settings, platform, product, state).needs
    assert (needs.measured, needs.seconds) == (MeasuredReplay("r1-a1", 30, 10.0), 21.7)


def test_the_disk_is_what_readers_tables_and_checkpoints_take(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    (disk,) = review(settings, platform, product, state).needs.disks
    files = sum(f.stat().st_size for f in (settings.home / "lake" / "warehouse").rglob("*.parquet"))
    assert disk.needed == round(files * reviewing.FILES_FACTOR) + reviewing.LEAST_BYTES + 5000
    assert disk.free > 0


def test_tables_that_are_elsewhere_have_no_estimate(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    elsewhere = settings.model_copy(
        update={
            "catalog": settings.catalog.model_copy(
                update={"pyiceberg": {"type": "rest", "uri": "http://127.0.0.1:1"}}
            ),
            "flink": settings.flink.model_copy(update={"checkpoints": "s3://bucket/checkpoints"}),
        }
    )
    assert reviewing.disks(elsewhere, {}, state) == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {}, MeasuredReplay("r1-a1", 30, 10.0), id="at the position where it caught up"
        ),
        pytest.param(
            {"positions": (Position(9, {"orders": {0: 50}}, 500.0),)},
            MeasuredReplay("r1-a1", 50, 10.0),
            id="that position is gone",
        ),
        pytest.param({"job_ids": ("j", "k")}, None, id="it was resumed"),
        pytest.param({"caught_up_at": None}, None, id="it never caught up"),
        pytest.param({"positions": ()}, None, id="it has no position"),
    ],
)
def test_what_counts_as_measured(
    state: ProductState, fields: dict[str, Any], expected: MeasuredReplay | None
) -> None:
    assert last_replay(replace(state, attempts=(replace(state.attempts[0], **fields),))) == expected


def test_a_later_release_of_the_same_rows_counts(
    settings: Settings,
    platform: FakePlatform,
    product: Product,
    state: ProductState,
    tmp_path: Path,
) -> None:
    described = write(tmp_path / "new", settings={**SETTINGS, "description": "words"})
    built = build(settings, described)
    later = replace(state.releases[0], number=2, fingerprint=built.fingerprint)
    adopted = replace(
        state, releases=(*state.releases, later), attempts=(replace(state.attempts[0], metadata=2),)
    )
    assert review(settings, platform, described, adopted).change.kind is Kind.nothing
    assert review(settings, platform, product, adopted).change.kind is Kind.metadata


def test_new_reference_data_is_a_replay(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    platform.reference = {"colours": {0: 6}}
    assert review(settings, platform, product, state).change.reasons[0].where == "topic colours"


def test_a_column_that_an_aborted_release_left(
    settings: Settings, platform: FakePlatform, state: ProductState, tmp_path: Path
) -> None:
    def with_column(kind: str) -> Types:
        return {**COLUMNS, "rows": (*COLUMNS["rows"], ("c", kind))}

    table_changes.ensure(
        platform.catalog, write(tmp_path / "aborted", columns=with_column("STRING"))
    )
    found = review(settings, platform, write(tmp_path / "new", columns=with_column("INT")), state)
    assert (found.change.kind, found.change.reasons[0].where) == (Kind.breaking, "column rows.c")


# Preflight

WHOLE: Callable[..., list[LogProblem]] = lambda *_: []  # noqa: E731


@pytest.fixture
def whole_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.controller.preflight.schemas.log_problems", WHOLE)


BREAKING: Types = {**COLUMNS, "rows": (("a", "STRING"), *COLUMNS["rows"][1:])}
OTHER_ROWS = SQL.replace("SELECT a", "SELECT a + 1")


def preflight_of(
    product: Product, settings: Settings, platform: FakePlatform, state: ProductState
) -> None:
    preflight.preflight(settings, platform, product, state)


def test_preflight_lets_a_replay_begin(
    settings: Settings,
    platform: FakePlatform,
    product: Product,
    state: ProductState,
    tmp_path: Path,
) -> None:
    preflight_of(product, settings, platform, state)
    preflight_of(write(tmp_path / "new", sql=OTHER_ROWS), settings, platform, state)
    preflight_of(product, settings, platform, ProductState("tiny"))


def test_preflight_names_what_is_wrong_with_the_log(
    settings: Settings, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [
        LogProblem("orders", "a topic", "none", "create topic orders"),
        LogProblem("b", "x", "y", "z"),
    ]
    monkeypatch.setattr("replay.controller.preflight.schemas.log_problems", lambda *_: problems)
    with pytest.raises(RefusedError) as e:
        preflight.preflight_log(settings, product)
    assert str(e.value) == (
        "the log of tiny is not whole: topic orders\n"
        "  expected: a topic\n"
        "  found:    none\n"
        "    topic b: expected x, found y; next: z\n"
        "  next:     create topic orders"
    )
    monkeypatch.setattr("replay.controller.preflight.schemas.log_problems", lambda *_: [])
    preflight.preflight_log(settings, product)


def test_preflight_refuses_what_readers_could_not_follow(
    settings: Settings, platform: FakePlatform, state: ProductState, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError) as e:
        preflight_of(write(tmp_path / "new", columns=BREAKING), settings, platform, state)
    assert str(e.value) == (
        "readers of tiny could not follow this change\n"
        "  expected: new outputs, new columns, wider types, other rows in the same tables\n"
        "  found:    column rows.a: INT → STRING: its readers could not go on\n"
        "  next:     leave rows.a as it was, and write the new rows to a new output rows_2 (product.yaml, "
        "rows_2.sql)"
    )


def test_preflight_refuses_a_check_that_cannot_run(
    settings: Settings, platform: FakePlatform, product: Product, state: ProductState
) -> None:
    (product.folder / "checks" / "x.sql").write_text("SELECT colour FROM rows")
    with pytest.raises(ConfigError, match=r"the check 'checks/x\.sql' cannot run"):
        preflight_of(product, settings, platform, state)


def test_preflight_refuses_a_small_disk_unless_nothing_new_is_replayed(
    settings: Settings,
    platform: FakePlatform,
    product: Product,
    state: ProductState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "replay.controller.review.shutil.disk_usage", lambda _: SimpleNamespace(free=100)
    )
    other = write(tmp_path / "new", sql=OTHER_ROWS)
    with pytest.raises(RefusedError, match="the disk is too small to replay tiny"):
        preflight_of(other, settings, platform, state)
    preflight_of(product, settings, platform, state)
    preflight_of(other, settings, platform, candidate(state))


def test_a_small_disk_says_what_it_lacks() -> None:
    needs = ReplayEstimate(65, None, (Disk(Path("/lake"), 2_500 * MB, 900 * MB),))
    with pytest.raises(RefusedError) as e:
        preflight.refuse_small_disk("tiny", needs)
    assert str(e.value) == (
        "the disk is too small to replay tiny\n"
        "  expected: 2.5 GB free for /lake, by what readers' tables and the checkpoints of their job take\n"
        "  found:    900 MB\n"
        "  next:     free some space; a release on standby gives up its own: kappa retire tiny"
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (34 * MB, "34 MB"),
        (72_400 * MB, "72 GB"),
        (10**16, "10,000.0 TB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    assert preflight.size(count) == expected


# kappa plan


class FakeStore:
    def __init__(self, state: ProductState, session: tuple[str, ...] = ()) -> None:
        self.state, self.session = state, session

    def load(self, name: str) -> ProductState:
        return self.state

    def on_session_cluster(self) -> list[str]:
        return list(self.session)


@pytest.fixture
def kappa_plan(
    settings: Settings, platform: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    monkeypatch.setattr(run_plan, "load_settings", lambda: settings)
    monkeypatch.setattr(run_plan, "Platform", lambda _: platform)
    monkeypatch.setattr("replay.output.out.width", 200)
    monkeypatch.setattr("replay.cli.plan.schemas.compare", lambda *_: [])
    monkeypatch.setattr(run_plan, "look_at", lambda *_: SimpleNamespace(stopped=""))

    def run(
        state: ProductState,
        product: Product,
        output: Output = Output.text,
        session: tuple[str, ...] = (),
    ) -> None:
        assert product.resolved is not None
        answer = {
            "ok": True,
            "problems": [],
            "resolved": product.resolved.model_dump(mode="json"),
            "plan": "",
        }
        monkeypatch.setattr(resolved, "ask", lambda *_: answer)
        monkeypatch.setattr(run_plan, "Store", lambda _: FakeStore(state, session))
        run_plan.plan("tiny", Given(product.folder), output)

    return run


def test_plan_names_a_schema_that_the_registry_has_and_the_folder_has_not(
    kappa_plan: Callable[..., None],
    product: Product,
    state: ProductState,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    newer = Comparison(
        "orders", SchemaKind.registry_newer, "version 2 has + b int", "kappa pull tiny"
    )
    monkeypatch.setattr("replay.cli.plan.schemas.compare", lambda *_: [newer])
    kappa_plan(state, product)
    assert (
        "schema of orders: version 2 has + b int; next: kappa pull tiny\n"
        in capsys.readouterr().out
    )


def test_plan_of_a_replay(
    kappa_plan: Callable[..., None],
    state: ProductState,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = write(tmp_path / "new", sql=OTHER_ROWS)
    kappa_plan(state, new)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [
        "--- a/rows.sql",
        "+++ b/rows.sql",
        "@@ -1 +1 @@",
        "-SELECT a, 'x -- y' AS b FROM orders -- of the shop",
        "+SELECT a + 1, 'x -- y' AS b FROM orders -- of the shop",
    ]
    assert lines[5] == (
        "tiny beside r1, which readers see: needs a replay of the log from offset zero; readers' "
        "tables stay until the switch"
    )
    text = "\n".join(lines)
    assert "22 s, at the rate of r1-a1 (30 records in 10 s)" in text
    assert "2 of 2 free" in text
    assert lines[-1] == f"next:  kappa deploy tiny --from {new.folder}"


def test_plan_says_that_publishing_has_stopped(
    kappa_plan: Callable[..., None],
    state: ProductState,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run_plan, "look_at", lambda *_: SimpleNamespace(stopped="stopped: why"))
    kappa_plan(state, product)
    assert "\nstopped: why\n" in capsys.readouterr().out
    kappa_plan(state, product, Output.json)
    assert json.loads(capsys.readouterr().out)["publishing_stopped"] == "stopped: why"


def test_plan_says_what_should_be_known_of_the_log(
    kappa_plan: Callable[..., None],
    platform: FakePlatform,
    state: ProductState,
    product: Product,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert state.published
    known = replace(
        state.attempt(state.published.attempt_name), log={"orders": Topic("id", {}, 1, 1)}
    )
    platform.advice = ["orders: one disk"]
    told = preflight.advice(platform, product, replace(state, attempts=(known,)))
    assert told[0] == "orders: one disk"
    assert told[1].startswith(
        "topic orders has 2 partitions and had 1 when the job began to read it: where producers"
    )
    assert preflight.advice(platform, product, state) == ["orders: one disk"]
    kappa_plan(state, product)
    assert "\norders: one disk\n" in capsys.readouterr().out
    kappa_plan(state, product, Output.json)
    assert json.loads(capsys.readouterr().out)["log"] == ["orders: one disk"]


def test_plan_as_json(
    kappa_plan: Callable[..., None],
    state: ProductState,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kappa_plan(state, write(tmp_path / "new", sql=OTHER_ROWS), Output.json)
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["readers_see"]) == (
        "replay",
        {"release": "r1", "attempt": "r1-a1"},
    )
    assert document["reasons"] == [
        {"kind": "replay", "where": "rows.sql", "what": "changed", "instead": ""}
    ]
    assert {k: document["needs"][k] for k in ("records", "seconds", "slots", "free_slots")} == {
        "records": 65,
        "seconds": 21.7,
        "slots": 2,
        "free_slots": 2,
    }


def test_plan_refuses_what_a_deploy_would_refuse(
    kappa_plan: Callable[..., None],
    state: ProductState,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = write(tmp_path / "new", columns=BREAKING)
    with pytest.raises(RefusedError, match="readers of tiny could not follow this change"):
        kappa_plan(state, new)
    assert "breaking, refused" in capsys.readouterr().out
    with pytest.raises(typer.Exit) as e:
        kappa_plan(state, new, Output.json)
    document = json.loads(capsys.readouterr().out)
    assert (e.value.exit_code, document["kind"], document["error"]) == (
        1,
        "breaking",
        "RefusedError",
    )


def test_plan_of_a_first_release_knows_no_time(
    kappa_plan: Callable[..., None], product: Product, capsys: pytest.CaptureFixture[str]
) -> None:
    kappa_plan(ProductState("tiny"), product)
    text = capsys.readouterr().out
    assert text.startswith("tiny: needs a replay of the log from offset zero")
    assert "nothing is published yet: this is the first release" in text
    assert "not known: no replay of this product was measured yet" in text


def test_plan_of_nothing(
    kappa_plan: Callable[..., None],
    state: ProductState,
    product: Product,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kappa_plan(state, product)
    assert capsys.readouterr().out == (
        "tiny beside r1, which readers see: nothing to do\nnext:  kappa status tiny\n"
    )


def test_plan_beside_a_candidate(
    kappa_plan: Callable[..., None],
    settings: Settings,
    state: ProductState,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = write(tmp_path / "new", sql=OTHER_ROWS)
    release = replace(state.releases[0], number=2, fingerprint=build(settings, other).fingerprint)
    kappa_plan(candidate(state, release), other)
    assert capsys.readouterr().out.endswith(
        f"next:  kappa deploy tiny --from {other.folder}  (follows r2-a2, which is under way)\n"
    )
    third = write(tmp_path / "third", sql=SQL.replace("SELECT a", "SELECT a + 2"))
    kappa_plan(candidate(state, release), third)
    assert capsys.readouterr().out.endswith(
        "next:  kappa abort tiny  (r2-a2 is under way, and there is one candidate at a time)\n"
    )


def test_plan_needs_no_flink(
    kappa_plan: Callable[..., None],
    state: ProductState,
    platform: FakePlatform,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform.slots_now = None
    kappa_plan(state, write(tmp_path / "new", sql=OTHER_ROWS))
    assert "task slots" in capsys.readouterr().out


def test_plan_of_a_replay_on_a_cluster_of_its_own(
    kappa_plan: Callable[..., None],
    state: ProductState,
    platform: FakePlatform,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    platform.clusters = object()
    kappa_plan(state, write(tmp_path / "new", sql=OTHER_ROWS), session=("tiny-r1-a1",))
    text = capsys.readouterr().out
    assert "2, on a Flink cluster of its own" in text
    assert "4.0 GB of " in text


def test_plan_of_another_folder(
    kappa_plan: Callable[..., None], state: ProductState, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the folder holds another product"):
        kappa_plan(state, write(tmp_path / "new", settings={**SETTINGS, "name": "small"}))
