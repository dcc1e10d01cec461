"""Partitions that a topic has gained since an attempt began to read it. Pure.

Its job finds them within seconds and reads them from their offset zero, and so does a replay. But producers that choose
a partition by a key's hash choose among more of them now: the records of a key are in two partitions, and no order says
which of them comes first. What product.yaml says of a topic may rest on that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from jobs.product.folder import Product
from replay.core.log_identity import Identity, Topic
from replay.offsets import Offsets


def together(product: Product) -> dict[str, str]:
    """Topic → what product.yaml says of it that holds only while a key's records are in one partition."""
    found = {}
    for name, topic in product.topics.items():
        said = [f"keyed_by: [{', '.join(topic.keyed_by)}]"] if topic.keyed_by else []
        said += (
            [f"identity: [{', '.join(topic.identity)}] with once: partition"]
            if topic.held_by_source
            else []
        )
        if said:
            found[name] = " and ".join(said)
    return found


def grown(known: Identity, ends: Offsets) -> dict[str, int]:
    """Topic → its partitions now, where a person has not been informed of so many."""
    return {
        topic: len(ends[topic])
        for topic, was in known.items()
        if topic in ends and was.told is not None and len(ends[topic]) > was.told
    }


def with_told(known: Identity, counts: Mapping[str, int]) -> dict[str, Topic]:
    """Records that a person was informed of so many."""
    return {topic: replace(was, told=counts.get(topic, was.told)) for topic, was in known.items()}


def news(known: Identity, ends: Offsets, rests: Mapping[str, str]) -> str:
    """Topics that gained partitions without a person having been informed; empty: none."""
    return "; ".join(
        _grew(topic, known[topic].partitions, count) + _then(topic, rests)
        for topic, count in grown(known, ends).items()
    )


def in_doubt(known: Identity, ends: Offsets, rests: Mapping[str, str]) -> Iterator[str]:
    """What product.yaml says of a topic and may not hold any more, as long as the attempt is of before."""
    for topic, was in known.items():
        count = len(ends.get(topic, ()))
        if was.partitions is not None and count > was.partitions and topic in rests:
            yield _grew(topic, was.partitions, count) + _then(topic, rests)


def _grew(topic: str, before: int | None, now: int) -> str:
    return f"topic {topic} has {now} partitions and had {before} when the job began to read it"


def _then(topic: str, rests: Mapping[str, str]) -> str:
    if topic not in rests:
        return ": new ones are read from their offset zero"
    return (
        f": where producers choose the partition by a key's hash, its records are in two now, and {rests[topic]} "
        "in product.yaml does not hold; kappa audit counts the keys and the repeated events"
    )
