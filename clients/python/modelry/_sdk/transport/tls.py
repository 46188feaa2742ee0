"""TLS: the files of a connection, and why the two sides do not come to terms."""

from __future__ import annotations

import ipaddress
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelry._sdk.transport.settings import Address, proxy_of
from modelry.errors import Unavailable

if TYPE_CHECKING:
    import socket
    import ssl

    import grpc

WRONG_NAME = "TLS_WRONG_NAME"
EXPIRED = "TLS_CERTIFICATE_EXPIRED"
NOT_YET_VALID = "TLS_CERTIFICATE_NOT_YET_VALID"
UNKNOWN_AUTHORITY = "TLS_UNKNOWN_AUTHORITY"
NOT_SPOKEN = "TLS_NOT_SPOKEN"
REQUIRED = "TLS_REQUIRED"
CLIENT_CERTIFICATE_MISSING = "TLS_CLIENT_CERTIFICATE_MISSING"
CLIENT_CERTIFICATE_REFUSED = "TLS_CLIENT_CERTIFICATE_REFUSED"
FILE_UNUSABLE = "TLS_FILE_UNUSABLE"

PROBE_SECONDS = 2.0
"""How long a look at a server may take at most."""
_AGAIN_SECONDS = 10.0

_SAID = {
    "certificate has expired": EXPIRED,
    "certificate is not yet valid": NOT_YET_VALID,
    "hostname verification check failed": WRONG_NAME,
    "is not in peer certificate": WRONG_NAME,
    "unable to get local issuer certificate": UNKNOWN_AUTHORITY,
    "self signed certificate": UNKNOWN_AUTHORITY,
    "self-signed certificate": UNKNOWN_AUTHORITY,
    "certificate signature failure": UNKNOWN_AUTHORITY,  # another authority of the same name
    "wrong_version_number": NOT_SPOKEN,
}
"""What gRPC says of a failed handshake, in small letters."""
_UNCLEAR = ("handshake", "ssl", "tls", "verification check", "socket closed", "connection reset", "broken pipe")
"""What gRPC says, in small letters, if TLS may be the cause."""
_OF_ONE = "connection refused"
"""What gRPC says of the last address of a name, while TLS may have failed with another one, as for `localhost`."""
_BY_VERIFY_CODE = {9: NOT_YET_VALID, 10: EXPIRED, 62: WRONG_NAME, 64: WRONG_NAME}
_BY_VERIFY_CODE |= dict.fromkeys((7, 18, 19, 20, 21), UNKNOWN_AUTHORITY)
"""Codes of OpenSSL (X509_V_ERR_...)."""
_REFUSALS = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REVOKED")
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a connection, as PEM. Empty: no such file, and for `ca` the authorities that the system trusts."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def state(self) -> tuple[object, ...]:
        """Something that changes when one of the files does."""
        return tuple(_state(file) for file in (self.ca, self.certificate, self.key) if file)


class Tls:
    """TLS of the connection to one address. `plain` says that it has none.

    The files are read when a channel opens. After a failure `is_outdated` says whether one of them has changed since.
    """

    def __init__(self, address: Address, files: TlsFiles, *, plain: bool) -> None:
        self.files = files
        self._address = address
        self._plain = plain
        self._state: tuple[object, ...] = ()
        self._cause = ""
        self._look_at = 0.0

    def credentials(self) -> grpc.ChannelCredentials | None:
        """The credentials of a channel that opens now. None for plain text.

        Raises Unavailable for a file that is not there, or has something else in it.
        """
        from modelry._grpc import grpc

        if self._plain:
            return None
        files = self.files
        self._state = files.state()
        if bool(files.certificate) != bool(files.key):
            given, lacks = (_CERTIFICATE, _KEY) if files.certificate else (_KEY, _CERTIFICATE)
            raise _unusable(given, files.certificate or files.key, f"needs {lacks}, too")
        ca = _read(_CA, files.ca)
        certificate, key = _read(_CERTIFICATE, files.certificate), _read(_KEY, files.key)
        _context(files)
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def is_outdated(self) -> bool:
        """Whether a new channel would get other credentials, because a file has changed."""
        return not self._plain and self.files.state() != self._state

    def cause(self, said: str) -> str:
        """The reason why TLS failed, of what gRPC says of a connection. Empty: it is not TLS, or nobody knows.

        Where gRPC does not tell, this looks at the server itself, once in 10 seconds at most: it begins TLS and sends
        nothing else.
        """
        words = said.lower()
        if not self._plain and (known := next((each for sign, each in _SAID.items() if sign in words), "")):
            return known
        host = self._address.host
        is_elsewhere = self._address.target.startswith("unix:") or bool(proxy_of(host))
        is_unclear = any(sign in words for sign in _UNCLEAR) or (_OF_ONE in words and not _is_address(host))
        if is_elsewhere or not is_unclear:
            return ""
        if time.monotonic() >= self._look_at:
            self._look_at, self._cause = time.monotonic() + _AGAIN_SECONDS, ""
            with suppress(OSError, ValueError, Unavailable):
                port = int(self._address.target.rpartition(":")[2])
                self._cause = _looked(host.strip("[]"), port, None if self._plain else self.files)
        return self._cause


_CA, _CERTIFICATE, _KEY = "MODELRY_CA_FILE", "MODELRY_CLIENT_CERTIFICATE_FILE", "MODELRY_CLIENT_KEY_FILE"


def _state(file: str) -> object:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _read(variable: str, file: str) -> bytes | None:
    if not file:
        return None
    try:
        with open(file, "rb") as reading:
            return reading.read()
    except OSError as problem:
        raise _unusable(variable, file, f"can't be read: {problem.strerror}") from None


def _context(files: TlsFiles) -> ssl.SSLContext:
    """The context of Python for the same files: it says what is wrong with them, which gRPC does not."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=files.ca or None)
    except (ssl.SSLError, OSError):
        raise _unusable(_CA, files.ca, "must have the certificates of authorities, as PEM") from None
    if files.certificate:
        try:
            context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        except (ssl.SSLError, OSError, ValueError) as problem:
            if "KEY_VALUES_MISMATCH" in str(problem):
                raise _unusable(
                    _KEY, files.key, f"is not the key of the certificate in {files.certificate!r}"
                ) from None
            said = f"must have a certificate, and {files.key!r} its key without a password, both as PEM"
            raise _unusable(_CERTIFICATE, files.certificate, said) from None
    return context


def _unusable(variable: str, file: str, why: str) -> Unavailable:
    metadata = {"variable": variable, "file": file}
    return Unavailable(f"{variable}={file!r}: the file {why}", reason=FILE_UNUSABLE, metadata=metadata)


def _looked(host: str, port: int, files: TlsFiles | None) -> str:
    """What a handshake with the server comes to. `files` is None for a connection without TLS."""
    import ssl

    if files is None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context = _context(files)
    context.set_alpn_protocols(["h2"])
    until = time.monotonic() + PROBE_SECONDS
    with _connected(host, port, until) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=host) as secured:
                if files is None:
                    return REQUIRED
                secured.settimeout(max(0.1, until - time.monotonic()))
                return "" if _speaks(secured) else _of_client(files)
        except ssl.SSLCertVerificationError as problem:
            return _BY_VERIFY_CODE.get(problem.verify_code, "")
        except ssl.SSLError as problem:
            return _of_alert(problem.reason or "", files) if files is not None else ""


def _connected(host: str, port: int, until: float) -> socket.socket:
    """A connection to the first address of the host that takes one. Raises OSError."""
    import socket

    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(0.1, (until - time.monotonic()) / 2))
            connection.connect(address)
        except OSError:
            connection.close()
        else:
            return connection
    raise OSError("no address of the host takes a connection")


def _speaks(secured: ssl.SSLSocket) -> bool:
    """Whether the server says something first, as each one of HTTP/2 does. One that refuses the client just leaves."""
    try:
        return bool(secured.recv(1))
    except ConnectionError:
        return False


def _of_client(files: TlsFiles) -> str:
    return CLIENT_CERTIFICATE_REFUSED if files.certificate else CLIENT_CERTIFICATE_MISSING


def _of_alert(reason: str, files: TlsFiles) -> str:
    if "CERTIFICATE_REQUIRED" in reason or any(each in reason for each in _REFUSALS):
        return _of_client(files)
    return NOT_SPOKEN if reason in _NO_TLS else ""
