"""Builds the artifacts service: the only place that constructs its parts."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from modelry.api.artifacts import v1 as api
from modelry.internal.artifacts import v1 as internal
from modelry_server.artifacts.clients import Runs, Workspaces
from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.domain.usage import Usage
from modelry_server.artifacts.domain.writing import FileWriter
from modelry_server.artifacts.jobs import jobs
from modelry_server.artifacts.rpc.artifacts import ArtifactService
from modelry_server.artifacts.rpc.snapshots import SnapshotService
from modelry_server.artifacts.rpc.usage import UsageService
from modelry_server.artifacts.store.blobs import Blobs
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.kernel.access import Access
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.server import Room

NEIGHBOURS: tuple[str, ...] = ("tracking", "access")
_TRANSFERS = 16
_FOLDERS = 257  # of local content, kept open


def build(
    config: ArtifactsConfig, db: Database, *, folder: Path, neighbours: Mapping[str, Neighbour], access: Access
) -> Room:
    """Builds the service. `folder` is for local files; `neighbours` are the services that it asks."""
    clock = Clock()
    usage = Usage(db, access, Workspaces(neighbours["access"]))
    owners = Owners(db, Runs(neighbours["tracking"]), access)
    blobs = _blobs(config, folder)
    pool = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="artifacts-transfer")
    artifacts = Artifacts(db, blobs, owners, clock, pool=pool)
    most_files, limit_s = config.upload_files, config.upload_limit
    writer = FileWriter(db, blobs, owners, clock, usage=usage, pool=pool, most_files=most_files, limit_s=limit_s)
    garbage = Garbage(db, blobs, clock, pool=pool, grace_s=config.garbage_grace)
    files = ArtifactService(artifacts, writer, Pager(db.secret("paging")))
    snapshots = SnapshotService(Snapshots(db, access, owners, clock, usage=usage))

    def register(server: grpc.Server) -> None:
        api.add_ArtifactServiceServicer_to_server(files, server)
        api.add_UsageServiceServicer_to_server(UsageService(usage), server)

    def close() -> None:
        pool.shutdown()
        blobs.close()
        db.close()

    return Room(
        "artifacts",
        services=["modelry.api.artifacts.v1.ArtifactService", "modelry.api.artifacts.v1.UsageService"],
        register=register,
        internal_services=["modelry.internal.artifacts.v1.SnapshotService"],
        register_internal=lambda server: internal.add_SnapshotServiceServicer_to_server(snapshots, server),
        jobs=jobs(garbage, interval_s=config.garbage_interval, orphan_interval_s=config.orphan_interval),
        close=close,
        files=_FOLDERS + 2 * _TRANSFERS,
        stream_files=1,
    )


def _blobs(config: ArtifactsConfig, folder: Path) -> Blobs:
    if config.store == "local":
        return LocalBlobs(Path(config.local_folder).expanduser() if config.local_folder else folder / "blobs")
    from modelry_server.artifacts.store.blobs.minio import (
        MinioBlobs,  # its library takes longer to load than all of ours
    )

    return MinioBlobs(
        config.s3_endpoint,
        config.s3_bucket,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key.reveal(),
        region=config.s3_region,
        secure=config.s3_secure,
        connections=2 * _TRANSFERS,
    )
