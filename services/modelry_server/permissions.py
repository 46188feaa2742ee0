"""Which rpc needs which permission: the whole table. A server does not start with an rpc that is missing here."""

from modelry_server.kernel.access import Permission, Place
from modelry_server.kernel.caller import Caller

READ, WRITE, ADMIN, SERVICE = Permission.READ, Permission.WRITE, Permission.ADMIN, Permission.SERVICE

_BY_SERVICE: dict[str, dict[str, Permission]] = {
    "modelry.api.access.v1.WorkspaceService": {
        "CreateWorkspace": ADMIN,
        "GetWorkspace": READ,
        "ListWorkspaces": READ,
        "UpdateWorkspace": ADMIN,
    },
    "modelry.api.tracking.v1.ExperimentService": {
        "CreateExperiment": WRITE,
        "GetExperiment": READ,
        "GetExperimentByName": READ,
        "UpdateExperiment": WRITE,
        "DeleteExperiment": WRITE,
        "RestoreExperiment": WRITE,
        "SearchExperiments": READ,
        "SetExperimentTags": WRITE,
        "DeleteExperimentTags": WRITE,
    },
    "modelry.api.tracking.v1.RunService": {
        "CreateRun": WRITE,
        "GetRun": READ,
        "UpdateRun": WRITE,
        "FinishRun": WRITE,
        "DeleteRun": WRITE,
        "RestoreRun": WRITE,
        "SearchRuns": READ,
        "LogHeartbeats": WRITE,
        "LogBatch": WRITE,
        "SetRunTags": WRITE,
        "DeleteRunTags": WRITE,
    },
    "modelry.api.tracking.v1.MetricService": {"WriteMetrics": WRITE, "ReadMetrics": READ},
    "modelry.api.tracking.v1.DatasetService": {"LogDatasets": WRITE, "GetDataset": READ, "SearchDatasets": READ},
    "modelry.api.artifacts.v1.ArtifactService": {
        "WriteArtifacts": WRITE,
        "ReadArtifacts": READ,
        "ListArtifacts": READ,
        "GetArtifact": READ,
        "DeleteArtifact": WRITE,
    },
    "modelry.internal.artifacts.v1.SnapshotService": {
        "CreateSnapshot": SERVICE,
        "GetSnapshot": SERVICE,
        "DeleteSnapshot": SERVICE,
    },
    "modelry.api.registry.v1.ModelService": {
        "CreateModel": WRITE,
        "GetModel": READ,
        "UpdateModel": WRITE,
        "DeleteModel": WRITE,
        "SearchModels": READ,
        "SetModelTags": WRITE,
        "DeleteModelTags": WRITE,
    },
    "modelry.api.registry.v1.VersionService": {
        "CreateVersion": WRITE,
        "GetVersion": READ,
        "UpdateVersion": WRITE,
        "DeleteVersion": WRITE,
        "SearchVersions": READ,
        "ListLatestVersions": READ,
        "SetVersionTags": WRITE,
        "DeleteVersionTags": WRITE,
    },
    "modelry.api.registry.v1.AliasService": {"SetAlias": WRITE, "GetAlias": READ, "DeleteAlias": WRITE},
    "modelry.api.registry.v1.PromotionService": {"PromoteVersion": WRITE, "GetPromotion": READ, "ListPromotions": READ},
    "modelry.api.registry.v1.EvaluationService": {
        "CreateEvaluation": WRITE,
        "GetEvaluation": READ,
        "ListEvaluations": READ,
    },
    "modelry.api.registry.v1.AuditService": {"ListAuditRecords": READ},
    "modelry.api.registry.v1.EventService": {"ListEvents": READ},
}

PERMISSIONS: dict[str, Permission] = {
    f"/{service}/{rpc}": need for service, rpcs in _BY_SERVICE.items() for rpc, need in rpcs.items()
}
"""Full rpc name to the permission that it needs."""


def may(caller: Caller, permission: Permission, place: Place) -> bool:
    """Whether a caller has a permission at a place.

    Without authentication, everybody has all permissions except SERVICE, which needs the key of the services.
    """
    return permission is not SERVICE or caller.is_service
