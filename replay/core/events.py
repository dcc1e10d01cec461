"""The history of a product: what became of its attempts, each event with one of a few reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why the history has an event. The names of states are those of `replay.core.model.State`."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> Reason:
        """A member, with what it means in a sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    built = (
        "built",
        "The attempt was recorded with its job id; its job may or may not have been submitted.",
    )
    replaying = "replaying", "Flink runs the attempt's job, which reads the log from offset zero."
    caught_up = "caught_up", "The attempt came within the lag limit of product.yaml."
    audited = (
        "audited",
        "The product's checks passed on the snapshots of one checkpoint, which may now be published.",
    )
    active = "active", "Readers see the attempt's tables."
    standby = "standby", "Readers see another attempt; the job of this one still runs."
    retired = (
        "retired",
        "The job of an attempt that was active, or that was compared, has been stopped.",
    )
    failed = "failed", "The attempt ended; the detail says why."
    aborted = "aborted", "The attempt was stopped before readers saw it; the detail says why."
    switch = "switch", "Readers were switched over to the attempt, at the checkpoint in the detail."
    rollback = (
        "rollback",
        "Readers were taken back to the attempt, at the checkpoint in the detail.",
    )
    lost = (
        "lost",
        "The attempt's job ended or its cluster lost it, and it is to be resumed; the detail says why.",
    )
    resumed = (
        "resumed",
        "The attempt got a new job id, which starts from the retained checkpoint in the detail.",
    )
    refused = (
        "refused",
        (
            "The job of an attempt that readers see, or its cluster, could not be started, and is tried "
            "again; the detail says why."
        ),
    )
    other_runtime = (
        "other_runtime",
        (
            "The attempt's job was started with other jars or packages than its release was "
            "built with, so later rows may differ; the detail names them."
        ),
    )
    own_cluster = (
        "own_cluster",
        (
            "The attempt gets a Flink cluster of its own, with the jars that its release was "
            "built with: the session cluster has others, which the detail names."
        ),
    )
    disturbed = (
        "disturbed",
        (
            "Somebody changed the attempt's committed offsets, or its operators dropped records as "
            "late; the detail says which."
        ),
    )
    repartitioned = (
        "repartitioned",
        (
            "A topic gained partitions after the attempt's job had begun to read it; the "
            "detail says what of product.yaml may not hold any more."
        ),
    )
    checked = (
        "checked",
        "The checks of a later release, which changed no row, passed on what readers see.",
    )
    checks_failed = (
        "checks_failed",
        (
            "The checks of a later release, which changed no row, found fault with what "
            "readers see; it stays published."
        ),
    )
    verified = "verified", "A replay gave the rows that readers see."
    differs = "differs", "A replay gave other rows than readers see; the detail says which."
    not_verified = (
        "not_verified",
        "A replay was compared with what readers see, and no row was final yet.",
    )
    unknown = (
        "unknown",
        "Another version of Kappa wrote the event; the detail begins with its reason.",
    )


_EARLIER = {"checks failed": Reason.checks_failed, "not verified": Reason.not_verified}
"""As versions before wrote them."""


@dataclass(frozen=True)
class Event:
    """Something that became of an attempt."""

    product: str
    at: float
    attempt: str
    reason: Reason
    detail: str = ""


def read(product: str, at: float, attempt: str, reason: str, detail: str) -> Event:
    """An event as it is stored, by whatever version."""
    known = _EARLIER.get(reason) or next((r for r in Reason if r.value == reason), None)
    if known:
        return Event(product, at, attempt, known, detail)
    return Event(product, at, attempt, Reason.unknown, f"{reason}: {detail}" if detail else reason)
