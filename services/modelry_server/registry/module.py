"""The parts list of the registry: the only place that constructs."""

from collections.abc import Mapping
from pathlib import Path

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Room
from modelry_server.registry import clients
from modelry_server.registry.config import RegistryConfig
from modelry_server.registry.domain.aliases import Aliases
from modelry_server.registry.domain.audit import Audit
from modelry_server.registry.domain.drafts import Drafts
from modelry_server.registry.domain.evaluations import Evaluations
from modelry_server.registry.domain.events import Events
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.models import Models
from modelry_server.registry.domain.promotions import Promotions
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.domain.sources import Sources
from modelry_server.registry.domain.usage import Usage
from modelry_server.registry.domain.versions import Versions
from modelry_server.registry.jobs import jobs
from modelry_server.registry.rpc.aliases import AliasService
from modelry_server.registry.rpc.audit import AuditService
from modelry_server.registry.rpc.evaluations import EvaluationService
from modelry_server.registry.rpc.events import EventService
from modelry_server.registry.rpc.models import ModelService
from modelry_server.registry.rpc.promotions import PromotionService
from modelry_server.registry.rpc.usage import UsageService
from modelry_server.registry.rpc.versions import VersionService
from modelry_server.registry.store import tables

NEIGHBOURS: tuple[str, ...] = ("artifacts", "tracking", "access")

_SERVICES = (
    *("ModelService", "VersionService", "PromotionService", "AliasService", "EvaluationService", "AuditService"),
    *("EventService", "UsageService"),
)


def build(
    config: RegistryConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Puts the registry together. The `folder` for local files is not needed."""
    clock, pager, lookup = Clock(), Pager(db.secret("paging")), Lookup(access)
    requests = Requests(tables.requests, clock)
    workspaces = clients.Workspaces(neighbours["access"])
    snapshots = Snapshots(db, clients.Artifacts(neighbours["artifacts"]), clock)
    runs = clients.Runs(neighbours["tracking"])
    sources = Sources(db, lookup, runs)
    models = Models(db, requests, lookup, clock, workspaces=workspaces, snapshots=snapshots)
    usage = Usage(db, access, workspaces)
    drafts = Drafts(db, requests, lookup, clock, sources=sources, snapshots=snapshots, usage=usage)
    versions = Versions(db, lookup, clock, workspaces=workspaces, snapshots=snapshots)
    events = Events(db, workspaces, lookup, pager)
    model_service = ModelService(models, pager)
    version_service = VersionService(versions, drafts, pager)
    promotion_service = PromotionService(Promotions(db, requests, lookup, clock), pager)
    alias_service = AliasService(Aliases(db, lookup, clock))
    evaluation_service = EvaluationService(Evaluations(db, requests, lookup, clock, runs=runs), pager)
    audit_service = AuditService(Audit(db, lookup), pager)
    event_service = EventService(events, pager)

    def register(server: grpc.Server) -> None:
        api.add_ModelServiceServicer_to_server(model_service, server)
        api.add_VersionServiceServicer_to_server(version_service, server)
        api.add_PromotionServiceServicer_to_server(promotion_service, server)
        api.add_AliasServiceServicer_to_server(alias_service, server)
        api.add_EvaluationServiceServicer_to_server(evaluation_service, server)
        api.add_AuditServiceServicer_to_server(audit_service, server)
        api.add_EventServiceServicer_to_server(event_service, server)
        api.add_UsageServiceServicer_to_server(UsageService(usage), server)

    return Room(
        name="registry",
        services=tuple(f"modelry.api.registry.v1.{name}" for name in _SERVICES),
        register=register,
        jobs=jobs(db, requests, snapshots, events),
        close=db.close,
    )
