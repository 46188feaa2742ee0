"""What is done after a call has returned: one thread does it, in the order in which it was given.

Autologging makes plots and packages models so, while the training code goes on. `modelry.flush`, the end of a run, the
reads of runs and the end of the process wait for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from modelry._sdk.transport import process
from modelry._sdk.values import signals

log = logging.getLogger("modelry")

MOST_WAITING = 16
"""With so many jobs waiting, who gives another waits for the first: each keeps a model in memory."""


class Afterwork(process.Part):
    """The jobs of this process that wait or are at work. A forked child does its own at once: it has no such thread."""

    def __init__(self) -> None:
        self._pending: dict[Future[None], str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._at_once = False
        self._inside = threading.local()

    def give(self, run_id: str, job: Callable[[], None]) -> None:
        """Has a job done that works on a run. What it raises is told in the log."""
        pending = list(self._pending)
        if len(pending) >= MOST_WAITING:
            wait(pending[:1])
        if self._at_once:
            self._do(job)
            return
        try:
            if self._pool is None:
                # Python waits for its thread at the end of the process, before it calls what is registered in atexit.
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="modelry-afterwork")
            future = self._pool.submit(self._do, job)
        except RuntimeError:  # no thread can be started, or the process ends
            self._do(job)
            return
        self._pending[future] = run_id
        future.add_done_callback(lambda done: self._pending.pop(done, None))

    def finish(self, timeout: float | None = None, *, run_id: str | None = None) -> bool:
        """Waits until the jobs that were given before are done, or those of a run. Returns whether they are."""
        if getattr(self._inside, "job", False):
            return True
        pending = [future for future, run in list(self._pending.items()) if run_id in (None, run)]
        return not pending or not wait(pending, timeout).not_done

    def after_fork_in_child(self) -> None:
        """Forgets the jobs of the parent, which does them."""
        self._pending, self._pool, self._at_once = {}, None, True
        self._inside = threading.local()

    def abandon(self) -> None:
        """Leaves out what has not begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, job: Callable[[], None]) -> None:
        self._inside.job = True
        try:
            job()
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            log.warning("something was not logged: %s: %.300s", type(problem).__name__, problem, exc_info=_at_debug())
        finally:
            self._inside.job = False


def _at_debug() -> bool:
    return log.isEnabledFor(logging.DEBUG)


def give(run_id: str, job: Callable[[], None]) -> None:
    """Has a job done after the call; see `Afterwork.give`."""
    process.current().part(Afterwork).give(run_id, job)


def finish(timeout: float | None = None, *, run_id: str | None = None) -> bool:
    """Waits for jobs; see `Afterwork.finish`."""
    return process.current().part(Afterwork).finish(timeout, run_id=run_id)
