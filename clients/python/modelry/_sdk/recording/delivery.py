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

from modelry._sdk.recording import queued
from modelry._sdk.recording.numbering import Numbering, run_of, split
from modelry._sdk.recording.queued import QueuedRequest
from modelry._sdk.recording.refusals import is_of_the_run
from modelry._sdk.transport import retries
from modelry.api.tracking.v1 import rpcs
from modelry.errors import Cancelled, InvalidArgument, ModelryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelry._sdk.transport.connection import Connection, Pending

AT_ONCE = 4
"""How many numbered batches are under way at once."""
FAULTS = 5
"""After so many faults of the server at one request it is passed over, to see whether it is the cause."""
_MOST_PASSED = 1000
_MOST_FAILURES = 8
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


class Source(Protocol):
    """Where requests come from, and what becomes of them."""

    def take(self) -> QueuedRequest | None:
        """The next request, None if there is none now."""

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

    Nothing is sent of the runs that are `held`, of which something earlier is left or set aside, for a reason. Only
    their start is: the earlier may wait for it.
    """

    def __init__(self, connection: Connection, workspace: str, held: Mapping[str, ModelryError] | None = None) -> None:
        self.workspace = workspace
        self._connection = connection
        self._numbering = Numbering()
        self._sent: deque[QueuedRequest] = deque()
        self._first: deque[QueuedRequest] = deque()
        self._passed: list[QueuedRequest] = []
        """Passed over, until a later request is taken: what the server fails at, and all of a run that waits."""
        self._passed_runs = {run_id for run_id, why in (held or {}).items() if retries.is_refusal(why)}
        self._held = frozenset(held or {})
        self._failures = 0
        """How many requests were passed over because of a fault."""
        self._why_passed = (held or {}).get(next(iter(self._passed_runs), ""), ModelryError(""))
        self._done_early: list[QueuedRequest] = []
        """Taken before what was passed over, and noted after it, so that what is noted has no gaps."""
        self._aside = dict(held or {})
        """The runs of which everything is set aside, and why, unless it is passed over."""
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
        return [*self._passed, *self._sent, *self._first]

    def held(self, obstacle: ModelryError | None) -> dict[str, ModelryError]:
        """The runs of which something is left or set aside after a delivery with this obstacle, and why."""
        left = dict.fromkeys(map(run_of, self.unanswered), obstacle) if obstacle is not None else {}
        return {run_id: why for run_id, why in {**left, **self._aside}.items() if run_id and why is not None}

    def run(self, source: Source) -> ModelryError | None:
        """Sends until the source has nothing more and everything is answered. Else returns what prevents it.

        What is `unanswered` then comes first the next time.
        """
        # Calls stay in the frames of this thread, see `Connection.begin`.
        calls: deque[Pending] = deque()
        obstacle: ModelryError | None = None
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
                return None
        self._give_up(calls)
        return obstacle

    def _fill(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        """Sends as much as may be under way: several numbered batches, or one request of another kind."""
        while len(calls) < AT_ONCE:
            if not self._first and not self._take(source):
                return None
            request = self._first[0]
            may_begin = bool(self._held) and request.is_start and run_of(request) in self._held
            if self._passed_runs and not may_begin and self._waits(request):
                continue
            if self._sent and not (request.numbered and self._sent[-1].numbered):
                return None
            unsendable = _unsendable(request)
            why_aside = self._aside.get(run_of(request)) if self._aside and not may_begin else None
            if unsendable is not None or why_aside is not None:
                if self._sent:
                    return None
                if why_aside is not None and run_of(request) in self._passed_runs:
                    self._put_back()  # No more is kept in memory: all of the run is set aside, in order.
                elif why_aside is not None:
                    self._set_aside(source, why_aside)
                elif unsendable is not None and (obstacle := self._judge(source, request, unsendable)) is not None:
                    return obstacle
                continue
            if request.method == queued.START_RUN:
                return None
            try:
                calls.append(self._connection.begin(request.method, request.content, timeout=self._connection.timeout))
            except ModelryError as error:
                return error
            self._sent.append(self._first.popleft())
        return None

    def _waits(self, request: QueuedRequest) -> bool:
        """Passes the first request over if its run is, so that nothing of a run overtakes what came before it."""
        if len(self._passed) >= _MOST_PASSED or run_of(request) not in self._passed_runs:
            return False
        request.passed = True
        self._passed.append(self._first.popleft())
        return True

    def _take(self, source: Source) -> QueuedRequest | None:
        """Takes the next request from the source."""
        taken = source.take()
        if taken is not None:
            self._numbering.apply(taken)
            self._first.append(taken)
        return taken

    def _do(self, source: Source, request: QueuedRequest) -> ModelryError | None:
        """Does a request that needs more than one call."""
        try:
            self._start_run(source, request)
        except Cancelled as error:
            return error
        except ModelryError as error:
            return self._judge(source, request, error)
        self._first.popleft()
        self._done(source, request)
        return None

    def _done(self, source: Source, request: QueuedRequest, *, is_taken: bool = True) -> None:
        """Notes that a request is done with. If it was taken, what was passed over is tried once more."""
        if self._passed and is_taken:
            for passed in self._passed:
                passed.proven = True
            self._put_back()
        passed_over = any(waits.passed for waits in self.unanswered)
        if passed_over and not request.passed:
            self._done_early.append(request)
            return
        source.done(request)
        if not passed_over:
            early, self._done_early = self._done_early, []
            for each in early:
                source.done(each)

    def _await_oldest(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        error = self._answer(source, calls[0])
        if error is None:
            calls.popleft()
            self._done(source, self._sent.popleft())
            return None
        if not calls[0].done():
            return error
        # Nothing behind it can have become durable for good before it, so all of it is sent again, in order.
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
                return self._connection.error_of(failed)
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
        if retries.is_passing(error):
            return self._return(error)
        of_the_run = is_of_the_run(error)
        concerns_all = of_the_run or (error.code in _WHOLE and error.reason != "LIMIT_REACHED")
        parts = split(request) if request.method in _DIVISIBLE and not concerns_all else []
        holds_run = request.is_start or of_the_run
        if retries.is_refusal(error) and (parts or not holds_run):
            self._replace(request, parts)
            if not parts:
                source.refused(request, error)
                self._done(source, request, is_taken=False)
            return None
        # A fault, or a refusal of a start or of the run: all that the run logs stands on it, so it is not dropped.
        request.faults += 1
        if parts and (request.proven or request.faults >= FAULTS):
            self._replace(request, parts)
        elif request.proven:
            if holds_run:
                self._aside[run_of(request)] = error
            self._set_aside(source, error)
        elif self._passed or request.faults >= FAULTS or retries.is_refusal(error):
            can_go_on = self._pass_over(source, error, holds_run=holds_run)
            return None if can_go_on else self._return(self._why_passed)
        else:
            return error
        return None

    def _return(self, error: ModelryError) -> ModelryError:
        """Gives up for now; what was passed over comes first again, because others fail as well."""
        self._put_back()
        return error

    def _put_back(self) -> None:
        self._first.extendleft(reversed(self._passed))
        self._passed = []
        self._passed_runs = set()
        self._failures = 0

    def _pass_over(self, source: Source, error: ModelryError, *, holds_run: bool) -> bool:
        """Lets another request be the first one, of another run if it `holds_run`; says whether one is worth a try."""
        is_refusal = retries.is_refusal(error)
        if not (is_refusal and self._failures):
            self._why_passed = error  # A fault counts for more: the server may fail at what comes later, too.
        self._failures += not is_refusal
        request = self._first.popleft()
        self._passed.append(request)
        self._part(request)
        if holds_run:
            self._passed_runs.add(run_of(request))
        while (self._first or self._take(source)) and self._waits(self._first[0]):
            pass
        for passed in self._passed:
            passed.passed = True
        if is_refusal and len(self._passed) >= _MOST_PASSED:
            # No more is kept in memory, and other runs may wait behind it.
            for passed in self._passed:
                passed.proven = passed.proven or run_of(passed) in self._passed_runs
            self._put_back()
        return bool(self._first) and self._failures < _MOST_FAILURES

    def _set_aside(self, source: Source, error: ModelryError) -> None:
        request = self._first.popleft()
        self._part(request)
        source.set_aside(request, error)
        self._done(source, request, is_taken=False)

    def _replace(self, request: QueuedRequest, parts: list[QueuedRequest]) -> None:
        """Puts the parts of the first request in its place."""
        self._first.popleft()
        self._part(request)
        for index, part in enumerate(parts):
            part.faults, part.passed, part.proven = request.faults, request.passed, request.proven
            self._numbering.isolate(part, index)
        self._first.extendleft(reversed(parts))

    def _begin_anew(self, request: QueuedRequest) -> None:
        """Gives the first request, and the batches behind it, numbers that need nothing before them. Warns once."""
        run_id = run_of(request)
        if run_id not in self._with_holes:
            self._with_holes.add(run_id)
            log.warning(
                "the server at %s no longer has points of run %s that it acknowledged, as after a restore of a backup; "
                "they can't be sent again, and later points are written",
                self.target,
                run_id,
            )
        if request.apart:
            self._numbering.isolate(request, 0)
        else:
            self._numbering.succeed(request)
            for waits in self._first:
                self._numbering.apply(waits)

    def _part(self, request: QueuedRequest) -> None:
        """Begins another writer for the batches behind a batch that is no longer the first one."""
        if request.numbered and not request.apart:
            request.apart = True
            self._numbering.succeed(request)
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
        found = rpcs.CREATE_EXPERIMENT.response.FromString(self._ask(source, rpcs.CREATE_EXPERIMENT.path, experiment))
        start = rpcs.CREATE_RUN.request.FromString(run)
        start.experiment_id = found.experiment.experiment_id
        self._ask(source, rpcs.CREATE_RUN.path, start.SerializeToString())
