"""Memory -> server, in the background: it never blocks training, loses nothing that it can keep, and raises nothing.

Each run has a buffer, which its training loop fills. One thread takes the buffers out and sends them. While no server
answers it writes everything to the spool, and sends it from there when the server is back. Everything that is sent can
be sent again, so a lost answer does no harm. In a forked child that must not use gRPC the thread only writes to the
spool, and closes its file every two seconds: then the parent delivers it.

Where no thread can be started (a full machine, or Python 3.12 at its end) logging goes on in memory, each flush does
the work of the thread itself, and a start is tried again every second.

Nothing here holds a lock while the training code runs, see `Buffer`.
"""

from __future__ import annotations

import functools
import logging
import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelry._sdk.recording.agenda import Agenda, Flush, Task
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.delivery import FAULTS, Delivery
from modelry._sdk.recording.heartbeats import Heartbeats
from modelry._sdk.recording.refusals import Refusals, is_of_the_run
from modelry._sdk.recording.source import Backlog
from modelry._sdk.recording.uploads import Uploads
from modelry._sdk.transport import process
from modelry._sdk.transport.connection import Connection
from modelry._sdk.transport.interruptions import held_back, is_interrupted, start
from modelry._sdk.transport.settings import Settings
from modelry.errors import ModelryError, Unavailable

log = logging.getLogger("modelry")
_random = random.SystemRandom()  # those of `random` are the training code's

_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_GRACE_SECONDS = 5.0
_HAND_OVER_SECONDS = 2.0
_START_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_SILENT_SECONDS = 3.0
"""After so long it says why the process does not end."""
_LATE_SECONDS = 5.0
_CLOSINGS = 3
"""How often a recorder is closed at most: another thread may log, or start the recorder again, meanwhile."""
_FAULT_PAUSE = 0.05
_UNREACHABLE = "the server did not answer before"
_FORKED = "this process was forked after its parent had loaded gRPC, so the parent delivers what is logged here"
_FORKED_UNKNOWN = (
    "this process was forked after its parent had loaded gRPC, and the parent does not know of it, so `modelry sync` "
    "has to deliver what is logged here"
)


class Recorder:
    """Records what the runs of this process log, for one server and workspace."""

    def __init__(
        self, connection: Connection, workspace: str, settings: Settings, *, parent: str | None = None
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._settings = settings
        self._by_run: dict[str, Buffer] = {}
        self._begin(parent)

    def _begin(self, parent: str | None) -> None:
        self._parent = parent
        self._own_connection = self._connection.apart()
        self._works = threading.Lock()
        """Held by the thread that does the work: the recorder's own, or one that does it in its place."""
        self._agenda = Agenda(self._settings.flush_interval, self._by_run)
        self._refusals = Refusals()
        self._flushed_refusals = 0
        self._worker: threading.Thread | None = None
        self._is_between_steps = False
        """Whether the work has stopped for signal handlers, at a place where its state is whole."""
        self._thread: threading.Thread | None = None
        self._start_again_at = 0.0
        self.is_closed = False
        """Whether the process ends, so that what its main thread logs now is delivered at once or never."""
        self._failures = 0
        """How often the work failed since something was delivered."""
        self._left_behind: Unavailable | None = None
        """Set if something was left in a spool that is closed: nothing later is sent, since it would overtake that."""
        self._begin_backlog()
        self.uploads = Uploads(
            self._own_connection,
            self._workspace,
            self.folder,
            refusals=self._refusals,
            parent=parent,
        )
        """The files that are uploaded later."""
        self.heartbeats = Heartbeats(
            self._own_connection, self._settings.heartbeat_period, sends=not self.in_forked_child
        )
        """Those of the runs that this process has started or continued."""

    def _begin_backlog(self) -> None:
        self._delivery = Delivery(self._own_connection, self._workspace)
        self._backlog = Backlog(
            self._agenda,
            self._delivery,
            folder=self.folder,
            buffer_points=self._settings.buffer_points,
            refusals=self._refusals,
            forget=self._forget,
            parent=self._parent,
        )
        self._pause = 0.0
        self._retry_at = 0.0

    # --- for the training code ---------------------------------------------------------------------------------------

    def buffer(self, run_id: str) -> Buffer:
        """The buffer of a run."""
        if (known := self._by_run.get(run_id)) is not None:
            return known
        return self._by_run.setdefault(run_id, Buffer(run_id, self._wake, functools.partial(self.warn, run_id=run_id)))

    def has(self, run_id: str) -> bool:
        """Whether something was logged to a run, and the run has not ended."""
        return run_id in self._by_run

    @property
    def offline(self) -> bool:
        """Whether what is logged goes to the spool at present."""
        return self._backlog.offline

    @property
    def why_offline(self) -> str:
        """Why it does."""
        if not self.in_forked_child:
            return _UNREACHABLE
        return _FORKED if self._parent else _FORKED_UNKNOWN

    def tell_offline(self, text: str) -> None:
        """Warns that a run is offline, once for one cause. In a child it is as it should be if its parent delivers."""
        if self._parent:
            log.info("%s", text)
        else:
            self._backlog.tell_offline(text)

    @property
    def in_forked_child(self) -> bool:
        """Whether this process can't send what it logs, because it must not use gRPC."""
        return self._parent is not None

    @property
    def folder(self) -> Path:
        """The folder of the spool."""
        return self._settings.spool_folder

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything that was logged before is on the server, at most so many seconds; says whether it is.

        It is not if something was refused or dropped since the last flush. While no server answers it tries again until
        the time is up; without a limit it tries once. In a forked child it waits until everything is in the spool, and
        the answer is False.
        """
        until = None if timeout is None else time.monotonic() + timeout
        delivered = self._deliver(timeout)
        delivered &= self.uploads.deliver(None if until is None else max(0.0, until - time.monotonic()))
        known, self._flushed_refusals = self._flushed_refusals, self._refusals.total
        return delivered and known == self._flushed_refusals

    def _deliver(self, timeout: float | None) -> bool:
        if timeout is None or self.in_forked_child:
            return self.attempt(timeout)
        until = time.monotonic() + timeout
        while not self.attempt(until - time.monotonic()):
            if time.monotonic() + _SHORTEST_PAUSE >= until:
                return False
            time.sleep(_SHORTEST_PAUSE)
        return True

    def attempt(self, timeout: float | None = None) -> bool:
        """Tries once to deliver everything that was logged before, for at most so many seconds; says whether it did."""
        if self._is_idle:
            return self._left_behind is None
        if self._worker is threading.current_thread():
            # A signal handler that interrupted the work itself can't wait for it, and may end the process.
            self._keep("a signal came while it was sent")
            return False
        flush = self._agenda.ask()
        if not self._start(at_once=True):
            self._work_until(flush, timeout)
        return flush.wait(timeout)

    def settle(self, timeout: float) -> None:
        """Waits until everything that was logged is safe: on the server, or in the spool of a forked child.

        While no server answers it does not wait.
        """
        if self.in_forked_child or not self.offline:
            self.attempt(timeout)

    def close(self, timeout: float) -> None:
        """Sends what is left within so many seconds, keeps the rest in the spool, and says so.

        While no server answers it tries only once, and no upload.
        """
        until = time.monotonic() + timeout
        was_offline = self.offline
        self._close_agenda(timeout)
        self.uploads.close(0.0 if was_offline or is_interrupted() else max(0.0, until - time.monotonic()))
        self.is_closed = True

    def _close_agenda(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        for _ in range(_CLOSINGS):
            if self._is_idle:
                return
            if self._worker is threading.current_thread():  # a signal handler that ends the process
                self._keep("the process ends while it is sent")
                return
            closing = self._agenda.close(until - time.monotonic())
            # The thread may have ended since, because of this closing or another one.
            if not closing.answered and not self._start(at_once=True):
                self._run(until - time.monotonic())
            if not self._await(closing, until + _GRACE_SECONDS):
                return

    def _await(self, closing: Flush, until: float) -> bool:
        """Waits until the thread has ended; says whether it did. At Ctrl-C only until everything is in the spool."""
        tell_at = time.monotonic() + _SILENT_SECONDS
        with held_back():
            while not closing.answered and time.monotonic() < until:
                closing.wait(_LOOK_SECONDS)
                if time.monotonic() >= tell_at:
                    tell_at = math.inf
                    log.warning(
                        "still sending what was logged to %s, for at most %.0f s; Ctrl-C keeps the rest in %s",
                        *(self._connection.address.target, until - time.monotonic(), self.folder),
                    )
                if is_interrupted() and not self._agenda.is_late:
                    self._agenda.hurry()
                    until = min(until, time.monotonic() + _GRACE_SECONDS)
            if not closing.answered:
                # It stands still in a call that heeds no limit.
                self._rescue("a call to the server takes longer than the limit at exit")
        return closing.answered

    def abandon(self) -> None:
        """Ends the threads and the channel; what is not delivered stays in the spool."""
        self.heartbeats.end()
        self._close_agenda(0.0)
        self.uploads.abandon()
        self._own_connection.close()

    def warn(self, kind: str, key: str, text: str, *, run_id: str = "") -> None:
        """Says that something is not recorded, and why; see `Refusals`."""
        self._refusals.warn(kind, key, text, run_id=run_id)

    def after_fork(self, parent: str | None) -> None:
        """Makes this the recorder of a forked child: empty, another writer, no thread, no spool.

        `parent` is the process that delivers for it; None if it delivers itself.
        """
        for buffer in self._agenda.all():
            buffer.renew()
        self._backlog.let_go()
        self._begin(parent)

    # --- the thread --------------------------------------------------------------------------------------------------

    @property
    def _is_idle(self) -> bool:
        return self._thread is None and not self._backlog.waits and not self._agenda.has_news

    def _wake(self, buffer: Buffer, urgent: bool) -> None:
        if self.is_closed and threading.current_thread() is threading.main_thread():  # such as a handler of atexit
            self._agenda.keep(buffer)
            buffer.told = False
            self._close_agenda(0.0 if self.offline or is_interrupted() else _LATE_SECONDS)
        elif self._start():
            self._agenda.add(buffer, urgent)
        else:
            self._agenda.keep(buffer)
            buffer.told = False  # so that a later entry tries again

    def _start(self, *, at_once: bool = False) -> bool:
        """Starts the thread if there is none; says whether there is one. Tries once a second, or `at_once`."""
        if self._thread is not None and self._thread.is_alive():
            return True
        now = time.monotonic()
        if now < self._start_again_at and not at_once:
            return False
        process.current().prepare_exit()
        # Two threads may come here at once, or one and its signal handler: all but one of the new threads do nothing.
        thread = threading.Thread(target=self._run, args=(_PATIENCE_SECONDS,), name="modelry-recorder", daemon=True)
        with held_back():  # or a handler that raises would leave a thread that nobody knows
            if problem := start(thread):
                self._start_again_at = now + _START_AGAIN_SECONDS
                log.info("what is logged waits in memory, because no thread can be started (%s)", problem)
                return False
            if self._thread is None or not self._thread.is_alive():
                self._thread = thread
        return True

    def _run(self, patience: float) -> None:
        """Does the work until the end, if no other thread does it for so many seconds."""
        with self._working(time.monotonic() + patience) as works:
            if not works:
                return
            self._thread = threading.current_thread()
            try:
                while self._step():
                    pass
                if self._backlog.waits:
                    self._left_behind = Unavailable("what was logged before waits in another spool")
                self._backlog.close()
                self._begin_backlog()
                self._backlog.offline_was_told = self._left_behind is not None
            finally:
                self._thread = None
                self._agenda.end()

    def _work_until(self, flush: Flush, timeout: float | None) -> None:
        """Does the work of the thread, where none can be started, until a flush is answered."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not flush.answered and time.monotonic() < until:
            with self._working(min(until, time.monotonic() + _SHORTEST_PAUSE), until) as works:
                if works:
                    self._step()

    @contextmanager
    def _working(self, patience: float, until: float = math.inf) -> Iterator[bool]:
        """Makes this thread the one that works, if no other one works at the time `patience`; says whether it is.

        Its deliveries end at the time `until`, or at Ctrl-C, which is raised only then: it could leave half a step, or
        a lock of gRPC that nobody releases.
        """
        with held_back():
            works = self._works.acquire(blocking=False)
            while not works and time.monotonic() < patience and not is_interrupted():
                works = self._works.acquire(timeout=_LOOK_SECONDS)
            if not works:
                yield False
                return
            self._worker = threading.current_thread()
            self._backlog.is_over = lambda: self._is_interrupted() or time.monotonic() >= until
            try:
                yield True
            finally:
                self._backlog.is_over = lambda: False
                self._worker = None
                self._works.release()

    def _is_interrupted(self) -> bool:
        self._is_between_steps = True
        try:
            return is_interrupted()
        finally:
            self._is_between_steps = False

    def _keep(self, why: str) -> None:
        """Spools everything for a signal handler that interrupted the work itself."""
        if self._is_between_steps:
            self._backlog.go_offline(why)

    def _step(self) -> bool:
        """Works; False after the last time. Raises nothing.

        What fails, as for lack of memory, is tried again, because it leaves everything where it was. If that happens
        again and again, everything goes to the spool, and the pauses are long.
        """
        before = self._backlog.delivered
        try:
            return self._work()
        except Exception:
            self._failures = self._failures + 1 if self._backlog.delivered == before else 1
            if self._failures <= FAULTS:
                log.warning("the recorder failed; it tries again", exc_info=True)
                time.sleep(_FAULT_PAUSE * 2**self._failures)
                return True
        self._retry_at = time.monotonic() + _LONGEST_PAUSE
        with suppress(Exception):
            self._backlog.go_offline("the recorder failed again and again")
        if is_last := self._agenda.is_closing:
            with suppress(Exception):
                self._conclude()
        self._agenda.answer_all(complete=False)
        return not is_last

    def _work(self) -> bool:
        """Waits for something to do and does it; False after the last time."""
        task = self._agenda.wait(self._retry_at if self._backlog.waits else None)
        self._backlog.collect()
        if not task.asked and time.monotonic() < self._retry_at:
            return True
        if self.in_forked_child:
            return self._hand_over(task)
        return self._send(task)

    def _send(self, task: Task) -> bool:
        before = self._backlog.delivered
        waits = self._backlog.waits or self._agenda.has_news
        if self._left_behind:
            obstacle: ModelryError | None = self._left_behind
        else:
            obstacle = self._delivery.run(self._backlog) if waits else None
        if self._backlog.delivered > before:
            self._pause = 0.0
        if obstacle is None:
            self._retry_at = 0.0
        else:
            self._postpone(obstacle)
        if obstacle is None and self._backlog.offline:
            # What was logged meanwhile is in memory: once more.
            self._backlog.go_online()
            return True
        self._agenda.answer(task.flushes, complete=obstacle is None and self._backlog.keeps_all)
        if not task.closing:
            return True
        if obstacle is None and self._agenda.has_news:  # logged since: whoever closes it does so once more
            self._refusals.summarize()
        else:
            self._conclude()
        return False

    def _postpone(self, obstacle: ModelryError) -> None:
        if not self._backlog.offline:
            self._backlog.go_offline(obstacle.message)
        elif is_of_the_run(obstacle):
            self._backlog.tell_refused(obstacle)
        self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self._pause))
        self._retry_at = time.monotonic() + self._pause * _random.uniform(0.5, 1.0)

    def _hand_over(self, task: Task) -> bool:
        if task.closing:
            self._conclude()
        self._backlog.hand_over()
        self._retry_at = time.monotonic() + _HAND_OVER_SECONDS
        self._agenda.answer(task.flushes, complete=False)
        return not task.closing

    def _conclude(self) -> None:
        self._backlog.conclude()
        self._refusals.summarize()

    def _rescue(self, why: str) -> None:
        """Spools everything in place of the thread."""
        self._backlog.go_offline(why)
        self._conclude()

    def _forget(self, buffer: Buffer) -> None:
        if self._by_run.get(buffer.run_id) is buffer:
            del self._by_run[buffer.run_id]
        if buffer.has_news:  # logged to a run that has ended
            self._agenda.add(buffer, False)
