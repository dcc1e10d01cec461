"""Archived releases: a job starts from exactly the files that a release was built with, and from no other."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.processes import RELEASE_ENVIRONMENT
from jobs.product.folder import Product
from replay.controller.platform import Platform
from replay.core.model import Attempt, Release
from replay.errors import ConfigError, RefusedError
from replay.releases import archive
from replay.releases import release as releases
from replay.releases.release import Build
from replay.settings import Settings
from tests.unit import folders
from tests.unit.test_release import COLUMNS, SETTINGS, SQL


@pytest.fixture
def product(settings: Settings, tmp_path: Path) -> Product:
    settings.secrets.mkdir()
    (settings.secrets / "pseudonym.key").write_text("0" * 64)
    functions = {
        "pseudonym": {"python": "udfs.privacy:pseudonym", "returns": "STRING", "vectorised": True}
    }
    return folders.write(
        tmp_path / "sql" / "tiny",
        settings={**SETTINGS, "functions": functions},
        sql=SQL,
        columns=COLUMNS,
    )


@pytest.fixture
def built(settings: Settings, product: Product) -> Build:
    return releases.build(settings, product)


def rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.chmod(0o644)
    file.write_bytes(change(file.read_bytes()))


def flip(content: bytes) -> bytes:
    """Another byte, and as many of them."""
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


def linked(file: Path) -> None:
    """The same content, behind a link."""
    elsewhere = file.parents[3] / f"elsewhere-{file.name}"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def in_a_new_folder(file: Path) -> None:
    file.parent.mkdir()
    file.touch()


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def swap_answer(folder: Path) -> None:
    """Another answer of the planner, and its digest in the manifest."""
    rewrite(folder / "resolved.json", lambda c: c.replace(b"INT", b"BIGINT"))
    text = json.loads((folder / "release.json").read_text())
    text["files"]["resolved.json"] = archive._digest((folder / "resolved.json").read_bytes())
    rewrite(folder / "release.json", lambda _: json.dumps(text).encode())


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of SQL": (lambda f: rewrite(f / "product/out.sql", flip), "product/out.sql: changed"),
    "a byte of code": (lambda f: rewrite(f / "jobs/wiring.py", flip), "jobs/wiring.py: changed"),
    "an empty file": (
        lambda f: rewrite(f / "udfs/privacy.py", lambda _: b""),
        "udfs/privacy.py: changed",
    ),
    "a byte of the answer": (
        lambda f: rewrite(f / "resolved.json", flip),
        "resolved.json: changed",
    ),
    "a byte of the manifest": (
        lambda f: rewrite(f / "release.json", flip),
        "release.json: changed",
    ),
    "a space of the manifest": (
        lambda f: rewrite(f / "release.json", lambda c: c.replace(b" ", b"\t", 1)),
        "release.json: changed",
    ),
    "an emptied manifest": (
        lambda f: rewrite(f / "release.json", lambda _: b"{}"),
        "release.json: changed",
    ),
    "an answer with its digest": (swap_answer, "release.json: changed"),
    "no SQL": (lambda f: (f / "product/out.sql").unlink(), "product/out.sql: removed"),
    "no answer": (lambda f: (f / "resolved.json").unlink(), "resolved.json: removed"),
    "no manifest": (lambda f: (f / "release.json").unlink(), "release.json: removed"),
    "no folder of code": (
        lambda f: shutil.rmtree(f / "udfs"),
        "udfs/__init__.py: removed; udfs/keys.py: removed; udfs/privacy.py: removed",
    ),
    "another name": (
        lambda f: (f / "product/out.sql").rename(f / "product/out2.sql"),
        "product/out.sql: removed; product/out2.sql: added",
    ),
    "a file more": (lambda f: (f / "product/more.txt").write_text(""), "product/more.txt: added"),
    "a module more": (lambda f: (f / "udfs/json.py").write_text(""), "udfs/json.py: added"),
    "a module beside the packages": (
        lambda f: (f / "pyflink.py").write_text(""),
        "pyflink.py: added",
    ),
    "a package in a module's place": (
        lambda f: in_a_new_folder(f / "jobs/bindings/__init__.py"),
        "jobs/bindings/__init__.py: added",
    ),
    "byte code as a module": (
        lambda f: (f / "udfs/other.pyc").write_bytes(b""),
        "udfs/other.pyc: added",
    ),
    "a native module": (
        lambda f: (f / "udfs/privacy.so").write_bytes(b""),
        "udfs/privacy.so: added",
    ),
    "a source among byte code": (
        lambda f: in_a_new_folder(f / "jobs/__pycache__/x.py"),
        "jobs/__pycache__/x.py: added",
    ),
    "the same file behind a link": (
        lambda f: linked(f / "product/out.sql"),
        "product/out.sql: a symbolic link to ",
    ),
    "a link to a folder": (
        lambda f: (f / "lib").symlink_to("/usr"),
        "lib: a symbolic link to /usr",
    ),
    "a link for byte code": (
        lambda f: (f / "jobs/__pycache__").symlink_to("/usr"),
        "jobs/__pycache__: a symbolic link to /usr",
    ),
    "a pipe": (
        lambda f: piped(f / "product/out.sql"),
        "product/out.sql: a named pipe",
    ),
}


@pytest.mark.parametrize(("change", "found"), CHANGES.values(), ids=CHANGES)
def test_a_job_does_not_start_from_what_was_changed_and_the_file_is_named(
    settings: Settings, built: Build, change: Callable[[Path], object], found: str
) -> None:
    change(built.folder)
    with pytest.raises(RefusedError) as e:
        start(settings, built)
    assert e.value.message == f"the archived release {built.folder} was changed"
    assert e.value.expected == f"the files of release {built.fingerprint[:12]}"
    assert e.value.found.startswith(found)
    assert e.value.next


def start(settings: Settings, built: Build) -> None:
    """What every start of a job asks first: of a deploy, a resumption, a repeated attempt, a shadow."""
    attempt = Attempt(
        product="tiny", release=1, number=1, created=0.0, parallelism=1, job_ids=("a" * 32,)
    )
    Platform(settings)._submission(attempt, Release("tiny", 1, built.fingerprint, 0.0, {}))


def test_a_job_starts_from_what_was_not_changed(settings: Settings, built: Build) -> None:
    start(settings, built)


def test_what_was_added_is_to_be_removed_and_what_was_changed_to_be_restored(
    settings: Settings, product: Product, built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    (added := built.folder / "udfs" / "my module.py").touch()
    with pytest.raises(RefusedError) as e:
        releases.build(settings, product)
    assert (
        e.value.next
        == f"rm '{added}'  then the same command again; the controller tries again by itself"
    )
    added.unlink()
    rewrite(built.folder / "product" / "out.sql", flip)
    with pytest.raises(RefusedError) as e:
        releases.build(settings, product)
    assert e.value.next == (
        f"restore it from a backup; or: rm -r {built.folder}, and "
        "kappa deploy tiny, which builds it again from the same sources"
    )
    shutil.rmtree(built.folder)
    monkeypatch.setattr(releases, "git_commit", lambda _: "abc123")
    releases.build(settings, product)
    rewrite(built.folder / "product" / "out.sql", flip)
    with pytest.raises(RefusedError, match="git checkout abc123, and kappa deploy tiny"):
        releases.build(settings, product)


def test_many_changes_are_told_in_a_line(settings: Settings, built: Build) -> None:
    shutil.rmtree(built.folder / "jobs")
    with pytest.raises(RefusedError) as e:
        start(settings, built)
    assert e.value.found.count(": removed; ") == 5
    assert e.value.found.endswith(" more")


def test_a_release_that_is_gone_is_named(settings: Settings, built: Build) -> None:
    shutil.rmtree(built.folder)
    with pytest.raises(RefusedError, match="is missing"):
        start(settings, built)


def test_another_release_in_its_place_is_seen(
    settings: Settings, product: Product, built: Build
) -> None:
    (product.folder / "out.sql").write_text("SELECT a FROM orders WHERE a > 1")
    other = releases.build(settings, product)
    shutil.rmtree(built.folder)
    shutil.copytree(other.folder, built.folder)
    with pytest.raises(
        RefusedError, match=rf"its content is that of release {other.fingerprint[:12]}"
    ):
        start(settings, built)


def test_a_release_of_an_earlier_version_is_taken_as_it_was(
    settings: Settings, built: Build
) -> None:
    """Its manifest has no digest of each file, and its clients left byte code."""
    text = json.loads((built.folder / "release.json").read_text())
    old = {
        "product": "tiny",
        "fingerprint": built.fingerprint,
        "computation": built.computation,
        "git_commit": None,
        "resolved": text["files"]["resolved.json"],
    }
    rewrite(built.folder / "release.json", lambda _: json.dumps(old, indent=1).encode())
    py_compile.compile(str(built.folder / "udfs" / "privacy.py"))
    start(settings, built)
    rewrite(built.folder / "resolved.json", flip)
    with pytest.raises(RefusedError, match=r"resolved\.json: changed"):
        start(settings, built)


def test_byte_code_beside_the_sources_is_not_run(settings: Settings, built: Build) -> None:
    """Python takes byte code for that of a source whose time and size it has."""
    source = built.folder / "udfs" / "privacy.py"
    said, of = source.stat(), source.read_bytes()
    rewrite(
        source, lambda c: (b"raise SystemExit('byte code was run')\n" + b"#" * len(c))[: len(c)]
    )
    os.utime(source, ns=(said.st_atime_ns, said.st_mtime_ns))
    py_compile.compile(str(source), cfile=importlib.util.cache_from_source(str(source)))
    rewrite(source, lambda _: of)
    os.utime(source, ns=(said.st_atime_ns, said.st_mtime_ns))
    assert imported(built.folder) == "byte code was run"
    start(settings, built)
    assert imported(built.folder) == ""
    assert [*built.folder.rglob("__pycache__")] == []


def imported(folder: Path) -> str:
    """What a process says that imports a function of the release."""
    run = subprocess.run(
        [sys.executable, "-c", "import udfs.privacy"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **RELEASE_ENVIRONMENT, "PYTHONPATH": str(folder)},
    )
    return run.stderr.strip()


def test_an_archive_that_cannot_be_read_is_one_that_was_changed(
    settings: Settings, built: Build
) -> None:
    from replay.releases.folders import read_archived

    rewrite(built.folder / "product" / "product.yaml", lambda _: b"name: [")
    with pytest.raises(RefusedError, match=r"product/product\.yaml: changed"):
        read_archived(built.folder, built.fingerprint)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as found:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            found.bind(path.name)
        finally:
            os.chdir(here)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to a file": (
        lambda p: p.symlink_to("/etc/hostname"),
        "a symbolic link to /etc/hostname",
    ),
    "a link to a file of the folder": (
        lambda p: p.symlink_to(p.parents[1] / "out.sql"),
        "a symbolic link to ",
    ),
    "a link to a folder": (lambda p: p.symlink_to("/etc"), "a symbolic link to /etc"),
    "a link to itself": (lambda p: p.symlink_to(p.name), "a symbolic link to "),
    "a link to nothing": (lambda p: p.symlink_to("nowhere"), "a symbolic link to nowhere"),
    "a pipe": (os.mkfifo, "a named pipe"),
    "a socket": (bound, "a socket"),
}
PLACES = [
    "product.yaml",
    "contract.yaml",
    "out.sql",
    "views.sql",
    "checks/a.sql",
    "schemas/orders.avsc",
    "notes",
    "checks/deep/er/a.sql",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("make", "found"), ODD.values(), ids=ODD)
def test_what_is_no_file_of_the_folder_is_refused_and_not_opened(
    product: Product, place: str, make: Callable[[Path], object], found: str
) -> None:
    from replay.releases.folders import read_product

    file = product.folder / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    make(file)
    with pytest.raises(ConfigError) as e:
        read_product(product.folder)
    assert (e.value.message, e.value.expected, e.value.next) == (
        f"{file} is wrong",
        "a file of its own, with a printable name",
        f"fix {file}",
    )
    assert e.value.found.startswith(found)


@pytest.mark.parametrize("name", ["checks", "schemas", "tests"])
def test_a_folder_behind_a_link_is_refused(product: Product, tmp_path: Path, name: str) -> None:
    from replay.releases.folders import read_product

    if (product.folder / name).exists():
        shutil.move(product.folder / name, tmp_path / name)
    (product.folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ConfigError, match=f"{name} is wrong"):
        read_product(product.folder)


@pytest.mark.parametrize("name", ["a\n.sql", "a\x1b[31m", "a\udcff"])
def test_a_name_that_cannot_be_printed_is_refused(product: Product, name: str) -> None:
    from replay.releases.folders import read_product

    (product.folder / "checks" / name).touch()
    with pytest.raises(ConfigError, match="a name that cannot be printed"):
        read_product(product.folder)


def test_a_link_among_the_functions_is_refused(
    settings: Settings, product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "udfs").mkdir()
    (tmp_path / "udfs" / "__init__.py").write_text("from udfs import shared")
    (tmp_path / "udfs" / "shared.py").symlink_to("/etc/hostname")
    shared = str(tmp_path / "udfs" / "__init__.py")
    monkeypatch.setattr("replay.releases.release.udfs.__file__", shared)
    with pytest.raises(ConfigError, match=r"shared\.py cannot be part of a release"):
        releases.build(settings, product)


def test_a_folder_that_is_reached_by_a_link_is_taken(product: Product, tmp_path: Path) -> None:
    from replay.releases.folders import read_product

    (tmp_path / "link").symlink_to(product.folder)
    assert read_product(tmp_path / "link").name == "tiny"
