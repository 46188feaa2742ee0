"""The parts list of artifacts: the only place that constructs."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from modelry.api.artifacts import v1 as api
from modelry_server.artifacts.clients import Runs
from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.domain.uploads import Uploads
from modelry_server.artifacts.jobs import jobs
from modelry_server.artifacts.rpc.artifacts import ArtifactService
from modelry_server.artifacts.rpc.snapshots import SnapshotService
from modelry_server.artifacts.store.blobs import Blobs
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.server import Room

NEIGHBOURS: tuple[str, ...] = ("tracking",)
_TRANSFERS = 16


def build(config: ArtifactsConfig, db: Database, *, folder: Path, addresses: Mapping[str, str]) -> Room:
    """Puts the room together. `folder` is for local files, `addresses` says where its neighbours are."""
    clock = Clock()
    runs = Runs(addresses["tracking"])
    owners = Owners(runs)
    blobs = _blobs(config, folder)
    pool = ThreadPoolExecutor(_TRANSFERS, thread_name_prefix="artifacts-transfer")
    artifacts = Artifacts(db, blobs, owners, clock, pool=pool)
    uploads = Uploads(db, blobs, owners, clock, pool=pool, limit_s=config.upload_limit)
    garbage = Garbage(db, blobs, clock, pool=pool, grace_s=config.garbage_grace)
    files = ArtifactService(artifacts, uploads, Pager(db.secret("paging")))
    snapshots = SnapshotService(Snapshots(db, owners, clock))

    def register(server: grpc.Server) -> None:
        api.add_ArtifactServiceServicer_to_server(files, server)
        api.add_SnapshotServiceServicer_to_server(snapshots, server)

    def close() -> None:
        pool.shutdown()
        blobs.close()
        runs.close()
        db.close()

    services = ["modelry.api.artifacts.v1.ArtifactService", "modelry.api.artifacts.v1.SnapshotService"]
    loops = jobs(garbage, interval_s=config.garbage_interval, stray_interval_s=config.stray_interval)
    return Room("artifacts", services, register, loops, close)


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
