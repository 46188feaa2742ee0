"""What tracking asks of other services."""

from modelry.api.access import v1 as access
from modelry_server.kernel.transport.channel import Believed, Neighbour

_ALWAYS_EXISTS = "default"


class Workspaces:
    """Asks the access service whether workspaces exist."""

    def __init__(self, neighbour: Neighbour) -> None:
        stub = neighbour.stub(access.WorkspaceServiceStub)
        self._there = Believed(lambda name: neighbour.call(stub.GetWorkspace, access.GetWorkspaceRequest(name=name)))

    def require(self, name: str) -> None:
        """Does nothing if the workspace exists. Raises WORKSPACE_NOT_FOUND or SERVICE_UNAVAILABLE."""
        if name != _ALWAYS_EXISTS:
            self._there.require(name)
