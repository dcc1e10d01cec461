"""Tests of a product's SQL, apart from Flink: files are read, records made, rows compared and recorded."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fastavro
import pytest
import yaml

from jobs import generate
from jobs.product.column_types import parse
from jobs.product.folder import Product
from jobs.product.model import Column, Kind, Output
from replay.avro.json_values import JsonValueError
from replay.errors import ConfigError
from replay.kafka import record_files
from replay.kafka.reading import ConsumedRecord
from replay.testing import clocks, compare, events, junit, model, plain_yaml, recording, values
from replay.testing import run as testing
from tests.unit import folders, products

NEW_YORK = "America/New_York"
NOON = 1_717_416_000_000  # 2024-06-03T12:00Z
ORDER = {"order_id": "a", "ordered_at": "2024-06-03T12:00:00", "shop": "s", "cents": 5}


def case(given: dict[str, Any], expect: Any = None, name: str = "a test") -> model.Case:
    return model.Case(
        Path("tests/a.yaml"), name, model.Body.model_validate({"given": given, "expect": expect})
    )


def encoder(product: Product | None = None) -> events.Encoder:
    product = product or products.orders()
    texts = {
        t: product.schema_file(k).read_text() for k in product.topics for t in [product.sql_name(k)]
    }
    return events.Encoder(product, texts)


def records(*said: Any) -> list[ConsumedRecord]:
    of = case({"orders": list(said)})
    found = events.records(of, "orders", encoder().events(of)["orders"])
    return [record for partition in found.values() for record in partition]


def refusal(given: dict[str, Any]) -> tuple[str, str, str]:
    def records_of(of: model.Case) -> None:
        for topic, found in encoder().events(of).items():
            events.records(of, topic, found)

    with pytest.raises(ConfigError) as e:
        records_of(case(given))
    return e.value.message, e.value.expected, e.value.found


# YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: &a [1, *a]", "alias", id="without end"),
        pytest.param("a: &a [1]\nb: &b [*a, *a]", "alias", id="doubled again and again"),
        pytest.param("9" * 5000, "digits", id="thousands of digits"),
        pytest.param("a: 1e999999999", "beyond", id="beyond a double"),
        pytest.param("[" * 3000, "recursion", id="brackets without end"),
    ],
)
def test_hostile_yaml_is_refused(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=said):
        plain_yaml.load(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("2024-06-03", "2024-06-03", id="a date is a text"),
        pytest.param("12:30:00", "12:30:00", id="a time of day is a text"),
        pytest.param("no", "no", id="no is a text, as Norway's code is"),
        pytest.param("0123", 123, id="a number has ten digits to choose from"),
        pytest.param("12.30", Decimal("12.30"), id="a number keeps every digit"),
        pytest.param("1e3", Decimal("1e3"), id="with an exponent"),
        pytest.param(".nan", "NaN", id="not a number"),
        pytest.param("-.inf", "-Infinity", id="minus infinity"),
        pytest.param("true", True, id="true"),
        pytest.param("~", None, id="null"),
        pytest.param("'12'", "12", id="a text in quotes"),
        pytest.param("{a: [1, b]}", {"a": [1, "b"]}, id="nested"),
        pytest.param("[&x {a: 1}, *x]", [{"a": 1}, {"a": 1}], id="an event again"),
        pytest.param(
            "[&x {a: 1, b: 2}, {<<: *x, b: 3}]", [{"a": 1, "b": 2}, {"a": 1, "b": 3}], id="merged"
        ),
    ],
)
def test_yaml_means_what_people_mean(text: str, value: Any) -> None:
    assert plain_yaml.load(text) == value


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="a occurs twice"):
        plain_yaml.load("{a: 1, a: 2}")


# Files


def written(folder: Path, text: str, name: str = "a.yaml") -> Path:
    (folder / "tests").mkdir(exist_ok=True)
    file = folder / "tests" / name
    file.write_text(text)
    return file


GOOD = "one:\n  given: {orders: [{a: 1}]}\n  expect: {rows: [{a: 1}]}\n"


def test_a_list_of_rows_is_all_of_them(tmp_path: Path) -> None:
    written(tmp_path, GOOD + "two:\n  given: {t: [1]}\n  expect: {x: {rows: [], partial: true}}\n")
    one, two = model.read(tmp_path)
    assert one.body.expect == {"rows": model.Expected(rows=({"a": 1},))}
    assert two.body.expect == {"x": model.Expected(rows=(), partial=True)}


@pytest.mark.parametrize(
    ("text", "message", "expected", "found"),
    [
        ("", "{file} is wrong", "name of a test: {given: …, expect: …}", "nothing"),
        ("- a", "{file} is wrong", "name of a test: {given: …, expect: …}", "list"),
        (
            "a: {given: {t: [1]}, expects: {}}",
            "test 'a' of {file}: expects",
            "did you mean expect?",
            "expects",
        ),
        (
            "a: {expect: {x: []}}",
            "test 'a' of {file}: given",
            "Field required",
            "{'expect': {'x': []}}",
        ),
        (
            "a: {given: {t: []}}",
            "test 'a' of {file}: given",
            "at least one event: a test of no event tests nothing",
            "{'t': []}",
        ),
        (
            "a: {given: {t: [1]}, expect: {}}",
            "test 'a' of {file}: expect",
            "at least one output; leave `expect` out, and kappa test --record writes it",
            "{}",
        ),
        (
            "a: {given: {t: [1]}, expect: {x: {row: []}}}",
            "test 'a' of {file}: expect.x.row",
            "did you mean rows?",
            "row",
        ),
        ("1: {given: {t: [1]}}", "{file} is wrong", "the name of a test, a text on one line", "1"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, text: str, message: str, expected: str, found: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as e:
        model.read(tmp_path)
    said = (e.value.message, e.value.expected, e.value.found)
    assert said == (message.format(file=file), expected, found)


def test_a_name_belongs_to_one_test(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, GOOD, "b.yaml")
    with pytest.raises(ConfigError, match=r"test 'one' of .*b\.yaml"):
        model.read(tmp_path)


def test_tests_are_chosen_by_name_pattern_or_file(tmp_path: Path) -> None:
    written(tmp_path, GOOD + GOOD.replace("one", "other one"))
    written(tmp_path, GOOD.replace("one", "two"), "b.yaml")
    cases = model.read(tmp_path)

    def names(*wanted: str) -> list[str]:
        return [c.name for c in model.chosen(cases, wanted)]

    assert names() == ["one", "other one", "two"]
    assert names("one") == ["one"]
    assert names("*one") == ["one", "other one"]
    assert names("b", "one") == ["one", "two"]
    with pytest.raises(ConfigError) as e:
        names("one", "tow")
    assert e.value.expected == "did you mean two?"


def test_tests_are_no_part_of_a_release(tmp_path: Path) -> None:
    product = folders.write(tmp_path)
    before = product.files
    written(tmp_path, GOOD)
    assert product.files == before


# Events


def test_an_event_is_appended_when_it_happened() -> None:
    [record] = records(ORDER)
    assert (record.partition, record.offset, record.timestamp, record.key) == (0, 0, NOON, None)
    assert record.value and record.value.startswith(b"\0\0\0\0\1\x02a")


def test_a_record_is_not_appended_before_the_one_ahead_of_it() -> None:
    earlier = {**ORDER, "ordered_at": "2024-06-03T11:00:00"}
    assert [r.timestamp for r in records(ORDER, earlier, {"payload": "x"})] == [NOON] * 3
    assert [r.timestamp for r in records(earlier, {"value": earlier, "partition": 1})] == [
        NOON - 3_600_000
    ] * 2


def test_an_event_may_say_where_and_when_it_stands() -> None:
    found = records(
        {
            "value": ORDER,
            "partition": 1,
            "offset": 7,
            "appended": "2024-06-03T12:00:01+00:00",
            "key": "k",
        },
        {"value": ORDER, "partition": 1, "headers": {"h": "hex:00"}, "times": 2},
        {"payload": "hex:ff", "key": "hex:00"},
        {"value": None, "key": "gone"},
    )
    assert [(r.partition, r.offset, r.timestamp) for r in found] == [
        (0, 0, 0), (0, 1, 0), (1, 7, NOON + 1000), (1, 8, NOON + 1000), (1, 9, NOON + 1000)
    ]  # fmt: skip
    assert [r.key for r in found] == [b"\0", b"gone", b"k", None, None]
    assert found[0].value == b"\xff" and found[1].value is None
    assert found[3].headers == (("h", b"\0"),)


def test_what_peek_prints_is_an_event() -> None:
    from replay.avro.json_scalars import text_or_hex

    printed = {"key": text_or_hex(b"\0"), "value": ORDER, "headers": [["a", "b"]]}
    [record] = records(json.loads(json.dumps(printed)))
    assert record.key == b"\0" and record.headers == (("a", b"b"),)


@pytest.mark.parametrize(
    ("given", "message", "expected", "found"),
    [
        (
            {"order": [ORDER]},
            "given.order",
            "a topic of product.yaml; did you mean orders?",
            "order",
        ),
        (
            {"orders": [ORDER, {**ORDER, "cents": "5"}]},
            "event 2 of orders, cents",
            "long: a whole number of 64 bits",
            '"5"',
        ),
        (
            {"orders": [{**ORDER, "shp": "s"}]},
            "event 1 of orders, shp",
            "a field of Order (order_id, ordered_at, shop, cents)",
            "'shp'; did you mean shop?",
        ),
        (
            {"orders": [{"value": ORDER, "apended": "x"}]},
            "event 1 of orders, apended",
            "did you mean appended?",
            "apended",
        ),
        (
            {"orders": [{"value": ORDER, "offset": 3}, {"value": ORDER, "offset": 3}]},
            "event 2 of orders, offset",
            "an offset behind 3 in partition 0",
            "3",
        ),
        (
            {"orders": [{"value": ORDER, "appended": "yesterday"}]},
            "event 1 of orders, appended",
            'timestamp-millis: ISO 8601 with a zone, "2024-06-03T01:02:03.456Z", or milliseconds since 1970',
            '"yesterday"',
        ),
        (
            {"orders": [{"value": ORDER, "times": 2, "offset": 4}]},
            "event 1 of orders, times",
            "no times beside an offset",
            "2",
        ),
        (
            {"orders": ["a"]},
            "event 1 of orders",
            "an object: the value of a record, or {value: …}",
            '"a"',
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_said(
    given: dict[str, Any], message: str, expected: str, found: str
) -> None:
    assert refusal(given) == (f"test 'a test' of tests/a.yaml: {message}", expected, found)


def test_a_schema_may_have_a_field_of_the_name_value(tmp_path: Path) -> None:
    schema = {
        **folders.SCHEMA,
        "fields": [*folders.SCHEMA["fields"], {"name": "value", "type": "int"}],
    }
    product = folders.write(tmp_path, schema=schema)
    body = {"a": 1, "at": "2024-06-03T12:00:00", "value": 3}
    bare, enveloped = encoder(product).events(case({"orders": [body, {"value": body}]}))["orders"]
    assert bare == enveloped
    assert bare.value and bare.value.endswith(b"\6") and bare.happened == NOON
    with pytest.raises(ConfigError, match="event 1 of orders"):
        encoder(product).events(case({"orders": [{"value": 3}]}))


def test_the_time_of_flights_is_known_to_sql_alone() -> None:
    assert generate.is_reckoned(products.flights(), "flights")
    assert not generate.is_reckoned(products.flights(), "weather")
    assert not generate.is_reckoned(products.flights(), "airlines")


def test_record_files_are_avros(tmp_path: Path) -> None:
    record = ConsumedRecord(0, 7, NOON, b"k", None, (("h", None),))
    record_files.write(tmp_path / "t", {0: [record], 1: []})
    with (tmp_path / "t" / "0.avro").open("rb") as file:
        assert [*fastavro.reader(file)] == [
            {
                "offset": 7,
                "timestamp": NOON,
                "key": b"k",
                "value": None,
                "headers": [{"key": "h", "value": None}],
            }
        ]
    with (tmp_path / "t" / "1.avro").open("rb") as file:
        assert [*fastavro.reader(file)] == []


# Clocks


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2013-03-10T01:59:59", "2013-03-10T06:59:59Z"),
        ("2013-03-10 03:00", "2013-03-10T07:00:00Z"),
        ("2013-07-01T00:00:00.123456", "2013-07-01T04:00:00.123456Z"),
        ("2013-07-01T00:00:00+02:00", "2013-07-01T00:00:00+02:00"),
        ("never", "never"),
        ("2013-02-30T00:00:00", "2013-02-30T00:00:00"),
    ],
)
def test_a_time_without_an_offset_is_of_the_products_clocks(text: str, instant: str) -> None:
    assert clocks.instant(text, NEW_YORK) == instant


@pytest.mark.parametrize(
    ("text", "how"), [("2013-11-03T01:30:00", "twice"), ("2013-03-10T02:30:00", "never")]
)
def test_a_time_that_clocks_show_twice_or_never_needs_an_offset(text: str, how: str) -> None:
    with pytest.raises(JsonValueError, match=f"the clocks of {NEW_YORK} show it {how}"):
        clocks.instant(text, NEW_YORK)


@pytest.mark.parametrize(
    "at",
    [
        datetime(2013, 11, 3, 5, 30, tzinfo=UTC),
        datetime(2013, 11, 3, 6, 30, tzinfo=UTC),
        datetime(2013, 7, 1, tzinfo=UTC),
    ],
)
def test_a_time_that_is_shown_is_read_back(at: datetime) -> None:
    assert (
        values.expected(parse("TIMESTAMP_LTZ(6)"), clocks.shown(at, NEW_YORK), NEW_YORK, "x") == at
    )


# Values

CAME: list[tuple[str, Any, Any]] = [
    ("BOOLEAN", True, True),
    ("BIGINT", 2**62, 2**62),
    ("DOUBLE", "0.1", Decimal("0.1")),
    ("DOUBLE", "NaN", "NaN"),
    ("DOUBLE", "0.3333333333333333", Decimal("0.33333333333")),
    ("DECIMAL(12, 4)", "12.3000", Decimal("12.3")),
    (
        "DECIMAL(38, 18)",
        "12345678901234567890.000000000000000001",
        "12345678901234567890.000000000000000001",
    ),
    ("STRING", "a", "a"),
    ("BYTES", "hex:00ff", "base64:AP8="),
    ("DATE", "2024-06-03", "2024-06-03"),
    ("TIME", "01:02:03.400", "01:02:03.4"),
    ("TIMESTAMP(6)", "2024-06-03T01:02:03.456789", "2024-06-03 01:02:03.456789"),
    ("TIMESTAMP_LTZ(6)", "2024-06-03T01:02:03Z", "2024-06-02T21:02:03"),
    ("TIMESTAMP_LTZ(6)", "2024-06-03T01:02:03Z", "2024-06-03T03:02:03+02:00"),
    ("ARRAY<INT>", [1, None], [1, None]),
    ("MAP<INT, STRING>", [[1, "a"], [2, None]], {2: None, 1: "a"}),
    ("MAP<STRING, INT>", [["1", 1]], {"1": 1}),
    ("ROW<a INT, b ROW<c DATE>>", {"a": 1, "b": {"c": "2024-06-03"}}, {"b": {"c": "2024-06-03"}}),
]


@pytest.mark.parametrize(("type_", "came", "wanted"), CAME)
def test_what_came_is_what_was_expected(type_: str, came: Any, wanted: Any) -> None:
    of = parse(type_)
    found = values.found(of, came)
    assert values.same(of, values.expected(of, wanted, NEW_YORK, "x"), found)
    # And what is shown of it is read back as the same.
    again = plain_yaml.load(recording.flow(values.shown(found, NEW_YORK)))
    assert values.same(of, values.expected(of, again, NEW_YORK, "x"), found)
    assert not values.same(of, None, found) and not values.same(of, found, None)


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("DOUBLE", "0.1", Decimal("0.100001")),
        ("DECIMAL(4, 2)", "1.20", Decimal("1.2001")),
        ("TIMESTAMP_LTZ(6)", "2024-06-03T01:02:03.000001Z", "2024-06-03T01:02:03Z"),
        ("ARRAY<INT>", [1, 2], [2, 1]),
        ("MAP<STRING, INT>", [["a", 1]], {"a": 1, "b": 2}),
        ("ROW<a INT, b INT>", {"a": 1, "b": 2}, {"b": 3}),
        ("DOUBLE", "NaN", 0),
    ],
)
def test_what_differs_is_not_the_same(type_: str, one: Any, other: Any) -> None:
    of = parse(type_)
    assert not values.same(of, values.expected(of, other, "UTC", "x"), values.found(of, one))


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        ("STRING", 12, "x: expected STRING: a text; in quotes, what YAML takes for something else, found 12"),
        ("INT", Decimal("1.5"), "x: expected INT: a whole number, found 1.5"),
        ("BOOLEAN", 1, "x: expected BOOLEAN: true or false, found 1"),
        ("TIMESTAMP(6)", "2024-06-03T01:02:03Z",
         'x: expected TIMESTAMP(6): 2024-06-03T01:02:03, without an offset, found "2024-06-03T01:02:03Z"'),
        ("ROW<abc INT>", {"abd": 1}, "x.abd: expected a field of x; did you mean abc?, found abd"),
        ("ARRAY<DATE>", ["June"], 'x[0]: expected DATE: 2024-06-03, found "June"'),
        ("BYTES", "00ff", 'x: expected BYTES: "hex:00ff" or "base64:AP8=", found "00ff"'),
    ],
)  # fmt: skip
def test_a_value_that_the_column_cannot_have_is_refused(
    type_: str, value: Any, message: str
) -> None:
    with pytest.raises(JsonValueError) as e:
        values.expected(parse(type_), value, "UTC", "x")
    assert str(e.value) == message


# Comparing

TABLE = Output(kind=Kind.rows, columns=tuple(Column(name=n, type="INT") for n in "abc"), select="")


def row(a: int, b: int, c: int) -> dict[str, int]:
    return {"a": a, "b": b, "c": c}


def differences(
    wanted: list[dict[str, int]], came: list[dict[str, int]], partial: bool = False
) -> tuple[list[tuple[dict[str, int], dict[str, int] | None, str]], list[dict[str, int]]] | None:
    found = compare.compare("t", TABLE, wanted, came, partial)
    if found is None:
        return None
    missing = [
        (dict(m.row), m.nearest and dict(m.nearest), "".join(m.changed)) for m in found.missing
    ]
    return missing, [dict(r) for r in found.unexpected]  # type: ignore[return-value]


def test_rows_may_come_in_any_order_and_as_often_as_expected() -> None:
    one, two = row(1, 2, 3), row(4, 5, 6)
    assert differences([one, two, one], [one, one, two]) is None
    assert differences([one], [one, one]) == ([], [one])
    assert differences([one, one], [one]) == ([(one, None, "")], [])


def test_a_row_that_says_less_leaves_others_to_those_that_say_more() -> None:
    wanted = [{"a": 1}, {"a": 1, "b": 2}]
    assert differences(wanted, [row(1, 2, 0), row(1, 3, 0)]) is None
    assert differences([{}] * 300 + wanted, [row(1, 3, 0)] * 301 + [row(1, 2, 0)]) is None


def test_the_nearest_row_is_shown_beside_one_that_is_missing() -> None:
    came = [row(9, 9, 9), row(1, 2, 4)]
    assert differences([row(1, 2, 3)], came) == (
        [(row(1, 2, 3), row(1, 2, 4), "c")],
        [row(9, 9, 9)],
    )
    assert differences([row(7, 7, 7)], came[:1]) == ([(row(7, 7, 7), None, "")], came[:1])


def test_partial_rows_may_have_others_beside_them() -> None:
    assert differences([row(1, 2, 3)], [row(1, 2, 3), row(4, 5, 6)], partial=True) is None
    assert differences([row(1, 2, 3)], [row(4, 5, 6)], partial=True) == (
        [(row(1, 2, 3), None, "")],
        [],
    )


def test_of_a_reject_the_kind_of_its_reason_is_enough() -> None:
    types = {"reason": parse("STRING")}
    came = {"reason": "late: at 10:00 is more than 1h before it was appended"}
    assert not compare.changed("rejects", types, {"reason": "late"}, came)
    assert not compare.changed("rejects", types, came, came)
    assert compare.changed("rejects", types, {"reason": "la"}, came) == ("reason",)
    assert compare.changed("rejects", types, {"reason": "late: another"}, came) == ("reason",)
    assert compare.changed("rows", types, {"reason": "late"}, came) == ("reason",)


def test_misspelt_outputs_and_columns_are_refused() -> None:
    product = products.orders()
    with pytest.raises(ConfigError) as e:
        testing._expected(product, case({"orders": [ORDER]}, {"order_row": []}))
    assert e.value.expected == "an output of product.yaml; did you mean order_rows?"
    with pytest.raises(ConfigError) as e:
        testing._expected(
            product, case({"orders": [ORDER]}, {"order_rows": [{"cents": 1}, {"cent": 1}]})
        )
    assert (e.value.message, e.value.expected) == (
        "test 'a test' of tests/a.yaml: row 2 of order_rows",
        "a column of order_rows; did you mean cents?",
    )
    with pytest.raises(ConfigError) as e:
        testing._expected(product, case({"orders": [ORDER]}, {"order_rows": [{"cents": "a"}]}))
    assert e.value.message == "test 'a test' of tests/a.yaml: row 1 of order_rows, cents"


# Recording

COMMENTED = """\
# What becomes of orders.
first:   # a comment
  given:
    orders:
      - {order_id: 'a', ordered_at: 2024-06-03T12:00:00, shop: s, cents: 5}   # kept

# The second, with a row
second:
  given: {orders: [{order_id: b, ordered_at: 2024-06-03T12:00:00, shop: s, cents: 5}]}
  expect:   # in hours
    hourly_orders:
      - {orders: 2,   # wrong
         cents: 5}
    # and rows
    order_rows: {rows: [], partial: true}   # any"""


def test_what_came_is_written_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    product = products.orders()
    file = written(tmp_path, COMMENTED)
    first, second = model.read(tmp_path)
    at = datetime(2024, 6, 3, 12, tzinfo=UTC)
    came: dict[str, list[dict[str, Any]]] = {
        "order_rows": [
            {
                "order_id": "1",
                "ordered_at": at,
                "shop": None,
                "cents": 5,
                "log_partition": 0,
                "log_offset": 0,
            }
        ],
        "hourly_orders": [{"shop": "s", "hour": at.replace(tzinfo=None), "orders": 1, "cents": 5}],
        "rejects": [],
    }
    recording.write(product, testing.Result(first, rows=came))
    wrong = tuple(compare.Difference(o, (), (), 0) for o in ("hourly_orders", "rejects"))
    reject = {
        "log_topic": "orders",
        "log_partition": 0,
        "log_offset": 1,
        "appended": at,
        "reason": "a: b",
        "payload": b"",
    }
    recording.write(product, testing.Result(second, "", wrong, {**came, "rejects": [reject]}))
    assert file.read_text() == COMMENTED.replace(
        "   # kept\n",
        "   # kept\n"
        "  expect:\n"
        "    order_rows:\n"
        '      - {order_id: "1", ordered_at: 2024-06-03T12:00:00, shop: null, cents: 5}\n'
        "    hourly_orders:\n"
        "      - {shop: s, hour: 2024-06-03T12:00:00, orders: 1, cents: 5}\n",
    ).replace(
        "      - {orders: 2,   # wrong\n         cents: 5}\n", "      - {orders: 1, cents: 5}\n"
    ) + (
        "\n"
        "    rejects:\n"
        "      - {log_topic: orders, log_partition: 0, log_offset: 1, appended: 2024-06-03T12:00:00, "
        'reason: "a: b", payload: "hex:"}\n'
    )
    again = model.read(tmp_path)
    assert (
        compare.compare(
            "order_rows",
            product.outputs["order_rows"],
            testing._expected(product, again[0])["order_rows"],
            came["order_rows"],
            partial=False,
        )
        is None
    )


def test_a_test_in_braces_is_not_written_to(tmp_path: Path) -> None:
    written(tmp_path, "one: {given: {orders: [{a: 1}]}}\n")
    [one] = model.read(tmp_path)
    with pytest.raises(ConfigError, match="test 'one'"):
        recording.write(products.orders(), testing.Result(one, rows={}))


# JUnit


def test_build_servers_read_the_results() -> None:
    failed = {
        "name": "b\0<",
        "stem": "f",
        "status": "failed",
        "message": "rows: 1 missing",
        "text": "rows\n- a",
    }
    text = junit.xml("orders", [{"name": "a", "stem": "f", "status": "passed"}, failed], 1.5)
    suites = ElementTree.fromstring(text)
    [suite] = suites
    assert suite.attrib == {
        "name": "orders",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "time": "1.500",
    }
    good, bad = suite
    assert good.attrib == {"classname": "orders.f", "name": "a"} and not len(good)
    assert bad.attrib["name"] == "b\N{REPLACEMENT CHARACTER}<"
    assert [(p.tag, p.attrib, p.text) for p in bad] == [
        ("failure", {"message": "rows: 1 missing"}, "rows\n- a")
    ]


def test_dates_are_values_too() -> None:
    assert values.shown([date(2024, 6, 3), b"\0", {1: Decimal("1E+2")}], "UTC") == [
        "2024-06-03",
        "hex:00",
        {1: "100"},
    ]
