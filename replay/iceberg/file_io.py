"""Which code reads and writes the files of tables. Without PyArrow, which takes a quarter of a second to import."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pyiceberg.io import FileIO, InputFile, InputStream, load_file_io

from replay.storage import is_local, local_path, storage_errors

_PYTHON, _JAVA = "py-io-impl", "io-impl"
_DURABLE = "replay.iceberg.durable.DurableFileIO"


def of_pyiceberg(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties of a catalog, with durable files unless they name another FileIO."""
    return {_PYTHON: _DURABLE, **properties}


def of_flink(options: Mapping[str, str]) -> dict[str, str]:
    """The options of a catalog in Flink, with the FileIO for local files unless they name another."""
    local = is_local(options.get("warehouse", ""))
    return {**({_JAVA: "kappa.lake.DurableFileIO"} if local else {}), **options}


def to_read(properties: Mapping[str, str], location: str, lent: FileIO | None) -> InputFile:
    """A file, as a catalog of these properties reads it; `lent`: what the catalog itself has named for it."""
    if lent is None and properties.get(_PYTHON) == _DURABLE and is_local(location):
        return _LocalFile(location)
    return (lent or load_file_io(dict(properties), location)).new_input(location)


class _LocalFile(InputFile):
    """A file of this machine; StorageError where it cannot be read."""

    @property
    def _path(self) -> Path:
        return Path(local_path(self.location))

    def open(self, seekable: bool = True) -> InputStream:
        with storage_errors(self.location):
            return cast(InputStream, io.BytesIO(self._path.read_bytes()))

    def exists(self) -> bool:
        with storage_errors(self.location):
            return self._path.exists()

    def __len__(self) -> int:
        with storage_errors(self.location):
            return self._path.stat().st_size
