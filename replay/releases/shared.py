"""What controllers on several hosts share: releases, their jars, and what jobs are bound to, below `shared` in
config.yaml.

    SHARED/releases/PRODUCT/FINGERPRINT.zip     SHARED/jars/DIGEST.jar     SHARED/attempts/PRODUCT/BRANCH.json

`flink run` wants files, so the home has copies. Of a release the copy is as good as what is shared: its name is a
digest of its content. Bindings are read again whenever a job is started.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from replay.errors import RefusedError
from replay.iceberg import files
from replay.releases import archive
from replay.settings import Settings
from replay.storage import MissingFileError, below, properties

if TYPE_CHECKING:
    from replay.iceberg.durable import DurableFileIO

_RELEASE = re.compile(r"([0-9a-f]{64})\.zip")
_SAME_DAY = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive: the same release is the same bytes."""


# Releases


def keep_release(settings: Settings, product: str, fingerprint: str, folder: Path) -> None:
    """Put a release's folder there: again, too, for then it is as young as its last use."""
    if settings.shared:
        _put(settings, _release(settings, product, fingerprint), _packed(folder))


def has_release(settings: Settings, product: str, fingerprint: str) -> bool:
    """Whether other hosts find it; true where nothing is shared."""
    return (
        not settings.shared
        or _io(settings).new_input(_release(settings, product, fingerprint)).exists()
    )


def fetch_release(settings: Settings, product: str, fingerprint: str, folder: Path) -> None:
    """Copy the release into the folder, unless it exists: the whole release, verified by its name, or nothing.

    RefusedError when what is shared is not that release. If there is none, the caller finds no folder.
    """
    if not settings.shared or folder.is_dir():
        return
    location = _release(settings, product, fingerprint)
    try:
        packed = _get(settings, location)
    except MissingFileError:
        return
    fetching = folder.parent / f".building-{uuid.uuid4().hex}"
    try:
        _unpack(packed, fetching)
        archive.verify(fetching, fingerprint)
        if not folder.is_dir():
            fetching.rename(folder)
    except (zipfile.BadZipFile, RefusedError) as e:
        raise RefusedError(
            f"the archived release {location} was changed",
            expected=f"the files of release {fingerprint[:12]}",
            found=e.found if isinstance(e, RefusedError) else f"{len(packed):,} bytes: {e}",
            next=f"restore it from a backup; or kappa deploy {product}, from the same sources",
        ) from e
    except OSError:
        if not folder.is_dir():  # otherwise the same was fetched meanwhile
            raise
    finally:
        rmtree(fetching, ignore_errors=True)


def forget_releases(
    settings: Settings, product: str, named: Collection[str], older_than: timedelta
) -> None:
    """Delete the shared releases that nothing names, once they are so much older than the newest of them."""
    if not settings.shared:
        return
    found = {
        match[1]: file
        for file in files.listed(_io(settings), below(settings.shared, "releases", product))
        if (match := _RELEASE.fullmatch(file.name))
    }
    newest = files.newest(found.values())
    files.delete(
        _io(settings),
        [
            f.location
            for fingerprint, f in found.items()
            if fingerprint not in named and newest - f.changed > older_than
        ],
    )


# Jars


def keep_jar(settings: Settings, jar: Path) -> None:
    """Share a jar, whose name is its digest, unless it is shared already."""
    if settings.shared and not _io(settings).new_input(_jar(settings, jar.name)).exists():
        _put(settings, _jar(settings, jar.name), jar.read_bytes())


def fetch_jar(settings: Settings, jar: Path) -> None:
    """Copy a jar here, whose name is its digest, unless it exists: the whole jar or nothing. If there is none, the
    caller finds no file."""
    if not settings.shared or jar.exists():
        return
    location = _jar(settings, jar.name)
    try:
        content = _get(settings, location)
    except MissingFileError:
        return
    if (found := hashlib.sha256(content).hexdigest()) != jar.stem:
        raise RefusedError(
            f"the shared jar {location} was changed",
            expected=f"SHA-256 {jar.stem}",
            found=found,
            next="restore it from a backup; the controller tries again by itself",
        )
    jar.parent.mkdir(parents=True, exist_ok=True)
    fetching = jar.parent / f".{jar.stem}-{uuid.uuid4().hex}"
    try:
        fetching.write_bytes(content)
        fetching.chmod(0o444)
        fetching.rename(jar)
    finally:
        fetching.unlink(missing_ok=True)


def forget_jars(
    settings: Settings, needed: Collection[str], runtime: str, older_than: timedelta
) -> None:
    """Delete the shared jars whose digests neither are needed here nor stand in a shared release's file of that name,
    once they are so much older than the newest of them."""
    if not settings.shared:
        return
    found = list(files.listed(_io(settings), below(settings.shared, "jars")))
    newest = files.newest(found)
    old = [
        f
        for f in found
        if f.name.removesuffix(".jar") not in needed and newest - f.changed > older_than
    ]
    named = _named(settings, runtime) if old else ""
    files.delete(
        _io(settings), [f.location for f in old if f.name.removesuffix(".jar") not in named]
    )


def _named(settings: Settings, runtime: str) -> str:
    """What all shared releases say in a file of this name."""
    found = files.listed(_io(settings), below(settings.shared, "releases"))
    releases = (_get(settings, file.location) for file in found if _RELEASE.fullmatch(file.name))
    said = (zipfile.Path(io.BytesIO(release), runtime) for release in releases)
    return "\n".join(file.read_text() for file in said if file.exists())


def _jar(settings: Settings, name: str) -> str:
    return below(settings.shared, "jars", name)


# Bindings


def keep_bindings(settings: Settings, product: str, file: Path) -> None:
    """Share what a job is bound to."""
    if settings.shared:
        _put(settings, _bindings(settings, product, file.name), file.read_bytes())


def fetch_bindings(
    settings: Settings, product: str, file: Path, write: Callable[[Path, bytes], None]
) -> Path:
    """The file, as the controller left it that wrote it last."""
    if settings.shared:
        try:
            write(file, _get(settings, _bindings(settings, product, file.name)))
        except MissingFileError:
            if not file.is_file():  # else it is of a time when nothing was shared
                raise
    return file


def forget_bindings(settings: Settings, product: str, file: Path) -> None:
    """Delete them, here and there."""
    file.unlink(missing_ok=True)
    if settings.shared:
        files.delete(_io(settings), [_bindings(settings, product, file.name)])


# A product


def folders(settings: Settings, product: str) -> list[str]:
    """URIs of folders in which something of a product is shared."""
    wanted = (
        [below(settings.shared, kind, product) for kind in ("attempts", "releases")]
        if settings.shared
        else []
    )
    return [folder for folder in wanted if files.listed(_io(settings), folder)]


def forget(settings: Settings, product: str) -> None:
    """Share nothing of a product any more."""
    for folder in folders(settings, product):
        files.delete_folder(settings, folder)


def _release(settings: Settings, product: str, fingerprint: str) -> str:
    return below(settings.shared, "releases", product, f"{fingerprint}.zip")


def _bindings(settings: Settings, product: str, name: str) -> str:
    return below(settings.shared, "attempts", product, name)


def _io(settings: Settings) -> DurableFileIO:
    from replay.iceberg.durable import DurableFileIO  # here: most homes share nothing

    return DurableFileIO(properties(settings))


def _put(settings: Settings, location: str, content: bytes) -> None:
    with _io(settings).new_output(location).create(overwrite=True) as stream:
        stream.write(content)


def _get(settings: Settings, location: str) -> bytes:
    with _io(settings).new_input(location).open() as stream:
        return stream.read()


def _packed(folder: Path) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in _files(folder):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _SAME_DAY)
            packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return into.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        packed.extractall(folder)  # which takes '..' and absolute paths out of names
    for file in _files(folder):
        file.chmod(0o444)


def _files(folder: Path) -> Iterator[Path]:
    return (f for f in sorted(folder.rglob("*")) if f.is_file())
