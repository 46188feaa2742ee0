"""IdentityService: contract in, contract out. Only services call it."""

from collections.abc import Iterable, Iterator

import grpc

from modelry.api.common import v1 as common
from modelry.internal.access import v1 as internal
from modelry_server.access.domain.changes import HEARTBEAT_S, Changes, Watch
from modelry_server.access.domain.identities import Identities
from modelry_server.access.domain.tokens import Tokens
from modelry_server.access.rpc.roles import place_message
from modelry_server.kernel.access import INSTALLATION, Access, Kind, Place
from modelry_server.kernel.authority import Changed, Grants
from modelry_server.kernel.caller import Identity
from modelry_server.kernel.errors import FieldInvalid, ModelryError
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.times import milliseconds

_LAST_S = 253_402_300_799  # the last second that a Timestamp can hold


class IdentityService(internal.IdentityServiceServicer):
    """Answers the questions of other services: whose a credential is, and what was changed."""

    def __init__(self, identities: Identities, changes: Changes, tokens: Tokens, access: Access) -> None:
        self._identities = identities
        self._changes = changes
        self._tokens = tokens
        self._access = access

    def GetIdentity(
        self, request: internal.GetIdentityRequest, context: grpc.ServicerContext
    ) -> internal.GetIdentityResponse:
        self._access.require(INSTALLATION, permission=Kind.SERVICE)
        match request.WhichOneof("credential"):
            case "bearer":
                known = self._identities.identity(request.bearer)
            case "certificate":
                given = request.certificate
                known = self._identities.certificate(
                    given.names, given.fingerprint, (milliseconds(given, "expire_time") or 0) / 1000
                )
            case "open_call":
                known = self._identities.of_open_call(request.open_call.token_id, request.open_call.issuer_token)
            case _:
                raise FieldInvalid({"bearer": "is required, or certificate or open_call"})
        return internal.GetIdentityResponse(
            identity=_identity(known.identity),
            grants=_grants(known.grants),
            groups=sorted(known.grants.groups),
        )

    def GetGrants(
        self, request: internal.GetGrantsRequest, context: grpc.ServicerContext
    ) -> internal.GetGrantsResponse:
        self._access.require(INSTALLATION, permission=Kind.SERVICE)
        with Fields() as fields:
            fields.id("principal_id", request.principal_id)
            fields.count("groups", request.groups)
        grants = self._identities.grants(request.principal_id, frozenset(request.groups))
        return internal.GetGrantsResponse(grants=_grants(grants), groups=sorted(grants.groups))

    def WatchChanges(
        self, request: internal.WatchChangesRequest, context: grpc.ServicerContext
    ) -> Iterator[internal.WatchChangesResponse]:
        self._access.require(INSTALLATION, permission=Kind.SERVICE)
        return _Watched(Watch(self._changes))

    def LogTokenUses(
        self, request: internal.LogTokenUsesRequest, context: grpc.ServicerContext
    ) -> internal.LogTokenUsesResponse:
        self._access.require(INSTALLATION, permission=Kind.SERVICE)
        with Fields() as fields:
            fields.count("token_ids", request.token_ids)
        self._tokens.note_uses(request.token_ids)
        return internal.LogTokenUsesResponse()


class _Watched(Iterator[internal.WatchChangesResponse]):
    """The messages of one stream: one for each change that is seen, and one each second without any."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def wait(self, timeout_s: float = HEARTBEAT_S) -> bool:
        """Waits for the next message, but not longer than so many seconds. Returns whether `next` has an answer now."""
        try:
            return self._watch.wait(timeout_s)
        except ModelryError:
            return True  # `next` raises it, too: it ends the stream

    def __next__(self) -> internal.WatchChangesResponse:
        revision, changes = self._watch.next()
        return internal.WatchChangesResponse(revision=revision, changes=map(_change, changes))


def _change(changed: Changed) -> internal.Change:
    if changed.principal_id:
        return internal.Change(principal_id=changed.principal_id)
    if changed.group:
        return internal.Change(group=changed.group)
    if changed.credential_id:
        return internal.Change(credential_id=changed.credential_id)
    return internal.Change(everything=True)


def _identity(identity: Identity) -> internal.Identity:
    caps = internal.Caps(
        any_permission=identity.permission_cap is None,
        permissions=sorted(identity.permission_cap or ()),
        any_workspace=identity.workspace_cap is None,
        workspaces=sorted(identity.workspace_cap or ()),
        bootstrap=identity.is_bootstrap,
        invitation=identity.is_invitation,
    )
    caps.expire_time.FromMilliseconds(round(min(identity.expire_time, _LAST_S) * 1000))
    return internal.Identity(
        principal_id=identity.principal_id,
        name=identity.name,
        credential_kind=common.CredentialKind.Value(f"CREDENTIAL_KIND_{identity.credential.name}"),
        credential_id=identity.credential_id,
        groups=sorted(identity.groups),
        caps=caps,
    )


def _grants(grants: Grants) -> Iterable[internal.Grants]:
    """Each set of permissions once, since few roles may be bound at many places."""
    found: list[tuple[Place, frozenset[str]]] = [(INSTALLATION, grants.everywhere)] if grants.everywhere else []
    found += [(Place(name), permissions) for name, permissions in grants.workspaces.items()]
    found += [(Place(where, experiment_id=key), those) for (where, key), those in grants.experiments.items()]
    found += [(Place(where, model_id=key), those) for (where, key), those in grants.models.items()]
    places: dict[frozenset[str], list[Place]] = {}
    for place, permissions in found:
        places.setdefault(permissions, []).append(place)
    for permissions, those in places.items():
        yield internal.Grants(permissions=sorted(permissions), places=map(place_message, those))
