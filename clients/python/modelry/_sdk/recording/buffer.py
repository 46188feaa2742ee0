"""What was logged to one run and is not taken yet. This is all that a training loop touches."""

from __future__ import annotations

import logging
import reprlib
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from modelry._sdk.recording import ids
from modelry._sdk.recording.queued import CREATE_RUN, LOG_BATCH, START_RUN, WRITE_METRICS, QueuedRequest
from modelry._sdk.values.moments import USUAL, milliseconds_of, unit_of
from modelry._sdk.values.numbers import number_of, real_of, whole_of
from modelry._sdk.values.plain import members_of
from modelry._sdk.values.texts import text_of
from modelry.api.tracking.v1.metric_service_pb2 import WriteMetricsRequest
from modelry.api.tracking.v1.run_service_pb2 import LogBatchRequest

log = logging.getLogger("modelry")

FULL = 10_000
"""The number of points at which the recorder is woken at once."""
POINTS_PER_BATCH = 30_000
KEYS_PER_BATCH = 1_000
TEXT_PER_BATCH = 1 << 20
_KEY_LENGTH = 250

Columns: TypeAlias = "tuple[array[int], array[int], array[float]]"
_WANTED = "log a number, at a whole number as step, with milliseconds since 1970 or a datetime as time"
_now = time.time_ns
_EARLIEST, _LATEST = USUAL.start, USUAL.stop


class Buffer:
    """Collects what is logged to a run. Every method returns at once and raises nothing.

    `wake(buffer, urgent)` is called for the first entry after each `take`, and with `urgent` once there are many.
    `refuse(kind, key, text)` is called for what can't be recorded.
    """

    def __init__(
        self, run_id: str, wake: Callable[[Buffer, bool], None], refuse: Callable[[str, str, str], None]
    ) -> None:
        self.run_id = run_id
        self.points = 0
        self.ended = False
        self._wake = wake
        self._refuse = refuse
        self._told_units: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Forgets everything and becomes another writer. A forked child does this: the parent sends what was there."""
        self._lock = threading.Lock()
        self._columns: dict[str, Columns] = {}
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._requests: list[QueuedRequest] = []
        self.points = 0
        self._writer_id = ids.writer_id()
        self._batch_number = 0

    def log_metric(
        self, key: str, value: float, step: int | None = None, timestamp: int | float | datetime | None = None
    ) -> None:
        """Adds a point. Default step: 0. Default time (milliseconds since 1970, or a datetime): now.

        A key that is no text becomes one. A time in another unit is taken in that unit, see `milliseconds_of`.
        """
        if timestamp is not None:
            timestamp = self._moment(timestamp)
        with self._lock:
            try:
                columns = self._columns.get(key) or self._open(key)
                columns[2].append(value if type(value) is float else real_of(value))
                columns[0].append(0 if step is None else step)
                columns[1].append(_now() // 1_000_000 if timestamp is None else timestamp)  # type: ignore[arg-type]
            except Exception as problem:  # A value of another library may raise anything.
                self._mend(key)
                reason = str(problem) or type(problem).__name__
            else:
                self.points = points = self.points + 1
                if points != 1 and points != FULL:
                    return
                reason = ""
        if not reason:
            self._wake(self, points == FULL)
            return
        plain = text_of(key), number_of(value), whole_of(step)
        if plain[0] is not key or plain[1] is not value or plain[2] is not step:
            self.log_metric(*plain, timestamp)
            return
        time = "" if timestamp is None else f" and time {reprlib.repr(timestamp)}"
        name = reprlib.repr(key)
        said = f"metric {name} with value {reprlib.repr(value)} at step {reprlib.repr(step)}{time}: {reason}"
        self._refuse("metric", name, f"{said}; {_WANTED}")

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None, timestamp: int | float | datetime | None
    ) -> None:
        """Adds a point of each metric, with the same step and time; see `log_metric`."""
        moment = _now() // 1_000_000 if timestamp is None else timestamp
        for key, value in self._members("metrics", metrics):
            self.log_metric(key, value, step, moment)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Adds params. If one gets another value than before, both are sent, and the server refuses the second."""
        texts = [(text_of(key), text_of(value)) for key, value in self._members("params", params)]
        with self._lock:
            for name, text in texts:
                if self._params.get(name, text) != text:
                    self._close_texts()
                self._params[name] = text
        self._wake(self, False)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags. The last value of each counts."""
        texts = {text_of(key): text_of(value) for key, value in self._members("tags", tags)}
        with self._lock:
            self._tags.update(texts)
        self._wake(self, False)

    def add(self, request: QueuedRequest, *, urgent: bool = False) -> None:
        """Adds a request, which is sent after everything that was logged before."""
        with self._lock:
            self._close_texts()
            self._requests.append(request)
        self._wake(self, urgent)

    def take(self) -> list[QueuedRequest]:
        """Takes everything out, as requests in the order in which they must be sent. For the recorder's thread only.

        Points come first, except that a request which creates the run stays before them.
        """
        with self._lock:
            columns, self._columns = self._columns, {}
            self._close_texts()
            requests, self._requests = self._requests, []
            self.points = 0
        batches = list(map(self._numbered, _batches(columns)))
        start = 1 if requests and requests[0].method in (START_RUN, CREATE_RUN) else 0
        return [*requests[:start], *batches, *requests[start:]]

    def _members(self, argument: str, given: Any) -> list[tuple[Any, Any]]:
        """The keys and values of a mapping or a configuration object; none if it has none, which is told."""
        try:
            return members_of(argument, given)
        except Exception as problem:  # The object of another library may raise anything.
            self._refuse(argument, type(given).__name__, str(problem) or type(problem).__name__)
            return []

    def _moment(self, given: Any) -> Any:
        """The milliseconds of a time, with a warning if the caller took another unit; else what was given."""
        if type(given) is int and _EARLIEST <= given < _LATEST:
            return given
        moment = milliseconds_of(given)
        if (unit := unit_of(given)) and unit not in self._told_units:
            self._told_units.add(unit)
            log.warning(
                "the time %r of a point is taken as %s, which is %s; give milliseconds since 1970, or a datetime",
                *(given, unit, datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")),
            )
        return moment

    def _numbered(self, batch: list[tuple[str, array[int], array[int], array[float]]]) -> QueuedRequest:
        self._batch_number += 1
        message = WriteMetricsRequest(run_id=self.run_id, writer_id=self._writer_id, batch_number=self._batch_number)
        points = 0
        for key, steps, times_ms, values in batch:
            message.metrics.add(key=key, steps=steps, times_ms=times_ms, values=values)
            points += len(values)
        return QueuedRequest(WRITE_METRICS, message.SerializeToString(), points=points)

    def _open(self, key: str) -> Columns:
        if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH:
            raise ValueError(f"a metric key must have 1 to {_KEY_LENGTH} characters")
        key.encode()
        columns = self._columns[key] = (array("q"), array("q"), array("d"))
        return columns

    def _mend(self, key: object) -> None:
        """Cuts the columns of a key to equal length after one of them refused its entry."""
        columns = self._columns.get(key) if isinstance(key, str) else None
        if columns is None:
            return
        whole = min(len(columns[0]), len(columns[1]), len(columns[2]))
        for column in columns:
            del column[whole:]
        if not whole:
            del self._columns[key]  # type: ignore[arg-type]

    def _close_texts(self) -> None:
        """Turns pending params and tags into requests; needs the lock."""
        if not self._params and not self._tags:
            return
        texts = [("params", *pair) for pair in self._params.items()] + [("tags", *pair) for pair in self._tags.items()]
        self._params, self._tags = {}, {}
        for part in _text_batches(texts):
            message = LogBatchRequest(run_id=self.run_id)
            for field, key, text in part:
                getattr(message, field)[key] = text
            self._requests.append(QueuedRequest(LOG_BATCH, message.SerializeToString()))


def _batches(columns: Mapping[str, Columns]) -> Iterator[list[tuple[str, array[int], array[int], array[float]]]]:
    batch: list[tuple[str, array[int], array[int], array[float]]] = []
    room = POINTS_PER_BATCH
    for key, (steps, times_ms, values) in columns.items():
        start = 0
        while start < len(values):
            stop = min(len(values), start + room)
            if start == 0 and stop == len(values):
                batch.append((key, steps, times_ms, values))
            else:
                batch.append((key, steps[start:stop], times_ms[start:stop], values[start:stop]))
            room -= stop - start
            start = stop
            if not room or len(batch) == KEYS_PER_BATCH:
                yield batch
                batch, room = [], POINTS_PER_BATCH
    if batch:
        yield batch


def _text_batches(texts: list[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    part: list[tuple[str, str, str]] = []
    size = 0
    for entry in texts:
        length = len(entry[1].encode()) + len(entry[2].encode())
        if part and (size + length > TEXT_PER_BATCH or len(part) == KEYS_PER_BATCH):
            yield part
            part, size = [], 0
        part.append(entry)
        size += length
    if part:
        yield part
