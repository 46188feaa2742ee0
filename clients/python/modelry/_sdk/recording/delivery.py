"""Sends requests in order, with a few numbered batches at once, until one can't be sent now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelry._sdk.recording import queued
from modelry._sdk.recording.numbering import Numbering, split
from modelry._sdk.recording.queued import QueuedRequest
from modelry.api.tracking.v1 import rpcs
from modelry.errors import Cancelled, InvalidArgument, ModelryError

if TYPE_CHECKING:
    from modelry._sdk.transport.connection import Connection, Pending

AT_ONCE = 4
"""How many numbered batches are under way at once."""
FAULTS = 5
"""After so many failures inside the server the request counts as the cause, and is refused."""
_LOOK_SECONDS = 0.1
_TIME_IS_UP = "the time for the delivery is up"
_LATER = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "ABORTED", "CANCELLED"}
_WHOLE = {"NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED"}
_FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
_DIVISIBLE = {queued.WRITE_METRICS, queued.LOG_BATCH, queued.CREATE_RUN, queued.START_RUN}
_MOST_BYTES = 4 << 20  # the largest request that a server takes


def _too_large(request: QueuedRequest) -> InvalidArgument:
    return InvalidArgument(f"{len(request.content)} bytes in one request, at most {_MOST_BYTES} can be sent")


class Source(Protocol):
    """Where requests come from, and what becomes of them."""

    def take(self) -> QueuedRequest | None:
        """The next request, None if there is none now."""

    def done(self, request: QueuedRequest) -> None:
        """The server has taken the request, or has refused it for good. Called in order."""

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """The server refuses the request, or a part of it, for good. The rest goes on."""

    def idle(self) -> bool:
        """Called often while answers are awaited. False stops the delivery."""

    @property
    def folder(self) -> Path:
        """The folder of the spool, which has the copies of files that wait for their upload."""


class Delivery:
    """Delivers over one connection. If it is `patient`, a run that does not exist yet may still be created."""

    def __init__(self, connection: Connection, workspace: str, *, patient: bool = False) -> None:
        self.workspace = workspace
        self._connection = connection
        self._patient = patient
        self._numbering = Numbering()
        self._sent: deque[QueuedRequest] = deque()
        self._first: deque[QueuedRequest] = deque()

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
        return [*self._sent, *self._first]

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
            else:
                return None
        self._give_up(calls)
        return obstacle

    def _fill(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        """Sends as much as may be under way: several numbered batches, or one request of another kind."""
        while len(calls) < AT_ONCE:
            if not self._first:
                taken = source.take()
                if taken is None:
                    return None
                self._numbering.apply(taken)
                self._first.append(taken)
            request = self._first[0]
            if self._sent and not (request.numbered and self._sent[-1].numbered):
                return None
            if len(request.content) > _MOST_BYTES:
                if self._sent:
                    return None
                if (obstacle := self._judge(source, request, _too_large(request))) is not None:
                    return obstacle
                continue
            if request.method in (queued.START_RUN, queued.UPLOAD):
                return None
            try:
                calls.append(self._connection.begin(request.method, request.content, timeout=self._connection.timeout))
            except ModelryError as error:
                return error
            self._sent.append(self._first.popleft())
        return None

    def _do(self, source: Source, request: QueuedRequest) -> ModelryError | None:
        """Does a request that needs more than one call."""
        try:
            if request.method == queued.START_RUN:
                self._start_run(request)
            else:
                self._upload(source, request)
        except ModelryError as error:
            return self._judge(source, request, error)
        self._first.popleft()
        source.done(request)
        return None

    def _await_oldest(self, source: Source, calls: deque[Pending]) -> ModelryError | None:
        error = self._answer(source, calls[0])
        if error is None:
            calls.popleft()
            source.done(self._sent.popleft())
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
        if isinstance(error, Cancelled):
            return None
        if error.reason == "BATCH_GAP":
            request.gaps += 1
            if request.gaps > 1:
                # What came before it was acknowledged and is lost, as after a restore from a backup.
                self._renumber(request)
            return None
        if error.code in _LATER or (self._patient and error.reason == "RUN_NOT_FOUND"):
            return error
        if error.code in _FAULTS:
            request.faults += 1
            if request.faults < FAULTS:
                return error
        concerns_all = error.code in _WHOLE and error.reason != "LIMIT_REACHED"
        parts = split(request) if request.method in _DIVISIBLE and not concerns_all else []
        if request.is_start and not parts:
            return error  # all that the run logs stands on it, so it stays until the cause is gone
        self._first.popleft()
        if request.numbered:
            self._numbering.succeed(request)
        for part in parts:
            part.faults = request.faults
        self._renumber_rest(parts)
        if not parts:
            source.refused(request, error)
            source.done(request)
        return None

    def _renumber(self, request: QueuedRequest) -> None:
        self._numbering.succeed(request)
        self._renumber_rest([])

    def _renumber_rest(self, parts: Iterable[QueuedRequest]) -> None:
        waiting = [*parts, *self._first]
        for request in waiting:
            self._numbering.apply(request)
        self._first = deque(waiting)

    def _start_run(self, request: QueuedRequest) -> None:
        experiment, run = queued.parts_of_start_run(request.content)
        create = rpcs.CREATE_EXPERIMENT.request.FromString(experiment)
        found = self._connection.call(rpcs.CREATE_EXPERIMENT, create)
        start = rpcs.CREATE_RUN.request.FromString(run)
        start.experiment_id = found.experiment.experiment_id
        self._connection.call(rpcs.CREATE_RUN, start)

    def _upload(self, source: Source, request: QueuedRequest) -> None:
        from modelry._sdk.nouns.artifacts import Artifacts
        from modelry._sdk.recording.spool import upload_of

        upload = upload_of(request)
        folder = source.folder / upload.folder
        if not folder.is_dir():
            raise InvalidArgument(
                f"the copies of files for {upload.owner}, folder {upload.path!r}, are missing: {folder}"
            )
        Artifacts(self._connection.of("artifacts"), self.workspace).upload(upload.owner, folder, upload.path)
