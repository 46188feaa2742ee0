"""A server that names the identity provider of another one: it would be sent what is good there."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelry import credentials
from modelry._sdk.credentials import plans
from modelry._sdk.credentials.claims import claims_of
from modelry.credentials import PlannedLogin
from modelry.errors import FailedPrecondition, InvalidArgument
from tests.parts.deployment import Deployment
from tests.parts.guarded_server import GuardedServer, guarded
from tests.parts.oidc_provider import CLIENT, OidcProvider

ISSUER = "https://idp.example"


@pytest.fixture
def real(platform_of_tokens: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    def is_valid(token: str) -> bool:
        return (claims_of(token) or {}).get("iss") == oidc_provider.issuer

    with guarded(platform_of_tokens.address, is_valid, issuer=oidc_provider.issuer, client_id=CLIENT) as server:
        yield server


@pytest.fixture(params=[CLIENT, "another-client"])
def evil(
    request: pytest.FixtureRequest, platform_of_tokens: Deployment, oidc_provider: OidcProvider
) -> Iterator[GuardedServer]:
    """Names the issuer of the real server, and the same client or another one that the provider may have."""
    info = {"issuer": oidc_provider.issuer, "client_id": request.param}
    with guarded(platform_of_tokens.address, lambda token: True, **info) as server:
        yield server


def browser(provider: OidcProvider, opened: list[str]) -> Callable[[str], object]:
    def go(url: str) -> None:
        redirect = provider.authorize(url, "ada")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(redirect, timeout=20).close()

    def visit(url: str) -> None:
        opened.append(url)
        threading.Thread(target=go, args=(url,), daemon=True).start()

    return visit


def sent_to(server: GuardedServer) -> set[str]:
    return {given for _, given in server.seen if given}


@pytest.mark.parametrize("way", ["visit", "show_code"])
@pytest.mark.parametrize("agree", [None, lambda plan: False])
def test_a_login_whose_token_is_good_elsewhere_is_refused_before_anything_is_opened(
    real: GuardedServer, evil: GuardedServer, oidc_provider: OidcProvider, way: str, agree: Any
) -> None:
    opened: list[str] = []
    credentials.log_in(real.address, visit=browser(oidc_provider, []), issuer=oidc_provider.issuer)
    how: Any = {way: lambda *given: opened.append(given[0])}

    with pytest.raises(FailedPrecondition) as raised:
        credentials.log_in(evil.address, agree=agree, **how)

    assert raised.value.reason == "LOGIN_SHARED"
    assert raised.value.metadata["server"] == evil.address
    assert raised.value.metadata["others"] == real.address
    assert evil.address in str(raised.value)
    assert real.address in str(raised.value)
    assert (opened, sent_to(evil)) == ([], set())
    assert [login.server for login in credentials.kept()] == [real.address]


def test_the_rule_holds_also_for_an_issuer_that_the_user_names(
    real: GuardedServer, platform_of_tokens: Deployment, oidc_provider: OidcProvider
) -> None:
    credentials.log_in(real.address, visit=browser(oidc_provider, []), issuer=oidc_provider.issuer)

    with (
        guarded(platform_of_tokens.address, lambda token: True) as silent,
        pytest.raises(FailedPrecondition, match="is of the same issuer"),
    ):
        credentials.log_in(silent.address, visit=print, issuer=oidc_provider.issuer, client_id=CLIENT)

    assert sent_to(silent) == set()


def test_who_agrees_sees_both_servers_and_logs_in(
    real: GuardedServer, platform_of_tokens: Deployment, oidc_provider: OidcProvider
) -> None:
    plans_seen: list[PlannedLogin] = []
    credentials.log_in(real.address, visit=browser(oidc_provider, []), issuer=oidc_provider.issuer)

    def agree(plan: PlannedLogin) -> bool:
        plans_seen.append(plan)
        return True

    info = {"issuer": oidc_provider.issuer, "client_id": CLIENT}
    with guarded(platform_of_tokens.address, lambda token: True, **info) as second:
        login = credentials.log_in(second.address, visit=browser(oidc_provider, []), agree=agree)
        again = credentials.kept()

    assert plans_seen == [PlannedLogin(second.address, oidc_provider.issuer, CLIENT, True, None, (real.address,))]
    assert login.server == second.address
    assert {each.server for each in again} == {real.address, second.address}


def test_a_second_login_to_the_same_server_asks_nothing(real: GuardedServer, oidc_provider: OidcProvider) -> None:
    credentials.log_in(real.address, visit=browser(oidc_provider, []), issuer=oidc_provider.issuer)

    assert credentials.log_in(real.address, visit=browser(oidc_provider, [])).server == real.address


def test_a_login_that_is_declined_opens_nothing(real: GuardedServer) -> None:
    opened: list[str] = []

    with pytest.raises(FailedPrecondition) as raised:
        credentials.log_in(real.address, visit=opened.append, agree=lambda plan: False)

    assert raised.value.reason == "LOGIN_DECLINED"
    assert opened == []


@pytest.mark.parametrize(
    ("server", "issuer", "client_id", "why"),
    [
        ("modelry.example:5100", "http://127.0.0.1:8080/admin", "c", "an issuer on this one"),
        ("modelry.example:5100", "https://localhost/", "c", "an issuer on this one"),
        ("modelry.example:5100", "https://idp.example:99999", "c", "must be https"),
        ("modelry.example:5100", "https://[", "c", "must be https"),
        ("modelry.example:5100", f"https://idp.example/{'a' * 500}", "c", "has at most 500"),
        ("modelry.example:5100", ISSUER, "c\x1b[2J", "must have at most 200 letters of ASCII"),
        ("modelry.example:5100", ISSUER, "c" * 201, "must have at most 200 letters of ASCII"),
    ],
)
def test_what_a_server_can_not_mean_is_refused(server: str, issuer: str, client_id: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as raised:
        plans.planned(server, issuer, client_id, named=True, kept={})

    assert raised.value.reason == "ISSUER_INVALID"
    assert "\x1b" not in str(raised.value)


def test_a_damaged_file_of_logins_is_told_before_anything_is_opened(real: GuardedServer, home: Path) -> None:
    opened: list[str] = []
    folder = home / "modelry"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "credentials.json").touch(0o600)

    with pytest.raises(Exception, match="is damaged"):
        credentials.log_in(real.address, visit=opened.append)

    assert opened == []
