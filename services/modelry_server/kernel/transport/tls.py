"""TLS on ports: the certificate of a server and its key from files, which may be replaced while it works."""

import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import prometheus_client
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.telemetry import Log

WARN_DAYS = 14
"""How many days before a certificate ends the log begins to say so."""

_DAY_MS = 86_400_000
_log = Log("tls")

certificate_ends = prometheus_client.Gauge(
    "modelry_certificate_expiry_timestamp_seconds", "When the certificate of the server ends; 0 without TLS."
)


class FileUnusable(Exception):
    """A file can't be used for TLS: its `role`, which is a name in `Files`, and why. Shows nothing of the content."""

    def __init__(self, role: str, file: Path, why: str) -> None:
        super().__init__(f"{file}: {why}")
        self.role, self.file, self.why = role, file, why


@dataclass(frozen=True, slots=True)
class Files:
    """Where the certificate of a server is, with the chain to its authority, and its key, both as PEM.

    `client_authorities` has the certificates of those who give out certificates to clients.
    """

    certificate: Path
    key: Path
    client_authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain and its key, as PEM. It ends with the first certificate of the chain that ends."""

    chain: bytes
    key: bytes
    client_authorities: bytes | None
    fingerprint: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class _Contents:
    """What is in the files now; in the place of a content that can't be read, a text that says why."""

    certificate: bytes | str
    key: bytes | str
    key_mode: int
    client_authorities: bytes | str | None


class ServerTls:
    """The certificate of a process, for all its listeners on ports. Raises FileUnusable if it can't be used at first.

    The files are read again for each new connection, and what is new is used from then on. While they can't be used,
    as when only one of them has been replaced, the last good pair stays, and the log says so once.
    """

    def __init__(self, files: Files, *, clock: Clock | None = None) -> None:
        self._files = files
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._seen = _contents(files)
        self._pair = _pair(files, self._seen)
        certificate_ends.set(self._pair.ends.timestamp())
        self._warned_at: int | None = None

    def credentials(self, *, of_clients: bool = False) -> grpc.ServerCredentials:
        """For a port. `of_clients` asks each client for a certificate, and refuses connections without a good one."""
        given = self._pair

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            present = self.present()
            if present is given:
                return None
            given = present
            return _configuration(present, of_clients)

        first = _configuration(given, of_clients)
        return grpc.dynamic_ssl_server_credentials(first, fetch, of_clients)  # type: ignore[arg-type]  # None: no news

    def present(self) -> Pair:
        """The pair to use now."""
        with self._lock:
            contents = _contents(self._files)
            if contents != self._seen:
                self._seen = contents
                try:
                    self._pair = _pair(self._files, contents)
                except FileUnusable as problem:
                    kept = {"ends": self._pair.ends.isoformat(), "fingerprint": self._pair.fingerprint}
                    _log.error("tls.files_refused", file=str(problem.file), message=problem.why, kept=kept)
                else:
                    self._warned_at = None
                    certificate_ends.set(self._pair.ends.timestamp())
                    _log.info("tls.certificate_read", fingerprint=self._pair.fingerprint, ends=self._pair.ends)
            return self._pair

    def look(self) -> None:
        """Reads the files, and warns once a day of a certificate that is not valid now, or ends in 14 days."""
        pair, now = self.present(), self._clock.now()
        if self._warned_at is not None and now - self._warned_at < _DAY_MS:
            return
        moment = datetime.fromtimestamp(now / 1000, UTC)
        event = ""
        if moment >= pair.ends:
            event = "tls.certificate_expired"
        elif moment < pair.begins:
            event = "tls.certificate_not_yet_valid"
        elif moment >= pair.ends - timedelta(days=WARN_DAYS):
            event = "tls.certificate_ends"
        if event:
            self._warned_at = now
            file = str(self._files.certificate)
            _log.warning(event, file=file, begins=pair.begins.isoformat(), ends=pair.ends.isoformat())


def require_usable(files: Files) -> None:
    """Raises FileUnusable if a server could not work with the files."""
    _pair(files, _contents(files))


def client_credentials(authorities: Path | None) -> grpc.ChannelCredentials:
    """For connections to servers whose certificates are from these authorities. None: those that the system trusts.

    Raises FileUnusable.
    """
    return grpc.ssl_channel_credentials(None if authorities is None else authorities_in(authorities))


def authorities_in(file: Path) -> bytes:
    """The certificates of authorities in a file, as PEM. Raises FileUnusable."""
    content = _content(file)
    _certificates("authorities", file, content)
    assert isinstance(content, bytes)
    return content


def _configuration(pair: Pair, of_clients: bool) -> grpc.ServerCertificateConfiguration:
    authorities = pair.client_authorities if of_clients else None
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], authorities)


def _contents(files: Files) -> _Contents:
    return _Contents(
        certificate=_content(files.certificate),
        key=_content(files.key),
        key_mode=_mode(files.key),
        client_authorities=_content(files.client_authorities) if files.client_authorities else None,
    )


def _content(file: Path) -> bytes | str:
    try:
        return file.read_bytes()
    except OSError as problem:
        return f"can't be read: {problem.strerror}"


def _mode(file: Path) -> int:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:  # which the content says
        return 0


def _pair(files: Files, contents: _Contents) -> Pair:
    """What is in the files of a server, once it fits together. Raises FileUnusable."""
    chain = _certificates("certificate", files.certificate, contents.certificate)
    key = contents.key
    if isinstance(key, str):
        raise FileUnusable("key", files.key, key)
    if contents.key_mode & stat.S_IRWXO:
        mode = f"{contents.key_mode:04o}"
        why = f"other users of the machine can read or change it (its mode is {mode}); run `chmod o= {files.key}`"
        raise FileUnusable("key", files.key, why)
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError:
        raise FileUnusable("key", files.key, "must be a key without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise FileUnusable("key", files.key, "must be the private key of the certificate, as PEM") from None
    if private.public_key() != chain[0].public_key():
        why = f"is not the key of the first certificate in {files.certificate}, whose chain follows it"
        raise FileUnusable("key", files.key, why)
    if files.client_authorities:
        _certificates("client_authorities", files.client_authorities, contents.client_authorities)
    authorities = contents.client_authorities
    assert isinstance(contents.certificate, bytes)
    assert not isinstance(authorities, str)
    return Pair(
        chain=contents.certificate,
        key=key,
        client_authorities=authorities,
        fingerprint=chain[0].fingerprint(hashes.SHA256()).hex(),
        begins=max(each.not_valid_before_utc for each in chain),
        ends=min(each.not_valid_after_utc for each in chain),
    )


def _certificates(role: str, file: Path, content: bytes | str | None) -> list[x509.Certificate]:
    if not isinstance(content, bytes):
        raise FileUnusable(role, file, content or "can't be read")
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, UnsupportedAlgorithm):
        raise FileUnusable(role, file, "must have one certificate or more, as PEM") from None
