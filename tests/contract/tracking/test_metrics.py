from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry.api.tracking import v1 as api
from tests.contract.tracking.conftest import Point, Tracking, bits_of, columns, line, points_of, value_of
from tests.parts.eventually import eventually
from tests.parts.refusal import refused, unpacked

SPECIAL = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, 1.7976931348623157e308]
LOWEST, HIGHEST = -(2**63), 2**63 - 1
longs = st.integers(LOWEST, HIGHEST)


def in_order(point: Point) -> Point:
    step, time, bits = point
    return step, time, bits if bits >= 0 else bits ^ HIGHEST


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.tuples(longs, longs, st.sampled_from([bits_of(v) for v in SPECIAL]) | longs), min_size=1, max_size=30)
)
def test_points_come_back_bit_for_bit_in_order_and_once(tracking: Tracking, sent: list[Point]) -> None:
    run_id = tracking.a_run()

    for number, batch in enumerate((sent, sent[::-1]), start=1):
        request = api.WriteMetricsRequest(
            run_id=run_id, writer_id="w", batch_number=number, metrics=[columns("loss", batch)]
        )
        answer = tracking.metrics.WriteMetrics(request)

    assert answer.durable_batch_number == 2
    assert tracking.points(run_id, "loss") == sorted(set(sent), key=in_order)


def test_the_summary_of_a_run_says_what_its_series_says(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    values = [(3, 30, 2.5), (1, 10, float("nan")), (2, 20, -1.0), (5, 50, 2.5), (5, 50, -7.0)]

    tracking.runs.LogBatch(
        api.LogBatchRequest(run_id=run_id, metrics=[columns("loss", [(s, t, bits_of(v)) for s, t, v in values])])
    )

    [summary] = tracking.run(run_id).metrics
    assert (summary.key, summary.point_count) == ("loss", 5)
    assert (summary.last_step, summary.last_time_ms, summary.last_value) == (5, 50, 2.5)
    assert (summary.first_step, summary.first_time_ms, bits_of(summary.first_value)) == (1, 10, bits_of(float("nan")))
    assert (summary.min_step, summary.min_value, summary.max_step, summary.max_value) == (5, -7.0, 3, 2.5)


def test_a_series_of_nothing_but_nan_has_no_smallest_and_no_largest_value(tracking: Tracking) -> None:
    run_id = tracking.a_run(metrics=[columns("loss", [(1, 1, bits_of(float("nan")))])])

    [summary] = tracking.run(run_id).metrics

    assert [summary.HasField(name) for name in ("min_value", "min_step", "max_value", "max_step")] == [False] * 4


def test_writers_side_by_side_lose_nothing(tracking: Tracking) -> None:
    run_id = tracking.a_run()

    def write(writer: int) -> list[int]:
        return [
            tracking.metrics.WriteMetrics(
                api.WriteMetricsRequest(
                    run_id=run_id,
                    writer_id=f"writer {writer}",
                    batch_number=number,
                    metrics=[
                        columns("loss", [(number, writer, bits_of(float(number)))]),
                        line(f"own {writer}", [number]),
                    ],
                )
            ).durable_batch_number
            for number in range(1, 16)
        ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))

    assert answers == [list(range(1, 16))] * 8
    assert tracking.points(run_id, "loss") == [
        (number, writer, bits_of(float(number))) for number in range(1, 16) for writer in range(8)
    ]
    assert tracking.points(run_id, "own 3") == points_of(line("", range(1, 16)))


def test_batches_sent_in_any_order_and_twice_are_there_once(tracking: Tracking) -> None:
    run_id, numbers = tracking.a_run(), [*range(1, 9), *range(1, 9)]
    random.Random(3).shuffle(numbers)

    def send(number: int) -> bool:
        request = api.WriteMetricsRequest(
            run_id=run_id, writer_id="w", batch_number=number, metrics=[line("loss", [number])]
        )
        try:
            return tracking.metrics.WriteMetrics(request, timeout=20).durable_batch_number >= number
        except grpc.RpcError as error:
            assert unpacked(error).reason == "BATCH_GAP"  # noqa: PT017 - those that come far too early are sent again
            return False

    with ThreadPoolExecutor(16) as pool:
        sent = list(pool.map(lambda number: eventually(lambda: send(number)), numbers))

    assert sent == [True] * 16
    assert tracking.points(run_id, "loss") == points_of(line("", range(1, 9)))
    assert tracking.run(run_id).metrics[0].point_count == 8


def test_a_gap_is_refused_with_the_durable_number(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    request = api.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=1, metrics=[line("loss", [1])])
    tracking.metrics.WriteMetrics(request)
    request.batch_number = 3

    refusal = refused(tracking.metrics.WriteMetrics, request)

    assert (refusal.code, refusal.reason) == ("ABORTED", "BATCH_GAP")
    assert refusal.metadata == {"batch_number": "3", "durable_batch_number": "1"}
    assert tracking.points(run_id, "loss") == points_of(line("", [1]))


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"run_id": "x"}, "run_id", "'x'"),
        ({"run_id": "A" * 32}, "run_id", "lower-case"),
        ({"writer_id": ""}, "writer_id", "1 to 64"),
        ({"writer_id": "w" * 65}, "writer_id", "65"),
        ({"batch_number": 0}, "batch_number", "0"),
        ({"batch_number": -1}, "batch_number", "-1"),
        ({"metrics": [api.MetricColumns(key="", steps=[1], times_ms=[1], values=[1])]}, "metrics[0].key", "1 to 250"),
        ({"metrics": [line("k" * 251, [1])]}, "metrics[0].key", "251"),
        ({"metrics": [line("a\nb", [1])]}, "metrics[0].key", "control"),
        (
            {"metrics": [line("a", [1]), api.MetricColumns(key="b", steps=[1, 2], times_ms=[1], values=[1, 2, 3])]},
            "metrics[1]",
            "'b' has 2 steps, 1 times_ms and 3 values",
        ),
        ({"metrics": [line(f"k{n}", [1]) for n in range(1001)]}, "metrics", "1001 keys"),
        ({"metrics": [line("k", range(100_001))]}, "metrics", "100001 points"),
    ],
)
def test_a_batch_outside_its_limits_is_refused_whole(
    tracking: Tracking, fields: dict[str, object], field: str, said: str
) -> None:
    run_id = tracking.a_run()
    given = {"run_id": run_id, "writer_id": "w", "batch_number": 1, "metrics": [line("loss", [1])]} | fields

    refusal = refused(tracking.metrics.WriteMetrics, api.WriteMetricsRequest(**given))  # type: ignore[arg-type]

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert said in refusal.violations[field]
    assert len(tracking.run(run_id).metrics) == 0


def test_a_batch_of_a_run_that_is_not_there_or_deleted_is_refused(tracking: Tracking) -> None:
    deleted = tracking.a_run()
    tracking.runs.DeleteRun(api.DeleteRunRequest(run_id=deleted))
    batch = api.WriteMetricsRequest(run_id="0" * 32, writer_id="w", batch_number=1, metrics=[line("loss", [1])])

    missing = refused(tracking.metrics.WriteMetrics, batch)
    batch.run_id = deleted
    gone = refused(tracking.metrics.WriteMetrics, batch)

    assert (missing.code, missing.reason, missing.resource) == ("NOT_FOUND", "RUN_NOT_FOUND", ("run", "0" * 32))
    assert (gone.code, gone.reason) == ("FAILED_PRECONDITION", "RUN_DELETED")
    assert set(gone.unmet) == {"RUN_DELETED"}


def test_a_long_series_comes_in_several_messages_and_whole(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    for number in range(1, 4):
        steps = range((number - 1) * 30_000, number * 30_000)
        tracking.metrics.WriteMetrics(
            api.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=number, metrics=[line("loss", steps)])
        )

    answers = list(tracking.metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id])))

    assert len(answers) > 1
    assert {(each.run_id, each.columns.key, each.point_count) for each in answers} == {(run_id, "loss", 0)}
    assert [step for each in answers for step in each.columns.steps] == list(range(90_000))


def test_a_downsampled_series_keeps_its_ends_and_its_extremes_within_the_range(tracking: Tracking) -> None:
    run_id = tracking.a_run()
    values = [float(step % 100) for step in range(5000)]
    values[1234], values[3210] = 1e9, -1e9
    points = [(step, 0, bits_of(value)) for step, value in enumerate(values)]
    tracking.runs.LogBatch(api.LogBatchRequest(run_id=run_id, metrics=[columns("loss", points)]))

    request = api.ReadMetricsRequest(run_ids=[run_id], max_points=100, min_step=1000, max_step=3999)
    [answer] = tracking.metrics.ReadMetrics(request)

    found = points_of(answer.columns)
    assert len(found) <= 100
    assert answer.point_count == 3000
    assert (found[0], found[-1]) == (points[1000], points[3999])
    assert {1e9, -1e9} <= {value_of(bits) for _, _, bits in found}


@pytest.mark.parametrize("max_points", [4, 5, 100])
def test_points_without_a_step_of_their_own_are_downsampled_too(tracking: Tracking, max_points: int) -> None:
    run_id = tracking.a_run(metrics=[columns("loss", [(0, n, bits_of(float(n))) for n in range(1000)])])

    [answer] = tracking.metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id], max_points=max_points))

    assert 2 <= len(answer.columns.values) <= max_points


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"run_ids": []}, "run_ids"),
        ({"run_ids": ["0" * 32] * 101}, "run_ids"),
        ({"run_ids": ["../etc"]}, "run_ids[0]"),
        ({"keys": ["k"] * 1001}, "keys"),
        ({"keys": ["ok", "k" * 251]}, "keys[1]"),
        ({"max_points": 3}, "max_points"),
        ({"max_points": -1}, "max_points"),
        ({"max_points": 100_001}, "max_points"),
        ({"min_step": 2, "max_step": 1}, "min_step"),
    ],
)
def test_a_question_outside_its_limits_is_refused_with_its_field(
    tracking: Tracking, fields: dict[str, object], field: str
) -> None:
    request = api.ReadMetricsRequest(**({"run_ids": [tracking.a_run()]} | fields))  # type: ignore[arg-type]

    refusal = refused(tracking.metrics.ReadMetrics, request)

    assert (refusal.code, list(refusal.violations)) == ("INVALID_ARGUMENT", [field])


def test_reading_of_a_run_that_is_not_there_is_refused(tracking: Tracking) -> None:
    refusal = refused(tracking.metrics.ReadMetrics, api.ReadMetricsRequest(run_ids=[tracking.a_run(), "0" * 32]))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "RUN_NOT_FOUND")
