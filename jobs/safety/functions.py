"""Flink's own functions, reviewed one by one: which a product may call. Pure.

A function is listed once it was seen to give the same for the same arguments in every run, and to fail on no value of
them, NULL, NaN and the longest text included (run by Flink on some hundred awkward values of each type). What is not
listed is refused by its name, so a function of a later Flink is, too, until somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

LOG_CLOCK = "the event's own time, or log_appended, the time at which its record was appended"
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
"""Names as in the compiled plan."""
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
"""For exact numbers none depends on the order of arrival, except LAG and ROW_NUMBER, which have an ORDER BY."""
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
    "LEAD": "LAG in the later row: the following row is not known yet",
    "ELEMENT": "x[1]: ELEMENT fails the job if there are several",
    "OVERLAY": "CONCAT and SUBSTRING: OVERLAY fails the job if the text is shorter",
    "FROM_BASE64": "a function of product.yaml that gives NULL for an invalid text: FROM_BASE64 fails the job",
    "MAP_FROM_ARRAYS": "MAP[k, v, …]: MAP_FROM_ARRAYS fails the job if the arrays differ in length",
    "JSON": "the text itself: JSON fails the job if the text is not JSON",
    "PARSE_JSON": "JSON_VALUE or JSON_QUERY: PARSE_JSON fails the job if the text is not JSON",
}
"""What to write instead of functions that are often used."""
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
    return said, "a function that docs/safety.md lists, or a Python function of product.yaml"
