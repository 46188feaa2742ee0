"""What artifacts asks of tracking."""

from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Neighbour


class Runs:
    """The runs, as tracking knows them. Raises ServiceUnavailable when tracking does not answer."""

    def __init__(self, address: str) -> None:
        self._neighbour = Neighbour("tracking", address)
        self._stub = self._neighbour.stub(tracking.RunServiceStub)

    def deleted(self, run_id: str) -> bool | None:
        """Whether a run is deleted; None if there is no such run, or the caller may not know of it."""
        request = tracking.GetRunRequest(run_id=run_id)
        request.read_mask.SetInParent()
        try:
            run = self._neighbour.call(self._stub.GetRun, request).run
        except NotFound as answer:
            if answer.reason != "RUN_NOT_FOUND":
                raise
            return None
        return bool(run.lifecycle == tracking.LIFECYCLE_DELETED)

    def close(self) -> None:
        """Closes the connection."""
        self._neighbour.close()
