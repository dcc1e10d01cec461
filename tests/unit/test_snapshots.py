"""Which snapshots `kappa query --attempt`, `--checkpoint` and `--at` read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from jobs.product.folder import Product
from replay.cli.snapshots import Snapshots, of_attempt, of_time, parse_time
from replay.core.model import Attempt, Checkpoint, ProductState, Publication, State
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from tests.unit.products import flights

ACTIVE = Attempt("flights", 1, 1, 0.0, 2, ("a",), State.active, submitted_at=1.0, confirmed=True)
BESIDE = Attempt("flights", 2, 1, 5.0, 2, ("b",), State.replaying, submitted_at=6.0, confirmed=True)
OVER = Attempt("flights", 2, 2, 7.0, 2, ("c",), State.aborted, submitted_at=8.0, confirmed=True)
SHOWN = Publication(3, "flights", 1, 1, 12, {}, {"rows": 120}, {}, 20.0, 21.0)
STATE = ProductState("flights", (), (ACTIVE, BESIDE, OVER), (SHOWN,))


@dataclass
class Branches:
    """A platform whose branches hold these checkpoints, newest first."""

    of: dict[str, tuple[int, ...]]

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        return flights()

    def publishable(self, product: Product, attempt: Attempt) -> tuple[Checkpoint, ...]:
        found = self.of.get(attempt.name, ())
        return tuple(Checkpoint(c, {"rows": 10 * c}) for c in found)


@pytest.mark.parametrize(
    ("name", "checkpoint", "expected"),
    [
        pytest.param(None, 12, ("r1-a1", 12), id="the checkpoint that readers see"),
        pytest.param("r1", None, ("r1-a1", 12), id="as readers see it, not its newest"),
        pytest.param(None, 13, ("r1-a1", 13), id="a newer one of the same attempt"),
        pytest.param("r1-a1", 11, ("r1-a1", 11), id="an older one"),
        pytest.param("r2", None, ("r2-a1", 7), id="the candidate's newest"),
        pytest.param("r2-a1", 6, ("r2-a1", 6), id="an older one of the candidate"),
    ],
)
def test_an_attempt_is_read_at_one_checkpoint(
    name: str | None, checkpoint: int | None, expected: tuple[str, int]
) -> None:
    platform = Branches({"r1-a1": (13, 12, 11), "r2-a1": (7, 6)})
    found = of_attempt(platform, STATE, name, checkpoint)
    assert found == Snapshots(*expected, {"rows": 10 * expected[1]})
    assert str(found) == "{}, checkpoint {}".format(*expected)


@pytest.mark.parametrize(
    ("state", "name", "checkpoint", "error", "said"),
    [
        pytest.param(
            STATE, "r1", 4, RefusedError, "checkpoint 4 of r1-a1 is not in every", id="gone"
        ),
        pytest.param(STATE, "r2-a2", None, RefusedError, "nothing is left of r2-a2", id="ended"),
        pytest.param(STATE, "r2-a1", None, RetryableError, "r2-a1 has no checkpoint yet", id="new"),
        pytest.param(STATE, "r9", None, ConfigError, "flights has no 'r9'", id="unknown"),
        pytest.param(ProductState("flights"), None, 1, KappaError, "flights", id="not deployed"),
    ],
)
def test_what_cannot_be_read_is_said(
    state: ProductState,
    name: str | None,
    checkpoint: int | None,
    error: type[KappaError],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        of_attempt(Branches({"r1-a1": (13, 12)}), state, name, checkpoint)


AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOW = AT.timestamp() + 1


def test_what_readers_saw_is_the_publication_of_then() -> None:
    found = of_time("flights", SHOWN, AT, NOW, {"rows": {120, 130}, "others": set()})
    assert found == Snapshots("r1-a1", 12, {"rows": 120})
    with pytest.raises(RefusedError, match="is not kept any more") as gone:
        of_time("flights", SHOWN, AT, NOW, {"rows": {130}})
    assert gone.value.found == "expired in rows"
    with pytest.raises(RefusedError, match="not known what readers of flights saw at 2026-01-31"):
        of_time("flights", None, AT, NOW, {})


def test_a_time_that_is_yet_to_come_is_refused() -> None:
    with pytest.raises(RefusedError, match="2026-01-31 12:00:00Z is yet to come"):
        of_time("flights", SHOWN, AT, NOW - 2, {"rows": {120}})


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00Z", "2026-01-31 12:00", "2026-01-31T14:00:00+02:00"]
)
def test_times_are_utc_unless_they_say_otherwise(text: str) -> None:
    assert parse_time(text) == AT


@pytest.mark.parametrize(
    "text", ["yesterday", "", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
)
def test_a_time_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="this is no time"):
        parse_time(text)
