"""A server with rooms whose servicers do what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.transport.server import Limits, Room, Server
from modelry_server.permissions import PERMISSIONS

SERVICE = "modelry.api.access.v1.WorkspaceService"
STREAMING = "modelry.api.tracking.v1.MetricService"


class Actor(access.WorkspaceServiceServicer):
    """Answers GetWorkspace with what `act` makes of the name."""

    CreateWorkspace = ListWorkspaces = UpdateWorkspace = None  # type: ignore[assignment]

    def __init__(self, act: Callable[[str], str]) -> None:
        self._act = act

    def GetWorkspace(self, request: Any, context: Any) -> access.GetWorkspaceResponse:
        """Acts."""
        return access.GetWorkspaceResponse(workspace=access.Workspace(name=self._act(request.name)))


class Player(tracking.MetricServiceServicer):
    """Streams what `play` gives, one message for each."""

    WriteMetrics = None  # type: ignore[assignment]

    def __init__(self, play: Callable[[], Iterator[int]]) -> None:
        self._play = play

    def ReadMetrics(self, request: Any, context: Any) -> Iterator[tracking.ReadMetricsResponse]:
        """Plays."""
        for number in self._play():
            yield tracking.ReadMetricsResponse(point_count=number)


@contextmanager
def served(
    act: Callable[[str], str] = str,
    play: Callable[[], Iterator[int]] = lambda: iter(()),
    *,
    granted: Callable[[str, str], bool] = lambda subject, permission: True,
    limits: Limits = Limits(workers=2, streams=3, drain_s=1.0),  # noqa: B008 - frozen
) -> Iterator[grpc.Channel]:
    """A channel to a server at work."""

    def register(server: grpc.Server) -> None:
        access.add_WorkspaceServiceServicer_to_server(Actor(act), server)
        tracking.add_MetricServiceServicer_to_server(Player(play), server)

    room = Room("stage", (SERVICE, STREAMING), register)
    server = Server([room], address="127.0.0.1:0", sockets={}, permissions=PERMISSIONS, granted=granted, limits=limits)
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            grpc.channel_ready_future(channel).result(10)
            yield channel
    finally:
        server.stop()


def ask(channel: grpc.Channel, name: str, **options: Any) -> str:
    """What GetWorkspace answers to a name."""
    stub = access.WorkspaceServiceStub(channel)
    return stub.GetWorkspace(access.GetWorkspaceRequest(name=name), **({"timeout": 20} | options)).workspace.name
