"""The form with Docker, as far as it can be judged without a daemon: the files of Compose, and what an image runs."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import flink, image, kafka, stack
from local.layout import Layout
from replay.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
FILE = yaml.safe_load(COMPOSE)
SERVICES: dict[str, Any] = FILE["services"]
TIERED: dict[str, Any] = yaml.safe_load((ROOT / "compose.tiered.yml").read_text())
CLOSED: dict[str, Any] = yaml.safe_load((ROOT / "compose.closed.yml").read_text())["services"]
ONE_OFF = {"kappa"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    ports = SERVICES[name].get("ports", ())
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_limited_has_no_privileges_and_a_bounded_log(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"memory", "pids"} <= limits.keys()
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_OFF))
def test_a_service_comes_back_and_tells_how_it_is(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["start_period"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_healthy_by_then(name: str) -> None:
    assert {on["condition"] for on in SERVICES[name].get("depends_on", {}).values()} <= {
        "service_healthy"
    }


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_or_made_here(name: str) -> None:
    name, _, tag = SERVICES[name]["image"].rpartition(":")
    assert (name, tag) == ("${KAPPA_IMAGE:-kappa", "local}") or re.match(r"\d", tag)


def test_data_is_in_named_volumes() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    named = {mount.partition(":")[0] for mount in mounts if not mount.startswith(("/", ".", "$"))}
    assert named == FILE["volumes"].keys()


def test_secrets_are_files_and_no_value_of_the_environment() -> None:
    assert all(secret.keys() == {"file"} for secret in FILE["secrets"].values())
    settings = [
        (key, value) for s in SERVICES.values() for key, value in s.get("environment", {}).items()
    ]
    assert [
        key
        for key, value in settings
        if "PASSWORD" in key and not value.startswith("/run/secrets/")
    ] == []


def test_what_may_be_set_stands_in_the_example_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(KAPPA_\w+):-([^}]*)\}", COMPOSE))
    example = dict(
        re.findall(r"^#(KAPPA_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    assert used == example


@pytest.mark.parametrize("name", CLOSED)
def test_without_a_registry_of_images_only_images_differ(name: str) -> None:
    assert CLOSED[name].keys() <= {"image", "build"}


def test_every_image_of_somebody_else_has_a_replacement() -> None:
    others = {name for name, service in SERVICES.items() if "KAPPA_IMAGE" not in service["image"]}
    assert {name for name, service in CLOSED.items() if "image" in service} == others


def test_the_remote_tier_is_that_of_the_embedded_stack() -> None:
    (name,) = TIERED["services"]
    tiered = TIERED["services"][name]
    here = SERVICES[name]["environment"]
    assert here.keys().isdisjoint(tiered["environment"])
    properties = dict(
        line.split("=", 1) for line in kafka.server_properties(kafka_layout(True)).splitlines()
    )
    without = kafka.server_properties(kafka_layout(False))
    added = {key for key in properties if f"{key}=" not in without}
    ours = {
        key.removeprefix("KAFKA_").lower().replace("_", "."): value
        for key, value in tiered["environment"].items()
    }
    elsewhere = {
        "remote.log.storage.manager.class.path",  # the embedded broker has them on its class path
        "rsm.config.dir",
        "remote.log.metadata.manager.listener.name",
    }
    assert ours.keys() - elsewhere == added - elsewhere
    assert [key for key in added - elsewhere if ours[key] != properties[key]] == []


def kafka_layout(tiered: bool) -> Layout:
    return Layout(Path("/home-of-kappa"), tiered=tiered)


def test_the_settings_are_valid_and_name_services_and_secrets_that_there_are(
    tmp_path: Path,
) -> None:
    text = (ROOT / "deploy" / "compose" / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text)
    settings = load_settings(tmp_path)
    hosts = {str(host) for host in re.findall(r"(?://|@)([a-z0-9]+):\d", text)} | {
        str(settings.kafka["bootstrap.servers"]).partition(":")[0]
    }
    assert hosts <= SERVICES.keys()
    files = set(re.findall(r"\$\{file:/run/secrets/([^}]+)\}", text))
    assert files
    for name in ("controller", "kappa", "jobmanager", "taskmanager"):
        assert files <= set(SERVICES[name]["secrets"]), name


def test_an_image_has_every_folder_that_its_build_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of what is not there fails a build that nobody runs without a daemon."""
    for builder in ("build_connector_jar", "build_patches_jar"):
        monkeypatch.setattr(stack, builder, lambda *arguments: arguments[-1])
    made = {
        f"/opt/{jar.relative_to('/opt').parts[0]}" for jar in stack.own_jars(image.LAYOUT, Path())
    }
    made.add(str(image.LAYOUT.flink))
    copied = re.findall(r"^COPY --from=build (\S+) (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {source for source, _ in copied} == made
    assert [pair for pair in copied if len(set(pair)) != 1] == []


@pytest.mark.parametrize(
    ("file", "stages"),
    [("Dockerfile", "build kappa"), ("deploy/closed/Dockerfile", "kafka registry")],
)
def test_what_is_made_of_our_files_asks_no_network(file: str, stages: str) -> None:
    """Else a build that fails for a network's reasons could not be told from one that fails for ours."""
    text = (ROOT / file).read_text()
    blocks = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)", text, re.M | re.S))
    for stage in stages.split():
        assert not re.search(r"apt-get|\bpip\b|/uv\b|-m local\.jars", blocks[stage]), stage


def test_flinks_client_logs_no_environment() -> None:
    lines = flink.LOG4J_CLIENT.splitlines()
    name = "logger.python.name = org.apache.flink.client.python.PythonEnvUtils"
    assert lines[lines.index(name) + 1] == "logger.python.level = WARN"


def test_flink_of_an_image_has_the_embedded_settings_but_where_it_listens() -> None:
    embedded = flink.settings(image.LAYOUT, image.cluster(), "")
    found = image.on_a_network(embedded)
    assert (found["jobmanager.rpc.address"], found["rest.bind-address"]) == (
        "jobmanager",
        "0.0.0.0",
    )
    assert not [key for key, value in found.items() if "127.0.0.1" in str(value)]
    assert found["restart-strategy.type"] == embedded["restart-strategy.type"]
    assert "/scratch" in str(found["env.java.opts.taskmanager"])


def test_flink_reaches_the_object_store_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        (ROOT / "deploy" / "compose" / "config.yaml")
        .read_text()
        .replace("/run/secrets", str(tmp_path))
    )
    (tmp_path / "s3_access_key").write_text("key\n")
    (tmp_path / "s3_secret_key").write_text("secret\n")
    assert image.with_storage({"a": 1}, load_settings(tmp_path)) == {
        "a": 1,
        "execution.checkpointing.dir": "s3://kappa/checkpoints",
        "s3.endpoint": "http://s3:8333",
        "s3.endpoint.region": "us-east-1",
        "s3.access-key": "key",
        "s3.secret-key": "secret",
        "s3.path.style.access": "true",
    }


def test_a_cluster_may_have_settings_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert image.with_options({"a": 1, "b": 2}, file) == {"a": 1, "b": 2}
    file.write_text("b: 3\nc: 4\n")
    assert image.with_options({"a": 1, "b": 2}, file) == {"a": 1, "b": 3, "c": 4}


KAPPA = str(Path(sys.executable).with_name("kappa"))


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], [KAPPA]),
        (["status", "--watch"], [KAPPA, "status", "--watch"]),
        (
            ["jobmanager", "-D", "a=b"],
            ["/opt/flink/bin/jobmanager.sh", "start-foreground", "-D", "a=b"],
        ),
        (
            ["taskmanager"],
            [
                "/opt/flink/bin/taskmanager.sh",
                "start-foreground",
                "-D",
                "taskmanager.host=4711",
                "-D",
                "taskmanager.resource-id=4711",
            ],
        ),
    ],
    ids=["nothing", "kappa", "jobmanager", "taskmanager"],
)
def test_a_container_becomes_what_its_arguments_say(
    arguments: list[str], command: list[str]
) -> None:
    assert image.command(arguments, "4711") == command


def test_others_reach_a_container_by_the_address_that_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(image.HOST, raising=False)
    assert image.host() == socket.gethostname()
    monkeypatch.setenv(image.HOST, "10.1.2.3")
    assert image.host() == "10.1.2.3"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "spill" / "deep").mkdir(parents=True)
    (tmp_path / "library.so").touch()
    (tmp_path / "link").symlink_to(tmp_path / "spill")
    image.empty(tmp_path)
    assert list(tmp_path.iterdir()) == []
