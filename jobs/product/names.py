"""What people may call things: names become tables, files, topics' schemas, consumer groups and parts of SQL.

Letters are those of ASCII: one that looks like another is another name. Each is matched whole: a `$` in a pattern lets
a line's end through.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LOG_TABLE = "__log"
LONGEST = 100
"""Characters. File systems end at 255 bytes, and to a name come ids of jobs, branches and digests."""
LONGEST_OUTPUT_TOPIC = 220
"""Characters of the name to which an attempt's is added: Kafka takes 249."""
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
"""Of a product, for pydantic, whose `$` is the end of the text."""
PYTHON_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
"""Of a Python function, module:attribute."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OF_ATTEMPT = re.compile(r"r[0-9]+-a[0-9]+")
_CHECK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]*")


def log_table(topic: str) -> str:
    """The table of a topic's records as they are in the log, the undecodable and late ones too."""
    return f"{topic}{_LOG_TABLE}"


def topic_of(table: str) -> str:
    """The topic of a log table, by its name in SQL."""
    return table.removesuffix(_LOG_TABLE)


def is_name(text: str) -> bool:
    """Of a product, an output or a look-up: small letters, digits and _."""
    return _fits(_NAME, text)


def is_identifier(text: str) -> bool:
    """Of a topic in SQL or a function: letters, digits and _."""
    return _fits(_IDENTIFIER, text)


def is_topic(text: str) -> bool:
    """Whether Kafka takes it for a topic."""
    return _TOPIC.fullmatch(text) is not None and text not in (".", "..")


def output_topic(name: str, attempt: str) -> str:
    """The topic of an output's rows, by the name in product.yaml, of one attempt such as r2-a1."""
    return f"{name}.{attempt}"


def may_be_output_topic(topic: str, name: str) -> bool:
    """Whether a topic has this name, or could be of an attempt that adds its own to it.

    Kafka takes no two topics that differ only by . and _.
    """
    found, begin = topic.replace(".", "_"), name.replace(".", "_")
    rest = found.removeprefix(f"{begin}_")
    return found == begin or (rest != found and _OF_ATTEMPT.fullmatch(rest) is not None)


def is_check(text: str) -> bool:
    """Of the file of a check, without .sql."""
    return _fits(_CHECK, text)


def shown(name: str) -> str:
    """Any name, for people: printable, on one line, and shortened if it is long."""
    text = name if name.isprintable() and name.isascii() and name == name.strip() else ascii(name)
    return (
        text
        if len(text) <= LONGEST
        else f"{text[:40]}… ({len(name)} characters, at most {LONGEST})"
    )


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; one that differs only by case is the nearest."""
    by_case = {n.lower(): n for n in names}
    found = difflib.get_close_matches(name.lower(), list(by_case), n=1, cutoff=0.6)
    return by_case[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """'did you mean amount?', or the empty text."""
    found = nearest(name, names)
    return f"did you mean {found}?" if found else ""


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text) is not None and len(text) <= LONGEST
