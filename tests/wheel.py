"""The wheel, built without a network and installed apart from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.pages import ROOT

_ENTRY_POINT = """
import sys
from importlib.metadata import entry_points
(kappa,) = entry_points(group="console_scripts", name="kappa")
sys.argv[0] = "kappa"
sys.exit(kappa.load()())
"""


def build(folder: Path) -> Path:
    """The wheel of this checkout, in the folder."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, and with the other packages of the environment of the tests."""

    environment: Path
    home: Path
    """HOME of its commands, and the folder that they run in."""

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where the wheel is unpacked."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.environment / "lib" / version / "site-packages"

    def kappa(
        self, *args: str | Path, timeout: float = 60, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command that the wheel declares, with no variable but PATH and those given."""
        return subprocess.run(
            [self.python, "-c", _ENTRY_POINT, *args],
            cwd=self.home,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "COLUMNS": "100",
                **environment,
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def install(folder: Path) -> Installed:
    """Build the wheel and unpack it into an environment in the folder."""
    wheel = build(folder)
    installed = Installed(folder / "environment", folder / "home")
    installed.home.mkdir()
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", installed.environment], check=True
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed.packages)
    # Python does not read .pth files there, so this checkout is not found by its editable installation.
    (installed.packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return installed
