"""Workspaces, which separate teams."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access

_SERVICE = "modelry.api.access.v1.WorkspaceService"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as it was when it was read."""

    name: str
    description: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


class Workspaces:
    """Makes, reads, lists and describes workspaces."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection

    def create(self, name: str, *, description: str = "") -> Workspace:
        """Makes a workspace. Raises WorkspaceExists or FieldInvalid."""
        request = access.CreateWorkspaceRequest(name=name, description=description, request_id=uuid.uuid4().hex)
        answer = self._connection.call(f"{_SERVICE}/CreateWorkspace", request, access.CreateWorkspaceResponse)
        return _workspace_of(answer.workspace)

    def get(self, name: str) -> Workspace:
        """Reads a workspace. Raises WorkspaceNotFound."""
        request = access.GetWorkspaceRequest(name=name)
        answer = self._connection.call(f"{_SERVICE}/GetWorkspace", request, access.GetWorkspaceResponse)
        return _workspace_of(answer.workspace)

    def list(self, *, max_results: int | None = None, page_size: int = 100) -> LazyList[Workspace]:
        """Lists workspaces by name."""

        def fetch(size: int, token: str) -> tuple[list[Workspace], str]:
            request = access.ListWorkspacesRequest(page_size=size, page_token=token)
            page = self._connection.call(f"{_SERVICE}/ListWorkspaces", request, access.ListWorkspacesResponse)
            return [_workspace_of(message) for message in page.workspaces], page.next_page_token

        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))

    def update(self, name: str, *, description: str, etag: str = "") -> Workspace:
        """Changes the description.

        With an `etag` it raises EtagMismatch where somebody else changed the workspace since. Raises WorkspaceNotFound.
        """
        request = access.UpdateWorkspaceRequest(
            workspace=access.Workspace(name=name, description=description, etag=etag)
        )
        request.update_mask.paths.append("description")
        answer = self._connection.call(f"{_SERVICE}/UpdateWorkspace", request, access.UpdateWorkspaceResponse)
        return _workspace_of(answer.workspace)


def _workspace_of(message: access.Workspace) -> Workspace:
    return Workspace(
        name=message.name,
        description=message.description,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
