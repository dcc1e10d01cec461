"""How the job of an archived release is started again: its entry point, its Python, bindings that its code reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.bindings import READER, VERSION, Bindings, read_bindings
from jobs.product.folder import Product
from replay.controller.platform import Platform
from replay.core.model import Attempt, Release
from replay.errors import RefusedError
from replay.flink.submit import submit_command
from replay.kafka import log
from replay.releases import archive
from replay.releases import release as releases
from replay.releases.launch import PYTHON_VERSION, Launch, bindings_for, of_release
from replay.releases.release import Build, bindings_file
from replay.settings import Settings
from tests.unit import folders

ATTEMPT = Attempt(
    product="tiny", release=1, number=1, created=0.0, parallelism=1, job_ids=("a" * 32,)
)
BINDINGS: dict[str, Any] = {
    "version": VERSION,
    "reader": READER,
    "attempt": "tiny-r1-a1",
    "branch": "r1-a1",
    "group": "g",
    "kafka": {},
    "registry": "r",
    "catalog": {"name": "lake", "options": {}},
    "namespace": "tiny",
    "parallelism": 1,
    "checkpoint_interval": "10s",
    "checkpoint_dir": "d",
}


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return folders.write(tmp_path / "sql" / "tiny")


@pytest.fixture
def built(settings: Settings, product: Product) -> Build:
    return releases.build(settings, product)


def record(built: Build, change: Callable[[dict[str, Any]], object]) -> None:
    """The manifest as another program, or this one elsewhere, would have written it."""
    file = built.folder / archive.MANIFEST
    manifest = json.loads(file.read_text())
    del manifest["digest"]
    change(manifest)
    manifest["digest"] = archive._digest(archive._text(manifest).encode())
    file.chmod(0o644)
    file.write_text(archive._text(manifest))


def release(built: Build) -> Release:
    return Release("tiny", 1, built.fingerprint, 0.0, {})


def command(settings: Settings, built: Build) -> list[str]:
    return submit_command(settings, Platform(settings)._submission(ATTEMPT, release(built)))


def after(option: str, of: list[str]) -> str:
    return of[of.index(option) + 1]


def test_a_release_records_how_its_job_is_started(built: Build) -> None:
    assert of_release(built.folder) == Launch(
        "jobs/run.py", sys.executable, PYTHON_VERSION, VERSION, jars=True
    )
    assert json.loads((built.folder / "release.json").read_text())["version"] == archive.VERSION


def test_a_job_is_started_as_its_release_says(
    settings: Settings, built: Build, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.touch(mode=0o755)
    record(
        built,
        lambda m: m["job"].update(
            entry="jobs/wiring.py", python=str(python), python_version="3.12"
        ),
    )
    said = command(settings, built)
    assert after("-py", said) == str(built.folder / "jobs" / "wiring.py")
    assert (after("-pyclientexec", said), after("-pyexec", said)) == (str(python), str(python))


def test_where_its_python_is_gone_one_of_its_version_starts_it(
    settings: Settings, built: Build
) -> None:
    record(built, lambda m: m["job"].update(python="/gone/bin/python"))
    assert after("-pyexec", command(settings, built)) == sys.executable
    record(built, lambda m: m["job"].update(python_version="3.9"))
    with pytest.raises(RefusedError) as e:
        command(settings, built)
    assert str(e.value) == (
        "the Python that the release was built with is gone\n"
        "  expected: /gone/bin/python, or a controller on Python 3.9\n"
        f"  found:    Python {PYTHON_VERSION} at {sys.executable}\n"
        "  next:     install it there again; the controller tries again by itself"
    )


def test_a_release_of_before_they_recorded_it_is_started_as_ever(
    settings: Settings, built: Build
) -> None:
    record(built, lambda m: (m.pop("job"), m.pop("version")))
    said = command(settings, built)
    assert (after("-py", said), after("-pyexec", said)) == (
        str(built.folder / "jobs" / "run.py"),
        sys.executable,
    )
    (built.folder / "jobs" / "run.py").rename(built.folder / "jobs" / "pipeline.py")
    assert of_release(built.folder) == Launch("jobs/pipeline.py")


def test_what_a_newer_program_records_besides_is_left_out(built: Build) -> None:
    record(built, lambda m: m["job"].update(more=1))
    assert of_release(built.folder).entry == "jobs/run.py"


def test_an_archive_of_a_newer_version_is_refused_as_such(settings: Settings, built: Build) -> None:
    record(built, lambda m: m.update(version=archive.VERSION + 1, files="elsewhere"))
    with pytest.raises(RefusedError) as e:
        command(settings, built)
    assert str(e.value) == (
        f"the archived release {built.folder} is of a newer version of kappa\n"
        "  expected: version 1\n"
        "  found:    version 2\n"
        "  next:     use the kappa that wrote it, or a newer one"
    )


@pytest.mark.parametrize(
    ("read", "expected"),
    [(1, BINDINGS.keys() - {"version", "reader"}), (2, BINDINGS.keys()), (3, BINDINGS.keys())],
)
def test_a_job_gets_bindings_of_the_form_that_its_code_reads(read: int, expected: set[str]) -> None:
    assert set(bindings_for(Launch(bindings=read), BINDINGS)) == set(expected)


def test_a_release_of_before_finds_the_user_of_the_registry_in_its_url() -> None:
    user = {"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": "${file:/u}"}
    bindings = {**BINDINGS, "registry": "https://registry/v7", "registry_options": user}
    assert bindings_for(Launch(bindings=3), bindings) == bindings
    older = bindings_for(Launch(bindings=2), bindings)
    assert older["registry"] == "https://${file:/u}@registry/v7" and "registry_options" not in older
    with pytest.raises(RefusedError, match="cannot log in to the registry") as e:
        bindings_for(
            Launch(bindings=2),
            {**bindings, "registry_options": {**user, "bearer.auth.token": "${file:/t}"}},
        )
    assert e.value.found == "bearer.auth.token"


@pytest.mark.parametrize(
    ("change", "version"),
    [
        pytest.param(lambda m: None, VERSION, id="of now"),
        pytest.param(lambda m: m.pop("job"), None, id="of before there were versions"),
    ],
)
def test_an_attempt_is_bound_in_the_form_of_its_release(
    settings: Settings,
    product: Product,
    built: Build,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], object],
    version: int | None,
) -> None:
    monkeypatch.setattr(log, "end_offsets", lambda s, topics: {t: {0: 5} for t in topics})
    monkeypatch.setattr(log, "broker_dated", lambda s, topics: [])
    record(built, change)
    Platform(settings).prepare(product, ATTEMPT, release(built), lambda: None)
    file = bindings_file(settings, "tiny", ATTEMPT.name)
    assert json.loads(file.read_text()).get("version") == version
    assert read_bindings(file).branch == "r1-a1"


def wrote(tmp_path: Path, **fields: Any) -> Path:
    file = tmp_path / "bindings.json"
    file.write_text(json.dumps({k: v for k, v in {**BINDINGS, **fields}.items() if v is not None}))
    return file


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="of this version"),
        pytest.param({"version": None, "reader": None}, id="of before there were versions"),
        pytest.param(
            {
                "version": VERSION + 7,
                "more": {"than": 1},
                "catalog": {"name": "lake", "options": {}, "more": 1},
            },
            id="newer, and it can be left out",
        ),
    ],
)
def test_bindings_that_a_job_can_use(tmp_path: Path, fields: dict[str, Any]) -> None:
    found = read_bindings(wrote(tmp_path, **fields))
    assert found.model_copy(
        update={"version": VERSION, "reader": READER}
    ) == Bindings.model_validate(BINDINGS)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param({"grop": "g"}, "grop Extra inputs are not permitted", id="a mistake"),
        pytest.param(
            {"version": None, "reader": None, "grop": "g"},
            "grop Extra inputs are not permitted",
            id="a mistake where there is no version",
        ),
        pytest.param({"group": None}, "group Field required", id="a field is missing"),
        pytest.param(
            {"version": 9, "reader": 4},
            "Value error, version 9, for code that reads version 4; this reads up to 3",
            id="too new",
        ),
        pytest.param(
            {"version": 9, "reader": None},
            "Value error, version 9, for code that reads version 9; this reads up to 3",
            id="new, no more said",
        ),
    ],
)
def test_bindings_that_a_job_cannot_use_are_told_in_a_line(
    tmp_path: Path, fields: dict[str, Any], found: str
) -> None:
    file = wrote(tmp_path, **fields)
    with pytest.raises(SystemExit) as e:
        read_bindings(file)
    assert e.value.code == f"the job cannot use its bindings {file}: {found}"


def test_a_resumption_keeps_what_its_release_says(
    settings: Settings, built: Build, tmp_path: Path
) -> None:
    resumed = Platform(settings)._submission(replace(ATTEMPT, restore="file:///c7"), release(built))
    assert (resumed.launch, resumed.restore) == (of_release(built.folder), "file:///c7")
