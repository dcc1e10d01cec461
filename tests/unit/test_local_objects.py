"""The stack's Flink on an object store: only where a person's config.yaml names one."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import config_file, flink, jars, objects, stack
from local.layout import Layout, Ports
from replay.iceberg import file_io
from replay.kafka import clients
from replay.releases import runtime
from replay.secret import referenced
from replay.settings import load_settings

STORAGE = {
    "s3.endpoint": "http://127.0.0.1:9000",
    "s3.access-key-id": "key",
    "s3.secret-access-key": "h1dden",
    "s3.region": "eu-west-1",
}


def home(tmp_path: Path, **changes: Any) -> Layout:
    """A home with a config.yaml of one's own."""
    layout = Layout(tmp_path, Ports(20_000))
    settings: dict[str, Any] = config_file.settings_of(layout)
    settings["flink"]["checkpoints"] = "s3://lake/checkpoints"
    for catalog in settings["catalog"]["flink"], settings["catalog"]["pyiceberg"]:
        catalog["warehouse"] = "s3://lake/tables"
    layout.settings.write_text(yaml.safe_dump({**settings, "storage": STORAGE, **changes}))
    return layout


def test_flink_gets_its_jars_and_its_keys(tmp_path: Path) -> None:
    layout = home(tmp_path)
    flink.write(layout, [])
    lib = {f.name for f in (layout.flink / "lib").iterdir()}
    assert "iceberg-aws-bundle-1.11.0.jar" in lib and not any(
        name.startswith(objects.PLUGIN) for name in lib
    )
    assert [f.name for f in (layout.flink / "plugins" / "s3").iterdir()] == [
        "flink-s3-fs-hadoop-2.1.0.jar"
    ]
    file = layout.flink / "conf" / "config.yaml"
    found = yaml.safe_load(file.read_text())
    assert {name: found[name] for name in found if name.startswith("s3.")} == {
        "s3.endpoint": "http://127.0.0.1:9000",
        "s3.access-key": "key",
        "s3.secret-key": "h1dden",
        "s3.endpoint.region": "eu-west-1",
        "s3.path.style.access": "true",
    }
    assert found["execution.checkpointing.dir"] == "s3://lake/checkpoints"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {jar.fields[1] for jar in stack.jars_needed(layout)} >= {
        objects.PLUGIN,
        "iceberg-aws-bundle",
    }


@pytest.mark.parametrize("written", ["nobody", "kappa up", "a person, on this machine"])
def test_elsewhere_there_is_nothing_of_it(tmp_path: Path, written: str) -> None:
    layout = Layout(tmp_path, Ports(20_000))
    if written == "kappa up":
        config_file.write_settings(layout)
    elif written != "nobody":
        layout.settings.write_text(yaml.safe_dump(config_file.settings_of(layout)))
    assert objects.of(layout) is None
    assert not {objects.PART} & {part for jar in stack.jars_needed(layout) for part in jar.parts}
    flink.write(layout, [])
    assert list((layout.flink / "plugins").iterdir()) == []
    assert not any(
        name.startswith("s3.")
        for name in yaml.safe_load((layout.flink / "conf/config.yaml").read_text())
    )


def test_the_job_reaches_the_store_as_the_controller_does_and_gets_no_secret(
    tmp_path: Path,
) -> None:
    settings = load_settings(home(tmp_path).home)
    options = file_io.of_flink(
        referenced(clients.catalog_of_job(settings), settings.secrets, "catalog")
    )
    assert options["io-impl"] == "org.apache.iceberg.aws.s3.S3FileIO"
    assert {
        name: options[name] for name in ("s3.endpoint", "client.region", "s3.path-style-access")
    } == {
        "s3.endpoint": "http://127.0.0.1:9000",
        "client.region": "eu-west-1",
        "s3.path-style-access": "true",
    }
    assert (
        options["s3.secret-access-key"]
        == f"${{directory:{settings.secrets}:catalog.s3.secret-access-key}}"
    )
    assert (settings.secrets / "catalog.s3.secret-access-key").read_text() == "h1dden"
    assert "h1dden" not in str(options)


def test_a_catalogs_own_options_come_first(tmp_path: Path) -> None:
    layout = home(tmp_path)
    said = yaml.safe_load(layout.settings.read_text())
    said["catalog"]["flink"] |= {"io-impl": "org.example.IO", "client.region": "mars"}
    layout.settings.write_text(yaml.safe_dump(said))
    options = clients.catalog_of_job(load_settings(layout.home))
    assert (options["io-impl"], options["client.region"]) == ("org.example.IO", "mars")


def test_where_files_lie_decides_no_row() -> None:
    carrying = [
        jar for jar in jars.read_lock(objects.PART) if not jar.fields[1].startswith(objects.PLUGIN)
    ]
    assert [
        jar.file.name for jar in carrying if not jar.file.name.startswith(runtime._CARRIES)
    ] == []
