"""How a device waits for its code to be used: at the pace that the provider asks for, and no longer than the code."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modelry._sdk.credentials import device, oidc
from modelry.errors import DeadlineExceeded, FailedPrecondition


class Provider(BaseHTTPRequestHandler):
    """Answers a poll by the next of the errors that its server has, and the last one again and again."""

    server: Any

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        document: dict[str, object] = self.server.begun
        if self.path == "/token":
            self.server.polls.append(time.monotonic())
            error = self.server.errors.pop(0) if len(self.server.errors) > 1 else self.server.errors[0]
            document = {"error": error} if error else {"access_token": "a"}
        content = json.dumps(document).encode()
        self.send_response(400 if "error" in document else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    place = f"http://127.0.0.1:{server.server_port}"
    server.polls, server.errors = [], [""]
    server.begun = {"device_code": "d", "user_code": "U", "verification_uri": place, "interval": 0.1, "expires_in": 60}
    server.known = oidc.Provider(place, "", f"{place}/token", f"{place}/device", "", ())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_it_polls_five_seconds_slower_when_asked_to(provider: Any) -> None:
    provider.errors = ["authorization_pending", "slow_down", ""]

    answer = device.log_in(provider.known, "c", show=lambda url, code, whole: None)

    assert answer == {"access_token": "a"}
    first, second, third = provider.polls
    assert second - first < 5
    assert third - second >= 5


@pytest.mark.parametrize("expires", [{"expires_in": 1}, {"errors": ["expired_token"]}])
def test_it_ends_with_the_code(provider: Any, expires: dict[str, Any]) -> None:
    provider.errors = expires.pop("errors", ["authorization_pending"])
    provider.begun.update(expires)

    with pytest.raises(DeadlineExceeded, match="expired before anybody logged in"):
        device.log_in(provider.known, "c", show=lambda url, code, whole: None)


def test_a_provider_without_devices_is_told(provider: Any) -> None:
    known = oidc.Provider(provider.known.issuer, "", provider.known.token, "", "", ())

    with pytest.raises(FailedPrecondition, match="no login by another device"):
        device.log_in(known, "c", show=lambda url, code, whole: None)
