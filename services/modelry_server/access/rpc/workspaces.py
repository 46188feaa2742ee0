"""WorkspaceService: contract in, contract out."""

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.entities import Workspace
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager, fitting

_CHANGEABLE = ("description",)


class WorkspaceService(api.WorkspaceServiceServicer):
    """Answers calls about workspaces."""

    def __init__(self, workspaces: Workspaces, pager: Pager) -> None:
        self._workspaces = workspaces
        self._pager = pager

    def CreateWorkspace(
        self, request: api.CreateWorkspaceRequest, context: grpc.ServicerContext
    ) -> api.CreateWorkspaceResponse:
        """Makes a workspace."""
        workspace = self._workspaces.create(request.name, request.description, idempotency.request(request))
        return api.CreateWorkspaceResponse(workspace=_message(workspace))

    def GetWorkspace(self, request: api.GetWorkspaceRequest, context: grpc.ServicerContext) -> api.GetWorkspaceResponse:
        """Reads one workspace."""
        return api.GetWorkspaceResponse(workspace=_message(self._workspaces.get(request.name)))

    def ListWorkspaces(
        self, request: api.ListWorkspacesRequest, context: grpc.ServicerContext
    ) -> api.ListWorkspacesResponse:
        """Lists workspaces by name."""
        scope = ("ListWorkspaces",)
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._workspaces.page(str(page.after[0]) if page.after else "", page.size + 1)
        messages = fitting(map(_message, found), page.size)
        token = self._pager.token(scope, (messages[-1].name,)) if len(found) > len(messages) else ""
        return api.ListWorkspacesResponse(workspaces=messages, next_page_token=token)

    def UpdateWorkspace(
        self, request: api.UpdateWorkspaceRequest, context: grpc.ServicerContext
    ) -> api.UpdateWorkspaceResponse:
        """Changes the description."""
        with Fields() as fields:
            fields.mask("update_mask", request.update_mask.paths, _CHANGEABLE)
        given = request.workspace
        return api.UpdateWorkspaceResponse(
            workspace=_message(self._workspaces.describe(given.name, given.description, given.etag))
        )


def _message(workspace: Workspace) -> api.Workspace:
    message = api.Workspace(name=workspace.name, description=workspace.description, etag=workspace.etag)
    message.create_time.FromMilliseconds(workspace.create_time)
    message.update_time.FromMilliseconds(workspace.update_time)
    return message
