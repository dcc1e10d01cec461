"""Arguments on which one of Flink's functions fails the job, and what to write instead. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TIME_LETTERS = {**dict.fromkeys("yME", 4), **dict.fromkeys("dHhkKms", 2), "a": 1, "D": 3, "S": 9}
"""How often each letter may be repeated."""
_DIGITS = 38
_LONG = 10_000
"""The most characters that REPEAT and LPAD may produce from one value."""

Operands = Sequence[Mapping[str, Any]]


def _is_literal(operand: Mapping[str, Any]) -> bool:
    return operand.get("kind") == "LITERAL"


def _text(operand: Mapping[str, Any]) -> str:
    return str(operand.get("value"))


def _is_time_pattern(operand: Mapping[str, Any]) -> bool:
    text = re.sub(r"'[^']*'", "", _text(operand))
    runs = [match[0] for match in re.finditer(r"([A-Za-z])\1*", text)]
    letters = all(len(run) <= _TIME_LETTERS.get(run[0], 0) for run in runs)
    return _is_literal(operand) and letters and not re.search(r"['#\[\]{}]", text)


def _is_pattern(operand: Mapping[str, Any]) -> bool:
    """Whether it is a literal that Java takes for a regular expression, and matches without end of neither kind.

    Python's own are not quite Java's, so what they read differently is none; and over a long text Java runs out of its
    stack, or of time, where a group of alternatives or of repetitions is repeated.
    """
    text = _text(operand)
    odd = re.search(r"\(\?|\[\[|&&|\{(?!\d+(,\d*)?\})", text)
    if odd or _repeats_a_choice(text) or not _is_literal(operand):
        return False
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _repeats_a_choice(pattern: str) -> bool:
    """Whether a group is repeated that has alternatives, repetitions or groups in it, however deep.

    Signs that are escaped or in a class count as well: rather one pattern too many is refused.
    """
    choices = [False]  # of the whole and of each open group, whether it has one so far
    for at, sign in enumerate(pattern):
        if sign == "(":
            choices.append(False)
        elif sign == ")":
            has_choice = choices.pop() if len(choices) > 1 else choices[0]
            if has_choice and pattern[at + 1 : at + 2] in ("*", "+", "{"):
                return True
            choices[-1] = True
        elif sign in "|*+?{":
            choices[-1] = True
    return False


def _is_precision_or_pattern(operand: Mapping[str, Any]) -> bool:
    text = _text(operand)
    return _is_time_pattern(operand) and (not text.isdigit() or text in ("0", "3"))


def _is_scale(operand: Mapping[str, Any]) -> bool:
    text = _text(operand)
    return _is_literal(operand) and text.lstrip("-").isdigit() and abs(int(text)) <= _DIGITS


def _is_short(operand: Mapping[str, Any]) -> bool:
    return (
        _is_literal(operand)
        and _text(operand).lstrip("-").isdigit()
        and int(_text(operand)) <= _LONG
    )


def _never(operand: Mapping[str, Any]) -> bool:
    return False


def _is_one_of(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda operand: _is_literal(operand) and _text(operand).upper() in names


_A_PATTERN = (
    "a regular expression that may fail the job",
    "a literal in which no group of alternatives or repetitions is repeated: (a|b)+ fails the job on a long text",
)
_REGULAR = (
    "SIMILAR TO",
    "NOT SIMILAR TO",
    "REGEXP",
    "REGEXP_EXTRACT",
    "REGEXP_EXTRACT_ALL",
    "REGEXP_REPLACE",
    "REGEXP_COUNT",
    "REGEXP_INSTR",
    "REGEXP_SUBSTR",
)
_A_TIME_PATTERN = (
    "a time format that may fail the job",
    "a literal of the letters y, M, d, H, h, k, K, m, s, S, a, E, D and punctuation, such as 'yyyy-MM-dd HH:mm:ss'",
)
_A_NUMBER = (
    "a number of digits that may be too large",
    f"a literal up to {_DIGITS}: larger numbers fail the job",
)
_A_LENGTH = (
    "a length that may be too large",
    f"a literal up to {_LONG}: larger lengths need more memory than there is",
)
_A_ZONE = (
    "a time zone that is not a literal",
    "a literal: an unknown zone gives NULL for every record",
)
_CHARSETS = ("US-ASCII", "ISO-8859-1", "UTF-8", "UTF-16BE", "UTF-16LE", "UTF-16")
_A_CHARSET = (
    "a character set that may be unknown",
    f"a literal, one of {', '.join(_CHARSETS)}: any other fails the job",
)
_A_LENGTH_IN_BITS = (
    "a length in bits that may be invalid",
    "224, 256, 384 or 512: any other fails the job",
)

Rule = tuple[int, Callable[[Mapping[str, Any]], bool], tuple[str, str]]
_ARGUMENTS: Mapping[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("ROUND", "TRUNCATE"), ((1, _is_scale, _A_NUMBER),)),
    **dict.fromkeys(_REGULAR, ((1, _is_pattern, _A_PATTERN),)),
    **dict.fromkeys(
        ("DATE_FORMAT", "FROM_UNIXTIME", "UNIX_TIMESTAMP", "TO_DATE", "TO_TIMESTAMP"),
        ((1, _is_time_pattern, _A_TIME_PATTERN),),
    ),
    "TO_TIMESTAMP_LTZ": ((1, _is_precision_or_pattern, _A_TIME_PATTERN), (2, _is_literal, _A_ZONE)),
    "STR_TO_MAP": ((1, _is_pattern, _A_PATTERN), (2, _is_pattern, _A_PATTERN)),
    **dict.fromkeys(("ENCODE", "DECODE"), ((1, _is_one_of(*_CHARSETS), _A_CHARSET),)),
    "SHA2": ((1, _is_one_of("224", "256", "384", "512"), _A_LENGTH_IN_BITS),),
    **dict.fromkeys(("LPAD", "RPAD", "REPEAT"), ((1, _is_short, _A_LENGTH),)),
    "INSTR": (
        (
            2,
            _never,
            ("more than two arguments", "LOCATE(<what>, <text>, <from>): INSTR fails the job"),
        ),
    ),
}
"""Function → position of an operand, from 0, what it must be, and the problem with any other."""
_WITH_TWO = {
    "TRUNCATE": "TRUNCATE(x, 0)",
    "TO_TIMESTAMP_LTZ": "TO_TIMESTAMP_LTZ(x, 3), or with a pattern",
}


def failing_argument(name: str, operands: Operands) -> tuple[str, str] | None:
    """An argument on which a function may fail the job, and what to write instead."""
    if name in _WITH_TWO and len(operands) == 1:
        return f"{name} of one argument, which fails the job on some values", _WITH_TWO[name]
    if (
        name in ("LIKE", "NOT LIKE")
        and len(operands) > 2
        and not all(map(_is_literal, operands[1:]))
    ):
        return (
            f"{name} … ESCAPE with a pattern from a record",
            "a literal: an escape character that escapes nothing fails the job",
        )
    for at, is_good, (said, instead) in _ARGUMENTS.get(name, ()):
        if len(operands) > at and not is_good(operands[at]):
            return f"{name} with {said}", instead
    return None
