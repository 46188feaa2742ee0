"""A valid request for every rpc, about things that exist, or about things that don't."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from google.protobuf.message import Message

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry.internal.access import v1 as identities
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id

CONTENT = b"hello"
FOLDER, FILE, FILE_OF_VERSION = "model", "model/a.txt", "a.txt"
VERSION_NUMBER = 1


@dataclass(frozen=True, slots=True)
class Things:
    """What requests are about, by the names of the fields."""

    workspace: str
    experiment_id: str
    experiment_name: str
    run_id: str
    dataset_id: str
    model_name: str
    model_id: str
    version_id: str
    alias: str
    promotion_id: str
    evaluation_id: str
    principal_id: str
    group: str
    role: str
    token_id: str
    binding_id: str

    @property
    def member(self) -> access.GroupMember:
        """The principal as a member of a group."""
        return access.GroupMember(principal_id=self.principal_id)

    @property
    def model(self) -> dict[str, Any]:
        """The fields that name the model."""
        return {"workspace": self.workspace, "model_name": self.model_name}

    @property
    def version(self) -> dict[str, Any]:
        """The fields that name the version."""
        return {**self.model, "version_number": VERSION_NUMBER}

    @property
    def files(self) -> artifacts.ArtifactOwner:
        """The owner of the files."""
        return artifacts.ArtifactOwner(run_id=self.run_id)

    @property
    def files_of_version(self) -> artifacts.ArtifactOwner:
        """The owner of the frozen files."""
        return artifacts.ArtifactOwner(version_id=self.version_id)


def absent() -> Things:
    """Things that don't exist."""
    ids = (new_id() for _ in range(9))
    return Things(
        workspace="nowhere",
        experiment_id="987654321",
        experiment_name="no-experiment",
        run_id=next(ids),
        dataset_id=next(ids),
        model_name="no-model",
        model_id=next(ids),
        version_id=next(ids),
        alias="no-alias",
        promotion_id=next(ids),
        evaluation_id=next(ids),
        principal_id=next(ids),
        group="no-group",
        role="no-role",
        token_id=next(ids),
        binding_id=next(ids),
    )


Request: TypeAlias = Message | Sequence[Message]
Build: TypeAlias = Callable[[Things], Request]


def _upload(of: Things, path: str) -> Sequence[Message]:
    digest = hashlib.sha256(CONTENT).hexdigest()
    header = artifacts.ArtifactHeader(path=path, size_bytes=len(CONTENT))
    return [
        artifacts.WriteArtifactsRequest(owner=of.files),
        artifacts.WriteArtifactsRequest(header=header),
        artifacts.WriteArtifactsRequest(content=CONTENT),
        artifacts.WriteArtifactsRequest(sha256=digest),
        artifacts.WriteArtifactsRequest(sent_file_count=1),
    ]


def _columns(step: int) -> tracking.MetricColumns:
    return tracking.MetricColumns(key="loss", steps=[step], times_ms=[1_700_000_000_000 + step], values=[0.5])


def _batch(of: Things) -> tracking.WriteMetricsRequest:
    return tracking.WriteMetricsRequest(run_id=of.run_id, writer_id="w", batch_number=1, metrics=[_columns(1)])


def _datasets(of: Things) -> tracking.LogDatasetsRequest:
    dataset = tracking.Dataset(name="iris", digest="d1", source_type="local", source="{}")
    return tracking.LogDatasetsRequest(
        run_id=of.run_id, inputs=[tracking.DatasetInput(dataset=dataset, context="training")]
    )


def _source(of: Things) -> registry.VersionSource:
    return registry.VersionSource(run=registry.RunFiles(run_id=of.run_id, path=FOLDER))


REQUESTS: dict[str, dict[str, Build]] = {
    "modelry.api.access.v1.WorkspaceService": {
        "CreateWorkspace": lambda of: access.CreateWorkspaceRequest(name=f"team-{new_id()}"),
        "GetWorkspace": lambda of: access.GetWorkspaceRequest(name=of.workspace),
        "ListWorkspaces": lambda of: access.ListWorkspacesRequest(),
        "UpdateWorkspace": lambda of: access.UpdateWorkspaceRequest(
            workspace=access.Workspace(name=of.workspace, description="Words.")
        ),
    },
    "modelry.api.access.v1.PrincipalService": {
        "WhoAmI": lambda of: access.WhoAmIRequest(),
        "CreateAdministrator": lambda of: access.CreateAdministratorRequest(name=f"root-{new_id()}"),
        "CreatePrincipal": lambda of: access.CreatePrincipalRequest(
            kind=access.PRINCIPAL_KIND_USER, name=f"person-{new_id()}"
        ),
        "GetPrincipal": lambda of: access.GetPrincipalRequest(principal_id=of.principal_id),
        "ListPrincipals": lambda of: access.ListPrincipalsRequest(),
        "UpdatePrincipal": lambda of: access.UpdatePrincipalRequest(
            principal=access.Principal(principal_id=of.principal_id, display_name="Words")
        ),
    },
    "modelry.api.access.v1.GroupService": {
        "CreateGroup": lambda of: access.CreateGroupRequest(name=f"group-{new_id()}"),
        "GetGroup": lambda of: access.GetGroupRequest(name=of.group),
        "ListGroups": lambda of: access.ListGroupsRequest(),
        "UpdateGroup": lambda of: access.UpdateGroupRequest(group=access.Group(name=of.group, description="Words.")),
        "DeleteGroup": lambda of: access.DeleteGroupRequest(name=of.group),
        "AddGroupMembers": lambda of: access.AddGroupMembersRequest(name=of.group, members=[of.member]),
        "RemoveGroupMembers": lambda of: access.RemoveGroupMembersRequest(name=of.group, members=[of.member]),
        "ListGroupMembers": lambda of: access.ListGroupMembersRequest(name=of.group),
    },
    "modelry.api.access.v1.TokenService": {
        "CreateToken": lambda of: access.CreateTokenRequest(principal_id=of.principal_id),
        "GetToken": lambda of: access.GetTokenRequest(token_id=of.token_id),
        "ListTokens": lambda of: access.ListTokensRequest(principal_id=of.principal_id),
        "RotateToken": lambda of: access.RotateTokenRequest(token_id=of.token_id),
        "RevokeToken": lambda of: access.RevokeTokenRequest(token_id=of.token_id),
        "RevokeTokens": lambda of: access.RevokeTokensRequest(principal_id=of.principal_id),
    },
    "modelry.api.access.v1.RoleService": {
        "CreateRole": lambda of: access.CreateRoleRequest(name=f"r-{new_id()}", permissions=["runs.read"]),
        "GetRole": lambda of: access.GetRoleRequest(name=of.role),
        "ListRoles": lambda of: access.ListRolesRequest(),
        "UpdateRole": lambda of: access.UpdateRoleRequest(role=access.Role(name=of.role, description="Words.")),
        "DeleteRole": lambda of: access.DeleteRoleRequest(name=of.role),
        "CreateRoleBinding": lambda of: access.CreateRoleBindingRequest(
            role="reader", principal_id=of.principal_id, place=access.Place(workspace=of.workspace)
        ),
        "GetRoleBinding": lambda of: access.GetRoleBindingRequest(binding_id=of.binding_id),
        "ListRoleBindings": lambda of: access.ListRoleBindingsRequest(place=access.Place(workspace=of.workspace)),
        "DeleteRoleBinding": lambda of: access.DeleteRoleBindingRequest(binding_id=of.binding_id),
    },
    "modelry.api.access.v1.AuditService": {"ListAuditRecords": lambda of: access.ListAuditRecordsRequest()},
    "modelry.internal.access.v1.IdentityService": {
        "GetIdentity": lambda of: identities.GetIdentityRequest(bearer=f"mdy_t_{'0' * 36}"),
        "GetGrants": lambda of: identities.GetGrantsRequest(principal_id=of.principal_id),
        "WatchChanges": lambda of: identities.WatchChangesRequest(),
        "LogTokenUses": lambda of: identities.LogTokenUsesRequest(token_ids=[of.token_id]),
    },
    "modelry.api.tracking.v1.ExperimentService": {
        "CreateExperiment": lambda of: tracking.CreateExperimentRequest(workspace=of.workspace, name=new_id()),
        "GetExperiment": lambda of: tracking.GetExperimentRequest(experiment_id=of.experiment_id),
        "GetExperimentByName": lambda of: tracking.GetExperimentByNameRequest(
            workspace=of.workspace, name=of.experiment_name
        ),
        "UpdateExperiment": lambda of: tracking.UpdateExperimentRequest(
            experiment=tracking.Experiment(experiment_id=of.experiment_id, description="Words.")
        ),
        "DeleteExperiment": lambda of: tracking.DeleteExperimentRequest(experiment_id=of.experiment_id),
        "RestoreExperiment": lambda of: tracking.RestoreExperimentRequest(experiment_id=of.experiment_id),
        "SearchExperiments": lambda of: tracking.SearchExperimentsRequest(workspace=of.workspace),
        "SetExperimentTags": lambda of: tracking.SetExperimentTagsRequest(
            experiment_id=of.experiment_id, tags={"team": "risk"}
        ),
        "DeleteExperimentTags": lambda of: tracking.DeleteExperimentTagsRequest(
            experiment_id=of.experiment_id, keys=["kept"]
        ),
    },
    "modelry.api.tracking.v1.RunService": {
        "CreateRun": lambda of: tracking.CreateRunRequest(experiment_id=of.experiment_id),
        "GetRun": lambda of: tracking.GetRunRequest(run_id=of.run_id),
        "UpdateRun": lambda of: tracking.UpdateRunRequest(run=tracking.Run(run_id=of.run_id, name="renamed")),
        "FinishRun": lambda of: tracking.FinishRunRequest(run_id=of.run_id, status=tracking.RUN_STATUS_FINISHED),
        "DeleteRun": lambda of: tracking.DeleteRunRequest(run_id=of.run_id),
        "RestoreRun": lambda of: tracking.RestoreRunRequest(run_id=of.run_id),
        "SearchRuns": lambda of: tracking.SearchRunsRequest(workspace=of.workspace),
        "LogHeartbeats": lambda of: tracking.LogHeartbeatsRequest(run_ids=[of.run_id]),
        "LogBatch": lambda of: tracking.LogBatchRequest(run_id=of.run_id, params={"lr": "0.1"}),
        "SetRunTags": lambda of: tracking.SetRunTagsRequest(run_id=of.run_id, tags={"team": "risk"}),
        "DeleteRunTags": lambda of: tracking.DeleteRunTagsRequest(run_id=of.run_id, keys=["kept"]),
    },
    "modelry.api.tracking.v1.MetricService": {
        "WriteMetrics": _batch,
        "ReadMetrics": lambda of: tracking.ReadMetricsRequest(run_ids=[of.run_id]),
    },
    "modelry.api.tracking.v1.DatasetService": {
        "LogDatasets": _datasets,
        "GetDataset": lambda of: tracking.GetDatasetRequest(dataset_id=of.dataset_id),
        "SearchDatasets": lambda of: tracking.SearchDatasetsRequest(workspace=of.workspace),
    },
    "modelry.api.tracking.v1.UsageService": {
        "GetUsage": lambda of: tracking.GetUsageRequest(workspace=of.workspace),
    },
    "modelry.api.artifacts.v1.ArtifactService": {
        "WriteArtifacts": lambda of: _upload(of, "other/b.txt"),
        "ReadArtifacts": lambda of: artifacts.ReadArtifactsRequest(owner=of.files, path=FILE),
        "ListArtifacts": lambda of: artifacts.ListArtifactsRequest(owner=of.files, path=FOLDER),
        "GetArtifact": lambda of: artifacts.GetArtifactRequest(owner=of.files, path=FILE),
        "DeleteArtifact": lambda of: artifacts.DeleteArtifactRequest(owner=of.files, path=FILE),
    },
    "modelry.api.artifacts.v1.UsageService": {
        "GetUsage": lambda of: artifacts.GetUsageRequest(workspace=of.workspace),
    },
    "modelry.internal.artifacts.v1.SnapshotService": {
        "CreateSnapshot": lambda of: internal.CreateSnapshotRequest(
            version_id=of.version_id,
            workspace=of.workspace,
            model_id=of.model_id,
            source_owner=of.files,
            source_path=FOLDER,
        ),
        "GetSnapshot": lambda of: internal.GetSnapshotRequest(version_id=of.version_id),
        "DeleteSnapshot": lambda of: internal.DeleteSnapshotRequest(version_id=of.version_id),
    },
    "modelry.api.registry.v1.ModelService": {
        "CreateModel": lambda of: registry.CreateModelRequest(workspace=of.workspace, name=new_id()),
        "GetModel": lambda of: registry.GetModelRequest(**of.model),
        "UpdateModel": lambda of: registry.UpdateModelRequest(
            model=registry.Model(model_id=of.model_id, description="Words.")
        ),
        "DeleteModel": lambda of: registry.DeleteModelRequest(**of.model),
        "SearchModels": lambda of: registry.SearchModelsRequest(workspace=of.workspace),
        "SetModelTags": lambda of: registry.SetModelTagsRequest(**of.model, tags={"team": "risk"}),
        "DeleteModelTags": lambda of: registry.DeleteModelTagsRequest(**of.model, keys=["kept"]),
    },
    "modelry.api.registry.v1.VersionService": {
        "CreateVersion": lambda of: registry.CreateVersionRequest(**of.model, source=_source(of)),
        "GetVersion": lambda of: registry.GetVersionRequest(**of.version),
        "UpdateVersion": lambda of: registry.UpdateVersionRequest(
            version=registry.Version(version_id=of.version_id, description="Words.")
        ),
        "DeleteVersion": lambda of: registry.DeleteVersionRequest(**of.version),
        "SearchVersions": lambda of: registry.SearchVersionsRequest(workspace=of.workspace),
        "ListLatestVersions": lambda of: registry.ListLatestVersionsRequest(**of.model),
        "SetVersionTags": lambda of: registry.SetVersionTagsRequest(**of.version, tags={"team": "risk"}),
        "DeleteVersionTags": lambda of: registry.DeleteVersionTagsRequest(**of.version, keys=["kept"]),
    },
    "modelry.api.registry.v1.AliasService": {
        "SetAlias": lambda of: registry.SetAliasRequest(**of.version, alias="champion"),
        "GetAlias": lambda of: registry.GetAliasRequest(**of.model, alias=of.alias),
        "DeleteAlias": lambda of: registry.DeleteAliasRequest(**of.model, alias=of.alias),
    },
    "modelry.api.registry.v1.PromotionService": {
        "PromoteVersion": lambda of: registry.PromoteVersionRequest(**of.version, stage="Staging"),
        "GetPromotion": lambda of: registry.GetPromotionRequest(promotion_id=of.promotion_id),
        "ListPromotions": lambda of: registry.ListPromotionsRequest(**of.model),
    },
    "modelry.api.registry.v1.EvaluationService": {
        "CreateEvaluation": lambda of: registry.CreateEvaluationRequest(**of.version, name="holdout", run_id=of.run_id),
        "GetEvaluation": lambda of: registry.GetEvaluationRequest(evaluation_id=of.evaluation_id),
        "ListEvaluations": lambda of: registry.ListEvaluationsRequest(**of.model),
    },
    "modelry.api.registry.v1.AuditService": {
        "ListAuditRecords": lambda of: registry.ListAuditRecordsRequest(**of.model),
    },
    "modelry.api.registry.v1.EventService": {
        "ListEvents": lambda of: registry.ListEventsRequest(workspace=of.workspace),
    },
    "modelry.api.registry.v1.UsageService": {
        "GetUsage": lambda of: registry.GetUsageRequest(workspace=of.workspace),
    },
}

BUILD: dict[str, Build] = {
    f"/{service}/{rpc}": build for service, rpcs in REQUESTS.items() for rpc, build in rpcs.items()
}
"""Full rpc name to what makes a request for it."""

OTHER_WAYS: dict[str, tuple[str, Build]] = {
    "a model by its id": (
        "/modelry.api.registry.v1.ModelService/GetModel",
        lambda of: registry.GetModelRequest(model_id=of.model_id),
    ),
    "a version by its id": (
        "/modelry.api.registry.v1.VersionService/GetVersion",
        lambda of: registry.GetVersionRequest(version_id=of.version_id),
    ),
    "audit records by the id of the model": (
        "/modelry.api.registry.v1.AuditService/ListAuditRecords",
        lambda of: registry.ListAuditRecordsRequest(workspace=of.workspace, model_id=of.model_id),
    ),
    "the list of the files of a version": (
        "/modelry.api.artifacts.v1.ArtifactService/ListArtifacts",
        lambda of: artifacts.ListArtifactsRequest(owner=of.files_of_version),
    ),
    "a file of a version": (
        "/modelry.api.artifacts.v1.ArtifactService/GetArtifact",
        lambda of: artifacts.GetArtifactRequest(owner=of.files_of_version, path=FILE_OF_VERSION),
    ),
    "the content of a file of a version": (
        "/modelry.api.artifacts.v1.ArtifactService/ReadArtifacts",
        lambda of: artifacts.ReadArtifactsRequest(owner=of.files_of_version, path=FILE_OF_VERSION),
    ),
}
"""Requests that name something in a model in another way than those of `BUILD`."""


def make(call: Callable[[str, Request], Any]) -> Things:
    """Makes one of everything. `call` sends a request to an rpc of `modelry.api`, and gives the answer."""

    def ask(rpc: str, request: Request) -> Any:
        return call(f"/modelry.api.{rpc}", request)

    name = f"t-{new_id()}"
    ask("access.v1.WorkspaceService/CreateWorkspace", access.CreateWorkspaceRequest(name=name))
    experiment = ask(
        "tracking.v1.ExperimentService/CreateExperiment",
        tracking.CreateExperimentRequest(workspace=name, name="iris", tags={"kept": "1"}),
    ).experiment
    run = ask(
        "tracking.v1.RunService/CreateRun",
        tracking.CreateRunRequest(experiment_id=experiment.experiment_id, tags={"kept": "1"}),
    ).run
    of = Things(
        workspace=name,
        experiment_id=experiment.experiment_id,
        experiment_name="iris",
        run_id=run.run_id,
        dataset_id="",
        model_name="classifier",
        model_id="",
        version_id="",
        alias="champion",
        promotion_id="",
        evaluation_id="",
        **_make_access(ask, name),
    )
    dataset = ask("tracking.v1.DatasetService/LogDatasets", _datasets(of)).datasets[0]
    ask("artifacts.v1.ArtifactService/WriteArtifacts", _upload(of, FILE))
    model = ask(
        "registry.v1.ModelService/CreateModel",
        registry.CreateModelRequest(workspace=name, name=of.model_name, tags={"kept": "1"}),
    ).model
    version = ask(
        "registry.v1.VersionService/CreateVersion",
        registry.CreateVersionRequest(**of.model, source=_source(of), tags={"kept": "1"}),
    ).version
    ask("registry.v1.AliasService/SetAlias", registry.SetAliasRequest(**of.version, alias=of.alias))
    promotion = ask(
        "registry.v1.PromotionService/PromoteVersion",
        registry.PromoteVersionRequest(**of.version, stage="Archived"),
    ).promotion
    evaluation = ask(
        "registry.v1.EvaluationService/CreateEvaluation",
        registry.CreateEvaluationRequest(**of.version, name="kept", run_id=of.run_id),
    ).evaluation
    return replace(
        of,
        dataset_id=dataset.dataset_id,
        model_id=model.model_id,
        version_id=version.version_id,
        promotion_id=promotion.promotion_id,
        evaluation_id=evaluation.evaluation_id,
    )


def _make_access(ask: Callable[[str, Request], Any], workspace: str) -> dict[str, str]:
    """Makes a service account with a token, a group, a role, and a binding in a workspace."""
    name = new_id()
    principal = ask(
        "access.v1.PrincipalService/CreatePrincipal",
        access.CreatePrincipalRequest(kind=access.PRINCIPAL_KIND_SERVICE_ACCOUNT, name=f"job-{name}"),
    ).principal
    group = ask("access.v1.GroupService/CreateGroup", access.CreateGroupRequest(name=f"group-{name}")).group
    role = ask(
        "access.v1.RoleService/CreateRole", access.CreateRoleRequest(name=f"r-{name}", permissions=["runs.read"])
    ).role
    token = ask(
        "access.v1.TokenService/CreateToken", access.CreateTokenRequest(principal_id=principal.principal_id)
    ).token
    place = access.Place(workspace=workspace)
    binding = ask(
        "access.v1.RoleService/CreateRoleBinding",
        access.CreateRoleBindingRequest(role="writer", principal_id=principal.principal_id, place=place),
    ).role_binding
    return {
        "principal_id": principal.principal_id,
        "group": group.name,
        "role": role.name,
        "token_id": token.token_id,
        "binding_id": binding.binding_id,
    }
