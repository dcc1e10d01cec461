"""What `kappa status` says of the products: it looks, asks what the controller would do, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from replay.controller.decide import decide
from replay.controller.observe import observe
from replay.controller.platform import Platform
from replay.controller.publish_rules import moved_by_somebody
from replay.controller.status import AttemptStatus, Inspection, ProductStatus, status
from replay.core.model import CANDIDATE, Attempt, ProductState, short_commit
from replay.core.observed import FlinkDownError
from replay.core.steps import Blocked
from replay.errors import ConfigError, KappaError
from replay.home import kappa_home
from replay.iceberg import lake
from replay.offsets import Offsets
from replay.output import View, wrapped
from replay.settings import load_settings
from replay.store.store import Store
from replay.values import duration

NOT_AT_ONCE = "a switch is not atomic for readers: docs/production.md#reading-several-tables"


class Look:
    """Looks at one product, or at all; connections are kept from one look to the next."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._opened: tuple[Platform, Store] | None = None

    def __call__(self) -> View:
        """How they stand now; nothing before the first `kappa up`."""
        if self._opened is None:
            if not self._name and not (kappa_home() / "config.yaml").exists():
                return View([], Group(), {})
            settings = load_settings()
            self._opened = Platform(settings), Store(settings.store)
        platform, store = self._opened
        if self._name and self._name not in store.products():
            raise ConfigError(
                f"there is no product '{self._name}' yet",
                expected=", ".join(store.products()) or "a product that was deployed",
                found=self._name,
                next=f"kappa deploy {self._name}",
            )
        return view(
            [
                look(platform, store, product)
                for product in ([self._name] if self._name else store.products())
            ]
        )


def look(platform: Platform, store: Store, product: str) -> ProductStatus:
    """One product. When the platform does not answer, what is remembered, and why."""
    state = store.load(product)
    events, now = tuple(store.events(product)), store.now()
    try:
        sight = _sight(platform, state, now)
        if isinstance(sight.step, Blocked) and store.load(product) != state:
            # the controller moved main meanwhile
            return look(platform, store, product)
        return status(state, events, sight, now, at_once=_at_once(platform))
    except KappaError as e:
        # else it may be what does not answer
        at_once = _at_once(platform) if isinstance(e, FlinkDownError) else None
        return status(state, events, None, now, f"{e.message}: this is what is remembered", at_once)


def _sight(platform: Platform, state: ProductState, now: float) -> Inspection:
    if state.live:
        _knock(platform, state.live)
    seen = observe(platform, state, now)
    read = {a.name: _read(platform, a) for a in state.live if a.state in CANDIDATE and a.confirmed}
    # A person wants to know at once, also while attempts have more to do.
    moved = moved_by_somebody(state, seen) if state.live and not state.unfinished else None
    unreadable = (
        platform.open_transactions(platform.product(state.live[-1], state)) if state.live else {}
    )
    return Inspection(seen, moved or decide(state, seen, now), read, unreadable)


def _at_once(platform: Platform) -> bool | None:
    try:
        return lake.reads_at_once(platform.catalog)
    except KappaError:
        return None


def _knock(platform: Platform, attempts: tuple[Attempt, ...]) -> None:
    """FlinkDownError when no cluster answers: Kafka then most likely does not answer either, after a long wait."""
    error: FlinkDownError | None = None
    for attempt in attempts:
        try:
            platform.job(attempt)
            return
        except FlinkDownError as e:
            error = e
    if error:
        raise error


def _read(platform: Platform, attempt: Attempt) -> Offsets:
    try:
        return platform.read_positions(attempt)
    except FlinkDownError:
        return {}


def view(products: list[ProductStatus]) -> View:
    """For programs, for people, and in lines."""
    lines = {f"{p.product} {key}": text for p in products for key, text in _lines(p)}
    return View([asdict(p) for p in products], Group(*_blocks(products)), lines)


def _blocks(products: list[ProductStatus]) -> Iterator[RenderableType]:
    for p in products:
        if p is not products[0]:
            yield Text("")
        yield _block(p)


def _block(p: ProductStatus) -> RenderableType:
    """A product, indented under its name."""
    parts: list[RenderableType] = [Text(p.product, style="bold")]
    parts += [_indented(2, text) for text in _readers(p)]
    if verified := _verified(p):
        parts.append(_indented(2, verified, style="bold red" if _differs(p) else "dim"))
    for a in p.attempts:
        head, *details = _attempt(a)
        parts.append(Padding(_coloured(head, a), (0, 0, 0, 2), expand=False))
        bad = {a.error, last_exception(a)}
        parts += [_indented(9, text, style="red" if text in bad else "dim") for text in details]
    parts += [_indented(2, f"{e.attempt}  {e.state}: {e.error}", style="red") for e in p.ended]
    if p.blocked:
        parts.append(_indented(2, f"stopped: {p.blocked['message']}", style="bold red"))
        parts += [_indented(4, f"{key}: {p.blocked[key]}") for key in ("expected", "found", "next")]
    if p.waits:
        parts.append(_indented(2, p.waits, style="yellow" if p.odd else "dim"))
    if p.open_transactions:
        parts.append(_indented(2, _open(p), style="dim"))
    if p.at_once is False:
        parts.append(_indented(2, NOT_AT_ONCE, style="dim"))
    if p.trouble:
        parts.append(_indented(2, p.trouble, style="yellow"))
    return Group(*parts)


def _open(p: ProductStatus) -> str:
    of = ", ".join(f"{n:,} offsets of {partition}" for partition, n in p.open_transactions.items())
    return f"not readable before open transactions end: {of}"


def _indented(by: int, text: str, style: str = "") -> Padding:
    return Padding(wrapped(text, style), (0, 0, 0, by), expand=False)


COLOURS = {
    "active": "green",
    "built": "cyan",
    "replaying": "cyan",
    "caught_up": "cyan",
    "audited": "cyan",
    "shadow": "cyan",
    "standby": "blue",
    "stopping": "yellow",
}
"""Of roles, which the attempt's line has in its second column."""


def _coloured(head: str, a: AttemptStatus) -> Text:
    """An attempt's line: its role in a colour, restarts so that they are seen."""
    text = wrapped(head, "bold" if a.role == "active" else "")
    text.highlight_words([f" {a.role} "], style=COLOURS.get(a.role, ""))
    if a.restarts:
        text.highlight_words([f"restarts {a.restarts}"], style="yellow")
    return text


def _readers(p: ProductStatus) -> Iterator[str]:
    r = p.readers
    if r is None:
        yield "readers see nothing yet"
        return
    commit = f", git {short_commit(r.git_commit)}" if r.git_commit else ""
    yield f"readers see {r.attempt} (release {r.fingerprint[:12]}{commit}), checkpoint {r.checkpoint}"
    yield f"{r.covered:,} records, {lag(r.lag_records, r.lag_seconds)}" + (
        f"; last {r.change} {r.changed}" if r.changed else ""
    )
    yield from (f"{output} is topic {topic}" for output, topic in r.topics.items())


def _verified(p: ProductStatus) -> str:
    """What the last verification found, and when the next is due."""
    v = p.verification
    if v is None:
        return ""
    due = f"next verification from {v.due} on" if v.due else ""
    if not v.attempt:
        return f"not verified yet; {due}"
    found = {True: "verified", False: "DIFFERS", None: "nothing to verify yet"}[v.equal]
    return f"{found} {v.at} by {v.attempt}: {v.detail}" + (f"; {due}" if due else "")


def _differs(p: ProductStatus) -> bool:
    """A replay of the release that readers see gave other rows."""
    return p.verification is not None and p.verification.equal is False and p.verification.ours


def _attempt(a: AttemptStatus) -> Iterator[str]:
    """First what matters, then details."""
    yield (
        f"{a.attempt:<7}{a.role:<10}checkpoint {a.checkpoint or '-'}  {lag(a.lag_records, a.lag_seconds)}  "
        f"restarts {a.restarts}"
    )
    if a.last_exception:
        yield last_exception(a)
    where = "the session cluster" if a.cluster == "session" else "a cluster of its own"
    yield f"job {a.job[:8]} {a.job_status}, parallelism {a.parallelism}, on {where}"
    if progress := _progress(a):
        yield progress
    if checks := _checks(a):
        yield checks
    if a.foreign_offsets:
        yield a.foreign_offsets
    if a.error:
        yield a.error


def last_exception(a: AttemptStatus) -> str:
    """Why the job was restarted, or is not running."""
    at = f" ({a.last_exception_at})" if a.last_exception_at else ""
    return f"last exception{at}: {a.last_exception}"


def _progress(a: AttemptStatus) -> str:
    p = a.progress
    if p is None:
        return ""
    percent = f"{100 * p.read // p.total} % of " if p.total else ""
    rate = f", {p.rate:,.0f}/s" if p.rate and p.rate > 0 else ""
    eta = f", {duration(p.eta_seconds)} left" if rate and p.eta_seconds and p.read < p.total else ""
    near = (
        f", within limits {p.near} of {p.near_needed} times"
        if p.near and p.near < p.near_needed
        else ""
    )
    return f"{percent}{p.total:,} records read{rate}{eta}{near}"


def _checks(a: AttemptStatus) -> str:
    if not a.checks:
        return ""
    bad = [
        f"{c.name}: {c.message or c.offending}{'' if c.blocking else ' (a warning)'}"
        for c in a.checks
        if c.offending
    ]
    passed = len(a.checks) - len(bad)
    at = f" on checkpoint {a.audited_checkpoint}" if a.audited_checkpoint else ""
    return f"checks{at}: {passed} passed" + (f"; {'; '.join(bad)}" if bad else "")


def lag(records: int | None, seconds: float | None) -> str:
    """How far behind, for people."""
    if records is None:
        return "lag unknown"
    if not records:
        return "no lag"
    return f"lag {records:,}" + (f" ({duration(seconds)})" if seconds is not None else "")


def _of_attempt(a: AttemptStatus) -> Iterator[tuple[str, str]]:
    lag_now = lag(a.lag_records, None)
    yield "", f"{a.role} checkpoint {a.checkpoint or '-'} {lag_now} restarts {a.restarts}"
    told = (
        ("progress", a.progress and _progress(a)),
        ("exception", a.last_exception and last_exception(a)),
        ("error", a.error),
        ("offsets", a.foreign_offsets),
    )
    yield from ((about, said) for about, said in told if said)


def _lines(p: ProductStatus) -> Iterator[tuple[str, str]]:
    """What a log of the status says, by what it is about: nothing that changes with every look."""
    r = p.readers
    yield (
        "readers",
        f"{p.product}: "
        + (
            f"readers see {r.attempt} (release {r.fingerprint[:12]})"
            if r
            else "readers see nothing yet"
        ),
    )
    for a in p.attempts:
        for about, said in _of_attempt(a):
            yield f"{a.attempt} {about}".strip(), f"{p.product}: {a.attempt} {said}"
    for e in p.ended:
        yield e.attempt, f"{p.product}: {e.attempt} {e.state}: {e.error}"
    if _differs(p):
        yield "verified", f"{p.product}: {_verified(p)}"
    if p.blocked:
        yield "blocked", f"{p.product}: stopped: {p.blocked['message']}; next: {p.blocked['next']}"
    if p.open_transactions:
        yield "transactions", f"{p.product}: {_open(p)}"
    if p.at_once is False:
        yield "catalog", f"{p.product}: {NOT_AT_ONCE}"
    if p.odd:
        yield "waits", f"{p.product}: {p.waits}"
    if p.trouble:
        yield "trouble", f"{p.product}: {p.trouble}"
