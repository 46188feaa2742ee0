from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from modelry import Client, MetricColumns
from modelry.api.tracking import v1 as tracking
from modelry.errors import BatchGap, DataLoss, InvalidArgument, RunNotFound
from modelry.types import Point
from tests.python.registry_script import scripted


@pytest.fixture
def run_id(client: Client) -> str:
    return client.runs.create().run_id


def columns(key: str, values: list[float]) -> MetricColumns:
    count = len(values)
    return MetricColumns(key, array("q", range(count)), array("q", range(count)), array("d", values), count)


def test_values_come_back_bit_for_bit(client: Client, run_id: str) -> None:
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    client.metrics.write(run_id, {"m": columns("m", values)}, writer_id="w", batch_number=1)

    read = client.metrics.read(run_id, "m")

    assert [value.hex() for value in read.values] == [value.hex() for value in values]
    assert (list(read.steps), list(read.times_ms), len(read)) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], 6)


def test_points_are_given_by_key_or_one_by_one(client: Client, run_id: str) -> None:
    client.runs.log_metrics(run_id, {"m": 0.5}, step=3)
    client.runs.log_metrics(run_id, [Point("m", 0.25, 1_700_000_000_000, 4), ("m", 0.125, 1_700_000_000_001, 5)])

    read = client.metrics.read(run_id, "m")

    assert (list(read.steps), list(read.values)) == ([3, 4, 5], [0.5, 0.25, 0.125])
    assert list(read.times_ms[1:]) == [1_700_000_000_000, 1_700_000_000_001]


@pytest.mark.parametrize("wrong", [[("m", 0.5)], ["m"], [3]])
def test_what_is_no_point_is_refused_with_what_would_be_right(client: Client, run_id: str, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"key, value, time in milliseconds, step"):
        client.runs.log_metrics(run_id, wrong)


def test_a_batch_that_is_sent_again_is_written_once(client: Client, run_id: str) -> None:
    first = {"m": columns("m", [1.0, 2.0])}
    durable = [client.metrics.write(run_id, first, writer_id="w", batch_number=1) for _ in range(2)]

    with pytest.raises(BatchGap) as gap:
        client.metrics.write(run_id, first, writer_id="w", batch_number=3)

    assert durable == [1, 1]
    assert gap.value.metadata["durable_batch_number"] == "1"
    assert client.runs.get(run_id).summaries["m"].point_count == 2


def test_a_long_series_comes_whole_or_thinned(client: Client, run_id: str) -> None:
    count = 90_000
    client.metrics.write(
        run_id, {"m": columns("m", [math.sin(step / 99) for step in range(count)])}, writer_id="w", batch_number=1
    )

    whole = client.metrics.read(run_id, "m")
    thin = client.metrics.read(run_id, "m", max_points=100)
    part = client.metrics.read(run_id, "m", min_step=10, max_step=19)

    assert (len(whole), list(whole.steps) == list(range(count))) == (count, True)
    assert len(thin) <= 100
    assert (whole.point_count, thin.point_count, part.point_count) == (count, count, 10)
    assert list(part.steps) == list(range(10, 20))


def test_many_series_are_streamed_by_run_and_key(client: Client, run_id: str) -> None:
    other = client.runs.create(metrics={"b": 1.0, "a": 2.0}).run_id
    client.runs.log_metrics(run_id, [("c", 3.0, 5, 1), ("c", 4.0, 6, 2)])

    read = [(run, series.key, list(series.values)) for run, series in client.metrics.read_many([run_id, other])]

    assert read == [(run_id, "c", [3.0, 4.0]), (other, "a", [2.0]), (other, "b", [1.0])]


def test_a_series_that_is_not_there_is_empty_and_a_run_is_an_error(client: Client, run_id: str) -> None:
    assert len(client.metrics.read(run_id, "nothing")) == 0
    with pytest.raises(RunNotFound):
        client.metrics.read("f" * 32, "nothing")


RUN, OTHER = "0" * 32, "1" * 32


def a_part(key: str, count: int, *, run_id: str = RUN, **fields: Any) -> tracking.ReadMetricsResponse:
    """A message with so many points, whose further fields are those of the columns or of the message."""
    point_count = fields.pop("point_count", None)
    whole = {"steps": range(count), "times_ms": range(count), "values": [0.5] * count, **fields}
    return tracking.ReadMetricsResponse(
        run_id=run_id, columns=tracking.MetricColumns(key=key, **whole), point_count=point_count
    )


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, [a_part("m", 3, times_ms=[1])]),
        ({}, [a_part("m", 3, steps=[1, 2])]),
        ({}, [a_part("m", 3), a_part("m", 2, values=[])]),
        ({}, [a_part("m", 3, run_id=OTHER)]),
        ({}, [a_part("m", 3, run_id="")]),
        ({}, [a_part("other", 3)]),
        ({}, [a_part("m", 3), a_part("other", 3)]),
        ({"keys": ()}, [a_part("m", 3), a_part("other", 3), a_part("m", 3)]),
        ({"run_ids": [RUN, OTHER]}, [a_part("m", 3), a_part("m", 3, run_id=OTHER), a_part("m", 3)]),
        ({"max_points": 4}, [a_part("m", 5, point_count=5)]),
        ({"max_points": 4}, [a_part("m", 3, point_count=9)] * 2),
        ({"max_points": 4}, [a_part("m", 3, point_count=2)]),
    ],
)
def test_an_answer_to_something_else_is_no_series(
    options: dict[str, Any], parts: list[tracking.ReadMetricsResponse]
) -> None:
    asked = {"run_ids": [RUN], "keys": ["m"], **options}

    with scripted({tracking.rpcs.READ_METRICS: [iter(parts)]}) as (client, _), pytest.raises(DataLoss) as refused:
        list(client.metrics.read_many(**asked))

    assert refused.value.reason == "ANSWER_MALFORMED"


def test_a_series_that_goes_on_without_an_end_is_refused_early() -> None:
    sent = 0

    def endless() -> Iterator[tracking.ReadMetricsResponse]:
        nonlocal sent
        while True:
            sent += 1
            yield a_part("m", 1000, point_count=10**12)

    with scripted({tracking.rpcs.READ_METRICS: [endless()]}) as (client, _), pytest.raises(DataLoss):
        client.metrics.read(RUN, "m", max_points=5_000)

    assert sent < 1_000
