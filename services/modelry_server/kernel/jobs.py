"""Background jobs, which run from time to time. Each must be idempotent."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelry_server.kernel.errors import ModelryError
from modelry_server.kernel.telemetry import Log

_log = Log("jobs")


@dataclass(frozen=True, slots=True)
class Job:
    """What to run every `interval_s` seconds.

    If `run` fails, this is logged, at most once a minute, and the next turn comes as usual. `interrupt` ends a run that
    would take long, such as one that waits for news.
    """

    name: str
    interval_s: float
    run: Callable[[], object]
    interrupt: Callable[[], object] = lambda: None


class JobLoop:
    """Runs each job on a thread of its own until it is stopped."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._stopped = threading.Event()
        self._jobs = jobs
        self._threads = [threading.Thread(target=self._loop, args=(job,), name=job.name, daemon=True) for job in jobs]

    def start(self) -> None:
        """Starts the threads. Each job runs for the first time after its interval."""
        for thread in self._threads:
            thread.start()

    def stop(self, until: float | None = None) -> None:
        """Stops the jobs. Waits for those that are running, at most until this reading of `time.monotonic()`."""
        self._stopped.set()
        for job in self._jobs:
            job.interrupt()
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def at_work(self) -> list[str]:
        """The names of the jobs whose threads have not ended."""
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _loop(self, job: Job) -> None:
        while not self._stopped.wait(job.interval_s):
            try:
                job.run()
            except ModelryError as error:  # such as a database that does not answer
                _log.seldom("job.failed", per=job.name, job=job.name, reason=error.reason, message=error.message)
            except Exception:
                _log.seldom("job.failed", per=job.name, trace=True, job=job.name)
