"""Files of tables and checkpoints: which ones Iceberg's own files name, and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from replay.settings import Settings
from replay.storage import DamagedFileError, StorageError, filesystem, is_local, storage_errors

if (
    TYPE_CHECKING
):  # PyArrow is imported where it is used: who needs one path would wait for half a second
    from pyarrow import fs
    from pyiceberg.io import FileIO
    from pyiceberg.io.pyarrow import PyArrowFileIO

_THREADS = 8
_REMOVED = 2  # a manifest entry's status: existing, added or removed


@dataclass(frozen=True)
class File:
    """A file in a folder."""

    location: str
    changed: datetime

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]


def path(location: str) -> str:
    """The location without its scheme: `file:/a`, `file:///a` and `/a` are one file, and Java and Python differ."""
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return PyArrowFileIO.parse_location(location)[2]


def manifests_of(io: FileIO, manifest_list: str) -> list[str]:
    """The manifests that a manifest list names.

    Read with fastavro: only the paths are wanted, and pyiceberg's typed records cost five times as much.
    """
    return [record["manifest_path"] for record in _records(io, manifest_list)]


def files_of(io: FileIO, manifest: str) -> list[str]:
    """The data and delete files that belong to a table through this manifest: all but those it names as removed."""
    return list(sizes_of(io, manifest))


def sizes_of(io: FileIO, manifest: str) -> dict[str, int]:
    """The same with their sizes in bytes."""
    return {
        record["data_file"]["file_path"]: record["data_file"]["file_size_in_bytes"]
        for record in _records(io, manifest)
        if record["status"] != _REMOVED
    }


def _records(io: FileIO, location: str) -> Iterator[Any]:
    with storage_errors(location), io.new_input(location).open() as stream:
        content = stream.read()
    try:
        import fastavro  # here: who reads no manifest does without

        yield from cast(Iterator[Any], fastavro.reader(BytesIO(content)))
    except (
        EOFError,
        ValueError,
        KeyError,
        IndexError,
    ) as e:  # fastavro's words for bytes that are no Avro file
        raise damaged(location, "a manifest of Iceberg in Avro", len(content)) from e


def damaged(location: str, expected: str, size: int) -> DamagedFileError:
    """A file of a table that cannot be read: restored from a backup, it can."""
    return DamagedFileError(
        "a file of a table is damaged",
        expected=f"{expected} at {location}",
        found=f"{size:,} bytes that are no such file",
        next="restore the file from a backup",
    )


def listed(io: FileIO, folder: str) -> list[File]:
    """The files in a folder and below; none when there is no such folder, or the file system cannot be listed."""
    if not _can_list(io):
        return []
    from pyarrow import fs

    scheme, _, place = io.parse_location(folder, io.properties)
    with storage_errors(folder):
        found = _system(io, folder).get_file_info(
            fs.FileSelector(place, allow_not_found=True, recursive=True)
        )
    return [File(f"{scheme}://{f.path}", f.mtime) for f in found if f.is_file]


def newest(found: Iterable[File]) -> datetime:
    """When the newest of some files was written: no later than now, by the clock that dates them.

    A disk's server and an object store have clocks of their own, which tell how old a file is, and the host's does not.
    """
    return max((f.changed for f in found), default=datetime.min.replace(tzinfo=UTC))


def _can_list(io: FileIO) -> TypeGuard[PyArrowFileIO]:
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return isinstance(io, PyArrowFileIO)


def _system(io: PyArrowFileIO, location: str) -> fs.FileSystem:
    scheme, host, _ = io.parse_location(location, io.properties)
    return io.fs_by_scheme(scheme, host)


def delete(io: FileIO, locations: Iterable[str]) -> None:
    """Delete files; those that are gone already are as they should be."""
    wanted = list(locations)
    if len(wanted) <= 1:
        for location in wanted:
            _delete(io, location)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda location: _delete(io, location), wanted):
            pass


def _delete(io: FileIO, location: str) -> None:
    # Hadoop's local file system, which Flink's sink writes through, keeps a checksum beside each file.
    folder, _, name = location.rpartition("/")
    beside = [f"{folder}/.{name}.crc"] if location.startswith("file:") else []
    for each in (location, *beside):
        try:
            io.delete(each)
        except FileNotFoundError:
            pass
        except (StorageError, OSError) as e:
            raise StorageError(
                "a file that nothing needs cannot be deleted",
                expected=f"{each} deleted",
                found=e.found if isinstance(e, StorageError) else str(e),
                next="repeat the command",
            ) from e


def delete_below(io: FileIO, folder: str) -> None:
    """Delete a folder and all below it, as a table's files are reached; where files cannot be listed, nothing."""
    if _can_list(io):
        _delete_dir(_system(io, folder), io.parse_location(folder, io.properties)[2], folder)


def delete_folder(settings: Settings, uri: str) -> None:
    """Delete a folder and all below it; one that is not there is as it should be."""
    system, place = filesystem(settings, uri)
    _delete_dir(system, place, uri)


def _delete_dir(system: fs.FileSystem, place: str, uri: str) -> None:
    if not place.strip("/") or not (is_local(uri) or "/" in place.strip("/")):
        raise ValueError(f"{uri} is a whole file system")
    from pyarrow import fs

    try:
        if system.get_file_info(place).type != fs.FileType.NotFound:
            system.delete_dir(place)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise StorageError(
            "a folder that nothing needs cannot be deleted",
            expected=f"{uri} deleted",
            found=str(e),
            next="repeat the command",
        ) from e
