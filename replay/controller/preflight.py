"""What must hold before a deploy records anything. Each refusal says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jobs.product.folder import Product
from replay.checks import gate
from replay.controller.review import ReplayEstimate, ReviewedPlatform, disks, review, shown
from replay.core import partitions
from replay.core.model import Attempt, ProductState
from replay.errors import RefusedError
from replay.flink.rest import Slots
from replay.iceberg import lake
from replay.kafka import clients, output_topics, schemas
from replay.releases import folders
from replay.releases.plan import Change
from replay.releases.reason import Kind
from replay.releases.release import release_folder
from replay.settings import Settings
from replay.store.store import Store


def preflight(
    settings: Settings, platform: ReviewedPlatform, product: Product, state: ProductState
) -> None:
    """RefusedError for what would make a replay worthless or impossible, ConfigError for a check that cannot run.

    A candidate that is under way has its disk already: it may be followed.
    """
    gate.validate(product)
    refuse_another_log(platform, state)
    refuse_kept_tables(platform, product, state)
    reviewed = review(settings, platform, product, state)
    refuse_breaking(product.name, reviewed.change)
    if reviewed.change.kind is Kind.replay and state.candidate is None:
        refuse_small_disk(product.name, reviewed.needs)


def preflight_log(settings: Settings, product: Product) -> None:
    """RefusedError when the log is not whole, RetryableError when the broker or the registry is down.

    ConfigError when a job could not log in to the broker.
    """
    clients.kafka_of_job(settings)
    if problems := schemas.log_problems(settings, product):
        first = problems[0]
        others = "".join(f"\n    {p}" for p in problems[1:])
        raise RefusedError(
            f"the log of {product.name} is not whole: topic {first.topic}",
            expected=first.expected,
            found=f"{first.found}{others}",
            next=first.next,
        )


def refuse_another_log(platform: ReviewedPlatform, state: ProductState) -> None:
    """RefusedError when the log is not the one that readers' rows are of: a replay would take these from them."""
    now = shown(state)
    if now and (changes := platform.log_changes(now.attempt)):
        raise RefusedError(
            f"the log is not the one that {now.attempt.full_name} has read, which readers see",
            expected="the topics, and the records in them, that its rows are of",
            found="; ".join(changes),
            next="bring the topic back, its id with it, from a backup of the broker; or, to start over "
            f"with the log as it is: kappa remove {state.product}, which drops its tables, then "
            f"kappa deploy {state.product}",
        )


def refuse_shared_topics(settings: Settings, store: Store, product: Product) -> None:
    """RefusedError when a topic that this product's job writes, or another's, would be of both."""
    mine = output_topics.named(product.settings)
    for name in store.products():
        if name != product.name:
            output_topics.refuse_shared(
                mine, _topics_of(settings, store.load(name), bool(mine.written))
            )


def _topics_of(settings: Settings, state: ProductState, reads: bool) -> output_topics.Named:
    """Topics of what is left of another product's attempts; those that it reads only if asked."""
    kept = [a for a in state.attempts if not a.cleaned]
    written = {t.removesuffix(f".{a.name}") for a in kept for t in a.topics.values()}
    read: set[str] = set()
    for number in {a.release for a in kept} if reads else ():
        fingerprint = state.release(number).fingerprint
        folder = release_folder(settings, state.product, fingerprint)
        read |= folders.read_archived(folder, fingerprint).topics.keys()
    return output_topics.Named(state.product, frozenset(read), frozenset(written))


def advice(platform: ReviewedPlatform, product: Product, state: ProductState) -> list[str]:
    """What is no reason to refuse a replay, and should be known of its log."""
    doubts: Iterable[str] = ()
    if now := shown(state):
        doubts = partitions.in_doubt(
            now.attempt.log, platform.ends(product), partitions.together(product)
        )
    return [*platform.log_advice(product), *doubts]


def refuse_kept_tables(platform: ReviewedPlatform, product: Product, state: ProductState) -> None:
    """RefusedError when readers see tables of this name that no attempt here has published."""
    if state.published is not None or state.unfinished is not None:
        return
    main, is_genesis = platform.main(product)
    if not is_genesis:
        raise RefusedError(
            f"tables of an earlier {product.name} are there, with rows",
            expected="no tables, or empty ones, as nothing was published yet",
            found=", ".join(sorted(main)),
            next=f"kappa remove {product.name}, which drops them; or another name in product.yaml",
        )


def refuse_breaking(name: str, change: Change) -> None:
    """RefusedError for a change after which readers of the tables could not go on."""
    if change.kind is not Kind.breaking:
        return
    broken = [r for r in change.reasons if r.kind is Kind.breaking]
    raise RefusedError(
        f"readers of {name} could not follow this change",
        expected="new outputs, new columns, wider types, other rows in the same tables",
        found="\n            ".join(f"{r.where}: {r.what}" for r in broken),
        next="\n            ".join(dict.fromkeys(r.instead for r in broken)),
    )


class ReplayPlatform(ReviewedPlatform, Protocol):
    """What says whether there is room for a replay."""

    def slots(self) -> Slots: ...


def refuse_replay(
    settings: Settings,
    platform: ReplayPlatform,
    product: Product,
    shadow: Attempt,
    state: ProductState,
) -> None:
    """RefusedError when there is no room to replay what readers see, or the log is not whole."""
    slots = platform.slots()  # the cheapest question first: is the stack up?
    if not shadow.cluster and slots.free < shadow.parallelism:
        raise RefusedError(
            "Flink has too few free task slots",
            expected=f"{shadow.parallelism} free slots",
            found=f"{slots.free} free of {slots.total}",
            next=f"kappa verify {product.name} --parallelism {slots.free}"
            if slots.free
            else "kappa status",
        )
    preflight_log(settings, product)
    refuse_another_log(platform, state)
    tables = lake.current_metadata(platform.catalog, product)
    refuse_small_disk(product.name, ReplayEstimate(0, None, disks(settings, tables, state)))


def refuse_small_disk(name: str, needs: ReplayEstimate) -> None:
    """RefusedError when a replay would fill a disk: Kafka and every job would stop with it."""
    for disk in needs.disks:
        if disk.free < disk.needed:
            raise RefusedError(
                f"the disk is too small to replay {name}",
                expected=f"{size(disk.needed)} free for {disk.path}, by what readers' tables and the "
                "checkpoints of their job take",
                found=size(disk.free),
                next=f"free some space; a release on standby gives up its own: kappa retire {name}",
            )


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
