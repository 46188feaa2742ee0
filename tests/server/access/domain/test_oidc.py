"""What holds for tokens of OIDC issuers, and the attacks of A11."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import RSAKey

from modelry_server.access.domain.oidc.issuers import Condition, Issuer, Rule
from modelry_server.access.domain.oidc.verifying import LARGEST, LEEWAY_S, Oidc
from modelry_server.access.entities import ExternalIdentity
from modelry_server.access.errors import TokenRefused
from tests.parts import hostile_issuer
from tests.parts.clock import HeldClock
from tests.parts.hostile_issuer import AUDIENCE, HostileIssuer, authenticated, new_key, part, signed
from tests.parts.oidc_provider import OidcProvider

KEY = RSAKey.generate_key(2048, {"kid": "known"})
NOW_S = int(time.time())


@pytest.fixture(scope="module")
def issuer() -> Iterator[HostileIssuer]:
    with hostile_issuer.running(KEY) as running:
        yield running


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(NOW_S * 1000)


@pytest.fixture
def trusted(issuer: HostileIssuer) -> Issuer:
    return Issuer("company", issuer.url, (AUDIENCE,), issuer.jwks_url)


@pytest.fixture
def oidc(trusted: Issuer, clock: HeldClock) -> Oidc:
    return reading(trusted, clock)


def reading(issuer: Issuer, clock: HeldClock) -> Oidc:
    return Oidc([issuer], clock, age=lambda: clock.now() / 1000)


def claims(issuer: HostileIssuer, **changes: object) -> dict[str, Any]:
    """Claims that are good; a change to None leaves a claim out."""
    good = {"iss": issuer.url, "aud": AUDIENCE, "sub": "u-1", "iat": NOW_S, "exp": NOW_S + 600, **changes}
    return {name: value for name, value in good.items() if value is not None}


def is_refused(oidc: Oidc, token: str) -> bool:
    try:
        oidc.verify(token)
    except TokenRefused as refusal:
        return not refusal.metadata
    return False


def test_a_token_becomes_the_identity_that_its_claims_say(issuer: HostileIssuer, oidc: Oidc) -> None:
    token = issuer.token(
        claims(
            issuer,
            preferred_username="ada",
            name="Ada Lovelace",
            email="ada@example.com",
            groups=["research", "admins", "research"],
            jti="t-1",
        )
    )

    assert oidc.verify(token) == ExternalIdentity(
        issuer_name="company",
        issuer_url=issuer.url,
        subject="u-1",
        name="ada",
        display_name="Ada Lovelace",
        email="ada@example.com",
        groups=("admins", "research"),
        kind="user",
        issued_at=NOW_S * 1000,
        expire_time=(NOW_S + 600) * 1000,
        token_id="t-1",
    )


def test_who_has_no_name_is_called_by_the_subject(issuer: HostileIssuer, oidc: Oidc) -> None:
    found = oidc.verify(issuer.token(claims(issuer, preferred_username=["odd"], groups={"odd": 1}, email=7)))

    assert (found.name, found.display_name, found.email, found.groups) == ("u-1", "u-1", "", ())


def test_an_address_that_the_issuer_has_not_verified_is_left_out(issuer: HostileIssuer, oidc: Oidc) -> None:
    assert oidc.verify(issuer.token(claims(issuer, email="boss@example.com", email_verified=False))).email == ""


def test_names_that_can_not_be_shown_are_not_taken(issuer: HostileIssuer, oidc: Oidc) -> None:
    odd = {"preferred_username": "a\u202eda", "name": "a\nb", "groups": ["ok", "a\x00b", "x" * 300, 5]}

    found = oidc.verify(issuer.token(claims(issuer, **odd)))

    assert (found.name, found.display_name, found.groups) == ("u-1", "u-1", ("ok",))
    assert is_refused(oidc, issuer.token(claims(issuer, sub="a\nb")))


def test_claims_are_found_where_the_issuer_is_said_to_have_them(
    issuer: HostileIssuer, trusted: Issuer, clock: HeldClock
) -> None:
    mapped = replace(
        trusted, name_claim="upn", groups_claim="realm_access/roles", group_prefix="co:", email_claim="https://co/mail"
    )
    token = issuer.token(claims(issuer, upn="ada", realm_access={"roles": ["x"]}, **{"https://co/mail": "a@co"}))

    found = reading(mapped, clock).verify(token)

    assert (found.name, found.groups, found.email) == ("ada", ("co:x",), "a@co")


@pytest.mark.parametrize(
    ("kind", "size", "algorithm"),
    [
        ("RSA", 2048, "RS384"),
        ("RSA", 3072, "RS512"),
        ("RSA", 2048, "PS256"),
        ("EC", "P-256", "ES256"),
        ("EC", "P-384", "ES384"),
        ("OKP", "Ed25519", "EdDSA"),
    ],
)
def test_every_algorithm_that_can_be_allowed_works(
    kind: str, size: int | str, algorithm: str, clock: HeldClock
) -> None:
    with hostile_issuer.running(new_key(kind, size)) as issuer:
        oidc = reading(Issuer("own", issuer.url, (AUDIENCE,)), clock)

        assert oidc.verify(issuer.token(claims(issuer), algorithm=algorithm)).subject == "u-1"
        assert issuer.requests == ["/.well-known/openid-configuration", "/jwks"]


def test_tokens_of_the_real_provider_verify(oidc_provider: OidcProvider) -> None:
    now = HeldClock(int(time.time() * 1000))
    oidc = reading(Issuer("provider", oidc_provider.issuer, (AUDIENCE,)), now)

    found = oidc.verify(oidc_provider.token("ada"))

    assert (found.subject, found.name, found.email) == ("ada", "ada", "ada@example.com")
    assert (found.groups, found.kind) == (("researchers",), "user")
    assert oidc.verify(oidc_provider.machine_token()).subject == "machine"
    assert is_refused(oidc, oidc_provider.token("ada", "another"))
    assert is_refused(oidc, oidc_provider.tokens("ada")["id_token"])


def test_a_token_ends_when_it_says_with_half_a_minute_for_clocks(
    issuer: HostileIssuer, oidc: Oidc, clock: HeldClock
) -> None:
    token = issuer.token(claims(issuer))
    clock.advance((600 + LEEWAY_S - 1) * 1000)
    assert not is_refused(oidc, token)

    clock.advance(1000)

    assert is_refused(oidc, token)


def test_a_token_that_lives_too_long_is_refused(issuer: HostileIssuer, trusted: Issuer, clock: HeldClock) -> None:
    oidc = reading(replace(trusted, longest_lifetime=3600), clock)

    assert not is_refused(oidc, issuer.token(claims(issuer, exp=NOW_S + 3600)))
    assert is_refused(oidc, issuer.token(claims(issuer, exp=NOW_S + 3601)))
    assert is_refused(oidc, issuer.token(claims(issuer, exp=NOW_S + 600, iat=None)))


def test_a_required_claim_must_be_there(issuer: HostileIssuer, trusted: Issuer, clock: HeldClock) -> None:
    required = (Condition("org", "risk-", is_prefix=True), Condition("mfa", True), Condition("groups", "ml"))
    oidc = reading(replace(trusted, required_claims=required), clock)
    good = {"org": "risk-eu", "mfa": True, "groups": ["ml", "all"]}

    assert not is_refused(oidc, issuer.token(claims(issuer, **good)))
    wrong: list[dict[str, object]] = [{"org": "a-risk-"}, {"org": None}, {"mfa": 1}, {"mfa": "true"}, {"groups": ["m"]}]
    assert all(is_refused(oidc, issuer.token(claims(issuer, **{**good, **each}))) for each in wrong)


def test_the_first_rule_that_matches_makes_the_principal_and_no_match_is_a_refusal(
    issuer: HostileIssuer, trusted: Issuer, clock: HeldClock
) -> None:
    main = (Condition("repository_id", "42"), Condition("ref", "refs/heads/main"))
    rules = (
        Rule(main, "release-{repository_id}", "release:{repository_id}", "service_account"),
        Rule((Condition("repository_id", "42"),), "ci-{run/id}", "{sub}", "user"),
    )
    oidc = reading(replace(trusted, rules=rules), clock)

    released = oidc.verify(issuer.token(claims(issuer, repository_id="42", ref="refs/heads/main")))
    built = oidc.verify(issuer.token(claims(issuer, repository_id="42", ref="refs/heads/x", run={"id": 9})))

    assert (released.subject, released.name, released.kind) == ("release:42", "release-42", "service_account")
    assert (built.subject, built.name, built.kind) == ("u-1", "ci-9", "user")
    assert is_refused(oidc, issuer.token(claims(issuer, repository_id="43")))
    assert is_refused(oidc, issuer.token(claims(issuer, repository_id="42", run={"id": []})))


def test_a_refusal_says_nothing_about_why_and_the_log_has_no_token(
    issuer: HostileIssuer, oidc: Oidc, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [
        issuer.token(claims(issuer, sub="canary-7", **each)) for each in ({"aud": "x"}, {"exp": "x"}, {"iss": "x"})
    ]

    with caplog.at_level(logging.DEBUG, "modelry"):
        answers = set()
        for token in tokens:
            with pytest.raises(TokenRefused) as refusal:
                oidc.verify(token)
            answers.add(str(refusal.value))
            assert refusal.value.__cause__ is None

    logged = [json.dumps(record.__dict__, default=str) for record in caplog.records]
    assert len(answers) == 1
    assert len(logged) == 3
    assert not any(text in line for line in logged for text in ("canary-7", *tokens, *".".join(tokens).split(".")))


# --- A11 -----------------------------------------------------------------------------------------------------------


def test_a11_a_token_without_a_signature_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        bare = f"{part({'alg': name, 'typ': 'JWT', 'kid': KEY.kid})}.{part(claims(issuer))}."

        assert is_refused(oidc, bare)
        assert is_refused(oidc, bare + "AAAA")
        assert is_refused(oidc, bare + issuer.token(claims(issuer)).split(".")[2])


def test_a11_the_public_key_is_no_secret_to_sign_with(issuer: HostileIssuer, oidc: Oidc) -> None:
    public = [KEY.as_pem(private=False), KEY.as_der(private=False), json.dumps(KEY.as_dict(private=False)).encode()]
    for secret in public:
        for algorithm in ("HS256", "HS384", "HS512"):
            header = {"alg": algorithm, "typ": "JWT", "kid": KEY.kid}
            assert is_refused(oidc, authenticated(header, claims(issuer), secret))


def test_a11_an_algorithm_that_is_not_in_the_list_is_refused(
    issuer: HostileIssuer, trusted: Issuer, clock: HeldClock
) -> None:
    oidc = reading(replace(trusted, algorithms=("RS256",)), clock)

    assert not is_refused(oidc, issuer.token(claims(issuer)))
    assert is_refused(oidc, issuer.token(claims(issuer), algorithm="PS256"))
    assert is_refused(oidc, issuer.token(claims(issuer), {"alg": "RS256"}, algorithm="RS512"))
    odd: list[object] = ["rs256", "RS1", "ES256K", "RSA-OAEP", "", 5, None, ["RS256"], {"RS256": 1}]
    assert all(is_refused(oidc, issuer.token(claims(issuer), {"alg": each})) for each in odd)


def test_a11_no_setting_allows_a_symmetric_algorithm(issuer: HostileIssuer, trusted: Issuer, clock: HeldClock) -> None:
    oidc = reading(replace(trusted, algorithms=("none", "HS256", "RS256")), clock)
    header = {"alg": "HS256", "typ": "JWT", "kid": KEY.kid}

    assert not is_refused(oidc, issuer.token(claims(issuer)))
    assert is_refused(oidc, authenticated(header, claims(issuer), KEY.as_pem(private=False)))
    assert is_refused(oidc, f"{part({**header, 'alg': 'none'})}.{part(claims(issuer))}.AAAA")


def test_a11_a_key_id_is_looked_up_and_nothing_else(issuer: HostileIssuer, oidc: Oidc) -> None:
    oidc.verify(issuer.token(claims(issuer)))
    before = len(issuer.requests)
    odd: list[object] = [
        "../../../../dev/null",
        "/etc/passwd",
        "x' OR 1=1 --",
        "http://x/jwks",
        "",
        "\x00",
        0,
        None,
        [],
    ]

    assert all(is_refused(oidc, issuer.token(claims(issuer), {"kid": each})) for each in odd)
    assert len(issuer.requests) == before


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
def test_a11_a_token_does_not_bring_or_name_its_own_key(header: str, issuer: HostileIssuer, oidc: Oidc) -> None:
    with hostile_issuer.running() as attacker:
        says = {
            "jku": attacker.jwks_url,
            "x5u": f"{attacker.url}/certificate",
            "jwk": attacker.key.as_dict(private=False),
            "x5c": ["MIIB"],
        }
        for kid in (attacker.key.kid, KEY.kid):
            token = attacker.token(claims(issuer), {header: says[header], "kid": kid})
            assert is_refused(oidc, token)
        assert is_refused(oidc, issuer.token(claims(issuer), {header: says[header]}))

        assert attacker.requests == []


def test_a11_an_issuer_that_is_not_configured_is_refused_and_never_asked(issuer: HostileIssuer, oidc: Oidc) -> None:
    with hostile_issuer.running() as attacker:
        assert is_refused(oidc, attacker.token(claims(attacker)))
        assert is_refused(oidc, attacker.token(claims(issuer)))
        assert is_refused(oidc, attacker.token(claims(issuer), {"kid": KEY.kid}))
        odd: list[object] = [None, f"{issuer.url}/", issuer.url.upper(), [issuer.url], {issuer.url: 1}, 7, ""]
        assert all(is_refused(oidc, issuer.token(claims(issuer, iss=each))) for each in odd)

        assert attacker.requests == []


def test_a11_an_issuer_can_not_speak_for_another(issuer: HostileIssuer, trusted: Issuer, clock: HeldClock) -> None:
    with hostile_issuer.running() as other:
        issuers = [trusted, Issuer("other", other.url, (AUDIENCE,), other.jwks_url)]
        oidc = Oidc(issuers, clock, age=lambda: clock.now() / 1000)

        assert oidc.verify(other.token(claims(other))).issuer_name == "other"
        assert is_refused(oidc, other.token(claims(issuer)))
        assert is_refused(oidc, other.token(claims(issuer), {"kid": KEY.kid}))


def test_a11_a_token_for_somebody_else_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    assert not is_refused(oidc, issuer.token(claims(issuer, aud=["other", AUDIENCE])))
    odd: list[object] = [
        None,
        "",
        "other",
        "Modelry",
        f"{AUDIENCE} ",
        [],
        ["other"],
        [[AUDIENCE]],
        {AUDIENCE: 1},
        5,
        True,
    ]
    assert all(is_refused(oidc, issuer.token(claims(issuer, aud=each))) for each in odd)


def test_a11_a_token_must_say_when_it_ends_in_a_number(issuer: HostileIssuer, oidc: Oidc) -> None:
    odd: list[object] = [None, str(NOW_S + 600), "", True, [NOW_S + 600], {}, -1, 0, NOW_S - LEEWAY_S, 10**400, 1e308]
    assert all(is_refused(oidc, issuer.token(claims(issuer, exp=each))) for each in odd)
    for text in (b"NaN", b"Infinity", b"1e999", b"9" * 5000):
        raw = json.dumps(claims(issuer, exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + text)
        assert is_refused(oidc, signed({"alg": "RS256", "kid": KEY.kid}, raw, KEY, "RS256"))
    assert is_refused(oidc, issuer.token(claims(issuer, other=float("nan"))))


def test_a11_a_token_of_the_future_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    soon, later = NOW_S + LEEWAY_S, NOW_S + LEEWAY_S + 1

    assert not is_refused(oidc, issuer.token(claims(issuer, nbf=soon, iat=soon)))
    assert is_refused(oidc, issuer.token(claims(issuer, nbf=later)))
    assert is_refused(oidc, issuer.token(claims(issuer, iat=later)))
    odd: list[object] = [str(NOW_S), True, [], 10**400, -(10**400), -1e308]
    assert all(is_refused(oidc, issuer.token(claims(issuer, iat=each))) for each in odd)
    assert is_refused(oidc, issuer.token(claims(issuer, nbf=str(NOW_S))))


def test_a11_a_token_must_have_a_subject(issuer: HostileIssuer, oidc: Oidc) -> None:
    odd: list[object] = [None, "", 5, ["u-1"], "x" * 257]
    assert all(is_refused(oidc, issuer.token(claims(issuer, sub=each))) for each in odd)


def test_a11_a_huge_token_is_refused_unread(issuer: HostileIssuer, oidc: Oidc) -> None:
    huge = issuer.token(claims(issuer, padding="x" * 100_000))
    fits = issuer.token(claims(issuer, padding="x" * 11_000))

    assert len(huge) > 100_000
    assert is_refused(oidc, huge)
    assert is_refused(oidc, "a.b.c" * 1_000_000)
    assert LARGEST > len(fits) > LARGEST - 2000
    assert not is_refused(oidc, fits)
    over = issuer.token(claims(issuer, padding="x" * 12_000))
    assert LARGEST < len(over) < LARGEST + 1000
    assert is_refused(oidc, over)


def test_a11_a_token_within_a_token_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    good = issuer.token(claims(issuer))
    encrypted = jwe.encrypt_compact({"alg": "RSA-OAEP", "enc": "A128GCM", "kid": "known"}, good, KEY)

    assert is_refused(oidc, encrypted)
    assert is_refused(oidc, signed({"alg": "RS256", "kid": KEY.kid, "cty": "JWT"}, good.encode(), KEY, "RS256"))
    assert is_refused(oidc, signed({"alg": "RS256", "kid": KEY.kid}, good.encode(), KEY, "RS256"))
    assert is_refused(oidc, json.dumps(dict(zip(("protected", "payload", "signature"), good.split("."), strict=True))))


def test_a11_a_name_that_is_there_twice_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    header = {"alg": "RS256", "kid": KEY.kid}
    twice = json.dumps(claims(issuer))[:-1].encode() + b', "sub": "admin"}'
    inner = json.dumps(claims(issuer))[:-1].encode() + b', "x": {"y": 1, "y": 2}}'

    assert is_refused(oidc, signed(header, twice, KEY, "RS256"))
    assert is_refused(oidc, signed(header, inner, KEY, "RS256"))
    doubled = json.dumps(header)[:-1].encode() + b', "alg": "RS256"}'
    assert is_refused(oidc, signed(doubled, claims(issuer), KEY, "RS256"))


def test_a11_what_a_header_calls_critical_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    odd: list[dict[str, object]] = [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
    ]

    assert all(is_refused(oidc, issuer.token(claims(issuer), each)) for each in odd)
    assert not is_refused(oidc, issuer.token(claims(issuer), {"x-unknown": 1, "x5t": "abc"}))


def test_a11_only_tokens_of_an_identity_are_taken(issuer: HostileIssuer, oidc: Oidc) -> None:
    good = ["JWT", "jwt", "at+jwt", "application/at+jwt", "application/JWT"]
    odd: list[object] = ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", 1, None]

    assert not any(is_refused(oidc, issuer.token(claims(issuer), {"typ": each})) for each in good)
    assert not is_refused(oidc, signed({"alg": "RS256", "kid": KEY.kid}, claims(issuer), KEY, "RS256"))
    assert all(is_refused(oidc, issuer.token(claims(issuer), {"typ": each})) for each in odd)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.e30",
        "é.é.é",
        "\x00.\x00.\x00",
        "W10.W10.W10",
        "bnVsbA.bnVsbA.AA",
        "====.==.=",
    ],
    ids=range(11),
)
def test_a11_what_is_no_token_is_refused(text: str, oidc: Oidc) -> None:
    assert is_refused(oidc, text)


def test_a11_deep_json_is_refused(issuer: HostileIssuer, oidc: Oidc) -> None:
    deep = b"[" * 5000

    assert is_refused(oidc, signed({"alg": "RS256", "kid": KEY.kid}, deep, KEY, "RS256"))
    assert is_refused(oidc, signed(deep, claims(issuer), KEY, "RS256"))


CASES = st.one_of(
    st.tuples(st.just("replace"), st.integers(0, 5000), st.characters()),
    st.tuples(st.just("insert"), st.integers(0, 5000), st.characters()),
    st.tuples(st.just("delete"), st.integers(0, 5000), st.integers(1, 40)),
    st.tuples(st.just("swap"), st.integers(0, 5000), st.integers(0, 5000)),
)


@settings(max_examples=400, deadline=None)
@given(case=CASES)
def test_a11_a_good_token_that_was_changed_never_verifies(
    mutable: tuple[Oidc, str], case: tuple[str, int, Any]
) -> None:
    oidc, token = mutable
    kind, place, what = case
    at = place % len(token)
    match kind:
        case "replace":
            changed = token[:at] + what + token[at + 1 :]
        case "insert":
            changed = token[:at] + what + token[at:]
        case "delete":
            changed = token[:at] + token[at + what :]
        case _:
            first, second = sorted((at, what % len(token)))
            changed = token[:first] + token[second:] + token[first:second]

    assert changed == token or is_refused(oidc, changed)


@pytest.fixture(scope="module")
def mutable(issuer: HostileIssuer) -> tuple[Oidc, str]:
    oidc = reading(Issuer("company", issuer.url, (AUDIENCE,), issuer.jwks_url), HeldClock(NOW_S * 1000))
    token = issuer.token(claims(issuer))
    oidc.verify(token)
    return oidc, token
