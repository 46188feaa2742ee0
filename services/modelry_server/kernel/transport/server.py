"""Listening: one gRPC server for the public, one for each room's neighbours; health, reflection, limits, drain.

Unary calls and streams run on pools of their own, so that streams never starve unary calls. Rooms in one process dial
each other at a Unix socket that has a pool of its own for each room, so that a room that waits for a neighbour never
holds a worker that the neighbour needs.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelry_server.kernel.access import Permission
from modelry_server.kernel.config import place
from modelry_server.kernel.jobs import Job, JobLoop
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport.interceptors import MESSAGE_BYTES, Calls

KEEPALIVE_S = 60
"""How often clients may ping, in seconds; the server tolerates twice that."""

_TURNING_AWAY = 4  # threads beyond the limit of streams: without them, one too many would wait and never be told
_log = Log("server")


class AddressUnusable(Exception):
    """The server can't listen where it should; the message names the address."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room that was built: what it registers, what it runs in the background, what it closes at the end.

    `internal_services` are those that `register_internal` registers; only other services can call them.
    """

    name: str
    services: Sequence[str]
    register: Callable[[grpc.Server], None]
    internal_services: Sequence[str] = ()
    register_internal: Callable[[grpc.Server], None] = lambda server: None
    jobs: Sequence[Job] = ()
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Limits:
    """Threads and streams of one process. `workers` answer unary calls; `streams` may be open at once."""

    workers: int = 16
    streams: int = 64
    drain_s: float = 10.0


class Server:
    """The rooms of one process, listening at `address` for everybody and at `sockets[room]` for neighbours."""

    def __init__(
        self,
        rooms: Sequence[Room],
        *,
        address: str,
        sockets: Mapping[str, str],
        permissions: Mapping[str, Permission],
        limits: Limits,
    ) -> None:
        named = [name for room in rooms for name in (*room.services, *room.internal_services)]
        missing = [rpc for rpc in _rpcs(named) if rpc not in permissions]
        if missing:
            raise ValueError(f"permissions.py does not name {', '.join(missing)}")
        self._rooms = rooms
        self._limits = limits
        self._permissions = permissions
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._stopped = threading.Event()
        public = self._build(rooms, "public")
        self._listeners = [public]
        self.port = _listen(public, address)
        for room in rooms:
            if room.name in sockets:
                internal = self._build([room], room.name)
                internal.add_insecure_port(sockets[room.name])
                self._listeners.append(internal)
        self._jobs = JobLoop([job for room in rooms for job in room.jobs])

    def _build(self, rooms: Sequence[Room], name: str) -> grpc.Server:
        limits = self._limits
        streams = ThreadPoolExecutor(limits.streams + _TURNING_AWAY, thread_name_prefix=f"{name}-stream")
        server = grpc.server(
            ThreadPoolExecutor(limits.workers, thread_name_prefix=name),
            interceptors=[Calls(self._permissions, streams=limits.streams, stream_pool=streams)],
            maximum_concurrent_rpcs=limits.workers * 64 + limits.streams,
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_S * 500),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_metadata_size", 16 << 10),
            ],
        )
        for room in rooms:
            room.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            [*(name for room in rooms for name in room.services), health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
        return server

    def start(self) -> None:
        """Begins to answer; health says SERVING from now on."""
        for listener in self._listeners:
            listener.start()
        self._jobs.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)
        _log.info("server.started", port=self.port, rooms=[room.name for room in self._rooms])

    def stop(self) -> None:
        """Drains: health says NOT_SERVING, calls in flight end within the limit, then everything closes."""
        if self._stopped.is_set():
            return
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        endings = [listener.stop(self._limits.drain_s) for listener in self._listeners]
        for ending in endings:
            ending.wait()
        self._jobs.stop()
        for room in self._rooms:
            room.close()
        _log.info("server.stopped", port=self.port)
        self._stopped.set()

    def wait(self) -> None:
        """Waits until the server has stopped."""
        self._stopped.wait()

    def _say(self, state: Any) -> None:
        for name in ["", *(name for room in self._rooms for name in room.services)]:
            self._health.set(name, state)


def _rpcs(services: Sequence[str]) -> Iterator[str]:
    """The full names of the rpcs of services, as their contracts say."""
    for name in services:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            yield f"/{name}/{method.name}"


def ensure_free(address: str) -> None:
    """Does nothing if a server could listen at an address now. Raises AddressUnusable with the system's reason."""
    found = place(address)
    if found is None:
        return
    why: OSError | None = None
    try:
        places = socket.getaddrinfo(*found, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        places, why = [], error
    for family, kind, protocol, _, where in places:  # a name may stand for several; gRPC is content with one
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                return
        except OSError as error:
            why = error
    raise AddressUnusable(f"can't listen at {address}: {why and why.strerror}")


def _listen(server: grpc.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise AddressUnusable(
            f"can't listen at {address}: another program listens there, or this is not its host"
        ) from None
