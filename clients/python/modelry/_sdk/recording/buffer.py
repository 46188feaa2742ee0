"""What was logged to one run and is not taken yet. This is all that a training loop touches."""

from __future__ import annotations

import itertools
import logging
import reprlib
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from struct import Struct
from typing import Any, TypeAlias

from modelry._sdk.spooling import ids
from modelry._sdk.spooling.queued import CREATE_RUN, LOG_BATCH, START_RUN, WRITE_METRICS, QueuedRequest
from modelry._sdk.values import signals
from modelry._sdk.values.moments import USUAL, milliseconds_of, unit_of
from modelry._sdk.values.numbers import number_of, real_of, whole_of
from modelry._sdk.values.plain import members_of
from modelry._sdk.values.texts import said_of, shown, text_of
from modelry.api.tracking.v1.metric_service_pb2 import WriteMetricsRequest
from modelry.api.tracking.v1.run_service_pb2 import LogBatchRequest

log = logging.getLogger("modelry")

FULL = 10_000
"""The number of points at which the recorder is woken at once."""
POINTS_PER_BATCH = 30_000
KEYS_PER_BATCH = 1_000
TEXT_PER_BATCH = 1 << 20
_KEY_LENGTH = 250

Columns: TypeAlias = "tuple[str, array[int], array[int], array[float]]"
Entry: TypeAlias = "tuple[str, str, str] | QueuedRequest"
_ROW = Struct("=qqd")
"""A point as the buffer keeps it: step, time and value in 24 bytes."""
_pack = _ROW.pack
_WANTED = "log a number, at a whole number as step, with milliseconds since 1970 or a datetime as time"
_now = time.time_ns
_EARLIEST, _LATEST = USUAL.start, USUAL.stop


class Buffer:
    """Collects what is logged to a run. Every method returns at once and raises nothing.

    There is no lock, because a signal may interrupt a thread anywhere, and its handler may log, flush and end the run.
    What is logged is put in place by one call of C, which no signal divides: the bytes of a point at the end of the
    rows of its key, or an entry at the end of the entries. The recorder's thread takes both from the front, and turns
    the rows into columns.

    `wake(buffer, urgent)` is called for the first entry after each `move_to`, and with `urgent` once there are many.
    `refuse(kind, key, text)` is called for what can't be recorded.
    """

    def __init__(
        self, run_id: str, wake: Callable[[Buffer, bool], None], refuse: Callable[[str, str, str], None]
    ) -> None:
        self.run_id = run_id
        self.ended = False
        self._wake = wake
        self._refuse = refuse
        self._told_units: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Forgets everything and becomes another writer. A forked child does this: the parent sends what was there."""
        self._rows: dict[str, bytearray] = {}
        self._entries: deque[Entry] = deque()
        self.told = False
        """Whether the recorder knows that there is something to take."""
        self._count = 0
        self._writer_id = ids.writer_id()
        self._batch_number = 0

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        return bool(self._entries) or any(list(self._rows.values()))

    @property
    def points(self) -> int:
        """The number of points that are not taken."""
        return sum(map(len, list(self._rows.values()))) // _ROW.size

    def log_metric(
        self, key: str, value: float, step: int | None = None, timestamp: int | float | datetime | None = None
    ) -> None:
        """Adds a point. Default step: 0. Default time (milliseconds since 1970, or a datetime): now.

        A key that is no text becomes one. A time in another unit is taken in that unit, see `milliseconds_of`.
        """
        if timestamp is not None:
            timestamp = self._moment(timestamp)
        try:
            row = _pack(
                0 if step is None else step,
                _now() // 1_000_000 if timestamp is None else timestamp,
                value if type(value) is float else real_of(value),
            )
            (self._rows.get(key) or self._open(key)).extend(row)
        except MemoryError:
            with suppress(MemoryError):
                self._refuse("metric", "", "a point, because there is no memory for it")
            return
        except Exception as problem:  # A value of another library may raise anything.
            signals.pass_on(problem)
            self._log_converted(key, value, step, timestamp)
            return
        self._count = count = self._count + 1
        if not self.told or count == FULL:
            self._tell(count == FULL)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None, timestamp: int | float | datetime | None
    ) -> None:
        """Adds a point of each metric, with the same step and time; see `log_metric`."""
        moment = _now() // 1_000_000 if timestamp is None else timestamp
        for key, value in self._members("metrics", metrics):
            self.log_metric(key, value, step, moment)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Adds params. If one gets another value than before, both are sent, and the server refuses the second."""
        self._add_texts("params", params)

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags. The last value of each counts."""
        self._add_texts("tags", tags)

    def add(self, request: QueuedRequest, *, urgent: bool = False) -> None:
        """Adds a request, which is sent after everything that was logged before."""
        self._entries.append(request)
        self._tell(urgent)

    def move_to(self, queue: deque[QueuedRequest]) -> None:
        """Moves everything to the end of a queue, as requests in the order in which they must be sent.

        Points come first, except that a request which creates the run stays before them. If it fails, for lack of
        memory, everything stays here. For the recorder's thread only.
        """
        self.told = False
        self._count = 0
        # Until no entry came after the rows were looked at: then no point is without the start that came before it, and
        # no entry is without the points that came before it.
        while True:
            count = len(self._entries)
            ready = [(key, rows, len(rows)) for key, rows in list(self._rows.items()) if rows]
            if len(self._entries) == count:
                break
        batches = list(map(self._numbered, _batches(map(_columns, ready)), itertools.count(self._batch_number + 1)))
        requests = _requests(self.run_id, list(itertools.islice(self._entries, count)))
        start = 1 if requests and requests[0].method in (START_RUN, CREATE_RUN) else 0
        before = len(queue)
        try:
            queue.extend([*requests[:start], *batches, *requests[start:]])
        except BaseException:
            while len(queue) > before:
                queue.pop()
            raise
        self._batch_number += len(batches)
        for _ in range(count):
            self._entries.popleft()
        for _, rows, length in ready:
            del rows[:length]  # what was added meanwhile stays

    def _add_texts(self, field: str, texts: Mapping[str, object]) -> None:
        self._entries.extend([(field, text_of(key), text_of(text)) for key, text in self._members(field, texts)])
        self._tell(False)

    def _tell(self, urgent: bool) -> None:
        """Wakes the recorder, unless it knows already."""
        if self.told and not urgent:
            return
        try:
            self.told = True
            self._wake(self, urgent)
        except BaseException:  # Ctrl-C: the next entry wakes it.
            self.told = False
            raise

    def _open(self, key: str) -> bytearray:
        rows = self._rows.get(key)
        if rows is None:
            if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH:
                raise ValueError(f"a metric key must have 1 to {_KEY_LENGTH} characters")
            key.encode()
            rows = self._rows.setdefault(key, bytearray())
        return rows

    def _log_converted(self, key: Any, value: Any, step: Any, timestamp: Any) -> None:
        """Adds a point of what is a number only for people, or says why it is none."""
        plain = text_of(key), number_of(value), whole_of(step)
        if plain[0] is not key or plain[1] is not value or plain[2] is not step:
            self.log_metric(*plain, timestamp)
            return
        time = "" if timestamp is None else f" and time {shown(timestamp, reprlib.repr)}"
        name = shown(key, reprlib.repr)
        said = f"metric {name} with value {shown(value, reprlib.repr)} at step {shown(step, reprlib.repr)}{time}"
        self._refuse("metric", name, f"{said}: {self._reason(key, value, step, timestamp)}; {_WANTED}")

    def _reason(self, key: Any, value: Any, step: Any, timestamp: Any) -> str:
        try:
            self._open(key)
            array("d").append(real_of(value))
            array("q").append(0 if step is None else step)
            array("q").append(0 if timestamp is None else timestamp)
        except Exception as problem:  # A value of another library may raise anything.
            signals.pass_on(problem)
            return said_of(problem)
        return "it can't be read"

    def _members(self, argument: str, given: Any) -> list[tuple[Any, Any]]:
        """The keys and values of a mapping or a configuration object; those that can't be read are told."""

        def unreadable(key: Any, problem: Exception) -> None:
            name = shown(key, reprlib.repr)
            self._refuse(argument, name, f"{argument}: the value of {name} can't be read: {said_of(problem)}")

        try:
            return members_of(argument, given, unreadable)
        except Exception as problem:  # The object of another library may raise anything.
            signals.pass_on(problem)
            self._refuse(argument, type(given).__name__, said_of(problem))
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

    def _numbered(self, batch: list[Columns], number: int) -> QueuedRequest:
        message = WriteMetricsRequest(run_id=self.run_id, writer_id=self._writer_id, batch_number=number)
        points = 0
        for key, steps, times_ms, values in batch:
            message.metrics.add(key=key, steps=steps, times_ms=times_ms, values=values)
            points += len(values)
        return QueuedRequest(WRITE_METRICS, message.SerializeToString(), points=points, number=number)


def _columns(ready: tuple[str, bytearray, int]) -> Columns:
    """The first bytes of the rows of a key as columns."""
    key, rows, length = ready
    taken = rows[:length]
    whole, values = array("q", taken), array("d", taken)
    return key, whole[0::3], whole[1::3], values[2::3]


def _batches(columns: Iterable[Columns]) -> Iterator[list[Columns]]:
    batch: list[Columns] = []
    room = POINTS_PER_BATCH
    for key, steps, times_ms, values in columns:
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


def _requests(run_id: str, entries: Iterable[Entry]) -> list[QueuedRequest]:
    """The entries in their order, with texts that follow each other in as few requests as possible.

    A tag counts with its last value. A param that gets another value begins a new request.
    """
    requests: list[QueuedRequest] = []
    texts: dict[tuple[str, str], str] = {}
    for entry in entries:
        if isinstance(entry, QueuedRequest):
            requests += _text_requests(run_id, texts)
            requests.append(entry)
            texts = {}
            continue
        field, key, text = entry
        if field == "params" and texts.get((field, key), text) != text:
            requests += _text_requests(run_id, texts)
            texts = {}
        texts[field, key] = text
    return requests + _text_requests(run_id, texts)


def _text_requests(run_id: str, texts: Mapping[tuple[str, str], str]) -> list[QueuedRequest]:
    requests = []
    for part in _text_batches([(field, key, text) for (field, key), text in texts.items()]):
        message = LogBatchRequest(run_id=run_id)
        for field, key, text in part:
            getattr(message, field)[key] = text
        requests.append(QueuedRequest(LOG_BATCH, message.SerializeToString()))
    return requests


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
