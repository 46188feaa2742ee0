"""The parts of access, and how they are put together: the only place that constructs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from modelry.api.access import v1 as api
from modelry.internal.access import v1 as internal
from modelry_server.access.config import AccessConfig
from modelry_server.access.domain.audit import Audit
from modelry_server.access.domain.bootstrap import Bootstrap
from modelry_server.access.domain.changes import Changes
from modelry_server.access.domain.identities import Identities
from modelry_server.access.domain.principals import Principals
from modelry_server.access.domain.tokens import Lifetimes, Tokens
from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.jobs import jobs
from modelry_server.access.rpc.audit import AuditService
from modelry_server.access.rpc.identities import IdentityService
from modelry_server.access.rpc.principals import PrincipalService
from modelry_server.access.rpc.tokens import TokenService
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
SERVICES = [f"modelry.api.access.v1.{name}Service" for name in ("Workspace", "Principal", "Token", "Audit")]


@dataclass(frozen=True, slots=True)
class Identification:
    """What says who callers are, for the authority of this process."""

    identities: Identities
    changes: Changes
    bootstrap: Bootstrap


def identification(config: AccessConfig, db: Database, *, folder: Path, access: Access) -> Identification:
    """The parts that say who callers are. They need the database only, so an authority can be made before a server."""
    clock = Clock()
    return Identification(
        Identities(db, clock),
        Changes(db),
        Bootstrap(db, access, clock, folder=folder, given=config.bootstrap_token, lifetimes=_lifetimes(config)),
    )


def build(
    config: AccessConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Puts the service together. `folder` is for the file with the bootstrap token. It calls no other service."""
    clock = Clock()
    requests, pager = Requests(tables.requests, clock), Pager(db.secret("paging"))
    known = identification(config, db, folder=folder, access=access)
    tokens = Tokens(db, requests, access, clock, _lifetimes(config))
    principals = Principals(db, requests, access, clock)

    def register(server: grpc.Server) -> None:
        api.add_WorkspaceServiceServicer_to_server(
            WorkspaceService(Workspaces(db, requests, access, clock), pager), server
        )
        api.add_PrincipalServiceServicer_to_server(PrincipalService(principals, known.bootstrap, pager), server)
        api.add_TokenServiceServicer_to_server(TokenService(tokens, pager), server)
        api.add_AuditServiceServicer_to_server(AuditService(Audit(db, access), pager), server)

    def register_internal(server: grpc.Server) -> None:
        identities = IdentityService(known.identities, known.changes, tokens, access)
        internal.add_IdentityServiceServicer_to_server(identities, server)

    return Room(
        "access",
        SERVICES,
        register,
        ["modelry.internal.access.v1.IdentityService"],
        register_internal,
        jobs=jobs(db, requests, clock),
        close=db.close,
    )


def _lifetimes(config: AccessConfig) -> Lifetimes:
    return Lifetimes(round(config.token_lifetime * 1000), round(config.longest_token_lifetime * 1000))
