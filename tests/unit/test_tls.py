"""Both sides prove who they are: Flink's REST API and the schema registry over TLS, with an authority of their own."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from replay import tls
from replay.core.observed import FlinkDownError
from replay.errors import ConfigError, RetryableError
from replay.flink.rest import Flink, Slots
from replay.kafka import clients, schema_registry
from replay.settings import CatalogSettings, FlinkSettings, RegistrySettings, Settings, TlsSettings
from tests.unit.certificates import Authority

LOGIN = "Basic dTpw"  # u:p


class Server(BaseHTTPRequestHandler):
    """Flink's overview, and a registry that wants a login."""

    def do_GET(self) -> None:
        if self.path == "/overview":
            self._answer(200, {"slots-available": 1, "slots-total": 2})
        elif self.headers.get("Authorization") in (LOGIN, "Bearer t"):
            self._answer(200, ["orders-value"])
        else:
            self._answer(401, {"error_code": 401, "message": "who are you?"})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """It refuses handshakes without a word."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@dataclass
class World:
    authority: Authority
    url: str

    def settings(self, files: TlsSettings, **registry: object) -> Settings:
        return Settings(
            home=self.authority.folder,
            kafka={},
            store="sqlite://",
            secrets=self.authority.folder,
            registry=RegistrySettings.model_validate({"url": self.url, "tls": files, **registry}),
            flink=FlinkSettings(rest=self.url, home=Path("/f"), checkpoints="file:///c", tls=files),
            catalog=CatalogSettings(flink={}, pyiceberg={}),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    server = QuietServer(("127.0.0.1", 0), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem("server"))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield World(authority, f"https://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["", "k3y"], ids=["a plain key", "a key with a password"])
def files(world: World, request: pytest.FixtureRequest) -> TlsSettings:
    pem = world.authority.pem("client", request.param)
    return TlsSettings(
        ca=world.authority.ca,
        certificate=pem,
        key_password=SecretStr(request.param) if request.param else None,
    )


def test_flink_is_asked_over_mutual_tls(world: World, files: TlsSettings) -> None:
    assert Flink(world.settings(files)).slots() == Slots(1, 2)


@pytest.mark.parametrize("lacking", ["certificate", "ca"])
def test_flink_is_not_asked_without(world: World, lacking: str) -> None:
    pem = world.authority.pem("client")
    some = {"ca": world.authority.ca, "certificate": pem} | {lacking: None}
    with pytest.raises(FlinkDownError, match="does not answer"):
        Flink(world.settings(TlsSettings.model_validate(some))).slots()


@pytest.mark.parametrize("login", [{"user": "u:p"}, {"token": "t"}])
def test_the_registry_is_asked_over_mutual_tls(
    world: World, files: TlsSettings, login: dict[str, str]
) -> None:
    with schema_registry.asking(world.settings(files, **login)) as registry:
        assert registry.get_subjects() == ["orders-value"]


def test_a_login_that_the_registry_refuses_is_told(world: World) -> None:
    files = TlsSettings(ca=world.authority.ca, certificate=world.authority.pem("client"))
    with (
        pytest.raises(RetryableError) as e,
        schema_registry.asking(world.settings(files, user="u:wr0ng")) as registry,
    ):
        registry.get_subjects()
    assert str(e.value) == (
        "the schema registry does not allow what was asked\n"
        f"  expected: a login at {world.url} that may do it\n"
        "  found:    HTTP 401\n"
        "  next:     see kappa config; fix `registry` in config.yaml, or the user at the registry"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ca": Path("/none.pem")}, "/none.pem: No such file or directory"),
        ({"key_password": SecretStr("wr0ng")}, "client.pem"),
        ({"key_password": None}, "client.pem"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    world: World, change: dict[str, object], found: str
) -> None:
    pem = world.authority.pem("client", "k3y")
    given = TlsSettings(ca=world.authority.ca, certificate=pem, key_password=SecretStr("k3y"))
    with pytest.raises(ConfigError, match=r"in config\.yaml cannot be used") as e:
        tls.context(given.model_copy(update=change))
    assert found in e.value.found and "wr0ng" not in str(e.value)


def test_both_clients_of_the_registry_read_the_same_files(world: World, files: TlsSettings) -> None:
    settings = world.settings(files, user="u:p").registry
    assert clients.registry(settings)["ssl.certificate.location"] == str(files.certificate)
    assert clients.registry_of_job(settings)["schema.registry.ssl.keystore.location"] == str(
        files.certificate
    )
