"""The calls to an identity provider (OpenID Connect), by the standard library: there are few, and none is in a hurry.

Only HTTPS, or HTTP to this machine. Redirects are not followed: they would take tokens elsewhere.
"""

from __future__ import annotations

import base64
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any

from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.hosts import is_loopback
from modelry._sdk.values.texts import is_printable
from modelry.errors import InvalidArgument, Unavailable

_TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 1 << 20
_MOST_SECONDS = 1e11
_LONGEST_SAID = 300
_CLOCKS_SECONDS = 120.0
"""How far the clock of a provider may be ahead of, or behind, that of this machine."""


class Refused(Exception):
    """The provider refuses; `error` is the code that it gives, such as `invalid_grant`."""

    def __init__(self, issuer: str, error: str, said: str = "") -> None:
        self.issuer, self.error = issuer, _plain(error)
        self.message = f"{issuer} refuses: {self.error}" + (f": {_plain(said)}" if said else "")
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider says of itself. An endpoint that it does not have is empty."""

    issuer: str
    authorization: str
    token: str
    device: str
    revocation: str
    scopes: tuple[str, ...]

    def scope(self) -> str:
        """The scopes to ask for: who it is, and a refresh token, as far as the provider says that it knows them."""
        wanted = ("profile", "email", "groups", "offline_access")
        return " ".join(["openid", *(scope for scope in wanted if scope in self.scopes)])

    def grant(self, **fields: str) -> dict[str, Any]:
        """Asks for tokens. Raises Refused, Unavailable."""
        return _post(self.issuer, self.token, fields)

    def ask_device(self, **fields: str) -> dict[str, Any]:
        """Begins the device flow. Raises Refused, Unavailable."""
        return _post(self.issuer, self.device, fields)

    def revoke(self, token: str, client_id: str) -> None:
        """Revokes a refresh token. Nothing if the provider can't. Raises Refused, Unavailable."""
        if self.revocation:
            fields = {"token": token, "token_type_hint": "refresh_token", "client_id": client_id}
            _post(self.issuer, self.revocation, fields)


def discover(issuer: str) -> Provider:
    """Asks an issuer for its endpoints. Raises InvalidArgument for what can't be an issuer, Unavailable."""
    _require_safe(issuer, "the issuer")
    if "?" in issuer or "#" in issuer:
        raise _wrong(f"the issuer {_plain(issuer)!r} has a query or a fragment; give the URL that its tokens name")
    document = _ask(issuer, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise _wrong(
            f"{issuer} says that it is the issuer {_plain(str(document.get('issuer')))!r}, which is another one; give "
            "the exact URL"
        )
    found = {}
    for name in ("authorization", "token", "device_authorization", "revocation"):
        url = document.get(f"{name}_endpoint") or ""
        if url:
            _require_safe(str(url), f"the {name} endpoint of {issuer}")
        found[name] = str(url)
    if not found["token"]:
        raise _wrong(f"{issuer} has no token endpoint, so nobody can log in there")
    scopes = document.get("scopes_supported")
    return Provider(
        issuer,
        found["authorization"],
        found["token"],
        found["device_authorization"],
        found["revocation"],
        tuple(map(str, scopes)) if isinstance(scopes, list) else (),
    )


def claims_of(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, whose signature is not checked. None for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json_object_of(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except (Unreadable, ValueError):
        return None
    return claims if "alg" in header else None


def seconds(value: object) -> float:
    """A number of seconds that somebody else wrote; 0 for what can't be one."""
    return float(value) if isinstance(value, int | float) and 0 < value < _MOST_SECONDS else 0.0


def check_id_token(token: object, issuer: str, client_id: str, nonce: str = "") -> None:
    """Checks what came straight from the token endpoint, so that TLS says who made it (OpenID Connect Core 3.1.3.7).

    Raises Refused if it is about somebody else's login.
    """
    claims = claims_of(token) if isinstance(token, str) else None
    if claims is None:
        raise Refused(issuer, "no_id_token", "its answer has no ID token")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires = seconds(claims.get("exp"))
    if claims.get("iss") != issuer:
        raise Refused(issuer, "wrong_issuer", "the ID token is of another issuer")
    if client_id not in audiences or claims.get("azp", client_id) != client_id:
        raise Refused(issuer, "wrong_audience", "the ID token is for another client")
    if expires < time.time() - _CLOCKS_SECONDS:
        raise Refused(issuer, "expired", "the ID token has expired, or the clock of this machine is wrong")
    if nonce and claims.get("nonce") != nonce:
        raise Refused(issuer, "wrong_nonce", "the ID token is of another login")


def _require_safe(url: str, name: str) -> None:
    parts = urllib.parse.urlsplit(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not is_safe or not parts.hostname or parts.username is not None or not all("!" <= each <= "~" for each in url):
        raise _wrong(f"{name}, {_plain(url)!r}, must be https://HOST…, or http:// on this machine, without a user")


def _wrong(text: str) -> InvalidArgument:
    return InvalidArgument(text, reason="ISSUER_INVALID")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *given: object, **more: object) -> None:
        """None: the answer is an error."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if url.startswith("https:"):
        context = ssl.create_default_context()
        if authorities := os.environ.get("MODELRY_CA_FILE"):
            context.load_verify_locations(authorities)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _post(issuer: str, url: str, fields: Mapping[str, str]) -> dict[str, Any]:
    return _ask(issuer, url, urllib.parse.urlencode(fields).encode())


def _ask(issuer: str, url: str, content: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, data=content, headers={"Accept": "application/json"})
    place = urllib.parse.urlsplit(url).netloc
    try:
        with _opener(url).open(request, timeout=_TIMEOUT_SECONDS) as answer:
            document = _parsed(answer)
    except urllib.error.HTTPError as failed:
        with failed:
            document = _parsed(failed)
            if failed.code in {400, 401, 403} and isinstance(document.get("error"), str):
                said = document.get("error_description")
                raise Refused(issuer, document["error"], said if isinstance(said, str) else "") from None
            raise _away(f"{place} answered HTTP {failed.code} to {urllib.parse.urlsplit(url).path}") from None
    except (OSError, HTTPException, ValueError) as problem:
        said = _plain(str(getattr(problem, "reason", "") or problem))
        raise _away(f"no answer from the identity provider at {place}: {said}") from None
    return document


def _parsed(answer: IO[bytes]) -> dict[str, Any]:
    """The JSON object of an answer, an empty one for anything else. It is read within a limit."""
    try:
        return json_object_of(answer.read(_MOST_BYTES))
    except (Unreadable, HTTPException):
        return {}


def _away(text: str) -> Unavailable:
    return Unavailable(text, reason="ISSUER_UNAVAILABLE")


def _plain(text: str) -> str:
    """A text of a stranger on one line."""
    shown = "".join(letter if is_printable(letter) else "?" for letter in text[:_LONGEST_SAID])
    return shown if len(text) <= _LONGEST_SAID else f"{shown}…"
