"""The SQL that nobody writes: what follows from a topic's schema and rules, and from an output's own SELECT. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jobs.product.avro_types import Field, SchemaError, fields, is_of_the_log
from jobs.product.folder import Product, ProductError
from jobs.product.model import (
    INTERNAL_COLUMNS,
    LOG_COLUMNS,
    Column,
    Kind,
    Output,
    Role,
    Topic,
    seconds,
)
from jobs.product.names import did_you_mean, log_table
from jobs.product.sql import Statement, literal, quoted, read_statements, split_statements
from jobs.product.topic_schemas import key_schema_text, schema_text

ENVELOPE = (("log_value", "BYTES"), ("log_error", "STRING"))
"""Behind the schema's columns: the record's bytes, and why they could not be decoded."""
METADATA = (
    ("log_partition", "INT", "partition"),
    ("log_offset", "BIGINT", "offset"),
    ("log_appended", "TIMESTAMP_LTZ(3)", "timestamp"),
    ("log_key", "BYTES", "key"),
    ("log_headers", "MAP<STRING NOT NULL, BYTES>", "headers"),
    ("log_clock", "TIMESTAMP_LTZ(3)", "clock"),
)
"""Column, type, metadata key of the connector. `log_clock` is the greatest timestamp of the partition so far."""
WHERE_NAMED = frozenset({"log_key", "log_headers"})
"""Columns that only topics have whose SQL names them: every record would have to bring them along."""
KEPT = "log_kept"
"""The column that says, until the filter behind it, whether `where` holds of a row."""
REJECT_COLUMNS = (
    Column(
        name="log_topic",
        type="STRING",
        required=True,
        description="Where the record stands in the log",
    ),
    Column(name="log_partition", type="INT", required=True),
    Column(name="log_offset", type="BIGINT", required=True),
    Column(name="appended", type="TIMESTAMP_LTZ(6)", description="The record's timestamp"),
    Column(
        name="reason",
        type="STRING",
        required=True,
        description="Why no other table holds the record",
    ),
    Column(
        name="payload", type="BYTES", classification="restricted", description="The record's bytes"
    ),
)
_UNITS = ((86_400_000, "DAY"), (3_600_000, "HOUR"), (60_000, "MINUTE"), (1_000, "SECOND"))


def schema_fields(product: Product, name: str) -> tuple[Field, ...]:
    """The columns of a topic's values and keys; ProductError for a schema that cannot be a table."""
    of_key = key_fields(product, name)
    found = (*_value_fields(product, name), *of_key)
    names = [f.name.lower() for f in found]
    for field in of_key:
        if names.count(field.name.lower()) > 1:
            raise ProductError(
                product.folder / "product.yaml",
                f"topics.{name}.record_key: columns that the values do not have",
                field.name,
            )
    _check_names(product, name, [f.name for f in found])
    _check_time(product, name, {f.name: f.type for f in found})
    return found


def _value_fields(product: Product, name: str) -> tuple[Field, ...]:
    try:
        return fields(schema_text(product, name))
    except SchemaError as e:
        file = product.schema_file(product.settings.kafka_name(name))
        raise ProductError(file, e.expected, e.found) from e


def key_fields(product: Product, name: str) -> tuple[Field, ...]:
    """The columns that are read from the keys of a topic's records."""
    if (text := key_schema_text(product, name)) is None:
        return ()
    try:
        return fields(text)
    except SchemaError as e:
        file = product.key_schema_file(product.settings.kafka_name(name))
        raise ProductError(file, e.expected, e.found) from e


_AS_TIME = {
    "TIMESTAMP_LTZ(6)": "CAST({} AS TIMESTAMP_LTZ(3))",
    "TIMESTAMP_LTZ(9)": "CAST({} AS TIMESTAMP_LTZ(3))",
    "TIMESTAMP(3)": "CAST({} AS TIMESTAMP_LTZ(3))",
    "TIMESTAMP(6)": "CAST({} AS TIMESTAMP_LTZ(3))",
    "TIMESTAMP(9)": "CAST({} AS TIMESTAMP_LTZ(3))",
    "DATE": "CAST(CAST({} AS TIMESTAMP(3)) AS TIMESTAMP_LTZ(3))",
    "BIGINT": "TO_TIMESTAMP_LTZ({}, 3)",
    "STRING": "CAST(TO_TIMESTAMP({}) AS TIMESTAMP_LTZ(3))",
}


def _check_time(product: Product, name: str, types: Mapping[str, str]) -> None:
    """A time attribute of Flink has milliseconds; of a finer time the column itself keeps every digit."""
    time = product.settings.topics[name].time
    found = types.get(time or "", "TIMESTAMP_LTZ(3)")
    if found == "TIMESTAMP_LTZ(3)":
        return
    how = _AS_TIME.get(found, "…").format(quoted(time or ""))
    instead = f'such as columns: {{{time}_ms: "{how}"}} with time: {time}_ms'
    if product.settings.topics[name].key:  # versions are found by a field
        instead = "such as timestamp-millis of Avro or epoch-millis of JSON, or log_appended"
    raise ProductError(
        product.folder / "product.yaml",
        f"topics.{name}.time: a TIMESTAMP_LTZ(3), {instead}",
        f"{time}, a {found}",
    )


def _check_names(product: Product, name: str, names: list[str]) -> None:
    """Columns that product.yaml names are the schema's, and those that it adds are not."""
    topic, yaml = product.settings.topics[name], product.folder / "product.yaml"
    for computed in topic.columns:
        if alike := [n for n in names if n.lower() == computed.lower()]:
            raise ProductError(
                yaml, f"topics.{name}.columns: a name that the schema does not have", alike[0]
            )
        if is_of_the_log(computed):
            raise ProductError(
                yaml, f"topics.{name}.columns: a name that no topic has by itself", computed
            )
    for field in ("identity", "keyed_by", "key"):
        for column in getattr(topic, field):
            _check_name(yaml, f"topics.{name}.{field}", column, names)
    if topic.time is not None:
        _check_name(
            yaml, f"topics.{name}.time", topic.time, [*names, *topic.columns, "log_appended"]
        )


def _check_name(yaml: Path, where: str, column: str, names: list[str]) -> None:
    if column not in names:
        meant = did_you_mean(column, names) or f"one of {', '.join(names)}"
        raise ProductError(yaml, f"{where}: a column ({meant})", column)


def column_names(product: Product, name: str) -> tuple[str, ...]:
    """What SQL can select from a topic: the schema's columns, the computed ones, those of the log."""
    return (
        *(f.name for f in schema_fields(product, name)),
        *product.settings.topics[name].columns,
        *LOG_COLUMNS,
    )


def _log_columns(product: Product) -> tuple[str, ...]:
    """Columns of the log that the product's topics have."""
    named = WHERE_NAMED & _names(product)
    return tuple(c for c in LOG_COLUMNS if c not in WHERE_NAMED or c in named)


def _names(product: Product) -> frozenset[str]:
    """All identifiers in the product's SQL and in the expressions of product.yaml."""
    settings = product.settings
    files = [
        f for f in (product.views_sql, *map(product.select_sql, settings.outputs)) if f.is_file()
    ]
    expressions = [
        *(e for t in settings.topics.values() for e in t.columns.values()),
        *(o.where for o in settings.outputs.values() if o.where),
    ]
    found = [s for f in files for s in read_statements(f)]
    found += [s for e in expressions for s in split_statements(product.folder, e)]
    return frozenset(t.text.strip("`") for s in found for t in s.tokens)


def interval(duration: str) -> str:
    """A duration as an interval of Flink's SQL, whose literals have two digits."""
    milliseconds = round(seconds(duration) * 1000)
    unit_ms, unit = next(((ms, unit) for ms, unit in _UNITS if milliseconds % ms == 0), (1, ""))
    count = milliseconds // unit_ms
    if not unit:
        return f"{count} * INTERVAL '0.001' SECOND"
    return f"INTERVAL '{count}' {unit}" if count < 100 else f"{count} * INTERVAL '1' {unit}"


def source_table(product: Product, name: str, options: Mapping[str, str]) -> str:
    """The table of a topic's records, one row each: see `log_table`."""
    topic = product.settings.topics[name]
    metadata = {*_log_columns(product), *INTERNAL_COLUMNS}
    columns = [
        *(f"{quoted(f.name)} {f.type}" for f in _value_fields(product, name)),
        *(f"{quoted(column)} {type_}" for column, type_ in ENVELOPE),
        *(f"{quoted(f.name)} {f.type}" for f in key_fields(product, name)),
        *(
            f"{quoted(column)} {type_} METADATA FROM '{key}' VIRTUAL"
            for column, type_, key in METADATA
            if column in metadata
        ),
        *(
            f"{quoted(column)} AS {_expression(product, f'topics.{name}.columns.{column}', text)}"
            for column, text in topic.columns.items()
        ),
        _watermark(topic),
    ]
    return _create(f"CREATE TEMPORARY TABLE {quoted(log_table(name))}", columns, options)


def _watermark(topic: Topic) -> str:
    time = quoted(topic.time or "log_appended")
    if topic.role is Role.reference or topic.held_by_source:
        # of what it holds, the source tells its clock itself
        return f"WATERMARK FOR {time} AS {time}"
    return f"WATERMARK FOR {time} AS `log_appended` - {interval(topic.allowed_lateness or '0s')}"


TIME_COLUMNS = {"log_partition": "INT", "log_offset": "BIGINT", "happened": "TIMESTAMP_LTZ(6)"}


def is_reckoned(product: Product, name: str) -> bool:
    """Whether only SQL says when an event happened: its time is computed, or is no field of an Avro record."""
    topic = product.settings.topics[name]
    return topic.time is not None and (topic.time in topic.columns or not topic.format.is_avro)


def times(name: str, topic: Topic, table: str) -> str:
    """What fills a table of `TIME_COLUMNS`: when each record of a topic happened."""
    # As no time attribute, which must not be NULL in a sink.
    time = f"CAST({quoted(topic.time or '')} AS TIMESTAMP_LTZ(6))"
    return (
        f"INSERT INTO {quoted(table)}\n"
        f"SELECT `log_partition`, `log_offset`, {time} FROM {quoted(log_table(name))}"
    )


def topic_view(product: Product, name: str) -> str:
    """A topic as SQL sees it: what could be decoded and is neither late nor ahead, and each event once."""
    topic, kafka = product.settings.topics[name], literal(product.settings.kafka_name(name))
    log = [
        f"{kafka} AS `log_topic`" if c == "log_topic" else quoted(c) for c in _log_columns(product)
    ]
    own = (*(f.name for f in schema_fields(product, name)), *topic.columns)
    columns = ", ".join((*map(quoted, own), *log))
    good = " AND ".join(["`log_error` IS NULL", "`log_value` IS NOT NULL", *_on_time(topic)])
    query = f"SELECT {columns}\nFROM {quoted(log_table(name))}\nWHERE {good}"
    if topic.identity and not topic.held_by_source:
        query = _each_once(topic, ", ".join(map(quoted, (*own, *_log_columns(product)))), query)
    return f"CREATE TEMPORARY VIEW {quoted(name)} AS\n{query}"


def _on_time(topic: Topic) -> Iterator[str]:
    if topic.role is not Role.reference:
        time = quoted(topic.time or "")
        yield f"{time} >= `log_clock` - {interval(topic.allowed_lateness or '0s')}"
        yield f"{time} <= `log_clock` + {interval(topic.max_ahead)}"


def _each_once(topic: Topic, columns: str, query: str) -> str:
    """Of the records of one event, in whatever partitions, the one with the smallest place.

    A range of no length holds just the rows of one time, in every order of arrival; its state lasts until the watermark
    passes it, and the time stays a time attribute, which it does not behind a window.
    """
    identity = ", ".join(map(quoted, topic.identity))
    place = "`log_offset` * 65536 + `log_partition`"
    return (
        f"SELECT {columns}\nFROM (\n  SELECT *, {place} AS log__place, MIN({place}) OVER (\n"
        f"    PARTITION BY {identity} ORDER BY {quoted(topic.time or '')}\n"
        f"    RANGE BETWEEN INTERVAL '0' SECOND PRECEDING AND CURRENT ROW) AS log__first\n"
        f"  FROM (\n{query}\n  )\n)\nWHERE log__place = log__first"
    )


def rejects_query(product: Product) -> str:
    """The records that no other table can hold, with the reason."""
    return "\nUNION ALL\n".join(
        _rejects_of(name, product.settings.kafka_name(name), topic)
        for name, topic in product.settings.topics.items()
    )


def _rejects_of(name: str, kafka: str, topic: Topic) -> str:
    reasons = list(_reasons(topic))
    bad = " OR ".join(condition for condition, _ in reasons)
    reason = "\n    ".join(f"WHEN {condition} THEN {text}" for condition, text in reasons)
    return (
        f"SELECT CAST({literal(kafka)} AS STRING) AS `log_topic`, `log_partition`, `log_offset`,\n"
        f"  CAST(`log_appended` AS TIMESTAMP_LTZ(6)) AS `appended`,\n"
        f"  CASE\n    {reason}\n  END AS `reason`, `log_value` AS `payload`\n"
        f"FROM {quoted(log_table(name))}\nWHERE `log_value` IS NOT NULL AND ({bad})"
    )


def _reasons(topic: Topic) -> Iterator[tuple[str, str]]:
    """Conditions, the first of which says why a record is rejected."""
    yield "`log_error` IS NOT NULL", "'undecodable: ' || `log_error`"
    if not topic.is_event:
        for column in topic.key:
            yield f"{quoted(column)} IS NULL", f"'no key: {_plain(column)} is NULL'"
    if topic.time is not None:
        yield f"{quoted(topic.time)} IS NULL", f"'no time: {_plain(topic.time)} is NULL'"
    if topic.role is not Role.reference:
        time, said = quoted(topic.time or ""), _plain(topic.time or "")
        lateness, ahead = topic.allowed_lateness or "0s", topic.max_ahead
        value = f"CAST({time} AS STRING)"
        late = f"{time} < `log_appended` - {interval(lateness)}"
        yield (
            late,
            f"'late: {said} ' || {value} || ' is more than {lateness} before it was appended'",
        )
        yield (
            f"{time} < `log_clock` - {interval(lateness)}",
            f"'out of order: {said} ' || {value} || ' is more than {lateness} before an earlier record was appended'",
        )
        yield (
            f"{time} > `log_clock` + {interval(ahead)}",
            f"'ahead: {said} ' || {value} || ' is more than {ahead} after it was appended'",
        )


def _plain(name: str) -> str:
    return name.replace("'", "''")


def sink_table(table: str, columns: Mapping[str, str], options: Mapping[str, str]) -> str:
    """An output's table: column → type."""
    return _create(
        f"CREATE TEMPORARY TABLE {quoted(table)}",
        [f"{quoted(name)} {type_}" for name, type_ in columns.items()],
        options,
    )


def insert(table: str, output: Output) -> str:
    """What fills an output; it names its columns, as a later release may have added others."""
    return f"INSERT INTO {quoted(table)} ({', '.join(quoted(c.name) for c in output.columns)})\n{output.select}"


def rejects_output(product: Product) -> Output:
    """The table of records that no other table can hold."""
    return Output(kind=Kind.rejects, columns=REJECT_COLUMNS, select=rejects_query(product))


def filtered(select: str, columns: Sequence[str]) -> str:
    """A SELECT that has `KEPT` among its columns, without the rows of which it does not hold."""
    return f"SELECT {', '.join(map(quoted, columns))}\nFROM (\n{select}\n)\nWHERE `{KEPT}`"


_NOT_ALIKE = frozenset({"OVER", "SELECT", "SIMILAR", "EXISTS", "VALUES"})
_ALIKE = frozenset(
    {
        "AND",
        "OR",
        "NOT",
        "IN",
        "IS",
        "BETWEEN",
        "LIKE",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "COALESCE",
        "NULLIF",
    }
)
"""Words before a parenthesis that mean the same in Flink's SQL and in DuckDB's."""


def condition(product: Product, output: str) -> str:
    """An output's `where`, in parentheses; it can be nothing else than a condition on one record.

    The audit decides it again in DuckDB, which does not cut the quotient of two integers as Flink does.
    """
    file, place = product.folder / "product.yaml", f"outputs.{output}.where"
    where = _expression(product, place, product.settings.outputs[output].where or "")
    tokens = split_statements(file, where)[0].tokens
    for token, behind in zip(tokens, (*tokens[1:], None), strict=True):
        calls = token.is_name and behind is not None and behind.text == "("
        if token.text == "/" or token.word in _NOT_ALIKE or (calls and token.word not in _ALIKE):
            said = (
                "a condition on one record, of comparisons, LIKE, IN, BETWEEN and IS NULL, without functions, casts "
                "and /: the audit decides it again, in DuckDB"
            )
            raise ProductError(file, f"{place}: {said}", where)
    return f"({where})"


def _expression(product: Product, where: str, text: str) -> str:
    """An expression of product.yaml, which cannot end what it stands in."""
    file, text = product.folder / "product.yaml", text.strip()
    statements = split_statements(file, text)
    if (
        len(statements) != 1
        or not _stands_alone(statements[0])
        or text != "".join(_with_spaces(statements[0]))
    ):
        raise ProductError(file, f"{where}: one expression of SQL, without comments", text)
    return text


def _stands_alone(expression: Statement) -> bool:
    """Whether its parentheses, quotes and comments are closed, and it is not several expressions."""
    depth = 0
    for before, token in zip((None, *expression.tokens), expression.tokens, strict=False):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        opens = (
            before is not None
            and before.text + token.text == "/*"
            and before.start + 1 == token.start
        )
        if (
            depth < 0
            or (depth == 0 and token.text == ",")
            or opens
            or token.text in ("'", "`", "/*+", "*/")
        ):
            return False
    return depth == 0


def _with_spaces(expression: Statement) -> Iterator[str]:
    """Its tokens, and what is between them where that is nothing but spaces."""
    end = 0
    for token in expression.tokens:
        yield from (c for c in expression.text[end : token.start] if c.isspace())
        yield token.text
        end = token.start + len(token.text)


def _create(what: str, columns: Sequence[str], options: Mapping[str, str]) -> str:
    settings = ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in options.items())
    return f"{what} (\n  " + ",\n  ".join(columns) + f"\n) WITH (\n  {settings}\n)"
