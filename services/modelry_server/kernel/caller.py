"""Who calls: travels with every call, through the service and on to the services that it calls."""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Credential(StrEnum):
    """How a caller has proved who it is."""

    NONE = "none"
    API_TOKEN = "api_token"
    OIDC_TOKEN = "oidc_token"
    CLIENT_CERTIFICATE = "client_certificate"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential belongs to, as access has confirmed it.

    `principal_id` is stable, `name` is for people. `credential_id` identifies the credential and reveals nothing of it.
    `groups` are those that the credential says, such as the claims of a token. `permission_cap` and `workspace_cap` are
    the only permissions and workspaces that the credential may be used for; None: no cap. `expire_time` is in seconds
    since the epoch. `is_bootstrap`: it may make the first administrator, and nothing else. `is_invitation`: it may be
    exchanged for another token, and nothing else.
    """

    principal_id: str
    name: str
    credential: Credential
    credential_id: str
    groups: frozenset[str] = frozenset()
    permission_cap: frozenset[str] | None = None
    workspace_cap: frozenset[str] | None = None
    expire_time: float = math.inf
    is_bootstrap: bool = False
    is_invitation: bool = False


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, until when, and as part of which trace.

    `subject` is the name of a person or program, and `credential` says how it was proved. Without authentication it is
    NONE, `identity` is None, and the subject is what the client says of itself. When a service calls another one for a
    caller, these stay those of the caller; `is_service` says that the call itself came from a service. `permission` is
    what the rpc that is being answered needs. `trace_id` is 32 hexadecimal characters. `peer` is the address that the
    caller called from. `deadline` is a reading of `time.monotonic()`, or None for a call without one. `is_here` says
    whether the caller still waits. `judged` notes the permissions and places that a call was let in for; None: it does
    not. `grants` is what the caller may do, as it was known when the call came: so a call in a transaction asks nobody.
    """

    subject: str
    trace_id: str
    peer: str = ""
    deadline: float | None = None
    credential: Credential = Credential.NONE
    is_service: bool = False
    is_here: Callable[[], bool] = field(default=_always, compare=False, repr=False)
    identity: Identity | None = None
    permission: str = ""
    judged: list[tuple[str, Any]] | None = field(default=None, compare=False, repr=False)
    grants: Any = field(default=None, compare=False, repr=False)

    @property
    def holder(self) -> str:
        """Who holds what calls take at once: the principal; without authentication, the connection."""
        return self.peer if self.identity is None else self.identity.principal_id

    @property
    def key(self) -> str:
        """What tells this caller from others: its principal; without authentication, the name that it gives."""
        return self.subject if self.identity is None else self.identity.principal_id

    def time_left(self) -> float | None:
        """The seconds that are left, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


NOBODY = Caller(subject="modelry", trace_id="0" * 32, credential=Credential.SERVICE, is_service=True)
"""The caller when no call is being answered: the server itself, in its background jobs."""

_current: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current() -> Caller:
    """The caller of the call that is being answered."""
    return _current.get()


class using:  # a class, since each call enters it: a generator takes three times as long
    """Makes a caller the current one within a block."""

    __slots__ = ("_caller", "_token")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._token: Token[Caller] = _current.set(self._caller)

    def change(self, caller: Caller) -> None:
        """Makes another caller the current one, within the block and in later ones."""
        self._caller = caller
        _current.set(caller)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
