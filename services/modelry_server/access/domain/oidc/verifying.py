"""A token of an OIDC issuer becomes an identity, or is refused.

The algorithms are fixed and asymmetric, the keys are those that a configured issuer publishes, and nothing in a token
makes the server read anything.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from joserfc.errors import ClaimError, JoseError
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from modelry_server.access.domain.oidc.issuers import ALGORITHMS, Issuer, claim, filled
from modelry_server.access.domain.oidc.jwks import PublishedKeys
from modelry_server.access.entities import ExternalIdentity
from modelry_server.access.errors import TokenRefused
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.telemetry import Log

LARGEST = 16 << 10
"""Bytes of a token. A larger one is refused unread."""
LEEWAY_S = 30
"""How much the clocks of issuer and server may differ."""

_LONGEST_TEXT = 256
_TYPES = {"jwt", "at+jwt"}
_REFUSED_HEADERS = ("crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc", "cty")
"""Each would have the token say how it is to be checked or read. A token of an identity needs none of them."""

_log = Log("access.oidc")


class Oidc:
    """Verifies the tokens of all issuers. `age` gives seconds that never go back."""

    def __init__(self, issuers: Sequence[Issuer], clock: Clock, age: Callable[[], float] = time.monotonic) -> None:
        self._issuers = {issuer.url: (issuer, PublishedKeys(issuer, age)) for issuer in issuers}
        self._clock = clock

    def verify(self, token: str) -> ExternalIdentity:
        """Who a token speaks for. Raises TokenRefused, IssuerUnavailable."""
        return _or_refused(lambda: self._verified(token))

    def read(self, token: str) -> ExternalIdentity:
        """Who a token speaks for that was verified before, and may have ended since. Raises TokenRefused.

        Nothing is verified again: the issuer may have other keys by now.
        """

        def told() -> ExternalIdentity:
            claims = _json(_read(token).payload)
            try:
                return _identity(self._issuer_of(claims)[0], claims)
            except (LookupError, TypeError, ValueError) as problem:
                raise _Unfit(f"its claims can't be read: {type(problem).__name__}") from None

        return _or_refused(told)

    def _issuer_of(self, claims: Mapping[str, Any]) -> tuple[Issuer, PublishedKeys]:
        url = claims.get("iss")
        found = self._issuers.get(url) if isinstance(url, str) else None
        if found is None:
            raise _Unfit("its issuer is not configured")
        return found

    def _verified(self, token: str) -> ExternalIdentity:
        signed = _read(token)
        claims = _json(signed.payload)
        issuer, keys = self._issuer_of(claims)
        header = signed.headers()
        if header["alg"] not in issuer.algorithms:
            raise _Unfit("its algorithm is not allowed")
        key = keys.find(header["kid"])
        if key is None:
            raise _Unfit("its key is not published by the issuer")
        try:
            if not validate_compact(signed, key, registry=_REGISTRY):
                raise _Unfit("its signature is wrong")
            _rules(issuer, self._clock.now() // 1000).validate(claims)
        except ClaimError as problem:
            raise _Unfit(f"{problem.error}: {problem.claim}") from None
        except (JoseError, ValueError, TypeError) as problem:
            raise _Unfit(f"it can't be verified: {type(problem).__name__}") from None
        return _identity(issuer, claims)


class _Unfit(Exception):
    """Why a token is refused: for the log, so without anything that is in the token."""


def _or_refused(told: Callable[[], ExternalIdentity]) -> ExternalIdentity:
    try:
        return told()
    except _Unfit as why:
        _log.debug("token.refused", why=str(why))
        raise TokenRefused from None


class _Registry(JWSRegistry):
    """The algorithms that an issuer may have. `EdDSA` is what issuers write, although RFC 9864 has newer names."""

    max_header_length = 4096

    def get_alg(self, name: str) -> Any:
        """The algorithm, one of ours."""
        if name not in ALGORITHMS:
            raise _Unfit("its algorithm is not one of ours")
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)


def _read(token: str) -> CompactSignature:
    """The parts of a token, with a header that is fit for one. Nothing of it is verified yet."""
    if len(token) > LARGEST or not token.isascii():
        raise _Unfit("it is too long, or not of ASCII characters")
    try:
        header = _json(urlsafe_b64decode(token.partition(".")[0].encode()))
        signed = extract_compact(token.encode(), registry=_REGISTRY)
    except (JoseError, ValueError) as problem:
        raise _Unfit(f"it can't be read: {type(problem).__name__}") from None
    if not all(isinstance(header.get(key), str) for key in ("alg", "kid")):
        raise _Unfit("its header has no `alg` and `kid`")
    if any(name in header for name in _REFUSED_HEADERS):
        raise _Unfit("its header says how to verify it")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise _Unfit("it is not a token of an identity")
    return signed


def _json(content: bytes) -> dict[str, Any]:
    """An object of a token. Two of the same name could mean one thing here and another elsewhere: they are refused."""
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise _Unfit(f"it has no usable JSON: {type(problem).__name__}") from None
    if not isinstance(found, dict):
        raise _Unfit("its header or its claims are no object")
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _rules(issuer: Issuer, now_s: int) -> JWTClaimsRegistry:
    return JWTClaimsRegistry(
        now_s,
        LEEWAY_S,
        iss={"essential": True, "value": issuer.url},
        aud={"essential": True, "values": list(issuer.audiences)},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )


def _identity(issuer: Issuer, claims: Mapping[str, Any]) -> ExternalIdentity:
    """What verified claims say, by the mapping of their issuer."""
    if claims["exp"] > claims["iat"] + issuer.longest_lifetime:
        raise _Unfit("it lives longer than `longest_lifetime`")
    if not all(each.holds(claims) for each in issuer.required_claims):
        raise _Unfit("it does not meet `required_claims`")
    subject, kind = _text(claims["sub"]), issuer.kind
    name = _text(claim(claims, issuer.name_claim)) or subject
    if issuer.rules:
        rule = next((each for each in issuer.rules if each.matches(claims)), None)
        if rule is None:
            raise _Unfit("no rule of its issuer matches")
        subject, name, kind = _text(filled(rule.subject, claims)), _text(filled(rule.name, claims)), rule.kind
    if not subject or not name:
        raise _Unfit("it has no usable subject or name")
    return ExternalIdentity(
        issuer_name=issuer.name,
        issuer_url=issuer.url,
        subject=subject,
        name=name,
        display_name=_text(claim(claims, issuer.display_name_claim)) or name,
        email=_text(claim(claims, issuer.email_claim)) if claims.get("email_verified") is not False else "",
        groups=_groups(issuer, claims),
        kind=kind,
        issued_at=int(claims["iat"] * 1000),
        expire_time=int(claims["exp"] * 1000),
        token_id=_text(claims.get("jti")),
        says_groups=claim(claims, issuer.groups_claim) is not None if issuer.groups_claim else False,
    )


def _groups(issuer: Issuer, claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = claim(claims, issuer.groups_claim) if issuer.groups_claim else None
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(sorted({issuer.group_prefix + name for each in names if (name := _text(each))}))


def _text(value: object) -> str:
    """A text that can be shown and stored; empty for anything else."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable() else ""
