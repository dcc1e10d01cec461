"""Flink on an object store: where the home's config.yaml names one, its jars and how its file system reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local import jars
from local.layout import Layout
from replay.errors import ConfigError
from replay.settings import load_settings
from replay.storage import AUTHORITIES, authorities, is_local, properties

PART = "s3"
"""Of jars.lock: the jars below."""
PLUGIN = "flink-s3-fs-hadoop"
"""Flink's file system, which wants a folder of its own below `plugins`. Iceberg's is for `lib`."""
HEADER = "# Written by `kappa up`"
_PASSWORD = "changeit"
"""Java wants one. There is no secret in the file."""
_FLINK = {
    "s3.endpoint": "s3.endpoint",
    "s3.access-key-id": "s3.access-key",
    "s3.secret-access-key": "s3.secret-key",
    "s3.session-token": "s3.session.token",
    "s3.region": "s3.endpoint.region",
}
"""PyIceberg's names → those of Flink's file system."""


@dataclass(frozen=True)
class Objects:
    """What Flink needs for it."""

    checkpoints: str
    options: dict[str, str]


def of(layout: Layout) -> Objects | None:
    """None where all is on this machine: also without config.yaml, or with the one that `kappa up` writes."""
    if not layout.settings.exists() or layout.settings.read_text().startswith(HEADER):
        return None
    settings = load_settings(layout.home)
    warehouse = str(settings.catalog.pyiceberg.get("warehouse", ""))
    if all(map(is_local, filter(None, (settings.flink.checkpoints, warehouse)))):
        return None
    return Objects(settings.flink.checkpoints, flink_options(properties(settings)))


def flink_options(given: dict[str, str]) -> dict[str, str]:
    """Options of Flink's S3 file system; without keys it takes those of the environment or of the machine's role."""
    options = {_FLINK[name]: value for name, value in given.items() if name in _FLINK}
    if "s3.endpoint" in given:
        by_host = given.get("s3.force-virtual-addressing", "").lower() == "true"
        options["s3.path.style.access"] = "false" if by_host else "true"
    return options


def write_truststore(layout: Layout) -> None:
    """Who signs the store's certificate, in the form that Java reads; the JVMs trust nobody else then."""
    layout.truststore.unlink(missing_ok=True)
    if not (named := authorities()) or of(layout) is None:
        return
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
    from cryptography.x509 import load_pem_x509_certificates

    try:
        found = load_pem_x509_certificates(Path(named).read_bytes())
    except (OSError, ValueError) as e:
        raise ConfigError(
            f"{AUTHORITIES} cannot be used",
            expected="a PEM file of certificates",
            found=f"{named}: {e}",
            next=f"set {AUTHORITIES} to another file, then: kappa up",
        ) from e
    entries = [pkcs12.PKCS12Certificate(one, str(n).encode()) for n, one in enumerate(found)]
    layout.truststore.write_bytes(
        pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(_PASSWORD.encode()))
    )


def java_options(layout: Layout) -> str:
    """Of every JVM of Flink's; begins with a space, or is empty."""
    if not layout.truststore.exists():
        return ""
    store = "-Djavax.net.ssl.trustStore"
    return f" {store}={layout.truststore} {store}Type=PKCS12 {store}Password={_PASSWORD}"


def needed(layout: Layout) -> list[jars.Jar]:
    """The jars beside those of every stack."""
    return jars.read_lock(PART) if of(layout) else []
