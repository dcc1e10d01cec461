"""A Flink cluster for each attempt, by a program that the settings name: how one comes and goes is the platform's.

    PROGRAM start NAME    have one run, and print {"name": NAME, "rest": "http://host:port"}; it may not answer yet.
                          Where the variable KAPPA_FLINK_LIB names a folder, Flink's `lib` is to have exactly the jars
                          in it; if so, print also "lib": that folder
    PROGRAM stop NAME     leave nothing of it; a name that is not known is fine
    PROGRAM list          print the names of all of which something is left, as a JSON list
    PROGRAM live NAME     it serves readers now: give it its full share of the CPU
    PROGRAM why NAME      print {"why": "…"}: why a process of it last came to an end by itself; empty: not known

All may be repeated. Exit code 0, or another with a KappaError as a JSON line: error, message, expected, found, next.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from replay import errors
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from replay.settings import Settings

TIMEOUT_SECONDS = 90.0
"""`stop` waits for processes to end: in the embedded stack 20 s each before they are killed."""


LIB = "KAPPA_FLINK_LIB"
"""Variable that tells the program which jars a cluster is to have."""
NAME = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)+")
"""Of an attempt's cluster: nothing else of a platform has a dash in its name."""


def refuse_other_names(name: str) -> None:
    """RefusedError unless it is the name of an attempt."""
    if not NAME.fullmatch(name):
        raise RefusedError(
            "this cannot be the name of a cluster",
            found=name,
            next="choose one such as flights-r2-a1",
            expected="words of lower-case letters, digits and _, two or more with dashes between",
        )


@dataclass(frozen=True)
class Started:
    """A cluster that has been started."""

    rest: str
    """Its REST address, which may take a while to answer."""
    own_jars: bool = False
    """It has the jars that were asked for."""


class Clusters(Protocol):
    """Flink clusters of single attempts, each named after its attempt."""

    def start(self, name: str, lib: Path | None = None) -> Started:
        """Have it run, with the jars of a folder in the place of Flink's `lib`."""

    def stop(self, name: str) -> None:
        """Leave nothing of it."""

    def names(self) -> frozenset[str]:
        """All of which something is left."""

    def live(self, name: str) -> None:
        """It serves readers from now on."""

    def why(self, name: str) -> str:
        """Why a process of it last came to an end by itself, as far as that is known."""


class CommandClusters:
    """Clusters of the program that the settings name."""

    def __init__(self, program: Sequence[str], timeout: float = TIMEOUT_SECONDS) -> None:
        self._program = tuple(program)
        self._timeout = timeout

    def start(self, name: str, lib: Path | None = None) -> Started:
        answer = self._run("start", name, lib=lib)
        if isinstance(answer, dict) and isinstance(rest := answer.get("rest"), str):
            return Started(rest, own_jars=lib is not None and answer.get("lib") == str(lib))
        raise self._unexpected("start", 'a line with {"rest": "http://…"}', answer)

    def stop(self, name: str) -> None:
        self._run("stop", name)

    def names(self) -> frozenset[str]:
        answer = self._run("list")
        if isinstance(answer, list) and all(isinstance(name, str) for name in answer):
            return frozenset(answer)
        raise self._unexpected("list", "a line with a JSON list of names", answer)

    def live(self, name: str) -> None:
        self._run("live", name)

    def why(self, name: str) -> str:
        answer = self._run("why", name)
        return str(answer.get("why") or "") if isinstance(answer, dict) else ""

    def _run(self, *arguments: str, lib: Path | None = None) -> Any:
        """The last line that it prints, as JSON; None when that is none."""
        command = [*self._program, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name != LIB}
        try:
            done = subprocess.run(
                command,
                env={**inherited, **({LIB: str(lib)} if lib else {})},
                capture_output=True,
                text=True,
                timeout=self._timeout,
                check=False,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in `kappa deploy` must not cut a start or a stop in half
            )
        except subprocess.TimeoutExpired:
            raise RetryableError(
                "the program for Flink clusters gave no answer",
                expected=self._says(arguments),
                found=f"nothing within {self._timeout:g} s",
                next="kappa status",
            ) from None
        except OSError as e:
            raise RetryableError(
                "the program for Flink clusters cannot be run",
                expected=self._says(arguments),
                found=str(e),
                next="see flink.clusters in config.yaml",
            ) from e
        if done.returncode:
            raise (
                _told(done.stdout)
                or _told(done.stderr)
                or RefusedError(
                    "the program for Flink clusters failed",
                    expected=f"exit code 0 of: {self._says(arguments)}",
                    found=f"exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}",
                    next="fix the problem and retry",
                )
            )
        return _last_line(done.stdout)

    def _says(self, arguments: Sequence[str]) -> str:
        return shlex.join([*self._program, *arguments])

    def _unexpected(self, verb: str, expected: str, found: object) -> ConfigError:
        return ConfigError(
            f"the program for Flink clusters returned an unexpected response to '{verb}'",
            expected=expected,
            found=repr(found)[:200],
            next="see flink.clusters in config.yaml",
        )


def clusters(settings: Settings) -> Clusters | None:
    """Those of the settings; None when all attempts share the session cluster."""
    return CommandClusters(settings.flink.clusters) if settings.flink.clusters else None


def _last_line(text: str) -> Any:
    try:
        return json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return None


def _told(text: str) -> KappaError | None:
    """The error that a program printed."""
    told = _last_line(text)
    if not isinstance(told, dict) or "message" not in told:
        return None
    kind = getattr(errors, str(told.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, KappaError)):
        kind = RefusedError
    details = {key: str(told[key]) for key in ("expected", "found", "next") if told.get(key)}
    return kind(str(told["message"]), **details)
