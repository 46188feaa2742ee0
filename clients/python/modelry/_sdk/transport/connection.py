"""The connection to a server: one channel for each address, opened by the first call."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from modelry._sdk.transport import process, settings
from modelry._sdk.transport.advice import Advice, is_stranger
from modelry._sdk.transport.advice import Origin as Origin
from modelry._sdk.transport.answers import parsed
from modelry._sdk.transport.patience import Patience
from modelry._sdk.transport.pending import Answered, Begun
from modelry._sdk.transport.pending import Pending as Pending
from modelry._sdk.transport.requests import encoded
from modelry._sdk.transport.signing import RENEWED, Signing
from modelry._sdk.transport.tls import Tls, TlsFiles
from modelry.errors import CallTooLong, Cancelled, DeadlineExceeded, ModelryError, Unauthenticated, Unavailable

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    Request = TypeVar("Request", bound=Message)
    Response = TypeVar("Response", bound=Message)
    Answer = TypeVar("Answer")

    from modelry._sdk.credentials.tokens import Token
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


_TRACKING = Origin()
_NO_FILES = TlsFiles()


@dataclass(frozen=True, slots=True)
class Options:
    """How a connection is made. `insecure`: plain text also to other machines; None: as the settings say.

    `files` are those of TLS, which are read when the channel opens, and again after a failure if one has changed.
    `origin` says where the address is from. `server` is whose login counts, if that is another address. `token` is the
    token of an argument, and an empty one stands for calls without one.
    """

    insecure: bool | None = None
    files: TlsFiles = _NO_FILES
    origin: Origin = _TRACKING
    server: str = ""
    token: str | None = field(default=None, repr=False)


_USUAL = Options()


class Connection:
    """A connection to one server, for any number of threads.

    A call names its rpc by a constant of `modelry.api.<service>.v1.rpcs`. It has a deadline in seconds; the default is
    that of the settings. Every failure is raised as ModelryError. In a process that must not use gRPC (see
    `transport.process`) each call raises Unavailable at once. `elsewhere` has the connections of services with an
    address of their own; `options` say how they are made.
    """

    def __init__(
        self,
        address: settings.Address,
        *,
        timeout: float,
        options: Options = _USUAL,
        elsewhere: Mapping[str, Connection] | None = None,
    ) -> None:
        self.address = address
        self._options = options
        self._elsewhere = dict(elsewhere or {})
        self.timeout = timeout
        self._plain = not address.tls and (address.loopback or bool(options.insecure))
        self._tls = Tls(address, options.files, plain=self._plain)
        self._signing = Signing(
            address,
            plain=self._plain,
            server=options.server,
            given=options.token,
            is_chosen=options.origin.is_chosen,
            certified=bool(options.files.certificate),
        )
        self._advice = Advice(options.origin, address, plain=self._plain, ca=options.files.ca)
        self._lack = ""
        """Why gRPC got no thread. Empty: it gets one."""
        self._look_for_threads_at = 0.0
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._methods: dict[tuple[str, str], Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """What is pickled or copied is the address: who unpickles it gets the connection, and the token, of there."""
        return _connected, (self.address, replace(self._options, token=None), self._elsewhere)

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
            options=self._options,
            elsewhere=elsewhere,
        )

    def call(self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None) -> Response:
        """Makes a unary call and answers with its response. Raises InvalidArgument for a request above 4 MiB."""
        content = encoded(request)
        return self._renewing(lambda: self._call(rpc, content, timeout))

    def _call(self, rpc: Rpc[Request, Response], content: bytes, timeout: float | None) -> Response:
        method = self._method("unary_unary", rpc.path)
        token = self._signing.token()
        try:
            answer = method(content, timeout=self._deadline(timeout), metadata=self._signing.metadata(token))
        except _failure() as failed:
            raise self._error_of(failed, token) from None
        return parsed(rpc.response, answer)

    def _renewing(self, action: Callable[[], Answer]) -> Answer:
        """Makes a call, and once more if its token was refused and there is another one."""
        try:
            return action()
        except ModelryError as error:
            if error.reason != RENEWED:
                raise
        return action()

    def read(
        self, rpc: Rpc[Request, Response], request: Request, *, timeout: float | None = None
    ) -> Iterator[Response]:
        """Makes a call that the server answers with a stream of messages.

        Its deadline is for the whole stream, and each message may take as long as a unary call. Leaving the iterator
        early ends the call.
        """
        has_begun = False
        try:
            for message in self._read(rpc, request, timeout):
                has_begun = True
                yield message
            return
        except ModelryError as error:
            if error.reason != RENEWED or has_begun:
                raise
        yield from self._read(rpc, request, timeout)

    def _read(self, rpc: Rpc[Request, Response], request: Request, timeout: float | None) -> Iterator[Response]:
        method = self._method("unary_stream", rpc.path)
        token = self._signing.token()
        deadline = STREAM_TIMEOUT_SECONDS if timeout is None else timeout
        stream: Any = None
        patience: Patience | None = None
        try:
            stream = method(request, timeout=deadline, metadata=self._signing.metadata(token))
            patience = Patience(stream, self.timeout)
            for message in patience.messages():
                yield parsed(rpc.response, message)
        except GeneratorExit:
            raise  # also where Python ends, and `_failure` can import nothing
        except _failure() as failed:
            if patience is not None and patience.is_over:
                raise self._too_slow() from None
            raise self._error_of(failed, token) from None
        finally:
            if stream is not None and not process.current().inherits_grpc:
                if patience is not None:
                    patience.end()
                stream.cancel()

    def write(self, rpc: Rpc[Request, Response], requests: Iterable[Request]) -> Response:
        """Makes a call that sends a stream of messages and gets one answer.

        It has no deadline, but ends as `within` says. gRPC sends a stream by a thread. Where it gets none this raises
        Unavailable with the reason NO_THREAD. It can't send the stream again: where its token was refused and there is
        another one by now, this raises Unauthenticated with the reason TOKEN_RENEWED.
        """
        method = self._method("stream_unary", rpc.path)
        token = self._signing.token()
        metadata = self._signing.metadata(token)
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
            answer = self._sent(lambda: method.future(watched(), metadata=metadata), idle, until)
            return parsed(rpc.response, answer)
        except _failure() as failed:
            error = self._error_of(failed, token)
            now = time.monotonic()
            if error.code == error.reason == "DEADLINE_EXCEEDED" and now - moved < patience:
                raise self._cut_off(now - began) from None
            raise error from None
        except RuntimeError as problem:
            text = f"files can't be sent to {self.address.target}, because gRPC gets no thread to send with ({problem})"
            raise Unavailable(text, reason="NO_THREAD", metadata={"address": self.address.target}) from None

    def _sent(self, begin: Callable[[], Any], idle: Callable[[], tuple[float, float]], until: float | None) -> Any:
        """Sends a stream for as long as the server goes on. `idle` says how long it has not, and may not."""
        from modelry._grpc import grpc

        if not self._gets_threads():
            raise RuntimeError(self._lack)
        try:
            call = begin()
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
        token = self._signing.token()
        metadata = self._signing.metadata(token)
        if self._gets_threads():
            method = self._method("bytes", path)
            try:
                return Begun(method.future(request, timeout=timeout, metadata=metadata), token)
            except RuntimeError as problem:
                self._lack_threads(problem)
        method = self._method("bytes", path)
        return Answered(method, request, failure=_failure(), token=token, timeout=timeout, metadata=metadata)

    def require_private(self) -> None:
        """Raises Unauthenticated if no token may be sent over this connection, see `transport.signing`."""
        self._signing.require_private("of a login")

    def close(self) -> None:
        """Closes the channel. The next call opens another one."""
        if process.current().inherits_grpc:
            return
        with self._lock:
            channel, self._channel = self._channel, None
            self._methods = {}
        if channel is not None:
            channel.close()

    def error_of(self, failed: Any, call: Pending | None = None) -> ModelryError:
        """The error that a failed call of this connection stands for, which `begin` began if that is given."""
        return self._error_of(failed, None if call is None else call.token)

    def _error_of(self, failed: Any, token: Token | None) -> ModelryError:
        error = self._named(failed)
        if error.code == "UNAUTHENTICATED" and self._signing.renewed(token):
            return Unauthenticated(error.message, reason=RENEWED, metadata=error.metadata)
        return self._signing.explained(error, token)

    def _named(self, failed: Any) -> ModelryError:
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
    token: str | None = None,
) -> Connection:
    """The connection of this process to a server. It opens nothing yet: the first call does.

    Default: the tracking URI of this process. If the URI is that of the environment, the environment also says which
    services have another address. Of `files`, the environment names those that are empty. A `token` counts in place of
    all others, and an empty one stands for none. Raises InvalidArgument for a URI that can't be read.
    """
    address = settings.parse_address(process.current().tracking_uri if uri is None else uri)
    elsewhere = {}
    for service, given in settings.service_uris(address):
        variable = settings.service_variable(service)
        other = settings.parse_address(given, variable)
        of_other = Options(insecure, files, Origin(variable), server=address.target, token=token)
        elsewhere[service] = _connected(other, of_other)
    return _connected(address, Options(insecure, files, origin, token=token), elsewhere)


def _connected(
    address: settings.Address, options: Options, elsewhere: Mapping[str, Connection] | None = None
) -> Connection:
    chosen = settings.usable()
    files = options.files
    options = replace(
        options,
        insecure=chosen.insecure if options.insecure is None else options.insecure,
        files=TlsFiles(
            ca=files.ca or chosen.ca_file,
            certificate=files.certificate or chosen.client_certificate_file,
            key=files.key or chosen.client_key_file,
        ),
    )
    others = tuple((service, each.address.target, each.address.tls) for service, each in (elsewhere or {}).items())
    key = (address.target, address.tls, options, chosen.timeout, others)
    connections = process.current().part(_Connections)
    with connections.lock:
        if key not in connections.known:
            connections.known[key] = Connection(address, timeout=chosen.timeout, options=options, elsewhere=elsewhere)
        return connections.known[key]


def _serialize(request: Message) -> bytes:
    return request.SerializeToString()


def _failure() -> type[Exception]:
    from modelry._grpc import grpc

    return cast("type[Exception]", grpc.RpcError)
