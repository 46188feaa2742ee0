"""One call that is being answered: who calls, what is measured of it, and how it is refused."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import prometheus_client
from grpc_status import rpc_status

from modelry_server.kernel import caller
from modelry_server.kernel.access import Permission
from modelry_server.kernel.errors import (
    CallTooLong,
    DeadlinePassed,
    Draining,
    ModelryError,
    Unavailable,
    UnexpectedError,
)
from modelry_server.kernel.telemetry import DURATION_BUCKETS, Log
from modelry_server.kernel.transport import keys, status, subjects, tracing
from modelry_server.kernel.transport.limits.held import ended_total

CREDENTIAL, PEER = "modelry-credential", "modelry-peer"
"""The metadata entries in which a service describes its caller, beside the name."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_log = Log("rpc")

calls_total = prometheus_client.Counter(
    "modelry_rpc_calls_total", "Calls answered, by method and code.", ["rpc", "code"]
)
call_seconds = prometheus_client.Histogram(
    "modelry_rpc_duration_seconds", "Time to answer a call.", ["rpc"], buckets=DURATION_BUCKETS
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a listener, with what counts and times its calls."""

    rpc: str
    permission: Permission
    seconds: Any
    answered: Any
    """Counts the calls that end well. The others are counted by a look-up for each call."""
    answer: Callable[[Any, Any], Any]
    parse: Callable[[bytes], Any] | None = None
    """Parses the request before the call waits for its places: it may be a search. None if `answer` parses it."""


class Call:
    """One call that is being answered: who calls, its span, and what is measured of it."""

    __slots__ = ("_begun", "_called", "_context", "_is_ended", "_limit_s", "_span", "_traced", "caller", "method")

    def __init__(
        self, method: Method, context: grpc.ServicerContext, key: str, *, longest_s: float | None = None
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
            ended_total.labels("call").inc()
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
