"""Who may do what: the permissions, the roles that have them, and which rpc needs which of them. The whole table.

A server does not start with an rpc that is missing here.
"""

from collections.abc import Mapping
from enum import StrEnum

from modelry_server.kernel.access import Kind

SERVICE, SIGNED_IN, INVITED, BOOTSTRAP = Kind.SERVICE, Kind.SIGNED_IN, Kind.INVITED, Kind.BOOTSTRAP


class Permission(StrEnum):
    """What a role can allow, by the name that it has in the contract. `MEANINGS` explains each."""

    RUNS_READ = "runs.read"
    RUNS_WRITE = "runs.write"
    RUNS_DELETE = "runs.delete"
    EXPERIMENTS_WRITE = "experiments.write"
    EXPERIMENTS_DELETE = "experiments.delete"
    FILES_READ = "files.read"
    FILES_WRITE = "files.write"
    FILES_DELETE = "files.delete"
    MODELS_READ = "models.read"
    MODELS_WRITE = "models.write"
    MODELS_DELETE = "models.delete"
    VERSIONS_CREATE = "versions.create"
    VERSIONS_WRITE = "versions.write"
    VERSIONS_DELETE = "versions.delete"
    VERSIONS_STAGE = "versions.stage"
    VERSIONS_PROMOTE = "versions.promote"
    VERSIONS_ARCHIVE = "versions.archive"
    ALIASES_WRITE = "aliases.write"
    AUDIT_READ = "audit.read"
    BINDINGS_READ = "bindings.read"
    BINDINGS_WRITE = "bindings.write"
    WORKSPACES_WRITE = "workspaces.write"
    WORKSPACES_CREATE = "workspaces.create"
    QUOTAS_WRITE = "quotas.write"
    PRINCIPALS_READ = "principals.read"
    PRINCIPALS_WRITE = "principals.write"
    GROUPS_WRITE = "groups.write"
    TOKENS_READ = "tokens.read"
    TOKENS_CREATE = "tokens.create"
    TOKENS_REVOKE = "tokens.revoke"
    ROLES_WRITE = "roles.write"
    ACCESS_AUDIT = "access.audit"


P = Permission

MEANINGS: Mapping[Permission, str] = {
    P.RUNS_READ: "read experiments, runs, metrics and datasets",
    P.RUNS_WRITE: "create runs, change and finish them, and log to them",
    P.RUNS_DELETE: "delete and restore runs",
    P.EXPERIMENTS_WRITE: "create and change experiments",
    P.EXPERIMENTS_DELETE: "delete and restore experiments",
    P.FILES_READ: "list and download the files of runs and versions",
    P.FILES_WRITE: "upload files to runs",
    P.FILES_DELETE: "delete files of runs",
    P.MODELS_READ: "read models, versions, aliases, promotions, evaluations and events",
    P.MODELS_WRITE: "create and change models",
    P.MODELS_DELETE: "delete models",
    P.VERSIONS_CREATE: "create versions",
    P.VERSIONS_WRITE: "change versions and evaluate them",
    P.VERSIONS_DELETE: "delete versions",
    P.VERSIONS_STAGE: "move versions to a serving stage before the last one, such as Staging",
    P.VERSIONS_PROMOTE: "move versions to the last serving stage, such as Production, or from it to another one",
    P.VERSIONS_ARCHIVE: "move versions, whatever their stage, to the archive or to the first stage",
    P.ALIASES_WRITE: "set and delete aliases",
    P.AUDIT_READ: "read the audit records of models",
    P.BINDINGS_READ: "see who has which role there",
    P.BINDINGS_WRITE: "bind roles and remove them, within what one may do oneself",
    P.WORKSPACES_WRITE: "change the description of the workspace",
    P.WORKSPACES_CREATE: "create workspaces",
    P.QUOTAS_WRITE: "set the quotas of workspaces",
    P.PRINCIPALS_READ: "read all principals and groups",
    P.PRINCIPALS_WRITE: "create, change, disable and enable principals",
    P.GROUPS_WRITE: "create, change and delete groups, and change who is in them",
    P.TOKENS_READ: "read the tokens of all principals, without their texts",
    P.TOKENS_CREATE: "make and rotate tokens of service accounts, and invite people by their first token",
    P.TOKENS_REVOKE: "revoke the tokens of all principals",
    P.ROLES_WRITE: "create, change and delete roles",
    P.ACCESS_AUDIT: "read the audit records of access",
}

INSTALLATION_ONLY = frozenset(
    {
        *(P.WORKSPACES_CREATE, P.QUOTAS_WRITE, P.PRINCIPALS_READ, P.PRINCIPALS_WRITE, P.GROUPS_WRITE),
        *(P.TOKENS_READ, P.TOKENS_CREATE, P.TOKENS_REVOKE, P.ROLES_WRITE, P.ACCESS_AUDIT),
    }
)
"""Permissions that mean something only where a role is bound for the whole installation."""

_READER = frozenset({P.RUNS_READ, P.FILES_READ, P.MODELS_READ, P.AUDIT_READ})

ROLES: Mapping[str, frozenset[Permission]] = {
    "reader": _READER,
    "writer": _READER
    | {P.RUNS_WRITE, P.RUNS_DELETE, P.EXPERIMENTS_WRITE, P.EXPERIMENTS_DELETE, P.FILES_WRITE, P.FILES_DELETE}
    | {P.MODELS_WRITE, P.VERSIONS_CREATE, P.VERSIONS_WRITE, P.VERSIONS_STAGE, P.ALIASES_WRITE},
    "approver": _READER | {P.VERSIONS_STAGE, P.VERSIONS_PROMOTE, P.VERSIONS_ARCHIVE, P.ALIASES_WRITE},
    "admin": frozenset(Permission),
}
"""The roles that are part of Modelry. Others are rows of access.

Bound at a workspace, `admin` has all permissions that mean something there.
"""

ROLE_NOTES: Mapping[str, str] = {
    "reader": "Reads everything.",
    "writer": "Trains: reads and writes experiments, runs, files and models, up to Staging.",
    "approver": "Decides: reads everything, and moves versions to all stages.",
    "admin": "May do everything there. For the whole installation: the platform administrator.",
}

_BY_SERVICE: dict[str, dict[str, Permission | Kind]] = {
    "modelry.api.access.v1.WorkspaceService": {
        "CreateWorkspace": P.WORKSPACES_CREATE,
        "GetWorkspace": SIGNED_IN,
        "ListWorkspaces": SIGNED_IN,
        "UpdateWorkspace": P.WORKSPACES_WRITE,
    },
    "modelry.api.access.v1.PrincipalService": {
        "WhoAmI": INVITED,
        "CreateAdministrator": BOOTSTRAP,
        "CreatePrincipal": P.PRINCIPALS_WRITE,
        "GetPrincipal": SIGNED_IN,
        "ListPrincipals": SIGNED_IN,
        "UpdatePrincipal": P.PRINCIPALS_WRITE,
    },
    "modelry.api.access.v1.GroupService": {
        "CreateGroup": P.GROUPS_WRITE,
        "GetGroup": SIGNED_IN,
        "ListGroups": SIGNED_IN,
        "UpdateGroup": P.GROUPS_WRITE,
        "DeleteGroup": P.GROUPS_WRITE,
        "AddGroupMembers": P.GROUPS_WRITE,
        "RemoveGroupMembers": P.GROUPS_WRITE,
        "ListGroupMembers": SIGNED_IN,
    },
    "modelry.api.access.v1.TokenService": {
        "CreateToken": SIGNED_IN,
        "GetToken": SIGNED_IN,
        "ListTokens": SIGNED_IN,
        "RotateToken": INVITED,
        "RevokeToken": SIGNED_IN,
        "RevokeTokens": SIGNED_IN,
    },
    "modelry.api.access.v1.RoleService": {
        "CreateRole": P.ROLES_WRITE,
        "GetRole": SIGNED_IN,
        "ListRoles": SIGNED_IN,
        "UpdateRole": P.ROLES_WRITE,
        "DeleteRole": P.ROLES_WRITE,
        "CreateRoleBinding": P.BINDINGS_WRITE,
        "GetRoleBinding": P.BINDINGS_READ,
        "ListRoleBindings": P.BINDINGS_READ,
        "DeleteRoleBinding": P.BINDINGS_WRITE,
    },
    "modelry.api.access.v1.AuditService": {"ListAuditRecords": P.ACCESS_AUDIT},
    "modelry.internal.access.v1.IdentityService": {
        "GetIdentity": SERVICE,
        "GetGrants": SERVICE,
        "WatchChanges": SERVICE,
        "LogTokenUses": SERVICE,
    },
    "modelry.api.tracking.v1.ExperimentService": {
        "CreateExperiment": P.EXPERIMENTS_WRITE,
        "GetExperiment": P.RUNS_READ,
        "GetExperimentByName": P.RUNS_READ,
        "UpdateExperiment": P.EXPERIMENTS_WRITE,
        "DeleteExperiment": P.EXPERIMENTS_DELETE,
        "RestoreExperiment": P.EXPERIMENTS_DELETE,
        "SearchExperiments": P.RUNS_READ,
        "SetExperimentTags": P.EXPERIMENTS_WRITE,
        "DeleteExperimentTags": P.EXPERIMENTS_WRITE,
    },
    "modelry.api.tracking.v1.RunService": {
        "CreateRun": P.RUNS_WRITE,
        "GetRun": P.RUNS_READ,
        "UpdateRun": P.RUNS_WRITE,
        "FinishRun": P.RUNS_WRITE,
        "DeleteRun": P.RUNS_DELETE,
        "RestoreRun": P.RUNS_DELETE,
        "SearchRuns": P.RUNS_READ,
        "LogHeartbeats": P.RUNS_WRITE,
        "LogBatch": P.RUNS_WRITE,
        "SetRunTags": P.RUNS_WRITE,
        "DeleteRunTags": P.RUNS_WRITE,
    },
    "modelry.api.tracking.v1.MetricService": {"WriteMetrics": P.RUNS_WRITE, "ReadMetrics": P.RUNS_READ},
    "modelry.api.tracking.v1.DatasetService": {
        "LogDatasets": P.RUNS_WRITE,
        "GetDataset": P.RUNS_READ,
        "SearchDatasets": P.RUNS_READ,
    },
    "modelry.api.tracking.v1.UsageService": {"GetUsage": P.RUNS_READ},
    "modelry.api.artifacts.v1.ArtifactService": {
        "WriteArtifacts": P.FILES_WRITE,
        "ReadArtifacts": P.FILES_READ,
        "ListArtifacts": P.FILES_READ,
        "GetArtifact": P.FILES_READ,
        "DeleteArtifact": P.FILES_DELETE,
    },
    "modelry.api.artifacts.v1.UsageService": {"GetUsage": P.FILES_READ},
    "modelry.internal.artifacts.v1.SnapshotService": {
        "CreateSnapshot": SERVICE,
        "GetSnapshot": SERVICE,
        "DeleteSnapshot": SERVICE,
    },
    "modelry.api.registry.v1.ModelService": {
        "CreateModel": P.MODELS_WRITE,
        "GetModel": P.MODELS_READ,
        "UpdateModel": P.MODELS_WRITE,
        "DeleteModel": P.MODELS_DELETE,
        "SearchModels": P.MODELS_READ,
        "SetModelTags": P.MODELS_WRITE,
        "DeleteModelTags": P.MODELS_WRITE,
    },
    "modelry.api.registry.v1.VersionService": {
        "CreateVersion": P.VERSIONS_CREATE,
        "GetVersion": P.MODELS_READ,
        "UpdateVersion": P.VERSIONS_WRITE,
        "DeleteVersion": P.VERSIONS_DELETE,
        "SearchVersions": P.MODELS_READ,
        "ListLatestVersions": P.MODELS_READ,
        "SetVersionTags": P.VERSIONS_WRITE,
        "DeleteVersionTags": P.VERSIONS_WRITE,
    },
    "modelry.api.registry.v1.AliasService": {
        "SetAlias": P.ALIASES_WRITE,
        "GetAlias": P.MODELS_READ,
        "DeleteAlias": P.ALIASES_WRITE,
    },
    "modelry.api.registry.v1.PromotionService": {
        # The permission depends on the stages, so the domain asks for `versions.stage`, `.promote` or `.archive`.
        "PromoteVersion": P.MODELS_READ,
        "GetPromotion": P.MODELS_READ,
        "ListPromotions": P.MODELS_READ,
    },
    "modelry.api.registry.v1.EvaluationService": {
        "CreateEvaluation": P.VERSIONS_WRITE,
        "GetEvaluation": P.MODELS_READ,
        "ListEvaluations": P.MODELS_READ,
    },
    "modelry.api.registry.v1.AuditService": {"ListAuditRecords": P.AUDIT_READ},
    "modelry.api.registry.v1.EventService": {"ListEvents": P.MODELS_READ},
    "modelry.api.registry.v1.UsageService": {"GetUsage": P.MODELS_READ},
}

PERMISSIONS: dict[str, str] = {
    f"/{service}/{rpc}": need for service, rpcs in _BY_SERVICE.items() for rpc, need in rpcs.items()
}
"""Full rpc name to the permission, or the `Kind`, that it needs."""
