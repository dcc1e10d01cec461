"""`--from-git`: a command works on a product's folder as of a commit, and says so in its messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replay.cli.hints import with_folder
from replay.errors import ConfigError, KappaError
from replay.home import kappa_home
from replay.releases import sources


@dataclass(frozen=True)
class Given:
    """The folder that a command is to read."""

    folder: Path | None
    """None: as always."""
    commit: str | None = None
    """What it was taken from; None: the working tree."""

    def in_hint(self, text: str, name: str) -> str:
        """The text, whose commands for the product read the same once more."""
        if self.commit:
            return text.replace(
                f"kappa deploy {name}", f"kappa deploy {name} --from-git {self.commit[:12]}"
            )
        return with_folder(text, name, self.folder)


@contextmanager
def given(name: str, source: Path | None, ref: str | None) -> Iterator[Given]:
    """The folder of --from, or the one of a commit, of which also udfs/ counts within the block."""
    if ref is None:
        yield Given(source)
        return
    # here: a command without --from-git needs no git
    from replay.releases.git_tree import committed

    folder = source or _usual(name)
    with committed(ref, folder) as found:
        if found.code and not _is_installed(found.code):
            _use(found.code)
        try:
            yield Given(found.folder, found.commit)
        except KappaError as e:
            for part in ("message", "expected", "found", "next"):
                said = getattr(e, part).replace(f"--from {found.folder}", f"--from-git {ref}")
                setattr(e, part, said.replace(str(found.folder), f"{ref}:{folder}"))
            e.next = e.next.replace(
                f"kappa check {ref}:{folder}", f"kappa plan {name} --from-git {ref}"
            )
            if "--from-git" not in e.next:
                e.next = Given(found.folder, found.commit).in_hint(e.next, name)
            e.args = (e.message,)
            raise


def _usual(name: str) -> Path:
    usual = Path("sql") / name
    kept = sources.remembered(kappa_home(), name)
    return usual if usual.is_dir() or kept is None else kept


def _is_installed(code: Path) -> bool:
    """Whether udfs/ of the commit is the one that is installed: then a warm planner has it already."""
    from importlib.util import find_spec

    spec = find_spec("udfs")
    here = Path(spec.origin).parent if spec and spec.origin else None
    return here is not None and _python(here) == _python(code / "udfs")


def _python(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.py")}


def _use(code: Path) -> None:
    """Functions come from there: nothing has imported udfs yet, as the modules behind commands are imported late."""
    assert "udfs" not in sys.modules
    if not (code / "udfs" / "keys.py").is_file():
        raise ConfigError(
            "udfs/ of that commit is not one that this Kappa can run",
            expected="a module udfs/keys.py",
            found="none",
            next="another commit, or the Kappa that was installed then",
        )
    sys.path.insert(0, str(code))
    # A planner that stays warm would be one of these functions, and put the home's own away.
    os.environ["KAPPA_PLANNER"] = "cold"
