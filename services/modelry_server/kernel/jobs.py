"""What happens in the background: jobs that run from time to time, each idempotent."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelry_server.kernel.telemetry import Log

_log = Log("jobs")


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run every `interval_s` seconds. `run` may fail: it is logged and tried again at the next turn."""

    name: str
    interval_s: float
    run: Callable[[], object]


class JobLoop:
    """Runs jobs, each on a thread of its own, until it is stopped."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(job,), name=job.name, daemon=True) for job in jobs]

    def start(self) -> None:
        """Begins; each job runs for the first time after its interval."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends; waits for jobs that are at work."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, job: Job) -> None:
        while not self._stopped.wait(job.interval_s):
            try:
                job.run()
            except Exception:
                _log.error("job.failed", trace=True, job=job.name)
