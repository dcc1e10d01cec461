"""Files of tables: on a local file system each of them is on the disk when it is closed.

The catalog's database writes to the disk what it commits, so it must not name a file that is only in memory: after a
power failure that would be empty. `kappa.lake.DurableFileIO` does the same for what a job writes. Files of an object
store are durable once they are there: they come into being whole, when they are closed, or not at all.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, cast

from pyarrow.fs import FileSystem, LocalFileSystem
from pyiceberg.io import InputStream, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT

from replay.secret import without_user
from replay.storage import StorageError, renewal, storage_errors

Renew = Callable[[], Mapping[str, str]]
"""The properties with which a table's files are reached from now on."""
_known: set[tuple[int, int]] = set()
"""Folders whose own entry is on the disk, by device and inode."""


class DurableFileIO(PyArrowFileIO):
    """PyArrow's, whose files are durable when they are closed, and whose errors are StorageError.

    A catalog may have lent the keys with which a table's files are reached, for a while: `renew_by`.
    """

    def __init__(self, properties: Mapping[str, str] = EMPTY_DICT) -> None:
        super().__init__(dict(properties))
        self._renew: Renew | None = None
        self._until = math.inf
        self._renewing = Lock()
        self._systems = self.fs_by_scheme
        self.fs_by_scheme = self._system

    def renew_by(self, renew: Renew) -> None:
        """Ask for other properties shortly before the keys among the present ones expire, if they say when."""
        self._renew, self._until = renew, renewal(self.properties)

    def _system(self, scheme: str, host: str | None) -> FileSystem:
        with self._renewing:
            if self._renew and time.time() >= self._until:
                self.properties = _renewed(self._renew)
                self._until = renewal(self.properties)
                self._systems = lru_cache(self._initialize_fs)
            return self._systems(scheme, host)

    def new_input(self, location: str) -> PyArrowFile:
        """A file to be read."""
        return _of(_WholeFile, super().new_input(location))

    def new_output(self, location: str) -> PyArrowFile:
        """A file to be written."""
        file = super().new_output(location)
        return _of(
            _DurableFile if isinstance(file._filesystem, LocalFileSystem) else _WholeFile, file
        )

    def delete(self, location: Any) -> None:
        """Delete a file; MissingFileError if it is gone."""
        with storage_errors(location if isinstance(location, str) else location.location):
            super().delete(location)


def _renewed(renew: Renew) -> dict[str, str]:
    try:
        return dict(renew())
    except Exception as e:  # whatever the catalog's client says: nothing was asked of the files
        raise StorageError(
            "the catalog does not renew the keys of a table's files",
            expected="keys that have not expired",
            found=without_user((str(e).splitlines() or [type(e).__name__])[0]),
            next="kappa doctor --catalog, then repeat the command",
        ) from e


def _of(kind: type[_WholeFile], file: PyArrowFile) -> PyArrowFile:
    return kind(file.location, file._path, file._filesystem, file._buffer_size)


class _WholeFile(PyArrowFile):
    """A file that is read and written as a whole, as metadata is."""

    def open(self, seekable: bool = True) -> InputStream:
        with storage_errors(self.location), super().open(seekable=False) as stream:
            return cast(InputStream, io.BytesIO(stream.read()))

    def create(self, overwrite: bool = False) -> OutputStream:
        with storage_errors(self.location):
            if not overwrite and self.exists():
                raise FileExistsError(f"Cannot create file, already exists: {self.location}")
        return cast(OutputStream, _WholeStream(self))

    def exists(self) -> bool:
        with storage_errors(self.location):
            return super().exists()

    def __len__(self) -> int:
        with storage_errors(self.location):
            return super().__len__()


class _WholeStream(io.BytesIO):
    """What is written, until it is closed: then it becomes a file. After an error it does not."""

    def __init__(self, file: PyArrowFile) -> None:
        super().__init__()
        self._file = file

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            super().close()
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        content = self.getvalue()
        super().close()
        with (
            storage_errors(self._file.location),
            self._file._filesystem.open_output_stream(self._file._path) as stream,
        ):
            stream.write(content)


class _DurableFile(_WholeFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        path = Path(self._path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _DurableStream(path, overwrite=overwrite)


class _DurableStream(io.BufferedWriter):
    def __init__(self, path: Path, *, overwrite: bool) -> None:
        super().__init__(io.FileIO(path, "w" if overwrite else "x"))
        self._path = path

    def close(self) -> None:
        if self.closed:
            return
        self.flush()
        os.fsync(self.fileno())
        super().close()
        sync_folder(self._path.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, and its own and those of its parents where they may be new."""
    _sync(folder)
    for inner in (folder, *folder.parents):
        status = inner.stat()
        if (status.st_dev, status.st_ino) in _known or inner == inner.parent:
            return
        try:
            _sync(inner.parent)
        except PermissionError:  # a folder that is not ours to write to has no new entry of ours
            return
        _known.add((status.st_dev, status.st_ino))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
