"""What artifacts asks of tracking. Never inside a transaction."""

from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as tracking
from modelry_server.artifacts.entities import Run
from modelry_server.kernel.access import Place
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Neighbour

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
