"""Libraries that a process does without."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASKED = """
import sys
from replay.query.lean import without
with without("pandas"):
    {imports}
    import duckdb, pyarrow as pa
    with duckdb.connect() as connection:
        connection.register("t", pa.table({{"a": [1, None]}}))
        found = connection.execute("SELECT a FROM t WHERE a = $a", {{"a": 1}})
        assert found.to_arrow_reader(10).read_all().num_rows == 1
print([name for name in sys.modules if name.partition(".")[0] == "pandas"])
import pandas
"""


@pytest.mark.parametrize(
    "imports",
    ["from replay.cli import running", "from replay.cli import diff"],
    ids=["audit", "diff"],
)
def test_an_audit_and_a_diff_do_without_pandas(imports: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", ASKED.format(imports=imports)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[]\n"
