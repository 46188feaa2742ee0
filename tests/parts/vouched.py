"""What a service sends with a call to another one, for tests that call internal listeners."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from modelry_server.kernel.caller import NOBODY, Caller
from modelry_server.kernel.transport.vouching import METADATA, Voucher


def vouched(
    key: str, room: str, caller: Caller = NOBODY, *, knows_callers: bool = False
) -> tuple[tuple[str, str], ...]:
    """The metadata by which a service with the key calls a room: for itself, or for a caller.

    `knows_callers` is as the platform's setting.
    """
    return ((METADATA, Voucher(key, knows_callers=knows_callers).say(caller, to=room)),)


def content_of(statement: str) -> dict[str, Any]:
    """What a statement says."""
    found: dict[str, Any] = json.loads(base64.b64decode(statement.partition(".")[0]))
    return found


def rewritten(statement: str, key: str, change: Callable[[dict[str, Any]], object]) -> str:
    """The statement of a service of another release, which has the key and writes something differently."""
    content = content_of(statement)
    change(content)
    payload = base64.b64encode(json.dumps(content).encode())
    secret = hashlib.sha256(b"modelry-caller-1\0" + key.encode()).digest()
    return f"{payload.decode()}.{hmac.digest(secret, payload, 'sha256').hex()}"
