"""What tracking asks of other services."""

from modelry.api.access import v1 as access
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.transport.channel import Believed, Neighbour

_ALWAYS_EXISTS = "default"


class Workspaces:
    """Asks the access service whether workspaces exist, and for their quotas."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(access.WorkspaceServiceStub)
        self._there = Believed(self._get)
        self._most = Believed(self._most_allowed)

    def require(self, name: str) -> None:
        """Does nothing if the workspace exists. Raises WORKSPACE_NOT_FOUND or SERVICE_UNAVAILABLE."""
        if name != _ALWAYS_EXISTS:
            self._there.require(name)

    def most_runs(self, name: str) -> int | None:
        """How many runs a workspace may have; None: no limit.

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
        return quotas.run_count if quotas.HasField("run_count") else None
