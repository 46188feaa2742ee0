"""What reaches the port that waits for the browser: only the answer of this login counts."""

from __future__ import annotations

import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest

from modelry import credentials
from modelry._sdk.credentials import browser
from modelry._sdk.credentials.claims import claims_of
from modelry.errors import DeadlineExceeded, Unauthenticated
from tests.parts.deployment import Deployment
from tests.parts.guarded_server import GuardedServer, guarded
from tests.parts.oidc_provider import CLIENT, OidcProvider

FOREIGN = [
    "",
    "?state=another&code=x",
    "?code=x",
    "?error=access_denied",
    "?state=&error=access_denied",
    "?state=%ff&code=x",
    "?" + "&".join(f"a{number}=1" for number in range(50)),
]


@pytest.fixture
def trusted(platform_of_tokens: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    def is_valid(token: str) -> bool:
        return (claims_of(token) or {}).get("iss") == oidc_provider.issuer

    with guarded(platform_of_tokens.address, is_valid, issuer=oidc_provider.issuer, client_id=CLIENT) as server:
        yield server


def status_of(url: str) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as failed:
        with failed:
            return failed.code


def coming(queries: Sequence[str], then: Callable[[str], str] | None, seen: list[int]) -> Callable[[str], object]:
    """Brings foreign answers to the port, and then what `then` makes of the URL."""

    def go(url: str) -> None:
        callback = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["redirect_uri"]
        seen.extend(status_of(callback + query) for query in queries)
        if then is not None:
            seen.append(status_of(then(url)))

    return lambda url: threading.Thread(target=go, args=(url,), daemon=True).start()


def test_answers_of_others_are_refused_and_the_login_goes_on(
    trusted: GuardedServer, oidc_provider: OidcProvider
) -> None:
    seen: list[int] = []

    login = credentials.log_in(
        trusted.address,
        visit=coming(FOREIGN, lambda url: oidc_provider.authorize(url, "ada"), seen),
        issuer=oidc_provider.issuer,
    )

    assert seen[: len(FOREIGN)] == [400] * len(FOREIGN)
    assert login.server == trusted.address


def test_a_state_that_comes_twice_is_of_no_login(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    seen: list[int] = []

    def twice_and_once(url: str) -> str:
        redirect = oidc_provider.authorize(url, "ada")
        seen.append(status_of(f"{redirect}&state=another"))
        return redirect

    credentials.log_in(trusted.address, visit=coming([], twice_and_once, seen), issuer=oidc_provider.issuer)

    assert seen[0] == 400


def test_a_hundred_answers_of_others_end_the_login(
    trusted: GuardedServer, oidc_provider: OidcProvider, home: Path
) -> None:
    seen: list[int] = []

    with pytest.raises(Unauthenticated, match="100 answers were of other logins") as raised:
        credentials.log_in(trusted.address, visit=coming(FOREIGN[1:2] * 100, None, seen), issuer=oidc_provider.issuer)

    assert raised.value.reason == "LOGIN_REFUSED"
    assert not (home / "modelry" / "credentials.json").exists()


@pytest.fixture
def drip() -> Iterator[Callable[[str], socket.socket]]:
    """Opens a connection, and sends one letter after the other that never make a request."""
    end = threading.Event()
    threads: list[threading.Thread] = []

    def begin(callback: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(callback).port or 0), timeout=20)

        def send() -> None:
            with connection, suppress(OSError):
                while not end.wait(0.1):
                    connection.sendall(b"x")

        threads.append(threading.Thread(target=send, daemon=True))
        threads[-1].start()
        return connection

    yield begin
    end.set()
    for thread in threads:
        thread.join(20)


def test_q07_a_browser_is_answered_beside_connections_that_are_slow(drip: Callable[[str], socket.socket]) -> None:
    receiver = browser._Receiver("ours")
    with receiver, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(receiver.await_answer, 60.0)
        for _ in range(browser._MOST_CONNECTIONS - 1):
            drip(receiver.uri)
        began = time.monotonic()

        status = status_of(f"{receiver.uri}?state=ours&code=c")

        assert answer.result(20) == {"state": "ours", "code": "c"}
        assert status == 200
        assert time.monotonic() - began < 5 * browser._CONNECTION_SECONDS, "they were served one after the other"


def test_q07_more_slow_connections_than_are_served_hold_a_browser_up_for_their_short_time(
    drip: Callable[[str], socket.socket],
) -> None:
    receiver = browser._Receiver("ours")
    with receiver, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(receiver.await_answer, 60.0)
        for _ in range(2 * browser._MOST_CONNECTIONS):
            drip(receiver.uri)

        assert status_of(f"{receiver.uri}?state=ours&code=c") == 200
        assert answer.result(20) == {"state": "ours", "code": "c"}


def test_q07_a_login_ends_in_time_whatever_is_connected(drip: Callable[[str], socket.socket]) -> None:
    with browser._Receiver("ours") as receiver:
        for _ in range(2 * browser._MOST_CONNECTIONS):
            drip(receiver.uri)
        began = time.monotonic()

        with pytest.raises(DeadlineExceeded, match="nobody has logged in"):
            receiver.await_answer(1.0)

    assert time.monotonic() - began < 1.0 + browser._CONNECTION_SECONDS


def test_one_answer_is_taken_of_those_that_come_at_once() -> None:
    receiver = browser._Receiver("ours")
    with receiver, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(receiver.await_answer, 60.0)

        taken = [receiver._server.take({"code": code}) for code in "ab"]
        receiver._server.answered.set()

        assert taken == [True, False]
        assert answer.result(20) == {"code": "a"}
