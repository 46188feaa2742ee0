"""What is done after a call has returned: one thread does it, in the order in which it was given.

Autologging makes plots and packages models so, while the training code goes on. `modelry.flush`, the end of a run, the
reads of runs and the end of the process wait for it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from modelry._sdk.transport import process
from modelry._sdk.transport.interruptions import is_interrupted
from modelry._sdk.values import signals

log = logging.getLogger("modelry")

_IMPORTING = "<frozen importlib._bootstrap>"
_LOOKS_EVERY = 0.1

MOST_WAITING = 16
"""With so many jobs waiting, who gives another waits for the first: each keeps a model in memory."""


class Afterwork(process.Part):
    """The jobs of this process that wait or are at work.

    They are done at once in a forked child, which may end at any time, and while the caller imports a module: a job in
    another thread that needs that module would wait for the caller, and the caller for the job.
    """

    def __init__(self) -> None:
        self._pending: dict[Future[None], str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._at_once = process.current().inherits_grpc
        self._inside = threading.local()

    def give(self, run_id: str, job: Callable[[], None]) -> None:
        """Has a job done that works on a run. What it raises is told in the log."""
        if self.is_at_once():
            self._do(job)
            return
        pending = list(self._pending)
        if len(pending) >= MOST_WAITING:
            wait(pending[:1])
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

    def is_at_once(self) -> bool:
        """Whether a job would be done by who gives it, as also what is given by a job."""
        return self._at_once or getattr(self._inside, "job", False) or _is_importing()

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

    def at_exit(self) -> None:
        """Waits for the jobs, until Ctrl-C. Children of `multiprocessing` come here before their threads are joined."""
        while not self.finish(_LOOKS_EVERY) and not is_interrupted():
            pass

    def abandon(self) -> None:
        """Leaves out what has not begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, job: Callable[[], None]) -> None:
        outer, self._inside.job = getattr(self._inside, "job", False), True
        try:
            job()
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            log.warning("something was not logged: %s: %.300s", type(problem).__name__, problem, exc_info=_at_debug())
        finally:
            self._inside.job = outer


def _is_importing() -> bool:
    """Whether this thread imports a module of Python, whose code has called this."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_filename == _IMPORTING:
            return True
    return False


def _at_debug() -> bool:
    return log.isEnabledFor(logging.DEBUG)


def give(run_id: str, job: Callable[[], None]) -> None:
    """Has a job done after the call; see `Afterwork.give`."""
    process.current().part(Afterwork).give(run_id, job)


def is_at_once() -> bool:
    """Whether a job would be done by who gives it; see `Afterwork`."""
    return process.current().part(Afterwork).is_at_once()


def finish(timeout: float | None = None, *, run_id: str | None = None) -> bool:
    """Waits for jobs; see `Afterwork.finish`."""
    return process.current().part(Afterwork).finish(timeout, run_id=run_id)
