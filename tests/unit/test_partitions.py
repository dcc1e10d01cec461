"""Partitions that a topic gains while an attempt reads it."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.product.model import Topic as Rules
from replay.core.log_identity import Topic, continued
from replay.core.partitions import grown, in_doubt, news, together, with_told
from tests.unit.control_platform import product

ENDS = {"orders": {0: 5, 1: 0, 2: 0}, "rates": {0: 1}}
RESTS = {"orders": "keyed_by: [shop]"}
GREW = "topic orders has 3 partitions and had 2 when the job began to read it"


def known(partitions: int | None = 2, told: int | None = 2) -> dict[str, Topic]:
    return {
        "orders": Topic("1", {}, partitions, told),
        "rates": Topic("2", {}, 1, 1),
        "gone": Topic("3", {}, 1, 1),
    }


@pytest.mark.parametrize(
    ("was", "found"),
    [
        pytest.param(known(), {"orders": 3}, id="one more"),
        pytest.param(known(2, 3), {}, id="told of already"),
        pytest.param(
            known(None, None), {}, id="read by an earlier version, which did not count them"
        ),
    ],
)
def test_what_a_topic_gained_since_somebody_was_told(
    was: dict[str, Topic], found: dict[str, int]
) -> None:
    assert grown(was, ENDS) == found


def test_what_is_told() -> None:
    assert news(known(), ENDS, {}) == f"{GREW}: new ones are read from their offset zero"
    assert news(known(), ENDS, RESTS) == (
        f"{GREW}: where producers choose the partition by a key's hash, its records are in two now, and keyed_by: "
        "[shop] in product.yaml does not hold; kappa audit counts the keys and the repeated events"
    )
    assert news(known(3, 3), ENDS, RESTS) == ""


def test_a_doubt_stays_as_long_as_the_attempt_is_of_before() -> None:
    told = with_told(known(), grown(known(), ENDS))
    assert grown(told, ENDS) == {}
    assert list(in_doubt(told, ENDS, RESTS)) == [news(known(), ENDS, RESTS)]
    assert list(in_doubt(told, ENDS, {})) == []
    assert list(in_doubt(known(3, 3), ENDS, RESTS)) == []


def test_another_look_at_the_log_keeps_how_many_there_were_at_first() -> None:
    now = {"orders": Topic("1", {}, 3, 3), "new": Topic("4", {}, 1, 1)}
    assert continued(known(2, 3), now) == {
        "orders": Topic("1", {}, 2, 3),
        "new": Topic("4", {}, 1, 1),
    }
    assert continued({"orders": Topic("1")}, now) == now


@pytest.mark.parametrize("topic", [Topic("1", {}, 2, 3), Topic("1")])
def test_it_outlives_the_store(topic: Topic) -> None:
    assert Topic.from_json(topic.as_json) == topic
    assert Topic.from_json({"id": "1", "marks": {}}) == Topic("1")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        pytest.param({}, None, id="any record anywhere"),
        pytest.param({"keyed_by": ("shop", "day")}, "keyed_by: [shop, day]", id="keyed"),
        pytest.param(
            {"identity": ("id",)},
            "identity: [id] with once: partition",
            id="repeats in one partition",
        ),
        pytest.param({"identity": ("id",), "once": "topic"}, None, id="repeats anywhere"),
        pytest.param(
            {"identity": ("id",), "keyed_by": ("id",)},
            "keyed_by: [id] and identity: [id] with once: partition",
            id="both",
        ),
    ],
)
def test_what_rests_on_their_number(rules: dict[str, Any], said: str | None) -> None:
    plain = product()
    topics = {
        **plain.settings.topics,
        "flights": Rules(time="happened", allowed_lateness="6h", **rules),
    }
    changed = plain.model_copy(
        update={"settings": plain.settings.model_copy(update={"topics": topics})}
    )
    assert together(changed) == ({"flights": said} if said else {})
