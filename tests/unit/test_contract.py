"""A data contract beside the tables it speaks of: compared, written, and what a change of it means."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from jobs.product.contract import Mismatch, Table, compare, new, update
from jobs.product.contract_changes import breaking, changes
from jobs.product.folder import Product
from replay.cli import contract as run_contract
from replay.errors import ConfigError, RefusedError
from replay.output import Output
from replay.releases import contracts

TABLES = {
    "orders": Table(
        {
            "id": "BIGINT",
            "shop": "STRING",
            "at": "TIMESTAMP_LTZ(6)",
            "items": "ARRAY<ROW<`sku` STRING, `price` DECIMAL(9, 2)>>",
            "place": "ROW<`lat` DOUBLE>",
            "tags": "MAP<STRING, STRING>",
        },
        ("id", "shop"),
    ),
    "rejects": Table({"reason": "STRING"}, generated=True),
}
CONTRACT: dict[str, Any] = {
    "schema": [
        {
            "name": "orders",
            "properties": [
                {
                    "name": "id",
                    "logicalType": "integer",
                    "physicalType": "BIGINT",
                    "required": True,
                    "primaryKey": True,
                    "primaryKeyPosition": 1,
                },
                {
                    "name": "shop",
                    "logicalType": "string",
                    "physicalType": "varchar(2147483647)",
                    "primaryKey": True,
                    "primaryKeyPosition": 2,
                },
                {"name": "at", "physicalType": "TIMESTAMP(3) WITH LOCAL TIME ZONE"},
                {
                    "name": "items",
                    "logicalType": "array",
                    "items": {
                        "logicalType": "object",
                        "properties": [
                            {"name": "sku", "physicalType": "STRING"},
                            {"name": "price", "physicalType": "DECIMAL(9,2)"},
                        ],
                    },
                },
                {"name": "place", "logicalType": "object", "physicalType": "row<lat double>"},
                {"name": "tags"},
            ],
        }
    ]
}


def changed(path: str, value: Any, base: dict[str, Any] = CONTRACT) -> dict[str, Any]:
    """The contract with one thing set, or with `None` taken away: 'shop.required', 'items.items.properties.0.name'."""
    document = copy.deepcopy(base)
    first, *steps = path.split(".")
    at: Any = document["schema"][0]
    if first != "table":
        at = next(p for p in at["properties"] if p["name"] == first)
    for step in steps[:-1]:
        at = at[int(step) if step.isdigit() else step]
    last: Any = int(steps[-1]) if steps[-1].isdigit() else steps[-1]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return document


# Compared with the SELECTs


def test_a_contract_may_be_missing_and_may_say_less() -> None:
    assert compare({}, TABLES) == []
    assert compare(CONTRACT, TABLES) == []


MISMATCHES = {
    "another type": (changed("id.physicalType", "INT"), "orders.id.physicalType", "BIGINT", "INT"),
    "no type": (
        changed("id.physicalType", "MONEY"),
        "orders.id.physicalType",
        "a type that an Iceberg table can hold",
        "MONEY",
    ),
    "another logical type": (
        changed("id.logicalType", "string"),
        "orders.id.logicalType",
        "integer or number",
        "string",
    ),
    "another type inside": (
        changed("items.items.properties.1.physicalType", "DOUBLE"),
        "orders.items[].price.physicalType",
        "DECIMAL(9, 2)",
        "DOUBLE",
    ),
    "a field left out": (
        changed("items.items.properties.1", None),
        "orders.items[].price",
        "a property for DECIMAL(9, 2)",
        "none",
    ),
    "a field required": (
        changed("items.items.properties.0.required", True),
        "orders.items[].sku",
        "required of a column: fields inside of one are not checked",
        "required: true",
    ),
    "items of no array": (
        changed("place.items", {}),
        "orders.place.items",
        "none: the column is ROW<`lat` DOUBLE>",
        "items",
    ),
    "properties of no row": (
        changed("id.properties", []),
        "orders.id.properties",
        "none: the column is BIGINT",
        "properties",
    ),
    "a column left out": (
        changed("table.properties.5", None),
        "orders.tags",
        "a property for MAP<STRING, STRING>",
        "none",
    ),
    "part of the key": (changed("shop.primaryKey", False), "orders.primaryKey", "id, shop", "id"),
    "places in the key": (
        changed("shop.primaryKeyPosition", 1),
        "orders.primaryKeyPosition",
        "1 to 2, each once",
        "1, 1",
    ),
    "no such table": (
        {"schema": [*CONTRACT["schema"], {"name": "totals"}]},
        "totals",
        "an output: orders, rejects",
        "a table that the product has not",
    ),
    "no table": (
        {"schema": []},
        "orders",
        "every output of the product",
        "none of that name in schema",
    ),
    "a generated table": (
        {"schema": [*CONTRACT["schema"], {"name": "rejects", "properties": []}]},
        "rejects.reason",
        "a property for STRING",
        "none",
    ),
}


@pytest.mark.parametrize(
    ("document", "where", "expected", "found"), MISMATCHES.values(), ids=MISMATCHES
)
def test_what_is_not_so_is_named(
    document: dict[str, Any], where: str, expected: str, found: str
) -> None:
    left_out = found in ("none", "none of that name in schema")  # the contract need not speak of it
    assert Mismatch(where, expected, found, left_out) in compare(document, TABLES)


def test_names_that_differ_by_case_are_named_with_the_right_one() -> None:
    assert compare(changed("shop.name", "Shop"), TABLES) == [
        Mismatch(
            "orders.Shop",
            "one of id, shop, at, items, place, tags",
            "a name that the SELECT has not, which the SELECT calls shop",
        ),
        Mismatch("orders.shop", "a property for STRING", "none", left_out=True),
        Mismatch("orders.primaryKey", "id, shop", "id, Shop"),
    ]
    twice = changed("tags.name", "ID")
    assert Mismatch("orders.ID", "names that differ by more than case", "id and ID") in compare(
        twice, TABLES
    )
    again = changed("tags.name", "id")
    assert Mismatch("orders.id", "each name once", "2 of that name") in compare(again, TABLES)


def test_columns_that_rows_get_by_themselves_may_be_left_out() -> None:
    rows = {
        "orders": Table(
            {"id": "INT", "log_offset": "BIGINT"}, added=("log_partition", "log_offset")
        )
    }
    left_out: dict[str, Any] = {
        "schema": [{"name": "orders", "properties": [{"name": "id", "physicalType": "INT"}]}]
    }
    assert compare(left_out, rows) == []
    assert update(left_out, rows) == [] and len(left_out["schema"][0]["properties"]) == 1
    named = copy.deepcopy(left_out)
    named["schema"][0]["properties"].append({"name": "log_offset", "physicalType": "INT"})
    assert compare(named, rows) == [Mismatch("orders.log_offset.physicalType", "BIGINT", "INT")]


# Written


def test_a_new_contract_is_what_the_sql_gives() -> None:
    document = new("shop", "All orders.")
    assert update(document, TABLES) == ["orders: new"]
    assert compare(document, TABLES) == []
    assert document["description"] == {"purpose": "All orders."}
    columns = {p["name"]: p for p in document["schema"][0]["properties"]}
    assert columns["id"] == {
        "name": "id",
        "logicalType": "integer",
        "physicalType": "BIGINT",
        "primaryKey": True,
        "primaryKeyPosition": 1,
    }
    assert columns["items"] == {
        "name": "items",
        "logicalType": "array",
        "physicalType": "ARRAY<ROW<sku STRING, price DECIMAL(9, 2)>>",
        "items": {
            "logicalType": "object",
            "physicalType": "ROW<sku STRING, price DECIMAL(9, 2)>",
            "properties": [
                {"name": "sku", "logicalType": "string", "physicalType": "STRING"},
                {"name": "price", "logicalType": "number", "physicalType": "DECIMAL(9, 2)"},
            ],
        },
    }
    assert update(document, TABLES) == []


TEXT = """\
# Who owns it: ask in #shop.
apiVersion: v3.1.0
team: {name: shop}   # flow style
schema:
  - name: orders
    properties:
      # the key
      - {name: id, physicalType: INT, required: true}
      - name: at
        physicalType: timestamp_ltz(3)
        description: >-
          When it was
          placed.
      - name: gone   # nobody wants it
        physicalType: STRING
"""
WRITTEN = """\
# Who owns it: ask in #shop.
apiVersion: v3.1.0
team: {name: shop}   # flow style
schema:
  - name: orders
    properties:
      # the key
      - {name: id, physicalType: BIGINT, required: true, logicalType: integer}
      - name: shop
        logicalType: string
        physicalType: STRING
      - name: at
        physicalType: timestamp_ltz(3)
        description: >-
          When it was
          placed.
        logicalType: timestamp
      - name: gone   # nobody wants it
        physicalType: STRING
"""


def product_of(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: dict[str, str],
    contract: str | None = None,
) -> Product:
    """A product with one output `orders`, as if the planner had said so."""
    (folder / "product.yaml").write_text("x")
    if contract is not None:
        (folder / "contract.yaml").write_text(contract)
    made = Product.model_construct(
        folder=folder,
        contract=yaml.safe_load(contract) if contract else {},
        settings=type("Settings", (), {"description": "", "name": "shop"})(),
    )
    monkeypatch.setattr(contracts, "tables_of", lambda _: {"orders": Table(columns)})
    monkeypatch.setattr(run_contract, "resolve", lambda _: made)
    monkeypatch.setattr(run_contract, "find_folder", lambda name, source: folder)
    return made


def test_what_people_wrote_stays_with_its_comments_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = product_of(
        tmp_path, monkeypatch, {"id": "BIGINT", "shop": "STRING", "at": "TIMESTAMP_LTZ(6)"}, TEXT
    )
    text, done = contracts.written(tmp_path / "contract.yaml", made)
    assert text == WRITTEN
    assert done == ["orders.id: INT → BIGINT", "orders.shop: new, STRING"]
    (tmp_path / "contract.yaml").write_text(text)
    assert contracts.written(tmp_path / "contract.yaml", made) == (WRITTEN, [])


def test_a_contract_that_is_no_yaml_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = product_of(tmp_path, monkeypatch, {"id": "BIGINT"})
    for text, expected in (("a: [", "YAML"), ("- a", "a mapping")):
        (tmp_path / "contract.yaml").write_text(text)
        with pytest.raises(ConfigError) as e:
            contracts.written(tmp_path / "contract.yaml", made)
        assert e.value.expected == expected


def test_a_deploy_is_refused_where_the_contract_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = product_of(tmp_path, monkeypatch, {"id": "BIGINT"}, TEXT)
    with pytest.raises(RefusedError) as e:
        contracts.refuse_mismatches(made)
    assert e.value.message.splitlines()[1:] == [
        "    orders.id.physicalType: expected BIGINT, found INT",
        "    orders.at: expected one of id, found a name that the SELECT has not",
        "    orders.gone: expected one of id, found a name that the SELECT has not",
    ]
    assert e.value.next == (
        "fix the contract or the SELECT; what is new, and types: kappa contract shop --write"
    )


# What a change means

RULES = {
    "a table removed": (CONTRACT, {"schema": []}, "error", "orders: removed"),
    "a column removed": (
        CONTRACT,
        changed("table.properties.5", None),
        "error",
        "orders.tags: removed",
    ),
    "a field removed": (
        CONTRACT,
        changed("items.items.properties.0", None),
        "error",
        "orders.items[].sku: removed",
    ),
    "another type": (
        CONTRACT,
        changed("id.physicalType", "DECIMAL(20, 0)"),
        "error",
        "orders.id.physicalType: BIGINT → DECIMAL(20, 0)",
    ),
    "a wider type": (
        changed("id.physicalType", "INT"),
        CONTRACT,
        "error",
        "orders.id.physicalType: INT → BIGINT",
    ),
    "the same type": (
        CONTRACT,
        changed("shop.physicalType", "STRING"),
        "info",
        "orders.shop.physicalType: varchar(2147483647) → STRING",
    ),
    "a type taken back": (
        CONTRACT,
        changed("id.logicalType", None),
        "warning",
        "orders.id.logicalType: integer → none",
    ),
    "a type named": (
        changed("id.logicalType", None),
        CONTRACT,
        "info",
        "orders.id.logicalType: none → integer",
    ),
    "required": (
        CONTRACT,
        changed("shop.required", True),
        "error",
        "orders.shop.required: none → true",
    ),
    "no more required": (
        CONTRACT,
        changed("id.required", None),
        "info",
        "orders.id.required: true → none",
    ),
    "optional spelt out": (CONTRACT, changed("shop.required", False), None, ""),
    "unique": (CONTRACT, changed("shop.unique", True), "error", "orders.shop.unique: none → true"),
    "another key": (
        CONTRACT,
        changed("at.primaryKey", True),
        "warning",
        "orders.at.primaryKey: none → true",
    ),
    "longer": (
        changed("shop.logicalTypeOptions", {"maxLength": 5}),
        changed("shop.logicalTypeOptions", {"maxLength": 9}),
        "info",
        "orders.shop.logicalTypeOptions.maxLength: 5 → 9",
    ),
    "shorter": (
        changed("shop.logicalTypeOptions", {"maxLength": 9}),
        changed("shop.logicalTypeOptions", {"maxLength": 5}),
        "error",
        "orders.shop.logicalTypeOptions.maxLength: 9 → 5",
    ),
    "a later first day": (
        changed("at.logicalTypeOptions", {"minimum": "2020-01-01"}),
        changed("at.logicalTypeOptions", {"minimum": "2021-01-01"}),
        "error",
        "orders.at.logicalTypeOptions.minimum: 2020-01-01 → 2021-01-01",
    ),
    "another pattern": (
        changed("shop.logicalTypeOptions", {"pattern": "a"}),
        changed("shop.logicalTypeOptions", {"pattern": "b"}),
        "warning",
        "orders.shop.logicalTypeOptions.pattern: a → b",
    ),
    "fewer values": (
        changed("shop.enum", ["a", "b"]),
        changed("shop.enum", ["a"]),
        "error",
        "orders.shop.enum: b removed",
    ),
    "more values": (
        changed("shop.enum", ["a"]),
        changed("shop.enum", [{"value": "a"}, {"value": "b"}]),
        "info",
        "orders.shop.enum: b added",
    ),
    "only some values": (CONTRACT, changed("shop.enum", ["a"]), "error", "orders.shop.enum: new"),
    "a new rule": (
        CONTRACT,
        changed("shop.quality", [{"metric": "nullValues", "mustBe": 0}]),
        "error",
        "orders.shop.quality: nullValues new",
    ),
    "a stricter rule": (
        changed("table.quality", [{"name": "n", "mustBeLessThan": 9}]),
        changed("table.quality", [{"name": "n", "mustBeLessThan": 5}]),
        "error",
        "orders.quality.n.mustBeLessThan: 9 → 5",
    ),
    "a rule taken back": (
        changed("table.quality", [{"name": "n", "mustBe": 9}]),
        CONTRACT,
        "info",
        "orders.quality: n removed",
    ),
    "another rule": (
        changed("table.quality", [{"name": "n", "query": "a"}]),
        changed("table.quality", [{"name": "n", "query": "b"}]),
        "warning",
        "orders.quality.n.query: a → b",
    ),
    "fewer valid values": (
        changed("table.quality", [{"name": "n", "arguments": {"validValues": [1, 2]}}]),
        changed("table.quality", [{"name": "n", "arguments": {"validValues": [1]}}]),
        "error",
        "orders.quality.n.validValues: 2 removed",
    ),
    "words": (
        CONTRACT,
        changed("shop.description", "a shop"),
        "info",
        "orders.shop.description: new",
    ),
}


@pytest.mark.parametrize(("old", "after", "level", "text"), RULES.values(), ids=RULES)
def test_a_change_is_judged(
    old: dict[str, Any], after: dict[str, Any], level: str | None, text: str
) -> None:
    found = changes(old, after)
    assert [(c.level.value, str(c)) for c in found] == ([(level, text)] if level else [])
    assert breaking(found) == (level == "error")


def test_nothing_inside_of_what_is_new_is_breaking() -> None:
    more = copy.deepcopy(CONTRACT)
    more["schema"][0]["properties"].append({"name": "x", "required": True, "unique": True})
    more["schema"].append({"name": "totals", "quality": [{"metric": "rowCount", "mustBe": 1}]})
    assert [(c.level.value, str(c)) for c in changes(CONTRACT, more)] == [
        ("info", "orders.x: new"),
        ("info", "totals: new"),
    ]


# The command


def run(product: str, capsys: pytest.CaptureFixture[str], **given: Any) -> tuple[int, Any]:
    options: dict[str, Any] = {"write": False, "check": False, "against": None, **given}
    code = 0
    try:
        run_contract.contract(product, None, output=Output.json, **options)
    except typer.Exit as e:
        code = e.exit_code
    return code, yaml.safe_load(capsys.readouterr().out)


def test_the_command_ends_with_1_where_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"id": "BIGINT"}
    product_of(tmp_path, monkeypatch, columns)
    nothing = {
        "product": "shop",
        "file": f"{tmp_path}/contract.yaml",
        "mismatches": [],
        "left_out": [],
    }
    assert run("shop", capsys) == (0, nothing)
    code, answer = run("shop", capsys, write=True)
    assert (code, answer["written"]) == (0, ["orders: new"])
    before = tmp_path / "before.yaml"
    before.write_text((tmp_path / "contract.yaml").read_text())
    assert run("shop", capsys, check=True, against=before)[1]["breaking"] is False

    columns["shop"] = "STRING"
    code, answer = run("shop", capsys)
    assert (code, answer["mismatches"], answer["left_out"]) == (0, [], ["orders.shop"])
    assert run("shop", capsys, write=True, check=True, against=before)[0] == 0

    columns["id"] = "DECIMAL(20, 0)"
    code, answer = run("shop", capsys, write=True, check=True, against=before)
    assert (code, answer["mismatches"], answer["breaking"]) == (1, [], True)
    assert answer["changes"][0] == {
        "level": "error",
        "rule": "type-changed",
        "where": "orders.id.logicalType",
        "what": "integer → number",
    }


def test_the_contract_of_git_head_is_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*args: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *args],
            check=True,
            capture_output=True,
        )

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "sql" / "shop"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match="there is no contract to compare with"):
        contracts.in_git_head(folder)
    git("init", "-q")
    with pytest.raises(ConfigError) as e:
        contracts.in_git_head(folder)
    assert (e.value.found, e.value.next) == (
        "no commit",
        "name the contract that readers rely on: --against FILE",
    )
    git("commit", "-q", "--allow-empty", "-m", "first")
    assert contracts.in_git_head(folder) is None
    (folder / "contract.yaml").write_text("name: shop\n")
    git("add", ".")
    git("commit", "-q", "-m", "a contract")
    (folder / "contract.yaml").write_text("name: other\n")
    assert contracts.in_git_head(folder) == {"name": "shop"}
