"""Who a client is by its certificate, at a listener that asks for one."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

_PEM = "x509_pem_cert"


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What the authority of `server.client_ca_file` has certified of a client.

    `fingerprint` is the SHA-256 of the certificate, in small hexadecimal digits. A connection outlives its certificate,
    so who trusts it compares `ends` with the time.
    """

    uris: Sequence[str]
    dns_names: Sequence[str]
    common_name: str
    fingerprint: str
    ends: datetime


def client_certificate(context: grpc.ServicerContext) -> ClientCertificate | None:
    """The certificate of the client that makes a call. None if its listener asks for none."""
    found = context.auth_context().get(_PEM)
    return _read(bytes(found[0])) if found else None


@functools.lru_cache(1024)  # each call of a connection has the same
def _read(pem: bytes) -> ClientCertificate:
    certificate = x509.load_pem_x509_certificate(pem)
    uris: Sequence[str] = ()
    dns_names: Sequence[str] = ()
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
        dns_names = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        pass
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return ClientCertificate(
        uris=uris,
        dns_names=dns_names,
        common_name=str(common[0].value) if common else "",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        ends=certificate.not_valid_after_utc,
    )
