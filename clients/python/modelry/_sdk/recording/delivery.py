"""Sends requests in order, with a few numbered batches at once, until one can't be sent now.

Only a refusal that names its reason drops a request. A refusal of the run as a whole, such as a deleted one, drops
nothing, because its cause can be removed. It says nothing of other runs: however many are refused, the next is tried.

A fault of the server may be because of one request, or because of the server's state, which the answer does not tell.
So after some attempts the request is passed over: if the server fails at the next ones too, all wait; if it takes one,
what was passed over is tried once more and then set aside, so that it holds up nothing and is not lost. The start of a
run takes everything of the run along, and so does what is refused because of the run.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from modelry._sdk.recording.refusals import is_of_the_run
from modelry._sdk.spooling import queued
from modelry._sdk.spooling.holds import Holds
from modelry._sdk.spooling.numbering import Numbering, number_of, run_of, split
from modelry._sdk.spooling.queued import QueuedRequest, move_first
from modelry._sdk.transport import retries
from modelry._sdk.transport.answers import malformed, parsed
from modelry._sdk.transport.signing import RENEWED
from modelry.api.tracking.v1 import rpcs
from modelry.api.tracking.v1.metric_service_pb2 import WriteMetricsResponse
from modelry.errors import Cancelled, DataLoss, InvalidArgument, ModelryError

if TYPE_CHECKING:
    from modelry._sdk.transport.connection import Connection, Pending

AT_ONCE = 4
"""How many numbered batches are under way at once."""
FAULTS = 5
"""After so many faults of the server at one request it is passed over, to see whether it is the cause."""
_MOST_PASSED = 1000
MOST_FAILURES = 8
"""So many requests are tried one after the other. If the server fails at all of them, all wait."""
_LOOK_SECONDS = 0.1
_TIME_IS_UP = "the time for the delivery is up"
_WHOLE = {"NOT_FOUND", "FAILED_PRECONDITION"}
_DIVISIBLE = {queued.WRITE_METRICS, queued.LOG_BATCH, queued.CREATE_RUN, queued.START_RUN}
_MOST_BYTES = 4 << 20  # the largest request that a server takes
log = logging.getLogger("modelry")


def _unsendable(request: QueuedRequest) -> InvalidArgument | None:
    """What no server would take."""
    if request.method not in queued.METHODS:
        return InvalidArgument(f"requests {request.method!r} are not sent by this release", reason="METHOD_UNKNOWN")
    if len(request.content) > _MOST_BYTES:
        text = f"{len(request.content)} bytes in one request, at most {_MOST_BYTES} can be sent"
        return InvalidArgument(text, reason="REQUEST_TOO_LARGE")
    return None


def _order(request: QueuedRequest) -> tuple[int, ...]:
    return request.order


def _not_durable(request: QueuedRequest, answer: bytes) -> DataLoss | None:
    """What is wrong with an answer that does not say that the batch is durable."""
    try:
        number, durable = number_of(request), parsed(WriteMetricsResponse, answer).durable_batch_number
    except DataLoss as error:
        return error
    if durable >= number:
        return None
    return malformed(f"{durable} as the durable batch number after batch {number}")


class Source(Protocol):
    """Where requests come from, and what becomes of them."""

    def take_to(self, queue: deque[QueuedRequest]) -> bool:
        """Moves the next request to the end of a queue; False if there is none now."""

    def done(self, request: QueuedRequest) -> None:
        """The server has taken the request, or it is refused for good or set aside. Called in order."""

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """The server refuses the request, or a part of it, for good. The rest goes on."""

    def set_aside(self, request: QueuedRequest, error: ModelryError) -> None:
        """The server fails at the request again and again, and takes others. It must be kept."""

    def idle(self) -> bool:
        """Called often while answers are awaited. False stops the delivery."""


class Delivery:
    """Delivers over one connection.

    Nothing is sent that would overtake what is `held`: of which something earlier is left, or set aside. Only the start
    of a run is: the earlier may wait for it.
    """

    def __init__(self, connection: Connection, workspace: str, held: Holds | None = None) -> None:
        self.workspace = workspace
        self._connection = connection
        self._numbering = Numbering()
        self._sent: deque[QueuedRequest] = deque()
        self._first: deque[QueuedRequest] = deque()
        self._passed: list[QueuedRequest] = []
        """Passed over, until a later request is taken: what the server fails at, and all of a run that waits."""
        self._held = Holds(held) if held else Holds()
        self._waiting = Holds(self._held)
        """What waits behind what is passed over or held."""
        self._aside = Holds(self._held)
        """What is set aside as well, unless it is passed over."""
        self._left = Holds()
        """What waited when the last `run` ended."""
        self._failures = 0
        """How many requests were passed over because of a fault."""
        self._why_passed = next(iter(self._held.reasons), ModelryError(""))
        self._done_early: list[QueuedRequest] = []
        """Taken before what was passed over, and noted after it, so that what is noted has no gaps."""
        self._taken = 0
        self._is_dry = False
        """Whether the source had nothing more when it was asked last."""
        self.has_tried_all = False
        """Whether, after the last `run`, all of the source is taken, or in `left`, or waits behind what is."""
        self._with_holes: set[str] = set()
        """The runs of which the server has lost points, as was told."""

    @property
    def target(self) -> str:
        """The server, as log texts name it."""
        return self._connection.address.target

    @property
    def address(self) -> str:
        """The address of the server, as it was given."""
        return self._connection.address.uri

    @property
    def unanswered(self) -> list[QueuedRequest]:
        """What was taken and is not answered yet, in order."""
        return sorted([*self._passed, *self._sent, *self._first], key=_order)

    @property
    def left(self) -> Holds:
        """What something later must not overtake after the last `run`: what is left, and what is set aside."""
        return Holds(self._left, self._aside)

    def run(self, source: Source) -> ModelryError | None:
        """Sends until the source has nothing more and everything is answered. Else returns what prevents it.

        What is `unanswered` then comes first the next time.
        """
        # Calls stay in the frames of this thread, see `Connection.begin`.
        calls: deque[Pending] = deque()
        obstacle: ModelryError | None = None
        self.has_tried_all = False
        try:
            while obstacle is None:
                obstacle = self._fill(source, calls) if source.idle() else Cancelled(_TIME_IS_UP)
                if obstacle is not None:
                    break
                if calls:
                    obstacle = self._await_oldest(source, calls)
                elif self._first:
                    obstacle = self._do(source, self._first[0])
                elif self._passed:
                    obstacle = self._return(self._why_passed)
                else:
                    break
        finally:
            self._give_up(calls)
        return obstacle

    def _fill(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        """Sends as much as may be under way: several numbered batches, or one request of another kind."""
        while len(calls) < AT_ONCE:
            if not self._first and not self._take(source):
                return None
            request = self._first[0]
            may_begin = request.is_start and run_of(request) in self._held
            hold = None if may_begin else self._waiting.over(request)
            if self._sent and (hold is not None or not (request.numbered and self._sent[-1].numbered)):
                return None
            if hold is not None and len(self._passed) < _MOST_PASSED:
                move_first(self._first, self._passed)
                continue
            unsendable = _unsendable(request)
            aside = None if may_begin else self._aside.over(request)
            if unsendable is not None or hold is not None or aside is not None:
                if self._sent:
                    return None
                # No more is kept in memory: all of a run is set aside, in order, or all waits.
                if hold is not None and (aside is not None or hold.is_whole):
                    self._put_back_for_good()
                elif hold is not None:
                    return self._return(hold.why)
                elif aside is not None:
                    self._set_aside(source, aside.why)
                elif unsendable is not None and (obstacle := self._judge(source, request, unsendable)) is not None:
                    return obstacle
                continue
            if request.method == queued.START_RUN:
                return None
            try:
                calls.append(self._connection.begin(request.method, request.content, timeout=self._connection.timeout))
            except ModelryError as error:
                return error
            move_first(self._first, self._sent)
        return None

    def _take(self, source: Source) -> bool:
        """Takes the next request from the source; False if there is none."""
        self._is_dry = not source.take_to(self._first)
        if not self._is_dry:
            self._taken += 1
            self._first[-1].order = (self._taken,)
            self._numbering.apply(self._first[-1])
        return not self._is_dry

    def _do(self, source: Source, request: QueuedRequest) -> ModelryError | None:
        """Does a request that needs more than one call."""
        try:
            self._start_run(source, request)
        except Cancelled as error:
            return error
        except ModelryError as error:
            return self._judge(source, request, error)
        self._done(source, self._first)
        return None

    def _done(self, source: Source, queue: deque[QueuedRequest], *, is_taken: bool = True) -> None:
        """Notes that the first of a queue is done with. If it was taken, what was passed over is tried once more."""
        move_first(queue, self._done_early)
        if self._passed and is_taken:
            for passed in self._passed:
                passed.proven = True
            self._put_back()
        first, unanswered = sorted(self._done_early, key=_order), self.unanswered
        for request in first:
            if unanswered and unanswered[0].order < request.order:
                break
            self._done_early.remove(request)
            source.done(request)

    def _await_oldest(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        error = self._answer(source, calls[0])
        if error is None and self._sent[0].numbered:
            error = _not_durable(self._sent[0], calls[0].result())
        if error is None:
            calls.popleft()
            self._done(source, self._sent)
            return None
        if not calls[0].done():
            return error
        # The server takes nothing behind it before it, so all of it is sent again, in order.
        request = self._sent[0]
        self._give_up(calls)
        return self._judge(source, request, error)

    def _give_up(self, calls: deque[Pending]) -> None:
        """Cancels what is under way. It comes first the next time."""
        for call in calls:
            call.cancel()
        calls.clear()
        self._first.extendleft(reversed(self._sent))
        self._sent.clear()

    def _answer(self, source: Source, call: Pending) -> ModelryError | None:
        """Waits for an answer; the error if there is one."""
        from modelry._grpc import grpc

        while True:
            try:
                call.result(timeout=_LOOK_SECONDS)
            except grpc.FutureTimeoutError:
                if not source.idle():
                    return Cancelled(_TIME_IS_UP)
            except grpc.FutureCancelledError:
                return Cancelled("the call was cancelled")
            except grpc.RpcError as failed:
                return self._connection.error_of(failed, call)
            else:
                return None

    def _judge(self, source: Source, request: QueuedRequest, error: ModelryError) -> ModelryError | None:
        """Decides about the first request, which failed: again at once or never (None), or later (the error)."""
        if error.reason == "BATCH_GAP":
            request.gaps += 1
            if request.gaps > 1:
                # What came before it was acknowledged and is lost, as after a restore from a backup.
                self._begin_anew(request)
            return None
        if error.reason == RENEWED:
            return None
        if retries.is_passing(error):
            return self._return(error)
        of_the_run = is_of_the_run(error)
        concerns_all = of_the_run or (error.code in _WHOLE and error.reason != "LIMIT_REACHED")
        parts = split(request) if request.method in _DIVISIBLE and not concerns_all else []
        holds_run = request.is_start or of_the_run
        if retries.is_refusal(error) and (parts or not holds_run):
            if parts:
                self._replace(request, parts)
            else:
                self._part(request)
                source.refused(request, error)
                self._done(source, self._first, is_taken=False)
            return None
        # A fault, or a refusal of a start or of the run: all that the run logs stands on it, so it is not dropped.
        request.faults += 1
        if parts and (request.proven or request.faults >= FAULTS):
            self._replace(request, parts)
        elif request.proven:
            self._aside.add(request, error, is_whole=holds_run)
            self._set_aside(source, error)
        elif self._passed or request.faults >= FAULTS or retries.is_refusal(error):
            can_go_on = self._pass_over(source, error, holds_run=holds_run)
            return None if can_go_on else self._return(self._why_passed)
        else:
            return error
        return None

    def _return(self, error: ModelryError) -> ModelryError:
        """Gives up for now; what was passed over comes first again, because others fail as well."""
        self._left = Holds(self._waiting)
        self.has_tried_all = self._is_dry and not self._first
        self._put_back()
        self._waiting.update(self._held)
        return error

    def _put_back(self) -> None:
        self._first.extendleft(reversed(self._passed))
        self._passed = []
        self._waiting.clear()
        self._failures = 0

    def _put_back_for_good(self) -> None:
        """Puts back what was passed over, so that all of the runs that wait is set aside if it fails once more."""
        for passed in self._passed:
            hold = self._waiting.over(passed)
            passed.proven = passed.proven or (hold is not None and hold.is_whole)
        self._put_back()

    def _pass_over(self, source: Source, error: ModelryError, *, holds_run: bool) -> bool:
        """Lets another request be the first one, of another run if it `holds_run`; says whether one is worth a try."""
        is_refusal = retries.is_refusal(error)
        if not (is_refusal and self._failures):
            self._why_passed = error  # A fault counts for more: the server may fail at what comes later, too.
        self._failures += not is_refusal
        request = self._first[0]
        move_first(self._first, self._passed)
        self._part(request)
        self._waiting.add(request, error, is_whole=holds_run)
        while (self._first or self._take(source)) and len(self._passed) < _MOST_PASSED:
            if self._waiting.over(self._first[0]) is None:
                break
            move_first(self._first, self._passed)
        if holds_run and len(self._passed) >= _MOST_PASSED:
            self._put_back_for_good()  # other runs may wait behind it
        return bool(self._first) and self._failures < MOST_FAILURES

    def _set_aside(self, source: Source, error: ModelryError) -> None:
        self._part(self._first[0])
        # In its file it may stand beside others than here, so it needs nothing before it.
        self._numbering.isolate(self._first[0], "alone")
        source.set_aside(self._first[0], error)
        self._done(source, self._first, is_taken=False)

    def _replace(self, request: QueuedRequest, parts: list[QueuedRequest]) -> None:
        """Puts the parts of the first request in its place."""
        self._part(request)
        for index, part in enumerate(parts):
            part.faults, part.proven, part.order = request.faults, request.proven, (*request.order, index)
            self._numbering.isolate(part, f"part {index}")
        self._first.popleft()
        self._first.extendleft(reversed(parts))

    def _begin_anew(self, request: QueuedRequest) -> None:
        """Gives the first request, and the batches behind it, numbers that need nothing before them. Warns once."""
        run_id = run_of(request)
        if run_id not in self._with_holes:
            self._with_holes.add(run_id)
            log.warning(
                "the server at %s lacks points of run %s that come before those that it gets now: it acknowledged them "
                "and has lost them, as after a restore of a backup, or they wait in another spool; later points are "
                "written",
                self.target,
                run_id,
            )
        if request.apart:
            self._numbering.isolate(request, "from")
        else:
            self._numbering.succeed(request, "from")
            for waits in self._first:
                self._numbering.apply(waits)

    def _part(self, request: QueuedRequest) -> None:
        """Begins another writer for the batches behind a batch that is no longer the first one."""
        if request.numbered and not request.apart:
            request.apart = True
            self._numbering.succeed(request, "after")
            for later in self._first:
                self._numbering.apply(later)

    def _ask(self, source: Source, path: str, content: bytes) -> bytes:
        """One call, during which the source goes on."""
        call = self._connection.begin(path, content, timeout=self._connection.timeout)
        error = self._answer(source, call)
        if error is not None:
            call.cancel()
            raise error
        return call.result()

    def _start_run(self, source: Source, request: QueuedRequest) -> None:
        experiment, run = queued.parts_of_start_run(request.content)
        answer = self._ask(source, rpcs.CREATE_EXPERIMENT.path, experiment)
        found = parsed(rpcs.CREATE_EXPERIMENT.response, answer)
        start = rpcs.CREATE_RUN.request.FromString(run)
        start.experiment_id = found.experiment.experiment_id
        self._ask(source, rpcs.CREATE_RUN.path, start.SerializeToString())
