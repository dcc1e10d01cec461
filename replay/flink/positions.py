"""Where a job's sources stood at a checkpoint: what they write beside it.

`CHECKPOINTS/JOB/positions/SOURCE/NUMBER` holds {"topic": {"partition": [covered, read]}} of one source at one
checkpoint; a file `source` beside it is there before the first checkpoint completes. See PositionFiles.java.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from replay.core.model import CheckpointPosition
from replay.parallel import each
from replay.settings import Settings
from replay.storage import filesystem, storage_errors

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Stands = Mapping[str, Mapping[str, tuple[int, int]]]
"""Topic → partition → (covered, read), as a source writes them."""


def newest(
    settings: Settings, folder: str, job_id: str, topics: Collection[str], after: int
) -> CheckpointPosition | None:
    """The position of the job's newest checkpoint after `after` of which every source has written its own; else None.

    `folder` is where the attempt's checkpoints are, as a URI. A position without one of the topics is not whole.
    """
    system, root = filesystem(settings, f"{folder.rstrip('/')}/{job_id}/positions")
    with storage_errors(folder):
        written = _written(system, root)
    if not written:
        return None
    for checkpoint in sorted(set.intersection(*written.values()), reverse=True):
        if checkpoint <= after:
            break
        with storage_errors(folder):
            stands = each(
                partial(_read, system), [f"{root}/{source}/{checkpoint}" for source in written]
            )
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


def _written(system: FileSystem, root: str) -> dict[str, set[int]]:
    """Source → checkpoints of which it has written its position."""
    from pyarrow.fs import FileSelector  # here: nobody who imports this module asks for it at once

    found: dict[str, set[int]] = {}
    for entry in system.get_file_info(FileSelector(root, allow_not_found=True, recursive=True)):
        if entry.is_file:
            source = entry.path.split("/")[-2]
            found.setdefault(source, set())
            if entry.base_name.isdigit():
                found[source].add(int(entry.base_name))
    return found


def _read(system: FileSystem, file: str) -> Stands | None:
    """What a source wrote; None while it is still writing, or once the file is gone again."""
    try:
        with system.open_input_stream(file) as stream:
            found: Stands = json.loads(stream.read())
            return found
    except (json.JSONDecodeError, FileNotFoundError):
        return None
