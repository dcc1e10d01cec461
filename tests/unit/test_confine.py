"""What a confined process may still read; what it may not is in test_query_hostile.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from replay.query import confine

CONFINED = """
import sys
from pathlib import Path
from replay.query import confine
assert confine.to_folders(read=sys.argv[1:3], write=[])
for place in sys.argv[1:]:
    file = Path(place)
    try:
        print((file / "inner" if file.suffix != ".txt" else file).read_text())
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(confine.landlock_version() < 1, reason="this kernel has no Landlock")
def test_single_files_may_be_read_as_well_as_folders(tmp_path: Path) -> None:
    """Such as /etc/resolv.conf: without it an object store is not found by its name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("inner")
    (tmp_path / "file.txt").write_text("file")
    (tmp_path / "other.txt").write_text("other")
    places = [str(tmp_path / name) for name in ("folder", "file.txt", "other.txt")]
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, *places], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["inner", "file", "refused"], done.stderr
