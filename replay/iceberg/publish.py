"""Moving `main` of all the product's tables to the snapshots of one checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, RESTError
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    SetSnapshotRefUpdate,
    TableUpdate,
)

from jobs.product.folder import Product
from replay import database
from replay.errors import (
    ConflictError,
    KappaError,
    OutcomeUnknownError,
    PartlyPublishedError,
    RefusedError,
    RetryableError,
)
from replay.iceberg import commits, lake, pointer, readers
from replay.iceberg.commits import Change, Fence
from replay.storage import StorageError

_ATTEMPTS = 30


@dataclass(frozen=True)
class _Move:
    """`main` of one table: from where, to where."""

    table: Table
    expected: int
    target: int
    tells: str = ""
    """What the table is to tell readers of all tables; empty: nothing."""

    @property
    def found(self) -> int | None:
        ref = self.table.metadata.refs.get(lake.MAIN)
        return ref.snapshot_id if ref else None

    @property
    def is_done(self) -> bool:
        return self.found == self.target

    @property
    def is_complete(self) -> bool:
        return self.is_done and not self._telling()

    def _telling(self) -> tuple[TableUpdate, ...]:
        return pointer.setting(self.table.metadata, self.tells) if self.tells else ()

    def change(self, *, apart: bool) -> Change:
        """`main` is compared with what was expected, or where it is already, then set.

        `apart`: readers have pointers of their own.
        """
        keeping = readers.keeping_metadata(self.table.metadata.properties) if apart else ()
        compared = self.target if self.is_done else self.expected
        return Change(
            self.table,
            (
                AssertTableUUID(uuid=self.table.metadata.table_uuid),
                AssertRefSnapshotId.model_validate({"ref": lake.MAIN, "snapshot-id": compared}),
            ),
            (
                SetSnapshotRefUpdate.model_validate(
                    {
                        "ref-name": lake.MAIN,
                        "snapshot-id": self.target,
                        "type": SnapshotRefType.BRANCH,
                    }
                ),
                *keeping,
                *self._telling(),
            ),
            needs=frozenset({self.target}),
        )


def publish(
    catalog: Catalog,
    product: Product,
    snapshots: Mapping[str, int],
    expected: Mapping[str, int],
    *,
    fence: Fence,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Move `main` of every table from `expected` to `snapshots` (table name → snapshot id).

    One database transaction for all tables on a SQL catalog, one request to a REST catalog that takes several tables;
    elsewhere table by table, and calling it again with the same arguments (the journaled intent) rolls forward. The
    commit of the last table also tells readers which snapshots belong together (`pointer`). A table that is there
    already needs nothing, so a lost answer is resolved by calling again. `fence` is called between the look at the
    tables and the commit that is compared with it. It raises when the caller has lost its lease, because `main` may
    have moved on and back to `expected` meanwhile. ConflictError: somebody else moved `main`. RefusedError: the
    snapshots cannot be published. In both cases nothing was moved, unless it is a PartlyPublishedError.
    RetryableError: the catalog stayed busy or refused, or files could not be read or written. OutcomeUnknownError:
    the commit's answer was lost and the catalog does not answer now.
    """
    _check_arguments(product, snapshots, expected)
    unknown: Exception | None = None
    last: Exception | None = None
    apart = False

    def changes() -> list[Change]:
        nonlocal unknown
        moves = _moves(catalog, product, snapshots, expected)
        unknown = None  # main was read: an earlier lost answer is known by now
        try:
            _check_targets(product, moves)
            _check_expected(product, moves)
        except (ConflictError, RefusedError) as e:
            if any(m.is_done and m.target != m.expected for m in moves):
                raise _partly(product, moves, e) from e
            raise
        # Where readers have pointers of their own, these follow only commits of this program.
        return [m.change(apart=apart) for m in _telling(moves) if apart or not m.is_complete]

    for attempt in range(_ATTEMPTS):
        try:
            with database.permitted("the Iceberg catalog", "the catalog"):
                apart = readers.kept_apart(catalog)
                return commits.attempt(catalog, product.name, changes, attempt, fence, show=apart)
        except CommitFailedException as e:
            last = e
        except StorageError as e:  # of a file: no table was moved in this attempt, and the next may wait as long again
            last = e
            break
        except (*database.LOST, *lake.LOST, RetryableError) as e:
            last = unknown = e
        except RESTError as e:  # an answer: it did nothing
            with lake.catalog_errors():
                raise e from None
        sleep(min(0.005 * 2**attempt, 0.5))
    raise _not_moved(product, unknown, last)


def _not_moved(product: Product, unknown: Exception | None, last: Exception | None) -> KappaError:
    """What is known after the last attempt: `unknown` is the lost answer, if one was lost and `main` not read since."""
    where = f"main of product {product.name}"
    error: KappaError
    if unknown is not None:
        error = OutcomeUnknownError(
            f"it is not known whether {where} was moved",
            expected="an answer from the catalog",
            found=database.reason(unknown),
            next="kappa status, then repeat",
        )
    elif isinstance(last, StorageError):
        error = StorageError(
            f"{where} could not be moved: {last.message}",
            expected=last.expected,
            found=last.found,
            next=last.next,
        )
    else:
        error = RetryableError(
            f"{where} could not be moved: its tables are busy",
            expected=f"no other commit during one of {_ATTEMPTS} attempts",
            found=str(last),
            next="repeat the command",
        )
    error.__cause__ = unknown or last
    return error


def _moves(
    catalog: Catalog, product: Product, snapshots: Mapping[str, int], expected: Mapping[str, int]
) -> list[_Move]:
    tables = lake.load_tables(catalog, product.name, product.outputs)
    if missing := [t for t in product.outputs if t not in tables]:
        raise lake.no_tables(product.name, f"no table {', '.join(missing)}")
    return [_Move(tables[t], expected[t], snapshots[t]) for t in product.outputs]


def _telling(moves: list[_Move]) -> list[_Move]:
    """The same, of which the last tells readers what all of them show."""
    *others, last = moves
    target = last.table.metadata.snapshot_by_id(last.target)
    job, checkpoint = lake.written_by(target) if target else (None, None)
    text = pointer.text({m.table.name()[-1]: m.target for m in moves}, job, checkpoint)
    return [*others, replace(last, tells=text)]


def _check_arguments(
    product: Product, snapshots: Mapping[str, int], expected: Mapping[str, int]
) -> None:
    for what, given in (("snapshots", snapshots), ("expected", expected)):
        if set(given) != set(product.outputs):
            raise RefusedError(
                f"all tables of product {product.name} are published together, or none",
                expected=f"{what} of {', '.join(sorted(product.outputs))}",
                found=", ".join(sorted(given)) or "none",
            )


def _check_targets(product: Product, moves: list[_Move]) -> None:
    """All targets exist and come from one checkpoint: a caller's mistake must not reach readers."""
    writers = {}
    for move in moves:
        snapshot = move.table.metadata.snapshot_by_id(move.target)
        if snapshot is None:
            raise RefusedError(
                f"snapshot {move.target} of table {'.'.join(move.table.name())} cannot be published",
                expected="a snapshot that the table still has",
                found="none: expired, or another table's",
                next=f"kappa deploy {product.name}",
            )
        writers[move.table.name()[-1]] = lake.written_by(snapshot)
    if len({checkpoint for _, checkpoint in writers.values()}) > 1:
        raise RefusedError(
            f"the snapshots of product {product.name} are not of one checkpoint",
            expected="the same checkpoint in every table",
            found=", ".join(f"{t}: {c}" for t, (_, c) in sorted(writers.items())),
        )


def _check_expected(product: Product, moves: list[_Move]) -> None:
    """ConflictError if `main` of a table is neither where it was expected nor at its target."""
    if moved := [m for m in moves if m.found != m.expected and not m.is_done]:
        raise ConflictError(
            f"somebody else moved main of product {product.name}; nothing was published",
            expected=", ".join(f"{m.table.name()[-1]} at snapshot {m.expected}" for m in moved),
            found=", ".join(f"{m.table.name()[-1]} at snapshot {m.found}" for m in moved),
            next=f"find out who did, put main back to the expected snapshots, then: kappa deploy {product.name}",
        )


def _partly(product: Product, moves: list[_Move], why: KappaError) -> PartlyPublishedError:
    """Some tables show the new checkpoint, and the others cannot: what a person can do."""
    done = [m for m in moves if m.is_done and m.target != m.expected]
    back = ", ".join(f"main of {m.table.name()[-1]} to snapshot {m.expected}" for m in done)
    return PartlyPublishedError(
        f"product {product.name} is published in part: {why.message.partition(';')[0]}",
        expected=why.expected,
        found=why.found,
        next=f"put the others to what is expected, or put back {back}; the controller then continues",
    )
