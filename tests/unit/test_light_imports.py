"""What is pure stays light: it imports nothing that reaches out."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from replay import core

REACHES_OUT = (
    "confluent_kafka",
    "duckdb",
    "httpx",
    "pandas",
    "pyarrow",
    "pyflink",
    "pyiceberg",
    "sqlalchemy",
    "subprocess",
)
DECIDES = (
    "replay.controller.decide",
    "replay.controller.attempt_rules",
    "replay.controller.job_rules",
    "replay.controller.publish_rules",
    "replay.controller.intents",
    "replay.controller.schedule",
    *(m.name for m in pkgutil.iter_modules(core.__path__, "replay.core.")),
)
ASKED = "import sys; import {}; print(*sorted(set({}) & set(sys.modules)))"


@pytest.mark.parametrize("module", DECIDES)
def test_what_decides_imports_nothing_that_reaches_out(module: str) -> None:
    asked = ASKED.format(module, REACHES_OUT)
    found = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []


HELP = "import replay.cli.main, typer.testing; typer.testing.CliRunner().invoke(replay.cli.main.app, ['--help'])"
SETTINGS = (
    "__import__('types').SimpleNamespace(storage={}, catalog=__import__('types').SimpleNamespace("
    "name='lake', pyiceberg={'type': 'sql', 'uri': 'sqlite://'}))"
)
"""With a catalog in memory, which has no tables."""
WITHOUT_FILES = (
    *("confluent_kafka.schema_registry", "duckdb", "fastavro", "numpy", "packaging", "pyarrow"),
    *("pyflink", "pyiceberg.catalog.rest", "pyiceberg.io.pyarrow"),
)
COMMANDS = {
    "kappa --help": (
        HELP,
        (*REACHES_OUT[:-1], "requests", "pydantic", "yaml", "numpy", "importlib.metadata"),
    ),
    "kappa attempts": (
        "import replay.cli.past",
        (
            *("confluent_kafka", "duckdb", "fastavro", "httpx", "numpy", "packaging", "pyarrow"),
            *("pyflink", "pyiceberg", "sqlalchemy.orm"),
        ),
    ),
    "kappa query": (
        "import replay.cli.query",
        ("confluent_kafka", "duckdb", "httpx", "numpy", "pyarrow", "pyiceberg", "sqlalchemy"),
    ),
    "kappa check": (
        "import replay.cli.check",
        ("confluent_kafka", "duckdb", "numpy", "pyarrow", "pyiceberg", "sqlalchemy", "pyflink"),
    ),
    "kappa check, once the planner has answered": (
        "import replay.cli.check; replay.cli.check._import_later()",
        (
            *("confluent_kafka.schema_registry", "duckdb", "numpy", "packaging", "pyarrow"),
            *("pyflink", "pyiceberg", "sqlalchemy"),
        ),
    ),
    "kappa query, once it has asked where tables are": (
        "import replay.cli.query; from replay.iceberg import sql_places;"
        f" sql_places.places({SETTINGS}, 'orders')",
        ("confluent_kafka", "duckdb", "httpx", "numpy", "pyarrow", "pyiceberg", "sqlalchemy.orm"),
    ),
    "kappa status": ("import replay.cli.look, local.stack", WITHOUT_FILES),
    "kappa status, once it has read files of this machine": (
        "import replay.cli.look, local.stack; from replay.flink import positions;"
        " from replay.iceberg import file_io;"
        f" file_io.to_read(file_io.of_pyiceberg({{}}), {__file__!r}, None).open();"
        " positions.newest(None, 'file:///nowhere', 'job', (), 0)",
        WITHOUT_FILES,
    ),
}
"""What a command runs before it asks anybody, and libraries that it must not have imported then."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_not_wait_for_libraries_that_it_does_without(command: str) -> None:
    begun, heavy = COMMANDS[command]
    asked = f"import sys; {begun}; print(*sorted(set({heavy}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
