"""How an output's files are laid out: `partition` and `sort` of product.yaml, read strictly.

partition: [day(hour), shop, bucket(16, id), truncate(4, code)]       sort: [shop, hour desc]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from jobs.product.column_types import Atomic, parse, quoted

_TIMES = ("year", "month", "day", "hour")
_MOST_BUCKETS = 1024
"""A writer has a file open for each partition that a checkpoint touches."""


class LayoutError(ValueError):
    """An entry is wrong: which one, what was expected, what was found."""

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"{field}: expected {expected}, found {found}")
        self.field, self.expected, self.found = field, expected, found


@dataclass(frozen=True)
class Partition:
    """One field of a table's partition spec, with Iceberg's name of its transform."""

    column: str
    transform: str
    """identity, year, month, day, hour, bucket or truncate"""
    width: int = 0
    """Number of buckets, or length of what is kept."""

    @property
    def name(self) -> str:
        """The field's name, as Iceberg's own engines would call it."""
        match self.transform:
            case "identity":
                return self.column
            case "bucket":
                return f"{self.column}_bucket_{self.width}"
            case "truncate":
                return f"{self.column}_trunc_{self.width}"
        return f"{self.column}_{self.transform}"

    @property
    def iceberg(self) -> str:
        """The transform as table metadata has it."""
        return f"{self.transform}[{self.width}]" if self.width else self.transform

    def __str__(self) -> str:
        if self.transform == "identity":
            return self.column
        width = f"{self.width}, " if self.width else ""
        return f"{self.transform}({width}{self.column})"


@dataclass(frozen=True)
class Sort:
    """One column of a table's sort order."""

    column: str
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.column} desc" if self.descending else self.column


@dataclass(frozen=True)
class Layout:
    """Partition spec and sort order of one table."""

    partition: tuple[Partition, ...] = ()
    sort: tuple[Sort, ...] = ()


def layout(partition: Sequence[str], sort: Sequence[str], columns: Mapping[str, str]) -> Layout:
    """The layout of a table with these columns (name → Flink SQL type); LayoutError names the entry that is wrong."""
    fields = tuple(_partition(f"partition[{i}]", text, columns) for i, text in enumerate(partition))
    for i, field in enumerate(fields):
        _check_beside(f"partition[{i}]", field, fields[:i], columns)
    order = tuple(_sort(f"sort[{i}]", text, columns) for i, text in enumerate(sort))
    for i, key in enumerate(order):
        if key.column in (k.column for k in order[:i]):
            raise LayoutError(f"sort[{i}]", "each column once", f"{key.column} again")
    return Layout(fields, order)


_NAME = r"(?:`(?P<quoted>[^`]+)`|(?P<name>[^\W\d]\w*))"
_IDENTITY = re.compile(rf"^{_NAME}$")
_CALL = re.compile(rf"^(?P<transform>\w+)\(\s*(?:(?P<width>\d+)\s*,\s*)?{_NAME}\s*\)$")
_KEY = re.compile(rf"^{_NAME}(?:\s+(?P<direction>asc|desc))?$", re.IGNORECASE)
_FORMS = "COLUMN, year(COLUMN), month(…), day(…), hour(…), bucket(N, COLUMN) or truncate(N, COLUMN)"


def _partition(where: str, text: str, columns: Mapping[str, str]) -> Partition:
    match = _IDENTITY.match(text.strip()) or _CALL.match(text.strip())
    if match is None:
        raise LayoutError(where, _FORMS, text)
    groups = match.groupdict()
    transform = (groups.get("transform") or "identity").lower()
    if transform not in ("identity", "bucket", "truncate", *_TIMES):
        raise LayoutError(where, _FORMS, text)
    column = _column(where, match, columns)
    width = int(groups.get("width") or 0)
    if transform in ("bucket", "truncate") and not width:
        raise LayoutError(where, f"{transform}(N, {column}) with N of at least 1", text)
    if transform == "bucket" and width > _MOST_BUCKETS:
        raise LayoutError(where, f"at most {_MOST_BUCKETS:,} buckets", text)
    if width and transform not in ("bucket", "truncate"):
        raise LayoutError(where, f"{transform}({column})", text)
    _check_type(where, transform, column, columns[column])
    return Partition(column, transform, width)


def _check_type(where: str, transform: str, column: str, flink_type: str) -> None:
    found = parse(flink_type)
    name = found.name if isinstance(found, Atomic) else str(found).partition("<")[0]
    wrong = LayoutError(
        where, _EXPECTED[transform].format(column=quoted(column)), f"{column} {flink_type}"
    )
    if not isinstance(found, Atomic) or name not in _TAKES[transform]:
        raise wrong


_INSTANTS = {"TIMESTAMP", "TIMESTAMP_LTZ"}
_WHOLE = {"TINYINT", "SMALLINT", "INT", "BIGINT"}
_TEXTS = {"STRING", "CHAR", "VARCHAR", "BYTES", "BINARY", "VARBINARY"}
_TAKES = {
    "identity": {*_WHOLE, *_TEXTS, "BOOLEAN", "DATE", "TIME", "DECIMAL"},
    "bucket": {*_WHOLE, *_TEXTS, *_INSTANTS, "DATE", "TIME", "DECIMAL"},
    "truncate": {*_WHOLE, *_TEXTS, "DECIMAL"},
    "hour": _INSTANTS,
    **{transform: {*_INSTANTS, "DATE"} for transform in ("year", "month", "day")},
}
# A partition per point in time, or per floating-point number, would be a file per row.
_EXPECTED = {
    "identity": "a column of whole or decimal numbers, text, bytes, BOOLEAN, DATE or TIME; "
    "of a TIMESTAMP day({column}) or hour({column})",
    "bucket": "a column of whole or decimal numbers, text, bytes, DATE, TIME or TIMESTAMP",
    "truncate": "a column of whole or decimal numbers, text or bytes",
    "hour": "a TIMESTAMP or TIMESTAMP_LTZ",
    **dict.fromkeys(("year", "month", "day"), "a DATE, TIMESTAMP or TIMESTAMP_LTZ"),
}


def _check_beside(
    where: str, field: Partition, before: Sequence[Partition], columns: Mapping[str, str]
) -> None:
    """What Iceberg refuses of a field beside others, or reads as something else."""
    if field in before:
        raise LayoutError(where, "each entry once", f"{field} again")
    of_time = [f for f in before if f.column == field.column and f.transform in _TIMES]
    if field.transform in _TIMES and of_time:
        raise LayoutError(
            where,
            f"one of year, month, day and hour for {field.column}",
            f"{of_time[0]} and {field}",
        )
    folded = {c.lower(): c for c in columns}
    if field.transform != "identity" and (other := folded.get(field.name.lower())):
        raise LayoutError(
            where,
            f"no column called {field.name}, as the partition of {field} is",
            f"column {other}",
        )


def _sort(where: str, text: str, columns: Mapping[str, str]) -> Sort:
    match = _KEY.match(text.strip())
    if match is None:
        raise LayoutError(where, "COLUMN, COLUMN asc or COLUMN desc", text)
    column = _column(where, match, columns)
    if not isinstance(parse(columns[column]), Atomic):
        raise LayoutError(where, "a column without parts", f"{column} {columns[column]}")
    return Sort(column, (match["direction"] or "").lower() == "desc")


def _column(where: str, match: re.Match[str], columns: Mapping[str, str]) -> str:
    name = match["quoted"] or match["name"]
    if name in columns:
        return name
    near = get_close_matches(name, columns, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise LayoutError(where, f"a column of the output: {', '.join(columns)}", f"{name}{hint}")
