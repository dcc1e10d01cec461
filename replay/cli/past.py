"""What `kappa attempts` and `kappa history` do, apart from their arguments: they ask the store and nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from replay import offsets
from replay.core.model import ProductState, short_commit
from replay.errors import not_deployed
from replay.output import Output, RowsOutput, View, print_rows, rows_table, show
from replay.settings import load_settings
from replay.store.store import Store


def attempts(name: str | None, output: RowsOutput) -> None:
    """A row per attempt, and beneath the table why the ended ones ended."""
    store = Store(load_settings().store)
    rows = [
        row
        for product in ([name] if name else store.products())
        for row in attempt_rows(store.load(product))
    ]
    if name and not rows:
        raise not_deployed(name)
    if output is not RowsOutput.text:
        print_rows(rows, output)
        return
    errors = [f"{r['product']} {r['attempt']}: {r['error']}" for r in rows if r["error"]]
    show(View(rows, [rows_table([short_row(row) for row in rows]), *errors]), Output.text)


def history(name: str, output: Output) -> None:
    """A row per thing that became of an attempt."""
    store = Store(load_settings().store)
    rows = [
        {
            "at": f"{datetime.fromtimestamp(e.at, UTC):%Y-%m-%d %H:%M:%S}",
            "attempt": e.attempt,
            "reason": e.reason.value,
            "detail": e.detail,
        }
        for e in store.events(name)
    ]
    if not rows:
        raise not_deployed(name)
    releases = store.load(name).releases
    data = {
        "product": name,
        "releases": [
            {"release": r.name, "fingerprint": r.fingerprint, "git_commit": r.git_commit}
            for r in releases
        ],
        "events": rows,
    }
    lines = [
        f"{r.name}  {r.fingerprint[:12]}  git {short_commit(r.git_commit or 'none')}"
        for r in releases
    ]
    show(View(data, [*lines, Group(history_table(rows))]), output)


def history_table(rows: list[dict[str, Any]]) -> Table:
    """Events under their days; long details wrap beside the rest."""
    table = Table.grid(padding=(0, 2))
    day = ""
    for row in rows:
        today, at = row["at"].split()
        if today != day:
            table.add_row(Text(day := today, style="bold"))
        table.add_row(at, row["attempt"], row["reason"], row["detail"])
    for column in table.columns[:3]:
        column.no_wrap = True
    return table


def short_row(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on 80 columns."""
    return {
        **{k: row[k] for k in ("product", "attempt", "state", "checkpoint", "published")},
        "job": row["job"][:8],
    }


def attempt_rows(state: ProductState) -> list[dict[str, Any]]:
    """One row per attempt, for people."""
    rows = []
    for a in state.attempts:
        p = state.published if state.published and state.published.attempt_name == a.name else None
        rows.append(
            {
                "product": a.product,
                "attempt": a.name,
                "state": a.state.value,
                "job": a.job_id,
                "checkpoint": a.checkpoint or None,
                "published": p.checkpoint if p else None,
                "covers": offsets.total(p.covered) if p else None,
                "topics": dict(a.topics),
                "error": a.error,
            }
        )
    return rows
