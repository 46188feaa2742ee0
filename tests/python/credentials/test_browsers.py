"""What reaches the port that waits for the browser: only the answer of this login counts."""

from __future__ import annotations

import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError

import pytest

from modelry import credentials
from modelry._sdk.credentials.claims import claims_of
from modelry.errors import Unauthenticated
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
