"""How much a workspace has of what has a quota: three services count, access knows the quotas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking


@dataclass(frozen=True, slots=True)
class Used:
    """How much there is of something, and how much there may be; None: no limit."""

    used: int
    limit: int | None

    @property
    def share(self) -> float | None:
        """How much of the limit is used: 0.5 for one half; 1.0 of a limit of 0. None without a limit."""
        if self.limit is None:
            return None
        return self.used / self.limit if self.limit else 1.0


@dataclass(frozen=True, slots=True)
class WorkspaceUsage:
    """What a workspace has, and may have, when it was asked for.

    Deleted runs count. A file counts for each run and version that has it.
    """

    workspace: str
    runs: Used
    versions: Used
    stored_bytes: Used
    file_count: int


def usage_of(connections: Callable[[str], Connection], name: str) -> WorkspaceUsage:
    """Asks all services about a workspace. `connections` gives the connection to a service."""
    workspace = access.GetWorkspaceRequest(name=name)
    quotas = connections("access").call(access.rpcs.GET_WORKSPACE, workspace).workspace.quotas
    limits = {field.name: limit for field, limit in quotas.ListFields()}
    runs = connections("tracking").call(tracking.rpcs.GET_USAGE, tracking.GetUsageRequest(workspace=name)).usage
    versions = connections("registry").call(registry.rpcs.GET_USAGE, registry.GetUsageRequest(workspace=name)).usage
    files = connections("artifacts").call(artifacts.rpcs.GET_USAGE, artifacts.GetUsageRequest(workspace=name)).usage
    return WorkspaceUsage(
        name,
        runs=Used(runs.run_count, limits.get("run_count")),
        versions=Used(versions.version_count, limits.get("version_count")),
        stored_bytes=Used(files.stored_bytes, limits.get("stored_bytes")),
        file_count=files.file_count,
    )
