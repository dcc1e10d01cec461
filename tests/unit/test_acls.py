"""The least that producer, jobs and controller of a product need at the broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from replay.cli.main import app
from replay.errors import ConfigError
from replay.kafka.acls import Role, commands, of_product

FLIGHTS = Path(__file__).parents[2] / "sql" / "flights"


def test_a_principal_may_what_its_role_does_and_no_more() -> None:
    may = {
        who: {
            (a.resource_name, a.operation)
            for a in of_product("orders", ["pg.orders"])
            if a.who is who
        }
        for who in Role
    }
    assert may == {
        Role.producer: {("pg.orders", "WRITE"), ("pg.orders", "DESCRIBE_CONFIGS")},
        Role.job: {("pg.orders", "READ"), ("kappa-orders-", "READ")},
        Role.controller: {
            ("pg.orders", "READ"),
            ("pg.orders", "DESCRIBE_CONFIGS"),
            ("kappa-orders-", "DESCRIBE"),
            ("kappa-orders-", "DELETE"),
            ("kappa-reader", "DESCRIBE"),
        },
    }


def test_commands_are_those_of_kafka() -> None:
    principals = {who: f"User:{who}" for who in Role}
    assert commands(of_product("orders", ["o"]), principals, "b:1") == [
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:controller "
        "--operation Describe --operation Delete --group kappa-orders- --resource-pattern-type prefixed",
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:controller "
        "--operation Describe --group kappa-reader",
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:controller "
        "--operation Read --operation DescribeConfigs --topic o",
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:job "
        "--operation Read --group kappa-orders- --resource-pattern-type prefixed",
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:job "
        "--operation Read --topic o",
        "kafka-acls --bootstrap-server b:1 --command-config admin.properties --add --allow-principal User:producer "
        "--operation Write --operation DescribeConfigs --topic o",
    ]


def test_they_are_printed_without_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path / "none"))
    said = (
        CliRunner()
        .invoke(
            app,
            ["acls", "flights", "--from", str(FLIGHTS), "--job", "User:CN=job"],
            catch_exceptions=False,
        )
        .output
    )
    assert "--bootstrap-server localhost:9092" in said and "--allow-principal User:CN=job" in said
    assert said.count("\n# ") == 2
    found = json.loads(
        CliRunner()
        .invoke(
            app,
            ["acls", "flights", "--from", str(FLIGHTS), "--output", "json"],
            catch_exceptions=False,
        )
        .output
    )
    assert {f["resource_name"] for f in found if f["who"] == "producer"} == {
        "flights",
        "weather",
        "airlines",
        "airports",
        "planes",
    }
    assert {f["principal"] for f in found} == {
        "User:kappa-producer",
        "User:kappa-job",
        "User:kappa-controller",
    }
    wrong = CliRunner().invoke(app, ["acls", "flights", "--from", str(FLIGHTS), "--producer", "me"])
    assert isinstance(wrong.exception, ConfigError)
