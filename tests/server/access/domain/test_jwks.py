"""What holds for the keys of an issuer, and the attacks of A12."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

from modelry_server.access.domain.oidc import jwks
from modelry_server.access.domain.oidc.fetching import LARGEST, Unfetched, fetch
from modelry_server.access.domain.oidc.issuers import Issuer
from modelry_server.access.domain.oidc.jwks import published
from modelry_server.access.domain.oidc.verifying import Oidc
from modelry_server.access.errors import IssuerUnavailable, TokenRefused
from tests.parts import hostile_issuer
from tests.parts.clock import HeldClock
from tests.parts.eventually import eventually, of
from tests.parts.hostile_issuer import AUDIENCE, HostileIssuer, Key, new_key
from tests.parts.oidc_provider import OidcProvider

KEY, NEW = new_key(), new_key()
NOW_S = int(time.time())
HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(NOW_S * 1000)


@pytest.fixture
def issuer() -> Iterator[HostileIssuer]:
    with hostile_issuer.running(KEY) as running:
        yield running


@pytest.fixture
def oidc(issuer: HostileIssuer, clock: HeldClock) -> Oidc:
    return reading(trusted(issuer), clock)


def trusted(issuer: HostileIssuer, **changes: Any) -> Issuer:
    return replace(Issuer("company", issuer.url, (AUDIENCE,), issuer.jwks_url), **changes)


def reading(issuer: Issuer, clock: HeldClock) -> Oidc:
    return Oidc([issuer], clock, age=lambda: clock.now() / 1000)


def token(issuer: HostileIssuer, clock: HeldClock, key: Key = KEY, kid: str = "") -> str:
    now = clock.now() // 1000
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 600}
    return issuer.token(claims, {"kid": kid or key.kid}, key=key)


def is_refused(oidc: Oidc, text: str) -> bool:
    try:
        oidc.verify(text)
    except (TokenRefused, IssuerUnavailable):
        return True
    return False


def test_keys_are_read_once_and_kept(oidc: Oidc, issuer: HostileIssuer, clock: HeldClock) -> None:
    for _ in range(5):
        oidc.verify(token(issuer, clock))

    assert issuer.requests == ["/jwks"]


def test_a_key_that_the_issuer_takes_back_is_not_trusted_for_long(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    issuer.publish([NEW])
    clock.advance(jwks.REFRESH_S * 1000)

    eventually(lambda: is_refused(oidc, token(issuer, clock)))

    assert issuer.requests == ["/jwks"] * 2


def test_keys_are_found_over_tls_with_the_authority_of_the_issuer(clock: HeldClock, tmp_path: Path) -> None:
    with hostile_issuer.running(KEY, tls_folder=tmp_path) as issuer:
        known = trusted(issuer, ca_file=str(tmp_path / "ca.pem"), jwks_url="")
        assert reading(known, clock).verify(token(issuer, clock)).subject == "u-1"

        with pytest.raises(IssuerUnavailable):
            reading(trusted(issuer), clock).verify(token(issuer, clock))


def test_keys_are_asked_for_with_the_token_of_a_file_which_goes_to_the_issuer_alone(
    issuer: HostileIssuer, clock: HeldClock, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    published(trusted(issuer, jwks_url="", token_file=str(file)))
    file.write_text("second\n")
    published(trusted(issuer, token_file=str(file)))

    with hostile_issuer.running(KEY) as other:
        issuer.give("/.well-known/openid-configuration", {"issuer": issuer.url, "jwks_uri": other.jwks_url})
        published(trusted(issuer, jwks_url="", token_file=str(file)))

    assert issuer.authorizations == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]
    assert other.authorizations == [""]


def test_another_issuer_at_the_address_is_not_believed(issuer: HostileIssuer) -> None:
    issuer.give("/.well-known/openid-configuration", {"issuer": f"{issuer.url}/", "jwks_uri": issuer.jwks_url})

    with pytest.raises(Unfetched, match="of another issuer"):
        published(trusted(issuer, jwks_url=""))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "http://example.com/jwks", "", "ftp://127.0.0.1/", 5])
def test_keys_are_not_read_from_just_anywhere(place: object, issuer: HostileIssuer) -> None:
    issuer.give("/.well-known/openid-configuration", {"issuer": issuer.url, "jwks_uri": place})

    with pytest.raises(Unfetched, match="jwks_uri"):
        published(trusted(issuer, jwks_url=""))


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    issuer: HostileIssuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tls").mkdir()
    with (
        hostile_issuer.running() as proxy,
        hostile_issuer.running(KEY, tls_folder=tmp_path / "tls") as encrypted,
    ):
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)

        assert published(trusted(issuer)).keys() == {KEY.kid}
        assert published(trusted(encrypted, ca_file=str(tmp_path / "tls" / "ca.pem"))).keys() == {KEY.kid}
        assert proxy.requests == []


def test_a_proxy_of_the_environment_is_asked_about_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile_issuer.running() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)

        # The proxy knows no CONNECT: the answer is its own, and nothing leaves this machine.
        with pytest.raises(Unfetched, match="501"):
            published(Issuer("far", "https://issuer.invalid", (AUDIENCE,), "https://issuer.invalid/jwks"))


# --- A12 -----------------------------------------------------------------------------------------------------------


def test_a12_without_keys_nothing_is_accepted_and_the_answer_is_unavailable(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    issuer.stop()

    for _ in range(3):
        with pytest.raises(IssuerUnavailable, match="company") as refusal:
            oidc.verify(token(issuer, clock))
        assert refusal.value.metadata == {"issuer": "company"}

    issuer.start()
    clock.advance(jwks.RETRY_S * 1000)
    assert oidc.verify(token(issuer, clock)).subject == "u-1"


def test_a12_the_last_good_keys_are_used_for_a_day_while_the_endpoint_is_down(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    issuer.stop()

    clock.advance(24 * HOUR_MS - 1000)
    assert oidc.verify(token(issuer, clock)).subject == "u-1"

    clock.advance(1000)
    with pytest.raises(IssuerUnavailable):
        oidc.verify(token(issuer, clock))


def test_a12_how_long_they_are_used_is_a_setting(issuer: HostileIssuer, clock: HeldClock) -> None:
    oidc = reading(trusted(issuer, keys_kept=3600), clock)
    oidc.verify(token(issuer, clock))
    issuer.stop()
    clock.advance(HOUR_MS)

    with pytest.raises(IssuerUnavailable):
        oidc.verify(token(issuer, clock))


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html><body>Sign in</body></html>"),
        (200, b""),
        (200, b"null"),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [null, 5, {}, {"kty": []}, {"kty": "RSA"}, {"kty": "RSA", "kid": "a", "n": 5, "e": []}]}'),
        (200, b'{"keys": ' + b"[" * 100_000),
        (200, b'{"keys": [' + b" " * LARGEST + b"]}"),
        (500, b'{"keys": []}'),
        (204, b""),
    ],
    ids=["HTML", "empty", "null", "no list", "no keys", "odd keys", "deep", "huge", "500", "204"],
)
def test_a12_what_is_no_set_of_keys_leaves_the_last_good_ones(
    status: int, content: bytes, oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    good = issuer.answers["/jwks"]
    oidc.verify(token(issuer, clock))
    issuer.give("/jwks", content, status)
    clock.advance(jwks.REFETCH_S * 1000)

    with pytest.raises(IssuerUnavailable):
        oidc.verify(token(issuer, clock, NEW))

    assert issuer.requests == ["/jwks"] * 2
    assert oidc.verify(token(issuer, clock)).subject == "u-1"
    with pytest.raises(Unfetched):
        published(trusted(issuer))
    issuer.answers["/jwks"] = good
    clock.advance(jwks.REFETCH_S * 1000)
    with pytest.raises(TokenRefused):
        oidc.verify(token(issuer, clock, NEW))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a12_a_redirect_is_not_followed(status: int, issuer: HostileIssuer) -> None:
    with hostile_issuer.running() as attacker:
        issuer.give("/jwks", b"", status, Location=attacker.jwks_url)

        with pytest.raises(Unfetched, match=f"HTTP {status}"):
            published(trusted(issuer))

        assert attacker.requests == []


def test_a12_an_endpoint_that_drips_is_given_up(issuer: HostileIssuer) -> None:
    issuer.drips = True
    began = time.monotonic()

    with pytest.raises(Unfetched):
        fetch(issuer.jwks_url, trusted(issuer).tls(), limit_s=0.5)

    assert time.monotonic() - began < 5


def test_a12_an_endpoint_that_does_not_answer_holds_nobody_up_whose_key_is_known(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    clock.advance(jwks.REFRESH_S * 1000)

    with issuer.held(), ThreadPoolExecutor(1) as pool:
        unknown = pool.submit(lambda: oidc.verify(token(issuer, clock, NEW)))
        eventually(lambda: len(issuer.requests) == 2)
        clock.advance(jwks.REFETCH_S * 1000)  # a second read is due, but the first one still goes on
        for _ in range(50):
            assert oidc.verify(token(issuer, clock)).subject == "u-1"
        assert not unknown.done()
        issuer.pass_on()
        with pytest.raises(TokenRefused):
            unknown.result(20)
    assert len(issuer.requests) == 2


def test_a12_an_endpoint_that_does_not_answer_is_given_up(oidc: Oidc, issuer: HostileIssuer, clock: HeldClock) -> None:
    with issuer.held():
        began = time.monotonic()
        with pytest.raises(IssuerUnavailable):
            oidc.verify(token(issuer, clock))

    assert 4 < time.monotonic() - began < 15


def test_a12_a_thousand_tokens_with_unknown_keys_cause_one_read(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    clock.advance(jwks.REFETCH_S * 1000)
    rest = token(issuer, clock).partition(".")[2]
    tokens = [f"{hostile_issuer.part({'alg': 'RS256', 'kid': f'made-up-{n}'})}.{rest}" for n in range(1000)]

    def refused(some: list[str]) -> int:
        return sum(1 for each in some if is_refused(oidc, each))

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(refused, [tokens[n::20] for n in range(20)])) == 1000

    assert issuer.requests == ["/jwks"] * 2
    clock.advance(jwks.REFETCH_S * 1000)
    assert refused(tokens) == 1000
    assert issuer.requests == ["/jwks"] * 3


def test_a12_made_up_keys_do_not_hold_all_workers_of_the_server(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    clock.advance(jwks.REFETCH_S * 1000)

    with issuer.held(), ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(lambda: oidc.verify(token(issuer, clock, NEW))) for _ in range(16)]
        eventually(lambda: sum(each.done() for each in waiting) == 12)
        errors = [each.exception(20) for each in waiting if each.done()]
        assert len(of(IssuerUnavailable, errors)) == 12
        issuer.pass_on()
        assert len(of(TokenRefused, [each.exception(20) for each in waiting])) == 4


def test_a12_a_new_key_works_when_it_is_published_and_so_does_the_old_one(
    oidc: Oidc, issuer: HostileIssuer, clock: HeldClock
) -> None:
    oidc.verify(token(issuer, clock))
    issuer.publish([NEW, KEY])
    with pytest.raises(TokenRefused):
        oidc.verify(token(issuer, clock, NEW))

    clock.advance(jwks.REFETCH_S * 1000)

    assert oidc.verify(token(issuer, clock, NEW)).subject == "u-1"
    assert oidc.verify(token(issuer, clock)).subject == "u-1"


@pytest.mark.filterwarnings("ignore:Key size should be:joserfc.errors.SecurityWarning")
def test_a12_private_symmetric_weak_and_nameless_keys_are_not_used(issuer: HostileIssuer) -> None:
    private, secret, other = new_key(), new_key("oct", 256), new_key(use="enc")
    weak = RSAKey.import_key(rsa.generate_private_key(65537, 1024), {"kid": "weak"})
    nameless = {key: value for key, value in new_key().as_dict(private=False).items() if key != "kid"}
    agreeing = new_key("OKP", "X25519")
    entries = [key.as_dict(private=True) for key in (private, secret)]
    entries += [key.as_dict(private=False) for key in (weak, other, agreeing, KEY)]
    issuer.give("/jwks", {"keys": [*entries, nameless]})

    assert published(trusted(issuer)).keys() == {KEY.kid}


def test_a12_a_key_is_used_for_its_own_algorithm_only(issuer: HostileIssuer, clock: HeldClock) -> None:
    key = new_key(alg="PS256")
    issuer.publish([key])
    oidc = reading(trusted(issuer), clock)
    now = clock.now() // 1000
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 600}

    assert oidc.verify(issuer.token(claims, key=key, algorithm="PS256")).subject == "u-1"
    with pytest.raises(TokenRefused):
        oidc.verify(issuer.token(claims, key=hostile_issuer.without(key, "alg"), algorithm="RS256"))


def test_a12_the_real_provider_rotates_its_keys_and_dies(own_oidc_provider: OidcProvider) -> None:
    clock = HeldClock(int(time.time() * 1000))
    oidc = reading(Issuer("provider", own_oidc_provider.issuer, (AUDIENCE,)), clock)
    before = own_oidc_provider.token("ada")
    oidc.verify(before)

    own_oidc_provider.rotate_keys()
    clock.advance(jwks.REFETCH_S * 1000)
    after = own_oidc_provider.token("ada")

    assert oidc.verify(after).subject == oidc.verify(before).subject == "ada"
    own_oidc_provider.stop()
    assert oidc.verify(after).subject == "ada"
    own_oidc_provider.start()
    own_oidc_provider.forget_old_keys()
    clock.advance(jwks.REFRESH_S * 1000)
    oidc.verify(after)

    eventually(lambda: is_refused(oidc, before))
    assert oidc.verify(after).subject == "ada"
