"""What is kept of the form of another version: older ones are read, newer ones refused with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replay.core.model import ATTEMPT_VERSION, Attempt, Check, Checkpoint, Position
from replay.errors import RefusedError
from replay.versions import refuse_newer
from tests.unit.test_store import ATTEMPT

BARE = Attempt(product="flights", release=1, number=1, created=11.0, parallelism=2, job_ids=("a",))
REQUIRED = {"product", "release", "number", "created", "parallelism", "job_ids"}


def test_a_body_says_of_which_version_it_is() -> None:
    """The first that can read it: a program that knows no topics would forget them."""
    assert BARE.to_json()["version"] == 1
    assert replace(BARE, topics={"o": "x.r1-a1"}).to_json()["version"] == ATTEMPT_VERSION


@pytest.mark.parametrize("field", sorted(BARE.to_json().keys() - REQUIRED))
def test_what_an_older_program_did_not_write_takes_its_default(field: str) -> None:
    body = BARE.to_json()
    del body[field]
    assert Attempt.from_json(body) == BARE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("more", 1, id="of the attempt"),
        pytest.param("checks", [{**ATTEMPT.to_json()["checks"][0], "more": 1}], id="of a check"),
        pytest.param("tip", {**ATTEMPT.to_json()["tip"], "more": 1}, id="of a checkpoint"),
        pytest.param(
            "positions", [[*ATTEMPT.to_json()["positions"][0], "more"]], id="of a position"
        ),
    ],
)
def test_what_a_newer_program_added_without_a_new_version_is_ignored(
    field: str, value: object
) -> None:
    found = Attempt.from_json({**ATTEMPT.to_json(), field: value})
    assert found == ATTEMPT


def test_a_check_and_a_position_of_an_older_program_are_read() -> None:
    check = {"name": "c", "blocking": True, "offending": 1}
    body = {
        **BARE.to_json(),
        "checks": [check],
        "positions": [[3, {}, 12.5, {}]],
        "tip": {"id": 3, "snapshots": {}},
    }
    found = Attempt.from_json(body)
    assert (found.checks, found.positions, found.tip) == (
        (Check("c", True, 1),),
        (Position(3, {}, 12.5, {}),),
        Checkpoint(3, {}),
    )


def test_a_body_of_a_newer_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(RefusedError) as e:
        Attempt.from_json({**BARE.to_json(), "version": ATTEMPT_VERSION + 1})
    assert str(e.value) == (
        "attempt r1-a1 of flights is of a newer version of kappa\n"
        "  expected: version 1 to 2\n"
        "  found:    version 3\n"
        "  next:     use the kappa that wrote it, or a newer one"
    )


@pytest.mark.parametrize("found", [0, -1, None, "1", True, 1.0])
def test_what_is_no_version_is_refused(found: object) -> None:
    with pytest.raises(RefusedError, match="the store has no known version"):
        refuse_newer("the store", found, 3)


def test_older_versions_are_read() -> None:
    for version in (1, 2, 3):
        refuse_newer("the store", version, 3)
