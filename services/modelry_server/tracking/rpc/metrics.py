"""MetricService: columns in, columns out. There is no message and no object for a single point."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import grpc
import numpy as np

from modelry.api.tracking import v1 as api
from modelry_server.tracking.domain.metrics import Metrics, SeriesPart, SeriesQuery
from modelry_server.tracking.entities import Batch, MetricColumns, MetricSummary

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

MESSAGE_POINTS = 32_768
"""The most points in one message of a stream: about 0.7 MiB."""


class MetricService(api.MetricServiceServicer):
    """Answers calls about series."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def WriteMetrics(self, request: api.WriteMetricsRequest, context: grpc.ServicerContext) -> api.WriteMetricsResponse:
        """Commits a numbered batch."""
        batch = Batch(
            request.run_id, columns(request.metrics), writer_id=request.writer_id, number=request.batch_number
        )
        return api.WriteMetricsResponse(durable_batch_number=self._metrics.write(batch))

    def ReadMetrics(
        self, request: api.ReadMetricsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.ReadMetricsResponse]:
        """Streams series."""
        query = SeriesQuery(
            run_ids=list(request.run_ids),
            keys=list(request.keys),
            max_points=request.max_points,
            min_step=request.min_step if request.HasField("min_step") else None,
            max_step=request.max_step if request.HasField("max_step") else None,
        )
        # Not a loop over parts, which would keep the last one while a slow reader waits.
        return itertools.chain.from_iterable(map(_messages, self._metrics.read(query)))


def _messages(part: SeriesPart) -> Iterator[api.ReadMetricsResponse]:
    """The messages of a part of a series."""
    if len(part.columns) <= MESSAGE_POINTS:
        return iter((_message(part, slice(None)),))
    begins = range(0, len(part.columns), MESSAGE_POINTS)
    return (_message(part, slice(begin, begin + MESSAGE_POINTS)) for begin in begins)


def _message(part: SeriesPart, some: slice) -> api.ReadMetricsResponse:
    return api.ReadMetricsResponse(
        run_id=part.run_id,
        columns=api.MetricColumns(
            key=part.columns.key,
            steps=part.columns.steps[some].tolist(),
            times_ms=part.columns.times[some].tolist(),
            values=part.columns.values[some].tolist(),
        ),
        point_count=part.point_count,
    )


def columns(messages: Iterable[api.MetricColumns]) -> list[MetricColumns]:
    """The columns of a batch, as arrays."""
    return [
        MetricColumns(
            message.key,
            np.fromiter(message.steps, np.int64, len(message.steps)),
            np.fromiter(message.times_ms, np.int64, len(message.times_ms)),
            np.fromiter(message.values, np.float64, len(message.values)),
        )
        for message in messages
    ]


def add_summaries(
    target: "RepeatedCompositeFieldContainer[api.MetricSummary]", metrics: Iterable[MetricSummary]
) -> None:
    """Appends summaries as the contract has them. They are made in place, since a page of runs has thousands."""
    add = target.add
    for key, count, step0, time0, first, step1, time1, last, low, low_step, high, high_step in metrics:
        add(
            key=key,
            last_value=last,
            last_step=step1,
            last_time_ms=time1,
            min_value=low,
            min_step=low_step,
            max_value=high,
            max_step=high_step,
            point_count=count,
            first_value=first,
            first_step=step0,
            first_time_ms=time0,
        )
