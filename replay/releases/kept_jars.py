"""The jars that releases were built with, kept by digest: a job goes on with its own after Flink's `lib` got others.

    $KAPPA_HOME/jars/DIGEST.jar                 each jar of Flink's `lib` as it was when a release was built
    $KAPPA_HOME/attempts/PRODUCT/ATTEMPT.lib/   Flink's `lib` for one attempt

The jars of the latter are links to the same files: they need no further space, and nothing is missing from them when a
jar is no longer kept. Jars that decide rows are those of the release. Others, such as drivers and loggers, are the ones
of the time when the folder was made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from replay.errors import RefusedError
from replay.releases import launch, runtime, shared
from replay.settings import Settings

Jars = Mapping[str, str]
"""Name of a jar → its SHA-256."""
_FLINK = "flink-dist-"
"""The jar that is Flink itself; its name ends in the version."""
_BLOCK = 1 << 20
_TOUCHED_SECONDS = 3600.0
"""How often it is noted that a jar is needed: far more often than others are deleted. A file that was touched is read
again to know its digest."""


def folder(settings: Settings) -> Path:
    """Where jars are kept."""
    return settings.home / "jars"


def keep(settings: Settings) -> None:
    """Keep all jars of Flink's `lib`; what is kept already counts as new again."""
    for jar in installed(settings):
        digest = runtime.digest(jar)
        kept = _kept(settings, digest)
        if not kept.exists() or kept.stat().st_size != jar.stat().st_size:
            _copy(jar, kept, digest)
        elif time.time() - kept.stat().st_mtime > _TOUCHED_SECONDS:
            os.utime(kept)
        shared.keep_jar(settings, kept)


def installed(settings: Settings) -> list[Path]:
    """The jars of Flink's `lib` as it is now."""
    return sorted((settings.flink.home / "lib").glob("*.jar"))


def others(settings: Settings, release: Path) -> str:
    """The jars of a release that are others than Flink's `lib` has now, for people; empty: none, or they are gone.

    Those of releases that were archived before jars were kept may be gone: such a release runs with what there is.
    """
    built = runtime.jars_of(release)
    now = {
        jar.name: runtime.digest(jar) for jar in installed(settings) if runtime.computes(jar.name)
    }
    if (
        not built
        or built == now
        or (_missing(settings, built) and not launch.of_release(release).jars)
    ):
        return ""
    return runtime.differences(built, now)


def provide(settings: Settings, release: Path, target: Path) -> Path | None:
    """Have the folder hold what Flink's `lib` is to be for this release; None: its jars were not kept in its time.

    RefusedError when they are gone, or are those of another Flink than is installed.
    """
    built = runtime.jars_of(release)
    if not built:
        return None
    whole = _is_whole(target, built)
    missing = {} if whole else _fetched(settings, built)
    if missing and not launch.of_release(release).jars:
        return None
    _refuse_another_flink(settings, release, built)
    if missing:
        raise _gone(settings, release, missing)
    if not whole:
        _link(settings, built, target)
    return target


def needed(settings: Settings) -> frozenset[str]:
    """The digests of jars that an archived release was built with, or that Flink's `lib` has now."""
    releases = (file.parent for file in settings.releases.glob(f"*/*/{runtime.NAMED}"))
    of_releases = (digest for release in releases for digest in runtime.jars_of(release).values())
    return frozenset((*of_releases, *map(runtime.digest, installed(settings))))


def drop(target: Path) -> None:
    """Delete such a folder, and what a crash left of its making."""
    for left in (target, *target.parent.glob(f".{target.name}-*")):
        shutil.rmtree(left, ignore_errors=True)


def _kept(settings: Settings, digest: str) -> Path:
    return folder(settings) / f"{digest}.jar"


def _missing(settings: Settings, jars: Jars) -> Jars:
    return {name: digest for name, digest in jars.items() if not _kept(settings, digest).exists()}


def _fetched(settings: Settings, jars: Jars) -> Jars:
    """Have jars here that another host has shared, and share those that it lacks; the ones that are nowhere."""
    for digest in jars.values():
        shared.fetch_jar(settings, _kept(settings, digest))
    missing = _missing(settings, jars)
    for name in jars.keys() - missing.keys():
        shared.keep_jar(settings, _kept(settings, jars[name]))
    return missing


def _is_whole(target: Path, built: Jars) -> bool:
    """Whether a `lib` has exactly these jars, of those that decide rows."""
    found = {jar.name: jar for jar in target.glob("*.jar") if runtime.computes(jar.name)}
    return found.keys() == built.keys() and all(
        runtime.digest(jar) == built[name] for name, jar in found.items()
    )


def _link(settings: Settings, built: Jars, target: Path) -> None:
    """Make the folder, which appears whole or not at all."""
    carrying = {
        jar.name: runtime.digest(jar)
        for jar in installed(settings)
        if not runtime.computes(jar.name)
    }
    making = target.parent / f".{target.name}-{uuid.uuid4().hex}"
    try:
        making.mkdir(parents=True)
        for name, digest in {**carrying, **built}.items():
            kept = _kept(settings, digest)
            if name in carrying and not kept.exists():
                # it has come since the last release was built
                shutil.copyfile(settings.flink.home / "lib" / name, making / name)
                continue
            _refuse_changed(kept, digest)
            _link_or_copy(kept, making / name)
        shutil.rmtree(target, ignore_errors=True)  # a copy that was changed
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _link_or_copy(kept: Path, target: Path) -> None:
    try:
        target.hardlink_to(kept)
    except OSError:  # a file system without links
        shutil.copyfile(kept, target)


def _copy(jar: Path, target: Path, digest: str) -> None:
    """A copy, not a link: overwriting the original in place must not change what is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copy = target.parent / f".{digest}-{uuid.uuid4().hex}"
    try:
        found = hashlib.sha256()
        with jar.open("rb") as source, copy.open("xb") as sink:
            while block := source.read(_BLOCK):
                found.update(block)
                sink.write(block)
            sink.flush()
            os.fsync(sink.fileno())
        if found.hexdigest() != digest:
            raise RefusedError(
                f"{jar} was changed while it was copied",
                expected=f"SHA-256 {digest}",
                found=found.hexdigest(),
                next="repeat the command",
            )
        copy.chmod(0o444)
        copy.replace(target)
    finally:
        copy.unlink(missing_ok=True)


def _refuse_changed(kept: Path, digest: str) -> None:
    found = runtime.digest(kept)
    if found != digest:
        raise RefusedError(
            f"the kept jar {kept} was changed",
            expected=f"SHA-256 {digest}",
            found=found,
            next=f"restore it from a backup; the controller tries again by itself. Or: rm {kept}, and "
            "deploy again, if Flink's lib still has this jar",
        )


def _refuse_another_flink(settings: Settings, release: Path, built: Jars) -> None:
    """The Python of client and workers brings PyFlink, which must be of the version of Flink's jars."""
    wanted = _flink(built)
    found = _flink(jar.name for jar in installed(settings))
    if wanted != found:
        raise RefusedError(
            f"the release {release} runs on another Flink than is installed",
            expected=wanted,
            found=found or "no Flink",
            next="install the kappa that it was deployed with; or kappa deploy "
            f"{release.parent.name}, which builds a release for the Flink that is installed",
        )


def _flink(names: Iterable[str]) -> str:
    """'apache-flink 2.1.3', by the name of Flink's own jar; empty: there is none."""
    found = next((name for name in names if name.startswith(_FLINK)), "")
    return f"apache-flink {found.removeprefix(_FLINK).removesuffix('.jar')}" if found else ""


def _gone(settings: Settings, release: Path, missing: Jars) -> RefusedError:
    return RefusedError(
        f"jars that the release {release} was built with are gone",
        expected=", ".join(f"{name} as {_kept(settings, of)}" for name, of in missing.items()),
        found="no such files",
        next="restore them from a backup; the controller tries again by itself. Or kappa deploy "
        f"{release.parent.name}, which builds a release with the jars of now",
    )
