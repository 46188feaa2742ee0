"""A server whose servicers do what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.transport.config import ServerConfig
from modelry_server.kernel.transport.server import Callers, Limits, Room, Server
from modelry_server.kernel.transport.tls import ServerTls
from modelry_server.permissions import PERMISSIONS
from tests.parts import free_port

SERVICE = "modelry.api.access.v1.WorkspaceService"
STREAMING = "modelry.api.tracking.v1.MetricService"
INTERNAL = "modelry.internal.artifacts.v1.SnapshotService"
KEY = "the-key-of-the-services-on-this-stage"


def limits_with(**changes: float) -> Limits:
    """The limits of a server by default, with changes."""
    default = ServerConfig()
    given = {
        "workers": default.workers,
        "streams": default.streams,
        "connections": default.connections,
        "drain_s": default.drain,
        "idle_s": default.idle_limit,
        "call_s": default.call_limit,
        "share": 2,
    }
    return Limits(**{**given, **changes})  # type: ignore[arg-type]


Notice = Callable[[grpc.ServicerContext], object]
SMALL = limits_with(workers=2, streams=3, drain_s=1.0, share=1)


class Actor(access.WorkspaceServiceServicer):
    """Answers GetWorkspace with what `act` makes of the name."""

    CreateWorkspace = ListWorkspaces = UpdateWorkspace = None  # type: ignore[assignment]

    def __init__(self, act: Callable[[str], str], notice: Notice = lambda context: None) -> None:
        self._act, self._notice = act, notice

    def GetWorkspace(self, request: Any, context: Any) -> access.GetWorkspaceResponse:
        """Acts."""
        self._notice(context)
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


class Freezer(internal.SnapshotServiceServicer):
    """Answers GetSnapshot with what `act` makes of the version id."""

    CreateSnapshot = DeleteSnapshot = None  # type: ignore[assignment]

    def __init__(self, act: Callable[[str], str]) -> None:
        self._act = act

    def GetSnapshot(self, request: Any, context: Any) -> internal.GetSnapshotResponse:
        """Acts."""
        return internal.GetSnapshotResponse(snapshot=internal.Snapshot(version_id=self._act(request.version_id)))


@contextmanager
def served(
    act: Callable[[str], str] = str,
    play: Callable[[], Iterator[int]] = lambda: iter(()),
    *,
    limits: Limits = SMALL,
) -> Iterator[grpc.Channel]:
    """A channel to the public listener of a server at work."""
    with staged(act, play, limits=limits) as stage, grpc.insecure_channel(stage.address) as channel:
        grpc.channel_ready_future(channel).result(10)
        yield channel


@dataclass(frozen=True, slots=True)
class Stage:
    """A server at work, and where its listeners are."""

    server: Server
    address: str
    internal: str


@contextmanager
def staged(
    act: Callable[[str], str] = str,
    play: Callable[[], Iterator[int]] = lambda: iter(()),
    *,
    limits: Limits = SMALL,
    internal_address: str = "",
    authority: Authority | None = None,
    tls: ServerTls | None = None,
    mtls_address: str = "",
    notice: Notice = lambda context: None,
) -> Iterator[Stage]:
    """A server at work, with a public and an internal listener. `notice` is told of each GetWorkspace."""

    def register(server: grpc.Server) -> None:
        access.add_WorkspaceServiceServicer_to_server(Actor(act, notice), server)
        tracking.add_MetricServiceServicer_to_server(Player(play), server)

    def register_internal(server: grpc.Server) -> None:
        internal.add_SnapshotServiceServicer_to_server(Freezer(act), server)

    room = Room(
        "access",
        (SERVICE, STREAMING),
        register,
        internal_services=(INTERNAL,),
        register_internal=register_internal,
    )
    inside = internal_address or f"127.0.0.1:{free_port()}"
    server = Server(
        [room],
        address="127.0.0.1:0",
        internal={"access": inside},
        key=KEY,
        permissions=PERMISSIONS,
        limits=limits,
        callers=Callers(authority, (), lambda: None) if authority else None,
        tls=tls,
        mtls_address=mtls_address,
    )
    server.start()
    try:
        yield Stage(server, f"127.0.0.1:{server.port}", inside)
    finally:
        server.stop()


def ask(channel: grpc.Channel, name: str, **options: Any) -> str:
    """What GetWorkspace answers to a name."""
    stub = access.WorkspaceServiceStub(channel)
    return stub.GetWorkspace(access.GetWorkspaceRequest(name=name), **({"timeout": 20} | options)).workspace.name
