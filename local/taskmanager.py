"""`python -m local.taskmanager HOME COMMAND…`: run Flink's TaskManager once nothing of the last one is left.

Python workers of a TaskManager that was killed wait for it for ever, and each keeps its memory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.cluster_files import is_catching_up
from local.clusters import CATCHING_UP_NICE
from local.layout import Layout
from local.supervise import end_orphans


def main() -> None:
    """End the workers left over, then become the TaskManager: the supervisor keeps watching the same pid."""
    home, *command = sys.argv[1:]
    layout, program = Layout(Path(home)), os.environ["KAPPA_PROGRAM"]
    for pid in end_orphans(layout, seconds=2, program=program):
        sys.stdout.write(f"ended a worker (pid {pid}) that the last TaskManager left\n")
    if is_catching_up(layout, program):
        os.nice(CATCHING_UP_NICE)
    sys.stdout.flush()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
