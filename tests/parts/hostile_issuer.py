"""An OIDC issuer of ours that does whatever a test wants: it dies, drips, lies, and signs what no issuer would."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.parts import free_port

AUDIENCE = "modelry"
Key = RSAKey | ECKey | OKPKey | OctKey


def new_key(kind: str = "RSA", size: Any = 2048, **parameters: str) -> Key:
    """A new private key with an id. `size` is bits, or the name of a curve."""
    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey, "oct": OctKey}
    made: Key = kinds[kind].generate_key(size, {"kid": secrets.token_hex(8), **parameters}, private=True)
    return made


def without(key: Key, parameter: str) -> Key:
    """The same key, which says one thing less of itself."""
    kept = {name: value for name, value in key.as_dict(private=True).items() if name != parameter}
    return type(key).import_key(kept)


def part(content: object) -> str:
    """A part of a token: base64 of JSON, or of bytes as they are."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, claims: object, key: Key, algorithm: str) -> str:
    """A token with any header and any claims, signed whatever they say."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(JWSRegistry.algorithms[algorithm].sign(text.encode(), key))}"


def authenticated(header: Mapping[str, Any], claims: object, secret: bytes) -> str:
    """A token with an HMAC, for an `alg` such as HS256. Any bytes are a secret, as an attacker has no scruples."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha' + header['alg'][2:]))}"


class HostileIssuer:
    """An issuer at a port of loopback. Every request is noted in `requests`; `answers` maps a path to what it gives."""

    def __init__(self, key: Key, folder: Path | None = None) -> None:
        port = free_port()
        self.url = f"{'https' if folder else 'http'}://127.0.0.1:{port}"
        self.jwks_url = f"{self.url}/jwks"
        self.key = key
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.drips = False
        self.ended, self._gate = threading.Event(), threading.Event()
        self._gate.set()
        self._port = port
        self._tls = None if folder is None else _certificate(folder)
        self._listening: ThreadingHTTPServer | None = None
        self.publish([key])
        self.give("/.well-known/openid-configuration", {"issuer": self.url, "jwks_uri": self.jwks_url})

    def start(self) -> None:
        """Listens."""
        self._listening = server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        server.daemon_threads = True
        if self._tls is not None:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Nothing answers at its address."""
        if self._listening is not None:
            self._listening.shutdown()
            self._listening.server_close()
            self._listening = None

    def give(self, path: str, content: object, status: int = 200, **headers: str) -> None:
        """Answers requests for a path so from now on."""
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.answers[path] = (status, raw, headers)

    def publish(self, keys: Sequence[Key], *, private: bool = False) -> None:
        """Publishes these keys."""
        self.give("/jwks", {"keys": [key.as_dict(private=private) for key in keys]})

    @contextmanager
    def held(self) -> Iterator[None]:
        """A block in which requests arrive and nothing is answered until its end."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def pass_on(self) -> None:
        """Ends `held` before the end of its block."""
        self._gate.set()

    def wait_at_gate(self) -> None:
        """Waits until answers are given."""
        self._gate.wait(60)

    def token(
        self,
        claims: Mapping[str, object],
        header: Mapping[str, object] | None = None,
        *,
        key: Key | None = None,
        algorithm: str = "RS256",
    ) -> str:
        """A token that it signs. `header` is added to `alg`, `typ` and `kid`, and can replace them."""
        by = key or self.key
        return signed({"alg": algorithm, "typ": "JWT", "kid": by.kid, **(header or {})}, dict(claims), by, algorithm)


@contextmanager
def running(key: Key | None = None, *, tls_folder: Path | None = None) -> Iterator[HostileIssuer]:
    """An issuer. With `tls_folder` it speaks TLS, with the certificate that it writes to `ca.pem` there."""
    issuer = HostileIssuer(key or new_key(), tls_folder)
    issuer.start()
    try:
        yield issuer
    finally:
        issuer.ended.set()
        issuer.stop()


def _handler(issuer: HostileIssuer) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            issuer.authorizations.append(self.headers.get("Authorization", ""))
            issuer.wait_at_gate()
            status, content, headers = issuer.answers.get(self.path, (404, b"", {}))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if issuer.drips:  # a byte now and then, so that no single wait is long
                for byte in content:
                    if issuer.ended.wait(0.05):
                        return
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            self.wfile.write(content)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # who asked has left
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """The tests look into `requests`."""

    return Answering


def _certificate(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that no authority has signed, and the key to it."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "own")]),
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").touch(0o600)
    (folder / "key.pem").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context
