"""What Python processes of a job have in their environment: workers on TaskManagers, clients, and the planner's."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

PYTHON_ENVIRONMENT = {
    # The order of a set of texts is the same in every process: what depends on it does so the same in every run.
    "PYTHONHASHSEED": "0",
    # No byte code beside the sources of a release: its archive holds what it was named by, and nothing else.
    "PYTHONDONTWRITEBYTECODE": "1",
    # Time zones from the pinned package, not from the machine.
    "PYTHONTZPATH": "",
}
RELEASE_ENVIRONMENT = {
    **PYTHON_ENVIRONMENT,
    # Modules come from the release and from what is installed, not from the folder in which a process happens to start.
    "PYTHONSAFEPATH": "1",
}


def restart_with_environment(arguments: Sequence[str]) -> None:
    """Replace this process by `python ARGUMENTS` with that environment, which an interpreter reads when it starts.

    Nothing happens if the environment is set already.
    """
    if any(os.environ.get(name) != value for name, value in PYTHON_ENVIRONMENT.items()):
        os.execve(
            sys.executable, [sys.executable, *arguments], {**os.environ, **PYTHON_ENVIRONMENT}
        )
