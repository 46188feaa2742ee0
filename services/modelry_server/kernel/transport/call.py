"""One call that is being answered: who calls, what is measured of it, and how it is refused."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import grpc
import prometheus_client
from grpc_status import rpc_status

from modelry_server.kernel import caller
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.errors import (
    CallTooLong,
    DeadlinePassed,
    Draining,
    ModelryError,
    ResourceExhausted,
    Unavailable,
    UnexpectedError,
)
from modelry_server.kernel.telemetry import DURATION_BUCKETS, Log
from modelry_server.kernel.transport import status, subjects, tracing, vouching
from modelry_server.kernel.transport.doors import Doors
from modelry_server.kernel.transport.limits.held import ended_total

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NOT_AGAIN = ("grpc-retry-pushback-ms", "-1")  # to the gRPC of the client: a retry at once can't help
_log = Log("rpc")

calls_total = prometheus_client.Counter(
    "modelry_rpc_calls_total", "Calls answered, by method and code.", ["rpc", "code"]
)
call_seconds = prometheus_client.Histogram(
    "modelry_rpc_duration_seconds", "Time to answer a call.", ["rpc"], buckets=DURATION_BUCKETS
)


@dataclass(frozen=True, slots=True)
class Inside:
    """An internal listener: whose it is, and what reads there what services say of their callers."""

    room: str
    voucher: vouching.Voucher


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a listener, with what counts and times its calls."""

    rpc: str
    permission: str
    seconds: Any
    answered: Any
    """Counts the calls that end well. The others are counted by a look-up for each call."""
    answer: Callable[[Any, Any], Any]
    parse: Callable[[bytes], Any] | None = None
    """Parses the request before the call waits for its places: it may be a search. None if `answer` parses it."""


class Call:
    """One call that is being answered: who calls, its span, and what is measured of it."""

    __slots__ = (
        "_begun",
        "_called",
        "_is_ended",
        "_limit_s",
        "_span",
        "_traced",
        "bearer",
        "caller",
        "context",
        "method",
    )

    def __init__(
        self,
        method: Method,
        context: grpc.ServicerContext,
        inside: Inside | None,
        *,
        longest_s: float | None = None,
        is_open: bool = False,
    ) -> None:
        self._begun = time.perf_counter()
        self._is_ended = False
        self.context = context
        self.method = method
        self.bearer = ""
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        self._span = tracing.answered(method.rpc, metadata)
        left = context.time_remaining()
        self._limit_s: float | None = None
        if longest_s is not None and (left is None or longest_s < left):
            left = self._limit_s = longest_s
        deadline = None if left is None or left > 1e9 else time.monotonic() + left
        told = inside.voucher.read(metadata.get(vouching.METADATA, ""), to=inside.room) if inside else None
        self.caller = caller.Caller(
            told.subject if told else subjects.decoded(metadata.get(subjects.METADATA, "")),
            tracing.trace_id(self._span),
            told.peer if told else context.peer() or "",
            deadline,
            told.credential if told else caller.Credential.NONE,
            told is not None,
            context.is_active,
            told.identity if told else None,
            method.permission,
            [] if is_open else None,
        )
        self._traced, self._called = tracing.using(self._span), caller.using(self.caller)

    def __enter__(self) -> None:
        """Makes its caller and its span the current ones, within a block."""
        self._traced.__enter__()
        self._called.__enter__()

    def __exit__(self, *_: object) -> None:
        self._called.__exit__()
        self._traced.__exit__()

    def identify(self, doors: Doors) -> None:
        """Finds out who calls, within the block. Raises what `Doors.identify` raises."""
        try:
            self.bearer, known = doors.identify(self.context)
        except ModelryError:
            self.caller = replace(self.caller, subject="")  # whatever the client claims to be
            raise
        who = known.identity
        self.caller = replace(
            self.caller, subject=who.name, credential=who.credential, identity=who, grants=known.grants
        )
        self._called.change(self.caller)

    def note_grants(self, authority: Authority) -> None:
        """Notes what the caller may do for whom a service calls. Raises CredentialInvalid, ServiceUnavailable."""
        if self.caller.identity is not None:
            self.caller = replace(self.caller, grants=authority.grants_of(self.caller.identity))
            self._called.change(self.caller)

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
        told = {"subject": self.caller.subject, "reason": error.reason, "message": error.message}
        _log.debug("rpc.refused", rpc=self.method.rpc, code=code.name, **told)
        _let_go(error)
        sent: Any = rpc_status.to_status(answer)
        if isinstance(error, ResourceExhausted) and error.exceeded:
            sent = sent._replace(trailing_metadata=(*sent.trailing_metadata, _NOT_AGAIN))
        self.context.abort_with_status(sent)


def _let_go(error: BaseException | None) -> None:
    """Lets go of the frames that an error came through, and so of the request.

    An error that some object holds, such as a batch that waited for its group, is in a cycle with its frames, which
    would stay until Python's collector comes.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
