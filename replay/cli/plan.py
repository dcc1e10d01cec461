"""What `kappa plan` does, apart from its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from rich.console import RenderableType
from rich.text import Text

from replay.checks import gate
from replay.cli import resolve as run_resolve
from replay.cli.from_git import Given
from replay.cli.look import look as look_at
from replay.controller.platform import Platform
from replay.controller.preflight import advice, refuse_breaking, size
from replay.controller.review import Review, review
from replay.core.model import ProductState
from replay.core.observed import FlinkDownError
from replay.errors import ConfigError, RefusedError
from replay.kafka import schemas
from replay.kafka.schemas import Comparison
from replay.output import Output, View, rows_table, show, waiting
from replay.releases.folders import read_product
from replay.releases.plan import Change
from replay.releases.reason import Kind
from replay.releases.release import find_folder
from replay.settings import load_settings
from replay.store.store import Store
from replay.values import duration

_MEANS = {
    Kind.nothing: "nothing to do",
    Kind.metadata: "metadata only, the same rows: nothing is replayed, readers' tables stay",
    Kind.replay: "needs a replay of the log from offset zero; readers' tables stay until the switch",
    Kind.breaking: "breaking, refused",
}
_COLOURS = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


@dataclass(frozen=True)
class Placement:
    """Where the replay's job would run."""

    slots: int
    """Task slots that it takes."""
    free_slots: int | None
    """Of the session cluster; None: not asked."""
    own_cluster: bool = False
    memory: int | None = None
    """Bytes that a cluster of its own would take."""
    free_memory: int | None = None


def plan(name: str, given: Given, output: Output) -> None:
    """Print what deploying a folder would do; RefusedError when it would be refused. Changes nothing."""
    settings = load_settings()
    platform, store = Platform(settings), Store(settings.store)
    state = store.load(name)
    product = read_product(find_folder(name, given.folder))
    if product.name != name:
        raise ConfigError(
            "the folder holds another product",
            expected=f"name: {name}",
            found=f"name: {product.name}",
            next=f"kappa plan {product.name} --from {product.folder}",
        )
    product = run_resolve.resolve(settings, product)
    with waiting("looking at the log, the registry and the tables"):
        gate.validate(product)
        reviewed = review(settings, platform, product, state)
        where = look(
            platform,
            reviewed,
            own=platform.clusters is not None and bool(store.on_session_cluster()),
        )
        follow = next_command(reviewed, state, given)
        told = advice(platform, product, state)
        compared = [
            c for c in schemas.compare(settings, product) if c.kind is not schemas.Kind.equal
        ]
        stopped = look_at(platform, store, name).stopped if state.live else ""
    refused = refusal(name, reviewed.change)
    data = document(reviewed, where, compared, told, follow, stopped)
    text: list[RenderableType] = [*in_text(reviewed, where)]
    if stopped:
        text.append(Text(stopped, style="bold red"))
    text += [*(comparison.line for comparison in compared), *told]
    if refused is None:
        show(View(data, [*text, f"next:  {follow}"]), output)
        return
    show(View({**data, **refused.as_dict()}, text), output)
    if output is Output.json:
        raise typer.Exit(1)
    raise refused


def refusal(name: str, change: Change) -> RefusedError | None:
    """Why the change must not be deployed, if so."""
    try:
        refuse_breaking(name, change)
    except RefusedError as e:
        return e
    return None


def next_command(reviewed: Review, state: ProductState, given: Given) -> str:
    """What to type after reading the plan."""
    name, candidate = reviewed.product.name, state.candidate
    deploy = given.in_hint(f"kappa deploy {name}", name)
    if candidate and state.release(candidate.release).fingerprint == reviewed.fingerprint:
        return f"{deploy}  (follows {candidate.name}, which is under way)"
    if candidate and reviewed.change.kind in (Kind.metadata, Kind.replay):
        return f"kappa abort {name}  ({candidate.name} is under way, and there is one candidate at a time)"
    return f"kappa status {name}" if reviewed.change.kind is Kind.nothing else deploy


def in_text(reviewed: Review, where: Placement) -> Iterator[RenderableType]:
    """Diff, reasons, numbers."""
    change = reviewed.change
    if reviewed.shown and change.diff:
        yield coloured(change.diff.removesuffix("\n"))
    name = reviewed.product.name
    title = (
        f"{name} beside {reviewed.shown.release.name}, which readers see: {_MEANS[change.kind]}"
        if reviewed.shown
        else f"{name}: {_MEANS[change.kind]}"
    )
    if change.reasons:
        yield rows_table(
            [{"": r.kind.value, "what": r.where, "how": r.what} for r in change.reasons],
            title=title,
        )
    else:
        yield title
    if change.kind is Kind.replay:
        yield rows_table(
            [{"a replay": what, "": number} for what, number in numbers(reviewed, where)]
        )


def numbers(reviewed: Review, where: Placement) -> Iterator[tuple[str, str]]:
    """What the replay would take, and what there is, for people."""
    needs = reviewed.needs
    yield "records", f"{needs.records:,}"
    if needs.measured and needs.seconds is not None:
        m = needs.measured
        yield (
            "estimated time",
            f"{duration(needs.seconds)}, at the rate of {m.attempt} ({m.records:,} records in "
            f"{duration(m.seconds)})",
        )
    else:
        yield "estimated time", "not known: no replay of this product was measured yet"
    for disk in needs.disks:
        yield "disk", f"{size(disk.needed)} of {size(disk.free)} free for {disk.path}"
    slots, free = where.slots, where.free_slots
    if where.own_cluster:
        yield "task slots", f"{slots}, on a Flink cluster of its own"
        if where.memory:
            room = f" of {size(where.free_memory)} available" if where.free_memory else ""
            yield "memory", f"{size(where.memory)}{room}, as the TaskManagers of the live job have"
    else:
        yield "task slots", f"{slots}" if free is None else f"{slots} of {free} free"


def coloured(diff: str) -> Text:
    """The diff; a terminal shows the colours, a pipe plain text."""
    text = Text()
    for line in diff.splitlines(keepends=True):
        text.append(
            line, next((style for prefix, style in _COLOURS if line.startswith(prefix)), "")
        )
    return text


def document(
    reviewed: Review,
    where: Placement,
    compared: list[Comparison],
    told: list[str],
    follow: str,
    stopped: str,
) -> dict[str, Any]:
    """The plan, for programs."""
    change, needs, shown = reviewed.change, reviewed.needs, reviewed.shown
    return {
        "product": reviewed.product.name,
        "kind": change.kind.value,
        "readers_see": {"release": shown.release.name, "attempt": shown.attempt.name}
        if shown
        else None,
        "reasons": [{**asdict(r), "kind": r.kind.value} for r in change.reasons],
        "diff": change.diff,
        "needs": {
            "records": needs.records,
            "seconds": needs.seconds,
            "measured": asdict(needs.measured) if needs.measured else None,
            "disks": [
                {"path": str(d.path), "needed": d.needed, "free": d.free} for d in needs.disks
            ],
            **asdict(where),
        },
        "schemas": [{**asdict(c), "kind": c.kind.value} for c in compared],
        "publishing_stopped": stopped,
        "log": told,
        "next": follow,
    }


def look(platform: Platform, reviewed: Review, *, own: bool) -> Placement:
    """What Flink has; the rest of a plan needs no Flink, so one that does not answer is left out."""
    wanted = reviewed.product.settings.parallelism
    try:
        if not own:
            return Placement(wanted, platform.slots().free)
        rest = (
            reviewed.shown.attempt.rest if reviewed.shown else ""
        ) or platform.settings.flink.rest
        here = urlsplit(rest).hostname in ("127.0.0.1", "localhost")
        return Placement(
            wanted, None, True, platform.memory(rest), _free_memory() if here else None
        )
    except FlinkDownError:
        return Placement(wanted, None, own)


def _free_memory() -> int | None:
    """Bytes of memory that are available on this machine; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None
    )
