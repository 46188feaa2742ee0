"""Who callers are and what they may do, in memory, so that asking costs a hot path nothing.

A process has one `Authority`. What access says of a credential and of a principal is kept, and forgotten when access
says that it was changed. While access has been silent for longer than `FRESH_S`, nothing kept is believed: each call
asks access, and is refused if access does not answer.

What was asked before a change and arrives after it must not be kept. So an answer is kept only if no change was heard
of while it was asked for.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from modelry_server.kernel.access import ALL, Kind, Place, Within
from modelry_server.kernel.caller import Caller, Credential, Identity
from modelry_server.kernel.errors import CredentialInvalid

FRESH_S = 5.0
"""How long what is kept is believed after the last word of access, in seconds."""
MOST_KEPT = 20_000
"""How many credentials are kept, and of how many principals the grants: the ones that came last."""

_UNKNOWN_S = 1.0  # how long a refusal is remembered: a token may have been made on another replica a moment ago
_MOST_UNKNOWN = 10_000
_NOTHING: frozenset[str] = frozenset()
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Grants:
    """What a principal may do, by place. `groups` are all groups by which it got that.

    `experiments` and `models` have a workspace and an id as their keys: they hold only in that workspace.
    """

    everywhere: frozenset[str] = _NOTHING
    workspaces: Mapping[str, frozenset[str]] = field(default_factory=dict)
    experiments: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    models: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    groups: frozenset[str] = _NOTHING

    def at(self, place: Place) -> Iterable[frozenset[str]]:
        """The permissions of each role that covers a place."""
        if self.everywhere:
            yield self.everywhere
        if place.workspace in self.workspaces:
            yield self.workspaces[place.workspace]
        if found := self.experiments.get((place.workspace, place.experiment_id)):
            yield found
        if found := self.models.get((place.workspace, place.model_id)):
            yield found

    def parts(self) -> Iterable[tuple[str, frozenset[str]]]:
        """The workspace and the permissions of each role that covers only a part of a workspace."""
        for parts in (self.experiments, self.models):
            for (workspace, _), permissions in parts.items():
                yield workspace, permissions


@dataclass(frozen=True, slots=True)
class Known:
    """What access says of a credential."""

    identity: Identity
    grants: Grants


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed in access: a principal, a group, a credential, or, if all are empty, anything."""

    principal_id: str = ""
    group: str = ""
    credential_id: str = ""


class Source(Protocol):
    """Access, as the authority asks it."""

    def identity(self, bearer: str) -> Known:
        """Whose credential it is. Raises CredentialInvalid, ServiceUnavailable."""

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Whose credential it is that has begun a call, also if it has ended by itself since, or has another text.

        It is the API token with this id, or this token of an issuer. Raises CredentialInvalid, ServiceUnavailable.
        """

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Whose certificate it is. Raises CredentialInvalid, ServiceUnavailable."""

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do. Raises CredentialInvalid if it is unknown or disabled, ServiceUnavailable."""


class _Kept(Generic[_Key, _Value]):
    """What came last, up to a number. Reading is safe from any thread; changes need the lock of the owner."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)

    def drop(self, unwanted: Callable[[_Key, _Value], bool]) -> None:
        for key in [key for key, value in self._values.items() if unwanted(key, value)]:
            del self._values[key]

    def clear(self) -> None:
        self._values.clear()


class Authority:
    """Knows callers and judges them, see `kernel.access.Judge`. `asked` is access."""

    def __init__(self, asked: Source, *, fresh_s: float = FRESH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked = asked
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = threading.Lock()
        self._heard = -fresh_s - 1.0
        self._fresh_since = self._heard
        self.changes = 0
        """How many times something was forgotten: an answer is kept only if that is as it was when it was asked for."""
        self._credentials: _Kept[bytes, Known] = _Kept(MOST_KEPT)
        self._grants: _Kept[tuple[str, frozenset[str]], Grants] = _Kept(MOST_KEPT)
        self._unknown: _Kept[bytes, float] = _Kept(_MOST_UNKNOWN)
        self._accepted: _Kept[bytes, bool] = _Kept(MOST_KEPT)  # lately, also those that must be asked about again
        self._used: set[str] = set()

    def heard(self, changes: Iterable[Changed] = ()) -> None:
        """Notes a word of access, and forgets what it says was changed."""
        changes = list(changes)
        with self._lock:
            if changes:
                self._forget(changes)
                self.changes += 1
                self._unknown.clear()
            now = self._clock()
            if now - self._heard > self._fresh_s:
                self._fresh_since = now
            self._heard = now

    def is_fresh(self) -> bool:
        """Whether what is kept is believed."""
        return self._clock() - self._heard <= self._fresh_s

    def known_for_s(self) -> float:
        """For how many seconds what is kept has been believed without a break."""
        return self._clock() - self._fresh_since if self.is_fresh() else 0.0

    def identify(self, bearer: str) -> Known:
        """Whose credential it is, and what that principal may do. Raises CredentialInvalid, ServiceUnavailable."""
        return self._identified(_key_of("bearer", bearer), lambda: self._asked.identity(bearer))

    def identify_again(self, identity: Identity, bearer: str) -> Known:
        """As `identify`, for a call that the credential of an identity has begun: it may have ended by itself since."""
        is_token = identity.credential is Credential.API_TOKEN
        asked = (identity.credential_id, "") if is_token else ("", bearer)
        key = _key_of("open", identity.credential_id)
        return self._identified(key, lambda: self._asked.of_open_call(*asked), is_open_call=True)

    def identify_certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Whose client certificate it is, which TLS has verified, and what that principal may do.

        Raises CredentialInvalid, ServiceUnavailable.
        """
        key = _key_of("certificate", fingerprint)
        return self._identified(key, lambda: self._asked.certificate(names, fingerprint, expire_time))

    def has_judged(self, bearer: str) -> bool:
        """Whether the credential was accepted lately, or refused a moment ago. So it is no new guess."""
        key = _key_of("bearer", bearer)
        refused = self._unknown.get(key)
        return self._accepted.get(key) is not None or (refused is not None and self._clock() - refused < _UNKNOWN_S)

    def uses(self) -> set[str]:
        """The ids of the credentials that were used since the last time."""
        with self._lock:
            used, self._used = self._used, set()
        return used.copy()  # a call that has just been recognised may still add to the set that it had

    def _identified(self, key: bytes, ask: Callable[[], Known], *, is_open_call: bool = False) -> Known:
        known = self._credentials.get(key)
        if known is not None and self.is_fresh():
            if known.identity.expire_time <= time.time() and not is_open_call:
                raise CredentialInvalid
            if known.identity.credential_id not in self._used:
                self._used.add(known.identity.credential_id)
            return known
        refused = self._unknown.get(key)
        if refused is not None and self._clock() - refused < _UNKNOWN_S and self.is_fresh():
            raise CredentialInvalid
        before = self.changes
        try:
            known = ask()
        except CredentialInvalid:
            with self._lock:
                if self.changes == before:
                    self._unknown.put(key, self._clock())
            raise
        with self._lock:
            self._used.add(known.identity.credential_id)
            self._accepted.put(key, True)
            if self.changes == before:
                self._credentials.put(key, known)
                self._grants.put(_who(known.identity), known.grants)
        return known

    def grants_of(self, identity: Identity) -> Grants:
        """What the principal of an identity may do. Raises CredentialInvalid, ServiceUnavailable."""
        key = _who(identity)
        grants = self._grants.get(key)
        if grants is not None and self.is_fresh():
            return grants
        before = self.changes
        grants = self._asked.grants(identity.principal_id, identity.groups)
        with self._lock:
            if self.changes == before:
                self._grants.put(key, grants)
        return grants

    def _grants_at(self, caller: Caller, identity: Identity) -> Grants:
        """What a caller may do, as it was known when the call came, if that is noted."""
        grants: Grants | None = caller.grants
        return self.grants_of(identity) if grants is None else grants

    def may(self, caller: Caller, permission: str, place: Place) -> bool:
        """Whether a caller has a permission at a place. Raises ServiceUnavailable."""
        identity = caller.identity
        if permission == Kind.SERVICE:
            return caller.is_service
        if identity is None:
            return _is_server(caller)
        return _is_in_cap(identity, permission, place) and any(
            permission in permissions for permissions in self._grants_at(caller, identity).at(place)
        )

    def sees(self, caller: Caller, place: Place) -> bool:
        """Whether a caller has any role at a place. In a workspace, also one at a part of it."""
        identity = caller.identity
        if identity is None:
            return _is_server(caller)
        if identity.workspace_cap is not None and place.workspace not in identity.workspace_cap:
            return False
        grants = self._grants_at(caller, identity)
        if any(grants.at(place)):
            return True
        is_whole = not place.experiment_id and not place.model_id
        return is_whole and any(workspace == place.workspace for workspace, _ in grants.parts())

    def within(self, caller: Caller, permission: str, workspace: str) -> Within:
        """Where in a workspace the caller has a permission."""
        identity = caller.identity
        if self.may(caller, permission, Place(workspace)):
            return ALL
        if identity is None or not _is_in_cap(identity, permission, Place(workspace)):
            return Within(is_all=False)
        grants = self._grants_at(caller, identity)

        def ids(parts: Mapping[tuple[str, str], frozenset[str]]) -> frozenset[str]:
            return frozenset(key for (where, key), those in parts.items() if where == workspace and permission in those)

        return Within(False, ids(grants.experiments), ids(grants.models))

    def workspaces(self, caller: Caller) -> frozenset[str] | None:
        """The workspaces that a caller sees; None: all."""
        identity = caller.identity
        if identity is None:
            return None if _is_server(caller) else _NOTHING
        grants, cap = self._grants_at(caller, identity), identity.workspace_cap
        if grants.everywhere:
            return cap
        seen = frozenset([*grants.workspaces, *(workspace for workspace, _ in grants.parts())])
        return seen if cap is None else seen & cap

    def anywhere(self, caller: Caller, permission: str) -> bool:
        """Whether a caller has a permission at any place."""
        identity = caller.identity
        if identity is None:
            return _is_server(caller)
        if identity.permission_cap is not None and permission not in identity.permission_cap:
            return False
        grants = self._grants_at(caller, identity)
        return permission in grants.everywhere or any(
            permission in permissions
            for where, permissions in (*grants.workspaces.items(), *grants.parts())
            if identity.workspace_cap is None or where in identity.workspace_cap
        )

    def _forget(self, changes: Sequence[Changed]) -> None:
        """Forgets what changes are about, in one go. A change of a principal may end its credentials, too."""
        if Changed() in changes:
            self._credentials.clear()
            self._grants.clear()
            return
        principals = {each.principal_id for each in changes}
        credentials = {each.credential_id for each in changes}
        groups = {each.group for each in changes} - {""}

        def is_changed(principal_id: str, grants: Grants) -> bool:
            return principal_id in principals or not groups.isdisjoint(grants.groups)

        self._credentials.drop(
            lambda _, known: (
                known.identity.credential_id in credentials or is_changed(known.identity.principal_id, known.grants)
            )
        )
        self._grants.drop(lambda key, grants: is_changed(key[0], grants))


def _key_of(kind: str, proof: str) -> bytes:
    """What a credential is kept by: whatever its text is, it is none of another kind."""
    return hashlib.sha256(f"{kind} {proof}".encode()).digest()


def _who(identity: Identity) -> tuple[str, frozenset[str]]:
    return identity.principal_id, identity.groups


def _is_server(caller: Caller) -> bool:
    """Whether the server itself acts, such as in a background job."""
    return caller.is_service and caller.credential is Credential.SERVICE


def _is_in_cap(identity: Identity, permission: str, place: Place) -> bool:
    """Whether the caps of a credential allow this."""
    if identity.permission_cap is not None and permission not in identity.permission_cap:
        return False
    return identity.workspace_cap is None or place.workspace in identity.workspace_cap
