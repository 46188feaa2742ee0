"""Series: in whatever order points come, and however often, the same set of them is read back, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.tracking.domain.metrics import SeriesQuery
from modelry_server.tracking.entities import Batch, MetricSummary
from modelry_server.tracking.errors import BatchGap, RunNotFound
from modelry_server.tracking.store import metrics as store
from modelry_server.tracking.store import tables
from tests.server.tracking.room import Point, Room, a_batch, bits_of, columns, in_order, line, points_of, value_of

SPECIAL = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -0.0,
    0.0,
    5e-324,
    -5e-324,
    1.7976931348623157e308,
    0.1,
    1.0,
    -1.0,
]
RUN = "<a run>"
LOWEST, HIGHEST = -(2**63), 2**63 - 1

bits = st.sampled_from([bits_of(value) for value in SPECIAL]) | st.integers(LOWEST, HIGHEST)
numbers = st.integers(-3, 3) | st.sampled_from([LOWEST, LOWEST + 1, HIGHEST - 1, HIGHEST])
points = st.lists(st.tuples(numbers, numbers, bits), min_size=1, max_size=6)
keys = st.sampled_from(["loss", "acc"])
batches = st.lists(st.tuples(keys, points), max_size=3)
writers = st.lists(st.lists(batches, min_size=1, max_size=4), min_size=1, max_size=3)

bounded = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def expected(sent: Iterable[Point]) -> list[Point]:
    return sorted(set(sent), key=in_order)


def described(point_count: int, key: str, sent: Iterable[Point]) -> MetricSummary:
    """The summary that the points must have, worked out the slow way."""
    series = expected(sent)
    numbers = [(value_of(bits), step) for step, _, bits in series if value_of(bits) == value_of(bits)]
    low = min((value for value, _ in numbers), default=None)
    high = max((value for value, _ in numbers), default=None)
    return MetricSummary(
        key,
        point_count,
        series[0][0],
        series[0][1],
        value_of(series[0][2]),
        series[-1][0],
        series[-1][1],
        value_of(series[-1][2]),
        low,
        min((step for value, step in numbers if value == low), default=None),
        high,
        min((step for value, step in numbers if value == high), default=None),
    )


def same(summary: MetricSummary | None, other: MetricSummary) -> bool:
    """Equal, with NaN equal to itself and negative zero different from zero where bits are kept."""
    if summary is None:
        return False
    for name in ("first_value", "last_value"):
        if bits_of(getattr(summary, name)) != bits_of(getattr(other, name)):
            return False
    return summary._replace(first_value=0.0, last_value=0.0) == other._replace(first_value=0.0, last_value=0.0)


@bounded
@given(writers, st.data())
def test_any_interleaving_of_writers_batches_resends_and_merges_gives_the_same_points(
    room: Room, sent: list[list[list[tuple[str, list[Point]]]]], data: st.DataObject
) -> None:
    run_id = room.a_run()
    everything = [(f"writer {w}", n) for w, batches in enumerate(sent) for n in range(1, len(batches) + 1)]
    deliveries = data.draw(st.lists(st.sampled_from([*everything, None]), max_size=2 * len(everything)))
    durable: dict[str, int] = {}

    for delivery in [*deliveries, *everything]:
        if delivery is None:
            room.metrics.merge_run(run_id)
            continue
        writer, number = delivery
        contents = sent[int(writer.removeprefix("writer "))][number - 1]
        batch = a_batch(run_id, *(columns(key, series) for key, series in contents), writer=writer, number=number)
        if number > durable.get(writer, 0) + 1:
            with pytest.raises(BatchGap):
                room.metrics.write(batch)
        else:
            durable[writer] = max(durable.get(writer, 0), number)
            assert room.metrics.write(batch) == durable[writer]

    for key in ("loss", "acc"):
        once = [p for batches in sent for contents in batches for k, series in contents for p in series if k == key]
        assert room.points(run_id, key) == expected(once)
        if once:
            assert same(room.summary(run_id, key), described(room.stored_points(run_id, key), key, once))
    room.metrics.merge_run(run_id)
    for key in ("loss", "acc"):
        once = [p for batches in sent for contents in batches for k, series in contents for p in series if k == key]
        assert room.points(run_id, key) == expected(once)
        if once:
            stored = room.stored_points(run_id, key)
            assert len(expected(once)) <= stored <= len(once)
            assert same(room.summary(run_id, key), described(stored, key, once))


@bounded
@given(st.lists(points, min_size=2, max_size=5))
def test_merging_leaves_one_chunk_whose_points_the_summary_counts_once_each(
    room: Room, parts: list[list[Point]]
) -> None:
    run_id = room.a_run()
    for part in parts:
        room.runs.log_batch(a_batch(run_id, columns("loss", part)))

    room.metrics.merge_run(run_id)

    once = expected(point for part in parts for point in part)
    assert room.chunks(run_id) == 1
    assert room.stored_points(run_id, "loss") == len(once)
    assert same(room.summary(run_id, "loss"), described(len(once), "loss", once))


@bounded
@given(st.lists(st.tuples(numbers, numbers, bits), min_size=1, max_size=40), numbers, numbers)
def test_a_range_of_steps_is_what_lies_within_it(room: Room, sent: list[Point], one: int, other: int) -> None:
    low, high = sorted((one, other))
    run_id = room.a_run()
    for begin in range(0, len(sent), 7):
        room.runs.log_batch(a_batch(run_id, columns("loss", sent[begin : begin + 7])))

    read = list(room.metrics.read(SeriesQuery([run_id], ["loss"], 0, low, high)))

    within = [point for point in expected(sent) if low <= point[0] <= high]
    assert [point for series in read for point in points_of(series.columns)] == within
    thinned = list(room.metrics.read(SeriesQuery([run_id], ["loss"], 100, low, high)))
    assert [point for series in thinned for point in points_of(series.columns)] == within
    assert [series.point_count for series in thinned] == ([len(within)] if within else [])


def test_merging_loses_and_doubles_nothing_while_others_write_and_read(another_room: Callable[..., Room]) -> None:
    room, other = another_room(chunk_points=128), another_room(chunk_points=128)
    run_id, writing = room.a_run(), threading.Event()
    writing.set()
    acknowledged: set[Point] = set()

    def write(writer: int) -> None:
        for number in range(1, 41):
            part = [(step, writer, bits_of(float(step))) for step in range(number * 5, number * 5 + 5)]
            (room, other)[writer % 2].metrics.write(
                a_batch(run_id, columns("loss", part), writer=f"writer {writer}", number=number)
            )
            acknowledged.update(part)

    def merge() -> int:
        merged = 0
        while writing.is_set():
            merged += room.metrics.merge_run(run_id)
        return merged

    def read() -> None:
        while writing.is_set():
            before = set(acknowledged)
            seen = other.points(run_id, "loss")
            assert len(seen) == len(set(seen))
            assert before <= set(seen)

    with ThreadPoolExecutor(6) as pool:
        merging, reading = pool.submit(merge), pool.submit(read)
        for writer in [pool.submit(write, writer) for writer in range(4)]:
            writer.result(60)
        writing.clear()
        merged = merging.result(60)
        reading.result(60)

    assert merged > 0
    assert room.points(run_id, "loss") == expected(acknowledged)
    assert len(acknowledged) == 4 * 40 * 5
    summary = room.summary(run_id, "loss")
    assert summary is not None
    assert summary.point_count == room.stored_points(run_id, "loss") == len(acknowledged)


def test_two_processes_that_merge_the_same_series_at_once_lose_nothing(another_room: Callable[..., Room]) -> None:
    rooms = [another_room(), another_room()]
    run_id = rooms[0].a_run()
    for step in range(60):
        rooms[0].runs.log_batch(a_batch(run_id, line("loss", [step])))

    with ThreadPoolExecutor(4) as pool:
        merged = list(pool.map(lambda index: rooms[index % 2].metrics.merge_run(run_id), range(4)))

    assert sum(merged) == 60
    assert rooms[0].points(run_id, "loss") == points_of(line("loss", range(60)))
    assert rooms[0].stored_points(run_id, "loss") == 60


def test_a_series_of_thousands_of_chunks_is_merged_in_several_transactions(room: Room) -> None:
    run_id = room.a_run()
    many = 2_500
    with room.db.write() as tx:
        one = line("loss", [0])
        blob = {"run_id": run_id, **store._chunk_row(one, store._ends_of(one))}
        rows = [{**blob, "first_step": step, "last_step": step} for step in range(many)]
        store.append(tx, [store.Series(run_id, 0, one)])
        tx.execute(sa.insert(tables.metric_chunks), rows)

    merged = room.metrics.merge_run(run_id)

    assert merged == many + 1 + 2  # what the first two transactions left is taken up by the next
    assert room.chunks(run_id) == 1


def test_the_end_of_a_run_merges_what_is_left_and_small_series_wait_for_it(room: Room) -> None:
    run_id = room.a_run()
    room.metrics.merge()
    room.runs.log_batch(a_batch(run_id, line("loss", [1]), line("acc", [1])))
    room.metrics.merge()
    room.runs.log_batch(a_batch(run_id, line("acc", [2])))
    before = room.chunks(run_id)

    room.runs.finish(run_id, status=room.runs.get(run_id).status.__class__.FINISHED, end_time=None)
    room.metrics.merge()

    assert before == 3
    assert room.chunks(run_id) == 2
    assert [key for run, key in room.metrics._small if run == run_id] == []


def test_what_was_scattered_before_a_restart_is_found_and_merged(another_room: Callable[..., Room]) -> None:
    before = another_room()
    run_id = before.a_run()
    for step in range(5):
        before.runs.log_batch(a_batch(run_id, line("loss", [step])))

    after = another_room()
    after.metrics.merge_all()

    assert after.chunks(run_id) == 1
    assert after.points(run_id, "loss") == points_of(line("loss", range(5)))


def test_points_of_one_metric_that_come_twice_in_one_call_are_one_series(room: Room) -> None:
    run_id = room.a_run()

    room.runs.log_batch(a_batch(run_id, line("loss", [1, 2]), line("loss", [2, 3])))

    assert room.points(run_id, "loss") == points_of(line("loss", [1, 2, 3]))


def test_series_are_read_run_by_run_in_the_order_given_and_key_by_key(room: Room) -> None:
    runs = [room.a_run(), room.a_run()]
    for run_id in runs:
        room.runs.log_batch(Batch(run_id, [line("loss", [1]), line("acc", [2]), line("épsilon", [3])]))

    read = list(room.metrics.read(SeriesQuery(runs[::-1], [])))

    assert [(series.run_id, series.columns.key) for series in read] == [
        (run_id, key) for run_id in runs[::-1] for key in ("acc", "loss", "épsilon")
    ]


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        (SeriesQuery([], []), "run_ids", "1 to 100"),
        (SeriesQuery(["0" * 32] * 101, []), "run_ids", "101"),
        (SeriesQuery(["x"], []), "run_ids[0]", "'x'"),
        (SeriesQuery([RUN], ["k"] * 1001), "keys", "1001"),
        (SeriesQuery([RUN], [""]), "keys[0]", "1 to 250"),
        (SeriesQuery([RUN], [], 3), "max_points", "3 must be 0 (all points) or from 4 to 100000"),
        (SeriesQuery([RUN], [], -1), "max_points", "-1"),
        (SeriesQuery([RUN], [], 100_001), "max_points", "100001"),
        (SeriesQuery([RUN], [], 0, 2, 1), "min_step", "2 is above max_step, 1"),
    ],
)
def test_a_query_outside_its_limits_is_refused_before_the_first_series(
    room: Room, query: SeriesQuery, field: str, said: str
) -> None:
    query = replace(query, run_ids=[room.a_run() if each is RUN else each for each in query.run_ids])

    with pytest.raises(FieldInvalid) as caught:
        room.metrics.read(query)

    assert said in caught.value.violations[field]


def test_reading_of_a_run_that_is_not_there_is_refused_before_the_first_series(room: Room) -> None:
    with pytest.raises(RunNotFound):
        room.metrics.read(SeriesQuery([room.a_run(), "0" * 32], []))
