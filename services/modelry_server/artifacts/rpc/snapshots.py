"""SnapshotService: contract in, contract out."""

import grpc

from modelry.api.artifacts import v1 as api
from modelry_server.artifacts.domain import owners
from modelry_server.artifacts.domain.paths import folder
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.entities import Snapshot


class SnapshotService(api.SnapshotServiceServicer):
    """Answers calls about snapshots."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def CreateSnapshot(
        self, request: api.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> api.CreateSnapshotResponse:
        owner = owners.parse_version(request.owner)
        source = owners.parse(request.source_owner, "source_owner")
        snapshot = self._snapshots.create(owner, source, folder(request.source_path, "source_path"))
        return api.CreateSnapshotResponse(snapshot=_message(snapshot))

    def GetSnapshot(self, request: api.GetSnapshotRequest, context: grpc.ServicerContext) -> api.GetSnapshotResponse:
        return api.GetSnapshotResponse(snapshot=_message(self._snapshots.get(owners.parse_version(request.owner))))

    def DeleteSnapshot(
        self, request: api.DeleteSnapshotRequest, context: grpc.ServicerContext
    ) -> api.DeleteSnapshotResponse:
        self._snapshots.delete(owners.parse_version(request.owner))
        return api.DeleteSnapshotResponse()


def _message(snapshot: Snapshot) -> api.Snapshot:
    message = api.Snapshot(
        owner=snapshot.owner,
        source_owner=snapshot.source_owner,
        source_path=snapshot.source_path,
        manifest_sha256=snapshot.manifest_sha256,
        file_count=snapshot.file_count,
        size_bytes=snapshot.size_bytes,
    )
    message.create_time.FromMilliseconds(snapshot.create_time)
    return message
