"""Workspaces with quotas, as an administrator makes and changes them."""

from __future__ import annotations

from modelry.api.access import v1 as access
from modelry_server.kernel.ids import new_id
from tests.parts.deployment import Deployment

HEARD_S = 5.0
"""How long services believe what they heard of a quota, in seconds."""


def workspace_with(deployment: Deployment, **quotas: int) -> str:
    """The name of a new workspace that has these quotas from the beginning."""
    request = access.CreateWorkspaceRequest(name=f"team-{new_id()}", quotas=access.WorkspaceQuotas(**quotas))
    return deployment.stub(access.WorkspaceServiceStub).CreateWorkspace(request).workspace.name


def set_quotas(deployment: Deployment, workspace: str, **quotas: int) -> None:
    """Changes the quotas of a workspace. Services hear of it within `HEARD_S`."""
    changed = access.Workspace(name=workspace, quotas=access.WorkspaceQuotas(**quotas))
    request = access.UpdateWorkspaceRequest(workspace=changed)
    request.update_mask.paths.append("quotas")
    deployment.stub(access.WorkspaceServiceStub).UpdateWorkspace(request)
