"""Calls to other services. They carry who calls, signed; the rest of the caller's time; the trace.

Never call another service inside a transaction, and only along the order registry -> artifacts -> tracking -> access.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Generic, TypeVar

import grpc

from modelry_server.kernel import caller
from modelry_server.kernel.caller import NOBODY, Caller
from modelry_server.kernel.errors import (
    CallTooLong,
    DeadlinePassed,
    Draining,
    ModelryError,
    NotAService,
    ServiceUnavailable,
    TooManyCalls,
    TooManyStreams,
)
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport import sockets, status, tracing, vouching

BELIEVED_S = 5.0
"""How long what a neighbour confirmed is believed, in seconds."""

_MARGIN_S = 0.05
_WATCH_S = 3600.0
# CANCELLED is gRPC's answer to a call that arrives at the moment when a server closes.
_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
# What a service says of its own load, limits and end. A client would take it for those of the server that it called,
# which may have begun to work on the call. What remains is passed on. It is about the request, or holds for whoever
# asks: DATABASE_UNAVAILABLE names the service and says what became of a change, STORE_UNAVAILABLE and
# SERVICE_UNAVAILABLE name what is missing, and INTERNAL has an id in the log of the service.
_OF_ITSELF = frozenset(each.reason for each in (CallTooLong, Draining, TooManyCalls, TooManyStreams))
_MOST_BELIEVED = 10_000
_SOON_S = 2.0
_log = Log("neighbours")
_Stub = TypeVar("_Stub")
_Answer = TypeVar("_Answer")


class Neighbour:
    """Another service, at the address of its internal listener. The connection opens with the first call.

    `key` is the key of the services, and `knows_callers` says whether this process knows its callers. With
    `credentials` a port is reached by TLS, a Unix socket never. A service that needs more than `longest_s` seconds
    counts as unavailable, or more than `call_s` for a call whose work grows with what is stored.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        key: str = "",
        knows_callers: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        longest_s: float = 10.0,
        call_s: float = 60.0,
    ) -> None:
        self.name = name
        self.address = address
        self._voucher = vouching.Voucher(key, knows_callers=knows_callers)
        self._longest_s = longest_s
        self._call_s = call_s
        options = [
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt to connect may take, despite its name
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),  # a proxy of the environment is for what lies outside
        ]
        if credentials is None or sockets.path_of(address):
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=options)

    def stub(self, kind: type[_Stub]) -> _Stub:
        """A stub of one of the service's contracts, whose methods are for `call`."""
        return kind(_Naming(self._channel))  # type: ignore[call-arg]

    def call(self, method: Any, request: Any, *, is_long: bool = False) -> Any:
        """Calls a method of a stub for the current caller, within what is left of the caller's time.

        `is_long` says that the work grows with what is stored, such as the files of a run.
        Raises the error that the service answers with, with the same class and reason. Raises ServiceUnavailable if it
        does not answer in time, or refuses because of its own state, such as when it is shutting down.
        """
        present = caller.current()
        left = present.time_left()
        if left is not None and left <= _MARGIN_S:
            raise DeadlinePassed
        longest_s = self._call_s if is_long else self._longest_s
        timeout = longest_s if left is None else min(longest_s, left - _MARGIN_S)
        metadata = {vouching.METADATA: self._voucher.say(present, to=self.name)}
        span = tracing.made(method.rpc, metadata)
        code = grpc.StatusCode.OK
        try:
            return method.call(request, timeout=timeout, metadata=tuple(metadata.items()))
        except grpc.RpcError as error:
            code = error.code()
            raise self._translated(error, is_callers_time=timeout < longest_s) from error
        finally:
            tracing.end(span, code, is_fault=code is not grpc.StatusCode.OK)

    def watch(self, method: Any, request: Any) -> "Watched":
        """Opens a stream of a service, for this service itself. It ends when it is cancelled, and after an hour."""
        metadata = {vouching.METADATA: self._voucher.say(caller.NOBODY, to=self.name)}
        return Watched(method.call(request, timeout=_WATCH_S, metadata=tuple(metadata.items())), self)

    def error_of(self, error: Any) -> ModelryError:
        """The error that a failed stream of this service stands for."""
        return self._translated(error, is_callers_time=False)

    def _translated(self, error: Any, *, is_callers_time: bool) -> ModelryError:
        answered = status.from_rpc_error(error)
        if answered.reason == NotAService.reason:  # a mistake in the settings, which the caller can't mend
            right = (
                "the same server.service_key and server.authentication, clocks that agree to a minute, and releases "
                "that read each other's statements"
            )
            _log.seldom("neighbour.key_refused", per=self.name, service=self.name, address=self.address, right=right)
            return ServiceUnavailable(self.name, self.address)
        if answered.reason in _OF_ITSELF:
            return ServiceUnavailable(self.name, self.address, answered.reason)
        if answered.reason == DeadlinePassed.reason and not is_callers_time:  # of the time that it was given here
            return ServiceUnavailable(self.name, self.address)
        if answered.reason != "INTERNAL":  # the service itself said why
            return answered
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and is_callers_time:
            return DeadlinePassed()
        if error.code() in _NO_ANSWER:
            return ServiceUnavailable(self.name, self.address)
        return answered

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


class _Method:
    """A method of a stub, with its full name."""

    def __init__(self, rpc: str, call: Callable[..., Any]) -> None:
        self.rpc, self.call = rpc, call


class _Naming:
    """What a stub takes for its channel. Its methods know their names, which those of gRPC keep to themselves."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def unary_unary(self, rpc: str, *args: Any, **options: Any) -> _Method:
        return _Method(rpc, self._channel.unary_unary(rpc, *args, **options))

    def unary_stream(self, rpc: str, *args: Any, **options: Any) -> _Method:
        return _Method(rpc, self._channel.unary_stream(rpc, *args, **options))

    def stream_unary(self, rpc: str, *args: Any, **options: Any) -> None:
        """Services send no streams to each other."""

    stream_stream = stream_unary


class Watched:
    """A stream of another service, for one thread that reads it. Any thread may cancel it."""

    def __init__(self, stream: Any, neighbour: Neighbour) -> None:
        self._stream = stream
        self._neighbour = neighbour

    def __iter__(self) -> Iterator[Any]:
        """Its messages. Raises the error that it ends with, also when it is cancelled."""
        try:
            yield from self._stream
        except grpc.RpcError as error:
            raise self._neighbour.error_of(error) from error

    def cancel(self) -> None:
        """Ends it."""
        self._stream.cancel()


class Believed(Generic[_Answer]):
    """What another service answers about a name is believed for five seconds, so that asking costs a hot path nothing.

    `ask` asks the service, and raises its answer if that is an error.
    """

    def __init__(self, ask: Callable[[str], _Answer]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._answers: dict[str, tuple[float, _Answer]] = {}
        self._failed_at = -BELIEVED_S

    def require(self, name: str) -> _Answer:
        """The answer of lately, or of now. Raises the error that the service answers with now."""
        now = time.monotonic()
        known = self._answers.get(name)
        if known is not None and now - known[0] < BELIEVED_S:
            return known[1]
        answer = self._ask(name)
        with self._lock:
            if len(self._answers) >= _MOST_BELIEVED:
                self._answers.clear()
            self._answers[name] = now, answer
        return answer

    def latest(self, name: str, unknown: _Answer) -> _Answer:
        """The answer of lately, or of now; the last one if there is none now, and `unknown` if there never was one.

        Asks for this service itself, not for the caller; one thread at a time, within two seconds, and not within five
        seconds after it got no answer.
        """
        known = self._answers.get(name)
        if known is not None and time.monotonic() - known[0] < BELIEVED_S:
            return known[1]
        if not self._asking.acquire(blocking=known is None):
            return known[1] if known else unknown
        try:
            if time.monotonic() - self._failed_at >= BELIEVED_S:
                with caller.using(_itself(_SOON_S)):
                    return self.require(name)
        except ModelryError as error:
            self._failed_at = time.monotonic()
            _log.seldom("neighbour.not_heard", per="", name=name, reason=error.reason)
        finally:
            self._asking.release()
        known = self._answers.get(name)
        return known[1] if known else unknown


def _itself(longest_s: float) -> Caller:
    """This service as the caller, for so many seconds of what is left to the present caller."""
    present, until = caller.current(), time.monotonic() + longest_s
    deadline = until if present.deadline is None else min(until, present.deadline)
    return replace(NOBODY, trace_id=present.trace_id, deadline=deadline)
