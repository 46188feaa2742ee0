"""What tracking asks of other rooms."""

import threading
import time

from assay.api.access import v1 as access
from assay_server.kernel.channel import Neighbour

_TRUSTED_S = 5.0
_ALWAYS_THERE = "default"


class Workspaces:
    """Asks access whether workspaces exist, and trusts an answer for five seconds."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour
        self._stub = neighbour.stub(access.WorkspaceServiceStub)
        self._known: dict[str, float] = {}
        self._lock = threading.Lock()

    def require(self, name: str) -> None:
        """Does nothing if the workspace exists. Raises WORKSPACE_NOT_FOUND or NEIGHBOUR_UNAVAILABLE."""
        if name == _ALWAYS_THERE or self._known.get(name, 0.0) > time.monotonic():
            return
        self._neighbour.call(self._stub.GetWorkspace, access.GetWorkspaceRequest(name=name))
        with self._lock:
            self._known[name] = time.monotonic() + _TRUSTED_S
