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
