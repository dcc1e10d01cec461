"""The end of a product: its jobs first, as after `kappa retire`, then all that is left of it, the store's rows last.

Every part may be repeated: after an interruption the same command continues with what is left.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceNotEmptyError, NoSuchNamespaceError

from jobs.product import names
from replay.core.model import Attempt, ProductState, State
from replay.errors import ConfigError
from replay.flink.clusters import Clusters
from replay.iceberg import files, lake, table_changes
from replay.iceberg.commits import Fence
from replay.kafka import log, output_topics
from replay.releases import shared, sources
from replay.releases.release import bindings_folder
from replay.settings import Settings

# What is to be done: pure


def ending(state: ProductState, by: str) -> tuple[Attempt, ...]:
    """The attempts that are to be stopped, as they are to be saved; those that are cannot go back."""
    why = f"the product was removed by {by}"
    return tuple(
        replace(
            a,
            stop=State.retired if a.state in (State.active, State.standby) else State.aborted,
            promote=None,
            recheck=False,
            error=why,
        )
        for a in state.live
        if not a.stop
    )


def is_stopped(state: ProductState, *, keep_tables: bool) -> bool:
    """Whether no job is left; and of tables that are kept no branch, but for that of which readers see them.

    Tables that are dropped take their branches with them, also where `main` was moved from outside and nothing is
    cleaned.
    """
    shown = state.published.attempt_name if state.published else None
    return not state.unfinished and all(
        a.ended and (not keep_tables or a.cleaned or a.name == shown) for a in state.attempts
    )


def last_branch(state: ProductState) -> Attempt | None:
    """The attempt whose tables readers see, if its branch is still there."""
    shown = state.published.attempt_name if state.published else None
    return next((a for a in state.attempts if a.name == shown and not a.cleaned), None)


@dataclass(frozen=True)
class Remains:
    """What is left of a product, in the words of a person."""

    tables: tuple[str, ...] = ()
    releases: int = 0
    attempts: int = 0
    files: tuple[str, ...] = ()
    """Folders of this home, and of what is shared: archive, bindings."""
    topics: tuple[str, ...] = ()
    """That its outputs were written to."""

    @property
    def nothing(self) -> bool:
        return not (self.tables or self.releases or self.attempts or self.files)


def checked(name: str) -> str:
    """The name of a product: it becomes a part of paths below which everything is deleted."""
    if not names.is_name(name):
        raise ConfigError(
            f"{name!r} is not the name of a product",
            expected="a name such as flights",
            found=name or "nothing",
            next="kappa status",
        )
    return name


# What is left in the platform


def remains(settings: Settings, catalog: Catalog, state: ProductState) -> Remains:
    """What there is of a product."""
    name = checked(state.product)
    folders = (settings.releases / name, bindings_folder(settings, name))
    return Remains(
        tuple(sorted(own_tables(catalog, name))),
        len(state.releases),
        len(state.attempts),
        (*(str(f) for f in folders if f.exists()), *shared.folders(settings, name)),
        tuple(t for a in state.attempts if not a.cleaned for t in a.topics.values()),
    )


def own_tables(catalog: Catalog, product: str) -> dict[str, str]:
    """Table → location of its metadata: those with the tag that only this project sets, or whose files are gone.

    Other tables in the product's namespace do not belong to the product.
    """
    found = {}
    for table, location in lake.pointers(catalog, product).items():
        try:
            metadata = lake.read_metadata(catalog, location)
        except FileNotFoundError:  # a removal that was interrupted
            found[table] = location
            continue
        if lake.GENESIS in metadata.refs:
            found[table] = location
    return found


def erase(
    settings: Settings,
    catalog: Catalog,
    clusters: Clusters | None,
    state: ProductState,
    *,
    keep_tables: bool,
    fence: Fence,
) -> None:
    """Leave nothing of a product outside of the store, or only its tables; its jobs have ended.

    RetryableError while a consumer group has members.
    """
    name = checked(state.product)
    for attempt in state.attempts:
        if attempt.cleaned:
            continue
        fence()
        if clusters and attempt.cluster:
            clusters.stop(attempt.cluster)
        output_topics.delete(settings, attempt.topics.values())
        log.delete_group(settings, attempt.group)
    fence()
    if not keep_tables:
        _drop_tables(catalog, name, fence)
    files.delete_folder(settings, f"{settings.flink.checkpoints.rstrip('/')}/{name}")
    for folder in (bindings_folder(settings, name), settings.releases / name):
        if folder.exists():
            shutil.rmtree(folder)
    shared.forget(settings, name)
    sources.forget(settings, name)
    _forget_answers(settings, name)


def _drop_tables(catalog: Catalog, product: str, fence: Fence) -> None:
    """Files first: a table's row in the catalog tells where they are, until they are gone."""
    for table, location in own_tables(catalog, product).items():
        fence()
        with lake.catalog_errors():
            table_changes.drop_table(catalog, (product, table), location)
    try:
        with lake.catalog_errors():
            catalog.drop_namespace(product)
    except (
        NoSuchNamespaceError,
        NamespaceNotEmptyError,
    ):
        # other people's tables stay, and their namespace with them
        return
    finally:
        lake.forget(catalog, product)


def _forget_answers(settings: Settings, product: str) -> None:
    """What Flink's planner said of it."""
    answer = re.compile(rf"{re.escape(product)}-[0-9a-f]{{64}}\.json")
    for file in (settings.home / "checked").glob(f"{product}-*.json"):
        if answer.fullmatch(file.name):
            file.unlink(missing_ok=True)
