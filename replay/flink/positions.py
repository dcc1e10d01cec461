"""Where a job's sources stood at a checkpoint: what they write beside it.

`CHECKPOINTS/JOB/positions/SOURCE/NUMBER` holds {"topic": {"partition": [covered, read]}} of one source at one
checkpoint; a file `source` beside it is there before the first checkpoint completes. See PositionFiles.java.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from replay.core.model import CheckpointPosition
from replay.parallel import each
from replay.settings import Settings
from replay.storage import filesystem, is_local, local_path, storage_errors

Stands = Mapping[str, Mapping[str, tuple[int, int]]]
"""Topic → partition → (covered, read), as a source writes them."""


def newest(
    settings: Settings, folder: str, job_id: str, topics: Collection[str], after: int
) -> CheckpointPosition | None:
    """The position of the job's newest checkpoint after `after` of which every source has written its own; else None.

    `folder` is where the attempt's checkpoints are, as a URI. A position without one of the topics is not whole.
    """
    uri = f"{folder.rstrip('/')}/{job_id}/positions"
    place: _Folder = _Local(uri) if is_local(uri) else _Remote(settings, uri)
    with storage_errors(folder):
        written = _written(place)
    if not written:
        return None
    for checkpoint in sorted(set.intersection(*written.values()), reverse=True):
        if checkpoint <= after:
            break
        with storage_errors(folder):
            stands = each(partial(_read, place, checkpoint), list(written))
        told = [s for s in stands if s is not None]
        if len(told) == len(stands) and set(topics) <= {topic for s in told for topic in s}:
            return merged(checkpoint, told)
    return None


def merged(checkpoint: int, sources: Iterable[Stands]) -> CheckpointPosition:
    """The position of all sources together: a partition that several read is covered as far as by the last of them."""
    covered: dict[str, dict[int, int]] = {}
    read: dict[str, dict[int, int]] = {}
    for source in sources:
        for topic, partitions in source.items():
            for partition, (surely, at_most) in partitions.items():
                _put(covered, topic, int(partition), surely, min)
                _put(read, topic, int(partition), at_most, max)
    return CheckpointPosition(checkpoint, covered, read)


def _put(
    into: dict[str, dict[int, int]],
    topic: str,
    partition: int,
    offset: int,
    choose: Callable[[int, int], int],
) -> None:
    of = into.setdefault(topic, {})
    of[partition] = choose(of.get(partition, offset), offset)


class _Folder(Protocol):
    """Where the sources of a job write their positions; not there before the first of them does."""

    def files(self) -> Iterable[tuple[str, str]]:
        """(source, name) of each file in it."""
        ...

    def read(self, source: str, name: str) -> bytes: ...


def _written(folder: _Folder) -> dict[str, set[int]]:
    """Source → checkpoints of which it has written its position."""
    found: dict[str, set[int]] = {}
    for source, name in folder.files():
        found.setdefault(source, set())
        if name.isdigit():
            found[source].add(int(name))
    return found


def _read(folder: _Folder, checkpoint: int, source: str) -> Stands | None:
    """What a source wrote; None while it is still writing, or once the file is gone again."""
    try:
        found: Stands = json.loads(folder.read(source, str(checkpoint)))
        return found
    except (json.JSONDecodeError, FileNotFoundError):
        return None


class _Local:
    """On this machine: PyArrow takes a quarter of a second to import."""

    def __init__(self, uri: str) -> None:
        self._root = Path(local_path(uri))

    def files(self) -> Iterable[tuple[str, str]]:
        for where, _, names in os.walk(self._root, onerror=_unless_missing):
            yield from ((Path(where).name, name) for name in names)

    def read(self, source: str, name: str) -> bytes:
        return (self._root / source / name).read_bytes()


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class _Remote:
    """In an object store."""

    def __init__(self, settings: Settings, uri: str) -> None:
        self._system, self._root = filesystem(settings, uri)

    def files(self) -> Iterable[tuple[str, str]]:
        from pyarrow.fs import FileSelector

        every = FileSelector(self._root, allow_not_found=True, recursive=True)
        for entry in self._system.get_file_info(every):
            if entry.is_file:
                yield entry.path.split("/")[-2], entry.base_name

    def read(self, source: str, name: str) -> bytes:
        with self._system.open_input_stream(f"{self._root}/{source}/{name}") as stream:
            return bytes(stream.read())
