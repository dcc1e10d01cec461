"""docs/safety.md, from the rules themselves: `python -m tests.safety_doc > docs/safety.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobs.safety import functions
from jobs.safety.flink_settings import SETTINGS
from jobs.safety.operators import SAFE_OPERATORS
from tests.safety_examples import EXAMPLES, ORDERS, Changed

DOC = Path(__file__).parents[1] / "docs" / "safety.md"
_INTRODUCTION = """# What the safety check allows

A replay fixes a bug only if it gives the rows that the live job would have given. So `kappa check` does not look at
the text of a product's SQL, but at what Flink makes of it: the statements that Flink's parser reads, and the operators
and function calls of its compiled plan. What is listed here is allowed. Everything else is refused, with file, line,
and what to write instead. The job then runs the same plan that was checked: a release archives it.

Everything that is allowed has three properties:

1. **The same rows in every run**, live or replayed, at any parallelism, whatever order partitions are read in.
2. **Bounded state**: what a job keeps is bounded by time on the log's clock, or by the number of keys.
3. **No value of a record fails the job**, because the job would fail again at each restart, for ever.

This page is written by `python -m tests.safety_doc`, and every example on it is run through Flink's planner by a
test.
"""
_ORDER = """## Order

Rows of one partition come in the order of the log, in every run; rows of several partitions do not. Where an order
matters, SQL states it in full: `ORDER BY <time>, log_partition, log_offset` (after a `UNION ALL` also `log_topic`) in
a window Top-N and in `MATCH_RECOGNIZE`.

Flink orders an `OVER` by time alone. `OVER (… RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW)` takes all rows of
the same time together, so their order does not matter. `ROWS …`, `LAG` and `ROW_NUMBER` need an order of these rows:

- `keyed_by: [shop]` of a topic says that its producers choose the partition by `shop`, so that all records of a shop
  are in one partition. `PARTITION BY` must then have these columns, unchanged. Rows of the same time come in the order
  of the log, and `LAG` counts single rows. (kappa changes the plan for that: Flink's own plan gives one predecessor to
  all rows of the same time.) No earlier operator may distribute rows by another key: no `once: topic`, join, window or
  UNION. `kappa audit` reads the log and names every key that is in two partitions (`keys_astray`).
- After a window, every group has one row for each time: `LAG(n) OVER (PARTITION BY <groups> ORDER BY window_time)`.

## Joins

- **Window join**: both sides in the same window, `l.window_start = r.window_start AND l.window_end = r.window_end`; its
  state is that of the window.
- **Interval join**: `l.t BETWEEN r.t - INTERVAL … AND r.t + INTERVAL …`, over the topics' times; each side is kept
  until the clock of the other side has passed the interval.
- **Versions**: `LEFT JOIN LATERAL TABLE(T_at(<event time>, <key>)) AS t ON TRUE`, or an event-time temporal join
  `FOR SYSTEM_TIME AS OF <event time>`.

A reference with a `time` of its own is only looked up by `T_at`, which waits for all of its versions. Everything else
waits for the log's clock, and for that no version of a reference is too late.

A join may give several rows for one record, so its place in the log no longer identifies a row.

## Sessions

A session includes a row exactly at its last row's time plus the gap, in every run: the job's watermark stays two
milliseconds below the allowed lateness. Rows that a preceding operator has held until the log's clock passed them (a
window, OVER, a join by time, `once: topic`) may come a millisecond too late for that, so sessions of such rows are
refused. The session of a busy key may never end; its state is a single value. `kappa diff` and `kappa verify` compare
sessions whose table shows `window_end`.

## Values that are allowed and may surprise

These are the same in every run, and no record fails on them. But the value may not be the one that you mean:

- Integers wrap around. `CAST` and `TRY_CAST` of a number to a narrower integer do (`TRY_CAST(3000000000 AS INT)` is
  -1294967296), and so do `+`, `-` and `*`, `SUM` and `AVG` of BIGINT beyond 9.2e18, and `TIMESTAMPDIFF(SECOND, …)`
  over more than 68 years.
- The quotient of two integers is cut. `AVG`, `STDDEV_POP`, `VAR_POP` and their kin of integers are integers.
- NaN as an integer is 0. A DOUBLE that is too large for an integer becomes the largest one.
- `TO_TIMESTAMP('2024-02-30')` and `TRY_CAST('2024-02-30' AS TIMESTAMP(3))` are 2024-02-29; `TO_DATE` gives NULL.
- `UNIX_TIMESTAMP(x)` of a text that is no time is -9223372036854775808.
  `EXTRACT(EPOCH FROM CAST(TO_TIMESTAMP(x) AS TIMESTAMP_LTZ(3)))` gives NULL.
- `MAX` and `MIN` of DOUBLE take -0.0 and 0.0 for equal and give one of them; so do `kappa diff` and `kappa verify`.
"""


def text() -> str:
    """The whole page."""
    return "\n".join(_parts()).rstrip() + "\n"


def _parts() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Operators\n"
    yield "By the names of Flink's compiled plan:\n"
    yield _list(SAFE_OPERATORS) + "\n"
    yield _ORDER
    yield "## Functions\n"
    yield _list(functions.SCALAR) + "\n"
    yield "Aggregates of exact numbers:\n"
    yield _list(functions.AGGREGATES) + "\n"
    yield "In `MATCH_RECOGNIZE`, in addition to the first list:\n"
    yield _list(functions.OF_PATTERNS) + "\n"
    yield "Python functions of `udfs/` are tried at each check: see [Python functions](sql.md#python-functions).\n"
    yield "## Settings\n"
    yield "`flink` of product.yaml may have these settings, because no row depends on them:\n"
    yield "| Setting | Values | What it decides |\n|---|---|---|"
    yield from (f"| `{key}` | `{_cell(s.values)}` | {s.why} |" for key, s in SETTINGS.items())
    yield "\n## Refused, and corrected\n"
    yield "The product is `tests/products/orders`."
    for example in EXAMPLES:
        yield f"\n### {example.title}\n\nWhy: {example.why}.\n"
        yield _shown(example.refused)
        yield f"\n> {example.construct}\n>\n> write instead: {example.instead}"
        if example.corrected is not None:
            yield f"\n{_shown(example.corrected)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(changed: Changed) -> str:
    """The files of an example: SQL, and the line of product.yaml that is another."""
    shown = []
    for name, (old, new) in changed.texts.items():
        [line] = [each for each in (ORDERS / name).read_text().splitlines() if old in each]
        shown.append(f"```yaml\n{line.replace(old, new).strip()}\n```")
    shown += [f"```sql\n{sql}\n```" for sql in changed.files.values()]
    return "\n".join(shown)


if __name__ == "__main__":
    sys.stdout.write(text())
