"""A stack like the embedded one in which everybody has to log in: Kafka, the registry and Flink's REST over TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__, but documented
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from local import config_file, flink, jars, kafka, registry, stack
from local.layout import Layout, Ports, java
from local.supervise import Supervisor, configuration, end_orphans
from replay import tls
from replay.settings import TlsSettings
from tests.integration.running import Kappa, wait_until
from tests.unit.certificates import Authority

NAME, SOLD, SHOPS = "sales", "pg.shop.sold", "shops"
SETTINGS: dict[str, Any] = {
    "name": NAME,
    "parallelism": 1,
    "checkpoint_interval": "2s",
    "switch": "auto",
    "topics": {
        "sold": {"topic": SOLD, "time": "happened", "allowed_lateness": "1h"},
        "shops": {"role": "reference", "key": ["shop"]},
    },
    "outputs": ["sale_rows"],
    "lag_limit": {"records": 100, "seconds": 60, "checkpoints": 1},
}
SELECT = """
SELECT s.id, s.happened, s.cents{times} AS cents, p.city
FROM sold AS s
LEFT JOIN LATERAL TABLE(shops_at(s.happened, s.shop)) AS p ON TRUE
"""
AT = {"name": "happened", "type": {"type": "long", "logicalType": "timestamp-millis"}}
SCHEMAS: dict[str, list[dict[str, Any]]] = {
    SOLD: [
        {"name": "id", "type": "long"},
        AT,
        {"name": "shop", "type": "string"},
        {"name": "cents", "type": "long"},
    ],
    SHOPS: [{"name": "shop", "type": "string"}, {"name": "city", "type": "string"}],
}
FILES = {SOLD: "sold.avsc", SHOPS: "shops.avsc"}
ADMIN, PRODUCER, JOB, CONTROLLER = "kappa-admin", "kappa-producer", "kappa-job", "kappa-controller"
_JAAS = (
    "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule required "
    'username="{user}" password="{password}";\n'
)


def password(user: str) -> str:
    """Each user's own; none is in a file that others may read."""
    return f"c4nary-{user}"


def write_product(folder: Path) -> Path:
    """A product with a look-up, from topics that the controller of a stack may read."""
    (folder / "schemas").mkdir(parents=True)
    (folder / "product.yaml").write_text(yaml.safe_dump(SETTINGS))
    write_sql(folder)
    for topic, fields in SCHEMAS.items():
        schema = {"type": "record", "name": "r", "fields": fields}
        (folder / "schemas" / FILES[topic]).write_text(json.dumps(schema))
    return folder


def write_sql(folder: Path, times: str = "") -> None:
    (folder / "sale_rows.sql").write_text(SELECT.format(times=times))


def sales(first: int, count: int) -> str:
    """Sales of the moment: whatever was appended before, such as their shop, is valid at their time."""
    begin = datetime.now(UTC)
    lines = []
    for n in range(first, first + count):
        happened = (begin + timedelta(milliseconds=n)).isoformat(timespec="milliseconds")
        lines.append(json.dumps({"id": n, "happened": happened, "shop": "a", "cents": n}) + "\n")
    return "".join(lines)


def append(
    who: Kappa, topic: str, lines: str, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    file = who.home / "lines.json"
    file.write_text(lines)
    return who("topic", "produce", topic, str(file), check=check)


@dataclass(frozen=True)
class Secured:
    """Its home, below which all is; and homes of other people, who have no more than a config.yaml."""

    folder: Path
    base: int
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "authority", Authority(self.folder / "certificates"))

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "home", Ports(self.base))

    @property
    def sasl(self) -> str:
        return f"127.0.0.1:{self.layout.ports.kafka}"

    @property
    def mutual(self) -> str:
        """Where clients log in with a certificate."""
        return f"127.0.0.1:{self.base + 95}"

    @property
    def registry(self) -> str:
        return f"https://127.0.0.1:{self.layout.ports.registry}/apis/ccompat/v7"

    @cached_property
    def client_pem(self) -> Path:
        """Of the controller, to Flink."""
        return self.authority.pem(CONTROLLER)

    # What each part is told

    def server_properties(self) -> str:
        ports, pem = self.layout.ports, self.authority.pem("broker")
        plain = kafka.server_properties(self.layout).splitlines()
        told = dict(line.split("=", 1) for line in plain) | {
            "listeners": f"SASL_SSL://{self.sasl},SSL://{self.mutual},CONTROLLER://127.0.0.1:{ports.kafka_controller}",
            "advertised.listeners": f"SASL_SSL://{self.sasl},SSL://{self.mutual}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "SSL",
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": pem,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority.ca,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:CN=broker;User:{ADMIN}",
        }
        return "".join(f"{key}={value}\n" for key, value in told.items())

    def registry_environment(self) -> dict[str, str]:
        """Basic auth over TLS: the administrator may write, everybody else reads."""
        pem = self.authority.pem("registry")
        told = registry.environment(self.layout)
        port = told.pop("QUARKUS_HTTP_PORT")
        return {
            **told,
            "QUARKUS_HTTP_SSL_PORT": port,
            "QUARKUS_HTTP_PORT": "0",
            "QUARKUS_HTTP_INSECURE_REQUESTS": "disabled",
            "QUARKUS_HTTP_SSL_CERTIFICATE_FILES": str(pem),
            "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES": str(pem),
        }

    def registry_command(self, cache: Path) -> list[str]:
        """Users and their passwords are in a file."""
        program, *rest = registry.command(cache)
        users = {ADMIN: "sr-admin", CONTROLLER: "sr-readonly"}
        file = self.folder / "registry.properties"
        file.write_text(
            "".join(
                f"quarkus.security.users.embedded.users.{user}={password(user)}\n"
                f"quarkus.security.users.embedded.roles.{user}={role}\n"
                for user, role in users.items()
            )
            + "quarkus.security.users.embedded.enabled=true\nquarkus.security.users.embedded.plain-text=true\n"
            "quarkus.http.auth.basic=true\napicurio.auth.role-based-authorization=true\n"
            "apicurio.auth.role-source=token\napicurio.auth.authenticated-read-access.enabled=true\n"
        )
        file.chmod(0o600)
        return [program, f"-Dquarkus.config.locations={file}", *rest]

    def flink_settings(self) -> dict[str, object]:
        """REST and all that goes between its processes: both sides show certificates."""
        keys, trusted = self.authority.keystore("flink"), self.authority.truststore
        told: dict[str, object] = {}
        for what in ("rest", "internal"):
            told |= {
                f"security.ssl.{what}.{name}": value
                for name, value in (
                    ("enabled", True),
                    ("keystore", str(keys)),
                    ("keystore-password", "changeit"),
                    ("key-password", "changeit"),
                    ("truststore", str(trusted)),
                    ("truststore-password", "changeit"),
                )
            }
        return {**told, "security.ssl.rest.authentication-enabled": True}

    def config(self) -> dict[str, Any]:
        """config.yaml of the controller: no secret is in it."""
        rest = f"https://127.0.0.1:{self.layout.ports.flink.rest}"
        jaas = self.secret("job.jaas", _JAAS.format(user=JOB, password=password(JOB)))
        user = self.secret("registry.user", f"{CONTROLLER}:{password(CONTROLLER)}")
        said = config_file.settings_of(self.layout)
        flink_said = said["flink"]
        assert isinstance(flink_said, dict)
        return said | {
            "kafka": self.kafka(CONTROLLER, "${env:SECURED_KAFKA}"),
            "kafka_java": {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.jaas.config": f"${{file:{jaas}}}",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.ca),
            },
            "registry": {
                "url": self.registry,
                "user": f"${{file:{user}}}",
                "tls": {"ca": str(self.authority.ca)},
            },
            "flink": {
                **flink_said,
                "rest": rest,
                "clusters": [],
                "tls": {"ca": str(self.authority.ca), "certificate": str(self.client_pem)},
            },
        }

    def kafka(self, user: str, secret: str) -> dict[str, str]:
        return {
            "bootstrap.servers": self.sasl,
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": secret,
            "ssl.ca.location": str(self.authority.ca),
        }

    def secret(self, name: str, text: str) -> Path:
        file = self.folder / "run-secrets" / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(text)
        return file

    # Up and down

    def up(self, only: Collection[str] = stack.ORDER) -> None:
        """Start it, or a part of it."""
        layout, cache = self.layout, jars.cache_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        layout.home.mkdir(mode=0o700)
        layout.run.mkdir()
        jars.ensure(stack.jars_needed(layout), cache, lambda text: None)
        registry.unpack(cache)
        stack._write(layout, cache, lambda text: None)
        (layout.kafka / "server.properties").write_text(self.server_properties())
        self._format()
        conf = flink.session(layout).conf / "config.yaml"
        conf.write_text(
            yaml.safe_dump(yaml.safe_load(conf.read_text()) | self.flink_settings(), width=10_000)
        )
        self.write_config(self.config())
        programs = [
            replace(
                p, command=self.registry_command(cache), environment=self.registry_environment()
            )
            if p.name == "registry"
            else p
            for p in stack.programs(layout, cache)
            if p.name in only
        ]
        layout.supervisor_conf.write_text(configuration(layout, programs))
        # of the supervisor, and so of the controller
        os.environ["SECURED_KAFKA"] = password(CONTROLLER)
        Supervisor(layout).start()
        wait_until(self._answers_kafka, 240, lambda: self._log("kafka"))
        wait_until(self._answers_registry, 240, lambda: self._log("registry"))
        if "taskmanager" in only:
            wait_until(self._answers_flink, 240, lambda: self._log("jobmanager"))
        assert self._status(f"{self.registry}/subjects") == 401, (
            "the registry lets in who does not log in"
        )

    def write_config(self, said: Mapping[str, Any]) -> None:
        # no header: kappa up would leave it alone
        self.layout.settings.write_text(yaml.safe_dump(dict(said)))

    def down(self) -> None:
        os.environ.pop("SECURED_KAFKA", None)
        supervisor = Supervisor(self.layout)
        if supervisor.running():
            supervisor.stop()
        end_orphans(self.layout)

    def restart(self, program: str) -> None:
        """The supervisor starts it again."""
        (pid,) = (s.pid for s in Supervisor(self.layout).states() if s.name == program)
        os.kill(pid, signal.SIGTERM)
        wait_until(
            lambda: any(
                s.name == program and s.state == "RUNNING" and s.pid != pid
                for s in Supervisor(self.layout).states()
            ),
            120,
            f"{program} is started again",
        )

    def _format(self) -> None:
        layout = self.layout
        users = [
            word
            for user in (ADMIN, PRODUCER, JOB, CONTROLLER)
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password(user)}]")
        ]
        done = subprocess.run(
            [
                java(),
                *kafka._classpath(layout),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                kafka._cluster_id(),
                "-c",
                layout.kafka / "server.properties",
                *users,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _answers_kafka(self) -> bool:
        try:
            return bool(self.admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def _answers_registry(self) -> bool:
        return self._status(f"{self.registry}/subjects", auth=(ADMIN, password(ADMIN))) == 200

    def _answers_flink(self) -> bool:
        context = tls.context(TlsSettings(ca=self.authority.ca, certificate=self.client_pem))
        try:
            url = f"https://127.0.0.1:{self.layout.ports.flink.rest}/overview"
            answer = httpx.get(url, verify=context, trust_env=False, timeout=5)
            return answer.status_code == 200 and int(answer.json()["slots-total"]) >= flink.SLOTS
        except httpx.HTTPError:
            return False

    def _status(self, url: str, **how: Any) -> int:
        try:
            context = tls.context(TlsSettings(ca=self.authority.ca))
            return httpx.get(url, verify=context, trust_env=False, timeout=5, **how).status_code
        except httpx.HTTPError:
            return 0

    def _log(self, program: str) -> str:
        file = self.layout.logs / f"{program}.log"
        return (
            f"{program}: {file.read_text(errors='replace')[-3000:] if file.exists() else 'no log'}"
        )

    # Who is there

    @property
    def kappa(self) -> Kappa:
        """As the controller."""
        return Kappa(self.layout.home)

    def person(self, name: str, **changes: Any) -> Kappa:
        """Somebody with a home of their own."""
        home = self.folder / name
        home.mkdir(exist_ok=True, mode=0o700)
        (home / "config.yaml").write_text(
            yaml.safe_dump(self.config() | {"store": f"sqlite:///{home}/store.db", **changes})
        )
        return Kappa(home)

    def owner(self) -> Kappa:
        """Who may create topics and register schemas."""
        return self.person(
            "admin",
            kafka=self.kafka(ADMIN, password(ADMIN)),
            registry={
                "url": self.registry.replace("://", f"://{ADMIN}:{password(ADMIN)}@"),
                "tls": {"ca": str(self.authority.ca)},
            },
        )

    def producer(self) -> Kappa:
        """Who may append, once it is allowed; its password is in a file that ends with a new line."""
        file = self.secret("producer", password(PRODUCER) + "\n")
        return self.person("producer", kafka=self.kafka(PRODUCER, f"${{file:{file}}}"))

    def admin(self) -> AdminClient:
        return AdminClient({**self.kafka(ADMIN, password(ADMIN)), "log_level": 0})

    def allow(self, acls: list[dict[str, str]]) -> None:
        """What `kappa acls --output json` says."""
        client = self.admin()  # what it was asked ends with it
        found = client.create_acls(
            [
                AclBinding(
                    ResourceType[a["resource_type"]],
                    a["resource_name"],
                    ResourcePatternType[a["pattern_type"]],
                    a["principal"],
                    a["host"],
                    AclOperation[a["operation"]],
                    AclPermissionType[a["permission_type"]],
                )
                for a in acls
            ]
        )
        for future in found.values():
            future.result(30)
