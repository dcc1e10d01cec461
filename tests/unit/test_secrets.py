"""Secrets are in no text, file or message that is for somebody else; whoever needs one gets it."""

from __future__ import annotations

import json
import os
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, TypeAdapter

from jobs import explain
from jobs.bindings import Bindings, sink_options, source_options
from replay import secret
from replay.cli.running import explained_bindings
from replay.controller.platform import Platform, write_bindings
from replay.errors import KappaError, RetryableError
from replay.flink.submit import Submission, maintain_command, submit_command, submit_env
from replay.iceberg import lake
from replay.kafka import clients, log, schema_registry
from replay.secret import Options, holds_secret, revealed
from replay.settings import VERSION, Settings, load_settings
from replay.store.store import Store
from tests.unit import products

CANARY = "c4nary"
MANY = {
    "kafka": {
        "sasl.password": f"{CANARY}-1",
        "ssl.key.password": f"{CANARY}-2",
        "ssl.key.pem": f"{CANARY}-3",
        "sasl.oauthbearer.client.secret": f"{CANARY}-4",
        "some.option.of.tomorrow": f"{CANARY}-5",
        "ssl.keystore.password": f"{CANARY}-6",
    },
    "kafka_java": {
        "sasl.jaas.config": f'org.apache.X required username="u" password="{CANARY}-7";',
        "ssl.truststore.password": f"{CANARY}-8",
    },
    "flink": {
        "s3.secret-access-key": f"{CANARY}-9",
        "jdbc.password": f"{CANARY}-10",
        "credential": f"{CANARY}-11",
        "uri": f"jdbc:postgresql://db/lake?user=u&password={CANARY}-12",
        "token": f"{CANARY}-13",
        "header.authorization": f"{CANARY}-14",
        "s3.access-key-id": f"{CANARY}-15",
    },
    "pyiceberg": {
        "uri": f"postgresql://u:{CANARY}-16@127.0.0.1:1/lake",
        "s3.session-token": f"{CANARY}-17",
        "oauth2.client": f"{CANARY}-18",
    },
}


def config(home: Path) -> dict[str, Any]:
    return {
        "version": VERSION,
        "kafka": {
            "bootstrap.servers": "127.0.0.1:1",
            "security.protocol": "SASL_SSL",
            "sasl.username": "kappa",
            **MANY["kafka"],
        },
        "kafka_java": {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            **MANY["kafka_java"],
        },
        "registry": f"http://user:{CANARY}-20@127.0.0.1:1/v7",
        "flink": {
            "rest": "http://127.0.0.1:1",
            "home": str(home / "flink"),
            "checkpoints": f"file://{home}/checkpoints",
        },
        "catalog": {
            "flink": {"type": "iceberg", "catalog-type": "rest", **MANY["flink"]},
            "pyiceberg": {"type": "sql", "warehouse": f"file://{home}/lake", **MANY["pyiceberg"]},
        },
        "store": f"postgresql://u:{CANARY}-21@127.0.0.1:1/store",
        "secrets": str(home / "secrets"),
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(tmp_path)))
    return load_settings(tmp_path)


@pytest.fixture
def job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Bindings:
    """What a job of flights is bound to, with a log that needs no broker."""
    monkeypatch.setattr(log, "end_offsets", lambda s, topics: {t: {0: 5} for t in topics})
    monkeypatch.setattr(log, "broker_dated", lambda s, topics: [])
    made = Platform(settings).bindings(products.flights(), "r1-a1", "g", {}, 2)
    return Bindings.model_validate(made)


def test_settings_show_none(settings: Settings) -> None:
    for text in (
        repr(settings),
        str(settings),
        f"{settings}",
        settings.model_dump_json(),
        str(settings.model_dump()),
        repr(settings.catalog),
        repr(settings.kafka),
    ):
        assert CANARY not in text
    assert settings.registry.url == "http://127.0.0.1:1/v7"


def test_clients_get_them(settings: Settings) -> None:
    assert revealed(settings.kafka)["sasl.password"] == f"{CANARY}-1"
    assert revealed(settings.catalog.pyiceberg)["uri"] == MANY["pyiceberg"]["uri"]
    assert clients.registry(settings.registry) == {
        "url": "http://127.0.0.1:1/v7",
        "basic.auth.user.info": f"user:{CANARY}-20",
    }
    assert settings.kafka["bootstrap.servers"] == "127.0.0.1:1"


def test_a_job_gets_the_names_of_their_files(
    settings: Settings, job: Bindings, tmp_path: Path
) -> None:
    file = tmp_path / "attempts" / "flights" / "r1-a1.json"
    write_bindings(file, job.model_dump(mode="json"))
    assert CANARY not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    folder = tmp_path / "secrets"
    jaas = job.kafka["sasl.jaas.config"]
    assert jaas == f"${{directory:{folder}:kafka.sasl.jaas.config}}"
    assert (folder / "kafka.sasl.jaas.config").read_text() == MANY["kafka_java"]["sasl.jaas.config"]
    assert job.kafka["config.providers"] == "directory"
    assert job.kafka["bootstrap.servers"] == "127.0.0.1:1"
    assert not job.kafka.keys() & {"sasl.username", "sasl.password", "ssl.key.pem"}
    assert job.registry == "http://127.0.0.1:1/v7"
    assert job.registry_options == {
        "basic.auth.credentials.source": "USER_INFO",
        "basic.auth.user.info": f"${{directory:{folder}:registry.basic.auth.user.info}}",
    }
    assert (
        job.catalog.options["s3.secret-access-key"]
        == f"${{directory:{folder}:catalog.s3.secret-access-key}}"
    )
    assert job.catalog.options["catalog-type"] == "rest"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 1 + len(MANY["kafka_java"]) + len(MANY["flink"])
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_a_secret_that_changed_is_written_again_for_its_owner_alone(tmp_path: Path) -> None:
    name = secret.reference(SecretStr("one"), tmp_path, "kafka.sasl.password")
    file = tmp_path / "kafka.sasl.password"
    file.chmod(0o644)
    assert secret.reference(SecretStr("one"), tmp_path, "kafka.sasl.password") == name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret.reference(SecretStr("two"), tmp_path, "kafka.sasl.password")
    assert file.read_text() == "two" and os.listdir(tmp_path) == [file.name]
    with pytest.raises(KappaError, match="cannot be the name of a secret"):
        secret.reference(SecretStr("three"), tmp_path, "../kafka")


def test_without_secrets_a_job_is_bound_to_the_options_as_they_are(tmp_path: Path) -> None:
    options = {"bootstrap.servers": "b:1", "security.protocol": "PLAINTEXT"}
    assert secret.referenced(options, tmp_path / "none", "kafka") == options
    assert not (tmp_path / "none").exists()


def test_what_a_job_declares_and_what_explain_prints_has_none(
    settings: Settings, job: Bindings
) -> None:
    product = products.flights()
    declared = [source_options(name, product, job) for name in product.settings.topics]
    declared += [sink_options(name, job) for name in product.outputs]
    assert CANARY not in str(declared)
    text = explain.explain(product, explained_bindings(settings, product))
    assert CANARY not in text and "'properties.sasl.jaas.config' = '***'" in text
    assert "'properties.sasl.mechanism' = 'SCRAM-SHA-512'" in text


def test_commands_and_their_environments_have_none(settings: Settings, tmp_path: Path) -> None:
    submission = Submission("a" * 32, "x", tmp_path, tmp_path / "b.json")
    for text in (
        submit_command(settings, submission),
        submit_env(settings),
        maintain_command(settings, tmp_path / "b.json", ["t"], 1),
    ):
        assert CANARY not in str(text)


FAILING: dict[str, Callable[[Settings], object]] = {
    "registry": lambda s: schema_registry.register(s, products.orders()),
    "catalog": lake.open_catalog,
    "store": lambda s: Store(s.store),
}


@pytest.mark.parametrize("what", ["registry", "store", "catalog"])
def test_what_is_down_is_told_without_them(settings: Settings, what: str) -> None:
    with pytest.raises(RetryableError) as e:
        FAILING[what](settings)
    assert CANARY not in str(e.value)


def test_a_store_that_does_not_answer_is_named_without_its_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "none" / "store.db"
    with pytest.raises(RetryableError) as e:
        Store(SecretStr(f"sqlite:///{folder}?password={CANARY}&uri=false"))
    assert CANARY not in "".join(traceback.format_exception(e.value)[:1]) + str(e.value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c["kafka"].update({"sasl.password": [f"{CANARY}-x"]}), id="a list"),
        pytest.param(lambda c: c.pop("store"), id="a field is missing"),
        pytest.param(lambda c: c.update(kafka=f"sasl.password={CANARY}"), id="options as text"),
        pytest.param(lambda c: c.update(store={"url": CANARY}), id="store as options"),
        pytest.param(lambda c: c.update(pasword=CANARY), id="an unknown field"),
        pytest.param(
            lambda c: c.update(registry={"url": "http://h", "user": [CANARY]}),
            id="a user that is none",
        ),
        pytest.param(
            lambda c: c.update(registry={"url": f"http://u:{CANARY}@h", "token": CANARY}),
            id="two logins",
        ),
        pytest.param(
            lambda c: c["kafka"].update({"sasl.jaas.config": CANARY}),
            id="Java's names for librdkafka",
        ),
        pytest.param(
            lambda c: c["kafka_java"].update({"sasl.password": CANARY}),
            id="librdkafka's names for Java",
        ),
    ],
)
def test_settings_that_are_wrong_are_told_without_them(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    wrong = config(tmp_path)
    change(wrong)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(KappaError, match="is wrong") as e:
        load_settings(tmp_path)
    assert CANARY not in "".join(traceback.format_exception(e.value))


def test_settings_that_are_no_yaml_are_told_without_them(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"kafka:\n  sasl.password: '{CANARY}\n")
    with pytest.raises(KappaError, match="is not YAML") as e:
        load_settings(tmp_path)
    assert CANARY not in "".join(traceback.format_exception(e.value))
    assert "line" in e.value.found


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqlite:////a/lake.db", False),
        ("sqlite:////a/lake.db?timeout=30", False),
        ("http://host:1/v7", False),
        ("jdbc:sqlite:/a/lake.db?busy_timeout=30000", False),
        ("127.0.0.1:9092", False),
        ("s3://bucket/a", False),
        ("http://u:p@host", True),
        ("postgresql://u@host/db", True),
        ("jdbc:postgresql://h/db?password=p", True),
        ("jdbc:sqlserver://h;user=u;password=p", True),
        ("https://h/x?X-Amz-Signature=1", True),
    ],
)
def test_addresses_that_hold_a_secret(address: str, expected: bool) -> None:
    assert holds_secret(address) is expected


def test_only_what_is_known_to_hold_none_is_shown() -> None:
    given = {"security.protocol": "SSL", "x.y": "z", "ssl.cabundle": "/a", "n": 1}
    options = TypeAdapter(Options).validate_python(given)
    assert secret.shown(options) == {
        "security.protocol": "SSL",
        "x.y": "***",
        "ssl.cabundle": "/a",
        "n": "***",
    }
    assert not {
        key
        for key in secret.PUBLIC
        if any(word in key for word in ("password", "secret", "jaas", "pem"))
    }
    assert json.dumps(secret.shown(options))
