"""Everything that is generated for a product, as the SQL that Flink runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from jobs import generate
from jobs.bindings import Bindings, sink_options, source_options
from jobs.product.folder import Product
from jobs.product.sql import read_statements


def explain(product: Product, bindings: Bindings) -> str:
    """Statements in the order in which the job runs them; what SQL cannot declare is a comment."""
    return "\n\n".join(_statements(product, bindings)) + "\n"


def _statements(product: Product, bindings: Bindings) -> Iterator[str]:
    settings = product.settings
    yield f"SET 'table.local-time-zone' = '{settings.time_zone}';"
    for name, function in settings.functions.items():
        yield f"-- {name}(…) RETURNS {function.returns}: Python, {function.python}"
    for name, topic in settings.topics.items():
        yield f"-- topic {name}: its records as they are in the log, and what SQL sees of them"
        yield generate.source_table(product, name, source_options(name, product, bindings)) + ";"
        yield generate.topic_view(product, name) + ";"
        if topic.key:
            yield f"-- {name}_at(time, {', '.join(topic.key)}): the version of {name} at a time"
    for name, found in settings.lookups.items():
        keys = ", ".join(key for topic in found.values() for key in settings.topics[topic].key)
        yield f"-- {name}_at(time, {keys}): the versions of {', '.join(found.values())} at a time, in one row"
    if product.views_sql.is_file():
        yield "-- views.sql"
        yield from (f"{statement.text};" for statement in read_statements(product.views_sql))
    for table, output in product.outputs.items():
        yield f"-- table {table}: {output.kind.value}"
        columns = {c.name: c.type for c in output.columns}
        yield generate.sink_table(table, columns, sink_options(table, bindings)) + ";"
        yield generate.insert(table, output) + ";"
