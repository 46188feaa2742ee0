"""A caller tries to be somebody else, or to be judged for something else."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.caller import Caller, Credential, Identity
from modelry_server.kernel.ids import new_id
from tests.attacks.conftest import Scene
from tests.parts.refusal import Refusal, unpacked
from tests.parts.vouched import vouched

WHO_AM_I = "access.v1.PrincipalService/WhoAmI"
UNRESOLVABLE = [
    "",
    ".",
    "%2e",
    "..",
    "x" * 1000,
    "0",
    "-1",
    "9" * 40,
    "\u202e",
    "a/b",
    "00000000000000000000000000000000",
]


@pytest.mark.parametrize("run_id", UNRESOLVABLE)
def test_a04_what_can_not_be_found_is_denied(scene: Scene, run_id: str) -> None:
    for rpc, request in (
        ("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id=run_id)),
        ("tracking.v1.RunService/DeleteRun", tracking.DeleteRunRequest(run_id=run_id)),
        ("tracking.v1.RunService/CreateRun", tracking.CreateRunRequest(experiment_id=run_id)),
        ("tracking.v1.ExperimentService/DeleteExperiment", tracking.DeleteExperimentRequest(experiment_id=run_id)),
        ("registry.v1.VersionService/GetVersion", registry.GetVersionRequest(version_id=run_id)),
        ("registry.v1.ModelService/DeleteModel", registry.DeleteModelRequest(workspace=run_id, model_name=run_id)),
    ):
        assert scene.refusal(scene.attacker, rpc, request).code in ("NOT_FOUND", "INVALID_ARGUMENT"), rpc


def test_a04_a_thing_whose_owner_was_deleted_is_denied_as_before(scene: Scene) -> None:
    experiment = scene.ask(
        scene.victim,
        "tracking.v1.ExperimentService/CreateExperiment",
        tracking.CreateExperimentRequest(workspace=scene.things.workspace, name=new_id()),
    ).experiment
    run = scene.ask(
        scene.victim,
        "tracking.v1.RunService/CreateRun",
        tracking.CreateRunRequest(experiment_id=experiment.experiment_id),
    ).run
    deleted = tracking.DeleteExperimentRequest(experiment_id=experiment.experiment_id)
    scene.ask(scene.victim, "tracking.v1.ExperimentService/DeleteExperiment", deleted)

    for rpc, request in (
        ("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id=run.run_id)),
        ("tracking.v1.RunService/SetRunTags", tracking.SetRunTagsRequest(run_id=run.run_id, tags={"a": "b"})),
        ("tracking.v1.RunService/RestoreRun", tracking.RestoreRunRequest(run_id=run.run_id)),
    ):
        assert scene.refusal(scene.attacker, rpc, request).code == "NOT_FOUND", rpc


CLAIMS = (
    ("modelry-subject", "root"),
    ("x-forwarded-user", "root"),
    ("x-remote-user", "root"),
    ("kubeflow-userid", "root"),
    ("kubeflow-userid-bin", b"root"),
    ("x-forwarded-client-cert", "By=root;Subject=root"),
    ("modelry-principal-id", "root"),
    ("modelry-workspace", "default"),
)


def test_a06_nothing_that_a_client_says_of_itself_changes_who_it_is(scene: Scene) -> None:
    root = Identity(scene.locked.admin.principal_id, "root", Credential.API_TOKEN, scene.locked.admin.token_id)
    key = scene.locked.deployment.service_key
    says_root = vouched(
        key, "access", Caller("root", "", credential=Credential.API_TOKEN, identity=root), knows_callers=True
    )
    says_service = vouched(key, "access", knows_callers=True)

    many: list[Any] = [CLAIMS, CLAIMS + CLAIMS, says_root, says_service, (*says_root, *CLAIMS)]
    for claims in many:
        metadata = (*claims, *scene.attacker.metadata)
        found = scene.locked.ask(WHO_AM_I, access.WhoAmIRequest(), metadata)
        request = tracking.GetRunRequest(run_id=scene.things.run_id)
        with pytest.raises(grpc.RpcError) as caught:
            scene.locked.ask("tracking.v1.RunService/GetRun", request, metadata)
        with pytest.raises(grpc.RpcError) as nobody:
            scene.locked.ask(WHO_AM_I, access.WhoAmIRequest(), claims)

        assert found.principal.principal_id == scene.attacker.principal_id
        assert unpacked(caught.value).code == "NOT_FOUND"
        assert unpacked(nobody.value).reason == "CREDENTIAL_MISSING"


def test_a06_a_client_that_reaches_an_internal_listener_is_nobody_there(scene: Scene) -> None:
    deployment = scene.locked.deployment
    get: Any = deployment.internal_channel("tracking").unary_unary("/modelry.api.tracking.v1.RunService/GetRun")
    request = tracking.GetRunRequest(run_id=scene.things.run_id).SerializeToString()
    forged = vouched("not-the-key-of-this-installation", "tracking", knows_callers=True)
    for_another = vouched(deployment.service_key, "registry", knows_callers=True)
    [(name, good)] = vouched(deployment.service_key, "tracking", knows_callers=True)
    attempts: list[Any] = [scene.locked.admin.metadata, forged, for_another, ((name, good[:-2] + "xx"),), CLAIMS]

    for metadata in attempts:
        with pytest.raises(grpc.RpcError) as caught:
            get(request, timeout=20, metadata=metadata)
        assert unpacked(caught.value).reason == "NOT_A_SERVICE"


def test_a07_a_workspace_in_the_metadata_is_not_looked_at(scene: Scene) -> None:
    claims = (("modelry-workspace", scene.things.workspace), ("modelry-workspace", scene.own.workspace))
    metadata = (*claims, *scene.attacker.metadata)
    request = tracking.SearchRunsRequest(workspace=scene.own.workspace)

    found = scene.locked.ask("tracking.v1.RunService/SearchRuns", request, metadata)
    with pytest.raises(grpc.RpcError) as caught:
        scene.locked.ask("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id=scene.things.run_id), metadata)

    assert [run.run_id for run in found.runs] == [scene.own.run_id]
    assert unpacked(caught.value).code == "NOT_FOUND"


def test_a07_a_workspace_and_a_thing_of_another_one_never_add_up(scene: Scene) -> None:
    own, things = scene.own, scene.things
    for rpc, request in (
        (
            "tracking.v1.RunService/SearchRuns",
            tracking.SearchRunsRequest(
                workspace=own.workspace, experiment_ids=[own.experiment_id, things.experiment_id]
            ),
        ),
        (
            "registry.v1.AuditService/ListAuditRecords",
            registry.ListAuditRecordsRequest(workspace=own.workspace, model_id=things.model_id),
        ),
        (
            "access.v1.RoleService/ListRoleBindings",
            access.ListRoleBindingsRequest(
                place=access.Place(workspace=own.workspace, experiment_id=things.experiment_id)
            ),
        ),
        (
            "access.v1.RoleService/ListRoleBindings",
            access.ListRoleBindingsRequest(place=access.Place(workspace=own.workspace, model_id=things.model_id)),
        ),
    ):
        answer = scene.answer(scene.attacker, rpc, request)
        if isinstance(answer, Refusal):
            assert answer.code in ("NOT_FOUND", "INVALID_ARGUMENT"), rpc
        else:
            assert things.run_id not in str(answer), rpc
            assert things.binding_id not in str(answer), rpc
            assert not getattr(answer, "records", ()), rpc


def test_a07_a_role_at_a_thing_of_another_workspace_shows_nothing(scene: Scene) -> None:
    """A binding whose workspace is one's own and whose experiment or model is somebody else's."""
    who = scene.locked.somebody()
    parts: list[dict[str, Any]] = [
        {"experiment_id": scene.things.experiment_id},
        {"model_id": scene.things.model_id},
    ]
    for part in parts:
        place = access.Place(workspace=scene.own.workspace, **part)
        request = access.CreateRoleBindingRequest(role="admin", principal_id=who.principal_id, place=place)
        answer = scene.answer(scene.attacker, "access.v1.RoleService/CreateRoleBinding", request)
        assert not isinstance(answer, Refusal) or answer.code in ("NOT_FOUND", "INVALID_ARGUMENT")

    for rpc, message in (
        ("tracking.v1.RunService/GetRun", tracking.GetRunRequest(run_id=scene.things.run_id)),
        ("registry.v1.ModelService/GetModel", registry.GetModelRequest(model_id=scene.things.model_id)),
        ("registry.v1.VersionService/GetVersion", registry.GetVersionRequest(version_id=scene.things.version_id)),
    ):
        assert scene.refusal(who, rpc, message).code == "NOT_FOUND", rpc


def test_a20_the_author_is_the_credential_and_claims_stay_claims(scene: Scene) -> None:
    own, spoofed = scene.own, (("modelry-subject", "root"), *scene.attacker.metadata)
    tags = {"mlflow.user": "root", "created_by": "root"}
    create = tracking.CreateRunRequest(experiment_id=own.experiment_id, claimed_user="root", tags=tags)
    run = scene.locked.ask("tracking.v1.RunService/CreateRun", create, spoofed).run
    alias = registry.SetAliasRequest(**own.version, alias="spoofed", reason="root said so")
    scene.locked.ask("registry.v1.AliasService/SetAlias", alias, spoofed)
    listed = scene.ask(
        scene.attacker, "registry.v1.AuditService/ListAuditRecords", registry.ListAuditRecordsRequest(**own.model)
    ).records
    [record] = [each for each in listed if "spoofed" in str(each)][:1]

    assert (run.creator, run.claimed_user) == (scene.attacker.name, "root")
    assert record.actor == scene.attacker.principal_id
    assert "root" not in str(record).replace("root said so", "")
    assert abs(record.create_time.ToSeconds() - time.time()) < 60
