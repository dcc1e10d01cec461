"""The pinned jars: which ones (`jars.lock`), fetched once into a cache shared by all homes, verified by SHA-256."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from replay.errors import KappaError, RetryableError

LOCK_FILE = Path(__file__).with_name("jars.lock")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One pinned artifact of a Maven repository."""

    sha256: str
    size: int
    coordinate: str
    """group:artifact:version[:classifier:type]"""
    parts: frozenset[str]
    """What needs it: kafka, registry, flink, build."""

    @property
    def fields(self) -> tuple[str, str, str, str, str]:
        """group, artifact, version, classifier, type"""
        group, artifact, version, *rest = self.coordinate.split(":")
        classifier, packaging = rest or ("", "jar")
        return group, artifact, version, classifier, packaging

    @property
    def file(self) -> Path:
        """Its path in a repository, which is also its path in the cache."""
        group, artifact, version, classifier, packaging = self.fields
        suffix = f"-{classifier}" if classifier else ""
        return Path(
            *group.split("."), artifact, version, f"{artifact}-{version}{suffix}.{packaging}"
        )


def cache_folder() -> Path:
    """`$KAPPA_CACHE`, by default ~/.cache/kappa."""
    return Path(os.environ.get("KAPPA_CACHE") or Path.home() / ".cache" / "kappa").absolute()


def read_lock(part: str | None = None, file: Path = LOCK_FILE) -> list[Jar]:
    """The pinned jars of one part of the stack, or all of them."""
    jars = []
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinate, parts = line.split()
            jars.append(Jar(sha256, int(size), coordinate, frozenset(parts.split(","))))
    return [jar for jar in jars if part is None or part in jar.parts]


def paths(part: str, cache: Path | None = None) -> list[Path]:
    """Where the jars of a part are once fetched."""
    root = (cache or cache_folder()) / "jars"
    return [root / jar.file for jar in read_lock(part)]


def path_of(artifact: str, cache: Path | None = None) -> Path:
    """Where the jar of one artifact id is once fetched."""
    root = (cache or cache_folder()) / "jars"
    return next(root / jar.file for jar in read_lock() if jar.fields[1] == artifact)


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def damage(jar: Jar, cache: Path) -> str | None:
    """What is wrong with a jar in the cache: 'missing', 'half-downloaded …', 'altered …', or None."""
    file = cache / "jars" / jar.file
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return "missing"
    if size < jar.size:
        return f"half-downloaded: {size:,} of {jar.size:,} bytes"
    if size > jar.size or sha256_of(file) != jar.sha256:
        return "altered: its SHA-256 is not the pinned one"
    return None


def check(jars: Iterable[Jar], cache: Path) -> dict[Jar, str]:
    """The jars that are missing or damaged, each with what is wrong."""
    jars = list(jars)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda jar: damage(jar, cache), jars)
        return {jar: problem for jar, problem in zip(jars, found, strict=True) if problem}


def ensure(jars: Iterable[Jar], cache: Path, progress: Progress) -> None:
    """Fetch what is missing or damaged; a jar appears in the cache whole and verified, or not at all."""
    broken = check(jars, cache)
    if not broken:
        return
    for jar, problem in broken.items():
        if problem != "missing":
            progress(f"{jar.file.name} is {problem}: fetching it again")
    megabytes = sum(jar.size for jar in broken) / 1e6
    progress(f"fetching {len(broken)} jars ({megabytes:,.0f} MB) into {cache}")
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch,
        ThreadPoolExecutor(6) as pool,
    ):
        fetched = 0
        for jar, _ in zip(
            broken, pool.map(lambda jar: _fetch(jar, cache, Path(scratch)), broken), strict=True
        ):
            fetched += jar.size
            if jar.size > 20e6:
                progress(f"  {fetched / 1e6:,.0f} of {megabytes:,.0f} MB")
    progress(f"fetched {len(broken)} jars, each with its pinned SHA-256")


def _fetch(jar: Jar, cache: Path, scratch: Path) -> None:
    folder = scratch / hashlib.sha256(jar.coordinate.encode()).hexdigest()[:12]
    folder.mkdir()
    try:
        downloaded = _download(jar, folder)
    except Exception as e:  # jgo raises whatever requests, the file system or a checksum brings
        raise RetryableError(
            f"could not fetch {jar.coordinate}",
            expected="Maven Central to answer",
            found=f"{type(e).__name__}: {e}",
            next="check the network (proxy: HTTPS_PROXY, certificates: REQUESTS_CA_BUNDLE), then: kappa up",
        ) from e
    if (found := sha256_of(downloaded)) != jar.sha256:
        raise KappaError(
            f"{jar.coordinate} is not the pinned file",
            expected=f"SHA-256 {jar.sha256} (local/jars.lock)",
            found=f"SHA-256 {found}",
            next="find out who altered it; do not use it",
        )
    target = cache / "jars" / jar.file
    target.parent.mkdir(parents=True, exist_ok=True)
    downloaded.replace(target)  # a rename: scratch is in the cache, on the same file system


def _download(jar: Jar, folder: Path) -> Path:
    # here: it takes long to import, and a warm start needs nothing of it
    from jgo.maven import (
        MavenContext,
    )

    group, artifact, version, classifier, packaging = jar.fields
    component = (
        MavenContext(repo_cache=folder, timeout=60).project(group, artifact).at_version(version)
    )
    return component.artifact(classifier, packaging).resolve()


def main() -> None:
    """`python -m local.jars PART…`: fetch the jars of these parts into the cache, as a layer of an image."""
    wanted = frozenset(sys.argv[1:])
    ensure([jar for jar in read_lock() if jar.parts & wanted], cache_folder(), print)


if __name__ == "__main__":
    main()
