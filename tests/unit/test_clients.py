"""Logins and TLS of clients, and what is looked up elsewhere: ${file:…} and ${env:…} in config.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from replay.cli.main import app
from replay.errors import ConfigError
from replay.kafka import clients
from replay.secret import Reference, reference, referenced, revealed, show, show_address
from replay.settings import RegistrySettings, Settings, TlsSettings, load_settings
from tests.unit.test_secrets import CANARY, config


def settings_of(home: Path, **changes: Any) -> Settings:
    (home / "config.yaml").write_text(yaml.safe_dump({**config(home), **changes}))
    return load_settings(home)


def test_a_secret_is_looked_up_each_time_that_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    settings = settings_of(
        tmp_path,
        kafka={"sasl.password": f"${{file:{file}}}", "client.id": "${env:KAPPA_TEST}"},
        store="postgresql://kappa:${env:KAPPA_TEST}@db/store",
    )
    for value, name in (
        (settings.kafka["sasl.password"], str(file)),
        (settings.kafka["client.id"], "KAPPA_TEST"),
    ):
        assert isinstance(value, SecretStr)
        with pytest.raises(ConfigError, match=r"config\.yaml refers to") as e:
            value.get_secret_value()
        assert name in str(e.value)
    file.write_text("one\n")
    monkeypatch.setenv("KAPPA_TEST", "p@ss/word")
    assert revealed(settings.kafka) == {"sasl.password": "one", "client.id": "p@ss/word"}
    file.write_text("two")
    assert revealed(settings.kafka)["sasl.password"] == "two"
    assert isinstance(settings.store, SecretStr)
    assert settings.store.get_secret_value() == "postgresql://kappa:p%40ss%2Fword@db/store"
    assert "p@ss" not in repr(settings) + settings.model_dump_json()


def test_a_job_looks_up_by_itself_what_is_a_reference_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAPPA_TEST", "canary")
    folder = tmp_path / "secrets"
    options: dict[str, str | SecretStr] = {
        "a": Reference("${file:/run/secrets/not-for-the-controller}"),
        "b": Reference("${env:NONE_SUCH}"),
        "c": Reference("x ${env:KAPPA_TEST}"),
    }
    assert referenced(options, folder, "kafka") == {
        "a": "${file:/run/secrets/not-for-the-controller}",
        "b": "${env:NONE_SUCH}",
        "c": f"${{directory:{folder}:kafka.c}}",
    }
    assert [(f.name, f.read_text()) for f in folder.iterdir()] == [("kafka.c", "x canary")]
    assert reference(SecretStr("s"), folder, "d") == f"${{directory:{folder}:d}}"


def test_a_kafka_client_in_java_is_told_who_looks_up_what_there_is() -> None:
    assert clients.with_providers({"a": "1"}) == {"a": "1"}
    found = clients.with_providers(
        {"a": "${directory:/s:a}", "b": "${env:X}", "config.providers": "mine"}
    )
    assert found["config.providers"] == "mine,directory,env"
    assert {key for key in found if key.endswith(".class")} == {
        "config.providers.directory.class",
        "config.providers.env.class",
    }
    assert (
        clients.with_providers({"a": "${file:/x}"})["config.providers.file.class"]
        == "kappa.secrets.FileProvider"
    )


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (
            {"flink": {"rest": "http://${env:H}:1", "home": "/f", "checkpoints": "file:///c"}},
            "flink.rest",
        ),
        ({"secrets": "${file:/s}"}, "secrets"),
        ({"registry": "http://${env:HOST}/v7"}, "registry.url"),
    ],
)
def test_what_nobody_would_look_up_is_refused(
    tmp_path: Path, changes: dict[str, Any], where: str
) -> None:
    with pytest.raises(ConfigError) as e:
        settings_of(tmp_path, **changes)
    assert f"is wrong at '{where}'" in str(e.value)


def test_kafkas_own_references_are_left_to_kafka(tmp_path: Path) -> None:
    java = {
        "security.protocol": "SSL",
        "config.providers": "file",
        "ssl.key.password": "${file:/p.properties:key}",
    }
    settings = settings_of(tmp_path, kafka_java=java)
    assert not isinstance(settings.kafka_java["ssl.key.password"], Reference)


def test_jobs_speak_the_protocol_of_the_settings_or_none(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, kafka={"bootstrap.servers": "b:1", "security.protocol": "SSL"}, kafka_java={}
    )
    with pytest.raises(ConfigError, match="does not say how jobs log in to Kafka"):
        clients.kafka_of_job(settings)
    plain = settings_of(tmp_path, kafka={"bootstrap.servers": "b:1"}, kafka_java={})
    assert clients.kafka_of_job(plain) == {"bootstrap.servers": "b:1"}
    other = settings_of(
        tmp_path, kafka_java={"bootstrap.servers": "inside:1", "security.protocol": "PLAINTEXT"}
    )
    assert clients.kafka_of_job(other)["bootstrap.servers"] == "inside:1"


TLS = TlsSettings(ca=Path("/ca.pem"), certificate=Path("/me.pem"), key_password=SecretStr("k"))


@pytest.mark.parametrize(
    ("given", "python", "java"),
    [
        (
            {"url": "http://u:p%40@h"},
            {"basic.auth.user.info": "u:p@"},
            {"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": "u:p@"},
        ),
        (
            {"url": "http://h", "token": "t"},
            {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": "t",
                "bearer.auth.logical.cluster": "",
            },
            {"bearer.auth.credentials.source": "STATIC_TOKEN", "bearer.auth.token": "t"},
        ),
        (
            {"url": "http://h", "tls": TLS},
            {
                "ssl.ca.location": "/ca.pem",
                "ssl.certificate.location": "/me.pem",
                "ssl.key.password": "k",
            },
            {
                "schema.registry.ssl.truststore.type": "PEM",
                "schema.registry.ssl.truststore.location": "/ca.pem",
                "schema.registry.ssl.keystore.type": "PEM",
                "schema.registry.ssl.keystore.location": "/me.pem",
                "schema.registry.ssl.key.password": "k",
            },
        ),
    ],
)
def test_both_clients_of_the_registry_log_in_alike(
    given: dict[str, Any], python: dict[str, str], java: dict[str, str]
) -> None:
    settings = RegistrySettings.model_validate(given)
    assert clients.registry(settings) == {"url": "http://h", **python}
    assert revealed(clients.registry_of_job(settings)) == java


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sqlite:////a/store.db", "sqlite:////a/store.db"),
        (
            SecretStr("postgresql+psycopg://u:p@db:5432/store?sslmode=require&password=p"),
            "postgresql+psycopg://***@db:5432/store",
        ),
        (Reference("postgresql://u:${file:/p}@db/store"), "postgresql://***@db/store"),
        (Reference("${env:STORE}"), "${env:STORE}"),
        (SecretStr("jdbc:sqlserver://h;user=u;password=p"), "***"),
    ],
)
def test_addresses_are_shown_without_what_is_secret(value: str | SecretStr, expected: str) -> None:
    assert show_address(value) == expected
    assert show(SecretStr("x")) == "***"


def test_kappa_config_shows_the_settings_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = config(tmp_path)
    said["kafka"]["ssl.key.password"] = "${file:/run/secrets/kafka}"
    said["catalog"]["flink"]["jdbc.password"] = f"x{CANARY}${{env:NONE_SUCH}}"
    said["registry"] = {
        "url": f"https://u:{CANARY}@registry/v7",
        "tls": {"ca": "/ca.pem", "key_password": CANARY},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(said))
    monkeypatch.setenv("KAPPA_HOME", str(tmp_path))
    for arguments in (["config"], ["config", "--output", "json"]):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert CANARY not in done.output
        shown = yaml.safe_load(done.output)
        assert (
            shown["kafka"]["sasl.username"] == "kappa" and shown["kafka"]["sasl.password"] == "***"
        )
        assert shown["kafka"]["ssl.key.password"] == "${file:/run/secrets/kafka}"
        assert shown["catalog"]["flink"]["jdbc.password"] == "***"
        assert shown["catalog"]["flink"]["uri"] == "postgresql://***@db/lake"
        assert shown["registry"] == {
            "url": "https://registry/v7",
            "user": "***",
            "token": None,
            "tls": {"ca": "/ca.pem", "certificate": None, "key_password": "***"},
        }
        assert shown["store"] == "postgresql://***@127.0.0.1:1/store"
        assert shown["queries"]["seconds"] == 300
