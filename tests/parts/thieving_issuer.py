"""An issuer of a thief: its pages send the browser on to a real provider, and it takes what the browser brings back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.parts.oidc_provider import CLIENT, SCOPE, OidcProvider, Refused

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class ThievingIssuer:
    """What it was asked for, and what it got at the real provider."""

    def __init__(self, real: OidcProvider, server: ThreadingHTTPServer) -> None:
        self.real = real
        self.issuer = f"http://127.0.0.1:{server.server_port}"
        self.asked: list[str] = []
        self.stolen: dict[str, Any] = {}
        self.begun: dict[str, Any] = {}
        """The login by a device that it began at the real provider."""

    def document(self) -> dict[str, str]:
        """What it says of itself."""
        names = ("authorization", "token", "device_authorization")
        return {"issuer": self.issuer, **{f"{name}_endpoint": f"{self.issuer}/{name}" for name in names}}

    def leads_to(self, url: str) -> str:
        """Where its pages send a browser: to the real provider, with what the client of the user has chosen."""
        if urlsplit(url).path != "/authorization":
            return str(self.begun["verification_uri_complete"])
        query = {**dict(parse_qsl(urlsplit(url).query)), "client_id": CLIENT, "scope": SCOPE}
        return f"{self.real.issuer}/auth?{urlencode(query)}"

    def answer(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        """What it says to the client of the user, after it has used what that brought."""
        if path == "/device_authorization":
            self.begun = self.real.ask("/device/auth", {"client_id": CLIENT, "scope": SCOPE})
            page = f"{self.issuer}/device"
            return {"device_code": "d", "user_code": self.begun["user_code"], "verification_uri": page, "interval": 0.1}
        if form["grant_type"] == DEVICE_GRANT:
            form["device_code"] = self.begun["device_code"]
        try:
            self.stolen = self.real.ask(path, {**form, "client_id": CLIENT})
        except Refused as refused:
            return {"error": refused.error}
        return {"error": "access_denied"}


class _Pages(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        thief: ThievingIssuer = self.server.thief
        thief.asked.append(self.path)
        if self.path.startswith("/.well-known/"):
            self._say(200, thief.document())
        else:
            self._say(302, {}, thief.leads_to(self.path))

    def do_POST(self) -> None:
        thief: ThievingIssuer = self.server.thief
        thief.asked.append(self.path)
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        answer = thief.answer(self.path, form)
        self._say(400 if "error" in answer else 200, answer)

    def _say(self, status: int, document: dict[str, Any], location: str = "") -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given: object) -> None:
        pass


@contextmanager
def thieving(real: OidcProvider) -> Iterator[ThievingIssuer]:
    """An issuer that steals logins at a real provider."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    server.thief = thief = ThievingIssuer(real, server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield thief
    finally:
        server.shutdown()
        server.server_close()
