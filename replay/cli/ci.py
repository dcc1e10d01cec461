"""What `kappa ci` does, apart from its arguments: other commands, one after the other, for a review."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from replay.cli import ci_markdown
from replay.cli.ci_markdown import Outcome, Step
from replay.home import kappa_home
from replay.output import Output, View, busy, print_json, show
from replay.releases import contracts
from replay.releases.git_tree import file_at
from replay.releases.release import find_folder

NO_STACK = ("RetryableError", "OutcomeUnknownError")
"""What a plan says where something that it asks does not answer: it is left out then."""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    document: dict[str, Any]
    code: int


Run = Callable[[list[str]], Answer]


def ci(
    name: str, source: Path | None, base: str | None, markdown: Path | None, output: Output
) -> None:
    """Check, test, compare with what others rely on, and plan; exit code 1 where something of it failed."""
    folder = find_folder(name, source)
    steps = list(review(name, folder, base, command))
    text = ci_markdown.page(name, steps).replace(f"{Path.cwd()}/", "")
    if markdown:
        markdown.write_text(text)
    data = {
        "product": name,
        "passed": ci_markdown.passed(steps),
        "steps": [s.as_dict() for s in steps],
    }
    if output is Output.json:
        print_json(data)
    else:
        show(
            View(data, ci_markdown.summary(name, steps) if markdown else text.rstrip("\n")), output
        )
    if not ci_markdown.passed(steps):
        raise typer.Exit(1)


def review(name: str, folder: Path, base: str | None, run: Run) -> Iterator[Step]:
    """The steps, each once the one before has ended. What needs SQL that passes is left out where it does not."""
    checked = _check(folder, run)
    yield checked
    if checked.outcome is not Outcome.passed:
        for left in ("tests", "contract", "plan"):
            yield Step(left, Outcome.left_out, "the check did not pass")
        return
    yield _tests(folder, run)
    yield _contract(name, folder, base, run)
    yield _plan(name, folder, run)


def _check(folder: Path, run: Run) -> Step:
    answer = run(["check", str(folder)])
    found = answer.document
    if answer.code == 0:
        tables = list(found["resolved"]["outputs"])
        return Step("check", Outcome.passed, f"{', '.join(tables)}: safe to replay", found)
    count = len(found.get("problems", ()))
    said = f"{count} refused" if count else str(found.get("message", "it did not finish"))
    return Step("check", Outcome.failed, said, found)


def _tests(folder: Path, run: Run) -> Step:
    if not (folder / "tests").is_dir():
        return Step("tests", Outcome.left_out, f"there is no folder {folder / 'tests'}")
    answer = run(["test", str(folder)])
    found = answer.document
    if "tests" not in found:
        return Step("tests", Outcome.failed, str(found.get("message", "they did not run")), found)
    bad = [t["name"] for t in found["tests"] if t["status"] != "passed"]
    said = f"{len(found['tests']) - len(bad)} of {len(found['tests'])} passed"
    return Step("tests", Outcome.failed if answer.code else Outcome.passed, said, found)


def _contract(name: str, folder: Path, base: str | None, run: Run) -> Step:
    asked = ["contract", name, "--from", str(folder)]
    before = file_at(base, folder / contracts.FILE) if base else None
    if before is None and not (folder / contracts.FILE).exists():
        return Step("contract", Outcome.left_out, f"there is no {contracts.FILE}")
    if before is None:
        answer, against = run(asked), "is what the SQL gives"
    else:
        with _in_a_file(before) as file:
            answer = run([*asked, "--check", "--against", str(file)])
        against = f"is what the SQL gives, and nothing breaks those who rely on that of {base}"
    if answer.code == 0:
        return Step("contract", Outcome.passed, f"{contracts.FILE} {against}", answer.document)
    found = answer.document
    broken = [c for c in found.get("changes", ()) if c["level"] == "error"]
    said = found.get("message") or ", ".join(
        f"{len(of)} {what}"
        for of, what in (
            (found.get("mismatches", ()), "not as the SQL gives"),
            (broken, "breaking"),
        )
        if of
    )
    return Step("contract", Outcome.failed, str(said), found)


def _plan(name: str, folder: Path, run: Run) -> Step:
    if not (kappa_home() / "config.yaml").exists():
        return Step("plan", Outcome.left_out, f"there is no stack in {kappa_home()}")
    answer = run(["plan", name, "--from", str(folder)])
    found = answer.document
    if found.get("error") in NO_STACK:
        return Step("plan", Outcome.left_out, str(found["message"]), found)
    if answer.code == 0:
        return Step("plan", Outcome.passed, ci_markdown.MEANS[found["kind"]], found)
    return Step("plan", Outcome.failed, str(found.get("message", "it did not finish")), found)


def command(arguments: list[str]) -> Answer:
    """Run one of this program's commands in a process of its own, whatever becomes of it."""
    with busy(f"kappa {' '.join(arguments[:2])}"):
        done = subprocess.run(
            [sys.executable, "-m", "replay", *arguments, "--output", "json"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    lines = [line for line in done.stdout.split("\n") if line.startswith("{")]
    if lines:
        return Answer(json.loads(lines[-1]), done.returncode)
    return Answer({"message": done.stderr.strip()[-2_000:] or "no answer"}, done.returncode or 1)


@contextmanager
def _in_a_file(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / contracts.FILE
        file.write_text(text)
        yield file
