"""Every rpc of every contract, and everybody who may call it: who is answered, who is refused, and how.

The table says it in other words than `permissions.py` does. An rpc without a row fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from tests.architecture.tree import rpcs
from tests.parts.eventually import eventually
from tests.parts.locked import NOBODY, Locked, Metadata, bearing, locked
from tests.parts.refusal import Refusal, unpacked
from tests.server.every_rpc import BUILD, Things, make

RPCS = dict(rpcs())
ROLES = ("reader", "writer", "approver", "admin")

# Who in the workspace is answered. Others of the workspace get PERMISSION_DENIED, those of another one NOT_FOUND.
READERS = frozenset({"reader", "writer", "approver", "admin"})
WRITERS = frozenset({"writer", "admin"})
DECIDERS = frozenset({"writer", "approver", "admin"})
ADMINS = frozenset({"admin"})

INSIDE: Mapping[str, frozenset[str]] = {
    "access.v1.WorkspaceService/GetWorkspace": READERS,
    "access.v1.WorkspaceService/UpdateWorkspace": ADMINS,
    "access.v1.RoleService/CreateRoleBinding": ADMINS,
    "access.v1.RoleService/ListRoleBindings": ADMINS,
    "tracking.v1.ExperimentService/CreateExperiment": WRITERS,
    "tracking.v1.ExperimentService/GetExperiment": READERS,
    "tracking.v1.ExperimentService/GetExperimentByName": READERS,
    "tracking.v1.ExperimentService/UpdateExperiment": WRITERS,
    "tracking.v1.ExperimentService/DeleteExperiment": WRITERS,
    "tracking.v1.ExperimentService/RestoreExperiment": WRITERS,
    "tracking.v1.ExperimentService/SearchExperiments": READERS,
    "tracking.v1.ExperimentService/SetExperimentTags": WRITERS,
    "tracking.v1.ExperimentService/DeleteExperimentTags": WRITERS,
    "tracking.v1.RunService/CreateRun": WRITERS,
    "tracking.v1.RunService/GetRun": READERS,
    "tracking.v1.RunService/UpdateRun": WRITERS,
    "tracking.v1.RunService/FinishRun": WRITERS,
    "tracking.v1.RunService/DeleteRun": WRITERS,
    "tracking.v1.RunService/RestoreRun": WRITERS,
    "tracking.v1.RunService/SearchRuns": READERS,
    "tracking.v1.RunService/LogBatch": WRITERS,
    "tracking.v1.RunService/SetRunTags": WRITERS,
    "tracking.v1.RunService/DeleteRunTags": WRITERS,
    "tracking.v1.MetricService/WriteMetrics": WRITERS,
    "tracking.v1.MetricService/ReadMetrics": READERS,
    "tracking.v1.DatasetService/LogDatasets": WRITERS,
    "tracking.v1.DatasetService/GetDataset": READERS,
    "tracking.v1.DatasetService/SearchDatasets": READERS,
    "tracking.v1.UsageService/GetUsage": READERS,
    "artifacts.v1.ArtifactService/WriteArtifacts": WRITERS,
    "artifacts.v1.ArtifactService/ReadArtifacts": READERS,
    "artifacts.v1.ArtifactService/ListArtifacts": READERS,
    "artifacts.v1.ArtifactService/GetArtifact": READERS,
    "artifacts.v1.ArtifactService/DeleteArtifact": WRITERS,
    "artifacts.v1.UsageService/GetUsage": READERS,
    "registry.v1.ModelService/CreateModel": WRITERS,
    "registry.v1.ModelService/GetModel": READERS,
    "registry.v1.ModelService/UpdateModel": WRITERS,
    "registry.v1.ModelService/DeleteModel": ADMINS,
    "registry.v1.ModelService/SearchModels": READERS,
    "registry.v1.ModelService/SetModelTags": WRITERS,
    "registry.v1.ModelService/DeleteModelTags": WRITERS,
    "registry.v1.VersionService/CreateVersion": WRITERS,
    "registry.v1.VersionService/GetVersion": READERS,
    "registry.v1.VersionService/UpdateVersion": WRITERS,
    "registry.v1.VersionService/DeleteVersion": ADMINS,
    "registry.v1.VersionService/SearchVersions": READERS,
    "registry.v1.VersionService/ListLatestVersions": READERS,
    "registry.v1.VersionService/SetVersionTags": WRITERS,
    "registry.v1.VersionService/DeleteVersionTags": WRITERS,
    "registry.v1.AliasService/SetAlias": DECIDERS,
    "registry.v1.AliasService/GetAlias": READERS,
    "registry.v1.AliasService/DeleteAlias": DECIDERS,
    "registry.v1.PromotionService/PromoteVersion": DECIDERS,  # to Staging; the other stages have tests of their own
    "registry.v1.PromotionService/GetPromotion": READERS,
    "registry.v1.PromotionService/ListPromotions": READERS,
    "registry.v1.EvaluationService/CreateEvaluation": WRITERS,
    "registry.v1.EvaluationService/GetEvaluation": READERS,
    "registry.v1.EvaluationService/ListEvaluations": READERS,
    "registry.v1.AuditService/ListAuditRecords": READERS,
    "registry.v1.EventService/ListEvents": READERS,
    "registry.v1.UsageService/GetUsage": READERS,
}
# What only the platform administrator may do; everybody else gets PERMISSION_DENIED.
OF_THE_PLATFORM = {
    "access.v1.WorkspaceService/CreateWorkspace",
    "access.v1.PrincipalService/CreatePrincipal",
    "access.v1.PrincipalService/UpdatePrincipal",
    "access.v1.GroupService/CreateGroup",
    "access.v1.GroupService/UpdateGroup",
    "access.v1.GroupService/DeleteGroup",
    "access.v1.GroupService/AddGroupMembers",
    "access.v1.GroupService/RemoveGroupMembers",
    "access.v1.RoleService/CreateRole",
    "access.v1.RoleService/UpdateRole",
    "access.v1.RoleService/DeleteRole",
    "access.v1.AuditService/ListAuditRecords",
}
# What everybody who is known is answered, with what they may see.
OF_ALL = {
    "access.v1.WorkspaceService/ListWorkspaces",
    "access.v1.PrincipalService/WhoAmI",
    "access.v1.PrincipalService/GetPrincipal",
    "access.v1.PrincipalService/ListPrincipals",
    "access.v1.GroupService/ListGroups",
    "access.v1.RoleService/GetRole",
    "access.v1.RoleService/ListRoles",
    "tracking.v1.RunService/LogHeartbeats",  # tells which runs are unknown
}
# Groups: who may add members somewhere sees all of them.
OF_WHO_ADDS_MEMBERS = {"access.v1.GroupService/GetGroup", "access.v1.GroupService/ListGroupMembers"}
# What belongs to somebody else: as if it were not there.
OF_ITS_OWNER = {
    "access.v1.TokenService/CreateToken",
    "access.v1.TokenService/GetToken",
    "access.v1.TokenService/ListTokens",
    "access.v1.TokenService/RotateToken",
    "access.v1.TokenService/RevokeToken",
    "access.v1.TokenService/RevokeTokens",
}
# A binding in the workspace is seen by who may read its members.
OF_THE_MEMBERS = {"access.v1.RoleService/GetRoleBinding", "access.v1.RoleService/DeleteRoleBinding"}
OF_BOOTSTRAP = {"access.v1.PrincipalService/CreateAdministrator"}
TABLES = (set(INSIDE), OF_THE_PLATFORM, OF_ALL, OF_WHO_ADDS_MEMBERS, OF_ITS_OWNER, OF_THE_MEMBERS, OF_BOOTSTRAP)
PUBLIC = sorted(rpc.removeprefix("/modelry.api.") for rpc in RPCS if rpc.startswith("/modelry.api."))
INTERNAL = sorted(rpc for rpc in RPCS if rpc.startswith("/modelry.internal."))
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND")


@dataclass
class Platform:
    """A platform, and everybody who calls it. `things` has one of everything in a workspace that all of it is in."""

    locked: Locked
    things: Things
    strangers: Mapping[str, Metadata]
    inside: Mapping[str, Metadata]
    outside: Mapping[str, Metadata]

    def refusal(self, rpc: str, metadata: Metadata, things: Things | None = None) -> Refusal | None:
        """Why a call is refused; None if it is answered."""
        full = rpc if rpc.startswith("/") else f"/modelry.api.{rpc}"
        try:
            self.locked.call(full, BUILD[full](things or self.things), metadata)
        except grpc.RpcError as error:
            return unpacked(error)
        return None


@pytest.fixture(scope="module", params=["all", "split"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with locked(request.param, tmp_path_factory.mktemp("locked")) as found:
        things = make(lambda rpc, message: found.call(rpc, message, found.admin.metadata))
        here, there = access.Place(workspace=things.workspace), access.Place(workspace=found.workspace())
        ends = time.time() + 1.5
        expired = found.somebody("admin", here, expire_time=_at(ends))
        disabled, revoked = found.somebody("admin"), found.somebody("admin")
        found.disable(disabled)
        found.revoke(revoked)
        inside = {role: found.somebody(role, here).metadata for role in ROLES}
        outside = {role: found.somebody(role, there).metadata for role in ROLES}
        eventually(lambda: time.time() > ends)
        strangers = {
            "bad": bearing("mdy_t_" + "x" * 36),
            "cut": bearing(found.admin.secret[:-1]),
            "jwt": bearing("e30.e30.e30"),
            "expired": expired.metadata,
            "disabled": disabled.metadata,
            "revoked": revoked.metadata,
        }
        yield Platform(found, things, strangers, inside, outside)


def _at(time_s: float) -> object:
    from google.protobuf.timestamp_pb2 import Timestamp

    found = Timestamp()
    found.FromMilliseconds(int(time_s * 1000))
    return found


def test_a01_every_rpc_is_in_one_table() -> None:
    assert sorted(rpc for table in TABLES for rpc in table) == PUBLIC


@pytest.mark.parametrize("rpc", PUBLIC)
def test_a01_nobody_is_let_in_without_a_credential_that_is_good(platform: Platform, rpc: str) -> None:
    nobody = platform.refusal(rpc, NOBODY)
    claims = platform.refusal(rpc, (("modelry-subject", "root"), ("x-forwarded-user", "root")))
    others = {name: platform.refusal(rpc, metadata) for name, metadata in platform.strangers.items()}

    assert nobody is not None
    assert (nobody.code, nobody.reason) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")
    assert claims == nobody
    for name, refusal in others.items():
        assert refusal is not None, name
        assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID"), name
    assert len({refusal.message for refusal in others.values() if refusal}) == 1


@pytest.mark.parametrize("rpc", sorted(INSIDE))
def test_a01_who_has_no_role_in_the_workspace_hears_that_nothing_is_there(platform: Platform, rpc: str) -> None:
    found = {role: platform.refusal(rpc, metadata) for role, metadata in platform.outside.items()}

    for role, refusal in found.items():
        assert refusal is not None, role
        assert refusal.code == "NOT_FOUND", (role, refusal)


@pytest.mark.parametrize("rpc", sorted(INSIDE))
def test_a01_who_has_a_role_that_does_not_say_so_is_denied(platform: Platform, rpc: str) -> None:
    for role in set(ROLES) - INSIDE[rpc]:
        refusal = platform.refusal(rpc, platform.inside[role])
        assert refusal is not None, role
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING"), (role, refusal)


@pytest.mark.parametrize("rpc", sorted(OF_THE_PLATFORM))
def test_what_only_the_administrator_of_the_platform_may_do(platform: Platform, rpc: str) -> None:
    for name, metadata in {**platform.inside, **{f"other {k}": v for k, v in platform.outside.items()}}.items():
        refusal = platform.refusal(rpc, metadata)
        assert refusal is not None, name
        assert refusal.code == "PERMISSION_DENIED", (name, refusal)


@pytest.mark.parametrize("rpc", sorted(OF_ALL))
def test_everybody_who_is_known_is_answered(platform: Platform, rpc: str) -> None:
    for name, metadata in {**platform.inside, **platform.outside}.items():
        assert platform.refusal(rpc, metadata) is None, name


@pytest.mark.parametrize("rpc", sorted(OF_WHO_ADDS_MEMBERS))
def test_groups_are_seen_by_who_may_add_members(platform: Platform, rpc: str) -> None:
    for everybody in (platform.inside, platform.outside):
        for role, metadata in everybody.items():
            refusal = platform.refusal(rpc, metadata)
            assert (refusal.code if refusal else "OK") == ("OK" if role == "admin" else "NOT_FOUND"), role


@pytest.mark.parametrize("rpc", sorted(OF_ITS_OWNER))
def test_the_tokens_of_others_are_not_there(platform: Platform, rpc: str) -> None:
    for everybody in (platform.inside, platform.outside):
        for role, metadata in everybody.items():
            refusal = platform.refusal(rpc, metadata)
            assert refusal is not None, role
            assert refusal.code in ("NOT_FOUND", "PERMISSION_DENIED") if role == "admin" else "NOT_FOUND", refusal


@pytest.mark.parametrize("rpc", sorted(OF_THE_MEMBERS))
def test_a_binding_is_not_there_for_who_may_not_read_the_members(platform: Platform, rpc: str) -> None:
    for role, metadata in platform.outside.items():
        refusal = platform.refusal(rpc, metadata)
        assert refusal is not None, role
        assert refusal.code == "NOT_FOUND", (role, refusal)
    for role in ("reader", "writer", "approver"):
        refusal = platform.refusal(rpc, platform.inside[role])
        assert refusal is not None, role
        assert refusal.code in ("NOT_FOUND", "PERMISSION_DENIED"), (role, refusal)


def test_a05_nobody_but_the_bootstrap_token_makes_an_administrator(platform: Platform) -> None:
    [rpc] = OF_BOOTSTRAP

    for metadata in (platform.locked.admin.metadata, *platform.inside.values()):
        refusal = platform.refusal(rpc, metadata)
        assert refusal is not None
        assert refusal.code == "PERMISSION_DENIED"


@pytest.mark.parametrize("rpc", INTERNAL)
def test_a01_no_client_reaches_what_only_services_may_call(platform: Platform, rpc: str) -> None:
    room = rpc.split(".")[2]
    method: Any = platform.locked.deployment.channel(room).unary_unary(rpc)
    inside: Any = platform.locked.deployment.internal_channel(room).unary_unary(rpc)

    for metadata in (NOBODY, platform.locked.admin.metadata):
        with pytest.raises(grpc.RpcError) as caught:
            method(b"", timeout=20, metadata=metadata)
        assert unpacked(caught.value).code == "UNIMPLEMENTED"
        with pytest.raises(grpc.RpcError) as caught:
            inside(b"", timeout=20, metadata=metadata)
        assert unpacked(caught.value).reason == "NOT_A_SERVICE"


@pytest.mark.parametrize("role", [*ROLES, "platform administrator"])
def test_each_role_is_answered_what_it_may_ask(platform: Platform, role: str) -> None:
    """Last, because it changes what is there: for each rpc a new one of everything."""
    locked = platform.locked
    denied = []
    for rpc in sorted({*INSIDE, *(OF_THE_PLATFORM | OF_ALL if role not in ROLES else ())}):
        if role in ROLES and role not in INSIDE[rpc]:
            continue
        things = platform.things
        metadata = locked.admin.metadata
        if "Get" not in rpc and "List" not in rpc and "Search" not in rpc:
            things = make(lambda rpc, message: locked.call(rpc, message, locked.admin.metadata))
        if role in ROLES:
            here = access.Place(workspace=things.workspace)
            metadata = platform.inside[role] if things is platform.things else locked.somebody(role, here).metadata
        refusal = platform.refusal(rpc, metadata, things)
        if refusal and refusal.code in REFUSED:
            denied.append((rpc, refusal))

    assert denied == []
