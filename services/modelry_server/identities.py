"""Access, as the other services of a process ask it: who callers are, what they may do, and what of that has changed.

A process asks at the internal listener of access, also if it runs access itself.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from modelry.api.common import v1 as common
from modelry.internal.access import v1 as api
from modelry_server.kernel import caller
from modelry_server.kernel.authority import FRESH_S, Authority, Changed, Grants, Known
from modelry_server.kernel.caller import Credential, Identity
from modelry_server.kernel.errors import (
    CredentialInvalid,
    DeadlinePassed,
    ModelryError,
    ServiceUnavailable,
    Unavailable,
)
from modelry_server.kernel.jobs import Job
from modelry_server.kernel.requests.unknown import unknown_fields
from modelry_server.kernel.transport.channel import Neighbour, Watched
from modelry_server.kernel.transport.server import Callers

_AGAIN_S = 0.25  # before the stream of changes is opened again
_LOOK_S = 1.0
_USES_S = 30.0
_MOST_USES = 1000
_CREDENTIALS = {
    common.CREDENTIAL_KIND_API_TOKEN: Credential.API_TOKEN,
    common.CREDENTIAL_KIND_OIDC_TOKEN: Credential.OIDC_TOKEN,
    common.CREDENTIAL_KIND_CLIENT_CERTIFICATE: Credential.CLIENT_CERTIFICATE,
}


def identified(neighbour: Neighbour) -> Callers:
    """How a process knows its callers: by what access says, at the neighbour."""
    identities = Identities(neighbour)
    authority = Authority(identities)
    return Callers(authority, Watcher(authority, identities).jobs(), neighbour.close)


class Identities:
    """Asks access about callers, see `kernel.authority.Source`."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(api.IdentityServiceStub)

    def identity(self, bearer: str) -> Known:
        """Whose token it is. Raises CREDENTIAL_INVALID, Unavailable."""
        return self._known(api.GetIdentityRequest(bearer=bearer))

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Whose credential it is that has begun a call. Raises CREDENTIAL_INVALID, Unavailable."""
        credential = api.OpenCallCredential()
        if token_id:
            credential.token_id = token_id
        else:
            credential.issuer_token = issuer_token
        return self._known(api.GetIdentityRequest(open_call=credential))

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Whose client certificate it is. Raises CREDENTIAL_INVALID, ServiceUnavailable."""
        certificate = api.ClientCertificate(names=names, fingerprint=fingerprint)
        certificate.expire_time.FromMilliseconds(int(expire_time * 1000))
        return self._known(api.GetIdentityRequest(certificate=certificate))

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What a principal may do. Raises CREDENTIAL_INVALID, ServiceUnavailable."""
        request = api.GetGrantsRequest(principal_id=principal_id, groups=sorted(groups))
        answer = self._asked(self._stub.GetGrants, request)
        return _grants(answer.grants, answer.groups)

    def watch(self) -> Watched:
        """Opens the stream of changes: of `WatchChangesResponse`."""
        return self._neighbour.watch(self._stub.WatchChanges, api.WatchChangesRequest())

    def log_uses(self, token_ids: Iterable[str]) -> None:
        """Tells access which tokens were used."""
        self._neighbour.call(self._stub.LogTokenUses, api.LogTokenUsesRequest(token_ids=token_ids))

    def _known(self, request: api.GetIdentityRequest) -> Known:
        answer = self._asked(self._stub.GetIdentity, request)
        try:
            return Known(_identity(answer.identity), _grants(answer.grants, answer.groups))
        except _LaterRelease as error:
            raise ServiceUnavailable(self._neighbour.name, self._neighbour.address, str(error)) from error

    def _asked(self, method: Any, request: Message) -> Any:
        """Asks as this service itself: access would have to ask what a caller may do before it answers that."""
        present = caller.current()
        itself = replace(caller.NOBODY, deadline=present.deadline, trace_id=present.trace_id, peer=present.peer)
        try:
            with caller.using(itself):
                return self._neighbour.call(method, request)
        except ModelryError as error:
            if error.reason == CredentialInvalid.reason:
                raise CredentialInvalid(error.message) from None
            if isinstance(error, (Unavailable, DeadlinePassed)):
                raise
            # Whatever else access says is no fault of the call, which may come again: the client keeps it until then.
            raise ServiceUnavailable(self._neighbour.name, self._neighbour.address, error.reason) from error


class _LaterRelease(Exception):
    """Access is of a later release, and limits a credential in a way that is not known here. The text says how."""


class Watcher:
    """Keeps an authority up to date by the stream of changes, and tells access which tokens are used."""

    def __init__(self, authority: Authority, identities: Identities) -> None:
        self._authority = authority
        self._identities = identities
        self._open: Watched | None = None
        self._since = 0.0
        self._is_over = False

    def jobs(self) -> list[Job]:
        """The background jobs."""
        return [
            Job("watch-access", _AGAIN_S, self._watch, self._end),
            Job("look-at-access", _LOOK_S, self._look),
            Job("log-token-uses", _USES_S, self._log_uses),
        ]

    def _watch(self) -> None:
        """Reads the stream until it ends. What was changed between two streams is not known, so all is forgotten."""
        self._since = time.monotonic()
        self._open = stream = self._identities.watch()
        try:
            if self._is_over:
                return
            is_first = True
            for message in stream:
                changes = [Changed(each.principal_id, each.group, each.credential_id) for each in message.changes]
                self._authority.heard([Changed()] if is_first else changes)
                is_first = False
        except ModelryError:
            if not self._is_over:
                raise
        finally:
            self._open = None
            stream.cancel()

    def _look(self) -> None:
        """Ends a stream that is silent, such as one to a machine that is gone: the next one may reach another."""
        stream = self._open
        if stream and not self._authority.is_fresh() and time.monotonic() - self._since > FRESH_S:
            stream.cancel()

    def _end(self) -> None:
        self._is_over = True
        if stream := self._open:
            stream.cancel()

    def _log_uses(self) -> None:
        used = sorted(self._authority.uses())
        for begin in range(0, len(used), _MOST_USES):
            self._identities.log_uses(used[begin : begin + _MOST_USES])


def _identity(given: api.Identity) -> Identity:
    """The identity that access tells of. Raises _LaterRelease if it may be limited in a way that is unknown here."""
    caps = given.caps
    if unknown := [*unknown_fields(caps)]:
        raise _LaterRelease(f"it is of a later release, and limits the credential by Caps.{', Caps.'.join(unknown)}")
    if given.credential_kind not in _CREDENTIALS:
        raise _LaterRelease(f"it is of a later release, and the credential is of the kind {given.credential_kind}")
    return Identity(
        given.principal_id,
        given.name,
        _CREDENTIALS[given.credential_kind],
        given.credential_id,
        frozenset(given.groups),
        None if caps.any_permission else frozenset(caps.permissions),
        None if caps.any_workspace else frozenset(caps.workspaces),
        caps.expire_time.ToMilliseconds() / 1000,
        caps.bootstrap,
        caps.invitation,
    )


def _grants(given: Iterable[api.Grants], groups: Iterable[str]) -> Grants:
    everywhere: frozenset[str] = frozenset()
    workspaces: dict[str, frozenset[str]] = {}
    experiments: dict[tuple[str, str], frozenset[str]] = {}
    models: dict[tuple[str, str], frozenset[str]] = {}
    for permissions, place in ((frozenset(each.permissions), place) for each in given for place in each.places):
        if len(UnknownFieldSet(place)):
            continue  # a part of a later release: taken for what is around it, it would give too much
        if place.experiment_id:
            experiments[place.workspace, place.experiment_id] = permissions
        elif place.model_id:
            models[place.workspace, place.model_id] = permissions
        elif place.workspace:
            workspaces[place.workspace] = permissions
        elif place.everywhere:
            everywhere = permissions
    return Grants(everywhere, workspaces, experiments, models, frozenset(groups))
