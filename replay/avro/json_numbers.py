"""Numbers of JSON as they are written, and what columns make of them: never by way of a binary fraction."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?)([0-9]+))?")
_LONGEST_EXPONENT = 12
_LONGEST_SHOWN = 40
_MAX_INT_DIGITS = 19


class Number(str):
    """A number's text."""

    __slots__ = ()


def shown(text: str) -> str:
    """A number, or a text in quotes, in a reason; nothing of a text that is more than ASCII."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    if isinstance(text, Number):
        return cut
    return f"'{cut}'" if all(" " <= c <= "~" for c in text[:_LONGEST_SHOWN]) else "the text"


def parts(text: str) -> tuple[bool, str, int] | None:
    """Negative, digits without zeros at either end, and the power of ten; no digits: zero. Else None."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, before, behind, exponent_sign, exponent = match.groups(default="")
    digits = (before + behind).lstrip("0")
    kept = digits.rstrip("0")
    exponent = exponent.lstrip("0")
    power = int(exponent or "0") if len(exponent) <= _LONGEST_EXPONENT else 10**_LONGEST_EXPONENT
    power = -power if exponent_sign == "-" else power
    return bool(sign), kept, power - len(behind) + len(digits) - len(kept)


def units(text: str, shift: int, most: int) -> int | None:
    """The number times ten to the `shift`. None if that is no integer; ValueError of more than `most` digits."""
    negative, digits, exponent = parts(text) or (False, "", 0)
    if not digits:
        return 0
    exponent += shift
    if exponent < 0:
        return None
    if len(digits) + exponent > most:
        raise ValueError
    found: int = int(digits) * 10**exponent
    return -found if negative else found


def whole(text: str, bits: int) -> int:
    limit = 2 ** (bits - 1)
    try:
        found = units(text, 0, _MAX_INT_DIGITS)
    except ValueError:
        found = limit
    if found is None:
        raise ValueError(f"{shown(text)} is no integer")
    if not -limit <= found < limit:
        raise ValueError(f"{shown(text)} does not fit {bits} bits")
    return found


def double(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"{shown(text)} does not fit a double")
    return found


def decimal(text: str, precision: int, scale: int) -> Decimal:
    if parts(text) is None:
        raise ValueError(f"{shown(text)} is no number")
    try:
        found = units(text, scale, precision)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"{shown(text)} does not fit decimal({precision}, {scale})")
    return Decimal((int(found < 0), tuple(int(d) for d in str(abs(found))), -scale))
