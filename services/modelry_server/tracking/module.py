"""The parts list of tracking: the only place that constructs."""

from collections.abc import Mapping
from pathlib import Path

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Room
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.config import TrackingConfig
from modelry_server.tracking.domain.datasets import Datasets
from modelry_server.tracking.domain.experiments import Experiments
from modelry_server.tracking.domain.heartbeats import Heartbeats
from modelry_server.tracking.domain.ingest import Ingest
from modelry_server.tracking.domain.metrics import Metrics
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.run_creation import RunCreation
from modelry_server.tracking.domain.runs import Runs
from modelry_server.tracking.domain.usage import Usage
from modelry_server.tracking.jobs import jobs
from modelry_server.tracking.rpc.datasets import DatasetService
from modelry_server.tracking.rpc.experiments import ExperimentService
from modelry_server.tracking.rpc.metrics import MetricService
from modelry_server.tracking.rpc.runs import RunService
from modelry_server.tracking.rpc.usage import UsageService
from modelry_server.tracking.store import tables

NEIGHBOURS: tuple[str, ...] = ("access",)

SERVICES = tuple(
    f"modelry.api.tracking.v1.{name}Service" for name in ("Experiment", "Run", "Metric", "Dataset", "Usage")
)


def build(
    config: TrackingConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Puts the service together. It needs no `folder` for local files."""
    clock = Clock()
    requests = Requests(tables.requests, clock)
    pager = Pager(db.secret("paging"))
    workspaces = Workspaces(neighbours["access"])
    places = Places(db, access)
    ingest = Ingest(db, group_points=config.group_points, gap_wait_s=config.gap_wait)
    metrics = Metrics(db, places, ingest, chunk_points=config.chunk_points, merge_chunks=config.merge_chunks)
    usage = Usage(db, access, workspaces)
    run_creation = RunCreation(db, places, requests=requests, clock=clock, usage=usage)
    runs = Runs(db, places, workspaces=workspaces, ingest=ingest, metrics=metrics, clock=clock)
    experiments = Experiments(db, places, requests=requests, workspaces=workspaces, clock=clock)
    experiment_service = ExperimentService(experiments, pager)
    heartbeats = Heartbeats(db, places, access, metrics=metrics, clock=clock, pause_s=3 * config.lost_interval)
    run_service = RunService(run_creation, runs, heartbeats, pager)
    metric_service = MetricService(metrics)
    dataset_service = DatasetService(Datasets(db, places, workspaces=workspaces, clock=clock), pager)

    def register(server: grpc.Server) -> None:
        api.add_ExperimentServiceServicer_to_server(experiment_service, server)
        api.add_RunServiceServicer_to_server(run_service, server)
        api.add_MetricServiceServicer_to_server(metric_service, server)
        api.add_DatasetServiceServicer_to_server(dataset_service, server)
        api.add_UsageServiceServicer_to_server(UsageService(usage), server)

    background = jobs(
        db,
        requests,
        metrics,
        heartbeats,
        merge_interval_s=config.merge_interval,
        lost_interval_s=config.lost_interval,
    )
    return Room("tracking", SERVICES, register, jobs=background, close=db.close)
