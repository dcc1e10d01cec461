"""`python -m bench.timeline NAME [--again]`: one deploy, and when each of its steps was done.

Runs `kappa deploy` on the stack of $KAPPA_HOME and reads what it tells: seconds from the command to each step.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench.results import keep
from replay.output import Output, print_rows

RESULTS = Path(__file__).parent / "results" / "timeline.json"


def main() -> None:
    """Deploy with the arguments given; a row per step."""
    command = [sys.executable, "-m", "replay", "deploy", *sys.argv[1:], "--output", "json"]
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout and process.stderr
    said: list[tuple[float, str]] = []
    listener = threading.Thread(target=_listen, args=(process.stderr, began, said))
    listener.start()
    seen = dict(_steps(process.stdout, began))
    listener.join()
    if process.wait():
        raise SystemExit("\n".join(text for _, text in said))
    for seconds, text in said:
        seen[text[:70]] = seconds
    seen["the command has ended"] = time.monotonic() - began
    before, rows = 0.0, []
    for step, seconds in sorted(seen.items(), key=lambda item: item[1]):
        rows.append(
            {"seconds": round(seconds, 1), "step": step, "took": round(seconds - before, 1)}
        )
        before = seconds
    keep(RESULTS, rows, command=f"kappa deploy {' '.join(sys.argv[1:])}")
    print_rows(rows, Output.text)


def _listen(stream: IO[str], began: float, said: list[tuple[float, str]]) -> None:
    for line in stream:
        said.append((time.monotonic() - began, line.strip()))


def _steps(stream: IO[str], began: float) -> Iterator[tuple[str, float]]:
    """What each document says for the first time: a state, the first record, the last record, a checkpoint."""
    known: set[str] = set()
    for line in stream:
        now = time.monotonic() - began
        for step in _named(json.loads(line)):
            if step not in known:
                known.add(step)
                yield step, now


def _named(document: dict[str, Any]) -> Iterator[str]:
    if "tables" in document:
        yield "rows were counted"
        return
    yield f"state {document['state']}"
    if document["job_status"]:
        yield f"job {document['job_status']}"
    if document["read"]:
        yield "first records read"
    if document["read"] >= document["total"]:
        yield "all records read"
    if document["checkpoint"]:
        yield f"checkpoint {document['checkpoint']}"


if __name__ == "__main__":
    main()
