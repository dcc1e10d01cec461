"""What `kappa query` does, apart from its arguments. It imports little, so that the answer comes soon."""

from __future__ import annotations

from replay.output import Output, print_rows
from replay.query import query as querying
from replay.settings import load_settings


def query(name: str, sql: str, timeout: float | None, output: Output) -> None:
    """Rows of a query."""
    settings = load_settings()
    if timeout is not None:
        settings = settings.model_copy(
            update={"queries": settings.queries.model_copy(update={"seconds": timeout})}
        )
    result = querying.query(settings, name, sql)
    print_rows(result.rows, output, columns=result.columns, null="NULL")
