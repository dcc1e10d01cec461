"""What Kappa relies on of an Iceberg catalog, as checks that anybody can run against their own.

`CHECKS`, at the end, has what is expected and what follows from it. Each check works on tables of its own, all in one
namespace, which is removed at the end. `kappa doctor --catalog` runs those that are safe beside products that
are at work, and tests/catalogs runs all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from pyiceberg.catalog import Catalog

from replay.errors import KappaError
from replay.finding import Finding
from replay.iceberg import catalog_commit_checks, catalog_table_checks, lake
from replay.iceberg.catalog_ground import Answer, CheckNamespace, fault, ground, in_words


@dataclass(frozen=True)
class Check:
    """One thing to rely on."""

    name: str
    expected: str
    means: str
    """What follows for products from its being so."""
    run: Callable[[CheckNamespace], Answer]
    """Raises KappaError when the catalog is not as expected."""
    safe: bool = True
    """Beside products that are at work: a few small commits, one after the other."""
    basic: bool = False
    """Without this there is nothing to be learned from the others."""


def examine(reopen: Callable[[], Catalog], namespace: str | None = None) -> list[Finding]:
    """What the safe checks find; whatever happens, what they made is removed."""
    with closing(reopen()) as catalog:
        at = ground(catalog, reopen, namespace)
        try:
            found = list(_findings(at, [c for c in CHECKS if c.safe]))
        except BaseException:
            for left in at.clear():
                if left.error:
                    raise left.error from None
            raise
        return [*found, *at.clear()]


def _findings(at: CheckNamespace, checks: Sequence[Check]) -> Iterator[Finding]:
    for check in checks:
        finding = result(check, at)
        yield finding
        if finding.error and check.basic:
            return


def result(check: Check, at: CheckNamespace) -> Finding:
    """Run one check."""
    try:
        with lake.catalog_errors():
            answer = check.run(at)
    except KappaError as e:
        return Finding(check.name, error=e)
    except Exception as e:  # noqa: BLE001  clients raise anything at answers that they do not understand
        return Finding(check.name, error=fault(check.name, check.expected, in_words(e)))
    if isinstance(answer, tuple):
        return Finding(check.name, *answer, note=True)
    return Finding(check.name, answer, check.means)


CHECKS = (
    Check(
        "namespace",
        "a namespace that is kept",
        "each product has one of its own",
        catalog_table_checks.namespace,
        basic=True,
    ),
    Check(
        "tables",
        "tables that are kept as they were created",
        "each output of a product is one",
        catalog_table_checks.tables,
        basic=True,
    ),
    Check(
        "branches and tags",
        "branches and tags that are kept",
        "each attempt writes to a branch of its own",
        catalog_table_checks.refs,
        basic=True,
    ),
    Check(
        "append to a branch",
        "main stays where it is",
        "readers do not see what a replay writes",
        catalog_commit_checks.append,
    ),
    Check(
        "snapshot properties",
        "properties of snapshots are kept",
        "the tables of a job can be compared at one checkpoint",
        catalog_commit_checks.summaries,
    ),
    Check(
        "stale commits",
        "a commit that others have overtaken is refused",
        "controllers, jobs and people cannot overwrite what they have not seen",
        catalog_commit_checks.stale,
    ),
    Check(
        "commits to two branches",
        "both are done, the overtaken one when it is repeated",
        "a replay and the live job write to the same tables at the same time",
        catalog_commit_checks.overtaken,
    ),
    Check(
        "moving main",
        "main is moved to a branch's snapshot",
        "a switch and a rollback only move refs",
        catalog_commit_checks.moved,
    ),
    Check(
        "several tables at once",
        "all tables are moved, or none",
        "readers see one checkpoint of a product, also while it is switched over",
        catalog_commit_checks.together,
    ),
    Check(
        "expired snapshots",
        "snapshots that no ref names are removed, and no others",
        "old snapshots are removed, and what readers and jobs need stays",
        catalog_commit_checks.expired,
    ),
    Check(
        "commits at the same time",
        "none of them is lost",
        "jobs and the controller commit to the same tables",
        catalog_commit_checks.raced,
        safe=False,
    ),
    Check(
        "dropped tables",
        "nothing is left of a table",
        "kappa remove leaves nothing behind",
        catalog_table_checks.dropped,
    ),
)
"""In the order in which they make sense."""
