"""An issuer that a server names: the user agrees to it once, before anything is opened."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from modelry import credentials
from modelry._sdk.credentials import plans
from modelry._sdk.credentials.claims import claims_of
from modelry._sdk.credentials.logins import Login, keep
from modelry.credentials import PlannedLogin
from modelry.errors import FailedPrecondition, InvalidArgument, ModelryError
from tests.parts.deployment import Deployment
from tests.parts.guarded_server import GuardedServer, guarded
from tests.parts.oidc_provider import CLIENT, OidcProvider
from tests.parts.thieving_issuer import ThievingIssuer, thieving

REAL = "modelry.example:5100"
WAYS = ["visit", "show_code"]


@pytest.fixture
def trusted(platform_of_tokens: Deployment, oidc_provider: OidcProvider) -> Iterator[GuardedServer]:
    def is_valid(token: str) -> bool:
        return (claims_of(token) or {}).get("iss") == oidc_provider.issuer

    with guarded(platform_of_tokens.address, is_valid, issuer=oidc_provider.issuer, client_id=CLIENT) as server:
        yield server


@pytest.fixture
def thief(oidc_provider: OidcProvider) -> Iterator[ThievingIssuer]:
    with thieving(oidc_provider) as issuer:
        yield issuer


@pytest.fixture
def evil(platform_of_tokens: Deployment, thief: ThievingIssuer) -> Iterator[GuardedServer]:
    """Names the issuer of the thief."""
    info = {"issuer": thief.issuer, "client_id": "c"}
    with guarded(platform_of_tokens.address, lambda token: True, **info) as server:
        yield server


def person(provider: OidcProvider, way: str, seen: list[str], thief: ThievingIssuer | None = None) -> dict[str, Any]:
    """A person who follows each page, also to a provider that does not name itself in its answers (RFC 9207)."""

    def bring(url: str) -> None:
        parts = urlsplit(provider.authorize(thief.leads_to(url) if thief else url, "ada"))
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if not (thief and name == "iss")])
        come_back = parts._replace(query=query).geturl()
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(come_back, timeout=20).close()

    def visit(url: str) -> None:
        seen.append(url)
        threading.Thread(target=bring, args=(url,), daemon=True).start()

    def show_code(url: str, code: str, whole: str) -> None:
        seen.append(url)
        provider.device_approve(code, "ada")

    return {way: visit if way == "visit" else show_code}


def noting(plans_seen: list[PlannedLogin], says: bool) -> Callable[[PlannedLogin], bool]:
    def agree(plan: PlannedLogin) -> bool:
        plans_seen.append(plan)
        return says

    return agree


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("agrees", [None, False])
def test_u09_an_issuer_whose_pages_lead_to_another_one_gets_nothing_unless_the_user_agrees_to_its_name(
    evil: GuardedServer, thief: ThievingIssuer, oidc_provider: OidcProvider, way: str, agrees: bool | None
) -> None:
    keep(Login(REAL, issuer=oidc_provider.issuer, client_id=CLIENT, access_token=oidc_provider.token("ada")))
    opened: list[str] = []
    seen: list[PlannedLogin] = []

    with pytest.raises(FailedPrecondition) as raised:
        credentials.log_in(
            evil.address,
            agree=None if agrees is None else noting(seen, agrees),
            **person(oidc_provider, way, opened, thief),
        )

    assert raised.value.reason == ("ISSUER_NOT_AGREED" if agrees is None else "LOGIN_DECLINED")
    assert (opened, thief.asked, thief.stolen) == ([], [], {})
    said = raised.value.message if agrees is None else seen[0].risk
    assert f"{evil.address} says that you log in to it at {thief.issuer}, as c." in said
    assert f"You are logged in to {REAL} at {oidc_provider.issuer}." in said
    assert "a token for that server could be stolen" in said


@pytest.mark.parametrize("way", WAYS)
def test_who_agrees_to_the_name_of_a_thief_is_robbed(
    evil: GuardedServer, thief: ThievingIssuer, oidc_provider: OidcProvider, way: str
) -> None:
    """No client sees where a page sends a browser, so the question is what protects: docs/credentials.md says how."""
    with pytest.raises(ModelryError):
        credentials.log_in(evil.address, agree=lambda plan: True, **person(oidc_provider, way, [], thief))

    assert (claims_of(thief.stolen["id_token"]) or {})["sub"] == "ada"
    assert credentials.kept() == []


def test_u09_the_first_login_of_all_is_asked_about_too(trusted: GuardedServer) -> None:
    opened: list[str] = []

    with pytest.raises(
        FailedPrecondition, match="log in with --issuer and the URL of your identity provider"
    ) as raised:
        credentials.log_in(trusted.address, visit=opened.append)

    assert raised.value.reason == "ISSUER_NOT_AGREED"
    assert opened == []
    assert {given for _, given in trusted.seen} == {""}


def test_one_agrees_once_for_each_server_and_issuer(
    trusted: GuardedServer, oidc_provider: OidcProvider, home: Path
) -> None:
    seen: list[PlannedLogin] = []
    how = person(oidc_provider, "visit", [])

    credentials.log_in(trusted.address, agree=noting(seen, True), **how)
    credentials.log_in(trusted.address, agree=noting(seen, True), **how)
    again = credentials.log_in(trusted.address, **how)
    credentials.log_out(trusted.address)
    with pytest.raises(FailedPrecondition, match="Go on only if you expect that"):
        credentials.log_in(trusted.address, **how)

    assert [(plan.is_new, bool(plan.risk)) for plan in seen] == [(True, True), (False, False)]
    assert again.issuer == oidc_provider.issuer
    assert (home / "modelry" / "credentials.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("changed", [{"issuer": "https://idp.example"}, {"client_id": "another"}])
def test_u09_a_server_that_names_another_issuer_than_before_is_warned_of(
    trusted: GuardedServer, oidc_provider: OidcProvider, changed: dict[str, str]
) -> None:
    opened: list[str] = []
    credentials.log_in(trusted.address, issuer=oidc_provider.issuer, **person(oidc_provider, "visit", []))
    trusted.info = {**trusted.info, **changed}

    with pytest.raises(FailedPrecondition) as raised:
        credentials.log_in(trusted.address, visit=opened.append)

    assert raised.value.reason == "ISSUER_NOT_AGREED"
    assert f"WARNING: the last login to {trusted.address} was at {oidc_provider.issuer}, as {CLIENT}." in str(
        raised.value
    )
    assert opened == []


def test_another_issuer_than_the_expected_one_is_refused(trusted: GuardedServer, oidc_provider: OidcProvider) -> None:
    opened: list[str] = []

    with pytest.raises(FailedPrecondition) as raised:
        credentials.log_in(trusted.address, visit=opened.append, issuer="https://idp.example", agree=lambda plan: True)
    with pytest.raises(InvalidArgument, match="give the issuer too"):
        credentials.log_in(trusted.address, visit=opened.append, client_id="c")
    with pytest.raises(InvalidArgument, match="must be https"):
        credentials.log_in(trusted.address, visit=opened.append, issuer="idp.example")

    assert raised.value.reason == "ISSUER_OTHER"
    assert repr(oidc_provider.issuer) in str(raised.value)
    assert opened == []


def test_an_expected_issuer_is_the_same_with_a_slash_at_its_end(
    trusted: GuardedServer, oidc_provider: OidcProvider
) -> None:
    how = person(oidc_provider, "visit", [])

    assert credentials.log_in(trusted.address, issuer=f"{oidc_provider.issuer}/", **how).issuer == oidc_provider.issuer


def test_a_plan_names_all_that_is_kept_and_the_options_that_agree() -> None:
    kept = {"a:1": ("https://idp.example", "c"), "b:1": ("https://other.example", "c"), "s:1": ("https://old", "c")}

    plan = plans.planned("s:1", "https://idp.example", "c", named=True, kept=kept)
    expected = plans.planned("s:1", "https://idp.example", "c", named=False, kept=kept)
    known = plans.planned("a:1", "https://idp.example", "c", named=True, kept=kept)

    assert (plan.before, plan.others, plan.elsewhere) == (
        ("https://old", "c"),
        ("a:1",),
        (("b:1", "https://other.example"),),
    )
    assert plan.consent == "--issuer and the URL of your identity provider and with --yes"
    assert (expected.is_new, expected.consent) == (False, "--yes")
    assert (known.is_new, known.risk, known.consent) == (False, "", "")
