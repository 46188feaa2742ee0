"""Traces through the OpenTelemetry API: a span for each answered call and for each call to another service.

The context travels as W3C Trace Context (`traceparent`, `tracestate`). Without an OpenTelemetry SDK in the process
nothing is recorded, but the ids are still valid and still travel, so that logs and audit records of one request have
the same trace id in all services.
"""

import random
import re
from collections.abc import Mapping

import grpc
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_tracer = trace.get_tracer("modelry_server")
_propagator = TraceContextTextMapPropagator()
_ROOT = contexts.Context()
_USUAL = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
# What the semantic conventions count as a failure of the server. For a client every code but OK is one.
_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


def answered(rpc: str, metadata: Mapping[str, str]) -> Span:
    """The span of a call that this server answers. Its ids are valid also if nothing records it."""
    span = _tracer.start_span(rpc.lstrip("/"), _parent(metadata), SpanKind.SERVER)
    if span.get_span_context().is_valid:
        return _described(span, rpc)
    ids = SpanContext(random.getrandbits(128) or 1, random.getrandbits(64) or 1, is_remote=False)
    return NonRecordingSpan(ids)


def made(rpc: str, metadata: dict[str, str]) -> Span:
    """The span of a call to another service; adds its context to the metadata."""
    span = _tracer.start_span(rpc.lstrip("/"), kind=SpanKind.CLIENT)
    given = span.get_span_context()
    if given.trace_state or not given.is_valid:
        _propagator.inject(metadata, trace.set_span_in_context(span))
    else:
        metadata["traceparent"] = f"00-{given.trace_id:032x}-{given.span_id:016x}-{given.trace_flags:02x}"
    return _described(span, rpc)


class using:  # a class, as in caller.py
    """Makes a span the current one within a block."""

    __slots__ = ("_context", "_token")

    def __init__(self, span: Span) -> None:
        self._context = trace.set_span_in_context(span, _ROOT)

    def __enter__(self) -> None:
        self._token = contexts.attach(self._context)

    def __exit__(self, *_: object) -> None:
        contexts.detach(self._token)


def end(span: Span, code: grpc.StatusCode, *, is_fault: bool | None = None) -> None:
    """Ends a span with the status of its call."""
    if span.is_recording():
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code.name in _FAULTS if is_fault is None else is_fault:
            span.set_status(Status(StatusCode.ERROR, code.name))
    span.end()


def trace_id(span: Span) -> str:
    """The trace id of a span: 32 hexadecimal characters."""
    return trace.format_trace_id(span.get_span_context().trace_id)


def _parent(metadata: Mapping[str, str]) -> contexts.Context:
    """The context that a call came with. The usual form is read here: the propagator takes three times as long."""
    text = metadata.get("traceparent")
    if text is None:
        return _ROOT
    if "tracestate" in metadata or not (usual := _USUAL.match(text)):
        return _propagator.extract(metadata, _ROOT)
    trace_id, span_id, flags = usual.groups()
    ids = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(ids), _ROOT) if ids.is_valid else _ROOT


def _described(span: Span, rpc: str) -> Span:
    if span.is_recording():
        service, _, method = rpc.lstrip("/").partition("/")
        span.set_attributes({"rpc.system": "grpc", "rpc.service": service, "rpc.method": method})
    return span
