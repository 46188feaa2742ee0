"""Logging in by another device (RFC 8628): for machines without a browser.

Whoever sends somebody a code can have that person log in for them. So this is done on request only, and the page of the
provider says what asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from modelry._sdk.credentials import claims, oidc
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.credentials.oidc import Provider
from modelry.errors import DeadlineExceeded, FailedPrecondition, Unavailable

_PAUSE_SECONDS = 5.0
_SLOWER_SECONDS = 5.0
_LONGEST_SECONDS = 1800.0
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def log_in(provider: Provider, client_id: str, *, show: Callable[[str, str, str], object]) -> dict[str, Any]:
    """Has the user log in elsewhere, and returns the answer with the tokens.

    `show` gets the URL, the code, and a URL that has the code in it or is empty. Raises Refused if the provider or the
    user refuses, and DeadlineExceeded if the code expires.
    """
    if not provider.device:
        raise FailedPrecondition(
            f"{provider.issuer} has no login by another device; log in by the browser", reason="LOGIN_IMPOSSIBLE"
        )
    begun = provider.ask_device(client_id=client_id, scope=provider.scope())
    code, shown, url = (str(begun.get(name) or "") for name in ("device_code", "user_code", "verification_uri"))
    if not (code and shown and url):
        raise Refused(provider.issuer, "no_device_code", "its answer has no code for a device")
    whole = str(begun.get("verification_uri_complete") or "")
    for page in filter(None, (url, whole)):
        oidc.require_safe(page, f"the page for codes of {provider.issuer}")
    pause = max(0.1, claims.seconds(begun.get("interval")) or _PAUSE_SECONDS)
    until = time.monotonic() + min(claims.seconds(begun.get("expires_in")) or _LONGEST_SECONDS, _LONGEST_SECONDS)
    show(url, claims.plain(shown), whole)
    while time.monotonic() + pause < until:
        time.sleep(pause)
        try:
            return provider.grant(grant_type=_GRANT, device_code=code, client_id=client_id)
        except Refused as refused:
            if refused.error == "slow_down":
                pause += _SLOWER_SECONDS
            elif refused.error == "expired_token":
                break
            elif refused.error != "authorization_pending":
                raise
        except Unavailable:
            pause = min(2 * pause, 60.0)  # as RFC 8628 asks after a time-out
    raise DeadlineExceeded("the code has expired before anybody logged in; log in again", reason="LOGIN_LATE")
