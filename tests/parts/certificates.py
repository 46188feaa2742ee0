"""Certificates as an authority gives them out: real ones, for tests."""

from __future__ import annotations

import functools
import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = ("localhost", "127.0.0.1")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and its key, as PEM. The key may be read by its user only."""

    certificate: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """Puts the content of another pair in the place of this one, first the certificate, then the key."""
        for own, new in ((self.certificate, other.certificate), (self.key, other.key)):
            new_name = own.with_name(f"{own.name}.new")
            _write(new_name, new.read_bytes())
            os.replace(new_name, own)

    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, in hexadecimal."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()


class Authority:
    """A certificate authority whose own certificate is `file`. It writes everything into its folder."""

    def __init__(self, folder: Path, name: str = "Authority of a test") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        certificate = (
            _builder(self._name, self._name, self._key, datetime.now(UTC) + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        _write(self.file, certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = HOSTS,
        uris: tuple[str, ...] = (),
        common_name: str = "",
        ends: datetime | None = None,
    ) -> Pair:
        """A certificate for hosts and URIs that ends in 90 days, or when `ends` says; its files begin with `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*map(_host, hosts), *map(x509.UniformResourceIdentifier, uris)]
        building = _builder(_named(common_name or name), self._name, key, ends or datetime.now(UTC) + 90 * _DAY)
        if names:
            building = building.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = building.sign(self._key, hashes.SHA256())
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        _write(pair.key, key.private_bytes(serialization.Encoding.PEM, *plain))
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), ends) - _DAY)
        .not_valid_after(ends)
    )


@functools.cache
def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(file: Path, content: bytes) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as writing:
        writing.write(content)
