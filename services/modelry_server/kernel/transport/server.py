"""Listening: one gRPC server for clients, and an internal one for each service; health, reflection, limits, drain.

gRPC gives each open call a thread, also one whose message never comes. So threads are many and bound nothing; what is
at work at once, and what waits for that, is bounded by a gate (`limits/gate.py`), for a listener and for each
connection to it. How many calls may wait for their message is bounded too (`limits/waiting.py`), and so there are
always threads left; likewise the memory of answers that clients do not read. Health and reflection have threads of
their own. How many connections are open is bounded, and so there are always files left for databases, content and
streams. Services always call each other at the internal listeners. Each of these has a gate of its own, so a service
that waits for another one never holds a place that the other one needs.
"""

import math
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from modelry_server.kernel import ownership
from modelry_server.kernel.access import Kind
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.config import place
from modelry_server.kernel.jobs import Job, JobLoop
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport import reflection, sockets
from modelry_server.kernel.transport.call import Inside
from modelry_server.kernel.transport.doors import Doors
from modelry_server.kernel.transport.drain import Drain
from modelry_server.kernel.transport.health import Health
from modelry_server.kernel.transport.interceptors import Calls, Pools
from modelry_server.kernel.transport.limits.bounds import Bounds
from modelry_server.kernel.transport.limits.connections import Connections
from modelry_server.kernel.transport.limits.gate import Gate
from modelry_server.kernel.transport.limits.streams import Stream, Streams
from modelry_server.kernel.transport.limits.waiting import Waiting
from modelry_server.kernel.transport.messages import MESSAGE_BYTES
from modelry_server.kernel.transport.tls import ServerTls
from modelry_server.kernel.transport.vouching import Voucher

KEEPALIVE_S = 60
"""How often clients may ping, in seconds; the server tolerates twice that."""

_LAST_S = 1.0  # for the last messages, after the drain
_AGAIN_S = 0.05  # how often what is still at work then is interrupted
_CALLS_OF_ONE = 128  # open at once on one connection, besides its streams of all kinds: more wait in the client
_ARRIVING = 128  # calls whose message is still to come, half of the most; 5,000 honest calls at once came to 115
_WAITING = 768  # calls that wait for a place at work
_SEARCHES_WAITING = 256  # searches that wait for theirs, before they wait for one at work
_WAITING_BYTES = 128 << 20  # of the requests of each of these, and of large messages that wait until they are parsed
_UNREAD_BYTES = 256 << 20  # of answers that clients have not taken
_WINDOW_BYTES = 1 << 20  # of a stream: what the server takes of it before it is read, and the rest of one message
_WATCHES = 256  # of health
_REFLECTIONS = 32  # streams, each of which asks for a few descriptions
_SPARE_THREADS = 256  # beyond the calls that may wait: for those that come, are refused and go
_IDLE_LOOK_S = 1.0
_CERTIFICATE_LOOK_S = 60.0
_OWN_FILES = 128  # of the process itself, such as logs, listeners, and the connections between services
_METADATA_BYTES = 16 << 10  # of a call
_INSIDE_METADATA_BYTES = 64 << 10  # what services say of a caller can be long: it may be in many groups
_FEWEST = 50  # connections of a listener, also where files are few
_log = Log("server")


class AddressUnusable(Exception):
    """The server can't listen where it should; the message names the address."""


@dataclass(frozen=True, slots=True)
class Room:
    """A service that was built: the contracts that it serves, its background jobs, and what it closes at the end.

    `register` registers `services`; `register_internal` registers `internal_services`, which only other services can
    call. `interrupt` ends what calls and jobs do in its database. It has at most `files` files open, sockets to others
    included, and `stream_files` more for each stream. `sign_in` says where people get a credential, if it knows that.
    """

    name: str
    services: Sequence[str]
    register: Callable[[grpc.Server], None]
    internal_services: Sequence[str] = ()
    register_internal: Callable[[grpc.Server], None] = lambda server: None
    jobs: Sequence[Job] = ()
    interrupt: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    files: int = 0
    stream_files: int = 0
    sign_in: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener does at once: `workers` calls are at work, `streams` may be open.

    At most half of the calls at work are searches. Of all these places, one connection has at most one in `share`. A
    call or stream may wait `idle_s` for its client, and a unary call may take `call_s`. `connections` may be open, or
    fewer if the process may not open so many files beside those that its services need.
    """

    workers: int
    streams: int
    connections: int
    drain_s: float
    idle_s: float
    call_s: float
    share: int


@dataclass(frozen=True, slots=True)
class Callers:
    """How a process knows who calls: the authority, the jobs that keep it up to date, and what it closes at the end."""

    authority: Authority
    jobs: Sequence[Job]
    close: Callable[[], None]


class Server:
    """The services of one process.

    At `address` it listens for clients, and there serves the public services of all rooms. At `internal[room]` it
    listens for other services, which sign with the `key` for whom they call, and there serves all services of that
    room. With `tls` all ports use it. At `mtls_address`, if there is one, it listens for clients, too, and asks them
    for a certificate. `callers` says how it knows who calls; without it, clients are who they say they are.
    """

    def __init__(
        self,
        rooms: Sequence[Room],
        *,
        address: str,
        internal: Mapping[str, str],
        key: str,
        permissions: Mapping[str, str],
        limits: Limits,
        callers: Callers | None = None,
        tls: ServerTls | None = None,
        mtls_address: str = "",
    ) -> None:
        if internal and not key:
            raise ValueError("internal listeners need the key of the services")
        _check_permissions(rooms, permissions)
        self._rooms = rooms
        self._callers = callers
        addresses = [*filter(None, (address, mtls_address)), *internal.values()]
        connections = _connections(limits.connections, addresses, rest=_other_files(rooms, limits))
        self._limits = limits = replace(limits, connections=connections)
        self._stopped = threading.Event()
        sign_in = {key: value for room in rooms for key, value in room.sign_in.items()}
        authority = callers.authority if callers else None
        doors = Doors(authority, sign_in) if authority else None
        known: Any = {"authority": authority, "limits": limits}
        self._public = _Listener(rooms, "public", permissions, address=address, doors=doors, **known)
        self.port = self._public.listen(tls)
        self.mtls_port = self._public.listen_for_certified(mtls_address, tls) if mtls_address and tls else None
        self.path = sockets.path_of(address)
        self._internal: list[_Listener] = []
        self.internal = dict(internal)
        for room in rooms:
            if room.name in internal:
                at = internal[room.name]
                inside = Inside(room.name, Voucher(key, knows_callers=authority is not None))
                listener = _Listener([room], room.name, permissions, address=at, inside=inside, **known)
                listener.listen(tls)
                self._internal.append(listener)
        idle = Job("end-idle-calls", _IDLE_LOOK_S, self._end_idle)
        tls_jobs = [Job("look-at-certificate", _CERTIFICATE_LOOK_S, tls.look)] if tls else []
        self._tls = tls
        self._jobs = JobLoop(
            [idle, *tls_jobs, *(callers.jobs if callers else ()), *(job for room in rooms for job in room.jobs)]
        )

    def start(self) -> None:
        """Begins to answer. Health says SERVING from now on."""
        for listener in (*self._internal, self._public):
            listener.start()
        self._jobs.start()
        if self._tls:
            self._tls.look()
        _log.info("server.started", **self._place(), services=[r.name for r in self._rooms], internal=self.internal)

    def stop(self) -> None:
        """Drains and ends. Health says NOT_SERVING, and new calls are refused with DRAINING.

        Calls in flight and jobs may end within the limit. Then those at work in a database end with
        DATABASE_UNAVAILABLE, and streams that are still open with DRAINING. An upload all of whose messages have come
        is a call in flight.
        """
        if self._stopped.is_set():
            return
        until = time.monotonic() + self._limits.drain_s
        # The services of one process call each other at its internal listeners: these go on until the public calls and
        # the jobs have ended.
        first, second = ([self._public], self._internal) if len(self._rooms) > 1 else (self._listeners(), [])
        _drain(first, until)
        self._jobs.stop(until)
        _drain(second, until)
        self._interrupt()
        endings = [listener.stop() for listener in self._listeners()]
        while not all(ending.is_set() for ending in endings) or self._jobs.at_work():
            time.sleep(_AGAIN_S)
            self._interrupt()  # again: an interrupt between two statements ends neither
        for listener in self._listeners():
            listener.leave()
        for room in self._rooms:
            room.close()
        if self._callers:
            self._callers.close()
        _log.info("server.stopped", **self._place())
        self._stopped.set()

    def unfinished(self) -> dict[str, object]:
        """What a stop still waits for: how many calls, and which jobs."""
        return {"calls": sum(each.drain.in_flight for each in self._listeners()), "jobs": self._jobs.at_work()}

    def wait(self) -> None:
        """Waits until the server has stopped."""
        self._stopped.wait()

    def _place(self) -> dict[str, object]:
        """Where it listens for clients, as the log says it."""
        place: dict[str, object] = {"port": self.port} if self.path is None else {"socket": str(self.path)}
        return place if self.mtls_port is None else {**place, "mtls_port": self.mtls_port}

    def _listeners(self) -> list["_Listener"]:
        return [self._public, *self._internal]

    def _interrupt(self) -> None:
        for room in self._rooms:
            room.interrupt()

    def _end_idle(self) -> None:
        for listener in self._listeners():
            listener.calls.end_idle()
            listener.count_connections()


class _Listener:
    """One gRPC server. With `inside` it is an internal one: internal services too, and only services call it."""

    def __init__(
        self,
        rooms: Sequence[Room],
        name: str,
        permissions: Mapping[str, str],
        *,
        address: str,
        limits: Limits,
        inside: Inside | None = None,
        doors: Doors | None = None,
        authority: Authority | None = None,
    ) -> None:
        self._address = address
        self.drain = Drain()
        self._lock: int | None = None
        self._ports: list[int] = []
        self._names = [name for room in rooms for name in (*room.services, *(room.internal_services if inside else ()))]
        # Each pool has a thread for every call that may wait, and some more. So no call waits for a thread, and gRPC
        # needs no limit of its own (`maximum_concurrent_rpcs`), which would refuse the calls of health, too.
        coming = 2 * _ARRIVING + _SPARE_THREADS

        def pool(kind: str, threads: int) -> ThreadPoolExecutor:
            return ThreadPoolExecutor(threads + coming, f"{name}{kind}")  # threads are made when they are needed

        pools = Pools(
            streams=pool("-stream", limits.streams),
            uploads=pool("-upload", limits.streams),
            others=pool("-other", _REFLECTIONS + _WATCHES),
        )
        share = (
            1 if inside or sockets.path_of(address) else limits.share
        )  # services, and callers on a socket, are not told apart

        def gate(kind: str, places: int, waiters: int) -> Gate:
            return Gate(kind, places, max(1, places // share), waiters, _WAITING_BYTES)

        def streams(kind: str, places: int, **options: Any) -> Streams:
            return Streams(kind, places, max(1, places // share), limits.idle_s, **options)

        parsing = limits.workers + limits.streams  # calls and streams that wait until a large message is parsed
        bounds = Bounds(
            work=gate("work", limits.workers, _WAITING),
            searches=gate("search", max(1, limits.workers // 2), _SEARCHES_WAITING),
            steps=gate("step", limits.workers, limits.streams),
            large=Gate("large", 1, 1, parsing, _WAITING_BYTES),
            streams=streams("stream", limits.streams),
            reflections=streams("reflection", _REFLECTIONS),
            watches=streams("watch", _WATCHES, lateness=Stream.age_s),  # they wait for news, not for their client
            arriving=Waiting("message", _ARRIVING, limits.idle_s),
            unread=Waiting("reader", _UNREAD_BYTES, limits.idle_s),
            call_s=limits.call_s,
        )
        bounds.show(name)
        self._connections = Connections(name, limits.connections)
        self.calls = Calls(
            permissions, inside=inside, doors=doors, authority=authority, drain=self.drain, pools=pools, bounds=bounds
        )
        self._server = grpc.server(
            pool("", limits.workers + _WAITING + _SEARCHES_WAITING + parsing),
            interceptors=[self.calls],
            options=[
                ("grpc.max_concurrent_streams", _CALLS_OF_ONE + bounds.streams_of_one),
                ("grpc.max_allowed_incoming_connections", limits.connections),
                # It counts a call until Python's collector comes to it, and may refuse a connection for good by then.
                ("grpc.http.overload_protection", 0),
                # gRPC widens the windows of a connection whose messages come fast, without an end, whether they are
                # read or not: a hundred uploads on one connection took 8 GiB in 32 s.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_S * 500),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_metadata_size", _INSIDE_METADATA_BYTES if inside else _METADATA_BYTES),
            ],
        )
        for room in rooms:
            room.register(self._server)
            if inside:
                room.register_internal(self._server)
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if not inside:
            reflected = [*self._names, health.SERVICE_NAME, reflection.SERVICE]
            reflection.enable(self._server, reflected, _pool(reflected))

    def listen(self, tls: ServerTls | None) -> int:
        """Takes its address, and gives its port, which uses TLS if there is one. Raises AddressUnusable."""
        address = self._address
        if path := sockets.path_of(address):
            try:
                self._lock = ownership.lock(path)
            except BlockingIOError:
                raise _in_use(address) from None
            except OSError as error:
                raise AddressUnusable(f"can't listen at {address}: {error.strerror}") from error
            tls = None  # nobody else reads a socket
        port = self._take(address, tls.credentials() if tls else None)
        self._ports.append(port)
        return port

    def listen_for_certified(self, address: str, tls: ServerTls) -> int:
        """Takes one more address, for clients that have a certificate, and gives its port. Raises AddressUnusable."""
        self._ports.append(self._take(address, tls.credentials(of_clients=True)))
        return self._ports[-1]

    def _take(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise AddressUnusable(
                f"can't listen at {address}: another program listens there, or this is not its host"
            ) from None

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()
        self.say(health_pb2.HealthCheckResponse.SERVING)

    def count_connections(self) -> None:
        """Tells the metrics how many connections there are. Those to a Unix socket are not counted."""
        if sockets.path_of(self._address) is None:
            self._connections.look(self._ports)

    def say(self, state: int) -> None:
        """Tells the health of all services, and of the server as a whole."""
        self._health.say(["", *self._names], state)

    def stop(self) -> threading.Event:
        """Closes all connections, after the answers of calls that have just ended."""
        return self._server.stop(_LAST_S)

    def leave(self) -> None:
        """Lets another process take the address, once all connections are closed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _other_files(rooms: Sequence[Room], limits: Limits) -> int:
    """How many files are open at most beside the connections of clients. Each service has streams at two listeners."""
    return _OWN_FILES + sum(room.files + 2 * limits.streams * room.stream_files for room in rooms)


def _connections(wanted: int, addresses: Sequence[str], *, rest: int) -> int:
    """How many connections each listener may have: `wanted`, or what `rest` leaves of the files that may be open.

    Raises the soft limit of open files, often 1024, as far as that needs it and the hard limit permits. Also where that
    leaves hardly any connection, some are served: not everything is open at once on the machine of one person.
    """
    listeners = max(1, sum(sockets.path_of(address) is None for address in addresses))
    needed = rest + listeners * wanted
    soft, hard = (math.inf if limit == resource.RLIM_INFINITY else limit for limit in _files())
    if soft < needed:
        with suppress(OSError, ValueError):  # the system may permit less than the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(min(needed, hard)), _files()[1]))
            soft = min(needed, hard)
    if soft >= needed:
        return wanted
    given = min(wanted, max(_FEWEST, int((soft - rest) // listeners)))
    _log.warning("server.few_files", open_files=soft, needed=needed, connections=given, wanted=wanted)
    return given


def _files() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _drain(listeners: Sequence[_Listener], until: float) -> None:
    """Refuses new calls, waits for those in flight, then ends the open streams."""
    for listener in listeners:
        listener.say(health_pb2.HealthCheckResponse.NOT_SERVING)
        listener.drain.begin()
    for listener in listeners:
        listener.drain.wait(until)
    for listener in listeners:
        listener.drain.settle()
        listener.drain.end()


def _check_permissions(rooms: Sequence[Room], permissions: Mapping[str, str]) -> None:
    """Raises ValueError unless each rpc has a permission: SERVICE if it is internal, another one if it is public."""
    public = {rpc: permissions.get(rpc) for room in rooms for rpc in _rpcs(room.services)}
    internal = {rpc: permissions.get(rpc) for room in rooms for rpc in _rpcs(room.internal_services)}
    if missing := [rpc for rpc, permission in (public | internal).items() if permission is None]:
        raise ValueError(f"permissions.py does not name {', '.join(missing)}")
    if wrong := [rpc for rpc, permission in public.items() if permission == Kind.SERVICE]:
        raise ValueError(f"only other services may call {', '.join(wrong)}, but clients can reach them")
    if wrong := [rpc for rpc, permission in internal.items() if permission != Kind.SERVICE]:
        raise ValueError(f"clients may call {', '.join(wrong)}, but only other services can reach them")


def _pool(services: Sequence[str]) -> descriptor_pool.DescriptorPool:
    """The files of services, of what they import, and of error details: all that reflection may give out.

    The default pool has every file that the process imported, those of internal services among them.
    """
    pool, added = descriptor_pool.DescriptorPool(), set[str]()

    def add(file: FileDescriptor) -> None:
        if file.name not in added:
            added.add(file.name)
            for each in file.dependencies:
                add(each)
            pool.AddSerializedFile(file.serialized_pb)

    for name in services:
        add(descriptor_pool.Default().FindServiceByName(name).file)
    add(error_details_pb2.DESCRIPTOR)
    return pool


def _rpcs(services: Sequence[str]) -> Iterator[str]:
    """The full names of the rpcs of services, as their contracts say."""
    for name in services:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            yield f"/{name}/{method.name}"


def ensure_free(address: str) -> None:
    """Raises AddressUnusable, with the system's reason, if a server could not listen at an address now."""
    found = place(address)
    if found is None:
        path = sockets.path_of(address)
        if path and sockets.is_taken(path):
            raise _in_use(address)
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


def _in_use(address: str) -> AddressUnusable:
    return AddressUnusable(f"can't listen at {address}: another process listens there")
