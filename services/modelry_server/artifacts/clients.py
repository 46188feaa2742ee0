"""What artifacts asks of tracking and access. Never inside a transaction."""

from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.access import v1 as access
from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as tracking
from modelry_server.artifacts.entities import Run
from modelry_server.kernel.access import Place
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Believed, Neighbour

_ALWAYS_EXISTS = "default"
_MASK = FieldMask(paths=["run_id", "workspace", "experiment_id", "lifecycle"])


class Runs:
    """Asks tracking about runs."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(tracking.RunServiceStub)

    def get(self, run_id: str) -> Run | None:
        """A run; None if it does not exist, or the caller may not know of it. Raises ServiceUnavailable."""
        request = tracking.GetRunRequest(run_id=run_id, read_mask=_MASK)
        try:
            run = self._neighbour.call(self._stub.GetRun, request).run
        except NotFound as answer:
            if answer.reason != "RUN_NOT_FOUND":
                raise
            return None
        place = Place(run.workspace, experiment_id=run.experiment_id)
        return Run(place, is_deleted=run.lifecycle == common.LIFECYCLE_DELETED)


class Workspaces:
    """Asks access whether workspaces exist, and for their quotas."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(access.WorkspaceServiceStub)
        self._there = Believed(self._get)
        self._most = Believed(self._most_allowed)

    def require(self, name: str) -> None:
        """Does nothing if the workspace exists. Raises WORKSPACE_NOT_FOUND or SERVICE_UNAVAILABLE."""
        if name != _ALWAYS_EXISTS:
            self._there.require(name)

    def most_bytes(self, name: str) -> int | None:
        """How many bytes the files of a workspace may have; None: no limit.

        What was heard last counts if access does not answer now. Where nothing was heard yet there is no limit.
        """
        return self._most.latest(name, None)

    def _get(self, name: str) -> access.Workspace:
        request = access.GetWorkspaceRequest(name=name)
        answer: access.GetWorkspaceResponse = self._neighbour.call(self._stub.GetWorkspace, request)
        return answer.workspace

    def _most_allowed(self, name: str) -> int | None:
        try:
            quotas = self._get(name).quotas
        except NotFound:
            return None
        return quotas.stored_bytes if quotas.HasField("stored_bytes") else None
