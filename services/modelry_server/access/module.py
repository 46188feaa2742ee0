"""The parts of access, and how they are put together: the only place that constructs them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf import descriptor_pool

from modelry.api.access import v1 as api
from modelry.internal.access import v1 as internal
from modelry_server.access.config import AccessConfig
from modelry_server.access.domain.audit import Audit
from modelry_server.access.domain.bindings import Bindings
from modelry_server.access.domain.bootstrap import Bootstrap
from modelry_server.access.domain.changes import Changes
from modelry_server.access.domain.groups import Groups
from modelry_server.access.domain.identities import Identities
from modelry_server.access.domain.oidc.issuers import load_issuers
from modelry_server.access.domain.oidc.verifying import Oidc
from modelry_server.access.domain.principals import Principals
from modelry_server.access.domain.roles import Roles
from modelry_server.access.domain.tokens import Lifetimes, Tokens
from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.jobs import jobs
from modelry_server.access.rpc.audit import AuditService
from modelry_server.access.rpc.groups import GroupService
from modelry_server.access.rpc.identities import IdentityService
from modelry_server.access.rpc.principals import PrincipalService
from modelry_server.access.rpc.roles import RoleService
from modelry_server.access.rpc.tokens import TokenService
from modelry_server.access.rpc.workspaces import WorkspaceService
from modelry_server.access.store import tables
from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.unknown import whole
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Room

NEIGHBOURS: tuple[str, ...] = ()
_PACKAGE = "modelry.api.access.v1"
SERVICES = [f"{_PACKAGE}.{name}Service" for name in ("Workspace", "Principal", "Group", "Token", "Role", "Audit")]
_DESCRIPTORS = descriptor_pool.Default()
_Servicer = TypeVar("_Servicer")


def build(
    config: AccessConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Puts the service together. `folder` is for the file with the bootstrap token. It calls no other service.

    If callers are known, there is a way to make the first administrator afterwards. Raises ConfigurationInvalid.
    """
    clock = Clock()
    lifetimes = Lifetimes(round(config.token_lifetime * 1000), round(config.longest_token_lifetime * 1000))
    issuers = load_issuers(Path(config.issuers_file).expanduser()) if config.issuers_file else ()
    creating = {issuer.url for issuer in issuers if issuer.create_principals}
    requests, pager = Requests(tables.requests, clock), Pager(db.secret("paging"))
    parts = (db, requests, access, clock)
    tokens = Tokens(*parts, lifetimes)
    principals = Principals(*parts, issuers=[issuer.url for issuer in issuers])
    identities = Identities(db, clock, oidc=Oidc(issuers, clock) if issuers else None, creates=creating.__contains__)
    changes = Changes(db)
    bootstrap = Bootstrap(db, access, clock, folder=folder, given=config.bootstrap_token, lifetimes=lifetimes)
    if not access.is_open:
        bootstrap.ensure()

    def register(server: grpc.Server) -> None:
        api.add_WorkspaceServiceServicer_to_server(_whole(WorkspaceService(Workspaces(*parts), pager)), server)
        api.add_PrincipalServiceServicer_to_server(_whole(PrincipalService(principals, bootstrap, pager)), server)
        api.add_GroupServiceServicer_to_server(_whole(GroupService(Groups(*parts), pager)), server)
        api.add_RoleServiceServicer_to_server(_whole(RoleService(Roles(*parts), Bindings(*parts), pager)), server)
        api.add_TokenServiceServicer_to_server(_whole(TokenService(tokens, pager)), server)
        api.add_AuditServiceServicer_to_server(AuditService(Audit(db, access), pager), server)

    def register_internal(server: grpc.Server) -> None:
        service = IdentityService(identities, changes, tokens, access)
        internal.add_IdentityServiceServicer_to_server(service, server)

    return Room(
        "access",
        SERVICES,
        register,
        ["modelry.internal.access.v1.IdentityService"],
        register_internal,
        jobs=jobs(db, requests, clock),
        close=db.close,
        sign_in=next(({"issuer": each.url, "client_id": each.client_id} for each in issuers if each.client_id), {}),
    )


def _whole(servicer: _Servicer) -> _Servicer:
    """The servicer, which gives nothing by a request that it can't read whole."""
    return whole(servicer, _DESCRIPTORS.FindServiceByName(f"{_PACKAGE}.{type(servicer).__name__}"))
