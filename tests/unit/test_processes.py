"""What processes of a job have in their environment, whoever starts them, and what only the supervisor gives."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.processes import PYTHON_ENVIRONMENT, RELEASE_ENVIRONMENT
from local import flink
from local.layout import Layout
from local.supervise import configuration
from replay.flink.submit import submit_env
from replay.settings import CatalogSettings, FlinkSettings, Settings


def test_sets_have_one_order_and_no_byte_code_is_written() -> None:
    assert PYTHON_ENVIRONMENT == {
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONTZPATH": "",
    }
    assert RELEASE_ENVIRONMENT.items() > PYTHON_ENVIRONMENT.items()
    shown = [
        subprocess.run(
            [sys.executable, "-c", "print(*{'a', 'b', 'c', 'd', 'e', 'f'})"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **PYTHON_ENVIRONMENT},
        ).stdout
        for _ in range(3)
    ]
    assert len(set(shown)) == 1


def test_every_program_of_flink_has_it() -> None:
    layout = Layout(Path("/srv/kappa"))
    for program in flink.programs(layout, flink.session(layout)):
        assert program.environment.items() >= RELEASE_ENVIRONMENT.items()


def test_flink_run_has_it_and_a_folder_of_its_own_for_scratch(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home",
        kafka={},
        registry="http://registry",
        store="sqlite://",
        secrets=tmp_path / "secrets",
        flink=FlinkSettings(
            rest="http://127.0.0.1:8081", home=tmp_path / "flink", checkpoints="file:///ck"
        ),
        catalog=CatalogSettings(flink={}, pyiceberg={}),
    )
    found = submit_env(settings)
    assert found.items() >= RELEASE_ENVIRONMENT.items()
    assert f"-Djava.io.tmpdir={tmp_path}/home/tmp" in found["FLINK_ENV_JAVA_OPTS_CLI"].split()
    assert (tmp_path / "home" / "tmp").is_dir()


@pytest.mark.parametrize("seed", [None, "1", "random"])
def test_a_check_that_somebody_types_starts_anew_with_it(tmp_path: Path, seed: str | None) -> None:
    script = tmp_path / "check.py"
    script.write_text(
        "import json, os, sys\nfrom jobs.processes import restart_with_environment\n"
        "restart_with_environment(sys.argv)\n"
        "print(json.dumps([sys.argv[1:], sys.flags.hash_randomization, dict(os.environ)]))\n"
    )
    given = {name: value for name, value in os.environ.items() if name not in PYTHON_ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, script, "a b", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**given, **({"PYTHONHASHSEED": seed} if seed else {})},
    )
    arguments, randomised, environment = json.loads(done.stdout)
    assert (arguments, randomised) == (["a b", "--json"], 0)
    assert environment.items() >= PYTHON_ENVIRONMENT.items()


def test_what_programs_write_is_for_their_owner() -> None:
    parsed = configparser.RawConfigParser()
    parsed.read_string(configuration(Layout(Path("/srv/kappa")), []))
    assert parsed["supervisord"]["umask"] == "077"
