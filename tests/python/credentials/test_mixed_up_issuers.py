"""An issuer that a hostile server names, and that has people log in at another one to get what that one gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modelry import credentials
from modelry._sdk.credentials import browser, oidc
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.credentials.logins import Login, keep
from modelry.errors import InvalidArgument, Unauthenticated
from tests.parts.guarded_server import GuardedServer
from tests.python.credentials.test_logins import answered

REAL = "https://idp.example"


class Issuer(BaseHTTPRequestHandler):
    """Says what its server has by path."""

    server: Any

    def do_GET(self) -> None:
        content = json.dumps(self.server.answers[self.path]).encode()
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def evil() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    server.url = url = f"http://127.0.0.1:{server.server_port}"
    server.asked = []
    names = ("authorization", "token", "device_authorization")
    server.document = {"issuer": url, **{f"{name}_endpoint": f"{url}/{name}" for name in names}}
    server.codes = {"device_code": "d", "user_code": "U", "verification_uri": f"{url}/device", "interval": 0.1}
    server.answers = {
        "/.well-known/openid-configuration": server.document,
        "/device_authorization": server.codes,
        "/token": {},
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_code_goes_to_nobody_but_the_host_where_it_was_given(evil: Any, guard: GuardedServer) -> None:
    evil.document["authorization_endpoint"] = f"{REAL}/authorize"
    opened: list[str] = []

    with pytest.raises(InvalidArgument, match="takes what they bring to"):
        credentials.log_in(guard.address, visit=opened.append, issuer=evil.url, client_id="c")

    assert opened == []
    assert "/token" not in evil.asked


def test_a_provider_with_its_pages_and_tokens_at_another_host_is_taken(evil: Any) -> None:
    evil.document.update(authorization_endpoint=f"{REAL}/authorize", token_endpoint=f"{REAL}/token")

    assert oidc.discover(evil.url).authorization == f"{REAL}/authorize"


@pytest.mark.parametrize("name", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize("page", [f"{REAL}/device", "https://IDP.example.:443/device?user_code=U"])
def test_a_code_for_the_issuer_of_another_login_is_not_shown(
    evil: Any, guard: GuardedServer, name: str, page: str
) -> None:
    keep(Login("modelry.example:5100", issuer=REAL, client_id="c", access_token="a.b.c", sends="access"))
    evil.codes[name] = page
    shown: list[str] = []

    with pytest.raises(Unauthenticated, match=r"mixed_up.*login to modelry\.example:5100"):
        credentials.log_in(
            guard.address, show_code=lambda url, code, whole: shown.append(code), issuer=evil.url, client_id="c"
        )

    assert shown == []


def test_a_browser_is_not_sent_to_the_issuer_of_another_login(evil: Any, guard: GuardedServer) -> None:
    keep(Login("modelry.example:5100", issuer=REAL, client_id="c", access_token="a.b.c", sends="access"))
    evil.document.update(authorization_endpoint=f"{REAL}/authorize", token_endpoint=f"{REAL}/token")
    opened: list[str] = []

    with pytest.raises(Unauthenticated, match="mixed_up"):
        credentials.log_in(guard.address, visit=opened.append, issuer=evil.url, client_id="c")

    assert opened == []


@pytest.mark.parametrize("name", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize("page", ["javascript:alert(1)", "http://other.example/", "https://a/\x1b[2J", "https://["])
def test_a_page_for_codes_that_is_none_is_not_shown(evil: Any, guard: GuardedServer, name: str, page: str) -> None:
    evil.codes[name] = page

    with pytest.raises(InvalidArgument, match="the page for codes"):
        credentials.log_in(guard.address, show_code=print, issuer=evil.url, client_id="c")


def test_an_issuer_that_says_it_names_itself_must_do_so(evil: Any) -> None:
    evil.document["authorization_response_iss_parameter_supported"] = True
    provider = oidc.discover(evil.url)

    with pytest.raises(Refused, match="wrong_issuer"):
        browser.log_in(provider, "c", visit=answered)

    assert "/token" not in evil.asked
