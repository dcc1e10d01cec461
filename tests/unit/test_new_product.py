"""A folder from schemas: names for SQL, what is guessed of time, identity and categories, and what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs.product.avro_schema import parse
from jobs.product.avro_types import fields
from jobs.product.folder import load_product
from jobs.product.model import Role
from replay.cli import proposals
from replay.cli.main import app
from replay.cli.new import write
from replay.cli.new_product import Source, draft, identifier, quoted
from replay.errors import ConfigError, RefusedError
from replay.testing import model
from replay.testing.events import Encoder

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}


def schema(record: str = "Order", /, **types: Any) -> str:
    return json.dumps(
        {
            "type": "record",
            "name": record,
            "fields": [{"name": n, "type": t} for n, t in types.items()],
        }
    )


ORDERS = schema(
    order_id="string", ordered_at=MILLIS, shop="string", amount=DECIMAL, customer_id="long"
)
CUSTOMERS = schema("Customer", customer_id="long", name="string")


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("orders", "orders"),
        ("pg.public.orders", "orders"),
        ("user-orders", "user_orders"),
        ("Orders", "Orders"),
        ("2024.orders-v2", "orders_v2"),
        ("orders.2024", "t_2024"),
        ("a__b", "a_b"),
        ("x.taken", "x_taken"),
    ],
)
def test_a_topics_name_in_sql(topic: str, name: str) -> None:
    assert identifier(topic, {"taken"}) == name


def time_of(wanted: str | None = None, /, **types: Any) -> proposals.Time:
    text = schema(**types)
    return proposals.time(parse(text), fields(text), wanted)


@pytest.mark.parametrize(
    ("types", "column", "computed"),
    [
        ({"a": "long", "ordered_at": MILLIS}, "ordered_at", {}),
        ({"updated_at": MILLIS, "created_at": MILLIS}, "created_at", {}),
        ({"valid_until": MILLIS, "seen": MILLIS}, "seen", {}),
        ({"updated_at": MILLIS}, "updated_at", {}),
        ({"ts": MICROS}, "happened", {"happened": "CAST(ts AS TIMESTAMP_LTZ(3))"}),
        (
            {"ts": MICROS, "happened": "string"},
            "happened_at",
            {"happened_at": "CAST(ts AS TIMESTAMP_LTZ(3))"},
        ),
        (
            {"ts": {"type": "long", "logicalType": "local-timestamp-micros"}},
            "happened",
            {"happened": "CAST(ts AS TIMESTAMP_LTZ(3))"},
        ),
        ({"n": "long", "ts_ms": "long"}, "happened", {"happened": "TO_TIMESTAMP_LTZ(ts_ms, 3)"}),
        ({"eventTime": "long"}, "happened", {"happened": "TO_TIMESTAMP_LTZ(eventTime, 3)"}),
        ({"at_us": "long"}, "happened", {"happened": "TO_TIMESTAMP_LTZ(at_us / 1000, 3)"}),
        ({"time": "long"}, "happened", {"happened": "TO_TIMESTAMP_LTZ(`time`, 3)"}),
        ({"n": "long"}, "happened", {"happened": "log_appended"}),
    ],
)
def test_the_time_is_guessed(types: dict[str, Any], column: str, computed: dict[str, str]) -> None:
    found = time_of(**types)
    assert (found.column, dict(found.computed)) == (column, computed)


def test_a_time_that_was_named_is_taken() -> None:
    assert time_of("updated_at", created_at=MILLIS, updated_at=MILLIS).column == "updated_at"
    for wrong, said in (
        ("updtd", "one of created_at"),
        ("name", "a timestamp, a date or a long, and name is STRING"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            time_of(wrong, created_at=MILLIS, name="string")


@pytest.mark.parametrize(
    ("types", "identity", "unsure"),
    [
        ({"customer_id": "long", "order_id": "string"}, "order_id", ""),
        ({"id": "int", "x": "string"}, "id", ""),
        ({"orderId": "string"}, "orderId", ""),
        ({"key": {"type": "string", "logicalType": "uuid"}}, "key", ""),
        ({"customer_id": "long", "x": "string"}, "", "customer_id"),
        ({"id": "double"}, "", ""),
    ],
)
def test_the_identity_is_proposed_only_where_it_is_the_events_own(
    types: dict[str, Any], identity: str, unsure: str
) -> None:
    assert proposals.identity(parse(schema(**types)), "orders") == (identity, unsure)


@pytest.mark.parametrize(
    ("types", "category"),
    [
        ({"shop": "string", "state": {"type": "enum", "name": "S", "symbols": ["A"]}}, "state"),
        ({"name": "string", "country_code": ["null", "string"], "ok": "boolean"}, "country_code"),
        ({"name": "string", "ok": "boolean"}, "ok"),
        ({"name": "string"}, ""),
    ],
)
def test_a_column_of_few_values_is_looked_for(types: dict[str, Any], category: str) -> None:
    text = schema(**types)
    assert proposals.category(parse(text), fields(text)) == category


def test_only_exact_amounts_are_added_up() -> None:
    text = schema(total="double", cents="int", amount=DECIMAL, n="long", size="long")
    assert proposals.amounts(parse(text), fields(text)) == {
        "cents": "CAST(cents AS BIGINT)",
        "amount": "amount",
    }


def test_reserved_words_are_quoted() -> None:
    assert [quoted(n) for n in ("shop", "hour", "Value", "order_id", "no")] == [
        "shop",
        "`hour`",
        "`Value`",
        "order_id",
        "`no`",
    ]


def test_a_whole_folder(tmp_path: Path) -> None:
    drafted = draft(
        "shop", [Source("pg.public.orders", ORDERS, 1), Source("crm.customers", CUSTOMERS)]
    )
    assert drafted.files["product.yaml"] == (
        "# yaml-language-server: $schema=../product.schema.json\n"
        "name: shop\n"
        "parallelism: 1   # never more than the partitions of the topic\n"
        "topics:\n"
        "  orders:\n"
        "    topic: pg.public.orders\n"
        "    time: ordered_at   # when it happened\n"
        "    allowed_lateness: 1h\n"
        "    identity: [order_id]   # guessed: two records of one time that share it are one event\n"
        "  customers:\n"
        "    topic: crm.customers\n"
        "    role: reference   # read up to its end when a release is built\n"
        "    key: [customer_id]\n"
        "outputs: [shop_rows, hourly_shop]\n"
    )
    assert drafted.files["shop_rows.sql"] == (
        "SELECT e.order_id, e.ordered_at, e.shop, e.amount, e.customer_id, r1.name AS customer_name\n"
        "FROM orders AS e\n"
        "LEFT JOIN LATERAL TABLE(customers_at(e.ordered_at, e.customer_id)) AS r1 ON TRUE\n"
    )
    assert drafted.files["hourly_shop.sql"] == (
        "SELECT window_start AS `hour`, shop, COUNT(*) AS events, SUM(amount) AS amount\n"
        "FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ordered_at), INTERVAL '1' HOUR))\n"
        "GROUP BY window_start, window_end, shop\n"
    )
    assert drafted.guesses[1] == "topic orders: ordered_at says when it happened (guessed)"
    write(tmp_path / "sql" / "shop", drafted)
    product = load_product(tmp_path / "sql" / "shop")
    assert {n: t.role for n, t in product.topics.items()} == {
        "pg.public.orders": Role.events,
        "crm.customers": Role.reference,
    }
    assert (tmp_path / "sql" / "product.schema.json").is_file()


def test_a_topic_that_cannot_be_looked_up_has_a_table_of_its_own(tmp_path: Path) -> None:
    visits = schema("Visit", visit_id="string", at=MILLIS, path="string")
    drafted = draft("orders", [Source("orders", ORDERS), Source("visits", visits)])
    assert set(drafted.files) == {
        "product.yaml",
        "orders_rows.sql",
        "hourly_orders.sql",
        "visits_rows.sql",
        "schemas/orders.avsc",
        "schemas/visits.avsc",
        "tests/first.yaml",
    }
    assert drafted.files["visits_rows.sql"] == "SELECT visit_id, `at`, path\nFROM visits\n"
    write(tmp_path / "orders", drafted)
    assert list(load_product(tmp_path / "orders").settings.outputs) == [
        "orders_rows",
        "hourly_orders",
        "visits_rows",
    ]


def test_names_that_yaml_would_read_otherwise_are_quoted() -> None:
    text = draft("n", [Source("on", schema("No", no="string", yes=MILLIS))]).files["product.yaml"]
    read = yaml.safe_load(text)
    assert read["topics"] == {"on": {"time": "yes", "allowed_lateness": "1h"}}


def failure(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments).exception


def test_an_existing_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "none"))
    (tmp_path / "o.avsc").write_text(ORDERS)
    assert failure("new", "orders", "--from-schema", "o.avsc") is None
    before = {f: f.read_text() for f in (tmp_path / "sql").rglob("*.*") if f.is_file()}
    error = failure("new", "orders", "--from-schema", "o.avsc")
    assert isinstance(error, RefusedError)
    assert error.message == "sql/orders exists already"
    assert {f: f.read_text() for f in (tmp_path / "sql").rglob("*.*") if f.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["My-Orders"], "'My-Orders' is not a valid name of a product"),
        (["orders", "--from-schema", "none.avsc"], "none.avsc cannot be read"),
        (["orders", "--from-schema", "bad.avsc"], "bad.avsc is not an Avro schema"),
        (
            ["orders", "--from-schema", "o.avsc", "--time", "shop"],
            "--time shop does not say when an event of orders happened",
        ),
        (["orders", "--from-schema", "tree.avsc"], "the schema cannot be a table"),
        (
            ["orders", "--from-schema", "o.avsc", "--from-schema", "o.avsc"],
            "there are more schemas than topics",
        ),
    ],
)
def test_what_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "none"))
    (tmp_path / "o.avsc").write_text(ORDERS)
    (tmp_path / "bad.avsc").write_text('{"type": "recrd"}')
    (tmp_path / "tree.avsc").write_text(schema("Tree", at=MILLIS, left=["null", "Tree"]))
    error = failure("new", *arguments)
    assert isinstance(error, ConfigError), error
    assert error.message == message
    assert not (tmp_path / "sql").exists()


EVERY_TYPE = {
    "at": MILLIS,
    "local": {"type": "long", "logicalType": "local-timestamp-micros"},
    "day": {"type": "int", "logicalType": "date"},
    "hour": {"type": "int", "logicalType": "time-millis"},
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 2},
    "uuid": {"type": "string", "logicalType": "uuid"},
    "state": {"type": "enum", "name": "State", "symbols": ["null", "open"]},
    "tags": {"type": "array", "items": "string"},
    "more": {"type": "map", "values": "long"},
    "part": {
        "type": "record",
        "name": "Part",
        "fields": [{"name": "true", "type": ["null", "double"]}],
    },
    "is_new": "boolean",
    "raw": "bytes",
    "value": ["null", "float"],
}


@pytest.mark.parametrize(
    "types",
    [
        {"order_id": "string", "ordered_at": MILLIS},
        {"at": MILLIS, "no": "long"},
        {"value": "string", "payload": "string", "ts": MICROS},
        {"order_id": "long", **EVERY_TYPE},
    ],
)
def test_the_first_test_of_a_folder_can_be_read_and_its_events_fit_their_schema(
    tmp_path: Path, types: dict[str, Any]
) -> None:
    text = schema(**types)
    write(tmp_path / "orders", draft("orders", [Source("orders", text)]))
    product, cases = load_product(tmp_path / "orders"), model.read(tmp_path / "orders")
    assert [case.name for case in cases] == [
        "an event is a row, and counted in its hour",
        *(["an event that comes twice counts once"] if "order_id" in types else []),
    ]
    encoder = Encoder(product, {"orders": text})
    for number, case in enumerate(cases, 1):
        assert set(case.body.expect or ()) == {"orders_rows", "hourly_orders"}
        events = encoder.events(case)["orders"]
        assert len(events) == number and all(event.value for event in events)


def test_a_schema_of_which_no_example_is_made_has_no_first_test() -> None:
    two = schema(order_id="string", ordered_at=MILLIS, either=["string", "long"])
    assert "tests/first.yaml" not in draft("orders", [Source("orders", two)]).files
