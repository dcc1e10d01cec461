"""Flink SQL types: read as people and Flink write them, and the type that an output table's column gets of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_FRACTION = 6
"""Digits of a second that a column of an Iceberg table holds."""


class ColumnTypeError(ValueError):
    """A type that no column of an output table can have: what was expected, what was found, what to write instead."""

    def __init__(self, expected: str, found: str, instead: str) -> None:
        super().__init__(f"expected {expected}, found {found}; write instead: {instead}")
        self.expected, self.found, self.instead = expected, found, instead


@dataclass(frozen=True)
class Atomic:
    """A type without parts: its name in Flink's spelling, and length, or precision and scale, where it has them."""

    name: str
    arguments: tuple[int, ...] = ()
    nullable: bool = True

    def __str__(self) -> str:
        arguments = f"({', '.join(map(str, self.arguments))})" if self.arguments else ""
        return f"{self.name}{arguments}{_not_null(self)}"


@dataclass(frozen=True)
class Array:
    """ARRAY<element>"""

    element: Type
    nullable: bool = True

    def __str__(self) -> str:
        return f"ARRAY<{self.element}>{_not_null(self)}"


@dataclass(frozen=True)
class Map:
    """MAP<key, value>"""

    key: Type
    value: Type
    nullable: bool = True

    def __str__(self) -> str:
        return f"MAP<{self.key}, {self.value}>{_not_null(self)}"


@dataclass(frozen=True)
class Field:
    """A field of a ROW; its name is printed in quotes, so that reserved words work."""

    name: str
    type: Type

    def __str__(self) -> str:
        return f"{quoted(self.name)} {self.type}"


@dataclass(frozen=True)
class Row:
    """ROW<`name` type, …>"""

    fields: tuple[Field, ...]
    nullable: bool = True

    def __str__(self) -> str:
        return f"ROW<{', '.join(map(str, self.fields))}>{_not_null(self)}"


Type = Atomic | Array | Map | Row


def _not_null(of: Type) -> str:
    return "" if of.nullable else " NOT NULL"


def quoted(name: str) -> str:
    """An identifier in Flink SQL's quotes."""
    return "`{}`".format(name.replace("`", "``"))


def column_type(text: str) -> str:
    """The type of an output table's column for a SELECT's resolved type; ColumnTypeError where no table can hold it."""
    return str(stored(parse(text)))


def resolved_column_type(text: str) -> str:
    """As `column_type`, of a type that Flink's planner gives: a MAP with a key that may be NULL is refused.

    No file can hold such a key. One record would stop the job, again after every restart.
    """
    if (at := _nullable_key(parse(text), "")) is not None:
        raise ColumnTypeError(
            "a MAP whose keys are never NULL",
            f"{text}{_at(at)}",
            "MAP[COALESCE(k, …), v], with a key for what has none",
        )
    return column_type(text)


def is_as_stored(text: str) -> bool:
    """Whether a value of this type is written as it is: it differs from the table's at most in what may be NULL."""
    found = parse(text)
    return _nullable(found) == stored(found)


def has_array_of_bytes(text: str) -> bool:
    """Whether a type has arrays of bytes somewhere: Flink's cast of such an array does not compile."""

    def look(found: Type) -> bool:
        match found:
            case Array(Atomic("BYTES" | "BINARY" | "VARBINARY")):
                return True
            case Array(element):
                return look(element)
            case Map(_, value):
                return look(value)
            case Row(fields):
                return any(look(f.type) for f in fields)
            case _:
                return False

    return look(parse(text))


def _nullable(found: Type) -> Type:
    """The type where everything may be NULL."""
    match found:
        case Row(fields):
            return Row(tuple(Field(f.name, _nullable(f.type)) for f in fields))
        case Array(element):
            return Array(_nullable(element))
        case Map(key, value):
            return Map(_nullable(key), _nullable(value))
        case Atomic("TIME"):
            return Atomic("TIME")  # of one precision, whatever is said
        case Atomic():
            return Atomic(found.name, found.arguments)


def _nullable_key(found: Type, path: str) -> str | None:
    """Where the first MAP is whose key may be NULL."""
    match found:
        case Row(fields):
            return next(
                (
                    at
                    for f in fields
                    if (at := _nullable_key(f.type, f"{path}.{f.name}")) is not None
                ),
                None,
            )
        case Array(element):
            return _nullable_key(element, f"{path}[]")
        case Map(key, value):
            return path if key.nullable else _nullable_key(value, f"{path}.value")
    return None


def is_json(found: Type) -> bool:
    """Whether JSON has it: not a MAP whose keys are no texts."""
    match found:
        case Row(fields):
            return all(is_json(f.type) for f in fields)
        case Array(element):
            return is_json(element)
        case Map(key, value):
            return isinstance(key, Atomic) and key.name == "STRING" and is_json(value)
    return True


def parse(text: str) -> Type:
    """A type as Flink SQL, LogicalType.asSerializableString or asSummaryString writes it; ColumnTypeError if none."""
    reader = _Reader(text)
    found = _type(reader)
    reader.end()
    return found


def stored(found: Type, path: str = "") -> Type:
    """The type as a table holds it: everything may be NULL, one type for each of text, bytes and points in time.

    No column is NOT NULL, for one null must not stop a job for good; what a contract requires is checked before a
    switch instead.
    """
    match found:
        case Row(fields):
            _refuse_ambiguous(fields, path)
            return Row(tuple(Field(f.name, stored(f.type, f"{path}.{f.name}")) for f in fields))
        case Array(element):
            return Array(stored(element, f"{path}[]"))
        case Map(key, value):
            if not isinstance(key, Atomic):
                raise ColumnTypeError(
                    "a MAP whose key has no parts",
                    f"{found}{_at(path)}",
                    "an ARRAY of ROWs with fields for the parts of the key",
                )
            return Map(stored(key, f"{path}.key"), stored(value, f"{path}.value"))
        case Atomic():
            return _stored_atomic(found, path)


def _refuse_ambiguous(fields: tuple[Field, ...], path: str) -> None:
    """Most readers of Iceberg tables fold the case of names."""
    seen: dict[str, str] = {}
    for field in fields:
        if (other := seen.setdefault(field.name.lower(), field.name)) != field.name:
            raise ColumnTypeError(
                "field names that differ by more than case",
                f"{other} and {field.name}{_at(path)}",
                "another name for one of them",
            )
    if len(seen) < len(fields):
        raise ColumnTypeError(
            "each field name once",
            f"{', '.join(f.name for f in fields)}{_at(path)}",
            "CAST(x AS ROW<…>) with a name for each field",
        )


_STORED = {
    "CHAR": "STRING",
    "VARCHAR": "STRING",
    "BINARY": "BYTES",
    "VARBINARY": "BYTES",
    "TINYINT": "INT",
    "SMALLINT": "INT",
}


def _stored_atomic(found: Atomic, path: str) -> Atomic:
    if found.name in ("TIMESTAMP", "TIMESTAMP_LTZ"):
        precision = found.arguments[0] if found.arguments else MAX_FRACTION
        if precision > MAX_FRACTION:
            raise ColumnTypeError(
                f"at most {MAX_FRACTION} digits of a second",
                f"{found}{_at(path)}",
                f"CAST(x AS {found.name}({MAX_FRACTION}))",
            )
        return Atomic(found.name, (MAX_FRACTION,))
    if found.name == "DECIMAL":
        return Atomic("DECIMAL", found.arguments)
    return Atomic(_STORED.get(found.name, found.name))


def _at(path: str) -> str:
    return f" in {path.removeprefix('.')}" if path else ""


# Reading

_SPELLINGS = {
    "INTEGER": "INT",
    "DEC": "DECIMAL",
    "NUMERIC": "DECIMAL",
    "TIME_WITHOUT_TIME_ZONE": "TIME",
    "TIMESTAMP_WITHOUT_TIME_ZONE": "TIMESTAMP",
    "TIMESTAMP_WITH_LOCAL_TIME_ZONE": "TIMESTAMP_LTZ",
}
# Name → how many numbers in brackets it may have.
_ATOMIC = {
    "STRING": 0,
    "CHAR": 1,
    "VARCHAR": 1,
    "BOOLEAN": 0,
    "BYTES": 0,
    "BINARY": 1,
    "VARBINARY": 1,
    "DECIMAL": 2,
    "TINYINT": 0,
    "SMALLINT": 0,
    "INT": 0,
    "BIGINT": 0,
    "FLOAT": 0,
    "DOUBLE": 0,
    "DATE": 0,
    "TIME": 1,
    "TIMESTAMP": 1,
    "TIMESTAMP_LTZ": 1,
}
_INSTEAD = {
    "INTERVAL": "TIMESTAMPDIFF(SECOND, a, b), a number",
    "MULTISET": "an aggregate of each element in rows of its own, such as COUNT(*) … GROUP BY element",
    "NULL": "CAST(NULL AS STRING), or the type that is meant",
    "TIMESTAMP_WITH_TIME_ZONE": "CAST(x AS TIMESTAMP_LTZ(6)), and the zone in a column of its own",
    "VARIANT": "JSON_STRING(x), a STRING",
}
_CAST = "CAST(x AS ROW<…>) with names and types of its fields, or a STRING"
_TOKEN = re.compile(
    r"""
    \s*(?:
      `(?P<quoted>(?:[^`]|``)+)`
    | '(?P<text>(?:[^']|'')*)'
    | (?P<attribute>\*(?:ROWTIME|PROCTIME)\*)
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d+)
    | (?P<sign>\S)
    )""",
    re.VERBOSE | re.IGNORECASE,
)


class _Reader:
    """The tokens of a type, one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = [(str(m.lastgroup), m[str(m.lastgroup)]) for m in _tokens(text)]
        self._next = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def take(self, kind: str) -> str | None:
        """The next token's text if it is of that kind."""
        found, text = self.peek()
        if found != kind:
            return None
        self._next += 1
        return text

    def sign(self, *signs: str) -> str | None:
        """The next token if it is one of these signs."""
        return self.take("sign") if self.peek()[1] in signs else None

    def words(self, *words: str) -> bool:
        """Whether the next tokens are these keywords, which are then taken."""
        ahead = [t for k, t in self._tokens[self._next : self._next + len(words)] if k == "word"]
        if [t.upper() for t in ahead] != list(words):
            return False
        self._next += len(words)
        return True

    def expect(self, sign: str) -> None:
        if not self.sign(sign):
            raise self.error(f"'{sign}'")

    def end(self) -> None:
        if self.peek()[0] != "end":
            raise self.error("the end of the type")

    def error(self, expected: str) -> ColumnTypeError:
        found = self.peek()[1]
        at = f"'{found}' in {self.text}" if found else f"the end of {self.text or 'an empty type'}"
        return ColumnTypeError(
            expected, at, "a Flink SQL type such as STRING, DECIMAL(10, 2), ROW<`a` INT>"
        )


def _tokens(text: str) -> Iterator[re.Match[str]]:
    return _TOKEN.finditer(text.rstrip())


def _type(reader: _Reader) -> Type:
    found = _nullability(reader, _base(reader))
    while True:  # the standard's spelling: INT ARRAY, INT MULTISET
        if reader.words("ARRAY"):
            found = _nullability(reader, Array(found))
        elif reader.words("MULTISET"):
            raise _cannot_hold("MULTISET", reader)
        else:
            return found


def _nullability(reader: _Reader, found: Type) -> Type:
    # what asSummaryString adds to an event-time column, in one place or the other: *ROWTIME*
    reader.take("attribute")
    is_required = reader.words("NOT", "NULL")
    reader.take("attribute")
    if is_required:
        return _required(found)
    reader.words("NULL")
    return found


def _required(found: Type) -> Type:
    match found:
        case Atomic(name, arguments):
            return Atomic(name, arguments, nullable=False)
        case Array(element):
            return Array(element, nullable=False)
        case Map(key, value):
            return Map(key, value, nullable=False)
        case Row(fields):
            return Row(fields, nullable=False)


def _base(reader: _Reader) -> Type:
    if reader.peek()[0] == "quoted" or reader.sign("*"):
        raise _cannot_hold("", reader)
    word = reader.take("word")
    if word is None:
        raise reader.error("a type")
    name = _SPELLINGS.get(word.upper(), word.upper())
    if name == "ROW":
        return _row(reader)
    if name == "ARRAY":
        reader.expect("<")
        array = Array(_type(reader))
        reader.expect(">")
        return array
    if name == "MAP":
        reader.expect("<")
        key = _type(reader)
        reader.expect(",")
        value = _type(reader)
        reader.expect(">")
        return Map(key, value)
    if name in _ATOMIC:
        return _atomic(name, reader)
    raise _cannot_hold(name, reader)


def _row(reader: _Reader) -> Row:
    closing = {"<": ">", "(": ")"}.get(reader.sign("<", "(") or "")
    if closing is None:
        raise reader.error("'<'")
    fields = []
    while True:
        name = reader.take("quoted")
        if name is None:
            name = reader.take("word")
        if name is None:
            raise reader.error("the name of a field")
        fields.append(Field(name.replace("``", "`"), _type(reader)))
        reader.take("text")  # a comment
        if not reader.sign(","):
            break
    reader.expect(closing)
    return Row(tuple(fields))


def _atomic(name: str, reader: _Reader) -> Atomic:
    if name == "DOUBLE":
        reader.words("PRECISION")
    if name in ("CHAR", "BINARY") and reader.words("VARYING"):
        name = f"VAR{name}"
    arguments = _arguments(name, reader)
    if name in ("TIME", "TIMESTAMP"):
        if name == "TIMESTAMP" and reader.words("WITH", "LOCAL", "TIME", "ZONE"):
            name = "TIMESTAMP_LTZ"
        elif reader.words("WITH", "TIME", "ZONE"):
            raise _cannot_hold(f"{name}_WITH_TIME_ZONE", reader)
        else:
            reader.words("WITHOUT", "TIME", "ZONE")
    if name == "DECIMAL":
        precision, scale, *_ = *(arguments or (10,)), 0
        arguments = (precision, scale)
    return Atomic(name, arguments)


def _arguments(name: str, reader: _Reader) -> tuple[int, ...]:
    if not _ATOMIC[name] or not reader.sign("("):
        return ()
    found: list[int] = []
    while True:
        number = reader.take("number")
        if number is None:
            raise reader.error("a number")
        found.append(int(number))
        if len(found) == _ATOMIC[name] or not reader.sign(","):
            break
    reader.expect(")")
    return tuple(found)


def _cannot_hold(name: str, reader: _Reader) -> ColumnTypeError:
    return ColumnTypeError(
        "a type that an Iceberg table can hold", reader.text, _INSTEAD.get(name, _CAST)
    )
