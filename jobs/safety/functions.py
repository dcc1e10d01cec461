"""Flink's own functions, reviewed one by one: which a product may call, and which values they cannot take. Pure.

A function is listed once it was seen to give the same for the same arguments in every run, and to fail on no value of
them, NULL, NaN and the longest text included (run by Flink on some hundred awkward values of each type). What is not
listed is refused by its name, so a function of a later Flink is, too, until somebody has looked at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

LOG_CLOCK = "the event's own time, or log_appended, when its record was appended"
_DERIVED = "a value derived from the record, such as a hash of its key"

SCALAR = frozenset(
    {
        # comparison and logic
        *(
            "=",
            "<>",
            "<",
            "<=",
            ">",
            ">=",
            "AND",
            "OR",
            "NOT",
            "SEARCH",
            "IS NULL",
            "IS NOT NULL",
            "IS TRUE",
        ),
        *(
            "IS NOT TRUE",
            "IS FALSE",
            "IS NOT FALSE",
            "IS DISTINCT FROM",
            "IS NOT DISTINCT FROM",
            "IS UNKNOWN",
        ),
        *(
            "IS NOT UNKNOWN",
            "BETWEEN",
            "IN",
            "CASE",
            "IF",
            "IFNULL",
            "NULLIF",
            "COALESCE",
            "GREATEST",
            "LEAST",
        ),
        # numbers
        *(
            "+",
            "-",
            "*",
            "/",
            "/INT",
            "%",
            "MOD",
            "ABS",
            "SIGN",
            "CEIL",
            "FLOOR",
            "ROUND",
            "TRUNCATE",
            "POWER",
            "SQRT",
        ),
        *(
            "EXP",
            "LN",
            "LOG",
            "LOG2",
            "LOG10",
            "SIN",
            "COS",
            "TAN",
            "COT",
            "ASIN",
            "ACOS",
            "ATAN",
            "ATAN2",
            "SINH",
        ),
        *("COSH", "TANH", "DEGREES", "RADIANS", "PI", "E", "BIN", "HEX", "UNHEX"),
        # text
        *(
            "||",
            "CONCAT",
            "CONCAT_WS",
            "CHAR_LENGTH",
            "CHARACTER_LENGTH",
            "UPPER",
            "LOWER",
            "INITCAP",
            "REVERSE",
        ),
        *(
            "TRIM",
            "LTRIM",
            "RTRIM",
            "BTRIM",
            "LEFT",
            "RIGHT",
            "SUBSTR",
            "SUBSTRING",
            "POSITION",
            "INSTR",
            "LOCATE",
        ),
        *(
            "LPAD",
            "RPAD",
            "REPEAT",
            "REPLACE",
            "TRANSLATE3",
            "SPLIT",
            "SPLIT_INDEX",
            "ELT",
            "STARTSWITH",
            "ENDSWITH",
        ),
        *(
            "ASCII",
            "CHR",
            "LIKE",
            "NOT LIKE",
            "SIMILAR TO",
            "NOT SIMILAR TO",
            "REGEXP",
            "REGEXP_EXTRACT",
        ),
        *(
            "REGEXP_REPLACE",
            "REGEXP_COUNT",
            "REGEXP_INSTR",
            "REGEXP_SUBSTR",
            "REGEXP_EXTRACT_ALL",
            "IS_ALPHA",
        ),
        *(
            "IS_DECIMAL",
            "IS_DIGIT",
            "PARSE_URL",
            "URL_DECODE",
            "URL_ENCODE",
            "STR_TO_MAP",
            "ENCODE",
            "DECODE",
        ),
        *("TO_BASE64", "MD5", "SHA1", "SHA2", "SHA224", "SHA256", "SHA384", "SHA512", "TYPEOF"),
        # JSON
        *(
            "JSON_VALUE",
            "JSON_QUERY",
            "JSON_EXISTS",
            "JSON_STRING",
            "JSON_OBJECT",
            "JSON_ARRAY",
            "JSON_QUOTE",
        ),
        *(
            "JSON_UNQUOTE",
            "IS JSON VALUE",
            "IS JSON OBJECT",
            "IS JSON ARRAY",
            "IS JSON SCALAR",
            "IS NOT JSON VALUE",
        ),
        *("IS NOT JSON OBJECT", "IS NOT JSON ARRAY", "IS NOT JSON SCALAR"),
        # times, on the product's time_zone
        *(
            "EXTRACT",
            "TO_DATE",
            "TO_TIMESTAMP",
            "TO_TIMESTAMP_LTZ",
            "DATE_FORMAT",
            "FROM_UNIXTIME",
            "UNIX_TIMESTAMP",
        ),
        *(
            "CONVERT_TZ",
            "YEAR",
            "QUARTER",
            "MONTH",
            "WEEK",
            "DAYOFYEAR",
            "DAYOFMONTH",
            "DAYOFWEEK",
            "HOUR",
            "MINUTE",
        ),
        *("SECOND", "TIMESTAMPDIFF", "TIMESTAMPADD"),
        # rows, arrays and maps
        *(
            "ROW",
            "ARRAY",
            "MAP",
            "ITEM",
            "DOT",
            "CARDINALITY",
            "ARRAY_APPEND",
            "ARRAY_CONCAT",
            "ARRAY_CONTAINS",
        ),
        *(
            "ARRAY_DISTINCT",
            "ARRAY_EXCEPT",
            "ARRAY_INTERSECT",
            "ARRAY_JOIN",
            "ARRAY_MAX",
            "ARRAY_MIN",
        ),
        *(
            "ARRAY_POSITION",
            "ARRAY_PREPEND",
            "ARRAY_REMOVE",
            "ARRAY_REVERSE",
            "ARRAY_SLICE",
            "ARRAY_SORT",
        ),
        *("ARRAY_UNION", "MAP_KEYS", "MAP_VALUES", "MAP_ENTRIES", "MAP_UNION", "UNNEST_ROWS"),
        "UNNEST_ROWS_WITH_ORDINALITY",
        # types
        *("CAST", "TRY_CAST", "REINTERPRET"),
    }
)
"""By the names that the compiled plan has."""
AGGREGATES = frozenset(
    {
        "COUNT",
        "SUM",
        "SUM0",
        "AVG",
        "MIN",
        "MAX",
        "LAG",
        "ROW_NUMBER",
        "STDDEV_POP",
        "STDDEV_SAMP",
        "VAR_POP",
        "VAR_SAMP",
    }
)
"""Of exact numbers none depends on the order of arrival, apart from LAG and ROW_NUMBER, which have an order."""
OF_PATTERNS = frozenset(
    {
        "FIRST",
        "LAST",
        "PREV",
        "NEXT",
        "FINAL",
        "RUNNING",
        "CLASSIFIER",
        "MATCH_ROWTIME",
        "SUM",
        "COUNT",
        "MIN",
        "MAX",
        "AVG",
    }
)
"""What only MATCH_RECOGNIZE has, over the rows of one match, which have an order."""

_ORDERED = "MIN, MAX, or a Top-N in the order of a column"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *(
                "PROCTIME",
                "PROCTIME_MATERIALIZE",
                "CURRENT_TIMESTAMP",
                "CURRENT_DATE",
                "CURRENT_TIME",
                "NOW",
            ),
            *(
                "CURRENT_ROW_TIMESTAMP",
                "CURRENT_WATERMARK",
                "SOURCE_WATERMARK",
                "LOCALTIME",
                "LOCALTIMESTAMP",
            ),
            *("STREAMRECORD_TIMESTAMP", "MATCH_PROCTIME"),
        ),
        LOG_CLOCK,
    ),
    **dict.fromkeys(("RAND", "RAND_INTEGER", "UUID"), _DERIVED),
    **dict.fromkeys(("CURRENT_DATABASE", "CURRENT_USER", "SESSION_USER", "USER"), "a constant"),
    "LEAD": "LAG, of the later row: what comes later is not known yet",
    "ELEMENT": "x[1]: it fails the job where there are several",
    "OVERLAY": "CONCAT and SUBSTRING: it fails the job where the text is shorter",
    "FROM_BASE64": "a function of product.yaml that gives NULL where the text is no such value: this one fails the job",
    "MAP_FROM_ARRAYS": "MAP[k, v, …]: it fails the job where the arrays are not of one length",
    "JSON": "the text itself: it fails the job where that is no JSON",
    "PARSE_JSON": "JSON_VALUE or JSON_QUERY: it fails the job where the text is no JSON",
}
"""What to write instead of some that are often meant."""
ARRIVAL = frozenset(
    {
        *(
            "FIRST_VALUE",
            "LAST_VALUE",
            "LISTAGG",
            "ARRAY_AGG",
            "COLLECT",
            "STRING_AGG",
            "SINGLE_VALUE",
        ),
        *("JSON_ARRAYAGG_NULL_ON_NULL", "JSON_ARRAYAGG_ABSENT_ON_NULL"),
        *("JSON_OBJECTAGG_NULL_ON_NULL", "JSON_OBJECTAGG_ABSENT_ON_NULL"),
    }
)
"""Aggregates that depend on the order of arrival."""


class Kind(Enum):
    """Where a call stands."""

    scalar = SCALAR
    aggregate = AGGREGATES
    pattern = SCALAR | OF_PATTERNS


def refused(name: str, kind: Kind, own: frozenset[str]) -> tuple[str, str] | None:
    """Why a call is not allowed, and what to write; None of an allowed one. `own` are the product's functions."""
    if name in ARRIVAL:
        return f"{name}, which depends on the order of arrival", _ORDERED
    if name in REFUSED:
        return name, REFUSED[name]
    if name in own or name in kind.value:
        return None
    said = f"{name or 'a call without a name'}, which nobody has shown to be safe to replay"
    return said, "another function of Flink's, or one of product.yaml"


# --- arguments on which a function fails the job ----------------------------------------------------------------

_TIME_LETTERS = {**dict.fromkeys("yME", 4), **dict.fromkeys("dHhkKms", 2), "a": 1, "D": 3, "S": 9}
"""How often each may stand in a row."""
_DIGITS = 38
_LONG = 10_000
"""Characters that REPEAT and LPAD may make of one value."""

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
    "a pattern that may fail the job",
    "a literal, in which no group of alternatives or repetitions is repeated: (a|b)+ of a long text fails the job",
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
    "a pattern of time that may fail the job",
    "a literal of y, M, d, H, h, k, K, m, s, S, a, E, D and signs, such as 'yyyy-MM-dd HH:mm:ss'",
)
_A_NUMBER = ("digits that may be too many", f"a literal up to {_DIGITS}: the greatest fail the job")
_A_LENGTH = (
    "a length that may be too great",
    f"a literal up to {_LONG}: the greatest take more memory than there is",
)
_A_ZONE = ("a zone that is not a literal", "a literal: what is no zone gives NULL for every record")
_CHARSETS = ("US-ASCII", "ISO-8859-1", "UTF-8", "UTF-16BE", "UTF-16LE", "UTF-16")
_A_CHARSET = (
    "a character set that may be none",
    f"a literal, one of {', '.join(_CHARSETS)}: any other fails the job",
)
_A_LENGTH_IN_BITS = (
    "a length in bits that may be none",
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
            ("more than two arguments", "LOCATE(<what>, <text>, <from>): this one fails the job"),
        ),
    ),
}
"""Function → place of an operand, from 0, what it has to be, and what is said of any other."""
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
            "a literal: what escapes nothing fails the job",
        )
    for at, is_good, (said, instead) in _ARGUMENTS.get(name, ()):
        if len(operands) > at and not is_good(operands[at]):
            return f"{name} with {said}", instead
    return None
