"""What `kappa verify` decides: which shadow to follow, when it can be compared, what the comparison means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from replay import offsets
from replay.compare.changes import DiffReport, TableDiff
from replay.controller.act import new_attempt
from replay.core.events import Event, Reason
from replay.core.model import Attempt, Checkpoint, Finding, ProductState, Publication, State
from replay.errors import ConflictError, KappaError, RefusedError, RetryableError, not_deployed
from replay.offsets import Offsets


@dataclass(frozen=True)
class Terms:
    """What a new shadow gets, apart from its release."""

    parallelism: int | None = None
    """None: as the attempt that readers see."""
    deadline: float | None = None
    own_cluster: bool = False


@dataclass(frozen=True)
class Plan:
    """The shadow to follow."""

    shadow: Attempt
    shown: Attempt
    """What readers see."""
    new: bool
    """To be saved first; else it runs already."""

    @property
    def sentence(self) -> str:
        a = self.shadow
        where = ", on a Flink cluster of its own" if a.cluster else ""
        what = "replaying" if self.new else "under way: following its replay of"
        return (
            f"{a.product} {a.name}: {what} r{a.release} from offset zero as a shadow, parallelism {a.parallelism}"
            f"{where}; readers see {self.shown.name}"
        )


def plan(state: ProductState, terms: Terms, now: float, job_id: str) -> Plan:
    """Pick up the shadow that runs, or begin one of the release that readers see."""
    name = state.product
    if state.published is None:
        raise not_deployed(name)
    shown = state.attempt(state.published.attempt_name)
    if other := state.candidate:
        raise RefusedError(
            f"a candidate of {name} is under way",
            expected="one replay of a product at a time",
            found=f"{other.name}, {other.state.value}",
            next=f"kappa deploy {name}  (follows it; or end it: kappa abort {name})",
        )
    if shadow := state.shadow:
        if shadow.release != shown.release or terms.parallelism not in (None, shadow.parallelism):
            raise RefusedError(
                f"another verification of {name} is under way",
                expected=f"a shadow of {shown.name}, parallelism {terms.parallelism or 'any'}",
                found=f"{shadow.name}, parallelism {shadow.parallelism}",
                next=f"kappa abort {name}",
            )
        return Plan(shadow, shown, new=False)
    shadow = new_attempt(
        state,
        shown.release,
        terms.parallelism or shown.parallelism,
        now,
        job_id,
        shadow=True,
        own_cluster=terms.own_cluster,
        deadline=terms.deadline,
        metadata=shown.metadata,
    )
    return Plan(shadow, shown, new=True)


def comparable(target: Offsets) -> Callable[[Attempt, ProductState], bool]:
    """Whether a shadow's tables hold all that readers saw at the target; or raise why they never will."""

    def done(shadow: Attempt, state: ProductState) -> bool:
        name = state.product
        if State.failed in (shadow.state, shadow.stop):
            raise KappaError(
                f"{name} {shadow.name} failed, and nothing was compared; readers are not affected",
                found=shadow.error,
                next=f"fix the cause, then: kappa verify {name}",
            )
        if shadow.stop or shadow.ended:
            raise ConflictError(
                f"{name} {shadow.name} was given up, and nothing was compared",
                found=shadow.error or (shadow.stop or shadow.state).value,
                next=f"kappa verify {name}",
            )
        shown = state.published
        if shown is None or shown.release != shadow.release:
            raise ConflictError(
                f"readers of {name} were switched over while r{shadow.release} was being verified",
                expected=f"r{shadow.release}",
                found=shown.attempt_name if shown else "nothing",
                next=f"kappa verify {name}",
            )
        return offsets.covers(_tip(shadow)[1], target)

    return done


def taken(shadow: Attempt) -> tuple[Checkpoint, Offsets]:
    """The newest checkpoint in every table, and the offsets that it covers at least."""
    checkpoint, covered = _tip(shadow)
    assert checkpoint is not None, "asked before it was comparable"
    return checkpoint, covered


def _tip(shadow: Attempt) -> tuple[Checkpoint | None, Offsets]:
    position = shadow.position_of(shadow.tip.id) if shadow.tip else None
    return (shadow.tip, position.offsets) if position else (None, {})


@dataclass(frozen=True)
class Verdict:
    """What a verification found."""

    shadow: Attempt
    shown: Attempt
    published: Publication
    """What readers saw when it was compared."""
    checkpoint: int
    """Of the shadow."""
    report: DiffReport

    @property
    def rows(self) -> int:
        return sum(t.rows for t in self.report.tables)

    @property
    def parallelisms(self) -> str:
        return f"parallelism {self.shadow.parallelism} against {self.shown.parallelism}"

    @property
    def stopped(self) -> Attempt:
        """The shadow as it is to be saved: it has done its part."""
        error = (
            ""
            if self.report.equal
            else f"its rows are not those of {self.shown.name}: {self.differences}"
        )
        return replace(self.shadow, stop=State.retired, error=error)

    @property
    def differences(self) -> str:
        return "; ".join(_difference(t, self.report) for t in self.report.tables if not t.equal)

    @property
    def finding(self) -> Finding:
        """In words."""
        found = "equal" if self.report.equal else f"NOT equal ({self.differences})"
        detail = (
            f"{found} to {self.shown.name} checkpoint {self.published.checkpoint}: {self.rows:,} rows of "
            f"{sum(not t.not_compared for t in self.report.tables)} tables, {self.parallelisms}, "
            f"below {place(self.report.position)}"
        )
        return Finding(self.report.equal, self.rows, detail, self.stopped.error)

    def event(self, at: float) -> Event:
        """For the product's history."""
        reason = Reason.verified if self.report.equal else Reason.differs
        return Event(self.shadow.product, at, self.shadow.name, reason, self.finding.detail)

    def error(self) -> KappaError | None:
        """Why the command fails, if it does."""
        name = self.shadow.product
        if not self.report.equal:
            return KappaError(
                f"a replay of {name} r{self.shadow.release} gives other rows than readers see",
                expected=f"every row of {self.shadow.name} equal to {self.shown.name}",
                found=self.differences,
                next=f"kappa deploy {name} --again  (fresh rows for readers; keep this output)",
            )
        if not self.rows:
            return RetryableError(
                f"no row of {name} is final yet: nothing was compared",
                expected="windows that are closed",
                found="none below the common position",
                next=f"kappa verify {name}  (once more of the log was read)",
            )
        return None


def place(position: Offsets) -> str:
    """A position in the log, on one line."""
    return ", ".join(
        f"{topic} " + " ".join(f"{p}:{offset}" for p, offset in sorted(of.items()))
        for topic, of in sorted(position.items())
    )


def _difference(table: TableDiff, report: DiffReport) -> str:
    counts = {
        f"only in {report.old}": table.only_old,
        f"only in {report.new}": table.only_new,
        "changed": table.changed,
    }
    columns = [*table.columns_only_old, *table.columns_only_new]
    parts = [f"{n:,} {what}" for what, n in counts.items() if n]
    return f"{table.table}: {', '.join([*parts, *(f'column {c}' for c in columns)])}"
