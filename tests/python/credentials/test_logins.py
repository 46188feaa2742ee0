"""Logging in at a real identity provider, and what becomes of the tokens."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelry import Client, credentials
from modelry._sdk.credentials import logins
from modelry._sdk.credentials.claims import claims_of
from modelry._sdk.credentials.store import STORE
from modelry.errors import FailedPrecondition, InvalidArgument, Unauthenticated, Unavailable
from tests.parts import oidc_provider as providers
from tests.parts.deployment import Deployment
from tests.parts.eventually import at_once, eventually
from tests.parts.guarded_server import GuardedServer, guarded
from tests.parts.oidc_provider import CLIENT, OidcProvider

Visit = Callable[[str], object]


@contextmanager
def trusting(platform: Deployment, provider: OidcProvider, *, kind: str = "access") -> Iterator[GuardedServer]:
    """A server that takes the tokens of a provider until they expire, and names it."""

    def is_valid(token: str) -> bool:
        said = claims_of(token) or {}
        audience = "modelry" if kind == "access" else CLIENT
        return said.get("iss") == provider.issuer and said.get("aud") == audience and said["exp"] > time.time()

    with guarded(platform.address, is_valid, issuer=provider.issuer, client_id=CLIENT) as server:
        yield server


@pytest.fixture
def trusted(platform_of_tokens: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    with trusting(platform_of_tokens, oidc_provider) as server:
        yield server


@pytest.fixture
def short(platform_of_tokens: Deployment, tmp_path: Path) -> Iterator[tuple[OidcProvider, GuardedServer]]:
    """A provider whose tokens last for six seconds, and a server that trusts it."""
    with (
        providers.running(tmp_path / "provider", lifetime_s=6) as provider,
        trusting(platform_of_tokens, provider) as server,
    ):
        yield provider, server


def opened(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as failed:
        with failed:
            return failed.code, failed.read().decode()


def browser(provider: OidcProvider, *, pages: list[str] | None = None, changed: dict[str, str] | None = None) -> Visit:
    """Logs in as a person does. What is `changed` replaces parameters of the redirect."""

    def go(url: str) -> None:
        parts = urllib.parse.urlsplit(provider.authorize(url, "ada"))
        query = {**dict(urllib.parse.parse_qsl(parts.query)), **(changed or {})}
        _, page = opened(urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query))))
        if pages is not None:
            pages.append(page)

    return lambda url: threading.Thread(target=go, args=(url,), daemon=True).start()


def store(home: Path) -> Path:
    return home / "modelry" / "credentials.json"


def test_a_login_by_browser_is_kept_for_its_server_and_used(
    trusted: GuardedServer, oidc_provider: OidcProvider, home: Path, token: str, guard: GuardedServer
) -> None:
    pages: list[str] = []
    urls: list[str] = []
    come_back = browser(oidc_provider, pages=pages)

    def visit(url: str) -> None:
        urls.append(url)
        come_back(url)

    login = credentials.log_in(trusted.address, visit=visit, issuer=oidc_provider.issuer)
    Client(trusted.address).experiments.get("0")
    with pytest.raises(Unauthenticated):
        Client(guard.address).experiments.get("0")

    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(urls[0]).query))
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert asked["redirect_uri"].startswith("http://127.0.0.1:")
    assert (login.server, login.issuer, login.client_id) == (trusted.address, oidc_provider.issuer, CLIENT)
    assert login.renews
    assert guard.seen[-1][1] == ""
    eventually(lambda: pages)
    assert pages == ["You are logged in to Modelry. You can close this page.\n"]
    assert store(home).stat().st_mode & 0o777 == 0o600
    assert store(home).parent.stat().st_mode & 0o777 == 0o700
    assert credentials.kept()[0].server == trusted.address


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"iss": "https://evil.example"}, "wrong_issuer"),
        ({"code": "another"}, "invalid_grant"),
    ],
)
def test_an_answer_of_another_login_is_refused(
    trusted: GuardedServer, oidc_provider: OidcProvider, home: Path, changed: dict[str, str], error: str
) -> None:
    with pytest.raises(Unauthenticated, match=error) as raised:
        credentials.log_in(trusted.address, visit=browser(oidc_provider, changed=changed), issuer=oidc_provider.issuer)

    assert raised.value.reason == "LOGIN_REFUSED"
    assert not store(home).exists()


def test_the_port_takes_one_answer_and_nothing_else(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    found: dict[str, Any] = {}
    visit = browser(oidc_provider)

    def look_first(url: str) -> None:
        redirect = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["redirect_uri"]
        found["callback"] = redirect

        def go() -> None:
            found["other"] = opened(redirect.replace("/callback", "/favicon.ico"))
            found["rebound"] = opened(redirect.replace("127.0.0.1", "localhost") + "?code=x&state=y")
            visit(url)

        threading.Thread(target=go, daemon=True).start()

    credentials.log_in(trusted.address, visit=look_first, issuer=oidc_provider.issuer)

    assert (found["other"][0], found["rebound"][0]) == (404, 404)
    with pytest.raises(urllib.error.URLError):
        opened(found["callback"])


def test_a_token_that_expires_is_renewed_also_by_many_at_once(
    short: tuple[OidcProvider, GuardedServer], home: Path
) -> None:
    provider, server = short
    credentials.log_in(server.address, visit=browser(provider), issuer=provider.issuer)
    first = logins.get(server.address)
    assert first is not None
    code = f"from modelry import Client; Client({server.address!r}).experiments.get('0')"

    for _ in range(2):
        eventually(lambda: time.time() > json.loads(store(home).read_text())["servers"][server.address]["got_at"] + 5)
        others = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
        answers = at_once([lambda: Client(server.address).experiments.get("0").experiment_id] * 8)
        assert answers == ["0"] * 8
        assert [other.communicate(timeout=60)[1].decode()[-400:] for other in others] == ["", ""]

    last = logins.get(server.address)
    assert last is not None
    assert last.refresh_token != first.refresh_token
    assert {given for _, given in server.seen if given} >= {f"Bearer {last.text}"}


def test_a_login_that_can_not_be_renewed_says_to_log_in_again(
    short: tuple[OidcProvider, GuardedServer],
) -> None:
    provider, server = short
    credentials.log_in(server.address, visit=browser(provider), issuer=provider.issuer)
    login = logins.get(server.address)
    assert login is not None
    provider.stop()
    eventually(lambda: login.is_over)

    with pytest.raises(Unauthenticated, match="can't be renewed") as away:
        Client(server.address).experiments.get("0")
    provider.start()  # which has forgotten the refresh token
    logins._trouble.away.clear()
    with pytest.raises(Unauthenticated, match="invalid_grant") as forgotten:
        Client(server.address).experiments.get("0")

    assert away.value.reason == forgotten.value.reason == "TOKEN_NOT_SENT"
    assert f"`modelry login --server {server.address}`" in forgotten.value.message
    assert login.refresh_token not in forgotten.value.message + away.value.message


def test_a_renewed_login_that_can_not_be_kept_counts_in_this_process(
    short: tuple[OidcProvider, GuardedServer], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider, server = short
    credentials.log_in(server.address, visit=browser(provider), issuer=provider.issuer)
    kept = store(home).read_text()
    with STORE.changing():
        login = logins.get(server.address)
        assert login is not None
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        eventually(lambda: login.is_over)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a disk that is full
        try:
            token = logins.token_for(server.address)
            again = logins.token_for(server.address)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    assert token is not None
    assert token.text != login.text
    assert again == token
    assert store(home).read_text() == kept
    assert "counts in this process only" in caplog.text


def test_a_login_is_used_until_it_expires_where_nobody_can_write(guard: GuardedServer, token: str, home: Path) -> None:
    made = logins.Login(guard.address, "", "http://127.0.0.1:1", "c", "access", token, "", "r", time.time() - 90, 100.0)
    logins.keep(made)
    (home / "modelry" / "credentials.lock").unlink()
    (home / "modelry" / "credentials.lock").mkdir()

    assert made.is_due
    assert Client(guard.address).experiments.get("0").experiment_id == "0"


def test_another_device_logs_in_by_a_code(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    shown: list[str] = []

    def show(url: str, code: str, whole: str) -> None:
        shown.extend((url, code, whole))
        oidc_provider.device_approve(code, "ada")

    login = credentials.log_in(trusted.address, show_code=show, issuer=oidc_provider.issuer)

    assert shown[0] == f"{oidc_provider.issuer}/device"
    assert login.renews
    assert Client(trusted.address).experiments.get("0").experiment_id == "0"


def test_who_refuses_the_code_of_a_device_logs_nobody_in(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    with pytest.raises(Unauthenticated, match="access_denied"):
        credentials.log_in(
            trusted.address,
            show_code=lambda url, code, whole: oidc_provider.device_deny(code, "ada"),
            issuer=oidc_provider.issuer,
        )


def test_the_id_token_is_sent_on_request(platform_of_tokens: Deployment, oidc_provider: OidcProvider) -> None:
    with trusting(platform_of_tokens, oidc_provider, kind="id") as server:
        with pytest.raises(Unauthenticated, match="--send says which") as refused:
            credentials.log_in(server.address, visit=browser(oidc_provider), issuer=oidc_provider.issuer)
        kept = credentials.kept()
        credentials.log_in(server.address, visit=browser(oidc_provider), issuer=oidc_provider.issuer, send="id")

        assert Client(server.address).experiments.get("0").experiment_id == "0"
    assert kept == []
    assert oidc_provider.issuer in refused.value.message


def test_logging_out_revokes_the_login_and_forgets_it(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    credentials.log_in(trusted.address, visit=browser(oidc_provider), issuer=oidc_provider.issuer)
    login = logins.get(trusted.address)
    assert login is not None

    problem = credentials.log_out(trusted.address)

    assert problem == ""
    assert credentials.kept() == []
    with pytest.raises(providers.Refused) as refused:
        oidc_provider.ask(
            "/token",
            {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "client_id": CLIENT},
        )
    assert refused.value.error == "invalid_grant"
    with pytest.raises(FailedPrecondition, match="there is no login"):
        credentials.log_out(trusted.address)


def test_a_token_by_hand_is_kept_if_the_server_takes_it(guard: GuardedServer, token: str) -> None:
    with pytest.raises(Unauthenticated, match="nothing was kept"):
        credentials.keep_token("wrong", guard.address)
    before = credentials.kept()
    login = credentials.keep_token(token, guard.address)

    assert before == []
    assert (login.issuer, login.expire_time, login.renews) == ("", None, False)
    assert Client(guard.address).experiments.get("0").experiment_id == "0"
    assert token not in repr(login) + repr(logins.get(guard.address))


def test_a_keyring_that_is_not_there_is_told_before_anybody_logs_in(guard: GuardedServer) -> None:
    code = (
        "import sys; sys.modules['keyring'] = None\n"
        "from modelry import credentials\n"
        f"credentials.log_in({guard.address!r}, visit=print, keyring=True)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert "the package keyring is not installed; run: pip install keyring" in ran.stderr
    assert guard.seen == []


@pytest.mark.parametrize(("mode", "why"), [(0o640, "can be read by others"), (0o602, "can be written by others")])
def test_o04_a_file_that_others_can_open_is_not_used(
    guard: GuardedServer, token: str, home: Path, mode: int, why: str
) -> None:
    credentials.keep_token(token, guard.address)
    store(home).chmod(mode)

    with pytest.raises(Unauthenticated, match=why) as raised:
        Client(guard.address).experiments.get("0")

    assert raised.value.reason == "TOKEN_NOT_SENT"
    assert token not in raised.value.message


def test_a_link_in_place_of_the_file_and_a_damaged_file_are_not_used(
    guard: GuardedServer, token: str, home: Path, tmp_path: Path
) -> None:
    credentials.keep_token(token, guard.address)
    os.replace(store(home), tmp_path / "moved")
    store(home).symlink_to(tmp_path / "moved")
    with pytest.raises(Unauthenticated, match="can't be read"):
        Client(guard.address).experiments.get("0")
    store(home).unlink()
    store(home).write_text('{"servers": [')
    store(home).chmod(0o600)

    with pytest.raises(Unauthenticated, match="is damaged"):
        Client(guard.address).experiments.get("0")


def test_logins_of_many_processes_are_all_kept(guard: GuardedServer, token: str) -> None:
    code = "import sys; from modelry import credentials; credentials.keep_token('t', sys.argv[1])"
    places = [f"127.0.0.1:{port}" for port in range(1, 7)]

    made = [subprocess.Popen([sys.executable, "-c", code, place]) for place in places]

    assert [each.wait(60) for each in made] == [0] * len(places)
    assert STORE.servers() == sorted(places)


def test_a_server_that_asks_for_no_login_says_so(platform_of_tokens: Deployment, guard: GuardedServer) -> None:
    with pytest.raises(FailedPrecondition, match="asks for no login"):
        credentials.log_in(platform_of_tokens.address, visit=print)
    with pytest.raises(FailedPrecondition, match="names no identity provider"):
        credentials.log_in(guard.address, visit=print)


class Hostile(BaseHTTPRequestHandler):
    """An identity provider that does not play by the rules; its server has the answers by path."""

    server: Any

    def do_GET(self) -> None:
        status, headers, document = self.server.answers.get(self.path, (404, {}, {}))
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.server.asked.append(self.path)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def hostile() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.issuer = f"http://127.0.0.1:{server.server_port}"
    server.asked = []
    endpoints = {f"{name}_endpoint": f"{server.issuer}/{name}" for name in ("authorization", "token", "revocation")}
    server.document = {"issuer": server.issuer, **endpoints}
    server.answers = {"/.well-known/openid-configuration": (200, {}, server.document)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def answered(url: str) -> None:
    """A browser that comes back with a code."""
    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    query = urllib.parse.urlencode({"code": "c", "state": asked["state"]})
    threading.Thread(target=opened, args=(f"{asked['redirect_uri']}?{query}",), daemon=True).start()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"issuer": "https://other.example"}, "which is another one"),
        ({"token_endpoint": "http://other.example/token"}, "must be https"),
        ({"token_endpoint": "file:///etc/passwd"}, "must be https"),
        ({"authorization_endpoint": "https://user@other.example/"}, "without a user"),
        ({"token_endpoint": ""}, "has no token endpoint"),
    ],
)
def test_a_provider_that_names_other_places_is_refused(
    hostile: Any, guard: GuardedServer, changed: dict[str, str], why: str
) -> None:
    hostile.document.update(changed)

    with pytest.raises(InvalidArgument, match=why):
        credentials.log_in(guard.address, visit=answered, issuer=hostile.issuer, client_id="c")


@pytest.mark.parametrize("issuer", ["http://other.example", "ftp://127.0.0.1", "https://a b", "idp", "https://u:p@h"])
def test_an_issuer_that_can_not_be_one_is_refused(guard: GuardedServer, issuer: str) -> None:
    with pytest.raises(InvalidArgument, match="must be https"):
        credentials.log_in(guard.address, visit=answered, issuer=issuer, client_id="c")


def test_u09_no_redirect_is_followed_with_a_code_or_a_token(hostile: Any, guard: GuardedServer) -> None:
    hostile.answers["/token"] = (307, {"Location": f"{hostile.issuer}/thief"}, {})

    with pytest.raises(Unavailable, match="answered HTTP 307"):
        credentials.log_in(guard.address, visit=answered, issuer=hostile.issuer, client_id="c")

    assert "/thief" not in hostile.asked


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"access_token": "a"}, "no_id_token"),
        ({"access_token": "a", "id_token": "no.jwt.here"}, "no_id_token"),
        (b"no JSON", "no_id_token"),
        (b"[" * 100_000, "no_id_token"),
    ],
)
def test_an_answer_without_an_id_token_is_refused(
    hostile: Any, guard: GuardedServer, answer: object, error: str
) -> None:
    hostile.answers["/token"] = (200, {}, answer)

    with pytest.raises(Unauthenticated, match=error):
        credentials.log_in(guard.address, visit=answered, issuer=hostile.issuer, client_id="c")


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"aud": "another"}, "wrong_audience"),
        ({"aud": ["c", "another"], "azp": "another"}, "wrong_audience"),
        ({"exp": 1}, "expired"),
        ({"exp": 1e400}, "expired"),
        ({}, "wrong_nonce"),
    ],
)
def test_an_id_token_of_another_login_is_refused(
    hostile: Any, guard: GuardedServer, oidc_provider: OidcProvider, claims: dict[str, object], error: str
) -> None:
    good = {"iss": hostile.issuer, "aud": "c", "exp": int(time.time()) + 60, "nonce": "of another"}
    if claims.get("exp") == 1e400:
        claims = {"exp": int("9" * 300)}
    made = oidc_provider.sign({**good, **claims})
    hostile.answers["/token"] = (200, {}, {"access_token": "a", "id_token": made})

    with pytest.raises(Unauthenticated, match=error):
        credentials.log_in(guard.address, visit=answered, issuer=hostile.issuer, client_id="c")
