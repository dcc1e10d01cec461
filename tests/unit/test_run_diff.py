"""`kappa diff`: which checkpoints it compares, and what a person reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from jobs.product.folder import Product
from replay.cli.diff import ChosenSide, choose, in_text
from replay.compare.changes import Change, DiffReport, TableDiff
from replay.compare.diff import Side
from replay.core.model import (
    Attempt,
    Checkpoint,
    Position,
    ProductState,
    Publication,
    Release,
    State,
)
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from replay.output import Output, View, show
from tests.unit import products

PRODUCT = products.orders()


@dataclass
class Lake:
    """Publishable checkpoints per attempt."""

    checkpoints: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        return PRODUCT

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        return tuple(
            Checkpoint(c, {"order_rows": c}) for c in self.checkpoints.get(attempt.name, ())
        )


def attempt(release: int, state: State, *positions: int, number: int = 1) -> Attempt:
    return Attempt(
        "orders",
        release,
        number,
        0.0,
        1,
        ("j",),
        state=state,
        positions=tuple(Position(c, read := {"orders": {0: 10 * c}}, read=read) for c in positions),
    )


def product_state(*attempts: Attempt, published: bool = True) -> ProductState:
    """r1-a1 is what readers see, at its checkpoint 4, which covers 30 records."""
    shown = Publication(1, "orders", 1, 1, 4, {}, {"order_rows": 4}, {"orders": {0: 30}}, 0.0, 1.0)
    releases = tuple(Release("orders", n, str(n), 0.0, {}) for n in {a.release for a in attempts})
    return ProductState("orders", releases, attempts, (shown,) if published else ())


ACTIVE = attempt(1, State.active, 3, 4, 5)
SHOWN = ChosenSide(Side("r1-a1", PRODUCT, {"order_rows": 4}, {"orders": {0: 30}}), 4)


def at(name: str, checkpoint: int, covered: int) -> ChosenSide:
    return ChosenSide(
        Side(name, PRODUCT, {"order_rows": checkpoint}, {"orders": {0: covered}}), checkpoint
    )


def test_by_default_what_readers_see_and_the_candidate() -> None:
    state = product_state(ACTIVE, attempt(2, State.replaying, 1, 2, 3), attempt(3, State.failed))
    assert choose(Lake({"r2-a1": (4, 3, 2)}), state, None, None) == (SHOWN, at("r2-a1", 4, 30))


def test_without_a_candidate_the_newest_attempt_that_runs() -> None:
    state = product_state(attempt(3, State.standby, 1), attempt(2, State.standby, 1, 2), ACTIVE)
    assert choose(Lake({"r2-a1": (3,), "r3-a1": (3,)}), state, None, None) == (
        SHOWN,
        at("r2-a1", 3, 20),
    )


def test_a_checkpoint_without_a_position_is_passed_over() -> None:
    state = product_state(ACTIVE, attempt(2, State.replaying, 7, 8))
    assert choose(Lake({"r2-a1": (8, 7)}), state, None, None)[1] == at("r2-a1", 8, 80)
    assert choose(Lake({"r2-a1": (7, 6)}), state, None, None)[1] == at("r2-a1", 7, 70)
    with pytest.raises(RetryableError) as e:
        choose(Lake({"r2-a1": (6, 5)}), state, None, None)
    assert str(e.value).splitlines() == [
        "r2-a1 has no checkpoint to compare yet",
        "  expected: a checkpoint in every table, and its position",
        "  found:    checkpoint 8",
        "  next:     repeat the command in a minute",
    ]


def test_attempts_and_releases_by_name() -> None:
    state = product_state(
        ACTIVE, attempt(2, State.aborted, 1), attempt(2, State.standby, 1, number=2)
    )
    lake = Lake({"r2-a1": (2,), "r2-a2": (2,)})
    assert choose(lake, state, "r2", "r1") == (at("r2-a2", 2, 10), SHOWN)
    assert choose(lake, state, "r2-a1", "r2-a2") == (at("r2-a1", 2, 10), at("r2-a2", 2, 10))


@pytest.mark.parametrize(
    ("state", "old", "new", "kind", "message"),
    [
        (
            product_state(published=False),
            None,
            None,
            ConfigError,
            "nothing of 'orders' is published",
        ),
        (
            product_state(ACTIVE),
            None,
            None,
            RefusedError,
            "there is nothing to compare orders r1-a1 with",
        ),
        (
            product_state(ACTIVE),
            None,
            "r1",
            RefusedError,
            "there is nothing to compare orders r1-a1 with",
        ),
        (product_state(ACTIVE), None, "r9", ConfigError, "orders has no 'r9'"),
        (
            product_state(ACTIVE, attempt(2, State.retired)),
            None,
            "r2",
            RefusedError,
            "nothing is left of r2-a1 to compare",
        ),
    ],
    ids=["never deployed", "alone", "itself", "unknown", "cleaned"],
)
def test_what_cannot_be_compared(
    state: ProductState, old: str | None, new: str | None, kind: type[KappaError], message: str
) -> None:
    with pytest.raises(kind) as e:
        choose(Lake(), state, old, new)
    assert e.value.message == message


def report(*tables: TableDiff) -> DiffReport:
    clock = dt.datetime(2013, 7, 3, 11, tzinfo=dt.UTC)
    return DiffReport("orders", "r1-a1", "r2-a1", {"orders": {0: 12_345, 1: 5}}, clock, tables)


def text_of(
    found: DiffReport, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setattr("replay.output.out._width", 80)
    show(View(None, list(in_text(found))), Output.text)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return [line.strip() for line in lines]


def test_no_difference(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = text_of(report(TableDiff("order_rows", "rows", same=5)), capsys, monkeypatch)
    assert lines[0] == "the first 12,350 records of the log; windows closed by 2013-07-03 11:00 UTC"
    assert lines[-1] == "no difference"


def test_differences_in_plain_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = TableDiff(
        "order_rows",
        "rows",
        ("order_id",),
        same=4,
        only_new=1207,
        changed=1,
        columns={"cents": 1},
        columns_only_new=("colour",),
        left_out={"without a place in the log": (0, 1), "beyond the position": (7, 0)},
        samples={
            "changed": (Change({"order_id": "a"}, {"cents": 3}, {"cents": None}),),
            "only_new": (Change({"order_id": "b"}, None, {"cents": 1}),),
        },
    )
    hours = TableDiff(
        "hourly_orders",
        "aggregate",
        ("shop",),
        same=4,
        changed=1,
        columns={"orders": 1},
        measure="orders",
        sums={"orders": (1200, 2407), "cents": (1, 1)},
        largest=(
            Change(
                {"shop": "corner", "hour": dt.datetime(2013, 7, 3)}, {"orders": 1}, {"orders": 1208}
            ),
            Change({"shop": "market", "hour": None}, None, {"orders": 3}),
        ),
    )
    rejects = TableDiff(
        "rejects",
        "rejects",
        ("log_offset",),
        only_old=2,
        samples={
            "only_old": (Change({"log_offset": 1234}, {"reason": "late", "payload": b"?"}, None),)
        },
    )
    left_out = TableDiff("x", "aggregate", not_compared="why not")
    lines = text_of(report(rows, hours, rejects, left_out), capsys, monkeypatch)
    for line in (
        "order_rows: 1,207 rows only in r2-a1, 1 row changed",
        "cents differs in 1 row",
        "columns only in r2-a1, not compared: colour",
        "not compared, without a place in the log: 0 rows of r1-a1, 1 row of r2-a1",
        "hourly_orders: 1 row changed",
        "orders in all: 1,200 in r1-a1, 2,407 in r2-a1 (+1,207)",
        "where orders changed most",
        "│ corner │ 2013-07-03 00:00:00 │ 1      │ 1,208 │",
        "│ market │ NULL                │ no row │     3 │",
        "rejects: 2 rows only in r1-a1",
        "│ 1234       │ late   │",
        "│ a        │ cents  │     3 │ NULL  │",
        "only in r2-a1, for example",
        "│ b        │",
        "x: not compared",
        "why not",
    ):
        assert line in lines, "\n".join(lines)
    assert not [line for line in lines if "beyond" in line or line == "no difference"]
