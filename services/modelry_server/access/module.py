"""The parts of access, and how they are put together: the only place that constructs them."""

from collections.abc import Mapping
from pathlib import Path

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.config import AccessConfig
from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.jobs import jobs
from modelry_server.access.rpc.workspaces import WorkspaceService
from modelry_server.access.store import tables
from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Room

NEIGHBOURS: tuple[str, ...] = ()


def build(
    config: AccessConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Puts the service together. It needs no `folder` for local files, and calls no other service."""
    requests = Requests(tables.requests, Clock())
    workspaces = WorkspaceService(Workspaces(db, requests, access, Clock()), Pager(db.secret("paging")))

    def register(server: grpc.Server) -> None:
        api.add_WorkspaceServiceServicer_to_server(workspaces, server)

    return Room("access", ["modelry.api.access.v1.WorkspaceService"], register, jobs=jobs(db, requests), close=db.close)
