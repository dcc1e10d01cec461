"""A schema in the folder beside the registry's: which is newer, and whose records could not be read."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from jobs.product.avro_schema import parse
from jobs.product.model import Topic
from replay.avro import compatibility
from replay.errors import RetryableError
from replay.kafka import schema_registry, schemas, whole_log
from replay.kafka.schemas import Comparison, Kind, Registered, compare_one, pretty
from replay.kafka.whole_log import LogProblem
from tests.unit.lake_tables import make_settings

FILE = Path("schemas/orders.avsc")
ID: dict[str, Any] = {"name": "id", "type": "string"}
CENTS: dict[str, Any] = {"name": "cents", "type": "int"}
EUR: dict[str, Any] = {"name": "currency", "type": "string", "default": "EUR"}
STATE: dict[str, Any] = {
    "name": "state",
    "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]},
}


def schema(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "Order", "fields": list(fields)})


def compared(folder: str, *registered: str) -> Comparison:
    versions = [Registered(10 + n, n, text) for n, text in enumerate(registered, 1)]
    return compare_one("kappa pull shop", "pg.orders", FILE, folder, versions)


def test_nothing_is_registered() -> None:
    assert compared(schema(ID)) == Comparison(
        "pg.orders",
        Kind.missing,
        "none",
        "kappa topic create pg.orders --schema schemas/orders.avsc",
    )


@pytest.mark.parametrize(("code", "known"), [(40401, True), (404, False), (-1, False)])
def test_only_the_registry_itself_says_that_there_is_no_schema(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, known: bool
) -> None:
    """Not a 404 of a proxy, of another server at its address, or of one that still starts."""

    class Registry:
        def _answer(self, subject: str) -> None:
            raise SchemaRegistryError(404, code, "Not Found")

        get_versions = get_latest_version = _answer

    monkeypatch.setattr(schema_registry, "client", lambda settings: nullcontext(Registry()))
    settings = make_settings(tmp_path)
    if known:
        assert (schemas.versions(settings, "orders"), schemas.latest(settings, "orders")) == (
            [],
            None,
        )
        return
    for asked in (schemas.versions, schemas.latest):
        with pytest.raises(RetryableError, match="registry"):
            asked(settings, "orders")


def test_documentation_and_spelling_make_no_difference() -> None:
    documented = schema({"doc": "whose", "name": "id", "type": {"type": "string"}})
    assert compared(documented, schema(ID)).kind is Kind.equal


@pytest.mark.parametrize(
    ("folder", "registered", "what"),
    [
        (
            schema(ID),
            [schema(ID), schema(ID, EUR)],
            'version 2 has + currency string, default "EUR"',
        ),
        (
            schema(ID, CENTS),
            [schema(ID, CENTS), schema(ID, {**CENTS, "default": 0})],
            "version 2 has ~ cents: int → int, default 0",
        ),
        (schema(ID), [schema(ID, CENTS)], "version 1 has + cents int"),
    ],
    ids=["a field more", "a default", "a folder that leaves a field out"],
)
def test_the_registry_is_newer(folder: str, registered: list[str], what: str) -> None:
    found = compared(folder, *registered)
    assert (found.kind, found.what, found.next) == (Kind.registry_newer, what, "kappa pull shop")
    assert (found.blocking, found.pullable) == (False, True)


def test_the_folder_is_newer() -> None:
    found = compared(schema(ID, EUR), schema(ID))
    assert (found.kind, found.blocking, found.pullable) == (Kind.folder_newer, False, False)
    assert found.line == (
        'schema of pg.orders: orders.avsc has + currency string, default "EUR", not registered; '
        "next: kappa topic create pg.orders --schema schemas/orders.avsc"
    )


def test_a_pull_cures_a_folder_that_does_not_read_the_newest_records() -> None:
    found = compared(schema(ID, CENTS), schema(ID, CENTS), schema(ID))
    assert (found.kind, found.blocking, found.pullable) == (Kind.incompatible, True, True)
    assert (
        found.what
        == "orders.avsc does not read records of version 2: field cents: not in the records, and it "
        "has no default"
    )
    assert found.next == "kappa pull shop"


def test_no_pull_cures_a_version_whose_records_nothing_reads() -> None:
    found = compared(schema(ID, CENTS), schema(ID, CENTS), schema(ID, {**CENTS, "type": "string"}))
    assert (found.kind, found.pullable) == (Kind.incompatible, False)
    assert (
        found.what
        == "orders.avsc does not read records of version 2: field cents: string is not readable as int"
    )
    assert found.next == "give the field a default or an alias in orders.avsc, or read a new topic"


def test_an_old_version_counts_too() -> None:
    renamed = schema(ID, {"name": "amount", "type": "int"})
    assert compared(renamed, schema(ID, CENTS), renamed).kind is Kind.incompatible
    cured = schema(ID, {"name": "amount", "type": "int", "aliases": ["cents"]})
    assert compared(cured, schema(ID, CENTS), renamed).kind is Kind.folder_newer


def test_a_schema_that_was_edited_here_is_not_overwritten() -> None:
    edited = schema(ID, {"name": "note", "type": "string"})
    assert compared(edited, schema(ID)).pullable is False


def logical(base: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


@pytest.mark.parametrize(
    ("reader", "writer", "readable"),
    [
        ("long", "int", True),
        ("int", "long", False),
        ("double", "float", True),
        ("bytes", "string", True),
        (["null", "string"], "string", True),
        ("string", ["null", "string"], False),
        (["int", "string"], "long", False),
        (logical("long", "timestamp-micros"), logical("long", "timestamp-millis"), True),
        (logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), False),
        (
            logical("bytes", "decimal", precision=10, scale=2),
            logical("bytes", "decimal", precision=8, scale=2),
            True,
        ),
        (
            logical("bytes", "decimal", precision=8, scale=2),
            logical("bytes", "decimal", precision=10, scale=2),
            False,
        ),
        (
            logical("bytes", "decimal", precision=8, scale=2),
            logical("bytes", "decimal", precision=8, scale=4),
            False,
        ),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}, True),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "string"}, False),
        (
            {"type": "enum", "name": "E", "symbols": ["A"]},
            {"type": "enum", "name": "E", "symbols": ["A", "B"]},
            False,
        ),
        (
            {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"},
            {"type": "enum", "name": "E", "symbols": ["A", "B"]},
            True,
        ),
        (
            {"type": "fixed", "name": "F", "size": 4},
            {"type": "fixed", "name": "F", "size": 8},
            False,
        ),
    ],
)
def test_what_can_be_read_as_what(reader: Any, writer: Any, readable: bool) -> None:
    one, other = parse(json.dumps(reader)), parse(json.dumps(writer))
    assert (compatibility.unreadable(one, other) == []) is readable


def test_a_recursive_type_is_compared() -> None:
    def tree(value: str) -> Any:
        return parse(
            json.dumps(
                {
                    "type": "record",
                    "name": "Tree",
                    "fields": [
                        {"name": "value", "type": value},
                        {"name": "left", "type": ["null", "Tree"], "default": None},
                    ],
                }
            )
        )

    assert compatibility.unreadable(tree("long"), tree("int")) == []
    assert compatibility.unreadable(tree("int"), tree("long")) == [
        "field value: long is not readable as int"
    ]
    assert compatibility.changes(tree("int"), tree("long")) == ["~ value: int → long"]


def test_changes_go_into_records_and_enums() -> None:
    def order(symbols: list[str], *item: dict[str, Any]) -> Any:
        record = {"type": "record", "name": "I", "fields": list(item)}
        return parse(
            schema(
                {"name": "state", "type": {**STATE["type"], "symbols": symbols}},
                {"name": "items", "type": {"type": "array", "items": record}},
            )
        )

    assert compatibility.changes(order(["NEW"], ID), order(["NEW", "PAID"], ID, EUR)) == [
        "~ state: NEW → NEW, PAID",
        '+ items.currency string, default "EUR"',
    ]


def test_a_pulled_schema_has_a_line_for_each_field() -> None:
    text = pretty(schema(ID, EUR))
    assert text == (
        '{\n  "type": "record", "name": "Order",\n  "fields": [\n    {"name": "id", "type": "string"},\n'
        '    {"name": "currency", "type": "string", "default": "EUR"}\n  ]\n}\n'
    )
    assert json.loads(text) == json.loads(schema(ID, EUR))


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A product of three topics: one whose records nobody could read, one that is newer, one that is not there."""
    folders = {"pg.orders": schema(ID, CENTS), "visits": schema(ID), "absent": schema(ID)}
    for topic, text in folders.items():
        (tmp_path / f"{topic}.avsc").write_text(text)
    known = {
        "pg.orders": [schema(ID, {**CENTS, "type": "string"})],
        "visits": [schema(ID, EUR)],
        "absent": [],
    }
    monkeypatch.setattr(
        schemas,
        "versions",
        lambda _, topic: [Registered(n, n, text) for n, text in enumerate(known[topic], 1)],
    )
    monkeypatch.setattr(
        whole_log, "problems", lambda *_: [LogProblem("absent", "a topic", "none", "make it")]
    )
    return SimpleNamespace(
        name="shop",
        folder=tmp_path,
        topics={t: Topic(time="at", allowed_lateness="1h") for t in folders},
        schema_file=lambda t: tmp_path / f"{t}.avsc",
    )


def test_a_log_is_whole_only_if_its_records_can_be_read(product: Any) -> None:
    settings: Any = None
    assert [(p.topic, p.expected) for p in schemas.log_problems(settings, product)] == [
        ("absent", "a topic"),
        ("pg.orders", "a schema that reads the records of every registered version"),
    ]


def test_a_newer_schema_is_named_and_blocks_nothing(
    product: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = None
    assert [c.line for c in schemas.differences(settings, product)] == [
        'schema of visits: version 1 has + currency string, default "EUR"; next: kappa pull shop '
        f"--from {tmp_path}"
    ]
    monkeypatch.chdir(tmp_path)
    product.folder = Path("sql/shop")
    assert schemas.pull_command(product) == "kappa pull shop"
