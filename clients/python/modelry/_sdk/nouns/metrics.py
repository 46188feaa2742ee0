"""Series of metric points, as columns from end to end."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.arguments import exact_text
from modelry._sdk.transport import unfinished
from modelry._sdk.transport.answers import malformed
from modelry._sdk.transport.connection import Connection
from modelry._sdk.values.moments import USUAL, milliseconds_of
from modelry._sdk.values.numbers import number_of, whole_of
from modelry.api.tracking import v1 as tracking
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer


_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """The points of one metric: the entries with the same index are one point.

    Steps and times (milliseconds since 1970) are `array('q')`, values are `array('d')`. NumPy reads them without a copy
    with `numpy.frombuffer(columns.values)`. `point_count` is the number of points of the series, before
    downsampling if the server has downsampled it.
    """

    key: str
    steps: array[int]
    times_ms: array[int]
    values: array[float]
    point_count: int

    def __len__(self) -> int:
        """The number of points here."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """A summary of a metric. The last point has the highest (step, time, value); min and max ignore NaN."""

    key: str
    last_value: float
    last_step: int
    last_time_ms: int
    first_value: float
    first_step: int
    first_time_ms: int
    min_value: float | None
    min_step: int | None
    max_value: float | None
    max_step: int | None
    point_count: int


class Summaries(Mapping[str, MetricSummary]):
    """The summaries of a run by key. Each is made when it is read, because a page of runs has thousands."""

    def __init__(self, messages: Iterable[tracking.MetricSummary]) -> None:
        self._messages = tuple(messages)

    def last_values(self) -> dict[str, float]:
        """The last value of each metric."""
        return {message.key: message.last_value for message in self._messages}

    def __getitem__(self, key: str) -> MetricSummary:
        """The summary of a metric."""
        return summary_of(self._by_key[key])

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        return iter(self._by_key)

    def __len__(self) -> int:
        """The number of metrics."""
        return len(self._messages)

    def __eq__(self, other: object) -> bool:
        """Whether the other mapping has the same summaries."""
        return isinstance(other, Mapping) and dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _by_key(self) -> dict[str, tracking.MetricSummary]:
        return {message.key: message for message in self._messages}


class Point(NamedTuple):
    """One point of a metric. The time is in milliseconds since 1970, or a datetime."""

    key: str
    value: float
    time: int | datetime
    step: int = 0


Points: TypeAlias = Mapping[str, "MetricColumns | float"] | Iterable[Point | tuple[str, float, int | datetime, int]]
"""Points in any of three forms: columns by key, one value by key, or points one by one as (key, value, time, step)."""


@arguments.texts_checked
class Metrics:
    """Writes and reads series."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection

    def write(self, run_id: str, metrics: Points, *, writer_id: str, batch_number: int) -> int:
        """Adds a numbered batch of points. Returns the number up to which the batches of the writer are committed.

        A writer numbers its batches 1, 2, 3 and so on, and may send any of them again: nothing is written twice. Raises
        RunNotFound, RunDeleted, FieldInvalid, and BatchGap if an earlier batch is missing.
        """
        request = tracking.WriteMetricsRequest(run_id=run_id, writer_id=writer_id, batch_number=batch_number)
        add_columns(request.metrics, metrics)
        return self._connection.call(tracking.rpcs.WRITE_METRICS, request).durable_batch_number

    def read(
        self, run_id: str, key: str, *, max_points: int = 0, min_step: int | None = None, max_step: int | None = None
    ) -> MetricColumns:
        """Reads one series, sorted by (step, time, value). It is empty if the run has no such metric.

        With `max_points` (at least 4) the server downsamples it for plotting. Each part of the series may take as long
        as a call (`MODELRY_TIMEOUT`), and the whole ten minutes. Raises RunNotFound, FieldInvalid, DeadlineExceeded,
        and DataLoss for points that are no answer to this. Without `max_points` a series may have any number of points,
        at 24 bytes each.
        """
        series = self.read_many([run_id], [key], max_points=max_points, min_step=min_step, max_step=max_step)
        for _, columns in series:
            return columns
        return MetricColumns(key, array("q"), array("q"), array("d"), 0)

    def read_many(
        self,
        run_ids: str | Iterable[str],
        keys: str | Iterable[str] = (),
        *,
        max_points: int = 0,
        min_step: int | None = None,
        max_step: int | None = None,
    ) -> Iterator[tuple[str, MetricColumns]]:
        """Streams whole series with the id of their run, run by run and key by key. Without `keys`: all metrics.

        Arguments, limits of time and errors as in `read`. Raises Cancelled if the server ends the stream, as it may
        after some minutes without reading on (`server.idle_limit`): collect the series first if each is long work.
        """
        request = tracking.ReadMetricsRequest(
            run_ids=arguments.listed("run_ids", run_ids),
            keys=arguments.listed("keys", keys),
            max_points=max_points,
            min_step=min_step,
            max_step=max_step,
        )
        for run_id in request.run_ids:
            unfinished.before_reading(run_id)
        answer = _Answer(request)
        run_id = ""
        series: MetricColumns | None = None
        for message in self._connection.read(tracking.rpcs.READ_METRICS, request):
            part = message.columns
            if series is None or (message.run_id, part.key) != (run_id, series.key):
                if series is not None:
                    yield run_id, _counted(series)
                run_id = message.run_id
                answer.begin(run_id, part.key)
                series = MetricColumns(part.key, array("q"), array("q"), array("d"), message.point_count)
            answer.require_points(message, len(series))
            series.steps.extend(array("q", part.steps[:]))
            series.times_ms.extend(array("q", part.times_ms[:]))
            series.values.extend(array("d", part.values[:]))
        if series is not None:
            yield run_id, _counted(series)


class _Answer:
    """Judges the messages of an answer by the contract: else a series could be another one, or have no end."""

    def __init__(self, request: tracking.ReadMetricsRequest) -> None:
        self._run_ids = frozenset(request.run_ids)
        self._keys = frozenset(request.keys)
        self._most = request.max_points
        self._run_id: str | None = None
        self._runs: set[str] = set()
        self._seen: set[str] = set()

    def begin(self, run_id: str, key: str) -> None:
        """A series begins. Raises DataLoss unless it was asked for and is new."""
        if run_id != self._run_id:
            self._run_id, self._seen = run_id, set()
            if run_id not in self._run_ids or run_id in self._runs:
                raise malformed(f"points of the run {run_id[:200]!r}, which were not asked for, or for the second time")
            self._runs.add(run_id)
        if (self._keys and key not in self._keys) or key in self._seen:
            raise malformed(f"points of the metric {key[:200]!r}, which were not asked for, or for the second time")
        self._seen.add(key)

    def require_points(self, message: tracking.ReadMetricsResponse, before: int) -> None:
        """Raises DataLoss unless each point is whole, and there are not more than the answer may have."""
        part = message.columns
        if not len(part.steps) == len(part.times_ms) == len(part.values):
            counts = f"{len(part.steps)} steps, {len(part.times_ms)} times and {len(part.values)} values"
            raise malformed(f"{counts} of the metric {part.key[:200]!r}, which are no points")
        count = before + len(part.values)
        if (self._most and count > self._most) or (message.HasField("point_count") and count > message.point_count):
            raise malformed(f"{count} points of the metric {part.key[:200]!r}, more than it may or says")


def _counted(series: MetricColumns) -> MetricColumns:
    """The series with its number of points, which the server tells of downsampled series only."""
    return series if series.point_count else replace(series, point_count=len(series))


def add_columns(
    target: RepeatedCompositeFieldContainer[tracking.MetricColumns], metrics: Points, *, step: int = 0
) -> None:
    """Appends points to the `metrics` of a request, as columns. Values by key are points of now, at a `step`.

    A key that is no text becomes one. A numeric text, and an array or tensor of one element, counts as its number. The
    time of a point may be a datetime, or in another unit, see `milliseconds_of`. Raises InvalidArgument, with key and
    value, for anything else, before anything is sent.
    """
    if isinstance(metrics, Mapping):
        now = time.time_ns() // 1_000_000
        for given_key, given in metrics.items():
            key = exact_text("metrics", given_key)
            if isinstance(given, MetricColumns):
                target.add(key=key, steps=given.steps, times_ms=given.times_ms, values=given.values)
            else:
                number = _whole_number(key, "step", whole_of(step))
                target.add(key=key, steps=[number], times_ms=[now], values=[_value_of(key, given)])
        return
    columns: dict[str, tuple[list[int], list[int], list[float]]] = {}
    for point in metrics:
        try:
            key, value, moment, at_step = point
        except (TypeError, ValueError):
            raise _no_point(point) from None
        found = columns.get(key) if type(key) is str else None
        if found is None:
            key = exact_text("metrics", key)
            found = columns.setdefault(key, ([], [], []))
        # What needs no conversion, as nearly every point, takes a third of the time without one.
        if type(at_step) is not int or not _LOWEST <= at_step <= _HIGHEST:
            at_step = _whole_number(key, "step", whole_of(at_step))
        if type(moment) is not int or moment not in USUAL:
            moment = _whole_number(key, "time", milliseconds_of(moment))
        found[0].append(at_step)
        found[1].append(moment)
        found[2].append(value if type(value) is float else _value_of(key, value))
    for key, (steps, times_ms, values) in columns.items():
        target.add(key=key, steps=steps, times_ms=times_ms, values=values)


def _no_point(given: object) -> InvalidArgument:
    return InvalidArgument(
        f"a point must be modelry.types.Point, or (key, value, time in milliseconds, step), not {given!r}",
        fields={"metrics": "must be points of four parts"},
    )


def _value_of(key: str, given: object) -> float:
    try:
        return float(number_of(given))
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(
            f"metric {key!r} has the value {given!r}, which is not a number",
            fields={"metrics": f"{key!r} is not a number"},
        ) from None


def _whole_number(key: str, what: str, given: object) -> int:
    if isinstance(given, int) and _LOWEST <= given <= _HIGHEST:
        return given
    raise InvalidArgument(
        f"metric {key!r} has a point with the {what} {given!r}, which is not a whole number of 64 bits",
        fields={"metrics": f"a {what} of {key!r} is not a whole number"},
    )


def summary_of(message: tracking.MetricSummary) -> MetricSummary:
    """The summary that a message holds."""
    has = message.HasField
    return MetricSummary(
        key=message.key,
        last_value=message.last_value,
        last_step=message.last_step,
        last_time_ms=message.last_time_ms,
        first_value=message.first_value,
        first_step=message.first_step,
        first_time_ms=message.first_time_ms,
        min_value=message.min_value if has("min_value") else None,
        min_step=message.min_step if has("min_step") else None,
        max_value=message.max_value if has("max_value") else None,
        max_step=message.max_step if has("max_step") else None,
        point_count=message.point_count,
    )
