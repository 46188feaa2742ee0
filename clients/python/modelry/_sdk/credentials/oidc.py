"""The calls to an identity provider (OpenID Connect), by the standard library: there are few, and none is in a hurry.

Only HTTPS, or HTTP to this machine. Redirects are not followed: they would take tokens elsewhere.
"""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any

from modelry._sdk.credentials.claims import Refused, plain
from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.hosts import is_loopback
from modelry.errors import InvalidArgument, Unavailable

_TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider says of itself. An endpoint that it does not have is empty."""

    issuer: str
    authorization: str
    token: str
    device: str
    revocation: str
    scopes: tuple[str, ...]
    names_itself: bool = False
    """Whether it says of itself that its answers by browser name their issuer (RFC 9207)."""

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


def check_issuer(issuer: str) -> None:
    """Raises InvalidArgument for what can't be an issuer."""
    require_safe(issuer, "the issuer")
    if "?" in issuer or "#" in issuer:
        raise _wrong(f"the issuer {plain(issuer)!r} has a query or a fragment; give the URL that its tokens name")


def discover(issuer: str) -> Provider:
    """Asks an issuer for its endpoints. Raises InvalidArgument for what can't be an issuer, Unavailable."""
    check_issuer(issuer)
    document = _ask(issuer, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise _wrong(
            f"{issuer} says that it is the issuer {plain(str(document.get('issuer')))!r}, which is another one; give "
            "the exact URL"
        )
    found = {}
    for name in ("authorization", "token", "device_authorization", "revocation"):
        url = document.get(f"{name}_endpoint") or ""
        if url:
            require_safe(str(url), f"the {name} endpoint of {issuer}")
        found[name] = str(url)
    if not found["token"]:
        raise _wrong(f"{issuer} has no token endpoint, so nobody can log in there")
    page, place = (place_of(found[name]) for name in ("authorization", "token"))
    if found["authorization"] and page not in {place_of(issuer), place}:
        raise _wrong(
            f"{issuer} has people log in at {page[0]}:{page[1]}, and takes what they bring to {place[0]}:{place[1]}; "
            "one of them must be the host of the issuer, or both the same"
        )
    scopes = document.get("scopes_supported")
    return Provider(
        issuer,
        found["authorization"],
        found["token"],
        found["device_authorization"],
        found["revocation"],
        tuple(map(str, scopes)) if isinstance(scopes, list) else (),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def place_of(url: str) -> tuple[str, int]:
    """The host and the port of a URL; nothing for what is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", 0


def require_safe(url: str, name: str) -> None:
    """Raises InvalidArgument for a URL that no secret may go to, and no user. `name` says what it is."""
    host, _ = place_of(url)
    parts = urllib.parse.urlsplit(url if host else "")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not is_safe or parts.username is not None or not all("!" <= each <= "~" for each in url):
        raise _wrong(f"{name}, {plain(url)!r}, must be https://HOST…, or http:// on this machine, without a user")


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
        said = plain(str(getattr(problem, "reason", "") or problem))
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
