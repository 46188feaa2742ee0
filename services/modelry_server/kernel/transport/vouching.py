"""What a service says of its caller when it calls another one: a statement that it signs with the key of the services.

It is a JSON object with a digest of it (HMAC-SHA256), for one service and for a minute. So the key itself never leaves
a process, a statement for one service is worth nothing at another, and whoever does not have the key can make none.

Services of two releases read each other's statements during an upgrade, and none is taken for more than it says:

- What limits the statement is in `only`, and what limits the caller in `who.caps`. Both have exactly the members that
  the reader knows, else it refuses the statement. So a limit is added by a member there.
- A member elsewhere that the reader does not know is ignored. So nothing may be added there that limits.
- Members that say less when they are missing have a default: no name, no address, no groups. Without another one the
  statement is refused.
- Whoever changes what a member means, or how statements are written, changes `_PURPOSE`, too. To a reader of another
  release the statement is then like one that another key signed.
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
from modelry_server.kernel.telemetry import Log

METADATA = "modelry-caller"
"""The metadata entry that carries a statement."""
LASTS_S = 60
"""How long a statement is good, in seconds: also by how much the clocks of machines may differ."""

_PURPOSE = b"modelry-caller-1\0"
_ONLY = {"to", "knows_callers", "until"}
_CAPS = {"permissions", "workspaces", "until", "bootstrap", "invitation"}
_encoded = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_log = Log("vouching")


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
            "only": {"to": to, "knows_callers": self._knows_callers, "until": int(self._now()) + LASTS_S},
            "subject": caller.subject,
            "credential": caller.credential.value,
            "peer": caller.peer,
            "who": None if caller.identity is None else _written(caller.identity),
        }
        payload = base64.b64encode(_encoded(content).encode())
        return f"{payload.decode()}.{self._digest(payload)}"

    def read(self, statement: str, *, to: str) -> Vouched | None:
        """Whom a statement for the service `to` tells of; None if it is not good, or for another one."""
        payload, _, digest = statement.partition(".")
        if not hmac.compare_digest(digest.encode(), self._digest(payload.encode()).encode()):
            return None
        try:
            content = json.loads(base64.b64decode(payload))
            return _vouched(content) if self._is_good(_exactly(_ONLY, content["only"]), to) else None
        except (Base64Error, LookupError, TypeError, ValueError, AttributeError) as error:
            # It is signed with the key, so a service has made it.
            problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            _log.seldom(
                "vouching.another_release", per=problem, to=to, problem=problem, right="services of one release"
            )
            return None

    def _is_good(self, only: dict[str, Any], to: str) -> bool:
        is_of_now: bool = 0 <= only["until"] - self._now() + LASTS_S <= 3 * LASTS_S
        return is_of_now and only["to"] == to and bool(only["knows_callers"] == self._knows_callers)

    def _digest(self, payload: bytes) -> str:
        return hmac.digest(self._secret, payload, hashlib.sha256).hex()


def _written(identity: Identity) -> dict[str, Any]:
    """What is said of an identity, beside the name and the kind of credential, which are those of its caller."""
    return {
        "id": identity.principal_id,
        "credential_id": identity.credential_id,
        "groups": sorted(identity.groups),
        "caps": {
            "permissions": None if identity.permission_cap is None else sorted(identity.permission_cap),
            "workspaces": None if identity.workspace_cap is None else sorted(identity.workspace_cap),
            "until": None if math.isinf(identity.expire_time) else identity.expire_time,
            "bootstrap": identity.is_bootstrap,
            "invitation": identity.is_invitation,
        },
    }


def _vouched(content: dict[str, Any]) -> Vouched:
    subject, credential, who = content.get("subject", ""), Credential(content["credential"]), content["who"]
    if who is None:
        return Vouched(subject, credential, content.get("peer", ""), None)
    caps = _exactly(_CAPS, who["caps"])
    permissions, workspaces, until = caps["permissions"], caps["workspaces"], caps["until"]
    identity = Identity(
        who["id"],
        subject,
        credential,
        who["credential_id"],
        frozenset(who.get("groups", ())),
        None if permissions is None else frozenset(permissions),
        None if workspaces is None else frozenset(workspaces),
        math.inf if until is None else until,
        caps["bootstrap"],
        caps["invitation"],
    )
    return Vouched(subject, credential, content.get("peer", ""), identity)


def _exactly(known: set[str], given: dict[str, Any]) -> dict[str, Any]:
    """An object that has these members and no others: any of them limits. Raises ValueError."""
    if given.keys() != known:
        raise ValueError(f"has {sorted(given)} where this release knows {sorted(known)}")
    return given
