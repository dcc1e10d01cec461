"""A partition read forward in pieces, each record at most once, by few readers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replay.audit import forward
from replay.audit.forward import Entry, Forward


class Log:
    """Records at some offsets; knows how often it was opened, and whether every reader was closed."""

    def __init__(self, *offsets: int) -> None:
        self.offsets, self.opened, self.closed = offsets, [], 0

    opened: list[int]

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Entry]:
        self.opened.append(start)
        try:
            yield from ((o, 0, b"") for o in self.offsets if start <= o < end)
        finally:
            self.closed += 1


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "READ_THROUGH", 5)


def read(log: Log, *pieces: tuple[int, int]) -> list[list[int]]:
    with Forward(log, "orders", 0, 100) as records:
        return [[offset for offset, _, _ in records.between(*piece)] for piece in pieces]


def test_what_follows_needs_no_other_reader() -> None:
    log = Log(*range(30))
    assert read(log, (0, 3), (3, 5), (8, 10), (10, 10), (15, 16)) == [
        [0, 1, 2],
        [3, 4],
        [8, 9],
        [],
        [15],
    ]
    assert (log.opened, log.closed) == ([0], 1)


def test_what_is_far_is_sought() -> None:
    log = Log(*range(30))
    assert read(log, (0, 2), (8, 9), (15, 16)) == [[0, 1], [8], [15]]
    assert (log.opened, log.closed) == ([0, 8, 15], 3)


def test_offsets_without_records() -> None:
    log = Log(2, 9, 40)
    assert read(log, (0, 1), (1, 3), (3, 9), (9, 10), (11, 12), (12, 30)) == [
        [],
        [2],
        [],
        [9],
        [],
        [],
    ]
    assert log.opened == [0]


def test_behind_the_last_record_nobody_is_asked_again() -> None:
    log = Log(1)
    assert read(log, (0, 5), (40, 50), (90, 100)) == [[1], [], []]
    assert (log.opened, log.closed) == ([0], 1)


def test_nothing_is_opened_for_nothing() -> None:
    log = Log(1)
    with Forward(log, "orders", 0, 100):
        pass
    assert (log.opened, log.closed) == ([], 0)
