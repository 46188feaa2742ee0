"""The connection to a server: one channel for each address, opened by the first call."""

from __future__ import annotations

import getpass
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import quote

from modelry._sdk.transport import process, settings
from modelry._sdk.transport.advice import Advice, is_stranger
from modelry._sdk.transport.advice import Origin as Origin
from modelry._sdk.transport.answers import parsed
from modelry._sdk.transport.patience import Patience
from modelry._sdk.transport.requests import encoded
from modelry._sdk.transport.tls import Tls, TlsFiles
from modelry._sdk.values.texts import is_printable
from modelry.errors import CallTooLong, Cancelled, DeadlineExceeded, ModelryError, Unavailable

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    Request = TypeVar("Request", bound=Message)
    Response = TypeVar("Response", bound=Message)

    from modelry.api.rpc import Rpc

STREAM_TIMEOUT_SECONDS = 600.0
"""The default deadline of a stream of answers, and how long an upload may stand still where `within` does not say."""

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
_NAME_LIMIT = 128
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_ENDED = "ended the call: this program read or sent nothing for long, another one needed its place, or the server ends"
_WHERE = re.compile(r"^([A-Z]+: )?(ipv[46]|unix):\S+: ")


_LOOK_SECONDS = 0.5
_THREADS_AGAIN_SECONDS = 1.0
_spoilt: list[object] = []
"""Channels that got no thread, kept until the process ends: to close or collect one waits for ever."""
_limits: ContextVar[tuple[float, float | None] | None] = ContextVar("modelry_limits", default=None)


@contextmanager
def within(seconds: float, *, until: float | None = None) -> Iterator[None]:
    """Ends uploads in the block by DeadlineExceeded once the server takes nothing for so many seconds.

    Once it has all content, it may take as long to store it as it took to send it. They end at a time `until` of
    `time.monotonic`, even if the server takes something.
    """
    token = _limits.set((seconds, until))
    try:
        yield
    finally:
        _limits.reset(token)


class Pending(Protocol):
    """A call that was started and may have been answered."""

    def result(self, timeout: float | None = None) -> bytes:
        """The answer. Raises what gRPC raises: FutureTimeoutError, FutureCancelledError, or RpcError."""

    def done(self) -> bool:
        """Whether the call is over."""

    def cancel(self) -> object:
        """Gives the call up."""


_TRACKING = Origin()
_NO_FILES = TlsFiles()


class Connection:
    """A connection to one server, for any number of threads.

    A call names its rpc by a constant of `modelry.api.<service>.v1.rpcs`. It has a deadline in seconds; the default is
    that of the settings. Every failure is raised as ModelryError. In a process that must not use gRPC (see
    `transport.process`) each call raises Unavailable at once. `elsewhere` has the connections of services with an
    address of their own; `origin` says where the address is from. `files` are those of TLS, which are read when the
    channel opens, and again after a failure if one has changed.
    """

    def __init__(
        self,
        address: settings.Address,
        *,
        timeout: float,
        insecure: bool,
        files: TlsFiles = _NO_FILES,
        elsewhere: Mapping[str, Connection] | None = None,
        origin: Origin = _TRACKING,
    ) -> None:
        self.address = address
        self._origin = origin
        self._elsewhere = dict(elsewhere or {})
        self.timeout = timeout
        self._insecure = insecure
        self._plain = not address.tls and (address.loopback or insecure)
        self._tls = Tls(address, files, plain=self._plain)
        self._advice = Advice(origin, address, plain=self._plain, ca=files.ca)
        self._lack = ""
        """Why gRPC got no thread. Empty: it gets one."""
        self._look_for_threads_at = 0.0
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._methods: dict[tuple[str, str], Any] = {}
        self._metadata = (("modelry-subject", _subject()),)

    def __reduce__(self) -> tuple[Any, ...]:
        """What is pickled or copied is the address: who unpickles it gets the connection of that process."""
        return _connected, (self.address, self._insecure, self._elsewhere, self._origin, self._tls.files)

    def of(self, service: str) -> Connection:
        """The connection to a service: this one, unless the service has an address of its own."""
        return self._elsewhere.get(service, self)

    def apart(self) -> Connection:
        """A connection to the same server with a channel of its own.

        For a thread that must not wait for the others: a signal may interrupt one of them where it holds a lock of its
        channel, and its handler may then wait for the thread.
        """
        elsewhere = {service: other.apart() for service, other in self._elsewhere.items()}
        return Connection(
            self.address,
            timeout=self.timeout,
            insecure=self._plain,
            files=self._tls.files,
            elsewhere=elsewhere,
            origin=self._origin,
        )

    def call(self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None) -> Response:
        """Makes a unary call and answers with its response. Raises InvalidArgument for a request above 4 MiB."""
        content = encoded(request)
        method = self._method("unary_unary", rpc.path)
        try:
            answer = method(content, timeout=self._deadline(timeout), metadata=self._metadata)
        except _failure() as failed:
            raise self.error_of(failed) from None
        return parsed(rpc.response, answer)

    def read(
        self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None
    ) -> Iterator[Response]:
        """Makes a call that the server answers with a stream of messages.

        Its deadline is for the whole stream, and each message may take as long as a unary call. Leaving the iterator
        early ends the call.
        """
        method = self._method("unary_stream", rpc.path)
        deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
        stream: Any = None
        patience: Patience | None = None
        try:
            stream = method(request, timeout=deadline, metadata=self._metadata)
            patience = Patience(stream, self.timeout)
            for message in patience.messages():
                yield parsed(rpc.response, message)
        except GeneratorExit:
            raise  # also where Python ends, and `_failure` can import nothing
        except _failure() as failed:
            if patience is not None and patience.is_over:
                raise self._too_slow() from None
            raise self.error_of(failed) from None
        finally:
            if stream is not None and not process.current().inherits_grpc:
                if patience is not None:
                    patience.end()
                stream.cancel()

    def write(self, rpc: Rpc[Request, Response], requests: Iterable[Request]) -> Response:
        """Makes a call that sends a stream of messages and gets one answer.

        It has no deadline, but ends as `within` says. gRPC sends a stream by a thread. Where it gets none this raises
        Unavailable with the reason NO_THREAD.
        """
        method = self._method("stream_unary", rpc.path)
        patience, until = _limits.get() or (STREAM_TIMEOUT_SECONDS, None)
        began = moved = time.monotonic()
        longest = patience

        def watched() -> Iterator[Any]:
            nonlocal moved, longest
            for request in requests:
                moved = time.monotonic()
                yield request
            longest = max(patience, moved - began)  # to store it all

        def idle() -> tuple[float, float]:
            return time.monotonic() - moved, longest

        try:
            return parsed(rpc.response, self._sent(method, watched(), idle, until))
        except _failure() as failed:
            error = self.error_of(failed)
            now = time.monotonic()
            if error.code == error.reason == "DEADLINE_EXCEEDED" and now - moved < patience:
                raise self._cut_off(now - began) from None
            raise error from None
        except RuntimeError as problem:
            text = f"files can't be sent to {self.address.target}, because gRPC gets no thread to send with ({problem})"
            raise Unavailable(text, reason="NO_THREAD", metadata={"address": self.address.target}) from None

    def _sent(
        self, method: Any, requests: Iterator[Any], idle: Callable[[], tuple[float, float]], until: float | None
    ) -> Any:
        """Sends a stream for as long as the server goes on. `idle` says how long it has not, and may not."""
        from modelry._grpc import grpc

        if not self._gets_threads():
            raise RuntimeError(self._lack)
        try:
            call = method.future(requests, metadata=self._metadata)
        except RuntimeError as problem:
            self._lack_threads(problem)
            raise
        try:
            while True:
                try:
                    return call.result(timeout=min(idle()[1], _LOOK_SECONDS))
                except grpc.FutureTimeoutError:
                    seconds, longest = idle()
                    if seconds > longest:
                        said = f"no answer from {self.address.target}: it has taken nothing for {seconds:.1f} s"
                        raise self._gave_up(said) from None
                    if until is not None and time.monotonic() > until:
                        said = f"the upload to {self.address.target} was given up"
                        raise self._gave_up(f"{said}, because the time for the delivery is up") from None
        finally:
            call.cancel()

    def _gave_up(self, said: str) -> DeadlineExceeded:
        return DeadlineExceeded(said, metadata={"address": self.address.target})

    def _cut_off(self, seconds: float) -> CallTooLong:
        return CallTooLong(
            f"the upload was ended after {seconds:.1f} s, by {self.address.target} or a proxy before it, while content "
            "was being taken; nothing was written",
            metadata={"address": self.address.target},
        )

    def begin(self, path: str, request: bytes, *, timeout: float) -> Pending:
        """Starts a unary call of encoded messages.

        The caller must keep the result in local variables of its thread: a forked child never collects those, whereas
        it would hang in gRPC if it collected a call of its parent's.

        gRPC needs a thread for calls of this kind. Where it gets none the call is made at once, which needs none.
        """
        if self._gets_threads():
            method = self._method("bytes", path)
            try:
                return cast("Pending", method.future(request, timeout=timeout, metadata=self._metadata))
            except RuntimeError as problem:
                self._lack_threads(problem)
        method = self._method("bytes", path)
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
            if self._tls.is_outdated():
                with self._lock:  # calls in flight keep the channel
                    self._channel, self._methods = None, {}
            if error.code == "UNAVAILABLE" and (cause := self._tls.cause(said)):
                named = f"no answer from {self.address.target}: {self._advice.tls[cause]}"
                return Unavailable(named, reason=cause, metadata={"address": self.address.target})
            named = f"no answer from {self.address.target}: {said}"
            named += f" ({self._advice.hint(said) if error.code == 'UNAVAILABLE' else self._advice.slow})"
            return type(error)(named, reason=error.reason, metadata={"address": self.address.target})
        if is_stranger(error):
            named = f"{self.address.target} answered {error.code}: {error.message} ({self._advice.stranger})"
            return type(error)(named, metadata={"address": self.address.target})
        if error.code == error.message == "CANCELLED":  # all that gRPC says if the server has cancelled it
            return Cancelled(f"{self.address.target} {_ENDED}", metadata={"address": self.address.target})
        return error

    def _lack_threads(self, problem: RuntimeError) -> None:
        """Notes that gRPC got no thread: there are no more, or Python 3.12 ends.

        The channel believes that it has one. Calls by it would wait for ever, and so would its end, so it is kept.
        """
        self._lack = str(problem) or "no thread"
        self._look_for_threads_at = time.monotonic() + _THREADS_AGAIN_SECONDS
        with self._lock:
            _spoilt.append(self._channel)
            self._channel, self._methods = None, {}

    def _gets_threads(self) -> bool:
        """Whether gRPC gets a thread, as far as is known. Where it got none this looks once a second."""
        if self._lack and time.monotonic() >= self._look_for_threads_at:
            self._look_for_threads_at = time.monotonic() + _THREADS_AGAIN_SECONDS
            with suppress(RuntimeError):
                threading.Thread(target=int, name="modelry-probe", daemon=True).start()
                self._lack = ""
        return not self._lack

    def _too_slow(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"no answer from {self.address.target}: the next message of the stream did not come within "
            f"{self.timeout:g} seconds; MODELRY_TIMEOUT sets how long to wait",
            reason="DEADLINE_EXCEEDED",
            metadata={"address": self.address.target},
        )

    def _deadline(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _method(self, kind: str, path: str) -> Any:
        """A method that answers with bytes: gRPC would log a traceback of those that it can't parse."""
        process.current().require_grpc()
        return self._methods.get((path, kind)) or self._made(kind, path)

    def _made(self, kind: str, path: str) -> Any:
        with self._lock:
            if self._channel is None:
                self._channel = self._open()
            channel: Any = self._channel
            maker = channel.unary_unary if kind == "bytes" else getattr(channel, kind)
            made = maker(
                path,
                request_serializer=None if kind in ("bytes", "unary_unary") else _serialize,
            )
            self._methods[(path, kind)] = made
            return made

    def _open(self) -> grpc.Channel:
        from modelry._grpc import grpc
        from modelry._sdk.transport.retries import service_config

        options = [*_OPTIONS, ("grpc.service_config", service_config())]
        if settings.is_loopback(self.address.host):
            options.append(("grpc.enable_http_proxy", 0))
        credentials = self._tls.credentials()
        if credentials is None:
            channel = grpc.insecure_channel(self.address.target, options=options)
        else:
            channel = grpc.secure_channel(self.address.target, credentials, options=options)
        process.keep_in_children(channel)
        return channel


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

    def abandon(self) -> None:
        for connection in self.known.values():
            connection.close()


def connect(
    uri: str | None = None,
    *,
    insecure: bool | None = None,
    files: TlsFiles = _NO_FILES,
    origin: Origin = _TRACKING,
) -> Connection:
    """The connection of this process to a server. It opens nothing yet: the first call does.

    Default: the tracking URI of this process. If the URI is that of the environment, the environment also says which
    services have another address. Of `files`, the environment names those that are empty. Raises InvalidArgument for a
    URI that can't be read.
    """
    address = settings.parse_address(process.current().tracking_uri if uri is None else uri)
    elsewhere = {}
    for service, given in settings.service_uris(address):
        variable = settings.service_variable(service)
        other = settings.parse_address(given, variable)
        elsewhere[service] = _connected(other, insecure, origin=Origin(variable), files=files)
    return _connected(address, insecure, elsewhere, origin, files)


def _connected(
    address: settings.Address,
    insecure: bool | None,
    elsewhere: Mapping[str, Connection] | None = None,
    origin: Origin = _TRACKING,
    files: TlsFiles = _NO_FILES,
) -> Connection:
    chosen = settings.usable()
    plain = chosen.insecure if insecure is None else insecure
    files = TlsFiles(
        ca=files.ca or chosen.ca_file,
        certificate=files.certificate or chosen.client_certificate_file,
        key=files.key or chosen.client_key_file,
    )
    others = tuple((service, each.address.target, each.address.tls) for service, each in (elsewhere or {}).items())
    key = (address.target, address.tls, plain, files, chosen.timeout, others, origin)
    connections = process.current().part(_Connections)
    with connections.lock:
        if key not in connections.known:
            connections.known[key] = Connection(
                address, timeout=chosen.timeout, insecure=plain, files=files, elsewhere=elsewhere, origin=origin
            )
        return connections.known[key]


def _serialize(request: Message) -> bytes:
    return request.SerializeToString()


def _failure() -> type[Exception]:
    from modelry._grpc import grpc

    return cast("type[Exception]", grpc.RpcError)


def _subject() -> str:
    """The name of the user as metadata, which is ASCII: bytes of UTF-8 that are not, and `%`, are written as `%XX`."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):
        name = "unknown"
    readable = name.encode(errors="replace").decode()
    shown = "".join(letter if is_printable(letter) else "?" for letter in readable)
    return quote(shown[:_NAME_LIMIT].strip() or "unknown", safe=_PLAIN)
