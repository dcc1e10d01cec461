"""Arguments to try a Python function on: the corners of their types, what its own code mentions, and chance. Pure.

A generator of our own, not Hypothesis: both processes need the same rows, all at once, before the first call.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from jobs.product.column_types import Array, Atomic, Field, Map, Row, Type

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Literal:
    """An operand that is a constant in the SQL."""

    value: Any


Operand = Type | Literal
_TEXTS = (
    "", " ", "a", "B", "0", "7", "-1", "1.5", "1e400", "NaN", "inf", "null", "true", "now", "today", "2013-01-01",
    "2013-02-30", "2013-01-01T10:33:00", "2013-01-01 10:33:00+02:00", "10:33", "America/New_York", "Asia/Kathmandu",
    "UTC", "../etc", "N14228", "JFK", "a,b;c d", " a\tb\n", "a@example.org", "https://example.org/a?b=c#d",
    '{"a": [1, null]}', "[]", "{", "<a>b</a>", "ÄÖß", "ﬁ", "İi", "日本語", "e\u0301", "😀", "\x00", "\\", "'\"`",
    "%s {0}", "(", "[a-z", "١٢", "²", "9" * 25, "x" * 3000,
)  # fmt: skip
_WHOLE = (0, 1, -1, 2, 3, 7, 10, 59, 60, 99, 100, 850, 1299, 2013, 2400, 9999, 86_400, 1_356_998_400, 1_356_998_400_000,
          2**53 + 1)  # fmt: skip
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, -1.5, 2.5, 1e15, 1e300, 5e-324, 2.0**53, float("inf"), float("-inf"),
           float("nan"))  # fmt: skip
_DATES = (
    date(1970, 1, 1),
    date(2013, 1, 1),
    date(2012, 2, 29),
    date(1900, 3, 1),
    date(1, 1, 1),
    date(9999, 12, 31),
)
_TIMES = (time(0), time(10, 33), time(23, 59, 59, 999_999), time(0, 0, 0, 1_000))
_POINTS = (
    datetime(1970, 1, 1), datetime(2013, 1, 1, 10, 33), datetime(2012, 2, 29, 23, 59, 59, 999_999),
    datetime(2013, 3, 10, 2, 30), datetime(2013, 11, 3, 1, 30), datetime(1969, 12, 31, 23, 59, 59, 1_000),
)  # fmt: skip
_FAR = (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))
_ALPHABETS = (
    string.ascii_letters,
    string.digits,
    string.printable,
    "aAäÄßſ éÉ",
    "0123456789-:. TZ+",
)
_AT_LEAST = 64


def rows(operands: Sequence[Operand], seed: str, mentioned: Sequence[Any] = ()) -> list[Values]:
    """Rows of arguments, the same for the same seed in every process: each corner of each operand is in one of them.

    `mentioned` are constants of the function's code: a branch that asks for one of them is taken.
    """
    chance = random.Random(seed)
    pools = [pool(o, chance, mentioned) for o in operands]
    found: list[Values] = [tuple(p[0] for p in pools)]  # NULL wherever it may be
    for _ in range(min(2, len(pools))):
        count = max(_AT_LEAST // 2, *map(len, pools))
        for p in pools:
            chance.shuffle(p)
        found += itertools.islice(zip(*map(itertools.cycle, pools), strict=False), count)
    while len(found) < _AT_LEAST and pools:
        found.append(
            tuple(
                _random(o, chance) if chance.random() < 0.7 else chance.choice(p)
                for o, p in zip(operands, pools, strict=True)
            )
        )
    return _unique(found) or [()]


def pool(operand: Operand, chance: random.Random, mentioned: Sequence[Any] = ()) -> list[Any]:
    """Values of an operand, NULL first where it may be."""
    if isinstance(operand, Literal):
        return [operand.value]
    nulls: list[Any] = [None] if operand.nullable else []
    return nulls + _corners(operand, chance, mentioned)


def _corners(of: Type, chance: random.Random, mentioned: Sequence[Any] = ()) -> list[Any]:
    match of:
        case Array(element):
            values = pool(element, chance, mentioned)
            return [
                [],
                *([v] for v in values[:6]),
                values[:9],
                values[3:9] * 20,
                chance.sample(values, len(values)),
            ]
        case Map(key, value):
            keys, values = _keys(key, chance, mentioned), pool(value, chance, mentioned)
            one, all_ = (
                dict(zip(keys[:1], values, strict=False)),
                dict(zip(keys, values, strict=False)),
            )
            return [{}, one, all_, dict(reversed(all_.items()))]
        case Row(fields):
            pools = [pool(f.type, chance, mentioned) for f in fields]
            return [
                _row(fields, v)
                for v in zip(
                    *map(itertools.cycle, pools), range(max(map(len, pools))), strict=False
                )
            ]
        case Atomic():
            return _unique(
                [*_atomic(of), *_fitting(of, mentioned), *(_random(of, chance) for _ in range(6))]
            )


def _row(fields: tuple[Field, ...], values: Sequence[Any]) -> Any:
    """A ROW as PyFlink passes it; PyFlink is imported only if there is one, which takes a quarter of a second."""
    from pyflink.common import Row as FlinkRow

    return FlinkRow(**{f.name: value for f, value in zip(fields, values, strict=False)})


def _keys(key: Type, chance: random.Random, mentioned: Sequence[Any]) -> list[Any]:
    """Keys of a MAP: none is NULL, and each occurs once."""
    return _unique(v for v in _corners(key, chance, mentioned) if v == v)


def _unique(values: Any) -> list[Any]:
    return list({repr(v): v for v in values}.values())


def _atomic(of: Atomic) -> list[Any]:  # noqa: C901 - one case for each type
    match of.name:
        case "STRING" | "CHAR" | "VARCHAR":
            return [_cut(of, t) for t in _TEXTS]
        case "BYTES" | "BINARY" | "VARBINARY":
            return [
                _bytes(of, b) for b in (b"", b"\x00", b"\xff\xfe", "ä".encode(), b"12", b"a" * 3000)
            ]
        case "BOOLEAN":
            return [True, False]
        case "TINYINT" | "SMALLINT" | "INT" | "BIGINT":
            most = 2 ** (_BITS[of.name] - 1)
            return [v for v in (*_WHOLE, most - 1, 1 - most, -most) if -most <= v < most]
        case "FLOAT":
            return [_single(v) for v in _FLOATS]
        case "DOUBLE":
            return list(_FLOATS)
        case "DECIMAL":
            return _decimals(of)
        case "DATE":
            return list(_DATES)
        case "TIME":
            return [_time(of, t) for t in _TIMES]
        case "TIMESTAMP":
            return [_point(of, p) for p in (*_POINTS, *_FAR)]
        case "TIMESTAMP_LTZ":
            return [_point(of, p) for p in _POINTS]
    raise ValueError(f"no values of {of}")


def _fitting(of: Atomic, mentioned: Sequence[Any]) -> Iterator[Any]:
    """The mentioned constants that the type can hold, and their neighbours."""
    texts = [m for m in mentioned if isinstance(m, str)]
    numbers = [m for m in mentioned if isinstance(m, int | float) and not isinstance(m, bool)]
    match of.name:
        case "STRING" | "CHAR" | "VARCHAR":
            for text in [*texts, *map(str, numbers)]:
                yield _cut(of, text)
        case "TINYINT" | "SMALLINT" | "INT" | "BIGINT":
            most = 2 ** (_BITS[of.name] - 1)
            beside = (n + step for n in numbers if isinstance(n, int) for step in (-1, 0, 1))
            yield from (n for n in beside if -most <= n < most)
        case "DOUBLE" | "FLOAT":
            for number in numbers:
                try:
                    yield _single(float(number)) if of.name == "FLOAT" else float(number)
                except OverflowError:
                    continue


def _random(of: Operand, chance: random.Random) -> Any:  # noqa: C901 - one case for each type
    if isinstance(of, Literal):
        return of.value
    if not isinstance(of, Atomic):
        return chance.choice(_corners(of, chance))
    match of.name:
        case "STRING" | "CHAR" | "VARCHAR":
            return _cut(
                of, "".join(chance.choices(chance.choice(_ALPHABETS), k=chance.randrange(12)))
            )
        case "BYTES" | "BINARY" | "VARBINARY":
            return _bytes(of, chance.randbytes(chance.randrange(12)))
        case "TINYINT" | "SMALLINT" | "INT" | "BIGINT":
            bits = chance.randrange(1, _BITS[of.name])
            return chance.randrange(-(2**bits), 2**bits)
        case "FLOAT":
            return _single(chance.gauss(0, 10 ** chance.randrange(6)))
        case "DOUBLE":
            return chance.gauss(0, 10 ** chance.randrange(6))
        case "DECIMAL":
            digits, scale = of.arguments
            return Decimal(chance.randrange(-(10**digits) + 1, 10**digits)).scaleb(-scale)
        case "DATE":
            return date(1970, 1, 1) + timedelta(days=chance.randrange(-30_000, 40_000))
        case "TIMESTAMP" | "TIMESTAMP_LTZ":
            return _point(of, datetime(1970, 1, 1) + timedelta(seconds=chance.uniform(-1e9, 3e9)))
    return chance.choice(_atomic(of))


def _cut(of: Atomic, text: str) -> str:
    return text[: of.arguments[0]] if of.arguments else text


def _bytes(of: Atomic, value: bytes) -> bytes:
    if of.name == "BINARY":
        length = of.arguments[0] if of.arguments else 1
        return value[:length].ljust(length, b"\x00")
    return value[: of.arguments[0]] if of.arguments else value


def _single(value: float) -> float:
    """The number rounded to a FLOAT."""
    import struct

    try:
        (found,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return 3.4028234663852886e38 if value > 0 else -3.4028234663852886e38
    return float(found)


def _decimals(of: Atomic) -> list[Decimal]:
    digits, scale = of.arguments
    whole = (0, 1, -1, 5, 10**scale, -(10**scale), 10**digits - 1, 1 - 10**digits)
    return [Decimal(w).scaleb(-scale) for w in whole if abs(w) < 10**digits]


def _point(of: Atomic, value: datetime) -> datetime:
    """The time with as many digits of a second as the type has."""
    unit = 10 ** (6 - min(of.arguments[0] if of.arguments else 6, 6))
    return value.replace(microsecond=value.microsecond // unit * unit)


def _time(of: Atomic, value: time) -> time:
    unit = 10 ** (6 - min(of.arguments[0] if of.arguments else 0, 3))
    return value.replace(microsecond=value.microsecond // unit * unit)
