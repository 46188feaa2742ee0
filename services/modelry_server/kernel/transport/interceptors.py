"""What happens around every call, from the outside in: see ORDER.

One gRPC interceptor builds the chain once for each method; a call then costs a few function calls.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import grpc
import prometheus_client
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from modelry_server.kernel import caller
from modelry_server.kernel.errors import (
    AnswerTooLarge,
    DeadlinePassed,
    FieldInvalid,
    Internal,
    ModelryError,
    PermissionMissing,
    TooManyStreams,
)
from modelry_server.kernel.telemetry import DURATION_BUCKETS, Log
from modelry_server.kernel.transport import status, texts

ORDER = ("trace", "measure", "errors", "caller", "permission")
"""The steps around a call, from the outside in."""

MESSAGE_BYTES = 4 << 20
"""The largest message, in bytes: gRPC's own default, which every client can receive."""
ANONYMOUS = "anonymous"
_OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
    "/grpc.reflection.v1.ServerReflection/",
)
_END = object()
_log = Log("rpc")

calls_total = prometheus_client.Counter(
    "modelry_rpc_calls_total", "Calls answered, by method and code.", ["rpc", "code"]
)
call_seconds = prometheus_client.Histogram(
    "modelry_rpc_duration_seconds", "Time to answer a call.", ["rpc"], buckets=DURATION_BUCKETS
)
streams_open = prometheus_client.Gauge("modelry_rpc_streams_open", "Streams that are open.")


class Internally(Internal):
    """An exception that nobody expected; its text stays in the log."""

    def __init__(self, correlation_id: str) -> None:
        super().__init__(
            f"something went wrong in the server; its log says more under {correlation_id}",
            correlation_id=correlation_id,
        )


class Calls(grpc.ServerInterceptor):
    """Wraps every method of the server.

    `permissions` maps each full rpc name to the permission that it needs; `granted` says whether a subject has it.
    `streams` bounds the number of streams that are open at once, in each process; `stream_pool` runs them.
    """

    def __init__(
        self,
        permissions: Mapping[str, str],
        granted: Callable[[str, str], bool],
        *,
        streams: int,
        stream_pool: Any,
    ) -> None:
        self._permissions = permissions
        self._granted = granted
        self._streams = threading.BoundedSemaphore(streams)
        self._stream_limit = streams
        self._stream_pool = stream_pool
        self._wrapped: dict[str, tuple[Any, Any]] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        """Gives the handler of the method with all steps around it."""
        handler = continuation(details)
        if handler is None or details.method.startswith(_OPEN_SERVICES):
            return handler
        known = self._wrapped.get(details.method)
        if known is None or known[0] is not handler:
            known = self._wrapped[details.method] = (handler, self._wrap(details.method, handler))
        return known[1]

    def _wrap(self, rpc: str, handler: Any) -> Any:
        permission = self._permissions[rpc]
        seconds = call_seconds.labels(rpc)
        pair = (_reading(handler.request_deserializer), handler.response_serializer)
        if handler.response_streaming:
            inner = handler.stream_stream or handler.unary_stream

            def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                return self._stream(rpc, permission, seconds, inner, request, context)

            stream.experimental_thread_pool = self._stream_pool  # type: ignore[attr-defined]
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, *pair)
        inner = handler.stream_unary or handler.unary_unary

        serialize = handler.response_serializer

        def single(request: Any, context: grpc.ServicerContext) -> bytes:
            return self._single(rpc, permission, seconds, lambda *given: serialize(inner(*given)), request, context)

        if not handler.request_streaming:
            return grpc.unary_unary_rpc_method_handler(single, pair[0])

        def upload(requests: Iterator[Any], context: grpc.ServicerContext) -> bytes:
            with self._stream_slot(rpc, context):
                return single(map(_readable, requests), context)

        upload.experimental_thread_pool = self._stream_pool  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(upload, pair[0])

    def _single(
        self,
        rpc: str,
        permission: str,
        seconds: Any,
        inner: Callable[[Any, Any], bytes],
        request: Any,
        context: grpc.ServicerContext,
    ) -> bytes:
        begun = time.perf_counter()
        present = _caller_of(context)
        with caller.using(present):
            try:
                self._check(present, permission, rpc)
                response = inner(_readable(request), context)
                if len(response) > MESSAGE_BYTES:
                    raise AnswerTooLarge(len(response), MESSAGE_BYTES)
                calls_total.labels(rpc, "OK").inc()
                return response
            except Exception as error:
                self._refuse(rpc, error, context)
            finally:
                seconds.observe(time.perf_counter() - begun)

    def _stream(
        self,
        rpc: str,
        permission: str,
        seconds: Any,
        inner: Callable[[Any, Any], Any],
        request: Any,
        context: grpc.ServicerContext,
    ) -> Iterator[Any]:
        begun = time.perf_counter()
        present = _caller_of(context)
        with self._stream_slot(rpc, context):
            try:
                with caller.using(present):
                    self._check(present, permission, rpc)
                    responses = iter(inner(_readable(request), context))
                while True:
                    with caller.using(present):  # set anew for each step: a generator may be resumed by another thread
                        response = next(responses, _END)
                    if response is _END:
                        break
                    yield response
                calls_total.labels(rpc, "OK").inc()
            except Exception as error:
                with caller.using(present):
                    self._refuse(rpc, error, context)
            finally:
                seconds.observe(time.perf_counter() - begun)

    def _stream_slot(self, rpc: str, context: grpc.ServicerContext) -> "_Slot":
        if not self._streams.acquire(blocking=False):
            self._refuse(rpc, TooManyStreams(self._stream_limit), context)
        return _Slot(self._streams)

    def _check(self, present: caller.Caller, permission: str, rpc: str) -> None:
        if present.deadline is not None and present.deadline <= time.monotonic():
            raise DeadlinePassed
        if not self._granted(present.subject, permission):
            raise PermissionMissing(present.subject, permission, rpc)

    def _refuse(self, rpc: str, error: Exception, context: grpc.ServicerContext) -> NoReturn:
        """Ends the call with the status of the error; always raises."""
        if not isinstance(error, ModelryError):
            error = self._unexpected(rpc)
        answer = status.to_status(error)
        name = grpc_code_name(answer.code)
        calls_total.labels(rpc, name).inc()
        _log.debug("rpc.refused", rpc=rpc, code=name, reason=error.reason, message=error.message)
        context.abort_with_status(rpc_status.to_status(answer))

    def _unexpected(self, rpc: str) -> ModelryError:
        correlation_id = secrets.token_hex(8)
        _log.error("rpc.failed", trace=True, rpc=rpc, correlation_id=correlation_id)
        return Internally(correlation_id)


class _Unreadable:
    """Stands for a message that can't be used, until the call has begun and can be refused."""

    def __init__(self, violations: Mapping[str, str]) -> None:
        self.violations = violations


_UNREADABLE = _Unreadable({"message": "can't be read: it is cut off, of another type, or holds text that is not UTF-8"})


def _reading(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Reads a message. If gRPC found the mistakes, it would answer them as a fault of the server."""

    def read(content: bytes) -> Any:
        try:
            message = deserialize(content)
        except DecodeError:
            return _UNREADABLE
        found = texts.violations(message, content)
        return _Unreadable(found) if found else message

    return read


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise FieldInvalid(request.violations)
    return request


class _Slot:
    """A place among the open streams, given back at the end."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots = slots

    def __enter__(self) -> None:
        streams_open.inc()

    def __exit__(self, *_: object) -> None:
        streams_open.dec()
        self._slots.release()


def grpc_code_name(number: int) -> str:
    """The name of a canonical code, such as NOT_FOUND."""
    return next(item.name for item in grpc.StatusCode if item.value[0] == number)


def _caller_of(context: grpc.ServicerContext) -> caller.Caller:
    """Who calls. Without authentication the subject is what the client says of itself."""
    subject, trace_id = ANONYMOUS, ""
    for key, value in context.invocation_metadata():
        if key == "modelry-subject" and isinstance(value, str) and 0 < len(value) <= 250 and value.isprintable():
            subject = value
        elif key == "traceparent" and isinstance(value, str) and len(value) == 55:
            trace_id = value[3:35]
    left = context.time_remaining()
    deadline = None if left is None or left > 1e9 else time.monotonic() + left
    return caller.Caller(subject, trace_id or secrets.token_hex(16), context.peer() or "", deadline)
