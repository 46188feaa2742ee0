"""WorkspaceService: contract in, contract out."""

from collections.abc import Sequence
from dataclasses import asdict

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.workspaces import CHANGEABLE, Workspaces
from modelry_server.access.entities import Quotas, Workspace
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Found, Pager, SortValue
from modelry_server.kernel.requests.updates import changes


class WorkspaceService(api.WorkspaceServiceServicer):
    """Answers calls about workspaces."""

    def __init__(self, workspaces: Workspaces, pager: Pager) -> None:
        self._workspaces = workspaces
        self._pager = pager

    def CreateWorkspace(
        self, request: api.CreateWorkspaceRequest, context: grpc.ServicerContext
    ) -> api.CreateWorkspaceResponse:
        workspace = self._workspaces.create(
            request.name, request.description, idempotency.request(request), _quotas(request.quotas)
        )
        return api.CreateWorkspaceResponse(workspace=_message(workspace))

    def GetWorkspace(self, request: api.GetWorkspaceRequest, context: grpc.ServicerContext) -> api.GetWorkspaceResponse:
        return api.GetWorkspaceResponse(workspace=_message(self._workspaces.get(request.name)))

    def ListWorkspaces(
        self, request: api.ListWorkspacesRequest, context: grpc.ServicerContext
    ) -> api.ListWorkspacesResponse:
        def search(*, after: tuple[SortValue, ...] | None, limit: int) -> Sequence[Found[Workspace]]:
            found = self._workspaces.page(str(after[0]) if after else "", limit)
            return [Found(workspace, (workspace.name,)) for workspace in found]

        workspaces, next_page_token = self._pager.answer(request, search, _message)
        return api.ListWorkspacesResponse(workspaces=workspaces, next_page_token=next_page_token)

    def UpdateWorkspace(
        self, request: api.UpdateWorkspaceRequest, context: grpc.ServicerContext
    ) -> api.UpdateWorkspaceResponse:
        given = request.workspace
        workspace = self._workspaces.update(
            given.name, given.etag, lambda: changes(given, request.update_mask, CHANGEABLE)
        )
        return api.UpdateWorkspaceResponse(workspace=_message(workspace))


def _quotas(given: api.WorkspaceQuotas) -> Quotas:
    return Quotas(**{field.name: limit for field, limit in given.ListFields()})


def _message(workspace: Workspace) -> api.Workspace:
    message = api.Workspace(name=workspace.name, description=workspace.description, etag=workspace.etag)
    message.create_time.FromMilliseconds(workspace.create_time)
    message.update_time.FromMilliseconds(workspace.update_time)
    if workspace.quotas != Quotas():
        message.quotas.CopyFrom(api.WorkspaceQuotas(**asdict(workspace.quotas)))
    return message
