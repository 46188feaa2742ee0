"""The connection to a server: one channel for each address, opened by the first call."""

from __future__ import annotations

import getpass
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from modelry._sdk.transport import process, settings
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


class Pending(Protocol):
    """A call that was started and may have been answered."""

    def result(self, timeout: float | None = None) -> bytes:
        """The answer. Raises what gRPC raises: FutureTimeoutError, FutureCancelledError, or RpcError."""

    def done(self) -> bool:
        """Whether the call is over."""

    def cancel(self) -> object:
        """Gives the call up."""


class Connection:
    """A connection to one server, for any number of threads.

    A call names its rpc by a constant of `modelry.api.<service>.v1.rpcs`. It has a deadline in seconds; the default is
    that of the settings. Every failure is raised as ModelryError. In a process that must not use gRPC (see
    `transport.process`) each call raises Unavailable at once. `elsewhere` has the connections of services with an
    address of their own; `variable` is the environment variable with the address of this server.
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
        self._insecure = insecure
        self._plain = address.loopback or insecure
        self._has_threads = True
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._methods: dict[tuple[str, str], Any] = {}
        self._metadata = (("modelry-subject", _subject()),)

    def __reduce__(self) -> tuple[Any, ...]:
        """What is pickled or copied is the address: who unpickles it gets the connection of that process."""
        return _connected, (self.address, self._insecure, self._elsewhere, self._variable)

    def of(self, service: str) -> Connection:
        """The connection to a service: this one, unless the service has an address of its own."""
        return self._elsewhere.get(service, self)

    def call(self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None) -> Response:
        """Makes a unary call and answers with its response."""
        method = self._method("unary_unary", rpc.path, rpc.response)
        try:
            answer = method(request, timeout=self._deadline(timeout), metadata=self._metadata)
        except _failure() as failed:
            raise self.error_of(failed) from None
        return cast("Response", answer)

    def read(
        self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None
    ) -> Iterator[Response]:
        """Makes a call that the server answers with a stream of messages.

        Leaving the iterator early ends the call.
        """
        method = self._method("unary_stream", rpc.path, rpc.response)
        deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
        stream: Any = None
        try:
            stream = method(request, timeout=deadline, metadata=self._metadata)
            yield from stream
        except _failure() as failed:
            raise self.error_of(failed) from None
        finally:
            if stream is not None and not process.current().inherits_grpc:
                stream.cancel()

    def write(
        self, rpc: Rpc[Request, Response], requests: Iterable[Request], *, timeout: float | None = None
    ) -> Response:
        """Makes a call that sends a stream of messages and gets one answer."""
        method = self._method("stream_unary", rpc.path, rpc.response)
        deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
        try:
            answer = method(iter(requests), timeout=deadline, metadata=self._metadata)
        except _failure() as failed:
            raise self.error_of(failed) from None
        return cast("Response", answer)

    def begin(self, path: str, request: bytes, *, timeout: float) -> Pending:
        """Starts a unary call of encoded messages.

        The caller must keep the result in local variables of its thread: a forked child never collects those, whereas
        it would hang in gRPC if it collected a call of its parent's.
        """
        method = self._method("bytes", path, None)
        if self._has_threads:
            try:
                return cast("Pending", method.future(request, timeout=timeout, metadata=self._metadata))
            except RuntimeError:
                # Python 3.12 starts no thread while it ends, and gRPC needs one for calls of this kind. It fails only
                # once, and then waits for ever.
                self._has_threads = False
        return _Answered(method, request, timeout=timeout, metadata=self._metadata)

    def close(self) -> None:
        """Closes the channel. The next call opens another one."""
        if process.current().inherits_grpc:
            return
        with self._lock:
            channel, self._channel = self._channel, None
            self._methods = {}
        if channel is not None:
            channel.close()

    def error_of(self, failed: Any) -> ModelryError:
        """The error that a failed call of this connection stands for."""
        from modelry._sdk.transport import status

        error = status.error_of(failed)
        if error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} and not error.metadata and error.reason != "DRAINING":
            said = _WHERE.sub("", error.message.rpartition("last error: ")[2])
            named = f"no answer from {self.address.target}: {said}"
            if error.code == "UNAVAILABLE":
                named += f" ({self._hint(said)})"
            return type(error)(named, reason=error.reason, metadata={"address": self.address.target})
        return error

    def _deadline(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _hint(self, said: str) -> str:
        if not self._plain and ("handshake" in said.lower() or "ssl" in said.lower()):
            return "connections to other machines use TLS; set MODELRY_INSECURE=1 if this server has no TLS"
        return f"is the server running? start one with `modelry up`, or set {self._variable}"

    def _method(self, kind: str, path: str, response: type[Message] | None) -> Any:
        process.current().require_grpc()
        return self._methods.get((path, kind)) or self._made(kind, path, response)

    def _made(self, kind: str, path: str, response: type[Message] | None) -> Any:
        with self._lock:
            if self._channel is None:
                self._channel = self._open()
            channel: Any = self._channel
            maker = channel.unary_unary if kind == "bytes" else getattr(channel, kind)
            made = maker(
                path,
                request_serializer=None if response is None else _serialize,
                response_deserializer=None if response is None else response.FromString,
            )
            self._methods[(path, kind)] = made
            return made

    def _open(self) -> grpc.Channel:
        from modelry._grpc import grpc
        from modelry._sdk.transport.retries import service_config

        options = [*_OPTIONS, ("grpc.service_config", service_config())]
        if self._plain:
            return grpc.insecure_channel(self.address.target, options=options)
        return grpc.secure_channel(self.address.target, grpc.ssl_channel_credentials(), options=options)


class _Answered:
    """A call that was made at once, where it can't be made in the background."""

    def __init__(self, method: Any, request: bytes, **options: Any) -> None:
        self._answer = b""
        self._failed: Exception | None = None
        try:
            self._answer = method(request, **options)
        except _failure() as failed:
            self._failed = failed

    def result(self, timeout: float | None = None) -> bytes:
        if self._failed is not None:
            raise self._failed
        return self._answer

    def done(self) -> bool:
        return True

    def cancel(self) -> object:
        return None


class _Connections(process.Part):
    """The connections of this process, one for each address and its settings."""

    def __init__(self) -> None:
        self.known: dict[tuple[object, ...], Connection] = {}
        self.lock = threading.Lock()

    def after_fork_in_child(self) -> None:
        self.lock = threading.Lock()


def connect(uri: str | None = None, *, insecure: bool | None = None) -> Connection:
    """The connection of this process to a server. It opens nothing yet: the first call does.

    Default: the tracking URI of this process. If the URI is that of the environment, the environment also says which
    services have another address. Raises InvalidArgument for a URI that can't be read.
    """
    address = settings.parse_address(process.current().tracking_uri if uri is None else uri)
    elsewhere = {}
    for service, given in settings.service_uris(address):
        variable = settings.service_variable(service)
        elsewhere[service] = _connected(settings.parse_address(given, variable), insecure, variable=variable)
    return _connected(address, insecure, elsewhere)


def _connected(
    address: settings.Address,
    insecure: bool | None,
    elsewhere: Mapping[str, Connection] | None = None,
    variable: str = "MODELRY_TRACKING_URI",
) -> Connection:
    chosen = settings.read()
    plain = chosen.insecure if insecure is None else insecure
    others = tuple((service, each.address.target) for service, each in (elsewhere or {}).items())
    key = (address.target, plain, chosen.timeout, others, variable)
    connections = process.current().part(_Connections)
    with connections.lock:
        if key not in connections.known:
            connections.known[key] = Connection(
                address, timeout=chosen.timeout, insecure=plain, elsewhere=elsewhere, variable=variable
            )
        return connections.known[key]


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
