"""A caller tries to get more than it has: by services that act for it, by grants, by ways around a check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id
from modelry_server.permissions import ROLES, Permission
from tests.attacks.conftest import Scene
from tests.parts import oidc_provider
from tests.parts.eventually import eventually
from tests.parts.locked import Who, bearing, locked
from tests.parts.refusal import Refusal, unpacked
from tests.server.every_rpc import BUILD, CONTENT, FILE, FOLDER

WRITE = "artifacts.v1.ArtifactService/WriteArtifacts"
BIND = "access.v1.RoleService/CreateRoleBinding"
MAKE_TOKEN = "access.v1.TokenService/CreateToken"
ROTATE = "access.v1.TokenService/RotateToken"
PROMOTE = "registry.v1.PromotionService/PromoteVersion"
DESCRIPTION = FieldMask(paths=["description"])
CREATE_VERSION = "registry.v1.VersionService/CreateVersion"


def _upload(owner: artifacts.ArtifactOwner, path: str = "stolen/a.txt") -> Sequence[Any]:
    return [
        artifacts.WriteArtifactsRequest(owner=owner),
        artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path=path, size_bytes=len(CONTENT))),
        artifacts.WriteArtifactsRequest(content=CONTENT),
    ]


def test_a02_nothing_can_be_done_to_the_upload_of_somebody_else(scene: Scene) -> None:
    """An upload is a stream: it has no id that another caller could name. What it writes to is judged first."""
    things = scene.things
    for steps in (
        _upload(things.files),
        _upload(things.files_of_version),
        # A second owner in the stream of one's own, and none at all.
        [artifacts.WriteArtifactsRequest(owner=scene.own.files), *_upload(things.files)],
        _upload(scene.own.files)[1:],
        [artifacts.WriteArtifactsRequest(owner=things.files, replaced_folder=FOLDER, replaced_with=["x"])],
    ):
        assert scene.refusal(scene.attacker, WRITE, steps).code in ("NOT_FOUND", "INVALID_ARGUMENT")

    listed = artifacts.ListArtifactsRequest(owner=things.files, recursive=True)
    found = scene.ask(scene.victim, "artifacts.v1.ArtifactService/ListArtifacts", listed)
    assert FILE in [each.path for each in found.artifacts]
    assert not any("stolen" in each.path for each in found.artifacts)


def test_a02_a_snapshot_is_made_read_and_deleted_by_services_only(scene: Scene) -> None:
    for rpc, request in (
        ("CreateSnapshot", internal.CreateSnapshotRequest(version_id=new_id(), source_owner=scene.things.files)),
        ("GetSnapshot", internal.GetSnapshotRequest(version_id=scene.things.version_id)),
        ("DeleteSnapshot", internal.DeleteSnapshotRequest(version_id=scene.things.version_id)),
    ):
        path = f"/modelry.internal.artifacts.v1.SnapshotService/{rpc}"
        method: Any = scene.locked.deployment.channel("artifacts").unary_unary(path)
        for who in (scene.attacker, scene.victim, scene.locked.admin):
            with pytest.raises(grpc.RpcError) as caught:
                method(request.SerializeToString(), timeout=20, metadata=who.metadata)
            assert unpacked(caught.value).code == "UNIMPLEMENTED"


def test_a02_files_of_a_version_are_changed_by_nobody(scene: Scene) -> None:
    owner = scene.things.files_of_version
    delete = artifacts.DeleteArtifactRequest(owner=owner, path="a.txt")

    for who in (scene.victim, scene.locked.admin):
        assert scene.refusal(who, WRITE, _upload(owner)).code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT")
        refusal = scene.refusal(who, "artifacts.v1.ArtifactService/DeleteArtifact", delete)
        assert refusal.code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT")


def test_a08_the_registry_reads_nothing_that_its_caller_may_not_read(scene: Scene) -> None:
    own, things = scene.own, scene.things
    run = registry.RunFiles(run_id=things.run_id, path=FOLDER)
    hidden = f"m-{new_id()}"
    made = registry.CreateModelRequest(workspace=things.workspace, name=hidden)
    scene.ask(scene.victim, "registry.v1.ModelService/CreateModel", made)
    files = registry.CreateVersionRequest(
        workspace=things.workspace, model_name=hidden, source=registry.VersionSource(run=run)
    )
    scene.ask(scene.victim, CREATE_VERSION, files)
    version = registry.VersionCopy(model_name=hidden, version_number=1, version_id=things.version_id)
    absent_run = registry.RunFiles(run_id=new_id(), path=FOLDER)
    before = scene.ask(
        scene.attacker,
        "registry.v1.VersionService/SearchVersions",
        registry.SearchVersionsRequest(workspace=own.workspace),
    )

    refusals = {
        name: scene.refusal(scene.attacker, CREATE_VERSION, registry.CreateVersionRequest(**own.model, source=source))
        for name, source in {
            "run": registry.VersionSource(run=run),
            "version": registry.VersionSource(version=version),
            "absent": registry.VersionSource(run=absent_run),
        }.items()
    }
    evaluation = registry.CreateEvaluationRequest(**own.version, name="stolen", run_id=things.run_id)
    evaluated = scene.refusal(scene.attacker, "registry.v1.EvaluationService/CreateEvaluation", evaluation)
    nested = tracking.CreateRunRequest(experiment_id=own.experiment_id, parent_run_id=things.run_id)
    parent = scene.refusal(scene.attacker, "tracking.v1.RunService/CreateRun", nested)

    assert {refusal.code for refusal in refusals.values()} == {"NOT_FOUND"}
    assert str(refusals["run"]).replace(things.run_id, "") == str(refusals["absent"]).replace(absent_run.run_id, "")
    assert evaluated.code == "NOT_FOUND"
    assert parent.code == "NOT_FOUND"
    after = scene.ask(
        scene.attacker,
        "registry.v1.VersionService/SearchVersions",
        registry.SearchVersionsRequest(workspace=own.workspace),
    )
    assert after == before


def test_a08_who_may_register_but_not_read_the_run_gets_no_version_of_it(scene: Scene) -> None:
    """Within one workspace: the role is at the model only."""
    who = scene.locked.somebody(
        "writer", access.Place(workspace=scene.things.workspace, model_id=scene.things.model_id)
    )
    source = registry.VersionSource(run=registry.RunFiles(run_id=scene.things.run_id, path=FOLDER))
    create = registry.CreateVersionRequest(**scene.things.model, source=source)

    assert scene.refusal(who, CREATE_VERSION, create).code == "NOT_FOUND"
    assert scene.ask(scene.victim, CREATE_VERSION, create).version.version_number


def _bound(scene: Scene, who: Who, role: str, to: str, place: access.Place | None = None) -> str:
    place = place or access.Place(everywhere=True)
    request = access.CreateRoleBindingRequest(role=role, principal_id=to, place=place)
    return scene.refusal(who, BIND, request).code


def test_a15_nobody_binds_a_role_with_more_than_they_have(scene: Scene) -> None:
    here = access.Place(workspace=scene.things.workspace)
    victim, approver, writer = scene.victim, scene.insider("approver"), scene.insider("writer")
    members = scene.locked.ask(
        "access.v1.RoleService/CreateRole",
        access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["bindings.read", "bindings.write", "runs.read"]),
    ).role
    recruiter = scene.insider(members.name)

    for who in (victim, approver, writer, recruiter, scene.attacker):
        assert _bound(scene, who, "admin", who.principal_id) == "PERMISSION_DENIED"
        assert _bound(scene, who, "reader", who.principal_id) == "PERMISSION_DENIED"
    for who in (approver, writer):
        assert _bound(scene, who, "approver", who.principal_id, here) == "PERMISSION_DENIED"
    for role in ("admin", "approver", "writer"):
        assert _bound(scene, recruiter, role, recruiter.principal_id, here) == "PERMISSION_DENIED"
    assert _bound(scene, scene.attacker, "reader", scene.attacker.principal_id, here) == "NOT_FOUND"
    assert (
        _bound(scene, victim, "admin", victim.principal_id, access.Place(workspace=scene.own.workspace)) == "NOT_FOUND"
    )


def test_a15_nobody_gets_more_by_a_role_of_their_own(scene: Scene) -> None:
    every = [str(each) for each in Permission]
    custom = scene.locked.ask(
        "access.v1.RoleService/CreateRole", access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["runs.read"])
    ).role
    who = scene.insider(custom.name)
    editor = scene.locked.ask(
        "access.v1.RoleService/CreateRole", access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["roles.write"])
    ).role
    author = scene.locked.somebody(editor.name)
    scene.locked.bind(author.principal_id, custom.name, access.Place(workspace=scene.things.workspace))
    grown = access.UpdateRoleRequest(role=access.Role(name=custom.name, permissions=every))
    grown.update_mask.paths.append("permissions")
    built_in = access.UpdateRoleRequest(role=access.Role(name="reader", permissions=every))
    built_in.update_mask.paths.append("permissions")

    for each in (who, scene.victim, scene.attacker, author):
        assert scene.refusal(each, "access.v1.RoleService/UpdateRole", grown).code == "PERMISSION_DENIED"
        made = access.CreateRoleRequest(name=f"r-{new_id()}", permissions=every)
        assert scene.refusal(each, "access.v1.RoleService/CreateRole", made).code == "PERMISSION_DENIED"
    for each in (scene.locked.admin, author):
        refusal = scene.refusal(each, "access.v1.RoleService/UpdateRole", built_in)
        assert refusal.code in ("PERMISSION_DENIED", "INVALID_ARGUMENT", "FAILED_PRECONDITION")


def test_a15_nobody_gets_more_by_a_group(scene: Scene) -> None:
    group = f"group-{new_id()}"
    scene.locked.ask("access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name=group))
    scene.locked.ask(
        BIND,
        access.CreateRoleBindingRequest(
            role="admin", group=group, place=access.Place(workspace=scene.things.workspace)
        ),
    )
    keeper = scene.locked.ask(
        "access.v1.RoleService/CreateRole",
        access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["groups.write", "principals.read"]),
    ).role
    who = scene.locked.somebody(keeper.name)
    inner = f"group-{new_id()}"
    scene.ask(who, "access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name=inner))
    me = access.GroupMember(principal_id=who.principal_id)
    scene.ask(who, "access.v1.GroupService/AddGroupMembers", access.AddGroupMembersRequest(name=inner, members=[me]))

    for members in ([me], [access.GroupMember(group=inner)]):
        for each in (who, scene.victim, scene.attacker):
            joined = access.AddGroupMembersRequest(name=group, members=members)
            refusal = scene.refusal(each, "access.v1.GroupService/AddGroupMembers", joined)
            assert refusal.code in ("PERMISSION_DENIED", "NOT_FOUND")
    run = tracking.GetRunRequest(run_id=scene.things.run_id)
    assert scene.refusal(who, "tracking.v1.RunService/GetRun", run).code == "PERMISSION_DENIED"


def test_a15_a_capped_token_makes_nothing_that_is_wider(scene: Scene) -> None:
    capped = scene.locked.token_of(scene.victim.principal_id, scene.victim.name, role_cap="reader")
    here = access.Place(workspace=scene.things.workspace)

    wider = access.CreateTokenRequest(principal_id=scene.victim.principal_id)
    made = scene.answer(capped, "access.v1.TokenService/CreateToken", wider)
    assert _bound(scene, capped, "reader", capped.principal_id, here) == "PERMISSION_DENIED"
    if hasattr(made, "secret"):
        heir = Who(capped.principal_id, capped.name, made.token.token_id, made.secret)
        tagged = tracking.SetRunTagsRequest(run_id=scene.things.run_id, tags={"a": "b"})
        assert scene.refusal(heir, "tracking.v1.RunService/SetRunTags", tagged).code == "PERMISSION_DENIED"
    else:
        assert made.code == "PERMISSION_DENIED"
    rotated = scene.answer(
        capped, "access.v1.TokenService/RotateToken", access.RotateTokenRequest(token_id=scene.victim.token_id)
    )
    assert rotated.code in ("PERMISSION_DENIED", "NOT_FOUND")


def test_a15_nobody_acts_by_the_token_of_a_service_account_that_may_do_more(scene: Scene) -> None:
    keeper = scene.locked.ask(
        "access.v1.RoleService/CreateRole",
        access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["principals.write", "tokens.create"]),
    ).role
    who = scene.locked.somebody(keeper.name)
    adopted = access.UpdatePrincipalRequest(
        principal=access.Principal(principal_id=scene.victim.principal_id, owner_id=who.principal_id)
    )
    adopted.update_mask.paths.append("owner_id")

    for each in (who, scene.attacker):
        token = access.CreateTokenRequest(principal_id=scene.victim.principal_id)
        assert scene.refusal(each, "access.v1.TokenService/CreateToken", token).code in (
            "PERMISSION_DENIED",
            "NOT_FOUND",
        )
        assert scene.refusal(each, "access.v1.PrincipalService/UpdatePrincipal", adopted).code == "PERMISSION_DENIED"


def test_a15_an_invitation_can_only_be_exchanged(scene: Scene) -> None:
    """Who has made it knows its text, and must not act as the person by it."""
    keeper = scene.locked.ask(
        "access.v1.RoleService/CreateRole",
        access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["principals.write", "tokens.create"]),
    ).role
    who = scene.locked.somebody(keeper.name)
    person = access.CreatePrincipalRequest(kind=access.PRINCIPAL_KIND_USER, name=f"grace-{new_id()}")
    grace = scene.ask(who, "access.v1.PrincipalService/CreatePrincipal", person).principal
    made = scene.ask(who, MAKE_TOKEN, access.CreateTokenRequest(principal_id=grace.principal_id))
    invited = Who(grace.principal_id, grace.name, made.token.token_id, made.secret)
    scene.locked.bind(grace.principal_id, "admin")

    assert made.token.invitation
    for rpc, request in (
        (MAKE_TOKEN, access.CreateTokenRequest()),
        ("access.v1.TokenService/ListTokens", access.ListTokensRequest()),
        ("access.v1.TokenService/RevokeTokens", access.RevokeTokensRequest()),
        ("access.v1.WorkspaceService/ListWorkspaces", access.ListWorkspacesRequest()),
        ("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id=scene.things.run_id)),
        ("registry.v1.VersionService/GetVersion", registry.GetVersionRequest(**scene.things.version)),
        ("artifacts.v1.ArtifactService/ListArtifacts", artifacts.ListArtifactsRequest(owner=scene.things.files)),
    ):
        refusal = scene.refusal(invited, rpc, request)
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "TOKEN_IS_INVITATION"), rpc
    assert _bound(scene, invited, "admin", who.principal_id) == "PERMISSION_DENIED"
    seen = scene.ask(invited, "access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest())
    other = access.RotateTokenRequest(token_id=scene.victim.token_id)
    assert (seen.principal.name, seen.token.invitation, list(seen.grants)) == (grace.name, True, [])
    assert scene.refusal(invited, ROTATE, other).code in ("NOT_FOUND", "PERMISSION_DENIED")

    exchanged = scene.ask(invited, ROTATE, access.RotateTokenRequest())
    own = Who(grace.principal_id, grace.name, exchanged.token.token_id, exchanged.secret)
    assert not exchanged.token.invitation
    assert scene.refusal(invited, ROTATE, access.RotateTokenRequest()).code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    assert eventually(lambda: _unauthenticated(scene, invited), within_s=5)
    assert scene.ask(own, MAKE_TOKEN, access.CreateTokenRequest()).secret
    again = scene.refusal(who, MAKE_TOKEN, access.CreateTokenRequest(principal_id=grace.principal_id))
    assert again.code == "INVALID_ARGUMENT"


def _unauthenticated(scene: Scene, who: Who) -> Refusal | None:
    answer = scene.answer(who, "access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest())
    return answer if isinstance(answer, Refusal) and answer.code == "UNAUTHENTICATED" else None


@pytest.mark.parametrize("name", ["all", "split"])
def test_a15_who_administers_by_a_group_of_the_issuer_is_changed_by_administrators_only(
    name: str, tmp_path: Path
) -> None:
    """The members of the group are known to the issuer only. It says them when they sign in."""
    users = {"alice": {"groups": ["platform"]}}
    with oidc_provider.running(tmp_path / "provider", users=users) as provider:
        file = tmp_path / "issuers.toml"
        file.write_text(
            f'[[issuer]]\nname = "company"\nurl = "{provider.issuer}"\naudiences = ["modelry"]\n'
            'client_id = "modelry-cli"\n'
        )
        with locked(name, tmp_path / "server", {"access.issuers_file": str(file)}) as platform:
            platform.ask("access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name="platform"))
            platform.ask(
                BIND,
                access.CreateRoleBindingRequest(role="admin", group="platform", place=access.Place(everywhere=True)),
            )
            keeper = access.CreateRoleRequest(name="hr", permissions=["principals.read", "principals.write"])
            platform.ask("access.v1.RoleService/CreateRole", keeper)
            hr = platform.somebody("hr")
            signed_in = bearing(provider.token("alice"))
            alice = platform.ask("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), signed_in).principal

            def change(who: Who, *, disabled: bool) -> str:
                given = access.Principal(principal_id=alice.principal_id, disabled=disabled)
                request = access.UpdatePrincipalRequest(principal=given, update_mask=FieldMask(paths=["disabled"]))
                try:
                    platform.ask("access.v1.PrincipalService/UpdatePrincipal", request, who.metadata)
                except grpc.RpcError as error:
                    return unpacked(error).reason
                return ""

            assert change(hr, disabled=True) == "GRANT_TOO_WIDE"
            assert change(platform.admin, disabled=True) == ""
            assert change(hr, disabled=False) == "GRANT_TOO_WIDE"
            assert change(platform.admin, disabled=False) == ""


@pytest.fixture
def staged(scene: Scene) -> tuple[dict[str, Any], int]:
    """A model with a version in Production and another one in the first stage; the number of the second."""
    model: dict[str, Any] = {"workspace": scene.things.workspace, "model_name": f"m-{new_id()}"}
    scene.ask(
        scene.victim,
        "registry.v1.ModelService/CreateModel",
        registry.CreateModelRequest(workspace=model["workspace"], name=model["model_name"]),
    )
    source = registry.VersionSource(run=registry.RunFiles(run_id=scene.things.run_id, path=FOLDER))
    for _ in range(2):
        scene.ask(scene.victim, CREATE_VERSION, registry.CreateVersionRequest(**model, source=source))
    scene.ask(scene.victim, PROMOTE, registry.PromoteVersionRequest(**model, version_number=1, stage="Production"))
    return model, 2


def test_a18_there_is_no_way_to_the_last_stage_but_the_right_to_promote(
    scene: Scene, staged: tuple[dict[str, Any], int]
) -> None:
    model, number = staged
    writer = scene.insider("writer")

    for version, stage in ((number, "Production"), (1, "Staging"), (1, "Archived"), (1, "None"), (1, "Production")):
        for archives in (False, True):
            moved = registry.PromoteVersionRequest(
                **model, version_number=version, stage=stage, archive_existing=archives
            )
            assert scene.refusal(writer, PROMOTE, moved).code == "PERMISSION_DENIED", stage
    # To Staging is allowed, and must not archive what serves by the way.
    moved = registry.PromoteVersionRequest(**model, version_number=number, stage="Staging", archive_existing=True)
    scene.ask(writer, PROMOTE, moved)
    # A copy begins in the first stage, whatever its source has.
    serving = scene.ask(
        writer, "registry.v1.VersionService/GetVersion", registry.GetVersionRequest(**model, version_number=1)
    ).version
    source = registry.VersionSource(version=registry.VersionCopy(model_name=model["model_name"], version_number=1))
    copy = scene.ask(writer, CREATE_VERSION, registry.CreateVersionRequest(**model, source=source)).version
    # What is said in an update of a version or as a tag is no stage.
    update = registry.UpdateVersionRequest(version=registry.Version(version_id=copy.version_id, stage="Production"))
    update.update_mask.paths.append("stage")
    refused = scene.refusal(writer, "registry.v1.VersionService/UpdateVersion", update)
    tags = registry.SetVersionTagsRequest(**model, version_number=copy.version_number, tags={"stage": "Production"})
    scene.ask(writer, "registry.v1.VersionService/SetVersionTags", tags)

    latest = scene.ask(
        writer, "registry.v1.VersionService/ListLatestVersions", registry.ListLatestVersionsRequest(**model)
    ).versions
    assert serving.stage == "Production"
    assert copy.stage == "None"
    assert refused.code == "INVALID_ARGUMENT"
    assert [each.version_number for each in latest if each.stage == "Production"] == [1]


@pytest.mark.parametrize("alias", ["Production", "production", "Staging", "latest", "Archived", "None", "1", "v1"])
def test_a18_an_alias_does_not_look_like_a_stage_or_a_version(
    scene: Scene, staged: tuple[dict[str, Any], int], alias: str
) -> None:
    model, number = staged
    request = registry.SetAliasRequest(**model, version_number=number, alias=alias)

    assert scene.refusal(scene.victim, "registry.v1.AliasService/SetAlias", request).code == "INVALID_ARGUMENT"


def test_a18_renaming_deleting_and_remaking_a_model_takes_no_stage_along(
    scene: Scene, staged: tuple[dict[str, Any], int]
) -> None:
    model, _ = staged
    writer = scene.insider("writer")
    found = scene.ask(scene.victim, "registry.v1.ModelService/GetModel", registry.GetModelRequest(**model)).model
    renamed = registry.UpdateModelRequest(model=registry.Model(model_id=found.model_id, name=f"m-{new_id()}"))
    renamed.update_mask.paths.append("name")

    assert scene.refusal(writer, "registry.v1.ModelService/DeleteModel", registry.DeleteModelRequest(**model)).code == (
        "PERMISSION_DENIED"
    )
    answer = scene.answer(writer, "registry.v1.ModelService/UpdateModel", renamed)
    name = answer.model.name if hasattr(answer, "model") else model["model_name"]
    latest = scene.ask(
        writer,
        "registry.v1.VersionService/ListLatestVersions",
        registry.ListLatestVersionsRequest(workspace=model["workspace"], model_name=name, stages=["Production"]),
    ).versions
    assert [each.version_number for each in latest] == [1]


def test_a16_a_second_token_and_a_service_account_have_the_rights_of_their_owners_at_most(scene: Scene) -> None:
    """Approvals are not there yet. What they will stand on is: rights belong to the principal behind a token."""
    writer = scene.insider("writer")
    second = scene.locked.token_of(writer.principal_id, writer.name)
    capped = scene.locked.token_of(writer.principal_id, writer.name, role_cap="approver")
    promote = BUILD[f"/modelry.api.{PROMOTE}"](scene.things)
    promote.stage = "Production"  # type: ignore[union-attr]

    for who in (writer, second, capped):
        assert scene.refusal(who, PROMOTE, promote).code == "PERMISSION_DENIED"
    me = scene.ask(second, "access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest())
    assert me.principal.principal_id == writer.principal_id
    assert Permission.VERSIONS_PROMOTE in ROLES["approver"]
    assert Permission.VERSIONS_PROMOTE not in ROLES["writer"]


def test_a17_a_change_after_a_version_was_read_ends_a_promotion_that_was_meant_for_it(
    scene: Scene, staged: tuple[dict[str, Any], int]
) -> None:
    """Approvals are not there yet. What they will stand on is: an etag is of one state of the version, and no other."""
    model, number = staged
    read = registry.GetVersionRequest(**model, version_number=number)
    version = scene.ask(scene.victim, "registry.v1.VersionService/GetVersion", read).version
    changed = registry.UpdateVersionRequest(
        version=registry.Version(version_id=version.version_id, description="Another one."), update_mask=DESCRIPTION
    )
    promote = registry.PromoteVersionRequest(
        **model, version_number=number, stage="Production", etag=version.etag, archive_existing=True
    )

    scene.ask(scene.insider("writer"), "registry.v1.VersionService/UpdateVersion", changed)

    assert scene.refusal(scene.insider("approver"), PROMOTE, promote).code in ("ABORTED", "FAILED_PRECONDITION")
    after = scene.ask(scene.victim, "registry.v1.VersionService/GetVersion", read).version
    assert after.stage == version.stage
