"""Logging in by a browser: authorization code with PKCE, and a redirect to this machine (RFC 8252).

The browser brings the code to a port of the loopback address that is chosen for this login. Every program of this
machine can reach that port, and so can every page in the browser. So only the answer that has the `state` of this login
is taken, once, and all others change nothing. None of them holds it up: connections are served beside each other, and
each has a short time. The ID token must have the `nonce` of this login. Who sees the code can't use it, since the
verifier of PKCE goes to the provider only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from modelry._sdk.credentials import claims
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.credentials.oidc import Provider
from modelry.errors import DeadlineExceeded, FailedPrecondition

_PATH = "/callback"
_LONGEST_SECONDS = 300.0
_MOST_STRANGERS = 100
"""How many answers of others are waited through: somebody who sends more is at work, and the user should know."""
_CONNECTION_SECONDS = 2.0
"""How long a connection may take as a whole: browsers open some that they do not use."""
_MOST_CONNECTIONS = 16
_LOOK_SECONDS = 0.1
"""How often it is looked at who is late."""
_DONE = "You are logged in to Modelry. You can close this page."
_FAILED = "You are not logged in to Modelry. The terminal says why."
_NOT_OURS = "This is not the answer to a login that Modelry waits for here. Nothing was changed."


def log_in(provider: Provider, client_id: str, *, visit: Callable[[str], object]) -> dict[str, Any]:
    """Has the user log in, and returns the answer with the tokens. `visit` opens a URL, or shows it.

    Raises Refused if the provider or the user refuses, or if very many answers are of other logins, and
    DeadlineExceeded if nobody answers within 5 minutes.
    """
    if not provider.authorization:
        raise FailedPrecondition(f"{provider.issuer} has no login by browser; use --device", reason="LOGIN_IMPOSSIBLE")
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    scope = provider.scope()
    with _Receiver(state) as receiver:
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": receiver.uri,
            "scope": scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        if "offline_access" in scope:
            asked["prompt"] = "consent"  # as OpenID Connect asks of who wants a refresh token
        mark = "&" if urlsplit(provider.authorization).query else "?"
        visit(f"{provider.authorization}{mark}{urlencode(asked)}")
        given = receiver.await_answer(_LONGEST_SECONDS)
    if given is None:
        said = f"{_MOST_STRANGERS} answers were of other logins; does another program of this machine send them?"
        raise Refused(provider.issuer, "wrong_state", f"{said} Log in again")
    if given.get("iss", "" if provider.names_itself else provider.issuer) != provider.issuer:
        raise Refused(provider.issuer, "wrong_issuer", "the answer is of another issuer")
    if "code" not in given:
        raise Refused(provider.issuer, given.get("error", "no_code"), given.get("error_description", ""))
    answer = provider.grant(
        grant_type="authorization_code",
        code=given["code"],
        redirect_uri=asked["redirect_uri"],
        client_id=client_id,
        code_verifier=verifier,
    )
    claims.check_id_token(answer.get("id_token"), provider.issuer, client_id, nonce)
    return answer


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class _Receiver:
    """Listens for one answer on a free port of this machine."""

    def __init__(self, state: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _Callback)
        self._server.state = state

    def __enter__(self) -> _Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.server_close()
        self._server.cut(0.0)

    @property
    def uri(self) -> str:
        """Where the browser has to bring the answer."""
        return f"http://127.0.0.1:{self._server.server_port}{_PATH}"

    def await_answer(self, seconds: float) -> dict[str, str] | None:
        """The first answer of this login, whatever else it says. None if too many of others came before."""
        server, until = self._server, time.monotonic() + seconds
        while not server.answered.is_set() and server.strangers < _MOST_STRANGERS:
            if time.monotonic() > until:
                raise DeadlineExceeded(f"nobody has logged in within {seconds / 60:.0f} minutes", reason="LOGIN_LATE")
            if server.is_full:
                server.answered.wait(_LOOK_SECONDS)
            else:
                server.handle_request()
            server.cut(_CONNECTION_SECONDS)
        return server.answer


class _Server(ThreadingHTTPServer):
    """A thread for each connection. `cut` ends those that are late."""

    allow_reuse_address = False
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[_Callback]) -> None:
        super().__init__(address, handler)
        self.state = ""
        self.answer: dict[str, str] | None = None
        self.answered = threading.Event()
        """Set once the page that tells the user is written."""
        self.strangers = 0
        self._turn = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        """When each connection began."""

    def server_bind(self) -> None:
        """Binds, and looks up no name, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.socket.settimeout(_LOOK_SECONDS)

    @property
    def is_full(self) -> bool:
        """Whether no other connection is taken now."""
        return len(self._open) >= _MOST_CONNECTIONS

    def take(self, given: dict[str, str]) -> bool:
        """Takes an answer with the right state. False if there is one already."""
        with self._turn:
            if self.answer is not None:
                return False
            self.answer = given
            return True

    def count_stranger(self) -> None:
        """Counts an answer of another login."""
        with self._turn:
            self.strangers += 1

    def cut(self, seconds: float) -> None:
        """Ends the connections that have taken longer than this."""
        latest = time.monotonic() - seconds
        with self._turn:
            late = [connection for connection, began in self._open.items() if began <= latest]
        for connection in late:
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begins a thread for a connection."""
        with self._turn:
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection that was served."""
        with self._turn:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a connection that breaks off is no answer."""


class _Callback(BaseHTTPRequestHandler):
    server: _Server
    server_version = "Modelry"
    sys_version = ""
    _headers: ClassVar[dict[str, str]] = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }

    def do_GET(self) -> None:
        """Takes the answer. Anything else, such as the icon that browsers ask for, is not there."""
        parts = urlsplit(self.path)
        if parts.path != _PATH or self.headers.get("Host") != f"127.0.0.1:{self.server.server_port}":
            self._say(404, "There is nothing here.")
            return
        given = _read(parts.query)
        if not hmac.compare_digest(given.get("state", "").encode(), self.server.state.encode()):
            self._say(400, _NOT_OURS)
            self.server.count_stranger()
        elif not self.server.take(given):
            self._say(400, _NOT_OURS)
        else:
            try:
                self._say(200, _DONE if "code" in given else _FAILED)
            finally:
                self.server.answered.set()

    def _say(self, status: int, text: str) -> None:
        content = f"{text}\n".encode()
        self.send_response(status)
        for name, value in {**self._headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given: object) -> None:
        """Nothing: the request has the code."""


def _read(query: str) -> dict[str, str]:
    """The parameters of a query; none if it has very many or one of them twice, as no provider sends it."""
    try:
        found = parse_qs(query, max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()} if all(len(v) == 1 for v in found.values()) else {}
