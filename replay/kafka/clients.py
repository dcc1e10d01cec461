"""Properties of clients that the settings have under other names: of the registry's, and of the job's Kafka."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from replay.errors import ConfigError
from replay.secret import reveal
from replay.settings import RegistrySettings, Settings

_STORAGE_IN_JAVA = {
    "s3.region": "client.region",
    **{
        name: name
        for name in ("s3.endpoint", "s3.access-key-id", "s3.secret-access-key", "s3.session-token")
    },
}
"""PyIceberg's names of properties of an object store → those of Iceberg in Java."""
_BOOTSTRAP, _PROTOCOL = "bootstrap.servers", "security.protocol"
_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common.config.provider"
_PROVIDERS = {
    "directory": f"{_SHADED}.DirectoryConfigProvider",
    "env": f"{_SHADED}.EnvVarConfigProvider",
    "file": "kappa.secrets.FileProvider",
}
"""How a Kafka client of Flink's connector finds out what ${directory:FOLDER:FILE}, ${env:NAME} and ${file:PATH} are.
Kafka's own provider of files reads properties of them."""


def registry(settings: RegistrySettings) -> dict[str, str]:
    """Properties of confluent-kafka's client."""
    found = {"url": settings.url}
    if settings.user:
        found["basic.auth.user.info"] = reveal(settings.user)
    if settings.token:
        # It wants the name of a cluster of Confluent Cloud too, which other registries have not.
        found |= {
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": reveal(settings.token),
            "bearer.auth.logical.cluster": "",
        }
    tls = settings.tls
    if tls.ca:
        found["ssl.ca.location"] = str(tls.ca)
    if tls.certificate:
        found["ssl.certificate.location"] = str(tls.certificate)
    if tls.key_password:
        found["ssl.key.password"] = reveal(tls.key_password)
    return found


def registry_of_job(settings: RegistrySettings) -> dict[str, str | SecretStr]:
    """Properties of Confluent's client in Java."""
    found: dict[str, str | SecretStr] = {}
    if settings.user:
        found |= {
            "basic.auth.credentials.source": "USER_INFO",
            "basic.auth.user.info": settings.user,
        }
    if settings.token:
        found |= {
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": settings.token,
        }
    tls, prefix = settings.tls, "schema.registry.ssl"
    if tls.ca:
        found |= {f"{prefix}.truststore.type": "PEM", f"{prefix}.truststore.location": str(tls.ca)}
    if tls.certificate:
        found |= {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(tls.certificate),
        }
    if tls.key_password:
        found[f"{prefix}.key.password"] = tls.key_password
    return found


def kafka_of_job(settings: Settings) -> dict[str, str | SecretStr]:
    """Properties of the job's Kafka client; ConfigError when it would speak another protocol than the controller's."""
    address = {_BOOTSTRAP: settings.kafka[_BOOTSTRAP]} if _BOOTSTRAP in settings.kafka else {}
    protocol = settings.kafka.get(_PROTOCOL, "PLAINTEXT")
    if _PROTOCOL not in settings.kafka_java and reveal(protocol).upper() != "PLAINTEXT":
        raise ConfigError(
            "config.yaml does not say how jobs log in to Kafka",
            expected=f"{_PROTOCOL} and what belongs to it under `kafka_java`, in the names of Kafka's "
            "Java client: sasl.jaas.config, ssl.truststore.location, …",
            found="none",
            next="see docs/production.md#security; fix config.yaml",
        )
    return {**address, **settings.kafka_java}


def catalog_of_job(settings: Settings) -> dict[str, str | SecretStr]:
    """Options of the catalog in Flink: its files are reached as `storage` says, unless these options say otherwise."""
    options = settings.catalog.flink
    if not reveal(options.get("warehouse", "")).startswith("s3"):
        return dict(options)
    given = {
        _STORAGE_IN_JAVA[name]: value
        for name, value in settings.storage.items()
        if name in _STORAGE_IN_JAVA
    }
    own_address = (
        {"s3.path-style-access": "true", "client.region": "us-east-1"}
        if "s3.endpoint" in given
        else {}
    )
    return {"io-impl": "org.apache.iceberg.aws.s3.S3FileIO", **own_address, **given, **options}


def with_providers(properties: Mapping[str, str]) -> dict[str, str]:
    """For a Kafka client in Java: with what looks up secrets, where there are some."""
    kinds = [
        kind for kind in _PROVIDERS if any(f"${{{kind}:" in value for value in properties.values())
    ]
    if not kinds:
        return dict(properties)
    known = properties.get("config.providers", "")
    return {
        **{f"config.providers.{kind}.class": _PROVIDERS[kind] for kind in kinds},
        **properties,
        "config.providers": ",".join(dict.fromkeys([*filter(None, known.split(",")), *kinds])),
    }
