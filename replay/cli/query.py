"""What `kappa query` does, apart from its arguments. It imports little, so that the answer comes soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from replay.errors import ConfigError, not_deployed
from replay.output import RowsOutput, print_rows, waiting
from replay.query import query as querying
from replay.settings import Settings, load_settings

if TYPE_CHECKING:
    from replay.cli.snapshots import Snapshots


@dataclass(frozen=True)
class When:
    """Which rows are asked for; by default those that readers see."""

    attempt: str | None = None
    """r2-a1, or r2 for the newest attempt of a release."""
    checkpoint: int | None = None
    at: str | None = None
    """What readers saw at this time, ISO 8601."""

    @property
    def is_now(self) -> bool:
        return self == When()


def query(name: str, sql: str, timeout: float | None, output: RowsOutput, when: When) -> None:
    """Rows of a query."""
    settings = with_timeout(load_settings(), timeout)
    meant = None if when.is_now else meant_by(settings, name, when)
    with waiting(f"querying {name}"):
        result = querying.query(settings, name, sql, snapshots=meant.of if meant else None)
    title = str(meant) if meant else None
    print_rows(result.rows, output, columns=result.columns, null="NULL", title=title)


def with_timeout(settings: Settings, seconds: float | None) -> Settings:
    """With another limit for each query."""
    if seconds is None:
        return settings
    queries = settings.queries.model_copy(update={"seconds": seconds})
    return settings.model_copy(update={"queries": queries})


def meant_by(settings: Settings, name: str, when: When) -> Snapshots:
    """The snapshots that are asked for."""
    # here: what readers see needs neither the store nor its libraries
    from replay.cli import snapshots
    from replay.controller.platform import Platform
    from replay.iceberg import lake
    from replay.store.store import Store

    platform, store = Platform(settings), Store(settings.store)
    state = store.load(name)
    if when.at is None:
        return snapshots.of_attempt(platform, state, when.attempt, when.checkpoint)
    if when.attempt or when.checkpoint is not None:
        raise ConfigError(
            "--at says what readers saw, whatever attempt that was",
            expected="--at alone, or --attempt and --checkpoint",
            found="both",
            next="kappa query --help",
        )
    at = snapshots.parse_time(when.at)
    if state.published is None:
        raise not_deployed(name)
    kept = lake.kept_snapshots(platform.catalog, name)
    publication = store.published_at(name, at.timestamp())
    return snapshots.of_time(name, publication, at, store.seconds(), kept)
