"""What was logged and is not delivered yet: in memory, or in the spool while no server takes it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modelry._sdk.recording.agenda import Agenda
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.delivery import Delivery
from modelry._sdk.recording.refusals import Refusals, is_of_the_run
from modelry._sdk.spooling import ids, queued
from modelry._sdk.spooling.numbering import key_of, run_of
from modelry._sdk.spooling.queued import QueuedRequest, move_first
from modelry._sdk.spooling.spool import Spool
from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_COUNT_SECONDS = 0.05
"""How often the points in memory are counted."""
_SLOW_SECONDS = 3.0
"""After so long without an answer, what waits in memory goes to the spool."""
_NOUNS = {
    queued.WRITE_METRICS: "metric",
    queued.LOG_BATCH: "param or tag",
    queued.DELETE_RUN_TAGS: "tag",
    queued.LOG_DATASETS: "dataset",
    queued.START_RUN: "run",
    queued.CREATE_RUN: "run",
    queued.UPDATE_RUN: "run",
    queued.FINISH_RUN: "run",
}


class Backlog:
    """The source of a recorder's delivery. For the recorder's thread only.

    It holds requests in memory until the delivery takes them. Once it is offline it writes everything to the spool, and
    the delivery takes it from there. If the spool can't be written, requests stay in memory; points beyond
    `buffer_points` are then dropped, the newest first, because training must go on.
    """

    def __init__(
        self,
        agenda: Agenda,
        delivery: Delivery,
        *,
        folder: Path,
        buffer_points: int,
        refusals: Refusals,
        forget: Callable[[Buffer], None],
        parent: str | None = None,
    ) -> None:
        self.folder = folder
        self._agenda = agenda
        self._delivery = delivery
        self._buffer_points = buffer_points
        self._refusals = refusals
        self._forget = forget
        self._parent = parent
        """None: this process delivers. Else it can only spool; the parent of that name delivers, if there is one."""
        self._queue: deque[QueuedRequest] = deque()
        self._spool: Spool | None = None
        self._set_aside: Spool | None = None
        self._unkept: deque[QueuedRequest] = deque()
        """What is set aside and could not be written yet."""
        self._counted_at = 0.0
        self._moved_at = time.monotonic()
        self._spool_failed = False
        self.offline_was_told = False
        """Whether it was warned of that no server answers, so that there is one warning for one cause."""
        self._reasons_told: set[str] = set()
        """Why the server did not take what waits, as far as it was warned of."""
        self.is_over: Callable[[], bool] = lambda: False
        """Whether a delivery has to end now, although it is not time to close."""
        self.delivered = 0
        """How many requests are done with."""

    @property
    def offline(self) -> bool:
        """Whether what is logged goes to the spool."""
        return self._spool is not None or self._parent is not None

    @property
    def path(self) -> Path | None:
        """The file that the spool is in, None while there is none."""
        return None if self._spool is None else self._spool.path

    @property
    def waits(self) -> bool:
        """Whether something was taken from the buffers and is not delivered."""
        return self._spool is not None or bool(self._queue or self._unkept or self._delivery.unanswered)

    @property
    def keeps_all(self) -> bool:
        """Whether all that is set aside could be written."""
        return not self._unkept

    def collect(self) -> None:
        """Takes what is due from the buffers; into the spool while offline."""
        self._keep_aside()
        if self._agenda.is_due:
            self._harvest()
        if self._parent is not None and self._queue and self._spool is None:
            self._open_spool()
        self._spool_queue()

    # --- the source of the delivery ----------------------------------------------------------------------------------

    def take_to(self, queue: deque[QueuedRequest]) -> bool:
        """Moves the next request to a queue: from memory, or from the spool while there is one."""
        if not self._queue and self._spool is None and self._agenda.is_due:
            self._harvest()
        self._moved_at = time.monotonic()
        if self._spool is not None and self._spool.next_to(queue):
            return True
        if not self._queue:
            return False
        move_first(self._queue, queue)
        return True

    def done(self, request: QueuedRequest) -> None:
        """Notes what is delivered."""
        self.delivered += 1
        if request.method == queued.FINISH_RUN:
            self._refusals.summarize(run_of(request))
        self._moved_at = time.monotonic()
        self.offline_was_told = self.offline_was_told and self._spool is not None
        if request.end and self._spool is not None:
            self._spool.delivered(request)

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """Warns of what the server refuses."""
        kind = f"{_NOUNS.get(request.method, 'request')} ({error.reason or error.code})"
        # Each conflict, because nothing else says which params of a run are not those of its code.
        all_keys = error.reason == "PARAM_CONFLICT"
        name, points, run_id = key_of(request), request.points or 1, run_of(request)
        self._refusals.warn(kind, name, error.message, points, run_id=run_id, all_keys=all_keys)

    def set_aside(self, request: QueuedRequest, error: ModelryError) -> None:
        """Keeps what the server fails at, or all of a run that it refuses, in a spool that `modelry sync` sends."""
        noun = _NOUNS.get(request.method, "request")
        self._unkept.append(QueuedRequest(request.method, request.content, points=request.points))
        problem = self._keep_aside()
        if self._set_aside is None or problem is not None:
            where = f"it is kept in memory, because it can't be written ({problem})"
        else:
            where = f"it is set aside in {self._set_aside.path_when_closed}: `modelry sync` sends it again"
        if is_of_the_run(error):
            run_id = run_of(request)
            text = f"what is logged to run {run_id} ({error.message}); {where}"
            self._refusals.warn("what is set aside", "", text, request.points or 1, run_id=run_id)
            return
        text = f"the server fails at this {noun} again and again and takes others ({error.message}); {where}"
        kind, name = f"{noun} that is set aside", key_of(request)
        self._refusals.warn(kind, name, text, request.points or 1, run_id=run_of(request))

    def _keep_aside(self) -> OSError | None:
        """Writes what is set aside; says why it can't."""
        if not self._unkept:
            return None
        try:
            if self._set_aside is None:
                spool = self._spool  # what is set aside came before what is left in it
                self._set_aside = Spool.create(self.folder, self._server) if spool is None else spool.before()
            self._set_aside.append(self._unkept)
        except OSError as problem:
            self._drop_beyond_memory()
            return problem
        self._unkept.clear()
        return None

    def idle(self) -> bool:
        """Spools what must not stay in memory; False when it is time to end."""
        if self._agenda.is_late or self.is_over():
            return False
        now = time.monotonic()
        if self._spool is not None:
            self.collect()
        elif now - self._moved_at > _SLOW_SECONDS:
            self._moved_at = now
            if self._open_spool():
                self._spool_queue()  # or the delivery would take from memory what comes before what is spooled next
                text = "the server has not answered for %.0f s; what is logged is kept in %s meanwhile"
                log.info(text, _SLOW_SECONDS, self.path)
        elif now - self._counted_at > _COUNT_SECONDS:
            self._counted_at = now
            if self._points > self._buffer_points:
                self.go_offline(f"more is logged than the server takes: over {self._buffer_points} points wait")
        return True

    # --- the spool ---------------------------------------------------------------------------------------------------

    def go_offline(self, why: str) -> None:
        """Moves everything to a new spool, also what is under way."""
        if self._spool is None and self._open_spool():
            self.tell_offline(f"{why}; what is logged is kept in {self.path} and will be sent later")
        self._harvest()
        self._spool_queue()

    def tell_offline(self, text: str) -> None:
        """Warns that no server answers; what follows from the same cause is only information."""
        log.log(logging.INFO if self.offline_was_told else logging.WARNING, "%s", text)
        self.offline_was_told = True

    def tell_refused(self, obstacle: ModelryError) -> None:
        """Warns, once for each reason, that a server that answers takes nothing of what waits in the spool."""
        if obstacle.reason not in self._reasons_told:
            self._reasons_told.add(obstacle.reason)
            log.warning("%s; what is logged is kept in %s and will be sent when the cause is gone", obstacle, self.path)

    def go_online(self) -> None:
        """Removes the spool, after everything in it was delivered."""
        if self._spool is None:
            return
        try:
            damage = self._spool.remove()
        except OSError as problem:
            log.warning("%s is delivered and can't be deleted: %s", self._spool.path, problem)
            self._spool.close()
            damage = ""
        if damage:
            self._refusals.warn("damaged spool", self._spool.path.name, f"{self._spool.path.name}: {damage}")
        else:
            log.info("everything in %s was delivered to %s", self._spool.path, self._delivery.target)
        self._spool = None
        self.offline_was_told = False
        self._reasons_told.clear()

    def hand_over(self) -> None:
        """Closes the spool, so that the parent of this process can deliver it. What comes later goes to a new one."""
        for spool in (self._spool, self._set_aside):
            if spool is not None:
                spool.close()
        self._spool = self._set_aside = None

    def conclude(self) -> None:
        """Spools what is left, and says what is not delivered and where it is."""
        self._harvest()
        self._keep_aside()
        unspooled = self._delivery.unanswered
        if self._parent is not None and self._queue and self._spool is None:
            self._open_spool()
        if self._spool is not None and not all(request.end for request in unspooled):
            # What is under way came before what is in the file: it was in memory while that could not be written.
            before = self._spool
            if self._open_spool():
                before.remove()
            else:
                self._queue.extendleft(request for request in reversed(unspooled) if not request.end)
        self._spool_queue()
        if self._spool is not None and self._spool.requests_left:
            kept = self._told(self._spool)
            path = self._spool.path_when_closed
            if self._parent and ids.is_running(self._parent):
                log.debug("%s wait in %s; the parent of this process delivers them", kept, path)
            else:
                log.warning("not delivered yet: %s; they are kept in %s: run `modelry sync`", kept, path)
        lost = [request for request in {*unspooled, *self._queue, *self._unkept} if not request.end]
        if lost:
            points = sum(request.points for request in lost)
            others = sum(not request.points for request in lost)
            log.warning("lost: %s; neither the server nor the spool could take them", queued.told(others, points))

    def close(self) -> None:
        """Closes the spool and keeps it for a later delivery."""
        self.hand_over()

    def let_go(self) -> None:
        """Closes the spool in a forked child. The parent goes on with the file."""
        for spool in (self._spool, self._set_aside):
            if spool is not None:
                with suppress(OSError):
                    spool.let_go()
        self._spool = self._set_aside = None

    @property
    def _points(self) -> int:
        return self._agenda.points + sum(request.points for request in [*self._queue, *self._unkept])

    def _harvest(self) -> None:
        for buffer in self._agenda.take():
            try:
                buffer.move_to(self._queue)
            except BaseException:
                self._agenda.add(buffer, False)
                raise
            if buffer.ended:
                self._forget(buffer)

    def _open_spool(self) -> bool:
        """Begins a new spool with what is under way and the rest of the one before. If it can't, nothing is changed."""
        before, under_way = self._spool, self._delivery.unanswered
        copies = [replace(request) for request in under_way]  # which get their ends, until all is in the file
        try:
            spool = Spool.create(self.folder, self._server, parent=self._parent or "")
            try:
                spool.append(copies, held=True)
                if before is not None:
                    before.copy_rest(spool)
            except BaseException:
                spool.discard()
                raise
        except OSError as problem:
            self._cannot_spool(self.folder, problem)
            return False
        for request, copy in zip(under_way, copies, strict=True):
            request.end = copy.end
        self._spool = spool
        return True

    def _spool_queue(self) -> None:
        if self._spool is None:
            return
        try:
            self._spool.append(self._queue)
        except OSError as problem:
            self._cannot_spool(self._spool.path, problem)
            return
        self._queue.clear()
        self._spool_failed = False
        self._spool.beat()
        if self._spool.is_taken:
            # What was appended last may not have been seen by whoever took it.
            taken = self._spool
            if self._open_spool():
                log.info("%s was taken by another process; the rest is kept in %s", taken.path, self.path)
                taken.let_go()

    @property
    def _server(self) -> dict[str, str]:
        return {"address": self._delivery.address, "workspace": self._delivery.workspace}

    @staticmethod
    def _told(spool: Spool) -> str:
        return queued.told(spool.others_left, spool.points_left)

    def _cannot_spool(self, path: Path, problem: OSError) -> None:
        """Warns, and drops the newest points if memory is full too."""
        text = f"{path} can't be written ({problem}), so what is logged stays in memory; set MODELRY_SPOOL_DIR"
        log.log(logging.INFO if self._spool_failed else logging.WARNING, "%s", text)
        self._spool_failed = True
        self._harvest()
        self._drop_beyond_memory()

    def _drop_beyond_memory(self) -> None:
        """Drops the newest points if there are more than may be in memory."""
        points = self._points
        for queue in (self._queue, self._unkept):
            kept = deque[QueuedRequest]()
            while queue and points > self._buffer_points:
                newest = queue.pop()
                if newest.points:
                    points -= newest.points
                    text = f"{newest.points} points: memory and spool are full"
                    kind = "points beyond MODELRY_BUFFER_POINTS"
                    self._refusals.warn(kind, key_of(newest), text, newest.points, run_id=run_of(newest))
                else:
                    kept.appendleft(newest)
            queue.extend(kept)
