"""What an identity provider says: claims of tokens, and refusals. Importing this brings nothing of HTTP."""

from __future__ import annotations

import base64
import time
from typing import Any

from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.texts import is_printable

_MOST_SECONDS = 1e11
_LONGEST_SAID = 300
_CLOCKS_SECONDS = 120.0
"""How far the clock of a provider may be ahead of, or behind, that of this machine."""


class Refused(Exception):
    """The provider refuses; `error` is the code that it gives, such as `invalid_grant`."""

    def __init__(self, issuer: str, error: str, said: str = "") -> None:
        self.issuer, self.error = issuer, plain(error)
        self.message = f"{issuer} refuses: {self.error}" + (f": {plain(said)}" if said else "")
        super().__init__(self.message)


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


def plain(text: str) -> str:
    """A text of a stranger on one line."""
    shown = "".join(letter if is_printable(letter) else "?" for letter in text[:_LONGEST_SAID])
    return shown if len(text) <= _LONGEST_SAID else f"{shown}…"
