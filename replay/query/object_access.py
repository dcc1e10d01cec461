"""How DuckDB reads a folder of an object store: what PyIceberg's properties say, as options of a secret of DuckDB's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from replay.errors import ConfigError

if TYPE_CHECKING:
    from botocore.session import Session

_SCHEMES = ("s3", "s3a", "s3n")


def options(folder: str, properties: Mapping[str, str]) -> dict[str, str]:
    """ConfigError for a store that DuckDB does not read here, or without keys for it."""
    if folder.partition("://")[0] not in _SCHEMES:
        raise ConfigError(
            "queries do not read tables there",
            expected="a folder of this machine, or s3://…",
            found=folder,
            next="choose another warehouse in config.yaml",
        )
    return {**_address(properties), **_keys(folder, properties)}


def _address(properties: Mapping[str, str]) -> dict[str, str]:
    region = properties.get("s3.region") or properties.get("client.region") or "us-east-1"
    endpoint = properties.get("s3.endpoint")
    if not endpoint:
        return {"REGION": region}
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    by_host = properties.get("s3.force-virtual-addressing", "").lower() == "true"
    return {
        "REGION": region,
        "ENDPOINT": parts.netloc,
        "USE_SSL": "false" if parts.scheme == "http" else "true",
        "URL_STYLE": "vhost" if by_host else "path",
    }


def _keys(folder: str, properties: Mapping[str, str]) -> dict[str, str]:
    names = {
        "KEY_ID": "s3.access-key-id",
        "SECRET": "s3.secret-access-key",
        "SESSION_TOKEN": "s3.session-token",
    }
    if names["KEY_ID"] in properties:
        return {option: properties[name] for option, name in names.items() if name in properties}
    if properties.get("s3.anonymous", "").lower() == "true":
        return {}
    found = _session().get_credentials()
    if found is None:
        raise ConfigError(
            "there are no keys for the object store",
            next="see docs/production.md#object-store",
            expected=f"s3.access-key-id in config.yaml, or keys of the environment, for {folder}",
            found="none",
        )
    now = found.get_frozen_credentials()  # renewed when they are about to end
    return {
        "KEY_ID": now.access_key,
        "SECRET": now.secret_key,
        **({"SESSION_TOKEN": now.token} if now.token else {}),
    }


@lru_cache(maxsize=1)
def _session() -> Session:
    from botocore.session import Session  # here: it is not needed where keys are configured

    return Session()
