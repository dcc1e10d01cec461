"""Windows of Flink SQL over the same records live and replayed, in a JVM of their own, and what they should come to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from local.connector_jar import joined

LATENESS = timedelta(hours=1)
LAGS = tuple(timedelta(minutes=m) for m in (0, 13, 60, 37, 5))
"""How long after they happened records are appended: in turns, up to the whole allowed lateness."""
PACE = timedelta(minutes=23)
BETWEEN_CHECKPOINTS = 7
"""Records of a live run: windows end both right after a checkpoint and long after one."""

Rows = set[tuple[str, datetime, datetime, str, int, int]]
"""window, start, end, key, count, sum"""


@dataclass(frozen=True)
class Window:
    """A window on local time, in minutes."""

    kind: str
    size: int
    step: int
    """How far a hopping window is from the next, or by how much a cumulating one grows."""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.size}:{self.step}:{self.offset}"

    def of(self, local: pd.Timestamp) -> Iterable[tuple[pd.Timestamp, pd.Timestamp]]:
        """(start, end) of the windows that a local time is in."""
        size, step, offset = (pd.Timedelta(minutes=m) for m in (self.size, self.step, self.offset))
        in_step = (local - offset).floor(step) + offset
        if self.kind == "HOP":
            return [
                (in_step - step * n, in_step - step * n + size)
                for n in range(self.size // self.step)
            ]
        start = (local - offset).floor(size) + offset
        if self.kind == "CUMULATE":
            return [
                (start, end)
                for n in range(self.size // self.step)
                if (end := start + step * (n + 1)) > local
            ]
        return [(start, start + size)]


HOUR, DAY = 60, 1440
WINDOWS = (
    Window("TUMBLE", 30, 30),
    Window("TUMBLE", HOUR, HOUR),
    Window("TUMBLE", DAY, DAY),
    Window("TUMBLE", HOUR, HOUR, 15),
    Window("TUMBLE", DAY, DAY, 5 * HOUR),
    Window("TUMBLE", DAY, DAY, -3 * HOUR),
    Window("HOP", 3 * HOUR, HOUR),
    Window("HOP", 2 * DAY, DAY),
    Window("HOP", 90, 30, 10),
    Window("CUMULATE", DAY, HOUR),
    Window("CUMULATE", 7 * DAY, DAY),
    Window("CUMULATE", DAY, 6 * HOUR, 2 * HOUR),
    Window("GROUP_TUMBLE", HOUR, HOUR),
    Window("GROUP_TUMBLE", DAY, DAY),
)
BEHIND = {"ONCE": Window("TUMBLE", HOUR, HOUR), "DAYS": Window("TUMBLE", DAY, DAY)}
"""Windows behind a window of an hour: of what it keeps once, and of its sums."""


def changes(zone: str) -> list[datetime]:
    """When a zone's offset changed, 2011 to 2024."""
    tz, found = ZoneInfo(zone), []
    hours = [datetime(2011, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(14 * 8766)]
    for before, after in pairwise(hours):
        if before.astimezone(tz).utcoffset() != after.astimezone(tz).utcoffset():
            found.append(after)
    return found


@cache
def records(zone: str) -> tuple[tuple[datetime, datetime], ...]:
    """(happened, appended) of records around an ordinary day and four of a zone's changes: greatest, first, last."""
    tz = ZoneInfo(zone)

    def step(at: datetime) -> timedelta:
        offsets = [
            t.astimezone(tz).utcoffset() or timedelta() for t in (at - timedelta(hours=1), at)
        ]
        return offsets[1] - offsets[0]

    known = changes(zone)
    kinds = [
        [at for at in known if step(at) > timedelta()],
        [at for at in known if step(at) < timedelta()],
    ]
    chosen = {
        at
        for kind in kinds
        if kind
        for at in (max(kind, key=lambda t: abs(step(t))), kind[0], kind[-1])
    }
    middles = [*sorted(chosen)[-4:], datetime(2024, 12, 11, 3, tzinfo=UTC)]
    found = []
    for middle in middles:
        first = middle - timedelta(hours=26)
        for n in range(int(timedelta(hours=50) / PACE)):
            appended = first + n * PACE
            found.append((appended - LAGS[n % len(LAGS)], appended))
    return tuple(found)


@cache
def expected(zone: str) -> Rows:
    """What the windows hold, by the zone's wall clock."""
    happened = (
        pd.DatetimeIndex([h for h, _ in records(zone)]).tz_convert(ZoneInfo(zone)).tz_localize(None)
    )
    rows = [
        (name, start, end, "ab"[n % 2], n)
        for n, local in enumerate(happened)
        for name, window in (*((str(w), w) for w in WINDOWS), *BEHIND.items())
        for start, end in window.of(local)
    ]
    frame = pd.DataFrame(rows, columns=["window", "start", "end", "key", "n"])
    sums = frame.groupby(["window", "start", "end", "key"])["n"].agg(["count", "sum"]).reset_index()
    hours = frame[frame.window == "TUMBLE:60:60:0"].groupby(["start", "key"]).size().reset_index()
    # DAYS counts hours, and sums what they hold
    days = hours.groupby([hours.start.dt.floor("D"), "key"]).size()
    return {
        (
            w,
            s.to_pydatetime(),
            e.to_pydatetime(),
            k,
            int(days[s, k]) if w == "DAYS" else int(c),
            int(total),
        )
        for w, s, e, k, c, total in sums.itertuples(index=False)
    }


@dataclass(frozen=True)
class Run:
    """One job over the records of one zone."""

    zone: str
    live: bool
    """With a checkpoint every few records; else all at once, as a replay reads them."""
    phase: str = "TWO_PHASE"

    @property
    def name(self) -> str:
        return f"{self.zone} {'live' if self.live else 'replayed'} {self.phase}"

    def line(self) -> str:
        """As WindowRuns.java takes it."""

        def ms(at: datetime) -> int:
            return int(at.timestamp() * 1000)

        # A record late by exactly the allowed lateness is not behind the watermark: as the source has it.
        events = ",".join(
            f"{ms(happened)}:{ms(appended - LATENESS) - 1}"
            for happened, appended in records(self.zone)
        )
        windows = ",".join([*map(str, WINDOWS), *BEHIND])
        return "\t".join(
            (
                self.name,
                self.zone,
                self.phase,
                str(BETWEEN_CHECKPOINTS if self.live else 0),
                windows,
                events,
            )
        )


def run(java: Path, classpath: Sequence[Path], runs: Sequence[Run]) -> dict[Run, Rows]:
    """All runs, one after the other in one JVM."""
    lines = "".join(f"{r.line()}\n" for r in runs)
    done = subprocess.run(
        [
            java,
            "-Xmx1g",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            joined(classpath),
            "kappa.flink.WindowRuns",
        ],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Rows] = {r.name: set() for r in runs}
    for line in done.stdout.splitlines():
        name, window, start, end, key, count, total = line.split("\t")
        found[name].add(
            (
                window,
                datetime.fromisoformat(start),
                datetime.fromisoformat(end),
                key,
                int(count),
                int(total),
            )
        )
    return {r: found[r.name] for r in runs}
