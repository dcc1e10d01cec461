"""What `kappa deploy` begins, follows and refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replay.cli import deploy as run_deploy
from replay.controller.deploy import Plan, Terms, finished, follow, need_slots, plan
from replay.core.model import Attempt, Check, ProductState, Publication, Release, State
from replay.errors import ConflictError, KappaError, RefusedError
from replay.flink.rest import Slots

R1 = Release("flights", 1, "f1", 0.0, {"airlines": {0: 16}})
R2 = replace(R1, number=2, fingerprint="f2", computation="c2")
SAME_ROWS = replace(R1, number=2, fingerprint="f2")
TARGET = {"flights": {0: 10}}


def attempt(
    number: int = 1, state: State = State.active, release: int = 1, **fields: Any
) -> Attempt:
    base = Attempt(
        "flights", release, number, float(number), 2, (f"j{number}",), state, confirmed=True
    )
    return replace(base, **fields)


def state(*attempts: Attempt, publications: tuple[Publication, ...] = ()) -> ProductState:
    return ProductState("flights", (R1,), attempts, publications)


def begun(
    before: ProductState, release: Release = R1, parallelism: int | None = None, **terms: Any
) -> Plan:
    return plan(
        before, release, Terms(parallelism or 2, parallelism is not None, **terms), 99.0, "new"
    )


def new(release: int, number: int, parallelism: int = 2, **fields: Any) -> Attempt:
    return Attempt("flights", release, number, 99.0, parallelism, ("new",), **fields)


CANDIDATE = attempt(2, State.replaying)
CAREFUL = new(2, 1, cluster="flights-r2-a1", auto_switch=False, deadline=7.0)
ADOPTED = attempt(metadata=2, recheck=True)


@pytest.mark.parametrize(
    ("before", "arguments", "expected"),
    [
        pytest.param(
            ProductState("flights"), {}, Plan(new(1, 1), R1, (new(1, 1),)), id="first release"
        ),
        pytest.param(
            state(),
            {},
            Plan(new(1, 1), None, (new(1, 1),)),
            id="recorded, but died before its attempt",
        ),
        pytest.param(state(attempt()), {}, Plan(attempt()), id="active already"),
        pytest.param(
            state(attempt()), {"again": True}, Plan(new(1, 2), None, (new(1, 2),)), id="again"
        ),
        pytest.param(
            state(attempt()), {"parallelism": 2}, Plan(attempt()), id="active with this parallelism"
        ),
        pytest.param(
            state(attempt()),
            {"parallelism": 1},
            Plan(new(1, 2, 1), None, (new(1, 2, 1),)),
            id="another one",
        ),
        pytest.param(state(attempt(), CANDIDATE), {}, Plan(CANDIDATE), id="under way: followed"),
        pytest.param(
            state(attempt()),
            {"release": R2},
            Plan(new(2, 1), R2, (new(2, 1),)),
            id="another release",
        ),
        pytest.param(
            state(attempt()),
            {"release": R2, "own_cluster": True, "auto_switch": False, "deadline": 7.0},
            Plan(CAREFUL, R2, (CAREFUL,)),
            id="beside the live one",
        ),
        pytest.param(
            state(attempt()),
            {"release": SAME_ROWS},
            Plan(ADOPTED, SAME_ROWS, (ADOPTED,)),
            id="only descriptions changed: no replay",
        ),
        pytest.param(
            state(attempt(), attempt(2, State.replaying, shadow=True)),
            {},
            Plan(attempt()),
            id="a shadow is not followed",
        ),
        pytest.param(
            state(attempt(state=State.failed)),
            {},
            Plan(new(1, 2), None, (new(1, 2),)),
            id="after a failure",
        ),
        pytest.param(
            state(attempt(stop=State.retired, state=State.standby)),
            {},
            Plan(new(1, 2), None, (new(1, 2),)),
            id="what is being stopped is not followed",
        ),
    ],
)
def test_plan(before: ProductState, arguments: dict[str, Any], expected: Plan) -> None:
    assert begun(before, **arguments) == expected


@pytest.mark.parametrize(
    ("before", "release", "message"),
    [
        pytest.param(
            state(attempt(), CANDIDATE),
            R2,
            "a candidate of flights is under way",
            id="one at a time",
        ),
        pytest.param(
            state(attempt(), attempt(2, State.replaying, shadow=True)),
            R2,
            "flights is being verified",
            id="not beside a verification",
        ),
        pytest.param(
            state(attempt(), attempt(2, State.standby, 1)), R1, None, id="active counts first"
        ),
        pytest.param(
            state(attempt(1, State.standby)),
            R1,
            "r1-a1 has exactly this release, and is on standby",
            id="switching is enough",
        ),
    ],
)
def test_what_is_not_begun(before: ProductState, release: Release, message: str | None) -> None:
    if message is None:
        assert begun(before, release).attempt == before.attempts[0]
        return
    with pytest.raises(RefusedError, match=message) as e:
        begun(before, release)
    assert "kappa " in e.value.next


def published(covered: int, number: int = 1) -> tuple[Publication, ...]:
    return (Publication(1, "flights", 1, number, 5, {}, {}, {"flights": {0: covered}}, 0.0, 1.0),)


@pytest.mark.parametrize(
    ("a", "publications", "expected"),
    [
        pytest.param(attempt(), published(10), True, id="all that was there when it began"),
        pytest.param(attempt(), published(9), False, id="not all yet"),
        pytest.param(
            attempt(2, State.caught_up), published(10), False, id="readers see another attempt"
        ),
        pytest.param(attempt(1, State.replaying), (), False, id="nothing published"),
        pytest.param(
            attempt(2, State.audited), published(10), False, id="readers are about to see it"
        ),
        pytest.param(
            attempt(2, State.audited, auto_switch=False),
            published(10),
            True,
            id="a person has to say so",
        ),
    ],
)
def test_a_deploy_is_done_when_readers_see_its_target(
    a: Attempt, publications: tuple[Publication, ...], expected: bool
) -> None:
    assert finished(a, state(a, publications=publications), TARGET) is expected


def test_a_release_that_changes_no_row_is_followed_until_its_checks_have_run() -> None:
    before = state(attempt(checks=(Check("old", True, 0),)), publications=published(10))
    adopted = begun(before, SAME_ROWS).attempt
    assert (adopted.recheck, adopted.checks) == (True, ()), "what older checks found is no answer"
    assert not finished(adopted, state(adopted, publications=published(10)), TARGET)
    done = replace(
        adopted, recheck=False, checks=(Check("checks/x.sql", True, 2, "2 offending rows"),)
    )
    assert finished(done, state(done, publications=published(10)), TARGET)
    error = run_deploy.found_fault(done)
    assert str(error) == (
        "checks failed on what readers of flights see; it stays published\n"
        "  expected: 0 offending rows\n"
        "  found:    checks/x.sql: 2 offending rows\n"
        "  next:     fix the SQL or the check, then: kappa deploy flights  (or kappa rollback flights; a check named "
        "in 'warnings' blocks nothing)"
    )
    assert run_deploy.found_fault(replace(done, checks=(Check("checks/x.sql", False, 2),))) is None


def test_a_failed_attempt_says_why_and_what_next() -> None:
    a = attempt(state=State.failed, error="java.io.IOException: the disk is full")
    with pytest.raises(KappaError) as e:
        finished(a, state(a), TARGET)
    assert str(e.value) == (
        "flights r1-a1 failed; readers see what they saw before\n"
        "  found:    java.io.IOException: the disk is full\n"
        "  next:     fix the cause, then: kappa deploy flights"
    )


def test_an_attempt_that_was_aborted_is_not_waited_for() -> None:
    a = attempt(state=State.replaying, stop=State.aborted, error="aborted by me")
    with pytest.raises(ConflictError, match="was given up"):
        finished(a, state(a), TARGET)


def test_the_attempt_that_starts_over_is_followed() -> None:
    lost, successor = attempt(1, State.failed), attempt(2, State.built)
    assert follow(attempt(1, State.replaying), state(lost, successor)) == successor
    assert follow(attempt(1, State.replaying), state(attempt(1))) == attempt(1)
    assert follow(attempt(1, State.replaying), state(lost, replace(successor, shadow=True))) == lost


def test_checks_that_passed_are_counted_and_others_named() -> None:
    a = attempt(
        audited_checkpoint=7,
        checks=(Check("a", True, 0), Check("b", True, 0), Check("c", False, 3, "3 rows")),
    )
    assert run_deploy.checked(a) == "2 of 3 checks passed on checkpoint 7\n  c: 3 rows (a warning)"


def test_too_few_slots_are_refused() -> None:
    with pytest.raises(RefusedError) as e:
        need_slots(Slots(1, 4), Plan(new(1, 1), R1, (new(1, 1),)))
    assert str(e.value) == (
        "Flink has too few free task slots\n"
        "  expected: 2 free slots\n"
        "  found:    1 free of 4\n"
        "  next:     kappa deploy flights --parallelism 1  (or cancel a job in Flink's web page)"
    )
