"""What the controller remembers: releases, attempts, publications. All frozen, replaced whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from jobs.product.folder import Product
from replay import offsets
from replay.core.log_identity import Identity, Topic
from replay.offsets import Offsets
from replay.versions import refuse_newer

ATTEMPT_VERSION = 2
"""Of an attempt's form in the store. One without a version is of version 1, and so is one without topics: programs that
know none would forget them."""
JOURNAL_VERSION = 1
"""Of a publication's form in the journal."""
KEPT_POSITIONS = 32
"""Positions kept per attempt: enough to know that of any checkpoint that the tables are late to commit, and to tell the
lag in seconds up to so many checkpoint intervals."""

_CHECKPOINT = re.compile(r"/chk-(\d+)/?$")  # as Flink names their folders


class State(StrEnum):
    """Where an attempt is in its life."""

    built = "built"
    """Recorded with its job id; its job may or may not have been submitted."""
    replaying = "replaying"
    """Flink runs its job, which still reads history."""
    caught_up = "caught_up"
    """Within the product's lag limit for as many checkpoints as it asks."""
    audited = "audited"
    """The product's checks passed on the snapshots of one checkpoint, which may now be published."""
    active = "active"
    """Readers see its tables."""
    standby = "standby"
    """Another attempt is active; this one's job still runs."""
    retired = "retired"
    """Once active, or a shadow that was compared; its job was stopped."""
    failed = "failed"
    """Its job ended, or never started, for the reason in `error`."""
    aborted = "aborted"
    """Stopped before readers saw it."""


ENDED = frozenset({State.retired, State.failed, State.aborted})
CANDIDATE = frozenset({State.built, State.replaying, State.caught_up, State.audited})


class Move(StrEnum):
    """Why `main` moves."""

    publish = "publish"
    """On, to a newer checkpoint of the attempt that readers see."""
    switch = "switch"
    """Over to another attempt, which covers at least what readers saw."""
    rollback = "rollback"
    """Back to another attempt, wherever it stands: a person's word."""


@dataclass(frozen=True)
class Release:
    """An immutable build of a product, and the reference data that belongs to it."""

    product: str
    number: int
    fingerprint: str
    created: float
    reference_offsets: Offsets
    """Ends of the reference topics when the release was built: every attempt reads exactly up to here."""
    git_commit: str | None = None
    """With '-dirty' where its folder had changes."""
    computation: str = ""
    """Fingerprint of only what decides the rows: releases that share it differ in descriptions, checks and policies."""

    @property
    def name(self) -> str:
        return f"r{self.number}"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of one attempt, present in every table of the product."""

    id: int
    snapshots: Mapping[str, int]
    """Table name → the snapshot that the table got at this checkpoint."""


@dataclass(frozen=True)
class CheckpointPosition:
    """The position of one checkpoint of one job."""

    checkpoint: int
    covered: Offsets
    """Every record below was emitted or is held in the checkpoint, and so was the watermark that follows from it."""
    read: Offsets
    """No record from here on is in the checkpoint."""


@dataclass(frozen=True)
class Committed:
    """An offset that a consumer group has committed."""

    offset: int
    by: str
    """What was said beside it: a job says its id and the checkpoint, tools say nothing."""


@dataclass(frozen=True)
class Position:
    """Where the sources of a job stood at a checkpoint."""

    checkpoint: int
    offsets: Offsets
    """Offsets that the checkpoint covers: the rows of all records below, and those of all windows that these close, are
    in it."""
    at: float = 0.0
    """When it was seen."""
    ends: Offsets = field(default_factory=dict)
    """Ends of the unbounded topics, at that time."""
    read: Offsets = field(default_factory=dict)
    """Offsets from which on the checkpoint holds no record. Empty for a position by the offsets of a consumer group, as
    earlier versions had them: it holds only of later checkpoints, as the watermark behind its records came a moment
    after them."""

    @cached_property
    def as_json(self) -> list[Any]:
        """Made once: an attempt is stored with all of its positions when it gets another one."""
        return [
            self.checkpoint,
            offsets.to_json(self.offsets),
            self.at,
            offsets.to_json(self.ends),
            offsets.to_json(self.read),
        ]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Self:
        """The reverse; positions of earlier programs have no `read`, those of later ones may have more."""
        checkpoint, covered, at, ends, *read = data[:5]
        return cls(
            checkpoint,
            offsets.from_json(covered),
            at,
            offsets.from_json(ends),
            *map(offsets.from_json, read),
        )

    def is_below(self, checkpoint: int) -> bool:
        """Whether a checkpoint of the same attempt surely covers it."""
        return self.checkpoint < checkpoint or (self.checkpoint == checkpoint and bool(self.read))

    @property
    def held_at_most(self) -> Offsets:
        """Offsets from which on neither this checkpoint nor an earlier one holds a record."""
        return self.read or self.ends


@dataclass(frozen=True)
class Check:
    """What one check found on the snapshots of one checkpoint."""

    name: str
    blocking: bool
    offending: int
    message: str = ""
    sample: tuple[Mapping[str, Any], ...] = ()

    @property
    def found(self) -> str:
        """In words, with a row of it."""
        said = self.message or f"{self.offending} rows"
        row = (
            ", ".join(f"{name} {value}" for name, value in self.sample[0].items())
            if self.sample
            else ""
        )
        return f"{said}; one of them: {row[:200]}" if row else said


@dataclass(frozen=True)
class Finding:
    """What comparing a shadow with what readers see found."""

    equal: bool
    rows: int
    """Compared; none when nothing was final yet."""
    detail: str
    """In a sentence, for the history."""
    differences: str = ""


@dataclass(frozen=True)
class Comparing:
    """A comparison that this process has begun."""

    under_way: bool = False
    finding: Finding | None = None
    trouble: str = ""
    """Why it found nothing, and will not."""


@dataclass(frozen=True)
class Tables:
    """The tables of a release at one checkpoint."""

    product: Product
    snapshots: Mapping[str, int]
    covered: Offsets
    """Offsets that they cover at least."""


def group_prefix(product: str) -> str:
    """With what the consumer groups of a product's attempts begin, and those of no other product."""
    return f"kappa-{product}-"


@dataclass(frozen=True)
class Attempt:
    """One run of a release's job from offset zero, resumed or not."""

    product: str
    release: int
    number: int
    created: float
    parallelism: int
    job_ids: tuple[str, ...]
    """Every job id it ran under; the last one is current, and was stored before it was submitted."""
    state: State = State.built
    cluster: str = ""
    """The Flink cluster that was started for it alone; empty: the session cluster."""
    rest: str = ""
    """REST address of its own cluster, once that was started."""
    own_jars: bool = False
    """Its own cluster has the jars that its release was built with, whatever Flink's `lib` has now."""
    on_session: tuple[str, ...] = ()
    """Job ids that it was given on the session cluster, before it got a cluster of its own."""
    shadow: bool = False
    """Replayed to be compared with what readers see, never to be shown to them."""
    scheduled: bool = False
    """A shadow that the schedule began: the controller compares it."""
    comparing_at: float | None = None
    """When a controller last said that it compares it."""
    auto_switch: bool = True
    """Readers are switched over as soon as its checks pass; else a person says when."""
    deadline: float | None = None
    """When it is aborted unless it has caught up."""
    metadata: int | None = None
    """A later release of the same computation whose descriptions, checks and policies count; None: its own."""
    submitted_at: float | None = None
    """When the current job id was last handed to Flink; None: never."""
    confirmed: bool = False
    """Flink has known the current job id."""
    refused: str = ""
    """Why its job, or its cluster, was not started when that was last tried, of an attempt that readers depend on."""
    restore: str | None = None
    """Checkpoint that the current job id starts from; None: offset zero."""
    missing_since: float | None = None
    """Since when a confirmed job is unknown to Flink."""
    positions: tuple[Position, ...] = ()
    """Newest last."""
    committed: bool = False
    """Its consumer group has had offsets."""
    foreign_offsets: str = ""
    """What was done to these offsets from outside, for display: nothing depends on them."""
    log: Identity = field(default_factory=dict)
    """The topics that it reads, and records that it has read: whether the log is still the same. Empty: not known."""
    late_dropped: Mapping[str, int] = field(default_factory=dict)
    """Operator → records that it dropped as late, the most that was seen: a restart resets its count."""
    near: int = 0
    """Positions in a row that were within the lag limit."""
    caught_up_at: float | None = None
    """When it first was."""
    restarts: int = 0
    """Restarts of the current job when its newest position was recorded."""
    resumes: int = 0
    """Job ids that it was given since its newest position was recorded."""
    tip: Checkpoint | None = None
    """The newest checkpoint seen in every table: it must stay in the branch."""
    audited_checkpoint: int | None = None
    """The checkpoint whose snapshots passed the product's checks."""
    checks: tuple[Check, ...] = ()
    """What the checks found when they last ran."""
    recheck: bool = False
    """The checks of a later release count, and have not run on what readers see."""
    promote: Move | None = None
    """The operator command to show it to readers: switch or rollback."""
    normal_priority: bool = False
    """Its own cluster has normal CPU priority; while it replays beside a live job it has less."""
    shown_at: float | None = None
    """When readers were last switched, or taken back, to it."""
    left_at: float | None = None
    """When readers were last taken from it to another."""
    stop: State | None = None
    """The final state that a person or a successor wants; the job is to be cancelled first."""
    error: str = ""
    """Why it failed or was aborted."""
    expired_at: float = 0.0
    """When old snapshots of its branch were last removed."""
    garbage: tuple[str, ...] | None = None
    """Files to be deleted once its branch is gone; None: not listed yet."""
    topics: Mapping[str, str] = field(default_factory=dict)
    """Output → the topic that it also writes its rows to, and no other attempt: stored before they are created."""
    cleaned: bool = False
    """Its branch, files, checkpoints, topics and consumer group are gone."""

    @property
    def found_fault(self) -> str:
        """What blocking checks found when they last ran, if anything."""
        return "; ".join(f"{c.name}: {c.found}" for c in self.checks if c.blocking and c.offending)

    @property
    def name(self) -> str:
        """Also the branch, and part of consumer group and checkpoint folder: attempts share nothing."""
        return f"r{self.release}-a{self.number}"

    @property
    def full_name(self) -> str:
        """Unique among all products: of its job and of its own Flink cluster."""
        return f"{self.product}-{self.name}"

    @property
    def group(self) -> str:
        return group_prefix(self.product) + self.name

    @property
    def job_id(self) -> str:
        return self.job_ids[-1]

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def may_move(self) -> bool:
        """Whether it can get a cluster of its own: its current job was not handed to the session cluster."""
        return not self.cluster and self.submitted_at is None

    @property
    def resumed_from(self) -> int | None:
        """The checkpoint that the current job id starts from; None: offset zero."""
        match = _CHECKPOINT.search(self.restore or "")
        return int(match[1]) if match else None

    @property
    def checkpoint(self) -> int:
        """The newest checkpoint whose position is known, 0 for none."""
        return self.positions[-1].checkpoint if self.positions else 0

    def position_of(self, checkpoint: int) -> Position | None:
        """The position of a checkpoint; if that was not seen, the newest of an earlier one, which it covers too."""
        covered = [p for p in self.positions if p.is_below(checkpoint)]
        return covered[-1] if covered else None

    def held_at_most(self, checkpoint: int) -> Offsets | None:
        """Offsets from which on a checkpoint surely holds no record; None if neither it nor a later one was seen."""
        return next((p.held_at_most for p in self.positions if p.checkpoint >= checkpoint), None)

    def to_json(self) -> dict[str, Any]:
        # asdict() copies deeply, and there is little to copy
        data = {_STORED_AS.get(name, name): value for name, value in vars(self).items()}
        data["version"] = ATTEMPT_VERSION if self.topics else 1
        data["tip"] = asdict(self.tip) if self.tip else None
        data["checks"] = [asdict(c) for c in self.checks]
        data["positions"] = [p.as_json for p in self.positions]
        data["topics"] = dict(self.topics)
        data["log"] = {name: topic.as_json for name, topic in self.log.items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse. What an older program did not know takes its default; RefusedError of a newer version."""
        name = f"attempt r{data.get('release')}-a{data.get('number')} of {data.get('product')}"
        refuse_newer(name, data.get("version", 1), ATTEMPT_VERSION)
        return cls(
            **{
                key: _READ[key](value) if key in _READ and value is not None else value
                for key, value in _known(cls, _with_names_of_now(data)).items()
            }
        )


_STORED_AS = {"normal_priority": "favoured"}
"""Fields of attempts that are stored under the name that they had first."""
_NAMES_OF_NOW = {stored: name for name, stored in _STORED_AS.items()}


def _with_names_of_now(data: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES_OF_NOW.get(name, name): value for name, value in data.items()}


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored value that this program knows."""
    names = _NAMES[cls]
    return {key: value for key, value in data.items() if key in names}


def _check(data: Mapping[str, Any]) -> Check:
    return Check(**{**_known(Check, data), "sample": tuple(data.get("sample", ()))})


_NAMES: Mapping[type, frozenset[str]] = {
    cls: frozenset(f.name for f in fields(cls)) for cls in (Attempt, Check, Checkpoint)
}
_READ: Mapping[str, Callable[[Any], Any]] = {
    "job_ids": tuple,
    "on_session": tuple,
    "state": State,
    "stop": State,
    "promote": Move,
    "positions": lambda found: tuple(map(Position.from_json, found)),
    "tip": lambda found: Checkpoint(**_known(Checkpoint, found)),
    "checks": lambda found: tuple(map(_check, found)),
    "garbage": tuple,
    "log": lambda found: {name: Topic.from_json(topic) for name, topic in found.items()},
}
"""Field of an attempt → how it is read from JSON, if it is not what JSON says."""


@dataclass(frozen=True)
class Publication:
    """A row of the journal: written before `main` is moved, marked done after."""

    id: int
    product: str
    release: int
    attempt: int
    checkpoint: int
    before: Mapping[str, int]
    """Table → what `main` shows before."""
    after: Mapping[str, int]
    """Table → what `main` is to show."""
    covered: Offsets
    """Offsets that `after` covers at least."""
    started: float
    finished: float | None = None
    kind: Move = Move.publish

    @property
    def attempt_name(self) -> str:
        return f"r{self.release}-a{self.attempt}"


@dataclass(frozen=True)
class ProductState:
    """All that the store knows of a product."""

    product: str
    releases: tuple[Release, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    """Oldest first."""
    publications: tuple[Publication, ...] = ()
    """The last one done and the one under way, if any; oldest first."""

    @property
    def live(self) -> tuple[Attempt, ...]:
        return tuple(a for a in self.attempts if not a.ended)

    @property
    def active(self) -> Attempt | None:
        return next((a for a in self.attempts if a.state is State.active), None)

    @property
    def candidate(self) -> Attempt | None:
        """The newest attempt on its way to readers; one that only takes the place of a lost active one comes last."""
        found = [
            a
            for a in reversed(self.attempts)
            if a.state in CANDIDATE and not a.stop and not a.shadow
        ]
        shown = self.published.release if self.published else None
        return min(found, key=lambda a: a.release == shown, default=None)

    @property
    def shadow(self) -> Attempt | None:
        """The attempt that is replayed for a comparison."""
        return next((a for a in self.attempts if a.shadow and not a.ended and not a.stop), None)

    @property
    def standbys(self) -> tuple[Attempt, ...]:
        """Attempts that readers can be taken back to; those that they saw last come last."""
        found = (a for a in self.attempts if a.state is State.standby and not a.stop)
        return tuple(sorted(found, key=lambda a: a.left_at or 0.0))

    @property
    def published(self) -> Publication | None:
        """What readers see, as far as the journal knows."""
        return next((p for p in reversed(self.publications) if p.finished is not None), None)

    @property
    def unfinished(self) -> Publication | None:
        return next((p for p in self.publications if p.finished is None), None)

    def with_attempts(self, *changed: Attempt) -> ProductState:
        """With these in the place of those of the same name, or new."""
        attempts = {a.name: a for a in (*self.attempts, *changed)}
        return replace(
            self,
            attempts=tuple(
                sorted(attempts.values(), key=lambda a: (a.created, a.release, a.number))
            ),
        )

    def with_publication(self, changed: Publication) -> ProductState:
        """With one that was begun or finished now."""
        before = (
            ()
            if changed.finished is not None
            else (p for p in self.publications if p.finished is not None)
        )
        return replace(self, publications=(*before, changed))

    def release(self, number: int) -> Release:
        return next(r for r in self.releases if r.number == number)

    def attempt(self, name: str) -> Attempt:
        return next(a for a in self.attempts if a.name == name)


def short_commit(commit: str) -> str:
    """For people: twelve digits, and whether the folder had changes."""
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
