"""Certificates for tests of TLS: an authority, and files in PEM form of what it signs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

_LOOPBACK = x509.SubjectAlternativeName(
    [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
)


def _new_key() -> rsa.RSAPrivateKey:
    """Of the kind that the cipher suites are for that Flink allows by default."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


@dataclass(frozen=True)
class Authority:
    """Signs for names on loopback."""

    folder: Path
    name: str = "kappa-test"

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return _new_key()

    @cached_property
    def _certificate(self) -> x509.Certificate:
        return self._sign(self.name, self._key, is_authority=True)

    @cached_property
    def ca(self) -> Path:
        """Its own certificate."""
        return self._write("ca.pem", self._certificate.public_bytes(Encoding.PEM))

    @cached_property
    def truststore(self) -> Path:
        """The same as PKCS #12, with the password `changeit`."""
        entry = pkcs12.PKCS12Certificate(self._certificate, b"ca")
        return self._write(
            "ca.p12",
            pkcs12.serialize_java_truststore([entry], BestAvailableEncryption(b"changeit")),
        )

    def pem(self, name: str, password: str = "") -> Path:
        """Certificate and private key, in one file."""
        key = _new_key()
        how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self._write(
            f"{name}.pem",
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
            + self._sign(name, key).public_bytes(Encoding.PEM)
            + self._certificate.public_bytes(Encoding.PEM),
        )

    def keystore(self, name: str) -> Path:
        """The same as PKCS #12, with the password `changeit`."""
        key = _new_key()
        return self._write(
            f"{name}.p12",
            pkcs12.serialize_key_and_certificates(
                name.encode(),
                key,
                self._sign(name, key),
                [self._certificate],
                BestAvailableEncryption(b"changeit"),
            ),
        )

    def _write(self, name: str, data: bytes) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_bytes(data)
        return file

    def _sign(
        self, name: str, key: rsa.RSAPrivateKey, *, is_authority: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            made = made.add_extension(_LOOPBACK, critical=False)
        return made.sign(self._key, hashes.SHA256())
