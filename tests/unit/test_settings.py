"""config.yaml: forms of other versions, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from local import config_file
from local.layout import Layout, Ports
from replay.errors import ConfigError, RefusedError
from replay.kafka import clients
from replay.secret import revealed
from replay.settings import VERSION, load_settings


def fields(home: Path) -> dict[str, object]:
    return config_file.settings_of(Layout(home, Ports(19_000)))


def written(home: Path, data: object) -> Path:
    (home / "config.yaml").write_text(yaml.safe_dump(data))
    return home


def test_the_stack_writes_the_version_and_a_file_of_before_there_were_any_is_read(
    tmp_path: Path,
) -> None:
    said = fields(tmp_path)
    assert said["version"] == VERSION
    versioned = load_settings(written(tmp_path, said))
    assert versioned == load_settings(
        written(tmp_path, {k: v for k, v in said.items() if k != "version"})
    )


def test_in_version_1_jobs_got_the_properties_of_both_clients_and_the_registry_its_user_beside(
    tmp_path: Path,
) -> None:
    said = {
        **fields(tmp_path),
        "version": 1,
        "registry": "https://registry",
        "registry_user": "u:p",
        "kafka": {
            "bootstrap.servers": "b:1",
            "security.protocol": "SASL_SSL",
            "sasl.password": "p",
        },
        "kafka_java": {"sasl.jaas.config": "j", "sasl.username": "u"},
    }
    settings = load_settings(written(tmp_path, said))
    assert revealed(clients.kafka_of_job(settings)) == {
        "bootstrap.servers": "b:1",
        "security.protocol": "SASL_SSL",
        "sasl.jaas.config": "j",
    }
    assert clients.registry(settings.registry) == {
        "url": "https://registry",
        "basic.auth.user.info": "u:p",
    }


def test_a_newer_form_is_refused_before_its_fields_are_judged(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as e:
        load_settings(
            written(
                tmp_path, {**fields(tmp_path), "version": 3, "kafka": {"brokers": []}, "new": 1}
            )
        )
    assert str(e.value) == (
        f"{tmp_path}/config.yaml is of a newer version of kappa\n"
        "  expected: version 1 to 2\n"
        "  found:    version 3\n"
        f"  next:     use the kappa that wrote it, or a newer one; or see docs/upgrades.md and fix "
        f"{tmp_path}/config.yaml"
    )


@pytest.mark.parametrize("version", ["1", None, 0, 1.5, [1]])
def test_what_is_no_version_is_refused(tmp_path: Path, version: object) -> None:
    with pytest.raises(RefusedError, match=r"config\.yaml has no known version"):
        load_settings(written(tmp_path, {**fields(tmp_path), "version": version}))


def test_a_file_without_fields_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml holds no settings"):
        load_settings(written(tmp_path, ["kafka"]))
    with pytest.raises(ConfigError, match=r"config\.yaml is wrong at") as e:
        load_settings(written(tmp_path, None))
    assert (
        e.value.next
        == f"fix {tmp_path}/config.yaml; or, where it was written by the embedded stack, kappa up"
    )
