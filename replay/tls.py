"""TLS of HTTP clients, as the settings want it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache

from replay.errors import ConfigError
from replay.secret import reveal
from replay.settings import TlsSettings


def context(settings: TlsSettings) -> ssl.SSLContext:
    """ConfigError when a file of it cannot be used. Server's names are checked."""
    found = ssl.create_default_context()
    if settings.ca:
        # those that the system trusts are not asked for
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(lambda: found.load_verify_locations(settings.ca), "ca", str(settings.ca))
    if certificate := settings.certificate:
        # else it would ask the terminal
        password = reveal(settings.key_password) if settings.key_password else ""
        _load(
            lambda: found.load_cert_chain(certificate, password=password),
            "certificate",
            str(certificate),
        )
    return found


@cache
def nobody() -> ssl.SSLContext:
    """For plain HTTP: it trusts no certificate, and does not take 30 ms to read those that the system trusts."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load(load: Callable[[], None], what: str, file: str) -> None:
    try:
        load()
    except OSError as e:  # ssl.SSLError is one
        raise ConfigError(
            f"tls.{what} in config.yaml cannot be used",
            expected=_EXPECTED[what],
            found=f"{file}: {e.strerror or e}",
            next="fix config.yaml, or the file",
        ) from None


_EXPECTED = {
    "ca": "a PEM file of certificates",
    "certificate": "a PEM file of a certificate and its private key, and the key's password if it has one",
}
