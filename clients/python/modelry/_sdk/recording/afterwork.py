"""What is done after a call has returned: one thread does it, in the order in which it was given.

Autologging makes plots and packages models so, while the training code goes on. `modelry.flush`, the end of a run, the
reads of runs and the end of the process wait for it. So does whoever writes a file where one of the jobs may write one.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from modelry._sdk.files.paths import meet
from modelry._sdk.transport import process
from modelry._sdk.transport.interruptions import is_interrupted
from modelry._sdk.values import signals

log = logging.getLogger("modelry")

_IMPORTING = "<frozen importlib._bootstrap>"
_LOOKS_EVERY = 0.1
_TELLS_AFTER = 5.0
_LONGEST_WAIT = 60.0

MOST_WAITING = 16
"""With so many jobs waiting, who gives another waits for the first: each keeps a model in memory."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that was given: for which run, and which files of it it may write."""

    run_id: str
    files: Collection[str] | None

    def writes(self, paths: Collection[str]) -> bool:
        """Whether it may write a file at, above or below one of the paths."""
        if self.files is None:
            return True
        return any(meet(one, other) for one in self.files for other in paths)


class Afterwork(process.Part):
    """The jobs of this process that wait or are at work.

    They are done at once in a forked child, which may end at any time, and while the caller imports a module: a job in
    another thread that needs that module would wait for the caller, and the caller for the job.
    """

    def __init__(self) -> None:
        self._pending: dict[Future[None], _Job] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._at_once = process.current().inherits_grpc
        self._inside = threading.local()

    def give(self, run_id: str, job: Callable[[], None], *, files: Collection[str] | None = None) -> None:
        """Has a job done that works on a run. What it raises is told in the log.

        `files` are the files and folders of the run that it may write. Default: any.
        """
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
        self._pending[future] = _Job(run_id, files)
        future.add_done_callback(lambda done: self._pending.pop(done, None))

    def is_at_once(self) -> bool:
        """Whether a job would be done by who gives it, as also what is given by a job."""
        return self._at_once or self.is_inside or _is_importing()

    def finish(
        self, timeout: float | None = None, *, run_id: str | None = None, paths: Collection[str] | None = None
    ) -> bool:
        """Waits until the jobs that were given before are done, or those of a run, or those that write at paths of it.

        Returns whether they are.
        """
        if self.is_inside or not self._pending:
            return True
        given = list(self._pending.items())
        of_run = [(future, job) for future, job in given if run_id in (None, job.run_id)]
        pending = [future for future, job in of_run if paths is None or job.writes(paths)]
        return not pending or not wait(pending, timeout).not_done

    def catch_up(self, run_id: str | None, paths: Collection[str] | None) -> None:
        """Waits as `finish` does, for who reads or writes.

        Not for ever, as the caller may hold a lock that a job needs, such as that of a handler of `logging`.
        """
        if getattr(self._inside, "waits", False) or self.finish(_TELLS_AFTER, run_id=run_id, paths=paths):
            return
        self._inside.waits = True
        try:
            log.warning("waiting for what autologging still does, for at most %.0f s", _LONGEST_WAIT)
            if not self.finish(_LONGEST_WAIT, run_id=run_id, paths=paths):
                log.warning("autologging is not done yet; what it writes may come later than the rest")
        finally:
            self._inside.waits = False

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

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Makes what this thread does meanwhile part of a job, which waits for no job."""
        outer, self._inside.job = self.is_inside, True
        try:
            yield
        finally:
            self._inside.job = outer

    @property
    def is_inside(self) -> bool:
        """Whether this thread does a job."""
        return getattr(self._inside, "job", False)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            with self.inside():
                job()
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            log.warning("something was not logged: %s: %.300s", type(problem).__name__, problem, exc_info=_at_debug())


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


def give(run_id: str, job: Callable[[], None], *, files: Collection[str] | None = None) -> None:
    """Has a job done after the call; see `Afterwork.give`."""
    process.current().part(Afterwork).give(run_id, job, files=files)


def inside() -> contextlib.AbstractContextManager[None]:
    """Makes what this thread does part of a job; see `Afterwork.inside`."""
    return process.current().part(Afterwork).inside()


def is_at_once() -> bool:
    """Whether a job would be done by who gives it; see `Afterwork`."""
    return process.current().part(Afterwork).is_at_once()


def finish(timeout: float | None = None, *, run_id: str | None = None, paths: Collection[str] | None = None) -> bool:
    """Waits for jobs; see `Afterwork.finish`."""
    return process.current().part(Afterwork).finish(timeout, run_id=run_id, paths=paths)


def catch_up(run_id: str | None, paths: Collection[str] | None) -> None:
    """Waits for jobs, not for ever; see `Afterwork.catch_up`."""
    process.current().part(Afterwork).catch_up(run_id, paths)


def is_inside() -> bool:
    """Whether this thread does a job, which must not wait for itself."""
    return process.current().part(Afterwork).is_inside
