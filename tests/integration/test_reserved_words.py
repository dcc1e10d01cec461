"""`kappa new` quotes exactly the names that Flink's parser would not take as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from replay.cli.reserved_words import RESERVED


def test_the_reserved_words_are_those_that_flink_refuses() -> None:
    script = Path(__file__).parent / "reserved_words.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["words"] > 700
    assert set(found["refused"]) == RESERVED
