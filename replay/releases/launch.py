"""How the job of an archived release is started: recorded when it was built, and done so by whatever controller."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.bindings import VERSION
from replay.errors import RefusedError
from replay.releases import archive

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_REGISTRY_OPTIONS = 3
"""The version of bindings that has these; before, a user of the registry was in its URL."""
_BEFORE = ("jobs/run.py", "jobs/pipeline.py")
"""Entry points of releases that do not say which is theirs, the newer first."""


@dataclass(frozen=True)
class Launch:
    """Without a word: as it was before releases recorded it."""

    entry: str = _BEFORE[0]
    """Python file in the release that `flink run` executes."""
    python: str = ""
    """Interpreter of the client and of workers; empty: that of the controller."""
    python_version: str = ""
    bindings: int = 1
    """Newest version of the bindings that its code reads."""
    jars: bool = False
    """The jars that it was built with were kept: its job is to have no others where it can have its own."""

    @property
    def interpreter(self) -> str:
        """The one it was built with; where that is gone, the controller's if it is of the same version."""
        if not self.python or self.python == sys.executable or os.access(self.python, os.X_OK):
            return self.python or sys.executable
        if self.python_version == PYTHON_VERSION:
            return sys.executable
        raise RefusedError(
            "the Python that the release was built with is gone",
            expected=f"{self.python}, or a controller on Python {self.python_version}",
            found=f"Python {PYTHON_VERSION} at {sys.executable}",
            next="install it there again; the controller tries again by itself",
        )


def of_now(module: str) -> dict[str, Any]:
    """What the manifest of a release that is built now says of its job, which this module runs."""
    entry = f"{module.replace('.', '/')}.py"
    return asdict(Launch(entry, sys.executable, PYTHON_VERSION, VERSION, jars=True))


def of_release(folder: Path) -> Launch:
    """What its manifest says; RefusedError when that is of a newer version."""
    said = archive.read_manifest(folder).get("job")
    if not isinstance(said, dict):
        return Launch(next((entry for entry in _BEFORE if (folder / entry).is_file()), _BEFORE[0]))
    return Launch(**{name: said[name] for name in Launch.__dataclass_fields__ if name in said})


def bindings_for(launch: Launch, bindings: Mapping[str, object]) -> Mapping[str, object]:
    """Bindings in the form that the release's code reads: it may refuse what it does not know."""
    if launch.bindings < _REGISTRY_OPTIONS:
        bindings = _with_user_in_url(bindings)
    if launch.bindings > 1:
        return bindings
    return {key: value for key, value in bindings.items() if key not in ("version", "reader")}


def _with_user_in_url(bindings: Mapping[str, object]) -> Mapping[str, object]:
    """RefusedError where a user is not all that the registry asks for."""
    given = bindings.get("registry_options")
    options = dict(given) if isinstance(given, Mapping) else {}
    user = options.pop("basic.auth.user.info", None)
    options.pop("basic.auth.credentials.source", None)
    if options:
        raise RefusedError(
            "the release cannot log in to the registry: it was built before it knew how",
            expected="no login, or a user with a password",
            found=", ".join(sorted(options)),
            next="deploy the product again: the same SQL becomes a new release",
        )
    address = str(bindings.get("registry"))
    said = {key: value for key, value in bindings.items() if key != "registry_options"}
    return {**said, "registry": address.replace("://", f"://{user}@", 1)} if user else said
