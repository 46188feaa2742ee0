"""What happens around every call.

From the outside in: the arrival of the message; span, caller and time limit; measurement, errors, drain, credential,
deadline; a place among searches, if it is one, and at work; the method. Then its answer counts as unread until the
client has it. A stream has a place among streams while it is open, and one at work for each message that it makes. One
gRPC interceptor builds the chain once for each method, so a call costs a few function calls only. What a caller may do
is not judged here but in the domains, which know where a thing lies.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pool
from grpc_status import rpc_status

from modelry_server.kernel import caller
from modelry_server.kernel.access import Kind
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import (
    AnswerTooLarge,
    CredentialInvalid,
    DeadlinePassed,
    Draining,
    ModelryError,
    NotAService,
    PermissionMissing,
    TokenIsInvitation,
)
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport import status
from modelry_server.kernel.transport.call import Call, Inside, Method, call_seconds, calls_total
from modelry_server.kernel.transport.doors import Doors, OpenCalls
from modelry_server.kernel.transport.drain import Drain, Incoming
from modelry_server.kernel.transport.limits.bounds import Bounds
from modelry_server.kernel.transport.limits.gate import Turn
from modelry_server.kernel.transport.messages import MESSAGE_BYTES, parsed, small

_OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
    "/grpc.reflection.v1.ServerReflection/",
)
_END = object()
_Message = TypeVar("_Message")
_log = Log("rpc")
_CALL_BYTES = 256 << 10  # gRPC keeps less of a call; it bounds how many calls have answers that nobody reads


@dataclass(frozen=True, slots=True)
class Pools:
    """Threads besides those of unary calls.

    `streams` has one for each open stream, `uploads` a second one for each upload, and `others` those of health and
    reflection, which answer whatever the other calls do.
    """

    streams: ThreadPoolExecutor
    uploads: ThreadPoolExecutor
    others: ThreadPoolExecutor


def may_search(rpc: str) -> bool:
    """Whether a call may look through all that there is: its request can have a filter, and perhaps an order."""
    method = descriptor_pool.Default().FindMethodByName(rpc[1:].replace("/", "."))
    return "filter" in method.input_type.fields_by_name


def _is_search(request: Any) -> bool:
    """Whether it does: the list in its usual order, without a filter, is read from an index."""
    return bool(request.filter or getattr(request, "order_by", ()))


def _principal(who: Caller) -> str:
    """Whose stream it is, if callers are known. Empty: its connection's."""
    return who.identity.principal_id if who.identity else ""


@contextmanager
def _refusing(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the status of an error of the block."""
    try:
        yield
    except ModelryError as error:
        context.abort_with_status(rpc_status.to_status(status.to_status(error)))


class Calls(grpc.ServerInterceptor):
    """Wraps every method of one listener.

    `permissions` maps each full rpc name to the permission that it needs. `inside` is for an internal listener, whose
    callers are services that say for whom they call; `doors` recognise the callers of a public one. `authority` knows
    what callers may do. Without it, callers are who they say they are.
    """

    def __init__(
        self,
        permissions: Mapping[str, str],
        *,
        inside: Inside | None,
        doors: Doors | None,
        authority: Authority | None,
        drain: Drain,
        pools: Pools,
        bounds: Bounds,
    ) -> None:
        self._permissions = permissions
        self._inside = inside
        self._doors = doors
        self._authority = authority
        self._open = OpenCalls(doors.authority) if doors else None
        self._drain = drain
        self._pools = pools
        self._bounds = bounds
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
        self._bounds.streams.end_idle()
        self._bounds.watches.end_idle()
        self._bounds.reflections.end_idle()
        if self._open:
            self._open.look()

    def _wrap_open(self, rpc: str, handler: Any) -> Any:
        """The handler of health or reflection: on threads of its own, without a place at work."""
        if not handler.response_streaming:

            def single(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
                with self._leaving(context), _refusing(context):
                    request = small(handler.request_deserializer, self._arrived(rpc, requests, context))
                    answer: bytes = handler.response_serializer(handler.unary_unary(request, context))
                    return answer

            single.experimental_thread_pool = self._pools.others  # type: ignore[attr-defined]
            return grpc.stream_unary_rpc_method_handler(single)

        def stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._leaving(context), _refusing(context):
                if handler.request_streaming:
                    if self._doors:
                        self._doors.identify(context)
                    with self._bounds.reflections.place(context) as stream:
                        asked = map(partial(small, handler.request_deserializer), stream.received(requests))
                        answers = handler.stream_stream(asked, context)
                        yield from stream.sent(map(handler.response_serializer, answers))
                else:  # health's Watch
                    request = small(handler.request_deserializer, self._arrived(rpc, requests, context))
                    with self._bounds.watches.place(context) as stream:
                        answers = handler.unary_stream(request, context)
                        yield from stream.sent(map(handler.response_serializer, answers))

        stream.experimental_thread_pool = self._pools.others  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(stream)

    def _wrap(self, rpc: str, handler: Any) -> Any:
        measured = (call_seconds.labels(rpc), calls_total.labels(rpc, "OK"))
        known = (rpc, self._permissions[rpc], *measured)
        # gRPC runs a deserializer on the one thread that serves all connections. So it hands on bytes, and the thread
        # that answers the call parses them.
        one = partial(parsed, self._bounds.large, handler.request_deserializer)
        read = partial(map, one) if handler.request_streaming else one
        serialize = handler.response_serializer
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream
            method = Method(*known, lambda request, context: inner(read(request), context))

            def stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
                with self._leaving(context):
                    request = requests if handler.request_streaming else self._arrived(rpc, requests, context)
                    yield from self._stream(method, serialize, request, context)

            stream.experimental_thread_pool = self._pools.streams  # type: ignore[attr-defined]
            return grpc.stream_stream_rpc_method_handler(stream)
        inner = handler.stream_unary or handler.unary_unary
        if may_search(rpc):
            method = Method(*known, lambda request, context: serialize(inner(request, context)), one)
        else:
            method = Method(*known, lambda request, context: serialize(inner(read(request), context)))

        def single(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            size = 0
            try:
                answer = self._single(method, self._arrived(rpc, requests, context), context)
                size = len(answer)
                return answer
            finally:
                self._leaves(context, size)

        if not handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(single)

        def upload(requests: Iterable[bytes], context: grpc.ServicerContext) -> bytes:
            # A thread that waits for the client's next message can't be told of the drain. So it is not this one.
            messages = Incoming(requests, self._drain)
            work = self._pools.uploads.submit(self._upload, method, messages, context)
            with self._leaving(context):
                if not self._drain.may_finish(work, messages):
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

    @contextmanager
    def _leaving(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Notes at the end of the block that a small answer, a refusal, or the end of a stream waits for the client."""
        try:
            yield
        finally:
            self._leaves(context, 0)

    def _leaves(self, context: grpc.ServicerContext, size: int) -> None:
        """Notes that gRPC has the answer of a call, and keeps it until the client has taken it.

        A refusal is an answer, too: what it says has at most 8 KiB.
        """

        def end() -> None:
            self._bounds.unread.leave(context)

        self._bounds.unread.enter(context, size + _CALL_BYTES)
        if not context.add_callback(end):
            end()

    def _single(self, method: Method, request: Any, context: grpc.ServicerContext, *, is_upload: bool = False) -> bytes:
        call = Call(
            method, context, self._inside, longest_s=None if is_upload else self._bounds.call_s, is_open=is_upload
        )
        with call:
            try:
                with self._drain:
                    self._check(call)
                    is_search, size = False, 0 if is_upload else len(request)
                    if method.parse is not None:
                        request = method.parse(request)
                        is_search = _is_search(request)
                    with (
                        Turn(self._bounds.searches, call.caller, size) if is_search else nullcontext(),
                        self._streaming(call) if is_upload else Turn(self._bounds.work, call.caller, size),
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

    def _upload(self, method: Method, requests: Iterable[Any], context: grpc.ServicerContext) -> bytes:
        def answer(requests: Iterable[Any], context: grpc.ServicerContext) -> Any:
            with self._bounds.streams.place(context, _principal(caller.current())) as stream:
                return method.answer(stream.received(requests), context)

        return self._single(replace(method, answer=answer), requests, context, is_upload=True)

    def _stream(
        self, method: Method, serialize: Callable[[Any], bytes], request: Any, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        call = Call(method, context, self._inside, is_open=True)
        try:
            with self._drain:
                with call:
                    self._check(call)
                with self._streaming(call), self._bounds.streams.place(context, _principal(call.caller)) as stream:
                    with call:
                        answers = method.answer(request, context)
                    wait = getattr(answers, "wait", None)
                    yield from stream.sent(self._steps(call, map(serialize, answers), wait))
            call.end(grpc.StatusCode.OK)
        except Exception as error:
            with call:
                call.refuse(error)
        finally:
            call.end(grpc.StatusCode.CANCELLED)

    def _steps(self, call: Call, messages: Iterator[bytes], wait: Callable[[], object] | None) -> Iterator[bytes]:
        """The messages, each of which is made with a place of its own at work: a reader may be slow.

        `wait` waits for news before that, for a second at most.
        """
        while True:
            if wait:
                wait()
                self._drain.check_waiting()
            if self._open:
                self._open.check(call)
            with call, Turn(self._bounds.steps, call.caller):
                self._drain.check()
                made = list(itertools.islice(messages, 1))
            if not made:
                return
            yield made.pop()

    @contextmanager
    def _streaming(self, call: Call) -> Iterator[None]:
        """Ends a stream or upload, within the block, when its caller may no longer have it."""
        if self._open is None:
            yield
            return
        self._open.enter(call)
        try:
            yield
        finally:
            self._open.leave(call)

    def _check(self, call: Call) -> None:
        """Raises why a call is refused before it is looked at. Finds out who calls."""
        need = call.method.permission
        if not call.caller.is_service and (self._inside or need == Kind.SERVICE):
            _log.seldom("rpc.service_refused", per="", peer=call.caller.peer, rpc=call.method.rpc)
            raise NotAService(call.method.rpc)
        if self._doors:
            call.identify(self._doors)
        elif self._authority:
            call.note_grants(self._authority)
        identity = call.caller.identity
        is_bootstrap = identity is not None and identity.is_bootstrap
        if is_bootstrap and need != Kind.BOOTSTRAP:
            raise CredentialInvalid("the bootstrap token makes the first administrator, and can do nothing else")
        if identity is not None and identity.is_invitation and need != Kind.INVITED:
            raise TokenIsInvitation
        if need == Kind.BOOTSTRAP and not is_bootstrap:
            raise PermissionMissing(call.caller.subject, need, "")
        if call.caller.deadline is not None and call.caller.deadline <= time.monotonic():
            raise DeadlinePassed
