"""What `kappa ci` found, as Markdown for a pull request. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from replay.values import duration

MEANS = {
    "nothing": "nothing to deploy",
    "metadata": "the same rows: nothing is replayed",
    "replay": "needs a replay of the log from offset zero",
    "breaking": "readers of the tables could not follow",
}
"""Kind of a plan's change, in words."""
_MOST_ROWS = 50
_LONGEST_DIFF = 20_000
"""Characters: a comment may have 65,536."""


class Outcome(StrEnum):
    """What became of a step."""

    passed = "passed"
    failed = "failed"
    left_out = "left out"


@dataclass(frozen=True)
class Step:
    """One command, and what it said."""

    name: str
    outcome: Outcome
    said: str
    """In a line."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """All that it printed for programs."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def passed(steps: Sequence[Step]) -> bool:
    """Whether nothing failed; what was left out did not."""
    return not any(step.outcome is Outcome.failed for step in steps)


def summary(name: str, steps: Sequence[Step]) -> str:
    """A line for each step, for a terminal."""
    return "\n".join(f"{name} {s.name:<9} {s.outcome.value:<9} {s.said}" for s in steps)


def page(name: str, steps: Sequence[Step]) -> str:
    """The whole page: a table of the steps, then what they found."""
    return "\n".join(_page(name, steps)).rstrip() + "\n"


def _page(name: str, steps: Sequence[Step]) -> Iterator[str]:
    yield f"## {_text(name)}: {'passed' if passed(steps) else 'failed'}\n"
    yield from _table(
        ("step", "", ""), ((s.name, f"**{s.outcome.value}**", _text(s.said)) for s in steps)
    )
    for step in steps:
        if details := list(_details(step)):
            yield f"### {step.name}\n"
            yield from details


def _details(step: Step) -> Iterator[str]:
    found = step.document
    if step.outcome is Outcome.failed and "message" in found:
        yield from _block("text", _error(found))
    match step.name:
        case "check":
            rows = [
                (f"{p['file']}:{p['line'] or ''}", p["construct"], p["instead"])
                for p in found.get("problems", ())
            ]
            yield from _listed(("where", "refused", "write instead"), rows)
            compared = [(s["topic"], s["what"], s["next"]) for s in found.get("schemas", ())]
            yield from _listed(("topic", "schema", "next"), compared)
        case "tests":
            rows = [
                (t["name"], t["file"], t["status"])
                for t in found.get("tests", ())
                if t["status"] != "passed"
            ]
            yield from _listed(("test", "file", ""), rows)
        case "contract":
            rows = [(m["where"], m["expected"], m["found"]) for m in found.get("mismatches", ())]
            yield from _listed(("", "the SELECT", "the contract"), rows)
            rows = [(c["level"], c["where"], c["what"]) for c in found.get("changes", ())]
            yield from _listed(("change", "where", "what"), rows)
        case "plan":
            yield from _of_plan(found)


def _of_plan(found: Mapping[str, Any]) -> Iterator[str]:
    rows = [(r["kind"], r["where"], r["what"]) for r in found.get("reasons", ())]
    yield from _listed(("", "what", "how"), rows)
    needs = found.get("needs")
    if found.get("kind") == "replay" and needs:
        takes = f", about {duration(needs['seconds'])}" if needs.get("seconds") else ""
        yield f"The replay reads {needs['records']:,} records{takes}.\n"
    if stopped := found.get("publishing_stopped"):
        yield f"**{_text(stopped)}**\n"
    if diff := found.get("diff"):
        cut = diff if len(diff) <= _LONGEST_DIFF else f"{diff[:_LONGEST_DIFF]}\n…\n"
        yield "<details><summary>What changed beside what readers see</summary>\n"
        yield from _block("diff", cut)
        yield "</details>\n"


def _error(found: Mapping[str, Any]) -> str:
    lines = [str(found["message"])]
    lines += [
        f"  {part}: {found[part]}" for part in ("expected", "found", "next") if found.get(part)
    ]
    return "\n".join(lines)


def _listed(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    if not rows:
        return
    yield from _table(head, ([_text(str(cell)) for cell in row] for row in rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        yield f"… {len(rows) - _MOST_ROWS:,} more\n"


def _table(head: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _text(text: str) -> str:
    """In one line, and no markup of Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def _block(language: str, text: str) -> Iterator[str]:
    """A fenced block that its text cannot end."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
