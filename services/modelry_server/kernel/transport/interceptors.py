"""What happens around every call.

From the outside in: span, caller, measurement, errors, drain, credential, deadline. One gRPC interceptor builds the
chain once for each method, so a call costs a few function calls only. What a caller may do is not judged here but in
the domains, which know where a thing lies.
"""

import itertools
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, TypeVar

import grpc
import prometheus_client
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from modelry_server.kernel import caller
from modelry_server.kernel.access import Permission
from modelry_server.kernel.errors import (
    AnswerTooLarge,
    CallTooLong,
    CredentialInvalid,
    DeadlinePassed,
    Draining,
    FieldInvalid,
    ModelryError,
    TooManyStreams,
    Unavailable,
    UnexpectedError,
)
from modelry_server.kernel.telemetry import DURATION_BUCKETS, Log
from modelry_server.kernel.transport import keys, status, subjects, texts, tracing
from modelry_server.kernel.transport.drain import Drain
from modelry_server.kernel.transport.gate import Gate
from modelry_server.kernel.transport.waiting import Waiting

MESSAGE_BYTES = 4 << 20
"""The largest message, in bytes: gRPC's own default, which every client can receive."""
CREDENTIAL, PEER = "modelry-credential", "modelry-peer"
"""The metadata entries in which a service describes its caller, beside the name."""

_OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
    "/grpc.reflection.v1.ServerReflection/",
)
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_END = object()
_Message = TypeVar("_Message")
_LARGE_BYTES = 256 << 10
_one_large = Gate(1, 1)
_CALL_BYTES = 16 << 10  # what gRPC keeps of a call besides its answer
_log = Log("rpc")

calls_total = prometheus_client.Counter(
    "modelry_rpc_calls_total", "Calls answered, by method and code.", ["rpc", "code"]
)
call_seconds = prometheus_client.Histogram(
    "modelry_rpc_duration_seconds", "Time to answer a call.", ["rpc"], buckets=DURATION_BUCKETS
)
streams_open = prometheus_client.Gauge("modelry_rpc_streams_open", "Streams that are open.")


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads besides those of unary calls.

    `streams` has one for each open stream, `uploads` a second one for each upload, and `others` those of health and
    reflection, which answer whatever the other calls do.
    """

    streams: ThreadPoolExecutor
    uploads: ThreadPoolExecutor
    others: ThreadPoolExecutor


@dataclass(frozen=True, slots=True)
class Bounds:
    """What calls of one listener may take at once.

    `work` has the places of unary calls at work, `searches` those of searches among them, `steps` those of streams that
    make their next message, `streams` those of open streams, `watches` those of watches of health. `arriving` are the
    calls whose message is still to come, `unread` the bytes of answers that their clients have not taken. `idle_s` is
    how long a stream may wait for its client, `call_s` how long a unary call may take.
    """

    work: Gate
    searches: Gate
    steps: Gate
    streams: Gate
    watches: Gate
    arriving: Waiting
    unread: Waiting
    idle_s: float
    call_s: float


@dataclass(frozen=True, slots=True)
class _Method:
    rpc: str
    permission: Permission
    seconds: Any
    answered: Any
    """Counts the calls that end well. The others are counted by a look-up for each call."""
    is_search: bool
    answer: Callable[[Any, Any], Any]


def is_search(rpc: str) -> bool:
    """Whether a call may look through all that there is: its request has a filter."""
    method = descriptor_pool.Default().FindMethodByName(rpc[1:].replace("/", "."))
    return "filter" in method.input_type.fields_by_name


class Calls(grpc.ServerInterceptor):
    """Wraps every method of one listener.

    `permissions` maps each full rpc name to the permission that it needs. `key` is the key of the services, which each
    call to an internal listener must carry; it is empty for the public listener, where no caller counts as a service.
    """

    def __init__(
        self, permissions: Mapping[str, Permission], *, key: str, drain: Drain, pools: Pools, bounds: Bounds
    ) -> None:
        self._permissions = permissions
        self._key = key
        self._drain = drain
        self._pools = pools
        self._bounds = bounds
        self._open: dict[_OpenStream, None] = {}
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        """Gives the handler of the method with all steps around it."""
        handler = continuation(details)
        if handler is None:
            return None
        known = self._wrapped.get(details.method)
        if known is None or known[0] is not handler:
            wrap = self._wrap_open if details.method.startswith(_OPEN_SERVICES) else self._wrap
            known = self._wrapped[details.method] = (handler, wrap(details.method, handler))
        return known[1]

    def end_idle(self) -> None:
        """Ends the calls and streams that have waited too long for their client."""
        self._bounds.arriving.end_overdue()
        self._bounds.unread.end_overdue()
        overdue = time.monotonic() - self._bounds.idle_s
        for stream in list(self._open):
            if stream.waits_since < overdue:
                stream.context.cancel()

    def _wrap_open(self, rpc: str, handler: Any) -> Any:
        """The handler of health or reflection: on threads of its own; a stream has a slot."""
        if not handler.response_streaming:

            def single(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
                answer = handler.unary_unary(self._arrived(rpc, requests, context), context)
                self._leaves(context, answer.ByteSize())
                return answer

            single.experimental_thread_pool = self._pools.others  # type: ignore[attr-defined]
            return grpc.stream_unary_rpc_method_handler(
                single, handler.request_deserializer, handler.response_serializer
            )

        def stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            request = None if handler.request_streaming else self._arrived(rpc, requests, context)
            try:
                if request is None:
                    with self._slot(context) as slot:
                        yield from slot.sent(handler.stream_stream(slot.received(requests), context))
                else:  # health's Watch
                    with self._slot_of(self._bounds.watches, context) as slot:
                        yield from slot.sent(handler.unary_stream(request, context))
            except TooManyStreams as error:
                context.abort_with_status(rpc_status.to_status(status.to_status(error)))

        stream.experimental_thread_pool = self._pools.others  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)

    def _wrap(self, rpc: str, handler: Any) -> Any:
        measured = (call_seconds.labels(rpc), calls_total.labels(rpc, "OK"))
        known = (rpc, self._permissions[rpc], *measured, is_search(rpc))
        # gRPC runs a deserializer on the one thread that serves all connections. So it hands on bytes, and the thread
        # that answers the call parses them.
        parsed = partial(_parsed, handler.request_deserializer)
        read = partial(map, parsed) if handler.request_streaming else parsed
        serialize = handler.response_serializer
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            method = _Method(*known, lambda request, context: inner(read(request), context))

            def stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
                request = requests if handler.request_streaming else self._arrived(rpc, requests, context)
                yield from self._stream(method, serialize, request, context)

            stream.experimental_thread_pool = self._pools.streams  # type: ignore[attr-defined]
            return grpc.stream_stream_rpc_method_handler(stream)
        inner = handler.stream_unary or handler.unary_unary
        method = _Method(*known, lambda request, context: serialize(inner(read(request), context)))

        def single(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            answer = self._single(method, self._arrived(rpc, requests, context), context)
            self._leaves(context, len(answer))
            return answer

        if not handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(single)

        def upload(requests: Iterable[bytes], context: grpc.ServicerContext) -> bytes:
            # A thread that waits for the client's next message can't be told of the drain. So it is not this one.
            work = self._pools.uploads.submit(self._upload, method, requests, context)
            if not self._drain.outlasts(work):
                context.abort_with_status(rpc_status.to_status(status.to_status(Draining())))
            try:
                return work.result()
            finally:
                del work  # it holds the error, see `_let_go`

        upload.experimental_thread_pool = self._pools.streams  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(upload)

    def _arrived(self, rpc: str, messages: Iterator[_Message], context: grpc.ServicerContext) -> _Message:
        """The one message of a call, for which it waits. So gRPC must know the method as one that takes a stream.

        Of a method that takes one message, gRPC says nothing before the message is here.
        """
        self._bounds.arriving.enter(context)
        try:
            message = next(messages, _END)
        finally:
            is_wanted = self._bounds.arriving.leave(context)
        if not is_wanted:
            context.abort(grpc.StatusCode.CANCELLED, "The message of this call came too late.")
        if message is _END:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f'"{rpc}" requires exactly one request message.')
        return message  # type: ignore[return-value]

    def _leaves(self, context: grpc.ServicerContext, size: int) -> None:
        """Notes that gRPC has the answer of a call, and keeps it until the client has taken it."""

        def end() -> None:
            self._bounds.unread.leave(context)

        self._bounds.unread.enter(context, size + _CALL_BYTES)
        if not context.add_callback(end):
            end()

    def _single(
        self, method: _Method, request: Any, context: grpc.ServicerContext, *, is_upload: bool = False
    ) -> bytes:
        call = _Call(method, context, self._key, longest_s=None if is_upload else self._bounds.call_s)
        with call:
            try:
                with self._drain:
                    self._check(call)
                    with (
                        _Place(self._bounds.searches, call) if method.is_search else nullcontext(),
                        nullcontext() if is_upload else _Place(self._bounds.work, call),
                    ):
                        response: bytes = method.answer(request, context)
                    if len(response) > MESSAGE_BYTES:
                        raise AnswerTooLarge(len(response), MESSAGE_BYTES)
                call.end(grpc.StatusCode.OK)
                return response
            except Exception as error:
                call.refuse(error)
            finally:
                call.end(grpc.StatusCode.CANCELLED)

    def _upload(self, method: _Method, requests: Iterable[Any], context: grpc.ServicerContext) -> bytes:
        def answer(requests: Iterable[Any], context: grpc.ServicerContext) -> Any:
            with self._slot(context) as slot:
                return method.answer(self._drain.checked(slot.received(requests)), context)

        return self._single(replace(method, answer=answer), requests, context, is_upload=True)

    def _stream(
        self, method: _Method, serialize: Callable[[Any], bytes], request: Any, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        call = _Call(method, context, self._key)
        try:
            with self._drain, self._slot(context) as slot:
                with call:
                    self._check(call)
                    responses = iter(method.answer(request, context))
                while True:
                    with call, _Place(self._bounds.steps, call):  # anew for each step: a reader may be slow
                        self._drain.check()
                        made = [serialize(each) for each in itertools.islice(responses, 1)]
                    if not made:
                        break
                    slot.waits_since = time.monotonic()
                    yield made.pop()  # so that a message is not kept twice while its reader is slow
                    slot.waits_since = math.inf
            call.end(grpc.StatusCode.OK)
        except Exception as error:
            with call:
                call.refuse(error)
        finally:
            call.end(grpc.StatusCode.CANCELLED)

    @contextmanager
    def _slot(self, context: grpc.ServicerContext) -> Iterator["_OpenStream"]:
        """A place among the open streams."""
        with self._slot_of(self._bounds.streams, context) as stream, streams_open.track_inprogress():
            yield stream

    @contextmanager
    def _slot_of(self, gate: Gate, context: grpc.ServicerContext) -> Iterator["_OpenStream"]:
        peer, stream = context.peer() or "", _OpenStream(context)
        if not gate.try_to_enter(peer):
            raise TooManyStreams(gate.places, gate.of_one)
        self._open[stream] = None
        try:
            yield stream
        finally:
            del self._open[stream]
            gate.leave(peer)

    def _check(self, call: "_Call") -> None:
        if not call.caller.is_service and (self._key or call.method.permission is Permission.SERVICE):
            if self._key:
                _log.seldom("rpc.key_refused", per="", peer=call.caller.peer, rpc=call.method.rpc)
            raise CredentialInvalid(call.method.rpc)
        if call.caller.deadline is not None and call.caller.deadline <= time.monotonic():
            raise DeadlinePassed


class _OpenStream:
    """A stream, and since when it has waited for its client: for ever in the future while it does not."""

    __slots__ = ("context", "waits_since")

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.context = context
        self.waits_since = math.inf

    def received(self, messages: Iterable[_Message]) -> Iterator[_Message]:
        """The messages of the client; it waits for each of them."""
        given = iter(messages)
        while True:
            self.waits_since = time.monotonic()
            message = next(given, _END)
            self.waits_since = math.inf
            if message is _END:
                return
            yield message  # type: ignore[misc]

    def sent(self, messages: Iterable[_Message]) -> Iterator[_Message]:
        """The messages to the client; it waits until the client takes each of them."""
        for message in messages:
            self.waits_since = time.monotonic()
            yield message
            self.waits_since = math.inf


class _Place:
    """A place of a call at work, within a block. A call whose caller is gone when it gets one is not begun."""

    __slots__ = ("_call", "_gate")

    def __init__(self, gate: Gate, call: "_Call") -> None:
        self._gate = gate
        self._call = call

    def __enter__(self) -> None:
        present = self._call.caller
        if self._gate.try_to_enter(present.peer):
            return
        if not self._gate.enter(present.peer, present.deadline):
            raise DeadlinePassed
        if not present.is_here():
            self._gate.leave(present.peer)
            raise DeadlinePassed

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self._call.caller.peer)


class _Call:
    """One call that is being answered: who calls, its span, and what is measured of it."""

    __slots__ = ("_begun", "_called", "_context", "_is_ended", "_limit_s", "_span", "_traced", "caller", "method")

    def __init__(
        self, method: _Method, context: grpc.ServicerContext, key: str, *, longest_s: float | None = None
    ) -> None:
        self._begun = time.perf_counter()
        self._is_ended = False
        self._context = context
        self.method = method
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        self._span = tracing.answered(method.rpc, metadata)
        left = context.time_remaining()
        self._limit_s: float | None = None
        if longest_s is not None and (left is None or longest_s < left):
            left = self._limit_s = longest_s
        self.caller = _caller_of(metadata, context, left, key=key, trace_id=tracing.trace_id(self._span))
        self._traced, self._called = tracing.using(self._span), caller.using(self.caller)

    def __enter__(self) -> None:
        """Makes its caller and its span the current ones, within a block."""
        self._traced.__enter__()
        self._called.__enter__()

    def __exit__(self, *_: object) -> None:
        self._called.__exit__()
        self._traced.__exit__()

    def end(self, code: grpc.StatusCode) -> None:
        """Measures the call. Only the code of the first call counts."""
        if self._is_ended:
            return
        self._is_ended = True
        is_ok = code is grpc.StatusCode.OK
        (self.method.answered if is_ok else calls_total.labels(self.method.rpc, code.name)).inc()
        self.method.seconds.observe(time.perf_counter() - self._begun)
        tracing.end(self._span, code)

    def refuse(self, error: Exception) -> NoReturn:
        """Ends the call with the status of the error; always raises."""
        if isinstance(error, Unavailable) and not isinstance(error, Draining):
            cause = str(error.__cause__ or "")
            _log.seldom("rpc.unavailable", per=error.message, reason=error.reason, message=error.message, cause=cause)
        if not isinstance(error, ModelryError):
            correlation_id = secrets.token_hex(8)
            _log.error("rpc.failed", trace=True, rpc=self.method.rpc, correlation_id=correlation_id)
            _let_go(error)
            error = UnexpectedError(correlation_id)
        elif error.reason == DeadlinePassed.reason and self._limit_s is not None:
            error = CallTooLong(self._limit_s)
        answer = status.to_status(error)
        code = _CODES[answer.code]
        self.end(code)
        _log.debug("rpc.refused", rpc=self.method.rpc, code=code.name, reason=error.reason, message=error.message)
        _let_go(error)
        self._context.abort_with_status(rpc_status.to_status(answer))


def _let_go(error: BaseException | None) -> None:
    """Lets go of the frames that an error came through, and so of the request.

    An error that some object holds, such as a batch that waited for its group, is in a cycle with its frames, which
    would stay until Python's collector comes.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _parsed(deserialize: Callable[[bytes], Any], content: bytes) -> Any:
    """The message in these bytes. Raises FieldInvalid if they are no message, or one that no handler should see."""
    if len(content) <= _LARGE_BYTES:
        return _judged(deserialize, content)
    # 4 MiB of empty items are a hundred times as large once parsed. So only one large message is parsed at a time.
    who = caller.current()
    if not _one_large.enter(who.peer, who.deadline):
        raise DeadlinePassed
    try:
        return _judged(deserialize, content)
    finally:
        _one_large.leave(who.peer)


def _judged(deserialize: Callable[[bytes], Any], content: bytes) -> Any:
    try:
        message = deserialize(content)
    except DecodeError:
        problem = "can't be parsed: it is cut off, of another type, or contains invalid UTF-8"
        raise FieldInvalid({"message": problem}) from None
    texts.judge(message, content)
    return message


def _caller_of(
    metadata: Mapping[str, str], context: grpc.ServicerContext, left: float | None, *, key: str, trace_id: str
) -> caller.Caller:
    """Who calls, with `left` seconds. Only a service, which is known by the key, is believed about another caller.

    Without authentication, the subject is what the client says of itself.
    """
    is_service = bool(key) and keys.is_equal(metadata.get(keys.METADATA, ""), key)
    subject = subjects.decoded(metadata.get(subjects.METADATA, ""))
    credential = caller.Credential.NONE
    peer = metadata.get(PEER) if is_service else None
    if peer is None:
        peer = context.peer() or ""
    if is_service and metadata.get(CREDENTIAL) == caller.Credential.SERVICE:
        credential = caller.Credential.SERVICE
    deadline = None if left is None or left > 1e9 else time.monotonic() + left
    return caller.Caller(subject, trace_id, peer, deadline, credential, is_service, context.is_active)
