"""Health: whether each service answers. A watch of it is a stream that waits for a change.

gRPC's own servicer has a lock while it sends to who watches. So one watch whose client reads nothing stops all calls of
health, and the end of the server.
"""

import threading
from collections.abc import Iterable, Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry_server.kernel.requests.fields import shown

_Answer = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """What gRPC's health checks are told. The service `""` stands for the server as a whole."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {}
        self._watches: dict[threading.Event, None] = {}

    def say(self, services: Iterable[str], state: int) -> None:
        """Sets the state of these services, a `ServingStatus`, and tells those who watch them."""
        self._states |= dict.fromkeys(services, state)
        for changed in list(self._watches):
            changed.set()

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> _Answer:
        """The state of a service now; NOT_FOUND if it is unknown."""
        state = self._states.get(request.service)
        if state is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {shown(request.service)} here")
        return _Answer(status=state)

    def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> Iterator[_Answer]:
        """The state of a service, and then each other one that it gets; SERVICE_UNKNOWN if it is unknown."""
        changed, told = threading.Event(), None
        self._watches[changed] = None
        try:
            if not context.add_callback(changed.set):
                return
            while context.is_active():
                state = self._states.get(request.service, _Answer.SERVICE_UNKNOWN)
                if state != told:
                    told = state
                    yield _Answer(status=state)
                changed.wait()
                changed.clear()
        finally:
            del self._watches[changed]
