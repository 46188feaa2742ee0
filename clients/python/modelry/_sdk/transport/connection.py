"""The way to a server: one channel per process and address, opened by the first call."""

from __future__ import annotations

import getpass
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modelry._sdk.transport import forks, settings
from modelry.errors import ModelryError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    Request = TypeVar("Request", bound=Message)
    Response = TypeVar("Response", bound=Message)

    from modelry.api.rpc import Rpc

STREAM_TIMEOUT_SECONDS = 600.0
"""The default deadline of a streaming call."""

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("SingleThreadedUnaryStream", 1),
]
_METADATA_LIMIT = 128
_WHERE = re.compile(r"^(UNKNOWN: )?(ipv[46]|unix):\S+: ")


class Connection:
    """A way to one server. Safe to use from several threads and after a fork.

    A call names its rpc by a constant of `modelry.api.<service>.v1.rpcs`. It has a deadline in seconds; without one
    given, that of the settings. Every failure is raised as ModelryError. `elsewhere` are the connections of rooms
    that have an address of their own; `variable` is the one that says where this server is.
    """

    def __init__(
        self,
        address: settings.Address,
        *,
        timeout: float,
        insecure: bool,
        elsewhere: Mapping[str, Connection] | None = None,
        variable: str = "MODELRY_TRACKING_URI",
    ) -> None:
        self.address = address
        self._variable = variable
        self._elsewhere = dict(elsewhere or {})
        self.timeout = timeout
        self._plain = address.loopback or insecure
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._calls: dict[tuple[str, str], Any] = {}
        self._metadata = (("modelry-subject", _subject()),)

    def of(self, room: str) -> Connection:
        """The connection to the server of a room: this one, unless the room has an address of its own."""
        return self._elsewhere.get(room, self)

    def call(self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None) -> Response:
        """Makes a unary call and answers with its response."""
        forks.enter()
        try:
            callable_ = self._calls.get((rpc.path, "unary_unary")) or self._callable(
                "unary_unary", rpc.path, rpc.response
            )
            answer = callable_(request, timeout=self._deadline(timeout), metadata=self._metadata)
        except _failure() as failed:
            raise self.error_of(failed) from None
        finally:
            forks.leave()
        return cast("Response", answer)

    def read(
        self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None
    ) -> Iterator[Response]:
        """Makes a call that the server answers with a stream of messages.

        Leaving the iterator early ends the call.
        """
        stream: Any = None
        try:
            while True:
                forks.enter()
                try:
                    if stream is None:
                        kind = "unary_stream"
                        callable_ = self._calls.get((rpc.path, kind)) or self._callable(kind, rpc.path, rpc.response)
                        deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
                        stream = callable_(request, timeout=deadline, metadata=self._metadata)
                    message = next(stream, None)
                except _failure() as failed:
                    raise self.error_of(failed) from None
                finally:
                    forks.leave()
                if message is None:
                    return
                yield message
        finally:
            if stream is not None:
                stream.cancel()

    def write(
        self, rpc: Rpc[Request, Response], requests: Iterable[Request], *, timeout: float | None = None
    ) -> Response:
        """Makes a call that sends a stream of messages and gets one answer."""
        forks.enter()
        try:
            callable_ = self._calls.get((rpc.path, "stream_unary")) or self._callable(
                "stream_unary", rpc.path, rpc.response
            )
            deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
            answer = callable_(iter(requests), timeout=deadline, metadata=self._metadata)
        except _failure() as failed:
            raise self.error_of(failed) from None
        finally:
            forks.leave()
        return cast("Response", answer)

    def begin(self, method: str, request: bytes, *, timeout: float) -> grpc.Future[bytes]:
        """Starts a unary call of the background from bytes to bytes; a fork cancels it. Raises nothing of gRPC's."""

        def start() -> forks.Cancellable:
            callable_ = self._calls.get((method, "bytes")) or self._callable("bytes", method, None)
            return cast("forks.Cancellable", callable_.future(request, timeout=timeout, metadata=self._metadata))

        call = forks.begin(start)
        future = cast("grpc.Future[bytes]", call)
        future.add_done_callback(lambda _: forks.end(call))
        return future

    def close(self) -> None:
        """Closes the channel; the next call opens another one."""
        with self._lock:
            channel, self._channel = self._channel, None
            self._calls = {}
        if channel is not None:
            channel.close()

    def _deadline(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def error_of(self, failed: Any) -> ModelryError:
        """The error that a failed call of this connection stands for."""
        from modelry._sdk.transport import status

        error = status.error_of(failed)
        if error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} and not error.metadata:
            said = _WHERE.sub("", error.message.rpartition("last error: ")[2])
            named = f"no answer from {self.address.target}: {said}"
            if error.code == "UNAVAILABLE":
                named += f" ({self._hint(said)})"
            return type(error)(named, reason=error.reason, metadata={"address": self.address.target})
        return error

    def _hint(self, said: str) -> str:
        if not self._plain and ("handshake" in said.lower() or "ssl" in said.lower()):
            return "other machines are spoken to by TLS; set MODELRY_INSECURE=1 if this server speaks plain text"
        return f"is the server up? start one with `modelry up`, or set {self._variable}"

    def _callable(self, kind: str, method: str, response: type[Message] | None) -> Any:
        with self._lock:
            if self._channel is None:
                self._channel = self._open()
            channel: Any = self._channel
            maker = channel.unary_unary if kind == "bytes" else getattr(channel, kind)
            made = maker(
                method,
                request_serializer=None if response is None else _serialize,
                response_deserializer=None if response is None else response.FromString,
            )
            self._calls[(method, kind)] = made
            return made

    def _open(self) -> grpc.Channel:
        from modelry._grpc import grpc

        options = [*_OPTIONS, ("grpc.service_config", _service_config())]
        if self._plain:
            channel = grpc.insecure_channel(self.address.target, options=options)
        else:
            channel = grpc.secure_channel(self.address.target, grpc.ssl_channel_credentials(), options=options)
        forks.watch()
        return channel

    def _forget(self) -> None:
        """Lets go of a channel that belongs to the parent of this process. To close it would wait for its threads."""
        if self._channel is not None:
            _abandoned.append((self._channel, self._calls))
            if not forks.usable():
                # Not even when the interpreter ends may it be closed: that would hang.
                import ctypes

                ctypes.pythonapi.Py_IncRef(ctypes.py_object(_abandoned[-1]))
        self._lock = threading.Lock()
        self._channel = None
        self._calls = {}


_connections: dict[tuple[object, ...], Connection] = {}
_connections_lock = threading.Lock()
_abandoned: list[object] = []


def connect(uri: str | None = None, *, insecure: bool | None = None) -> Connection:
    """The connection of this process to a server. Opens nothing yet: the first call does.

    Where the URI is that of the environment, the other rooms are where the environment says. Raises InvalidArgument for
    a URI that can't be read.
    """
    address = settings.parse_address(settings.tracking_uri() if uri is None else uri)
    rooms = {}
    for room, given in settings.room_uris(address):
        variable = settings.room_variable(room)
        rooms[room] = _connected(settings.parse_address(given, variable), insecure, variable=variable)
    return _connected(address, insecure, rooms)


def _connected(
    address: settings.Address,
    insecure: bool | None,
    elsewhere: Mapping[str, Connection] | None = None,
    variable: str = "MODELRY_TRACKING_URI",
) -> Connection:
    chosen = settings.read()
    open_to_all = chosen.insecure if insecure is None else insecure
    rooms = tuple((room, each.address.target) for room, each in (elsewhere or {}).items())
    key = (address.target, open_to_all, chosen.timeout, rooms, variable)
    with _connections_lock:
        if key not in _connections:
            _connections[key] = Connection(
                address, timeout=chosen.timeout, insecure=open_to_all, elsewhere=elsewhere, variable=variable
            )
        return _connections[key]


def _forget_all() -> None:
    global _connections_lock
    _connections_lock = threading.Lock()
    for connection in _connections.values():
        connection._forget()


forks.on_child(_forget_all)


def _serialize(request: Message) -> bytes:
    return request.SerializeToString()


def _failure() -> type[Exception]:
    from modelry._grpc import grpc

    return cast("type[Exception]", grpc.RpcError)


def _subject() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return "".join(letter if " " <= letter <= "~" else "?" for letter in name)[:_METADATA_LIMIT].strip() or "unknown"


def _service_config() -> str:
    from modelry.api.rpc import NOT_REPEATABLE

    retries = {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    once = [dict(zip(("service", "method"), path[1:].split("/"), strict=True)) for path in NOT_REPEATABLE]
    return json.dumps(
        {
            "methodConfig": [{"name": [{}], "retryPolicy": retries}, {"name": once}],
            "retryThrottling": {"maxTokens": 20, "tokenRatio": 1.0},
            "loadBalancingConfig": [{"round_robin": {}}],
        }
    )
