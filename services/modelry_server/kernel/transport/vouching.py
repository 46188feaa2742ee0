"""What a service says of its caller when it calls another one: a statement that it signs with the key of the services.

It is a JSON object with a digest of it (HMAC-SHA256), for one service and for a minute. So the key itself never leaves
a process, a statement for one service is worth nothing at another, and whoever does not have the key can make none.
"""

import base64
import hashlib
import hmac
import json
import math
import time
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelry_server.kernel.caller import Caller, Credential, Identity

METADATA = "modelry-caller"
"""The metadata entry that carries a statement."""
LASTS_S = 60
"""How long a statement is good, in seconds: also by how much the clocks of machines may differ."""

_PURPOSE = b"modelry-caller-1\0"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a service says of its caller."""

    subject: str
    credential: Credential
    peer: str
    identity: Identity | None


class Voucher:
    """Makes and reads statements with the key of the services.

    `knows_callers` says whether this process does. Statements of a process with another setting are not good: it would
    let in everybody, and speak for them here.
    """

    def __init__(self, key: str, *, knows_callers: bool = False, now: Callable[[], float] = time.time) -> None:
        self._knows_callers = knows_callers
        self._secret = hashlib.sha256(_PURPOSE + key.encode()).digest()
        self._now = now

    def say(self, caller: Caller, *, to: str) -> str:
        """The statement that the service `to` takes the caller from."""
        content = {
            "to": to,
            "knows_callers": self._knows_callers,
            "until": int(self._now()) + LASTS_S,
            "subject": caller.subject,
            "credential": caller.credential.value,
            "peer": caller.peer,
            "who": None if caller.identity is None else _written(caller.identity),
        }
        payload = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode())
        return f"{payload.decode()}.{self._digest(payload)}"

    def read(self, statement: str, *, to: str) -> Vouched | None:
        """Whom a statement for the service `to` tells of; None if it is not good, or for another one."""
        payload, _, digest = statement.partition(".")
        if not hmac.compare_digest(digest.encode(), self._digest(payload.encode()).encode()):
            return None
        try:
            content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload))
        except (Base64Error, ValueError):
            return None
        if (
            content["to"] != to
            or content["knows_callers"] != self._knows_callers
            or not 0 <= content["until"] - self._now() + LASTS_S <= 3 * LASTS_S
        ):
            return None
        identity = content["who"]
        return Vouched(
            content["subject"],
            Credential(content["credential"]),
            content["peer"],
            None if identity is None else _read(identity),
        )

    def _digest(self, payload: bytes) -> str:
        return hmac.digest(self._secret, payload, hashlib.sha256).hex()


def _written(identity: Identity) -> list[Any]:
    return [
        identity.principal_id,
        identity.name,
        identity.credential.value,
        identity.credential_id,
        sorted(identity.groups),
        None if identity.permission_cap is None else sorted(identity.permission_cap),
        None if identity.workspace_cap is None else sorted(identity.workspace_cap),
        None if math.isinf(identity.expire_time) else identity.expire_time,
    ]


def _read(written: list[Any]) -> Identity:
    principal_id, name, credential, credential_id, groups, permissions, workspaces, expire_time = written
    return Identity(
        principal_id,
        name,
        Credential(credential),
        credential_id,
        frozenset(groups),
        None if permissions is None else frozenset(permissions),
        None if workspaces is None else frozenset(workspaces),
        math.inf if expire_time is None else expire_time,
    )
