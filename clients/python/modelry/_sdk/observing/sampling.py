"""Samples what the machine and this process use while runs are open: one thread, whatever the number of runs.

It never waits for anyone and nobody waits for it: not the start or the end of a run, and not the exit. If the driver of
GPUs hangs, their metrics are missing and the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from statistics import fmean
from typing import TYPE_CHECKING

from modelry._sdk.observing import places
from modelry._sdk.transport import interruptions, process, settings

if TYPE_CHECKING:
    from modelry._sdk.observing.meter import Meter
    from modelry._sdk.recording.buffer import Buffer

log = logging.getLogger("modelry")

_BEGIN_SECONDS = 0.05
_SHORTEST_SECONDS = 0.1
_ALMOST = 0.9
"""The part of a period after which a run is old enough: the clock of the thread is not exact."""


@dataclass(slots=True, eq=False)
class _Watched:
    """A run that is sampled. `began` is its start in seconds since 1970; `since` is when it is sampled from."""

    buffer: Buffer
    began: float
    since: float
    totals: dict[str, float] = field(default_factory=dict)
    taken: list[dict[str, float]] = field(default_factory=list)
    """Samples of which the mean is not logged yet."""


class Sampling(process.Part):
    """The runs of this process that are sampled, and the thread that does it, which starts with the first of them.

    No lock: a signal handler may start a run at any time. Runs come to the thread by a queue of C.
    """

    def __init__(self) -> None:
        self.is_on: bool | None = None
        """Whether new runs are sampled, as the program said. None: as the settings say."""
        self.interval: float | None = None
        """The period in seconds, as the program said. None: that of the settings."""
        self.samples = 1
        """Of how many samples the mean is logged."""
        self.node_id: str | None = None
        """The name of this machine in the names of metrics, as the program said."""
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self._news: SimpleQueue[_Watched | None] = SimpleQueue()
        self._watched: list[_Watched] = []
        self._thread: threading.Thread | None = None

    def watch(self, buffer: Buffer, *, began: float | None = None, wanted: bool | None = None) -> None:
        """Samples a run until it ends, if it is `wanted`; None: as the program or the settings say. Raises nothing."""
        is_on = self.is_on if wanted is None else wanted
        if is_on is None:
            is_on = settings.usable().system_metrics
        if is_on:
            self._news.put(_Watched(buffer, time.time() if began is None else began, time.monotonic()))
            self._start()

    def at_exit(self) -> None:
        """Ends the sampling, without waiting."""
        self._stop()

    def abandon(self) -> None:
        """Ends the thread."""
        self._stop()

    def after_fork_in_child(self) -> None:
        """Forgets the runs: the parent samples those that it has started."""
        self._begin()

    def _stop(self) -> None:
        self._thread = None
        self._news.put(None)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        # Two threads may come here at once, or one and its signal handler: all but one of the new threads do nothing.
        thread = threading.Thread(target=self._run, args=(self._news,), name="modelry-sampling", daemon=True)
        self._thread = thread
        if problem := interruptions.start(thread):
            self._thread = None
            log.debug("no thread for system metrics: %s", problem)

    def _run(self, news: SimpleQueue[_Watched | None]) -> None:
        time.sleep(_BEGIN_SECONDS)  # so that the start of the run is not slowed by what is imported now
        try:
            meter = self._meter()
            if meter is not None:
                self._sample_on(meter, news)
        except Exception:  # nothing of this may reach the program
            log.debug("system metrics are no longer sampled", exc_info=True)

    def _meter(self) -> Meter | None:
        try:
            from modelry._sdk.observing.meter import Meter

            return Meter()
        except ImportError:
            if not self._told:
                self._told = True
                log.info("no system metrics are sampled, because psutil is missing: pip install 'modelry[system]'")
            return None

    def _sample_on(self, meter: Meter, news: SimpleQueue[_Watched | None]) -> None:
        next_at = time.monotonic()
        while self._is_mine():
            with suppress(Empty):
                new = news.get(timeout=max(0.0, next_at - time.monotonic()) if self._watched else None)
                if new is None:
                    return
                if not self._is_mine():
                    news.put(new)
                    return
                if not self._watched:
                    next_at = new.since + self._interval()
                new.totals = meter.totals()
                self._watched.append(new)
                continue
            interval = self._interval()
            next_at = max(next_at + interval, time.monotonic() + interval / 2)  # no burst after a sleep of the machine
            self._watched = [each for each in self._watched if not each.buffer.ended]
            if self._watched:
                self._log(meter, interval)

    def _log(self, meter: Meter, interval: float) -> None:
        """Takes a sample for the runs that are at least a period old, and logs the mean of as many as are wanted."""
        naming = places.Naming.of_process(self.node_id)
        reading = meter.read(all_gpus=naming.is_several)
        now, moment = time.time(), time.monotonic()
        for each in self._watched:
            if moment - each.since < interval * _ALMOST or each.buffer.ended:
                continue
            step, stamp = max(0, round(now - each.began)), round(now * 1000)
            totals = {
                name: max(0.0, reading.totals[name] - before)
                for name, before in each.totals.items()
                if name in reading.totals
            }
            each.taken.append(naming.named({**reading.of_node, **totals}, reading.of_process))
            if len(each.taken) < self.samples:
                continue
            for name, value in {**means(each.taken), **naming.named(totals, {})}.items():
                each.buffer.log_metric(name, value, step, stamp)
            each.taken.clear()

    def _interval(self) -> float:
        return max(_SHORTEST_SECONDS, self.interval or settings.usable().system_metrics_interval)

    def _is_mine(self) -> bool:
        return self._thread is threading.current_thread()


def means(samples: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each value over the samples that have it."""
    of_each: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            of_each.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in of_each.items()}
