"""One partition of the log, read forward in pieces: over what is cheaper to read than to seek past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from replay.audit.accounting import READ_THROUGH
from replay.kafka.clock import Records

Entry = tuple[int, int, bytes | None]
"""Offset, record timestamp in ms, value."""


class Forward:
    """Pieces have to be asked for in their order: most follow from where the last one ended, without a new consumer."""

    def __init__(self, log: Records, topic: str, partition: int, end: int) -> None:
        self._log, self._topic, self._partition, self._end = log, topic, partition, end
        self._records: Iterable[Entry] = ()
        self._iterator: Iterator[Entry] | None = None
        self._next: Entry | None = None
        """Read, and behind the piece that it was read for."""
        self._at = 0

    def between(self, start: int, end: int) -> Iterator[Entry]:
        """The records from `start` to before `end`."""
        if self._iterator is None or start - self._at > READ_THROUGH:
            self._begin(start)
        assert self._iterator is not None
        while (entry := self._next or next(self._iterator, None)) is not None:
            if entry[0] >= end:
                self._next, self._at = entry, end
                return
            self._next, self._at = None, entry[0] + 1
            if entry[0] >= start:
                yield entry
        self._at = self._end  # no more records: the rest holds none

    def _begin(self, start: int) -> None:
        self._close()
        self._records = self._log.read(self._topic, self._partition, start, self._end)
        self._iterator, self._next, self._at = iter(self._records), None, start

    def _close(self) -> None:
        if close := getattr(self._records, "close", None):  # a generator, which has a consumer
            close()
        self._records, self._iterator = (), None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
