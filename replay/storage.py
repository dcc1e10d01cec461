"""File systems by URI: a disk, or an object store reached with the properties in config.yaml; and how they fail."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from replay.errors import RetryableError
from replay.secret import revealed

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from replay.settings import Settings

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
"""Of one request to an object store; a request that fails is repeated twice."""
_DEFAULTS = {"s3.connect-timeout": str(CONNECT_SECONDS), "s3.request-timeout": str(ANSWER_SECONDS)}
AUTHORITIES = "SSL_CERT_FILE"
"""OpenSSL's own name of the environment variable."""
_LOCAL = ("/", "file:")
_BEFORE_SECONDS, _AGAIN_SECONDS = 60.0, 1.0
_EXPIRIES = (
    "s3.session-token-expires-at-ms",
    "gcs.oauth2.token-expires-at",
    "adls.sas-token-expires-at-ms",
)
"""Milliseconds since the epoch; the last one is followed by the name of an account."""
_LOGIN = {
    "s3.anonymous",
    "s3.session-token-expires-at-ms",
    *(
        f"{prefix}.{name}"
        for prefix in ("s3", "client")
        for name in (
            "access-key-id",
            "secret-access-key",
            "session-token",
            "role-arn",
            "role-session-name",
        )
    ),
}
"""What says who asks an object store, by PyIceberg's names."""
_NOT_TRUSTED = "curlCode: 60"
_AWS_ERROR = re.compile(r"AWS Error (\w+) during (\w+) operation: (.*)", re.DOTALL)
_REFUSALS = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNRECOGNIZED_CLIENT",
    "MISSING_AUTHENTICATION_TOKEN",
    "EXPIRED_TOKEN",
    "INVALID_SIGNATURE",
    "REQUEST_EXPIRED",
    "ExpiredToken",
    "InvalidToken",
)


class StorageError(RetryableError):
    """A disk or an object store did not do what was asked. What was asked of a catalog is not in doubt."""


class MissingFileError(StorageError, FileNotFoundError):
    """A file that was named is not there."""


class DamagedFileError(StorageError):
    """A file is there, and is not what it should be."""


def is_local(uri: str) -> bool:
    """Whether a URI, or a path, is of this machine's file systems."""
    return uri.startswith(_LOCAL)


def local_path(uri: str) -> str:
    """The path of a local URI: Flink writes file:/x where PyIceberg writes file:///x."""
    return uri.removeprefix("file://").removeprefix("file:")


def below(uri: str, *names: str) -> str:
    """The URI of something below a folder."""
    return "/".join([uri.rstrip("/"), *names])


def properties(settings: Settings) -> dict[str, str]:
    """Of object stores, by PyIceberg's names (`s3.endpoint` and others), for a client of them."""
    return with_defaults(revealed(settings.storage))


def with_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """These properties, with a time-out for every request.

    A store with an address of its own is not asked for its region at AWS.
    """
    region = (
        {"s3.region": given.get("client.region", "us-east-1")} if "s3.endpoint" in given else {}
    )
    return {**_DEFAULTS, **region, **given}


def authorities() -> str:
    """The PEM file of who signs certificates, where the environment names one; empty: those that the system trusts.

    PyArrow reads the variable itself, when it is imported.
    """
    return os.environ.get(AUTHORITIES, "")


def with_keys(before: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """`before` with `more` on top: keys and tokens of one login are taken together, never some of each."""
    if not _LOGIN.isdisjoint(more):
        before = {name: value for name, value in before.items() if name not in _LOGIN}
    return {**before, **more}


def renewal(properties: Mapping[str, str]) -> float:
    """When keys that a catalog has lent just now are to be renewed, in seconds since the epoch; infinite: never.

    That is a minute before the first of them expires, or when half of a shorter time is over.
    """
    now = time.time()
    left = _expiry(properties) - now
    # not again at once, should a catalog lend keys that have expired
    return now + max(left - min(_BEFORE_SECONDS, left / 2), _AGAIN_SECONDS)


def _expiry(properties: Mapping[str, str]) -> float:
    milliseconds = (float(v) for name, v in properties.items() if name.startswith(_EXPIRIES))
    return min(milliseconds, default=math.inf) / 1000


def filesystem(settings: Settings, uri: str) -> tuple[FileSystem, str]:
    """The file system that a URI is on, and its path there; connections are kept."""
    # here and below: a process that asks for one query does without
    from pyarrow.fs import LocalFileSystem
    from pyiceberg.io.pyarrow import PyArrowFileIO

    if is_local(uri):
        # as Flink and pyiceberg read it: PyArrow would take %20 for a space
        return LocalFileSystem(), local_path(uri)
    scheme, host, path = PyArrowFileIO.parse_location(uri)
    return _remote(scheme, host, tuple(sorted(properties(settings).items()))), path


@lru_cache(maxsize=32)
def _remote(scheme: str, host: str, given: tuple[tuple[str, str], ...]) -> FileSystem:
    from pyiceberg.io.pyarrow import PyArrowFileIO

    with storage_errors(f"{scheme}://{host}"):
        return PyArrowFileIO(dict(given)).fs_by_scheme(scheme, host)


@contextmanager
def storage_errors(location: str) -> Iterator[None]:
    """Turn what a file system says of a location into StorageError; that a new file exists already stays as it is."""
    try:
        yield
    except (FileExistsError, StorageError):
        raise
    except FileNotFoundError as e:
        raise MissingFileError(
            "a file is missing",
            expected=location,
            found="no such file",
            next="kappa status; if it stays so, restore the file from a backup",
        ) from e
    except OSError as e:
        raise _told(location, e) from e


def _told(location: str, error: OSError) -> StorageError:
    found = (str(error).strip().splitlines() or [type(error).__name__])[0]
    match = _AWS_ERROR.search(found)
    kind = match[1] if match else ""
    if match:
        found = f"{match[2]}: {match[1]}, {match[3]}"
    if kind in _REFUSALS or isinstance(error, PermissionError):
        return StorageError(
            "the storage refuses access",
            expected=f"permission for {location}",
            found=found,
            next="check the credentials (storage in config.yaml, or the environment) and their policy",
        )
    if _NOT_TRUSTED in found:
        return StorageError(
            "the certificate of the object store is not trusted",
            expected=f"one that is signed by who is in {authorities() or 'the trust store of the system'}",
            found=found,
            next=f"set {AUTHORITIES} to a PEM file of who signed it; see docs/production.md#object-store",
        )
    if match or is_local(location):
        return StorageError(
            "the storage does not do what it was asked"
            if kind != "NETWORK_CONNECTION"
            else "the object store does not answer",
            expected=f"access to {location}",
            found=found,
            next="repeat the command",
        )
    return StorageError(
        "the storage does not answer",
        expected=f"access to {location}",
        found=found,
        next="repeat the command",
    )
