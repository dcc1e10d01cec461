"""A product with what Flink's planner says of its SQL: asked once per content, remembered in the home."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import jobs
import udfs
from jobs.processes import PYTHON_ENVIRONMENT
from jobs.product.folder import Product, with_resolved
from jobs.product.model import Resolved
from replay.errors import ConfigError, KappaError, RefusedError, RetryableError
from replay.flink.planner import ask_warm, modules_path
from replay.flink.submit import planner_env
from replay.home import kappa_home
from replay.releases.computation import fingerprint
from replay.releases.folders import read_product
from replay.settings import Settings

PLANNER_SECONDS = 600.0
"""It starts a JVM and plans every statement, on a machine that others keep busy."""
CHANGES = 5
"""So often the folder may change while the planner is at work, before the person is told."""
_NO_CONNECTOR = "Could not find any factory for identifier"
"""What Flink says where only PyFlink's own jars are."""


def resolve(settings: Settings | None, product: Product) -> Product:
    """The product with its outputs; RefusedError that lists every construct that must not be deployed.

    RetryableError when the folder is changed again and again while it is checked.
    """
    for _ in range(CHANGES):
        if (known := remembered(settings, product)) is not None:
            return with_resolved(product, known)
        file = _file(settings, product) if settings else None
        answer = ask(settings, product.folder)
        if settings and file != _file(settings, product):
            # What was saved meanwhile must not pass for what was checked.
            product = read_product(product.folder)
            continue
        refuse_problems(answer, product.folder)
        resolved = Resolved.model_validate({**answer["resolved"], "plan": answer["plan"]})
        if file:
            _remember(file, resolved)
        return with_resolved(product, resolved)
    raise RetryableError(
        f"{product.folder} changes while it is checked",
        expected="the same files before and after",
        found=f"others, {CHANGES} times",
        next=f"kappa check {product.folder}",
    )


def is_resolved(settings: Settings, product: Product) -> bool:
    """Whether the planner was asked about exactly this content, so that it need not be started."""
    return remembered(settings, product) is not None


def remembered(settings: Settings | None, product: Product) -> Resolved | None:
    """What the planner said of exactly this content; None: it was not asked."""
    if settings is None:
        return None
    try:
        return Resolved.model_validate_json(_file(settings, product).read_text())
    except (OSError, ValidationError):
        return None


def ask(settings: Settings | None, folder: Path) -> dict[str, Any]:
    """Flink's own planner on a folder: {"ok", "problems", "resolved", "plan"}.

    Asks the home's warm planner; where there is none, one in a process of its own.
    """
    try:
        warm = ask_warm(settings, folder, PLANNER_SECONDS) if settings else None
        answer: dict[str, Any] = json.loads(warm) if warm else _ask_cold(settings, folder)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise RetryableError(
            "Flink's planner gave no answer",
            expected=f"one within {PLANNER_SECONDS:.0f} s",
            found="none",
            next="kappa doctor",
        ) from None
    if any(_NO_CONNECTOR in p["construct"] for p in answer["problems"]):
        raise ConfigError(
            "the SQL could not be planned: there is no Flink with Kafka's connector",
            expected=f"a stack in {kappa_home()}, running or not",
            found="none",
            next="kappa up, once; then repeat the command",
        )
    return answer


def _ask_cold(settings: Settings | None, folder: Path) -> Any:
    env = {**os.environ, **(planner_env(settings) if settings else {}), **PYTHON_ENVIRONMENT}
    env["PYTHONPATH"] = modules_path()
    result = subprocess.run(
        [sys.executable, "-m", "jobs.check", str(folder), "--json"],
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
        timeout=PLANNER_SECONDS,
        check=False,
    )
    for line in reversed(result.stdout.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise KappaError(
        "the check did not finish",
        expected="an answer of `python -m jobs.check`",
        found=(result.stderr or result.stdout).strip()[-800:],
        next="kappa doctor",
    )


def refuse_problems(answer: dict[str, Any], folder: Path) -> None:
    """RefusedError that lists every construct that must not be deployed."""
    if answer["ok"]:
        return
    lines = [
        f"{p['file']}{':' + str(p['line']) if p['line'] else ''}: {p['construct']}\n      write instead: {p['instead']}"
        for p in answer["problems"]
    ]
    raise RefusedError(
        "this product cannot be deployed:\n    " + "\n    ".join(lines),
        next=f"fix these, then: kappa check {folder}",
    )


def _file(settings: Settings, product: Product) -> Path:
    """Named by all that the planner and the check are asked with: more than what a release runs."""
    files = {
        f"product/{path}": (product.folder / path).read_bytes()
        for path in map(Path.as_posix, product.files)
    }
    for package in (jobs, udfs):
        root = Path(package.__file__ or "").parent
        files |= {
            f"{package.__name__}/{f.relative_to(root)}": f.read_bytes()
            for f in sorted(root.rglob("*.py"))
        }
    digest = hashlib.sha256(fingerprint(files).encode())
    for jar in sorted((settings.flink.home / "lib").glob("*.jar")):
        stat = jar.stat()  # another connector, or another Flink, may see it otherwise
        digest.update(f"{jar.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return settings.home / "checked" / f"{product.name}-{digest.hexdigest()}.json"


def _remember(file: Path, resolved: Resolved) -> None:
    """For the next command; where nothing can be written, that one asks again."""
    scratch = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(resolved.model_dump_json())
        scratch.replace(file)
    except OSError:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
