"""What may be shown and what may not: options, addresses, and keys of other people's systems.

An option is shown only if it is on the list of those that hold no secret; every other one is a secret, whatever it is
called. A secret is never in a text: code that needs it calls `revealed`. A job gets the name of a file, `referenced`.

${file:PATH} and ${env:NAME} in config.yaml are looked up where a value is needed, each time: a secret that was changed
there counts for the next client. A job looks up by itself what is such a reference as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import BeforeValidator, SecretStr

from replay.errors import ConfigError

HIDDEN = "***"
PUBLIC = frozenset(
    {
        # Kafka's clients
        "acks",
        "api.version.request",
        "auto.offset.reset",
        "bootstrap.servers",
        "broker.address.family",
        "client.dns.lookup",
        "client.id",
        "client.rack",
        "compression.type",
        "connections.max.idle.ms",
        "debug",
        "default.api.timeout.ms",
        "enable.ssl.certificate.verification",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "linger.ms",
        "log_level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "message.max.bytes",
        "metadata.max.age.ms",
        "partition.discovery.interval.ms",
        "receive.buffer.bytes",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "request.timeout.ms",
        "retries",
        "retry.backoff.ms",
        "sasl.client.callback.handler.class",
        "sasl.kerberos.service.name",
        "sasl.login.callback.handler.class",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.oauthbearer.method",
        "sasl.oauthbearer.scope",
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.username",
        "security.protocol",
        "send.buffer.bytes",
        "session.timeout.ms",
        "socket.keepalive.enable",
        "socket.timeout.ms",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.cipher.suites",
        "ssl.enabled.protocols",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.keystore.location",
        "ssl.keystore.type",
        "ssl.protocol",
        "ssl.truststore.location",
        "ssl.truststore.type",
        "transaction.timeout.ms",
        # Iceberg's catalogs and file systems
        "cache-enabled",
        "cache.expiration-interval-ms",
        "catalog-impl",
        "catalog-type",
        "client.region",
        "clients",
        "default-database",
        "io-impl",
        "jdbc.schema-version",
        "jdbc.strict-mode",
        "jdbc.user",
        "metrics-reporter-impl",
        "oauth2-server-uri",
        "prefix",
        "property-version",
        "py-catalog-impl",
        "py-io-impl",
        "rest-metrics-reporting-enabled",
        "rest.sigv4-enabled",
        "rest.signing-name",
        "rest.signing-region",
        "s3.connect-timeout",
        "s3.endpoint",
        "s3.force-virtual-addressing",
        "s3.path-style-access",
        "s3.proxy-uri",
        "s3.region",
        "s3.remote-signing-enabled",
        "s3.request-timeout",
        "s3.signer",
        "scope",
        "ssl.cabundle",
        "type",
        "uri",
        "warehouse",
    }
)
_PUBLIC_PARAMETERS = {
    "busy_timeout",
    "cache",
    "connect_timeout",
    "journal_mode",
    "mode",
    "sslmode",
    "timeout",
    "uri",
}
"""Of an address, behind its question mark."""
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LOOK_UP = re.compile(r"\$\{(file|env):([^}:]+)\}")
"""Not ${file:PATH:KEY}, which is Kafka's own and for its Java client to look up."""
_URL = re.compile(r"(jdbc:)?[a-z][a-z0-9+.-]*://")


class Reference(SecretStr):
    """A value with ${file:PATH} or ${env:NAME} in it."""

    def get_secret_value(self) -> str:
        """With what is there now. Within a URL it is quoted, so that a password may have any character."""
        is_part_of_url = not self.is_whole and _URL.match(self.template)

        def found(match: re.Match[str]) -> str:
            value = _look_up(match[1], match[2])
            return quote(value, safe="") if is_part_of_url else value

        return _LOOK_UP.sub(found, self.template)

    @property
    def template(self) -> str:
        """As it stands in config.yaml."""
        return self._secret_value

    @property
    def is_whole(self) -> bool:
        """Whether it is one reference and nothing else, and so holds no secret itself."""
        return bool(_LOOK_UP.fullmatch(self.template))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self.template == other.template

    def __hash__(self) -> int:
        return hash(self.template)

    def __len__(self) -> int:
        return len(self.template)


def refers(text: str) -> bool:
    """Whether something in it is looked up elsewhere."""
    return bool(_LOOK_UP.search(text))


def secret(value: Any) -> Any:
    """A secret of a file of settings."""
    if not isinstance(value, str):
        return value
    return Reference(value) if refers(value) else SecretStr(value)


Secret = Annotated[SecretStr, BeforeValidator(secret)]
"""A value that is never shown."""


def _look_up(kind: str, name: str) -> str:
    """ConfigError names what is missing."""
    if kind == "env":
        if (value := os.environ.get(name)) is None:
            raise ConfigError(
                f"config.yaml refers to ${{env:{name}}}",
                expected=f"an environment variable {name}",
                found="none",
                next=f"set {name} for this process, or fix config.yaml",
            )
        return value
    try:
        return Path(name).read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        found = (e.strerror or "") if isinstance(e, OSError) else "bytes that are no text"
        raise ConfigError(
            f"config.yaml refers to ${{file:{name}}}",
            expected="a file that this process may read",
            found=found,
            next=f"make {name} readable, or fix config.yaml",
        ) from None


def holds_secret(address: str) -> bool:
    """Whether an address has a user, a password or a parameter that may be one; what is no address has none."""
    if "://" not in address and not address.startswith("jdbc:"):
        return False
    try:
        parts = urlsplit(address.removeprefix("jdbc:"))
        parameters = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        return True
    return "@" in parts.netloc or ";" in address or not _PUBLIC_PARAMETERS.issuperset(parameters)


def _address(value: Any) -> Any:
    return (
        secret(value)
        if isinstance(value, str) and (refers(value) or holds_secret(value))
        else value
    )


Address = Annotated[str | SecretStr, BeforeValidator(_address)]
"""A URL, which is a secret if it has one in it."""


def _sorted(options: Any) -> Any:
    """Options as they come from a file: every one that may not be shown is a secret."""
    if not isinstance(options, Mapping):
        return options
    return {key: _one(str(key), value) for key, value in options.items()}


def _one(key: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if refers(text):
        return Reference(text)
    return text if key in PUBLIC and not holds_secret(text) else SecretStr(text)


Options = Annotated[dict[str, str | SecretStr], BeforeValidator(_sorted)]
"""Options of a client, by name."""


def revealed(options: Mapping[str, str | SecretStr]) -> dict[str, str]:
    """For the client that the options belong to, and for no other."""
    return {key: reveal(value) for key, value in options.items()}


def reveal(value: str | SecretStr) -> str:
    """One of them."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def shown(options: Mapping[str, str | SecretStr]) -> dict[str, str]:
    """For people."""
    return {key: show(value) for key, value in options.items()}


def show(value: str | SecretStr) -> str:
    """One of them: where it is looked up, if it is."""
    if isinstance(value, Reference) and value.is_whole:
        return value.template
    return HIDDEN if isinstance(value, SecretStr) else value


def show_address(value: str | SecretStr) -> str:
    """A URL without user, password and parameters."""
    shown = show(value)
    if shown != HIDDEN:
        return shown
    text = _LOOK_UP.sub(HIDDEN, value.template) if isinstance(value, Reference) else reveal(value)
    try:
        parts = urlsplit(text.removeprefix("jdbc:"))
    except ValueError:
        return shown
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{HIDDEN}@{host}{parts.path}" if host and ";" not in text else shown


def without_user(address: str) -> str:
    """An address without user and password, for people; also of a text that has one in it."""
    return re.sub(r"//[^/@\s]*@", "//", address)


def referenced(
    options: Mapping[str, str | SecretStr], folder: Path, section: str
) -> dict[str, str]:
    """For a job: in place of each secret where it is, as Kafka's clients and our connectors look it up."""
    return {
        key: reference(value, folder, f"{section}.{key}") if isinstance(value, SecretStr) else value
        for key, value in options.items()
    }


def reference(value: SecretStr, folder: Path, name: str) -> str:
    """Where a job finds a secret: at its own ${file:PATH} or ${env:NAME}, which this process need not be able to read.

    Else `${directory:FOLDER:FILE}`, once that file has it, for its owner's platform.
    """
    if isinstance(value, Reference) and value.is_whole:
        return value.template
    if not _FILE.fullmatch(name):
        raise ConfigError(
            f"'{name}' cannot be the name of a secret",
            expected="letters, digits, dots and dashes",
            found=name,
            next="fix config.yaml",
        )
    _write(folder / name, value.get_secret_value())
    return f"${{directory:{folder}:{name}}}"


def _write(file: Path, text: str) -> None:
    try:
        if file.read_text() == text and file.stat().st_mode & 0o077 == 0:
            return
    except OSError:
        pass
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as stream:
            stream.write(text)
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)
