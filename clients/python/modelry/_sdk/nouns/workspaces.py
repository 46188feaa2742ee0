"""Workspaces, which separate teams."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.usage import WorkspaceUsage, usage_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access


@dataclass(frozen=True, slots=True)
class WorkspaceQuotas:
    """The most that a workspace may have: runs, versions, and bytes of files. None: no limit. 0: nothing more.

    Deleted runs count, and each file counts for each run and version that has it.
    """

    run_count: int | None = None
    version_count: int | None = None
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as it was when it was read."""

    name: str
    description: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str
    quotas: WorkspaceQuotas = WorkspaceQuotas()


_QUOTAS = tuple(each.name for each in fields(WorkspaceQuotas))


@arguments.texts_checked
class Workspaces:
    """Creates, reads, lists and changes workspaces."""

    def __init__(
        self, connection: Connection, workspace: str, connections: Callable[[str], Connection] | None = None
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._connections = connections or (lambda service: connection)

    def create(
        self, name: str, *, description: str = "", quotas: WorkspaceQuotas | Mapping[str, int | None] | None = None
    ) -> Workspace:
        """Creates a workspace. Default: without quotas. Raises WorkspaceExists or FieldInvalid."""
        request = access.CreateWorkspaceRequest(name=name, description=description, request_id=uuid.uuid4().hex)
        if quotas is not None:
            request.quotas.CopyFrom(access.WorkspaceQuotas(**_limits(quotas)))
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

    def update(
        self,
        name: str,
        *,
        description: str | None = None,
        quotas: WorkspaceQuotas | Mapping[str, int | None] | None = None,
        etag: str = "",
    ) -> Workspace:
        """Changes the description or the quotas. Only administrators of the installation change quotas.

        A WorkspaceQuotas replaces all quotas. A mapping such as `{"run_count": 100}` changes those that it names, and
        None in it removes one.

        With an `etag` it raises EtagMismatch if somebody else has changed the workspace. Raises WorkspaceNotFound and
        FieldInvalid.
        """
        request = access.UpdateWorkspaceRequest(workspace=access.Workspace(name=name, etag=etag))
        if description is not None:
            request.workspace.description = description
            request.update_mask.paths.append("description")
        if quotas is not None:
            limits = _limits(quotas)
            request.workspace.quotas.CopyFrom(access.WorkspaceQuotas(**limits))
            request.update_mask.paths.extend(f"quotas.{each}" for each in limits)
        if not request.update_mask.paths:
            return self.get(name)
        return _workspace_of(self._connection.call(access.rpcs.UPDATE_WORKSPACE, request).workspace)

    def usage(self, name: str | None = None) -> WorkspaceUsage:
        """How many runs, versions and stored bytes a workspace has, and may have; by default that of the client.

        Raises WorkspaceNotFound.
        """
        return usage_of(self._connections, self._workspace if name is None else name)


def _limits(quotas: WorkspaceQuotas | Mapping[str, int | None]) -> dict[str, int | None]:
    """The quotas that are given, by name. Raises InvalidArgument for what is neither None nor a whole number from 0."""
    if isinstance(quotas, WorkspaceQuotas):
        quotas = asdict(quotas)
    if not isinstance(quotas, Mapping):
        raise arguments.refused("quotas", quotas, "a modelry.types.WorkspaceQuotas, or a mapping of quotas by name")
    if unknown := [name for name in quotas if name not in _QUOTAS]:
        raise arguments.refused("quotas", unknown[0], f"by name: {', '.join(_QUOTAS)}")
    limits = {name: arguments.count(f"quotas.{name}", limit) for name, limit in quotas.items()}
    for name, limit in limits.items():
        if limit is not None and limit >= 1 << 63:
            raise arguments.refused(f"quotas.{name}", limit, "less than 2**63")
    return limits


def _workspace_of(message: access.Workspace) -> Workspace:
    return Workspace(
        name=message.name,
        description=message.description,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
        quotas=WorkspaceQuotas(**{field.name: limit for field, limit in message.quotas.ListFields()}),
    )
