"""Sends requests in order, a few numbered batches at once, until one can't be sent now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelry._sdk.recording import outgoing as requests
from modelry._sdk.recording.numbering import Numbering, split
from modelry._sdk.recording.outgoing import Request
from modelry.errors import Cancelled, InvalidArgument, ModelryError

if TYPE_CHECKING:
    import grpc

    from modelry._sdk.transport.connection import Connection

AT_ONCE = 4
"""How many numbered batches are under way at a time."""
FAULTS = 5
"""How often a fault of the server's is tolerated before its cause is taken to be the request."""
_LOOK_SECONDS = 0.1
_LATER = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "ABORTED"}
_WHOLE = {"NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED"}
_FAULTS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}


class Source(Protocol):
    """Where requests come from, and what becomes of them."""

    def take(self) -> Request | None:
        """The next request, None when there is none now."""

    def done(self, request: Request) -> None:
        """The server has it, or has refused it for good; called in order."""

    def refused(self, request: Request, error: ModelryError) -> None:
        """The server refuses the request, or a part of it, for good; the rest goes on."""

    def idle(self) -> bool:
        """Called often while answers are awaited; False stops the delivery."""

    @property
    def folder(self) -> Path:
        """The spool's folder, where the copies of files lie that wait for their upload."""


class Delivery:
    """Delivers over one connection. `patient` says that a run which is not there yet may still come."""

    def __init__(self, connection: Connection, workspace: str, *, patient: bool = False) -> None:
        self._connection = connection
        self._workspace = workspace
        self._patient = patient
        self._numbering = Numbering()
        self._under_way: deque[tuple[Request, grpc.Future[bytes]]] = deque()
        self._first: deque[Request] = deque()

    @property
    def unanswered(self) -> list[Request]:
        """What was taken and is not answered yet, in order."""
        return [*(request for request, _ in self._under_way), *self._first]

    def run(self, source: Source) -> ModelryError | None:
        """Sends until the source has nothing more and all is answered; else answers with what stood in the way.

        What is `unanswered` then comes first the next time.
        """
        while True:
            if not source.idle():
                return Cancelled("the delivery was stopped")
            obstacle = self._fill(source)
            if obstacle is None:
                if self._under_way:
                    obstacle = self._await_oldest(source)
                elif self._first:
                    obstacle = self._do(source, self._first[0])
                else:
                    return None
            if obstacle is not None:
                return obstacle

    def _fill(self, source: Source) -> ModelryError | None:
        """Sends as much as may be under way: several numbered batches, or one request of another kind."""
        while len(self._under_way) < AT_ONCE:
            if not self._first:
                taken = source.take()
                if taken is None:
                    return None
                self._numbering.apply(taken)
                self._first.append(taken)
            request = self._first[0]
            if self._under_way and not (request.numbered and self._under_way[-1][0].numbered):
                return None
            if request.method in (requests.START_RUN, requests.UPLOAD):
                return None
            try:
                future = self._connection.begin(request.method, request.content, timeout=self._connection.timeout)
            except ModelryError as error:
                return error
            self._under_way.append((self._first.popleft(), future))
        return None

    def _do(self, source: Source, request: Request) -> ModelryError | None:
        """Does what is more than one call."""
        try:
            if request.method == requests.START_RUN:
                self._start_run(request)
            else:
                self._upload(source, request)
        except ModelryError as error:
            return self._judge(source, request, error)
        self._first.popleft()
        source.done(request)
        return None

    def _await_oldest(self, source: Source) -> ModelryError | None:
        request, future = self._under_way[0]
        error = self._answer(source, future)
        if error is None:
            self._under_way.popleft()
            source.done(request)
            return None
        if not future.done():
            return error
        # Nothing behind it can have become durable for good before it, so all of it is sent again, in order.
        waiting = [request for request, _ in self._under_way]
        for _, later in list(self._under_way)[1:]:
            later.cancel()
        self._under_way.clear()
        self._first.extendleft(reversed(waiting))
        return self._judge(source, request, error)

    def _answer(self, source: Source, future: grpc.Future[bytes]) -> ModelryError | None:
        import grpc

        while True:
            try:
                future.result(timeout=_LOOK_SECONDS)
            except grpc.FutureTimeoutError:
                if not source.idle():
                    return Cancelled("the delivery was stopped")
            except grpc.FutureCancelledError:
                return Cancelled("the call was cancelled")
            except grpc.RpcError as failed:
                return self._connection.error_of(failed)
            else:
                return None

    def _judge(self, source: Source, request: Request, error: ModelryError) -> ModelryError | None:
        """Decides about the first request, which failed: again at once (None), later (the error), or never (None)."""
        if isinstance(error, Cancelled):
            return None
        if error.reason == "BATCH_GAP":
            request.gaps += 1
            if request.gaps > 1:
                # What came before it was acknowledged and is gone, as after a restored backup.
                self._renumber(request)
            return None
        if error.code in _LATER or (self._patient and error.reason == "RUN_NOT_FOUND"):
            return error
        if error.code in _FAULTS:
            request.faults += 1
            if request.faults < FAULTS:
                return error
        self._first.popleft()
        divisible = request.method in (requests.WRITE_METRICS, requests.LOG_BATCH) and error.code not in _WHOLE
        parts = split(request) if divisible else []
        if request.numbered:
            self._numbering.succeed(request)
        for part in parts:
            part.faults = request.faults
        self._renumber_rest(parts)
        if not parts:
            source.refused(request, error)
            source.done(request)
        return None

    def _renumber(self, request: Request) -> None:
        self._numbering.succeed(request)
        self._renumber_rest([])

    def _renumber_rest(self, parts: Iterable[Request]) -> None:
        waiting = [*parts, *self._first]
        for request in waiting:
            self._numbering.apply(request)
        self._first = deque(waiting)

    def _start_run(self, request: Request) -> None:
        from modelry.api.tracking import v1 as tracking

        experiment, run = requests.parts_of_start_run(request.content)
        found = self._connection.call(
            "modelry.api.tracking.v1.ExperimentService/CreateExperiment",
            tracking.CreateExperimentRequest.FromString(experiment),
            tracking.CreateExperimentResponse,
        )
        start = tracking.CreateRunRequest.FromString(run)
        start.experiment_id = found.experiment.experiment_id
        self._connection.call(requests.CREATE_RUN, start, tracking.CreateRunResponse)

    def _upload(self, source: Source, request: Request) -> None:
        from modelry._sdk.nouns.artifacts import Artifacts
        from modelry._sdk.recording.spool import upload_of

        upload = upload_of(request)
        folder = source.folder / upload.folder
        if not folder.is_dir():
            raise InvalidArgument(f"the files kept for {upload.owner} {upload.path!r} are gone from {folder}")
        Artifacts(self._connection.of("artifacts"), self._workspace).upload(upload.owner, folder, upload.path)
