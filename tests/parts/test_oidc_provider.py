from __future__ import annotations

import urllib.error
import urllib.parse

import pytest
from joserfc import jwt

from tests.parts.oidc_provider import AUDIENCE, CALLBACK, CLIENT, MACHINE, SCOPE, OidcProvider, Refused

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


def test_a_person_who_logs_in_gets_a_signed_token_for_the_audience(oidc_provider: OidcProvider) -> None:
    token = oidc_provider.token("ada", lifetime_s=120)

    read = jwt.decode(token, oidc_provider.published_keys())
    assert (read.header["typ"], read.header["alg"]) == ("at+jwt", "RS256")
    assert (read.claims["iss"], read.claims["sub"], read.claims["aud"]) == (oidc_provider.issuer, "ada", AUDIENCE)
    assert (read.claims["groups"], read.claims["email"]) == (["researchers"], "ada@example.com")
    assert read.claims["exp"] - read.claims["iat"] == 120


def test_a_token_can_be_had_for_another_audience(oidc_provider: OidcProvider) -> None:
    token = oidc_provider.token("ada", "another")

    assert jwt.decode(token, oidc_provider.published_keys()).claims["aud"] == "another"


def test_a_login_is_renewed_and_the_old_refresh_token_is_used_up(oidc_provider: OidcProvider) -> None:
    first = oidc_provider.tokens("ada")
    form = {"grant_type": "refresh_token", "client_id": CLIENT, "refresh_token": first["refresh_token"]}

    second = oidc_provider.ask("/token", form)

    assert jwt.decode(second["access_token"], oidc_provider.published_keys()).claims["sub"] == "ada"
    with pytest.raises(Refused, match="invalid_grant"):
        oidc_provider.ask("/token", form)


def test_a_wrong_verifier_is_refused(oidc_provider: OidcProvider) -> None:
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": CALLBACK.replace("127.0.0.1", "127.0.0.1:12345"),
        "scope": SCOPE,
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    url = f"{oidc_provider.issuer}/auth?{urllib.parse.urlencode(asked)}"

    redirect = oidc_provider.authorize(url, "ada")

    assert redirect.startswith("http://127.0.0.1:12345/callback?")
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(redirect).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": CLIENT, "redirect_uri": asked["redirect_uri"]}
    with pytest.raises(Refused, match="invalid_grant"):
        oidc_provider.ask("/token", {**form, "code": code, "code_verifier": "w" * 43})


def test_a_device_waits_until_a_person_agrees(oidc_provider: OidcProvider) -> None:
    asked = oidc_provider.ask("/device/auth", {"client_id": CLIENT, "scope": SCOPE})
    form = {"grant_type": DEVICE, "client_id": CLIENT, "device_code": asked["device_code"]}
    with pytest.raises(Refused, match="authorization_pending"):
        oidc_provider.ask("/token", form)

    oidc_provider.device_approve(asked["user_code"], "ada")

    answer = oidc_provider.ask("/token", form)
    assert jwt.decode(answer["access_token"], oidc_provider.published_keys()).claims["sub"] == "ada"


def test_a_device_that_a_person_does_not_recognise_gets_nothing(oidc_provider: OidcProvider) -> None:
    asked = oidc_provider.ask("/device/auth", {"client_id": CLIENT, "scope": SCOPE})

    oidc_provider.device_deny(asked["user_code"], "ada")

    with pytest.raises(Refused, match="access_denied"):
        oidc_provider.ask("/token", {"grant_type": DEVICE, "client_id": CLIENT, "device_code": asked["device_code"]})


def test_a_program_gets_a_token_of_its_own(oidc_provider: OidcProvider) -> None:
    token = oidc_provider.machine_token()

    assert jwt.decode(token, oidc_provider.published_keys()).claims["sub"] == MACHINE


def test_new_tokens_have_the_new_key_and_old_ones_still_verify(own_oidc_provider: OidcProvider) -> None:
    before = own_oidc_provider.token("ada")

    new = own_oidc_provider.rotate_keys()

    keys = own_oidc_provider.published_keys()
    assert jwt.decode(own_oidc_provider.token("ada"), keys).header["kid"] == new
    assert jwt.decode(before, keys).header["kid"] != new


def test_a_stopped_provider_answers_again_at_the_same_address(own_oidc_provider: OidcProvider) -> None:
    own_oidc_provider.stop()
    with pytest.raises(urllib.error.URLError):
        own_oidc_provider.published_keys()

    own_oidc_provider.start()

    assert own_oidc_provider.published_keys().keys
