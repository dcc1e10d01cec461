"""`kappa why`: the records of the log behind one row of a table, and those that nearly were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType

import udfs.keys
from jobs.bindings import read_bindings
from jobs.product.folder import Product
from jobs.product.model import Kind
from replay.cli.diff import chosen_side
from replay.controller.platform import Platform, fetch_bindings
from replay.core.model import ProductState
from replay.errors import ConfigError, not_deployed
from replay.flink.local_runs import scratch
from replay.output import Output as Form
from replay.output import RowsOutput, View, busy, print_rows, rows_table, show
from replay.releases import keys
from replay.releases.release import release_folder
from replay.settings import Settings, load_settings
from replay.store.store import Store
from replay.values import json_value
from replay.why import rows
from replay.why.records import Became, Evidence
from replay.why.span import MILLISECOND, wall
from replay.why.why import Explanation, Subject, explain

_FIELDS = 2
"""Of a record, that a table for people has room for."""


def why(
    row: str, key: Sequence[str], releases: Sequence[str], limit: int, output: RowsOutput
) -> None:
    """Show where a row comes from, of what readers see or of one or two releases."""
    name, dot, table = row.partition(".")
    if not dot or len(releases) > 2:
        raise ConfigError(
            "it is not said which row" if not dot else "more than two releases",
            expected="PRODUCT.TABLE, and --release at most twice",
            found=row if not dot else ", ".join(releases),
            next=f'kappa query {name or "orders"} "SHOW TABLES"',
        )
    settings = load_settings()
    state = Store(settings.store).load(name)
    if state.published is None and not releases:
        raise not_deployed(name)
    platform = Platform(settings)
    with scratch(settings, "udfs") as folder:
        subjects = [
            _subject(settings, platform, state, attempt, table, key, folder)
            for attempt in (releases or (None,))
        ]
        found = _explained(settings, subjects, releases)
    show_all(found, limit, output)


def _subject(
    settings: Settings,
    platform: Platform,
    state: ProductState,
    attempt: str | None,
    table: str,
    key: Sequence[str],
    scratch: Path,
) -> Subject:
    chosen = chosen_side(platform, state, attempt)
    side = chosen.side
    wanted = rows.wanted(side.product, table, key)
    bound = read_bindings(fetch_bindings(settings, state.product, side.name))
    release = state.release(state.attempt(side.name).release)
    folder = release_folder(settings, state.product, release.fingerprint)
    product, own = side.product, scratch / side.name
    code = _own_code(settings, product, folder, own) if product.settings.functions else None
    return Subject(side, chosen.checkpoint, table, wanted, bound.reference_offsets, code)


def _own_code(settings: Settings, product: Product, release: Path, scratch: Path) -> Path | None:
    """A folder with the functions of a release and its names of keys; None where they are those of now."""
    own, here = release / "udfs", Path(udfs.__file__ or "").parent
    files = [f.relative_to(own) for f in own.rglob("*.py")]
    is_installed = all(
        (here / f).is_file() and (here / f).read_bytes() == (own / f).read_bytes() for f in files
    )
    if is_installed and keys.of_release(release) == keys.ids(settings, product):
        return None
    scratch.mkdir()
    for name in ("udfs", udfs.keys.NAMED):
        if (release / name).exists():
            (scratch / name).symlink_to(release / name)
    return scratch


def _explained(
    settings: Settings, subjects: Sequence[Subject], asked: Sequence[str]
) -> list[Explanation]:
    first = subjects[0]
    there = [rows.one(settings, s.side, s.table, s.key, asked) for s in subjects]
    known = next((row for row in there if row is not None), None)
    if known is None:
        raise rows.none_such(settings, first.side, first.table, first.key, asked)
    found = []
    for subject, row in zip(subjects, there, strict=True):
        with busy(f"running {subject.side.name} over the records behind the row"):
            found.append(explain(settings, subject, row, known))
    return found


def show_all(found: Sequence[Explanation], limit: int, output: RowsOutput) -> None:
    """Print a row of one release or of two."""
    if output is RowsOutput.json:
        show(View(_data(found), ""), Form.json)
    elif output in (RowsOutput.csv, RowsOutput.vertical):
        print_rows(list(_flat(found)), output)
    else:
        show(View(None, list(_text(found, limit))), Form.text)


def _data(found: Sequence[Explanation]) -> dict[str, Any]:
    product = found[0].subject.side.product.name
    data = {
        "product": product,
        "table": found[0].subject.table,
        "releases": [_one(e) for e in found],
    }
    if len(found) == 1:
        return data
    is_known = not any(e.behind for e in found)
    return {**data, "only_in_one": list(_only_in_one(found)) if is_known else None}


def _one(e: Explanation) -> dict[str, Any]:
    return {
        "attempt": e.subject.side.name,
        "checkpoint": e.subject.checkpoint,
        "row": json_value(e.row),
        "adds_up": e.adds_up,
        "again": json_value(e.again),
        "differing": list(e.differing),
        "missing": list(_missing(e)),
        "behind": e.behind or None,
        "from": e.span.begin if e.span else None,
        "to": e.span.end if e.span else None,
        "read": dict(e.read),
        "counts": {b.value: e.count(b) for b in Became},
        "records": [_record(one) for one in e.evidence],
    }


def _record(one: Evidence) -> dict[str, Any]:
    c = one.candidate
    return {
        "topic": c.place.topic,
        "partition": c.place.partition,
        "offset": c.place.offset,
        "appended": _time(c.appended),
        "happened": _time(c.happened),
        "became": one.became.value,
        "why": one.why,
        "values": json_value(c.fields),
    }


def _flat(found: Sequence[Explanation]) -> Iterator[dict[str, Any]]:
    for e in found:
        for one in e.evidence:
            yield {"attempt": e.subject.side.name, **_record(one)}


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _text(found: Sequence[Explanation], limit: int) -> Iterator[RenderableType]:
    for number, e in enumerate(found):
        yield from _of(e, limit if len(found) == 1 else 0, apart=bool(number))
    if len(found) == 2:
        yield from _between(found, limit)


def _of(e: Explanation, limit: int, *, apart: bool) -> Iterator[RenderableType]:
    side, product = e.subject.side, e.subject.side.product
    yield ("\n" if apart else "") + (
        f"{product.name}.{e.subject.table}, {side.name}, checkpoint {e.subject.checkpoint}"
    )
    if e.row is None:
        yield "  no such row"
    else:
        width = max(map(len, e.row))
        for column, value in e.row.items():
            again = e.again.get(column) if e.again else None
            other = f"    (the records that count give {again})" if column in e.differing else ""
            yield f"  {column:<{width}}  {'NULL' if value is None else value}{other}"
    if e.span:
        until = f" to {e.span.end}" if e.span.end - e.span.begin > MILLISECOND else ""
        yield f"events of {e.span.begin}{until} ({e.span.zone})"
    if e.behind:
        yield f"{side.name} may still have it: {e.behind}"
        return
    yield f"run over {', '.join(f'{n:,} of {topic}' for topic, n in e.read.items()) or 'no record'}"
    for became in Became:
        if limit:
            yield from _table(e, became, limit)
    yield "counted " + ", ".join(
        f"{e.count(b):,}" if b is Became.counted else f"{b.value} {e.count(b):,}"
        for b in Became
        if b is Became.counted or e.count(b)
    )
    yield from _verdict(e)


def _table(e: Explanation, became: Became, limit: int) -> Iterator[RenderableType]:
    chosen = [one for one in e.evidence if one.became is became]
    if chosen:
        some = f": {limit:,} of {len(chosen):,}, --limit shows more" if len(chosen) > limit else ""
        yield rows_table(
            [_shown(e, one) for one in chosen[:limit]],
            title=f"{became.value}{some}",
            null="NULL",
        )


def _shown(e: Explanation, one: Evidence) -> dict[str, Any]:
    c = one.candidate
    at = wall(c.appended if c.happened is None else c.happened, e.zone)
    named = [f for f in e.fields.get(c.place.topic, ()) if c.fields and f in c.fields]
    fields = named[: _FIELDS - bool(one.why)]
    return {
        "topic": c.place.topic,
        "part": c.place.partition,
        "offset": str(c.place.offset),
        "time" if c.happened is not None else "appended": f"{at:%m-%d %H:%M:%S}",
        **{f: c.fields[f] for f in fields if c.fields},
        **({"why": _short(one)} if one.why else {}),
    }


def _short(one: Evidence) -> str:
    """Of a reject the kind of its reason; what is wrong with one that nobody can decode."""
    kind, _, detail = one.why.partition(": ")
    return detail if one.became is Became.undecodable else kind


def _verdict(e: Explanation) -> Iterator[str]:
    name, untold = e.subject.side.name, e.count(Became.not_told)
    records = e.count(Became.counted) + untold
    if e.adds_up is None:
        yield f"the SQL of {name} gives the row over {e.count(Became.counted):,} that count and {untold:,} that may"
    elif e.adds_up and e.subject.output.kind is Kind.rejects:
        what = (
            "does not reject this record"
            if e.row is None
            else "rejects this record, with this reason"
        )
        yield f"adds up: the SQL of {name} {what}"
    elif e.adds_up and e.row is not None:
        yield f"adds up: the SQL of {name} over {'these' if records > 1 else 'this'} {_records(records)} gives the row"
    elif e.adds_up:
        over = "these records" if records else "that part of the log"
        yield f"adds up: the SQL of {name} gives no such row over {over}"
    else:
        what = f"in {', '.join(e.differing)}" if e.differing else "they give no such row"
        if e.row is None:
            what = f"the SQL of {name} gives such a row"
        yield f"does not add up: {what}"
        yield from (f"  {line}" for line in _missing(e))
    if any(one.became is Became.not_told and not one.why for one in e.evidence):
        yield "of some it is not told whether they count: there are too many to try each"


def _records(count: int) -> str:
    return f"{count:,} records" if count > 1 else "record"


def _missing(e: Explanation) -> Iterator[str]:
    """What may be missing of a row that does not add up."""
    if e.adds_up is not False:
        return
    product = e.subject.side.product
    looked_up = sorted(n for n, t in product.settings.topics.items() if not t.is_event)
    if looked_up:
        yield f"{', '.join(looked_up)}: what is looked up may have been read in another state by the job"
    if e.row is None:
        yield f"the table has none; it may not have been made of this log: kappa audit {product.name}"
    elif e.is_whole:
        yield "over all records of that part of the log the SQL does give the row: it depends on other rows' records"
    elif e.looks_back:
        yield "its SQL takes other records into account, which may stand before that part of the log"
    else:
        yield (
            "not even all records of that part of the log give the row: it depends on others, or the table was not "
            f"made of this log: kappa audit {product.name}"
        )


def _only_in_one(found: Sequence[Explanation]) -> Iterator[dict[str, Any]]:
    """The records that count in one of two releases and not in the other, where both say so."""
    of = [{one.candidate.place: one for one in e.evidence} for e in found]
    for place in sorted({*of[0], *of[1]}):
        became = [_became(side.get(place)) for side in of]
        counted = [b == Became.counted for b in became]
        if any(counted) and not all(counted) and Became.not_told not in became:
            one = of[0].get(place) or of[1][place]
            names = [e.subject.side.name for e in found]
            yield {**_record(one), "became": dict(zip(names, became, strict=True))}


def _became(one: Evidence | None) -> str:
    return one.became.value if one else "no record of the row"


def _between(found: Sequence[Explanation], limit: int) -> Iterator[RenderableType]:
    names = [e.subject.side.name for e in found]
    if any(e.behind for e in found):
        yield f"\n{names[0]} and {names[1]} are not compared"
        return
    differing = list(_only_in_one(found))
    if not differing:
        untold = any(e.count(Became.not_told) for e in found)
        some = ", as far as it is told" if untold else ""
        yield f"\nthe same records count in {names[0]} and {names[1]}{some}"
        return
    fields = {**found[0].fields, **found[1].fields}
    table = []
    for record in differing[:limit]:
        values = record["values"] or {}
        named = [f for f in fields.get(record["topic"], ()) if f in values][:_FIELDS]
        at = record["happened"] or record["appended"]
        at = wall(round(at.timestamp() * 1000), found[0].zone)
        table.append(
            {
                "topic": record["topic"],
                "part": record["partition"],
                "offset": str(record["offset"]),
                "time": f"{at:%m-%d %H:%M:%S}",
                **{f: values[f] for f in named},
                **record["became"],
            }
        )
    some = f": {limit:,} of {len(differing):,}" if len(differing) > limit else ""
    yield ""
    yield rows_table(table, title=f"records that count in only one{some}", null="NULL")
