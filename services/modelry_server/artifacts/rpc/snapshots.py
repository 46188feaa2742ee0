"""SnapshotService, which only other services can call: contract in, contract out."""

import grpc

from modelry.internal.artifacts import v1 as api
from modelry_server.artifacts.domain.paths import folder
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.entities import Snapshot
from modelry_server.artifacts.rpc.artifacts import owner_message, owner_of
from modelry_server.kernel.access import Place
from modelry_server.kernel.requests.fields import NAME_LENGTH, Fields


class SnapshotService(api.SnapshotServiceServicer):
    """Answers calls about snapshots."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def CreateSnapshot(
        self, request: api.CreateSnapshotRequest, context: grpc.ServicerContext
    ) -> api.CreateSnapshotResponse:
        with Fields() as fields:
            fields.id("version_id", request.version_id)
            fields.text("workspace", request.workspace, longest=NAME_LENGTH, shortest=1)
            fields.id("model_id", request.model_id)
        place = Place(request.workspace, model_id=request.model_id)
        source = owner_of(request.source_owner, "source_owner")
        path = folder(request.source_path, "source_path")
        return api.CreateSnapshotResponse(
            snapshot=_message(self._snapshots.create(request.version_id, place, source, path))
        )

    def GetSnapshot(self, request: api.GetSnapshotRequest, context: grpc.ServicerContext) -> api.GetSnapshotResponse:
        return api.GetSnapshotResponse(snapshot=_message(self._snapshots.get(_version_of(request))))

    def DeleteSnapshot(
        self, request: api.DeleteSnapshotRequest, context: grpc.ServicerContext
    ) -> api.DeleteSnapshotResponse:
        self._snapshots.delete(_version_of(request))
        return api.DeleteSnapshotResponse()


def _version_of(request: api.GetSnapshotRequest | api.DeleteSnapshotRequest) -> str:
    with Fields() as fields:
        fields.id("version_id", request.version_id)
    return request.version_id


def _message(snapshot: Snapshot) -> api.Snapshot:
    message = api.Snapshot(
        version_id=snapshot.version_id,
        workspace=snapshot.place.workspace,
        model_id=snapshot.place.model_id,
        source_owner=owner_message(snapshot.source),
        source_path=snapshot.source_path,
        manifest_sha256=snapshot.manifest_sha256,
        file_count=snapshot.file_count,
        size_bytes=snapshot.size_bytes,
    )
    message.create_time.FromMilliseconds(snapshot.create_time)
    return message
