"""Who may do what, as a test writes it down: what an authority asks in place of the service access."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable

from modelry_server.kernel.authority import Authority, Changed, Grants, Known
from modelry_server.kernel.caller import Credential, Identity
from modelry_server.kernel.errors import CredentialInvalid, ServiceUnavailable

EVERYTHING = ("runs.read", "runs.write", "files.read", "files.write")


class Book:
    """Knows tokens by their texts, and the grants of their principals. `is_away`: it does not answer."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self.is_away = False
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def write(
        self,
        bearer: str,
        name: str,
        *,
        permissions: Iterable[str] = EVERYTHING,
        cap: Iterable[str] | None = None,
        workspace: str = "",
        expire_time: float = math.inf,
        is_bootstrap: bool = False,
        is_invitation: bool = False,
    ) -> Identity:
        """Writes down a token of a principal, and what it may do: everywhere, or in a workspace."""
        identity = Identity(
            f"{name}-id",
            name,
            Credential.API_TOKEN,
            f"id of {bearer}",
            permission_cap=None if cap is None else frozenset(cap),
            expire_time=expire_time,
            is_bootstrap=is_bootstrap,
            is_invitation=is_invitation,
        )
        given = frozenset(permissions)
        grants = Grants(workspaces={workspace: given}) if workspace else Grants(everywhere=given)
        self.known[bearer] = Known(identity, grants)
        return identity

    def identity(self, bearer: str) -> Known:
        """Whose token it is."""
        self._answer(bearer)
        known = self.known.get(bearer)
        if known is None or known.identity.expire_time <= time.time():
            raise CredentialInvalid
        return known

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Whose token it is that has begun a call. It may have ended since."""
        self._answer(token_id)
        for known in self.known.values():
            if known.identity.credential_id == token_id:
                return known
        raise CredentialInvalid

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Whose certificate it is: of who has one of its names as a token."""
        return self.identity(next((name for name in names if name in self.known), fingerprint))

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do."""
        self._answer(principal_id)
        for known in self.known.values():
            if known.identity.principal_id == principal_id:
                return known.grants
        raise CredentialInvalid

    def _answer(self, about: str) -> None:
        with self._lock:
            self.asked.append(about)
        if self.is_away:
            raise ServiceUnavailable("access", "127.0.0.1:1")


def authority_of(book: Book, **options: float) -> Authority:
    """An authority that has just heard of access."""
    authority = Authority(book, **options)  # type: ignore[arg-type]
    authority.heard([Changed()])
    return authority
