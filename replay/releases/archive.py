"""The folder of an archived release: written once and whole, and what it was named by whenever a job starts from it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.product import trees
from replay.errors import RefusedError
from replay.releases.computation import fingerprint
from replay.versions import refuse_newer

MANIFEST = "release.json"
RESOLVED = "resolved.json"
"""What Flink's planner said of the product. A release is named by digests of the plan in it, not by the file."""
VERSION = 1
"""Of the manifest's form. One without a version is of before there were any."""
_NAMED = 5
"""Files that an error names."""


def write(
    folder: Path, files: Mapping[str, Path], manifest: Mapping[str, Any], resolved: str
) -> None:
    """Copy the files; the folder appears whole or not at all."""
    building = folder.parent / f".building-{uuid.uuid4().hex}"
    try:
        for path, source in files.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, building / path)
        (building / RESOLVED).write_text(resolved)
        content = {path: (building / path).read_bytes() for path in [*files, RESOLVED]}
        (building / MANIFEST).write_text(_manifest(manifest, content))
        for file in building.rglob("*"):
            if file.is_file():
                file.chmod(0o444)
                with file.open("rb") as f:
                    os.fsync(f.fileno())
        try:
            building.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise the same was built meanwhile
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def verified(folder: Path, named: str) -> Path:
    """The folder, for a job to start from: without byte code, and otherwise what it was built as; or RefusedError.

    Clients of earlier versions left byte code there, and Python runs it in the place of a source of its time and size.
    """
    _drop_byte_code(folder)
    verify(folder, named)
    return folder


def verify(folder: Path, named: str) -> None:
    """RefusedError that names the files when an archived release is not what it was: a replay would mean nothing."""
    if folder.is_symlink() or not folder.is_dir():
        raise _refused(folder, named, "is missing", "no such folder", _restore(folder, None))
    content, odd = _read(folder)
    manifest = _of_known_version(folder, content.get(MANIFEST, b""))
    differences = {**_differences(content, odd, manifest), **odd}
    sources = {path: data for path, data in content.items() if path not in (MANIFEST, RESOLVED)}
    if not differences and fingerprint(sources) != named:
        differences = {".": f"its content is that of release {fingerprint(sources)[:12]}"}
    if differences:
        raise _refused(
            folder, named, "was changed", _told(differences), _remedy(folder, differences, manifest)
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is recorded of a release; empty when that is missing or damaged; RefusedError when it is newer."""
    try:
        return _of_known_version(folder, (folder / MANIFEST).read_bytes())
    except OSError:
        return {}


def _of_known_version(folder: Path, text: bytes) -> dict[str, Any]:
    """The manifest. Of a newer version not even the digests are known to be what they are here."""
    try:
        version = json.loads(text).get("version", 1)
    except (ValueError, AttributeError):
        return {}
    if isinstance(version, int) and version > VERSION:
        refuse_newer(f"the archived release {folder}", version, VERSION)
    return _parsed(text)


def _manifest(said: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    """What is said of the release, the digest of each file, and a digest of all this."""
    manifest = {
        "version": VERSION,
        **said,
        "files": {path: _digest(data) for path, data in sorted(content.items())},
    }
    return _text({**manifest, "digest": _digest(_text(manifest).encode())})


def _text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=1) + "\n"


def _parsed(text: bytes) -> dict[str, Any]:
    """The manifest; empty when it is missing or damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    if not {"files", "digest"} & found.keys():
        # an earlier version's, without digests of files and of itself
        return found if "resolved" in found else {}
    said = {key: value for key, value in found.items() if key != "digest"}
    whole = {**said, "digest": _digest(_text(said).encode())}
    return found if text == _text(whole).encode() else {}


def _differences(
    content: Mapping[str, bytes], odd: Mapping[str, str], manifest: Mapping[str, Any]
) -> dict[str, str]:
    """File → what became of it since the release was built."""
    if not manifest:
        return {MANIFEST: "changed" if MANIFEST in content else "removed"}
    found = {path: _digest(data) for path, data in content.items() if path != MANIFEST}
    if "files" not in manifest:
        same = found.get(RESOLVED) == manifest["resolved"]
        return {} if same else {RESOLVED: "changed" if RESOLVED in found else "removed"}
    files: dict[str, str] = manifest["files"]
    removed = {path: "removed" for path in files if path not in found and path not in odd}
    added = {path: "added" for path in found if path not in files}
    changed = {path: "changed" for path in files if path in found and found[path] != files[path]}
    return {**changed, **removed, **added}


def _read(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files, and what else there is."""
    content, odd = {}, {}
    for entry in trees.entries(folder):
        path = entry.path.relative_to(folder).as_posix()
        if entry.odd:
            odd[path] = entry.odd
        else:
            content[path] = entry.path.read_bytes()
    return content, odd


def _drop_byte_code(folder: Path) -> None:
    for entry in list(trees.entries(folder)):
        if (
            entry.path.parent.name == trees.BYTE_CODE
            and entry.path.suffix == ".pyc"
            and not entry.odd
        ):
            entry.path.unlink()
    for left in sorted(folder.rglob(trees.BYTE_CODE), reverse=True):
        if not left.is_symlink() and left.is_dir() and not any(left.iterdir()):
            left.rmdir()


def _told(differences: Mapping[str, str]) -> str:
    named = [f"{trees.shown(Path(path))}: {what}" for path, what in differences.items()]
    more = [f"and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return "; ".join([*named[:_NAMED], *more])


def _remedy(folder: Path, differences: Mapping[str, str], manifest: Mapping[str, Any]) -> str:
    if set(differences.values()) == {"added"}:
        files = " ".join(shlex.quote(str(folder / path)) for path in list(differences)[:_NAMED])
        return f"rm {files}  then the same command again; the controller tries again by itself"
    return _restore(folder, manifest.get("git_commit"))


def _restore(folder: Path, commit: Any) -> str:
    """What brings a release's content back: it is the same release when the sources are the same."""
    at = (
        f", git checkout {commit}"
        if isinstance(commit, str) and not commit.endswith("-dirty")
        else ""
    )
    return (
        f"restore it from a backup; or: rm -r {shlex.quote(str(folder))}{at}, and "
        f"kappa deploy {folder.parent.name}, which builds it again from the same sources"
    )


def _refused(folder: Path, named: str, what: str, found: str, next_: str) -> RefusedError:
    return RefusedError(
        f"the archived release {folder} {what}",
        expected=f"the files of release {named[:12]}",
        found=found,
        next=next_,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
