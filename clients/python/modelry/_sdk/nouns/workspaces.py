"""Workspaces, which separate teams."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.usage import WorkspaceUsage, usage_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as it was when it was read."""

    name: str
    description: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@arguments.texts_checked
class Workspaces:
    """Creates, reads, lists and changes workspaces."""

    def __init__(
        self, connection: Connection, workspace: str, connections: Callable[[str], Connection] | None = None
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._connections = connections or (lambda service: connection)

    def create(self, name: str, *, description: str = "") -> Workspace:
        """Creates a workspace. Raises WorkspaceExists or FieldInvalid."""
        request = access.CreateWorkspaceRequest(name=name, description=description, request_id=uuid.uuid4().hex)
        return _workspace_of(self._connection.call(access.rpcs.CREATE_WORKSPACE, request).workspace)

    def get(self, name: str) -> Workspace:
        """Reads a workspace. Raises WorkspaceNotFound."""
        request = access.GetWorkspaceRequest(name=name)
        return _workspace_of(self._connection.call(access.rpcs.GET_WORKSPACE, request).workspace)

    def list(self, *, max_results: int | None = None, page_size: int = 100) -> LazyList[Workspace]:
        """Lists workspaces, by name."""

        def fetch(size: int, token: str) -> tuple[list[Workspace], str]:
            request = access.ListWorkspacesRequest(page_size=size, page_token=token)
            page = self._connection.call(access.rpcs.LIST_WORKSPACES, request)
            return [_workspace_of(message) for message in page.workspaces], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def update(self, name: str, *, description: str, etag: str = "") -> Workspace:
        """Changes the description.

        With an `etag` it raises EtagMismatch if somebody else has changed the workspace. Raises WorkspaceNotFound.
        """
        changed = access.Workspace(name=name, description=description, etag=etag)
        request = access.UpdateWorkspaceRequest(workspace=changed)
        request.update_mask.paths.append("description")
        return _workspace_of(self._connection.call(access.rpcs.UPDATE_WORKSPACE, request).workspace)

    def usage(self, name: str | None = None) -> WorkspaceUsage:
        """How many runs, versions and stored bytes a workspace has, and may have; by default that of the client.

        Raises WorkspaceNotFound.
        """
        return usage_of(self._connections, self._workspace if name is None else name)


def _workspace_of(message: access.Workspace) -> Workspace:
    return Workspace(
        name=message.name,
        description=message.description,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
