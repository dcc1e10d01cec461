"""Files of tables and checkpoints: which ones Iceberg's own files name, and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, cast

import fastavro
from pyarrow import fs
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from replay.errors import RetryableError

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
    return PyArrowFileIO.parse_location(location)[2]


def manifests_of(io: FileIO, manifest_list: str) -> list[str]:
    """The manifests that a manifest list names.

    Read with fastavro: only the paths are wanted, and pyiceberg's typed records cost five times as much.
    """
    with io.new_input(manifest_list).open() as stream:
        return [record["manifest_path"] for record in _records(stream)]


def files_of(io: FileIO, manifest: str) -> list[str]:
    """The data and delete files that belong to a table through this manifest: all but those it names as removed."""
    return list(sizes_of(io, manifest))


def sizes_of(io: FileIO, manifest: str) -> dict[str, int]:
    """The same with their sizes in bytes."""
    with io.new_input(manifest).open() as stream:
        return {record["data_file"]["file_path"]: record["data_file"]["file_size_in_bytes"]
                for record in _records(stream) if record["status"] != _REMOVED}


def _records(stream: object) -> Iterator[Any]:
    return cast(Iterator[Any], fastavro.reader(cast(IO[bytes], stream)))


def listed(io: FileIO, folder: str) -> list[File]:
    """The files in a folder and below; none when there is no such folder, or the file system cannot be listed."""
    if not isinstance(io, PyArrowFileIO):
        return []
    scheme, host, place = io.parse_location(folder, io.properties)
    found = io.fs_by_scheme(scheme, host).get_file_info(fs.FileSelector(place, allow_not_found=True, recursive=True))
    return [File(f"{scheme}://{f.path}", f.mtime) for f in found if f.type == fs.FileType.File]


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
        except OSError as e:
            raise RetryableError("a file that nothing needs cannot be deleted", expected=f"{each} deleted",
                                 found=str(e), next="repeat the command") from e


def delete_folder(uri: str) -> None:
    """Delete a folder and all below it; one that is not there is as it should be."""
    system, place = fs.FileSystem.from_uri(uri)
    if not place.strip("/"):
        raise ValueError(f"{uri} is a whole file system")
    try:
        if system.get_file_info(place).type != fs.FileType.NotFound:
            system.delete_dir(place)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise RetryableError("a folder that nothing needs cannot be deleted", expected=f"{uri} deleted", found=str(e),
                             next="repeat the command") from e
