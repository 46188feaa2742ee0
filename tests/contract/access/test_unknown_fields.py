"""A field of a later release may limit what is given, so nothing is given by a request with one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from modelry.api.access import v1 as api
from tests.architecture.tree import rpcs
from tests.contract.access.conftest import UNKNOWN, World

RPCS = {rpc.split(".")[-1]: method for rpc, method in rpcs() if rpc.startswith("/modelry.api.access.v1.")}

GIVES = {
    "WorkspaceService/CreateWorkspace",
    "WorkspaceService/UpdateWorkspace",
    "PrincipalService/CreatePrincipal",
    "PrincipalService/UpdatePrincipal",
    "GroupService/CreateGroup",
    "GroupService/UpdateGroup",
    "GroupService/AddGroupMembers",
    "RoleService/CreateRole",
    "RoleService/UpdateRole",
    "RoleService/CreateRoleBinding",
    "TokenService/CreateToken",
    "TokenService/RotateToken",
}
BY_BOOTSTRAP = {"PrincipalService/CreateAdministrator"}
"""It gives, too. It is in the tests of principals, since the bootstrap token is used once."""
TAKES_AWAY = {
    "GroupService/DeleteGroup",
    "GroupService/RemoveGroupMembers",
    "RoleService/DeleteRole",
    "RoleService/DeleteRoleBinding",
    "TokenService/RevokeToken",
    "TokenService/RevokeTokens",
}
READS = {
    "WorkspaceService/GetWorkspace",
    "WorkspaceService/ListWorkspaces",
    "PrincipalService/WhoAmI",
    "PrincipalService/GetPrincipal",
    "PrincipalService/ListPrincipals",
    "GroupService/GetGroup",
    "GroupService/ListGroups",
    "GroupService/ListGroupMembers",
    "RoleService/GetRole",
    "RoleService/GetRoleBinding",
    "RoleService/ListRoles",
    "RoleService/ListRoleBindings",
    "TokenService/GetToken",
    "TokenService/ListTokens",
    "AuditService/ListAuditRecords",
}


def of_later_release(kind: Descriptor) -> Iterator[tuple[str, Any]]:
    """Messages of a kind that have one field more: the message itself, or one that it holds; with the path of it."""
    yield "500", GetMessageClass(kind).FromString(UNKNOWN)
    for field in kind.fields:
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for path, inner in of_later_release(field.message_type):
            made = GetMessageClass(kind)()
            if field.is_repeated:
                getattr(made, field.name).append(inner)
                yield f"{field.name}[0].{path}", made
            else:
                getattr(made, field.name).CopyFrom(inner)
                yield f"{field.name}.{path}", made


def test_each_rpc_of_access_is_known_to_give_or_not() -> None:
    assert RPCS.keys() == GIVES | BY_BOOTSTRAP | TAKES_AWAY | READS


@pytest.mark.parametrize("rpc", sorted(GIVES))
def test_nothing_is_given_by_a_request_with_a_field_that_the_server_does_not_know(world: World, rpc: str) -> None:
    me = world.locked.somebody("admin")
    for path, request in of_later_release(RPCS[rpc].input_type):
        refusal = world.refused(request, me)

        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert list(refusal.violations) == [path]
        assert "older release" in refusal.violations[path]


@pytest.mark.parametrize("rpc", sorted(TAKES_AWAY | READS))
def test_what_only_reads_or_takes_away_works_from_a_client_of_a_later_release(world: World, rpc: str) -> None:
    request = GetMessageClass(RPCS[rpc].input_type).FromString(UNKNOWN)

    refusal = world.refusal(request, world.locked.somebody("admin"))

    assert refusal is None or "500" not in refusal.violations


def test_a_token_with_a_cap_of_a_later_release_is_not_made(world: World) -> None:
    me = world.locked.somebody()
    wanted = api.CreateTokenRequest(principal_id=me.principal_id, role_cap="reader")

    world.refused(api.CreateTokenRequest.FromString(wanted.SerializeToString() + UNKNOWN))

    assert [each.token_id for each in world.ask(api.ListTokensRequest(principal_id=me.principal_id)).tokens] == [
        me.token_id
    ]


def test_a_token_is_revoked_from_a_client_of_a_later_release(world: World) -> None:
    me = world.locked.somebody()
    wanted = api.RevokeTokenRequest(token_id=me.token_id)

    revoked = world.ask(api.RevokeTokenRequest.FromString(wanted.SerializeToString() + UNKNOWN)).token

    assert revoked.HasField("revoke_time")
