"""Says to the server that this process is alive, for its open runs: one call after each period, by a thread of its own.

So a delivery that waits holds up no heartbeat, and no heartbeat holds up what is logged, or the exit. A run that the
server does not know yet is named all the same: it counts from when it is delivered.

A forked child says nothing of its parent's runs, whatever it logs to them: they are those of the parent, who ends them.
Of runs that it starts itself it says so if it can use gRPC.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from modelry._sdk.transport import interruptions
from modelry._sdk.transport.connection import Connection

log = logging.getLogger("modelry")
_random = random.SystemRandom()  # those of `random` are the training code's

_AT_ONCE = 1000
"""How many runs one call may name."""
_SHORTEST_PAUSE = 1.0
_LONGEST_CALL = 10.0


class Heartbeats:
    """The heartbeats of a recorder. It takes no lock and raises nothing: a signal handler may start and end runs.

    `period` is in seconds; 0 for none. `sends` says whether this process can call the server.
    """

    def __init__(self, connection: Connection, period: float, *, sends: bool) -> None:
        self._connection = connection
        self._period = period
        self._sends = sends and period > 0
        self._runs: dict[str, None] = {}
        self._news: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, run_id: str) -> None:
        """Begins the heartbeats of a run: the first one at once, but at most one call a second."""
        if not self._sends:
            return
        self._runs[run_id] = None
        self._start()
        self._news.put(None)

    def remove(self, run_id: str) -> None:
        """Ends the heartbeats of a run."""
        self._runs.pop(run_id, None)

    def end(self) -> None:
        """Ends all heartbeats, and the thread."""
        self._runs.clear()
        self._thread = None
        self._news.put(None)

    def _start(self) -> None:
        """Starts the thread unless there is one. Where none can be started, the next run tries again."""
        if self._thread is not None and self._thread.is_alive():
            return
        # Two threads may come here at once, or one and its signal handler: all but one of the new threads do nothing.
        thread = threading.Thread(target=self._run, name="modelry-heartbeats", daemon=True)
        before, self._thread = self._thread, thread
        if problem := interruptions.start(thread):
            self._thread = before
            log.debug("no thread for heartbeats: %s", problem)

    def _run(self) -> None:
        begun, due = -_SHORTEST_PAUSE, 0.0
        while self._thread is threading.current_thread():
            wait = max(0.0, due - time.monotonic()) if self._runs else None
            with suppress(Empty):
                self._news.get(timeout=wait)
                due = min(due, begun + _SHORTEST_PAUSE)
            now = time.monotonic()
            if not self._runs or now < due or self._thread is not threading.current_thread():
                continue
            begun = now
            # Not all processes of a job at the same time.
            pause = self._period * _random.uniform(0.9, 1.0) if self._say() else max(_SHORTEST_PAUSE, self._period / 4)
            due = begun + pause

    def _say(self) -> bool:
        """Names all open runs to the server, also those after a call that fails; says whether it has heard of all."""
        run_ids = list(self._runs)
        said = [self._say_of(run_ids[first : first + _AT_ONCE]) for first in range(0, len(run_ids), _AT_ONCE)]
        return all(said)

    def _say_of(self, run_ids: list[str]) -> bool:
        """Names some runs in one call; says whether the server has heard of them."""
        try:
            from modelry.api.tracking import v1 as tracking

            request = tracking.LogHeartbeatsRequest(run_ids=run_ids)
            request.period.FromMilliseconds(round(self._period * 1000))
            timeout = min(_LONGEST_CALL, self._period)
            answer = self._connection.call(tracking.rpcs.LOG_HEARTBEATS, request, timeout=timeout)
            if answer.denied_run_ids:
                log.debug("no heartbeats of runs that may not be changed: %s", ", ".join(answer.denied_run_ids))
        except Exception as problem:  # It is tried again, and the run is running again if it was lost meanwhile.
            log.debug("no heartbeat: %s", problem)
            return False
        return True
