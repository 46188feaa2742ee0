"""Memory -> server, in the background: never blocks training, never loses what was logged, raises nothing into it.

Each run has a buffer, which its training loop fills. One thread takes the buffers out and sends; while no server
answers it writes everything to the spool, and sends it from there when the server is back. Whatever is sent may be sent
again, so that it does not matter what became of a call whose answer was lost.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections import Counter, deque
from pathlib import Path

from modelry._sdk.recording import at_exit as exits
from modelry._sdk.recording import outgoing as requests
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.delivery import Delivery
from modelry._sdk.recording.numbering import key_of
from modelry._sdk.recording.outgoing import Request
from modelry._sdk.recording.spool import Spool, drop_files
from modelry._sdk.transport.connection import Connection
from modelry._sdk.transport.settings import Settings
from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_GRACE_SECONDS = 5.0
_COUNT_SECONDS = 0.05
_KEYS_TOLD_APART = 20
_OTHERS = "others"
_NOUNS = {
    requests.WRITE_METRICS: "metric",
    requests.LOG_BATCH: "param or tag",
    requests.DELETE_RUN_TAGS: "tag",
    requests.LOG_DATASETS: "dataset",
    requests.UPLOAD: "file",
    requests.START_RUN: "run",
    requests.CREATE_RUN: "run",
    requests.UPDATE_RUN: "run",
    requests.FINISH_RUN: "run",
}


class Recorder:
    """Sends what the runs of this process log to one server. It is the source of its own delivery."""

    def __init__(self, connection: Connection, workspace: str, settings: Settings) -> None:
        self._connection = connection
        self._workspace = workspace
        self._settings = settings
        self._by_run: dict[str, Buffer] = {}
        self._warned: dict[str, Counter[str]] = {}
        self._begin(patient=False)

    def _begin(self, *, patient: bool) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._live: dict[Buffer, None] = {}
        self._news = False
        self._urgent = False
        self._due_at = 0.0
        self._wanted = 0
        self._answered = 0
        self._complete = True
        self._closing_at: float | None = None
        # What follows belongs to the thread alone.
        self._begin_delivery(patient=patient)

    def _begin_delivery(self, *, patient: bool) -> None:
        self._delivery = Delivery(self._connection, self._workspace, patient=patient)
        self._requests: deque[Request] = deque()
        self._spool: Spool | None = None
        self._stuck = False
        self._pause = 0.0
        self._retry_at = 0.0
        self._counted_at = 0.0

    # --- for the training code ---------------------------------------------------------------------------------------

    def buffer(self, run_id: str) -> Buffer:
        """The buffer of a run."""
        with self._changed:
            if run_id not in self._by_run:
                self._by_run[run_id] = Buffer(run_id, self._wake, self.warn)
            return self._by_run[run_id]

    @property
    def offline(self) -> bool:
        """Whether what is logged goes to the spool at present."""
        return self._spool is not None

    @property
    def folder(self) -> Path:
        """The folder of the spool."""
        return self._settings.spool_folder

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was logged before is durable, at most so many seconds; says whether it is.

        While no server answers it tries again until the time is up; without a limit it tries once.
        """
        if timeout is None:
            return self.attempt()
        until = time.monotonic() + timeout
        while not self.attempt(until - time.monotonic()):
            if time.monotonic() + _SHORTEST_PAUSE >= until:
                return False
            time.sleep(_SHORTEST_PAUSE)
        return True

    def attempt(self, timeout: float | None = None) -> bool:
        """Tries once to deliver all that was logged before, at most so many seconds; says whether it is durable."""
        with self._changed:
            if self._thread is None and not self._news:
                return True
            self._wanted += 1
            ticket = self._wanted
            self._start()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._answered >= ticket, timeout) and self._complete

    def close(self, timeout: float) -> None:
        """Sends what is left within so many seconds, leaves the rest in the spool, and says so."""
        with self._changed:
            if self._thread is None and not self._news:
                return
            self._start()
            thread = self._thread
            self._closing_at = time.monotonic() + timeout
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout + _GRACE_SECONDS)
            if thread.is_alive():
                self._rescue()

    def warn(self, kind: str, key: str, text: str) -> None:
        """Says once for each kind of refusal and key what was not recorded and why; later ones are counted.

        Of each kind the first keys are told apart, the others are counted together.
        """
        with self._changed:
            counts = self._warned.setdefault(kind, Counter())
            name = key if key in counts or len(counts) < _KEYS_TOLD_APART else _OTHERS
            counts[name] += 1
            known = counts[name] > 1
        if known:
            log.debug("not recorded: %s", text)
        else:
            log.warning("not recorded: %s (more like this will be counted, not shown)", text)

    def after_fork(self) -> None:
        """Makes this the recorder of a forked child: empty, another writer, no thread, no channel, no spool."""
        spool = self._spool
        for buffer in self._by_run.values():
            buffer.renew()
        self._warned = {}
        self._begin(patient=spool is not None)
        if spool is not None:
            spool.close()

    # --- the source of the delivery ----------------------------------------------------------------------------------

    def take(self) -> Request | None:
        """The next request: from memory, or from the spool while there is one."""
        if not self._requests and self._spool is None and self._is_due():
            self._harvest()
        if self._requests:
            return self._requests.popleft()
        return None if self._spool is None else self._spool.next()

    def done(self, request: Request) -> None:
        """Notes what is delivered."""
        self._pause = 0.0
        if request.end and self._spool is not None:
            self._spool.delivered(request)
        drop_files(self.folder, request)

    def refused(self, request: Request, error: ModelryError) -> None:
        """Warns of what the server will not take."""
        kind = f"{_NOUNS.get(request.method, 'request')} ({error.reason or error.code})"
        self.warn(kind, error.metadata.get("run_id") or key_of(request), error.message)

    def idle(self) -> bool:
        """Spools what must not stay in memory; False when it is time to end."""
        now = time.monotonic()
        if self._closing_at is not None and now >= self._closing_at:
            return False
        if self._spool is not None:
            if self._is_due():
                self._harvest()
                self._spool_requests()
        elif now - self._counted_at > _COUNT_SECONDS:
            self._counted_at = now
            if self._points() > self._settings.buffer_points:
                self._go_offline(f"the server takes less than comes: over {self._settings.buffer_points} points wait")
        return True

    # --- the thread --------------------------------------------------------------------------------------------------

    def _wake(self, buffer: Buffer, urgent: bool) -> None:
        with self._changed:
            self._live[buffer] = None
            if self._news and not urgent:
                return
            if not self._news:
                self._news = True
                self._due_at = time.monotonic() + self._settings.flush_interval
            self._urgent = self._urgent or urgent
            self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            exits.prepare()
            self._thread = threading.Thread(target=self._run, name="modelry-recorder", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        whole = False
        try:
            while not self._work():
                pass
            whole = True
        finally:
            with self._changed:
                self._complete = self._complete and whole
                if self._spool is not None:
                    self._spool.close()
                self._begin_delivery(patient=False)
                self._thread = None
                self._closing_at = None
                self._answered = self._wanted
                self._changed.notify_all()

    def _work(self) -> bool:
        """Waits for something to do and does it; says whether this was the last time."""
        serving, closing = self._await_work()
        obstacle = self._delivery.run(self)
        if obstacle is None and self._spool is not None:
            if damage := self._spool.remove():
                log.warning("%s: %s", self._spool.path.name, damage)
            else:
                log.info("everything from %s is delivered to %s", self._spool.path, self._connection.address.target)
            self._spool = None
            return False
        self._stuck = obstacle is not None
        if obstacle is not None:
            if self._spool is None:
                self._go_offline(obstacle.message)
            self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self._pause))
            self._retry_at = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        with self._changed:
            self._answered = serving
            self._complete = obstacle is None
            self._changed.notify_all()
            if not closing or (obstacle is None and self._news):
                return False
        self._say_what_is_left()
        return True

    def _await_work(self) -> tuple[int, bool]:
        while True:
            with self._changed:
                while True:
                    now = time.monotonic()
                    if self._wanted > self._answered or self._closing_at is not None:
                        return self._wanted, self._closing_at is not None
                    due = self._news and (self._urgent or now >= self._due_at)
                    if self._retry_at <= now and (due or self._stuck):
                        return self._wanted, False
                    if due and self._spool is not None:
                        break
                    moments = [self._due_at] if self._news and not due else []
                    if self._retry_at > now:
                        moments.append(self._retry_at)
                    self._changed.wait(max(0.001, min(moments) - now) if moments else None)
            self._harvest()
            self._spool_requests()

    def _is_due(self) -> bool:
        with self._changed:
            if not self._news:
                return False
            asked = self._wanted > self._answered or self._closing_at is not None
            return asked or self._urgent or time.monotonic() >= self._due_at

    def _harvest(self) -> None:
        with self._changed:
            self._news = self._urgent = False
            live, self._live = self._live, {}
        for buffer in live:
            self._requests.extend(buffer.take())
            if buffer.ended:
                with self._changed:
                    if self._by_run.get(buffer.run_id) is buffer:
                        del self._by_run[buffer.run_id]

    def _points(self) -> int:
        with self._changed:
            waiting = sum(buffer.points for buffer in self._live)
        return waiting + sum(request.points for request in self._requests)

    # --- the spool ---------------------------------------------------------------------------------------------------

    def _go_offline(self, why: str) -> None:
        server = {
            "address": self._connection.address.uri,
            "workspace": self._workspace,
            "host": socket.gethostname(),
            "process": str(os.getpid()),
        }
        try:
            spool = Spool.create(self.folder, server)
            spool.append(self._delivery.unanswered, held=True)
        except OSError as problem:
            self._cant_spool(self.folder, problem)
            self._keep_what_fits()
            return
        log.warning("%s; what is logged is kept in %s and sent later", why, spool.path)
        self._spool = spool
        self._harvest()
        self._spool_requests()

    def _spool_requests(self) -> None:
        if self._spool is None:
            return
        try:
            self._spool.append(self._requests)
        except OSError as problem:
            self._cant_spool(self._spool.path, problem)
            self._keep_what_fits()
        else:
            self._requests.clear()

    def _cant_spool(self, path: Path, problem: OSError) -> None:
        text = (
            f"{path} can't be written ({problem}); what is logged stays in memory; MODELRY_SPOOL_DIR says where it goes"
        )
        self.warn("spool", "", text)

    def _keep_what_fits(self) -> None:
        """Drops the newest points once memory is full and the disk takes nothing: training must go on."""
        self._harvest()
        points = self._points()
        while self._requests and points > self._settings.buffer_points:
            dropped = self._requests.pop()
            points -= dropped.points
            self.warn("memory", "", f"{dropped.points} points: memory and spool are full")

    def _rescue(self) -> None:
        """Spools everything in place of the thread, which hangs in a call, as gRPC may after a fork."""
        if self._spool is None:
            self._go_offline("a call to the server does not come back")
        self._say_what_is_left()

    def _say_what_is_left(self) -> None:
        self._harvest()
        self._spool_requests()
        under_way = self._spool.requests_left if self._spool is not None else len(self._delivery.unanswered)
        left = len(self._requests) + under_way
        if left and self._spool is not None:
            log.warning(
                "%d requests are not delivered and kept in %s; send them with `modelry sync`", left, self._spool.path
            )
        elif left:
            log.warning("%d requests are lost: neither the server nor the spool could take them", left)
        for kind, counts in self._warned.items():
            if counts.total() > len(counts) or _OTHERS in counts:
                told = ", ".join(f"{key} {count} time{'s' * (count > 1)}".strip() for key, count in counts.items())
                log.warning("not recorded in all, %s: %s", kind, told)
