"""What access tells other services of callers: whose a credential is, what they may do, and what has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry.api.common import v1 as common
from modelry.internal.access import v1 as internal
from modelry_server.kernel.ids import new_id
from modelry_server.permissions import ROLES
from tests.contract.access.conftest import World, in_seconds, unique
from tests.parts.locked import NOBODY
from tests.parts.refusal import Refusal, refused
from tests.parts.vouched import vouched

READER = sorted(ROLES["reader"])


class Service:
    """Another service, which asks access."""

    def __init__(self, world: World) -> None:
        deployment = world.locked.deployment
        self.stub = internal.IdentityServiceStub(deployment.internal_channel("access"))
        self.metadata = vouched(deployment.service_key, "access", knows_callers=True)

    def identity(self, **credential: Any) -> internal.GetIdentityResponse:
        """Whose a credential is."""
        return self.stub.GetIdentity(internal.GetIdentityRequest(**credential), metadata=self.metadata)

    def grants(self, principal_id: str, *groups: str) -> internal.GetGrantsResponse:
        """What somebody may do."""
        request = internal.GetGrantsRequest(principal_id=principal_id, groups=groups)
        return self.stub.GetGrants(request, metadata=self.metadata)

    def refused(self, method: Callable[..., Any], request: Any) -> Refusal:
        """Why a request is refused."""
        return refused(method, request, metadata=self.metadata)

    @contextmanager
    def watching(self) -> Iterator[Iterator[internal.WatchChangesResponse]]:
        """The stream of changes."""
        stream = self.stub.WatchChanges(internal.WatchChangesRequest(), metadata=self.metadata, timeout=30)
        try:
            yield iter(stream)
        finally:
            stream.cancel()


@pytest.fixture
def service(world: World) -> Service:
    """Another service."""
    return Service(world)


def told(stream: Iterator[internal.WatchChangesResponse], wanted: internal.Change) -> int:
    """The revision at which a change is told."""
    return next(message.revision for message in stream if wanted in message.changes)


def test_whose_a_token_is_and_what_they_may_do(world: World, service: Service) -> None:
    here = world.locked.workspace()
    group = world.group()
    me = world.locked.somebody("reader", api.Place(workspace=here), role_cap="writer", workspaces=[here])
    world.ask(api.AddGroupMembersRequest(name=group, members=[api.GroupMember(principal_id=me.principal_id)]))
    places = [api.Place(workspace=here), *(api.Place(workspace="default", experiment_id=each) for each in ("7", "8"))]
    for place in (api.Place(workspace=here, experiment_id="7"), *places[1:]):  # the first one adds nothing
        world.bind_group(group, "reader", place)

    found = service.identity(bearer=me.secret)

    said = found.identity
    assert (said.principal_id, said.name, said.credential_id) == (me.principal_id, me.name, me.token_id)
    assert said.credential_kind == common.CREDENTIAL_KIND_API_TOKEN
    assert (said.caps.any_permission, list(said.caps.permissions)) == (False, sorted(ROLES["writer"]))
    assert (said.caps.any_workspace, list(said.caps.workspaces)) == (False, [here])
    assert not said.caps.bootstrap
    assert said.caps.expire_time.ToMilliseconds() > time.time() * 1000
    assert list(found.groups) == [group]
    [grants] = found.grants
    assert (list(grants.permissions), list(grants.places)) == (READER, places)


@pytest.mark.parametrize(
    "change",
    [lambda text: "", lambda text: text[:-1], lambda text: f"{text}x", lambda text: text * 2, str.swapcase],
    ids=["empty", "cut", "longer", "doubled", "other case"],
)
def test_what_is_no_token_is_refused_and_not_repeated(
    world: World, service: Service, change: Callable[[str], str]
) -> None:
    me = world.locked.somebody()

    refusal = service.refused(service.stub.GetIdentity, internal.GetIdentityRequest(bearer=change(me.secret)))

    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
    assert me.secret[6:20] not in str(refusal)


def test_whose_a_certificate_is(world: World, service: Service) -> None:
    uri = unique("spiffe://cluster.local/trainer")
    made = world.principal(issuer="certificate", external_id=uri)
    end = in_seconds(3600)

    certificate = internal.ClientCertificate(names=["other", uri], fingerprint="ab" * 32, expire_time=end)
    found = service.identity(certificate=certificate).identity

    assert (found.principal_id, found.credential_id) == (made.principal_id, "ab" * 32)
    assert found.credential_kind == common.CREDENTIAL_KIND_CLIENT_CERTIFICATE
    over = internal.ClientCertificate(names=[uri], fingerprint="ab" * 32, expire_time=in_seconds(-1))
    other = internal.ClientCertificate(names=[unique("x")], fingerprint="ab" * 32, expire_time=end)
    for each in (over, other):
        refusal = service.refused(service.stub.GetIdentity, internal.GetIdentityRequest(certificate=each))
        assert refusal.reason == "CREDENTIAL_INVALID"


def test_a_question_about_nothing_is_refused(service: Service) -> None:
    assert list(service.refused(service.stub.GetIdentity, internal.GetIdentityRequest()).violations) == ["bearer"]
    bad = internal.GetGrantsRequest(principal_id="x", groups=["g"] * 1001)
    assert list(service.refused(service.stub.GetGrants, bad).violations) == ["principal_id", "groups"]
    many = internal.LogTokenUsesRequest(token_ids=["x"] * 1001)
    assert list(service.refused(service.stub.LogTokenUses, many).violations) == ["token_ids"]


def test_groups_that_a_credential_says_give_what_is_bound_to_them(world: World, service: Service) -> None:
    here, me = world.locked.workspace(), world.principal().principal_id
    outer = world.group(groups=[inner := world.group()])
    world.bind_group(outer, "reader", api.Place(workspace=here))

    found = service.grants(me, inner, "a group that nobody made")

    assert list(found.groups) == sorted([inner, outer, "a group that nobody made"])
    [grants] = found.grants
    assert (list(grants.permissions), list(grants.places)) == (READER, [api.Place(workspace=here)])
    assert list(service.grants(me).grants) == []


def test_who_is_unknown_or_disabled_has_no_grants(world: World, service: Service) -> None:
    world.locked.disable(gone := world.locked.somebody("admin"))

    for principal_id in (new_id(), gone.principal_id):
        refusal = service.refused(service.stub.GetGrants, internal.GetGrantsRequest(principal_id=principal_id))
        assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")


def test_each_change_is_told_to_who_watches(world: World, service: Service) -> None:
    me, name = world.locked.somebody(), world.role("runs.read")
    with service.watching() as stream:
        first = next(stream)
        binding = world.locked.bind(me.principal_id, name, api.Place(workspace=world.locked.workspace()))
        bound = told(stream, internal.Change(principal_id=me.principal_id))
        world.ask(api.DeleteRoleBindingRequest(binding_id=binding))
        removed = told(stream, internal.Change(principal_id=me.principal_id))
        world.locked.revoke(me)
        revoked = told(stream, internal.Change(credential_id=me.token_id))
        group = world.group(me.principal_id)
        told(stream, internal.Change(principal_id=me.principal_id))
        world.ask(api.DeleteGroupRequest(name=group))
        told(stream, internal.Change(group=group))
        world.ask(api.UpdateRoleRequest(role=api.Role(name=name, permissions=["runs.write"])))
        everything = told(stream, internal.Change(everything=True))

    assert list(first.changes) == []
    assert first.revision < bound < removed < revoked < everything


def test_who_watches_hears_something_each_second(service: Service) -> None:
    with service.watching() as stream:
        next(stream)
        began = time.monotonic()
        next(stream)
        next(stream)

    assert time.monotonic() - began < 5


def test_only_services_ask(world: World) -> None:
    stub = internal.IdentityServiceStub(world.locked.deployment.internal_channel("access"))
    request = internal.GetGrantsRequest(principal_id=world.admin.principal_id)

    for metadata in (NOBODY, world.admin.metadata, vouched("another-key-of-thirty-two-characters", "access")):
        assert refused(stub.GetGrants, request, metadata=metadata).code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    outside = internal.IdentityServiceStub(world.locked.deployment.channel("access"))
    assert refused(outside.GetGrants, request, metadata=world.admin.metadata).code == "UNIMPLEMENTED"
