"""The positions that sources write beside a job's checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replay.core.model import CheckpointPosition
from replay.flink.positions import newest
from replay.settings import Settings

ORDERS = {"orders": {"0": [5, 7], "1": [9, 9]}}
SHOPS = {"shops": {"0": [3, 3]}}
TOPICS = ("orders", "shops")


def write(folder: Path, source: str, positions: dict[int, Any], job: str = "j") -> None:
    """As PositionFiles.java does."""
    of = folder / job / "positions" / source
    of.mkdir(parents=True, exist_ok=True)
    (of / "source").write_text("{}\n")
    (of / ".7.crc").write_bytes(b"crc")  # Hadoop's file systems leave these
    for checkpoint, stands in positions.items():
        (of / str(checkpoint)).write_text(
            stands if isinstance(stands, str) else json.dumps(stands) + "\n"
        )


@pytest.mark.parametrize(
    ("orders", "shops", "after", "checkpoint"),
    [
        pytest.param({7: ORDERS}, {7: SHOPS}, 6, 7, id="both have written"),
        pytest.param(
            {7: ORDERS, 10: ORDERS}, {7: SHOPS, 10: SHOPS}, 6, 10, id="the newest, by number"
        ),
        pytest.param({7: ORDERS, 8: ORDERS}, {7: SHOPS}, 6, 7, id="one has not written the newest"),
        pytest.param(
            {7: ORDERS, 8: ORDERS}, {7: SHOPS, 8: '{"shops": {"0": ['}, 6, 7, id="one is writing it"
        ),
        pytest.param({7: ORDERS}, {7: SHOPS}, 7, None, id="known already"),
        pytest.param({7: ORDERS}, {}, 6, None, id="one has written nothing yet"),
        pytest.param({7: ORDERS}, {7: {}}, 6, None, id="nothing is known of a topic"),
    ],
)
def test_a_position_is_whole_when_every_source_has_written_its_own(
    settings: Settings,
    tmp_path: Path,
    orders: dict[int, Any],
    shops: dict[int, Any],
    after: int,
    checkpoint: int | None,
) -> None:
    write(tmp_path, "a1", orders)
    write(tmp_path, "b2", shops)
    found = newest(settings, tmp_path.as_uri(), "j", TOPICS, after)
    assert found == (
        None
        if checkpoint is None
        else CheckpointPosition(
            checkpoint,
            {"orders": {0: 5, 1: 9}, "shops": {0: 3}},
            {"orders": {0: 7, 1: 9}, "shops": {0: 3}},
        )
    )


def test_of_a_topic_that_two_sources_read_the_slower_says_what_is_covered(
    settings: Settings, tmp_path: Path
) -> None:
    write(tmp_path, "a1", {7: {"orders": {"0": [5, 7]}}})
    write(tmp_path, "b2", {7: {"orders": {"0": [4, 8], "1": [2, 2]}}})
    assert newest(settings, tmp_path.as_uri(), "j", ["orders"], 0) == CheckpointPosition(
        7, {"orders": {0: 4, 1: 2}}, {"orders": {0: 8, 1: 2}}
    )


def test_what_another_job_wrote_does_not_count(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, "a1", {9: ORDERS}, job="i")
    assert newest(settings, tmp_path.as_uri() + "/", "j", ["orders"], 0) is None
