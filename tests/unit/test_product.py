"""A product's folder: what is read, and which file and field an error names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.generate import REJECT_COLUMNS
from jobs.product.folder import Product, ProductError, load_product, with_resolved
from jobs.product.model import Column, Kind, Once, Output, Resolved, Role, Window, seconds
from jobs.product.settings import Switch
from tests.unit.folders import CONTRACT, SETTINGS, changed, write
from tests.unit.products import ORDERS, flights, orders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(ORDERS, tmp_path / "orders")


def refused(folder: Path, settings: dict[str, Any]) -> ProductError:
    """How a folder with this product.yaml is refused."""
    (folder / "product.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ProductError) as e:
        load_product(folder)
    assert e.value.file == folder / "product.yaml"
    assert str(e.value).startswith(f"{folder / 'product.yaml'}: expected ")
    return e.value


def events(**rules: Any) -> dict[str, Any]:
    """product.yaml with other rules of its topic; None takes one away."""
    return changed(
        SETTINGS,
        lambda s: s["topics"].update(
            orders={k: v for k, v in {**s["topics"]["orders"], **rules}.items() if v is not None}
        ),
    )


def more(**topics: dict[str, Any]) -> dict[str, Any]:
    return changed(SETTINGS, lambda s: s["topics"].update(topics))


def named(name: str) -> dict[str, Any]:
    """product.yaml with a topic of this name besides."""
    return more(**{name: {"role": "reference"}})


def output(name: str = "rows", **said: Any) -> dict[str, Any]:
    return changed(SETTINGS, lambda s: s["outputs"].update({name: said}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10),
        ("500ms", 0.5),
        ("5min", 300),
        ("6h", 21_600),
        ("2d", 172_800),
        (" 1 h ", 3600),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "ten s", "1.5h", "-1s", "1w", "5 minutes"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"a duration such as '10s', '5min' or '6h', not {text!r}")
    ):
        seconds(text)


def test_the_small_product() -> None:
    product = orders()
    assert product.name == "orders"
    assert list(product.outputs) == ["order_rows", "hourly_orders", "rejects"]
    topic = product.settings.topics["orders"]
    assert (topic.role, topic.time, topic.identity, topic.once, topic.max_ahead) == (
        Role.events,
        "ordered_at",
        ("order_id",),
        Once.in_partition,
        "1d",
    )
    assert product.settings.switch is Switch.auto
    assert (product.outputs["order_rows"].kind, product.outputs["order_rows"].of) == (
        Kind.rows,
        ("orders",),
    )
    assert product.identity(product.outputs["order_rows"]) == ("order_id",)
    hourly = product.outputs["hourly_orders"]
    assert (hourly.kind, hourly.key, hourly.window) == (
        Kind.aggregate,
        ("shop", "hour"),
        Window(column="hour", size="1h"),
    )
    assert [(c.name, c.type) for c in product.columns["hourly_orders"]] == [
        ("shop", "STRING"),
        ("hour", "TIMESTAMP(6)"),
        ("orders", "BIGINT"),
        ("cents", "BIGINT"),
    ]


def test_flights_has_every_role_and_kind() -> None:
    product = flights()
    assert {t.role for t in product.settings.topics.values()} == set(Role)
    assert {o.kind for o in product.outputs.values()} == set(Kind)


@pytest.mark.parametrize("product", [flights, orders])
def test_every_aggregate_says_which_windows_its_rows_are(product: Callable[[], Product]) -> None:
    outputs = product().outputs.values()
    assert all(o.key and o.window for o in outputs if o.kind is Kind.aggregate)
    assert all(
        {"log_partition", "log_offset"} <= {c.name for c in o.columns} for o in outputs if o.of
    )


def test_paths(folder: Path) -> None:
    product = orders(folder)
    assert product.views_sql == folder / "views.sql"
    assert product.select_sql("order_rows") == folder / "order_rows.sql"
    assert product.schema_file("orders") == folder / "schemas" / "orders.avsc"


def test_files_are_sorted_relative_and_without_caches(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"")
    files = [str(f) for f in load_product(folder).files]
    assert files == sorted(files)
    assert "checks/negative.sql" in files and "schemas/orders.avsc" in files
    assert not [f for f in files if "__pycache__" in f]


def test_a_topic_may_have_another_name_in_kafka(tmp_path: Path) -> None:
    product = write(tmp_path, settings=events(topic="pg.shop.orders"))
    assert list(product.topics) == ["pg.shop.orders"]
    assert product.topics["pg.shop.orders"] is product.settings.topics["orders"]
    assert product.sql_name("pg.shop.orders") == "orders"
    assert product.settings.kafka_name("orders") == "pg.shop.orders"
    assert product.schema_file("pg.shop.orders") == tmp_path / "schemas" / "orders.avsc"
    assert product.outputs["rows"].of == ("pg.shop.orders",)
    assert product.identity(product.outputs["rows"]) == ("a",)


@pytest.mark.parametrize(
    "outputs", [["rows", "sums"], {"rows": None, "sums": None}, {"rows": {}, "sums": {}}]
)
def test_outputs_of_which_nothing_is_said(tmp_path: Path, outputs: Any) -> None:
    product = write(tmp_path, settings={**SETTINGS, "outputs": outputs})
    assert list(product.outputs) == ["rows", "sums", "rejects"]
    assert product.settings == write(tmp_path).settings


@pytest.mark.parametrize(
    ("topic", "held"),
    [
        ({}, True),
        ({"once": "partition"}, True),
        ({"once": "topic"}, False),
        ({"identity": []}, False),
    ],
)
def test_events_with_an_identity_are_held_by_the_source(
    tmp_path: Path, topic: dict[str, Any], held: bool
) -> None:
    product = write(
        tmp_path, settings=changed(SETTINGS, lambda s: s["topics"]["orders"].update(topic))
    )
    assert product.settings.topics["orders"].held_by_source is held


def test_lateness_of_a_reference_is_none(tmp_path: Path) -> None:
    product = write(
        tmp_path,
        settings=changed(SETTINGS, lambda s: s["topics"].update(shops={"role": "reference"})),
    )
    assert (product.settings.lateness("orders"), product.settings.lateness("shops")) == (3600, 0)


@pytest.mark.parametrize(
    ("of", "names", "expected"),
    [
        (["orders"], ["a", "b"], ("a",)),
        (["orders"], ["b"], ()),
        (["orders", "refunds"], ["a"], ()),
        ([], ["a"], ()),
    ],
)
def test_identity_of_rows(
    tmp_path: Path, of: list[str], names: list[str], expected: tuple[str, ...]
) -> None:
    product = write(
        tmp_path,
        settings=changed(
            SETTINGS,
            lambda s: s["topics"].update(
                refunds={"time": "at", "allowed_lateness": "1h", "identity": ["a"]}
            ),
        ),
    )
    columns = tuple(Column(name=n, type="INT") for n in names)
    assert (
        product.identity(Output(kind=Kind.rows, of=tuple(of), columns=columns, select=""))
        == expected
    )


SHOPS = {"role": "dimension", "time": "at", "allowed_lateness": "1h", "key": ["a"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(
            {**SETTINGS, "name": "Orders"}, "expected name: String should match pattern", id="name"
        ),
        pytest.param(
            {**SETTINGS, "parallelism": 0},
            "expected parallelism: Input should be greater than or equal to 1, found 0",
            id="range",
        ),
        pytest.param(
            {**SETTINGS, "time_zone": "EST"},
            "expected time_zone: a time zone such as Europe/Berlin or UTC, not 'EST'",
            id="time zone",
        ),
        pytest.param(
            {**SETTINGS, "time_zone": "posix/Europe/Berlin"},
            "expected time_zone: a time zone",
            id="posix zone",
        ),
        pytest.param(
            {**SETTINGS, "swich": "auto"},
            "expected an existing setting (did you mean switch?), found swich",
            id="unknown field",
        ),
        pytest.param(
            {**SETTINGS, "longest_wait": "1h"},
            "expected an existing setting (one of name, description,",
            id="what the planner says",
        ),
        pytest.param(
            {**SETTINGS, "checkpoint_interval": "soon"},
            "expected checkpoint_interval: a duration",
            id="duration",
        ),
        pytest.param(
            {**SETTINGS, "backlog_checkpoint_interval": "soon"},
            "expected backlog_checkpoint_interval: a duration",
            id="another duration",
        ),
        pytest.param(
            {**SETTINGS, "max_drift": "1h"},
            "max_drift must be longer than every allowed_lateness, or topics wait for each other for ever",
            id="drift",
        ),
        pytest.param(
            {k: v for k, v in SETTINGS.items() if k != "topics"},
            "expected topics: Field required",
            id="without topics",
        ),
        pytest.param(
            {**SETTINGS, "topics": {}},
            "topics is empty, but a product reads at least one topic",
            id="no topic",
        ),
        pytest.param(
            {k: v for k, v in SETTINGS.items() if k != "outputs"},
            "expected outputs: Field required",
            id="without outputs",
        ),
        pytest.param(
            {**SETTINGS, "outputs": {"views": {}}},
            "found output views would have the file of the views, views.sql: give it another name",
            id="views",
        ),
        pytest.param(
            {**SETTINGS, "outputs": {}}, "expected at least one output, found none", id="no output"
        ),
        # topics
        pytest.param(
            events(role="facts"), "expected topics.orders.role: Input should be 'events'", id="role"
        ),
        pytest.param(
            events(tiem="at"), "(did you mean time?), found topics.orders.tiem", id="misspelt rule"
        ),
        pytest.param(
            events(time=None),
            "topic orders (events) needs time: the column that says when it happened",
            id="events without time",
        ),
        pytest.param(
            events(allowed_lateness=None),
            "topic orders (events) needs allowed_lateness",
            id="lateness",
        ),
        pytest.param(
            more(shops={"role": "dimension", "allowed_lateness": "1h"}),
            "topic shops (dimension) needs time: the column that says when it happened",
            id="dimension without time",
        ),
        pytest.param(
            more(shops={"role": "dimension", "time": "at"}),
            "topic shops (dimension) needs allowed_lateness",
            id="dimension without lateness",
        ),
        pytest.param(
            events(allowed_lateness="soon"),
            "expected topics.orders.allowed_lateness: a duration",
            id="lateness that is none",
        ),
        pytest.param(
            events(max_ahead="soon"),
            "expected topics.orders.max_ahead: a duration",
            id="max_ahead that is none",
        ),
        pytest.param(
            events(once=True),
            "expected topics.orders.once: Input should be 'partition' or 'topic', found True",
            id="once of old",
        ),
        pytest.param(
            events(identity=None, once="topic"),
            "topic orders (events) has once: topic, which requires an identity",
            id="once without identity",
        ),
        pytest.param(
            events(identity=None, once="partition"),
            "topic orders (events) has once: partition, which requires an identity",
            id="the default of once without identity",
        ),
        pytest.param(
            events(key=["a"]),
            "topic orders (events) has a key, which only references and dimensions can have",
            id="key",
        ),
        pytest.param(
            more(shops={**SHOPS, "columns": {"at": "CAST(ts AS TIMESTAMP_LTZ(3))"}, "time": "at"}),
            "topic shops (dimension) computes its time at, but versions are found by a time of the schema, such as one "
            "of format epoch-millis, or by log_appended",
            id="the time of versions",
        ),
        pytest.param(
            more(shops={**SHOPS, "identity": ["a"]}),
            "topic shops (dimension) has an identity, which only events can have; versions have a key",
            id="identity",
        ),
        pytest.param(
            more(shops={**SHOPS, "allowed_lateness": "2h"}),
            "dimension shops has a key, and a longer allowed_lateness than orders",
            id="slow dimension",
        ),
        pytest.param(
            events(columns={"log_offset": "1"}),
            "topic orders (events) computes log_offset, which every topic already has",
            id="column of the log",
        ),
        pytest.param(
            events(columns={"log_clock": "1"}),
            "topic orders (events) computes log_clock, which every topic already has",
            id="an internal column",
        ),
        # names
        pytest.param(
            named("pg.public.shops"),
            "topic pg.public.shops is no identifier of SQL (letters, digits, _, and no __): "
            "call it pg_public_shops, with topic: pg.public.shops",
            id="dotted topic",
        ),
        pytest.param(
            named("pg__shops"), "call it pg_shops, with topic: pg__shops", id="two underscores"
        ),
        pytest.param(named("1"), "topic 1 is no identifier of SQL", id="digit first"),
        pytest.param(
            named("x` AS y; DROP"), "is no identifier of SQL", id="a name that would break out"
        ),
        pytest.param(
            output("Rows"),
            "output Rows needs a name of small letters, digits and _, and no __",
            id="capitals",
        ),
        pytest.param(
            output("rows__log"),
            "output rows__log needs a name of small letters",
            id="output of underscores",
        ),
        pytest.param(
            output("../rows"), "output ../rows needs a name of small letters", id="output elsewhere"
        ),
        pytest.param(output("rejects"), "output rejects is generated: remove it", id="rejects"),
        pytest.param(
            output("orders"),
            "orders is a topic and an output, but in SQL a name has one meaning",
            id="topic and output",
        ),
        pytest.param(
            named("rejects"),
            "topic rejects has the name of the table that every product has",
            id="topic rejects",
        ),
        pytest.param(named("Orders"), "Orders and orders differ only by case", id="case"),
        pytest.param(
            named("ROWS"), "ROWS and rows differ only by case", id="case of topic and output"
        ),
        pytest.param(
            more(refunds={"role": "reference", "topic": "orders"}),
            "topic orders of Kafka is read under several names, but each topic is read once",
            id="read twice",
        ),
        # lookups
        pytest.param(
            {**SETTINGS, "lookups": {"orders": {"shop": "shops"}}},
            "lookups orders has the name of a topic, which has a orders_at() of its own",
            id="lookups like a topic",
        ),
        pytest.param(
            {**SETTINGS, "lookups": {"around": {"Shop": "shops"}}},
            "lookups around needs names of small letters, digits and _, found ['Shop']",
            id="name of a lookup",
        ),
        pytest.param(
            {**SETTINGS, "lookups": {"around": {"order": "orders"}}},
            "lookups around must name topics with a key: [], found ['orders']",
            id="lookup without a key",
        ),
        pytest.param(
            {**SETTINGS, "lookups": {"around": {}}},
            "lookups around must name topics with a key: [], found []",
            id="no lookup",
        ),
        # outputs
        pytest.param(
            output(kind="facts"),
            "expected outputs.rows.kind: Input should be 'rows', 'aggregate' or 'rejects'",
            id="kind",
        ),
        pytest.param(
            output(kind="rejects"),
            "output rows is of kind rejects, which only the generated table rejects has",
            id="kind rejects",
        ),
        pytest.param(
            output(of="parcels"),
            "output rows is of parcels, but the topics with events are ['orders']",
            id="topic of rows",
        ),
        pytest.param(
            changed(
                more(shops=SHOPS), lambda s: s["outputs"].update(rows={"of": ["orders", "shops"]})
            ),
            "output rows is of shops, but the topics with events are ['orders']",
            id="rows of a dimension",
        ),
        pytest.param(
            output(kind="rows", window={"column": "at", "size": "1h"}),
            "output rows has a window, which only aggregates can have",
            id="window of rows",
        ),
        pytest.param(
            output(window={"column": "at", "size": "soon"}),
            "expected outputs.rows.window.size: a duration",
            id="size of a window",
        ),
        pytest.param(
            output(window={"column": "at"}),
            "expected outputs.rows.window.size: Field required",
            id="window without a size",
        ),
        pytest.param(
            output(columns=["a"]),
            "an existing setting (one of kind, of, key, window, where, partition,",
            id="columns of an output",
        ),
        # functions and policies
        pytest.param(
            {**SETTINGS, "functions": {"f": {"python": "udfs.x.f", "returns": "INT"}}},
            "expected functions.f.python: module:function, a function that a module of udfs/ defines",
            id="function",
        ),
        pytest.param(
            {**SETTINGS, "functions": {"f": {"python": "udfs.x:os.getcwd", "returns": "STRING"}}},
            "expected functions.f.python: module:function, a function that a module of udfs/ defines",
            id="function of an attribute",
        ),
        pytest.param(
            {**SETTINGS, "functions": {"f": {"python": "udfs.x:f"}}},
            "expected functions.f.returns: Field required",
            id="function without a type",
        ),
        pytest.param(
            {**SETTINGS, "functions": {"f": {"python": "udfs.x:f", "returns": "DUBLE"}}},
            "expected functions.f.returns: expected a type that an Iceberg table can hold, found DUBLE",
            id="function of no type",
        ),
        pytest.param(
            {**SETTINGS, "functions": {"f-g": {"python": "udfs.x:f", "returns": "INT"}}},
            "found function f-g is no identifier of SQL (letters, digits, _)",
            id="function's name",
        ),
        pytest.param(
            changed(
                more(shops=SHOPS),
                lambda s: s["functions"].update(Shops_at={"python": "udfs.x:f", "returns": "INT"}),
            ),
            "found function Shops_at has the name of a look-up",
            id="function of a look-up's name",
        ),
        pytest.param(
            {**SETTINGS, "switch": "later"},
            "expected switch: Input should be 'auto' or 'manual'",
            id="switch",
        ),
        pytest.param(
            {**SETTINGS, "lag_limit": {"checkpoints": 0}},
            "expected lag_limit.checkpoints: Input should be greater than or equal to 1",
            id="lag limit",
        ),
        pytest.param(
            {**SETTINGS, "deadline": "never"}, "expected deadline: a duration", id="deadline"
        ),
        pytest.param(
            {**SETTINGS, "standbys": -1},
            "expected standbys: Input should be greater than or equal to 0",
            id="standbys",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    write(tmp_path)
    assert message in str(refused(tmp_path, settings))


@pytest.mark.parametrize(
    "file", ["product.yaml", "order_rows.sql", "hourly_orders.sql", "schemas/orders.avsc"]
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(
        ProductError, match=re.escape(f"{folder / file}: expected a file, found none")
    ):
        load_product(folder)


@pytest.mark.parametrize("file", ["product.yaml", "order_rows.sql", "views.sql"])
def test_a_file_that_is_no_text_is_named(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"SELECT '\xff'")
    with pytest.raises(ProductError, match=re.escape(f"{folder / file}: expected UTF-8")):
        load_product(folder)


@pytest.mark.parametrize("file", ["contract.yaml", "views.sql"])
def test_a_file_that_may_be_missing(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    assert orders(folder).name == "orders"


@pytest.mark.parametrize(
    ("file", "expected", "found"),
    [
        (
            "sources.sql",
            "the SELECT of an output of product.yaml (order_rows, hourly_orders), or views.sql",
            "a file that no output uses",
        ),
        (
            "rejects.sql",
            "the SELECT of an output of product.yaml (order_rows, hourly_orders), or views.sql",
            "a file that no output uses",
        ),
        (
            "schemas/parcels.avsc",
            "the schema of a topic of product.yaml (orders)",
            "a schema that no topic uses",
        ),
    ],
)
def test_a_file_that_nothing_runs_is_named(
    folder: Path, file: str, expected: str, found: str
) -> None:
    (folder / file).write_text("")
    with pytest.raises(ProductError) as e:
        load_product(folder)
    assert (e.value.file, e.value.expected, e.value.found) == (folder / file, expected, found)


@pytest.mark.parametrize("name", ["parcels.json", "parcels.proto"])
def test_a_release_may_have_files_that_meant_nothing_when_it_was_made(
    folder: Path, name: str
) -> None:
    (folder / "schemas" / name).write_text("{}")
    with pytest.raises(ProductError, match="a schema that no topic uses"):
        load_product(folder)
    assert load_product(folder, Resolved(outputs={}, longest_wait=60)).longest_wait == 60


def test_views_and_other_files_may_be_there(folder: Path) -> None:
    (folder / "views.sql").write_text("CREATE VIEW v AS SELECT 1")
    (folder / "README.md").write_text("words")
    (folder / "checks" / "more.sql").write_text("SELECT 1")
    assert load_product(folder).name == "orders"


def test_yaml_that_is_none(folder: Path) -> None:
    (folder / "product.yaml").write_text("name: [")
    with pytest.raises(
        ProductError,
        match=re.escape(f"{folder / 'product.yaml'}: expected YAML, found while parsing"),
    ):
        load_product(folder)


@pytest.mark.parametrize("file", ["product.yaml", "contract.yaml"])
def test_yaml_that_is_no_mapping(folder: Path, file: str) -> None:
    (folder / file).write_text("- a\n")
    with pytest.raises(ProductError, match=rf"{re.escape(file)}: expected a mapping, found list"):
        load_product(folder)


def test_outputs_are_known_when_the_planner_was_asked(folder: Path) -> None:
    product = load_product(folder)
    for known in (lambda: product.outputs, lambda: product.columns):
        with pytest.raises(
            ProductError,
            match=r"SQL that Flink's planner has read, found none: kappa check was not",
        ):
            known()
    assert product.longest_wait == 0
    assert with_resolved(product, Resolved(outputs={}, longest_wait=60)).longest_wait == 60


def test_columns_have_what_the_contract_says_and_the_planners_type(tmp_path: Path) -> None:
    said = {
        "name": "a",
        "physicalType": "STRING",
        "required": True,
        "description": "number",
        "classification": "restricted",
    }
    product = write(
        tmp_path,
        contract=changed(CONTRACT, lambda c: c["schema"][0]["properties"].__setitem__(0, said)),
    )
    assert product.columns["rows"][:2] == (
        Column(
            name="a", type="INT", required=True, description="number", classification="restricted"
        ),
        Column(name="b", type="STRING"),
    )


def test_the_rejects_have_descriptions_that_a_contract_may_change(tmp_path: Path) -> None:
    assert write(tmp_path).columns["rejects"] == REJECT_COLUMNS
    rejects = {
        "name": "rejects",
        "properties": [{"name": "reason", "required": False, "description": "Why"}],
    }
    product = write(tmp_path, contract=changed(CONTRACT, lambda c: c["schema"].append(rejects)))
    (reason,) = (c for c in product.columns["rejects"] if c.name == "reason")
    assert reason == Column(name="reason", type="STRING", required=False, description="Why")
    assert [c for c in product.columns["rejects"] if c != reason] == [
        c for c in REJECT_COLUMNS if c.name != "reason"
    ]


@pytest.mark.parametrize(
    "twice",
    [
        "name: a\nname: b\n",
        "topics:\n  a: {}\n  a: {time: b}\n",
        "outputs: {rows: {where: a}, rows: {}}\n",
    ],
)
def test_what_is_said_twice_is_not_lost(folder: Path, twice: str) -> None:
    (folder / "product.yaml").write_text(twice)
    with pytest.raises(ProductError, match="occurs twice"):
        load_product(folder)


def test_text_of_another_encoding(folder: Path) -> None:
    (folder / "product.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ProductError, match="UTF-8"):
        load_product(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"outputs": [{"rows": {}}]},
        {"outputs": ["rows", "rows"]},
        {"checkpoint_interval": "0s"},
        {"deadline": "0d"},
        {"backlog_checkpoint_interval": "0s"},
        {"lag_limit": {"records": -1}},
        {"lag_limit": {"seconds": -0.5}},
        {"deadline": "36526d"},
    ],
)
def test_settings_that_make_no_sense(folder: Path, settings: dict[str, Any]) -> None:
    refused(folder, {**SETTINGS, **settings})
