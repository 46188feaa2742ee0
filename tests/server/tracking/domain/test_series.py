"""A series is read in order, each point once, in memory that does not grow with its length."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.databases import migrations
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.domain.downsample import downsample_parts
from modelry_server.tracking.domain.series import Extent, Series
from modelry_server.tracking.entities import Ints, MetricColumns
from modelry_server.tracking.store import metrics as store
from tests.server.tracking.room import Point, Room, a_batch, bits_of, columns, in_order, points_of

LOWEST, HIGHEST = -(2**63), 2**63 - 1
NAN = bits_of(float("nan"))
RUN = "0" * 32

steps = st.integers(-4, 4) | st.integers(-1000, 1000) | st.sampled_from([LOWEST, HIGHEST])
bits = st.integers(-3, 3) | st.sampled_from([NAN, bits_of(-0.0), bits_of(float("-inf"))])
chunks = st.lists(st.lists(st.tuples(steps, st.integers(0, 3), bits), min_size=1, max_size=30), max_size=12)
sizes = st.sampled_from([(1, 1), (2, 3), (7, 5), (16, 8), (64, 1000)])
bounded = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def read(parts: Iterable[MetricColumns]) -> list[Point]:
    return [point for part in parts for point in points_of(part)]


def a_series(room: Room, stored: list[list[Point]]) -> str:
    """The id of a run whose series `loss` has these chunks."""
    run_id = room.a_run()
    with room.db.write() as tx:
        for chunk in stored:
            store.append(tx, [store.Series(run_id, 0, columns("loss", chunk))])
    return run_id


@bounded
@given(chunks, sizes)
def test_whatever_the_chunks_the_points_come_in_order_and_each_once(
    room: Room, stored: list[list[Point]], size: tuple[int, int]
) -> None:
    run_id = a_series(room, stored)
    block, kept = size

    parts = list(Series(room.db, run_id, "loss", block=block, kept=kept).parts())

    assert read(parts) == sorted({point for chunk in stored for point in chunk}, key=in_order)
    assert all(map(len, parts))


@bounded
@given(chunks, sizes, steps, steps)
def test_a_range_of_steps_is_what_lies_in_it_whatever_the_chunks(
    room: Room, stored: list[list[Point]], size: tuple[int, int], one: int, other: int
) -> None:
    low, high = sorted((one, other))
    run_id = a_series(room, stored)

    series = Series(room.db, run_id, "loss", min_step=low, max_step=high, block=size[0], kept=size[1])
    extent, found = series.extent(), read(series.parts())

    assert found == sorted({p for chunk in stored for p in chunk if low <= p[0] <= high}, key=in_order)
    if found:
        assert extent is not None
        assert extent.points >= len(found)
        assert low <= extent.first_step <= found[0][0] <= found[-1][0] <= extent.last_step <= high


@bounded
@given(st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=8), min_size=2, max_size=20), sizes)
def test_chunks_that_are_merged_while_a_series_is_read_lose_and_double_nothing(
    room: Room, stored: list[list[int]], size: tuple[int, int]
) -> None:
    run_id = a_series(room, [[(step, 0, step) for step in chunk] for chunk in stored])
    found: list[Point] = []

    for number, part in enumerate(Series(room.db, run_id, "loss", block=size[0], kept=size[1]).parts()):
        found += points_of(part)
        if number % 2 == 0:
            room.metrics.merge_run(run_id)

    assert found == [(step, 0, step) for step in sorted({step for chunk in stored for step in chunk})]


def test_points_that_are_written_while_a_series_is_read_do_not_disturb_it(room: Room) -> None:
    run_id = a_series(room, [[(step, 0, 0)] for step in range(0, 40, 2)])
    parts = Series(room.db, run_id, "loss", block=4, kept=4).parts()

    found = points_of(next(parts))
    room.runs.log_batch(a_batch(run_id, columns("loss", [(step, 0, 0) for step in range(1, 40, 2)])))
    room.metrics.merge_run(run_id)
    found += read(parts)

    assert [point for point in found if point[0] % 2 == 0] == [(step, 0, 0) for step in range(0, 40, 2)]
    assert found == sorted(set(found), key=in_order)


def test_chunks_that_follow_each_other_are_read_once_also_at_one_step(room: Room) -> None:
    chunks_at_once = [[(0, time * 10 + n, n) for n in range(10)] for time in range(50)]
    run_id = a_series(room, chunks_at_once)
    before = room.db.reads

    found = read(Series(room.db, run_id, "loss", block=20, kept=5).parts())

    assert found == [point for chunk in chunks_at_once for point in chunk]
    assert room.db.reads - before == 1 + 25  # the list, and two chunks at once


def test_a_series_that_does_not_exist_has_no_parts(room: Room) -> None:
    series = Series(room.db, room.a_run(), "loss")

    assert (series.extent(), list(series.parts())) == (None, [])


@pytest.mark.parametrize("n", [4, 10, 1000])
@pytest.mark.parametrize("size", [1, 100, 65_536, 70_000])
def test_a_series_in_parts_is_downsampled_as_the_whole_one_is_promised(n: int, size: int) -> None:
    count = 300_000 if size > 100 else 3_000
    values = np.sin(np.arange(count) / 500.0)
    values[count // 3], values[count // 2] = 9.0, -9.0
    values[count // 4 : count // 4 + 5] = np.nan
    values[10], values[count - 10] = np.inf, -np.inf
    whole = MetricColumns("loss", np.arange(count) * 3, np.arange(count), values)

    found = downsample_parts(cut(whole, size), n, Extent(count, 0, (count - 1) * 3))

    assert found is not None
    thin, points = found
    assert (len(thin) <= n, points) == (True, count)
    assert set(points_of(thin)) <= set(points_of(whole))
    assert (np.diff(thin.steps) > 0).all()
    assert (thin.steps[0], thin.steps[-1]) == (0, (count - 1) * 3)
    assert {-9.0, 9.0} <= set(thin.values.tolist())
    if n > 4:
        assert np.isnan(thin.values).sum() >= 1
    if n == 1000:
        assert len(thin) > 900
        assert np.isnan(thin.values).sum() == 1
        assert {np.inf, -np.inf} <= set(thin.values.tolist())


def test_every_gap_between_finite_points_is_kept_across_parts() -> None:
    count = 200_000
    values = np.arange(count, dtype=np.float64)
    gaps = [(1, 3), (65_500, 65_600), (131_000, 131_001), (150_000, 199_999)]
    for begin, end in gaps:
        values[begin:end] = np.nan
    whole = MetricColumns("loss", np.arange(count), np.arange(count), values)

    found = downsample_parts(cut(whole, 1_000), 100, Extent(count, 0, count - 1))

    assert found is not None
    kept = found[0].steps[np.isnan(found[0].values)].tolist()
    assert kept == [begin for begin, _ in gaps]


@pytest.mark.parametrize("count", [4_000, 400_000])
def test_gaps_that_are_too_many_are_spread_over_the_whole_series_after_infinity(count: int) -> None:
    values = (np.arange(count) % 7).astype(np.float64)
    values[::40] = np.nan
    values[count - 100], values[count - 60] = np.inf, -np.inf
    whole = MetricColumns("loss", np.arange(count), np.arange(count), values)

    found = downsample_parts(cut(whole, 1_000), 200, Extent(count, 0, count - 1))

    assert found is not None
    gaps = found[0].steps[np.isnan(found[0].values)]
    assert 30 < len(gaps) <= 50
    assert max(np.diff(gaps).max(), gaps[0], count - gaps[-1]) < count / 10
    assert {np.inf, -np.inf} <= set(found[0].values.tolist())


@pytest.mark.parametrize("repeated", [1, 7, 300_000])
def test_steps_that_repeat_are_drawn_evenly_spaced_across_parts(repeated: int) -> None:
    count = 300_000
    whole = MetricColumns(
        "loss", np.arange(count) // repeated, np.arange(count), (np.arange(count) % 50).astype(np.float64)
    )

    found = downsample_parts(cut(whole, 30_000), 100, Extent(2 * count, 0, int(whole.steps[-1])))

    assert found is not None
    thin, points = found
    assert points == count
    assert 50 < len(thin) <= 100
    assert (thin.values.min(), thin.values.max()) == (0.0, 49.0)
    assert np.diff(thin.times).max() < count / 20


def cut(whole: MetricColumns, size: int) -> Iterator[MetricColumns]:
    for at in range(0, len(whole), size):
        part = slice(at, at + size)
        yield MetricColumns(whole.key, whole.steps[part], whole.times[part], whole.values[part])


Layout = Callable[[Ints, int], tuple[Ints, Ints]]
"""Makes the steps and the times of the points with these indexes, of a series with so many points."""

FOLLOWING: dict[str, Layout] = {
    "in order": lambda index, count: (index, index * 10),
    "all at one step": lambda index, count: (index * 0, index * 10),
    "of four writers": lambda index, count: (index // 4, index),
}
OVERLAPPING: dict[str, Layout] = {
    "random steps": lambda index, count: (np.random.default_rng(int(index[0])).integers(0, count, len(index)), index),
    "all at one step and time": lambda index, count: (index * 0, index * 0),
    "in a hundred epochs": lambda index, count: (index % (count // 100), index),
}


@pytest.fixture(scope="module")
def long_series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with series of 1 and of 10 million points; the key is layout and number."""
    path = tmp_path_factory.mktemp("long") / "tracking.db"
    db = Database(f"sqlite:///{path}", room="tracking", migrations=migrations("tracking"))
    db.upgrade()
    values = np.random.default_rng(1).random(16_384)
    for name, layout in {**FOLLOWING, **OVERLAPPING}.items():
        for count in (1_000_000, 10_000_000):
            with db.write() as tx:
                for at in range(0, count, len(values)):
                    index = np.arange(at, min(at + len(values), count))
                    series = MetricColumns(f"{name} {count}", *layout(index, count), values[: len(index)] + at)
                    store.append(tx, [store.Series(RUN, 0, series)])
    yield db
    db.close()


def peak(work: Callable[[], object]) -> int:
    """The most memory in bytes that was in use at once while something was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layout", FOLLOWING)
def test_reading_ten_times_as_many_points_takes_no_more_memory(long_series: Database, layout: str) -> None:
    def read_all(count: int) -> int:
        return sum(map(len, Series(long_series, RUN, f"{layout} {count}").parts()))

    short, long = (peak(lambda count=count: read_all(count)) for count in (1_000_000, 10_000_000))  # type: ignore[misc]

    assert long < 1.2 * short
    assert long < 32 << 20
    assert read_all(1_000_000) == 1_000_000


@pytest.mark.parametrize("layout", OVERLAPPING)
def test_reading_ten_times_as_many_points_that_overlap_takes_no_more_memory(long_series: Database, layout: str) -> None:
    def read_some(count: int) -> None:
        found = list(map(len, islice(Series(long_series, RUN, f"{layout} {count}").parts(), 3)))
        assert sum(found) > 700_000

    short, long = (peak(lambda count=count: read_some(count)) for count in (1_000_000, 10_000_000))  # type: ignore[misc]

    assert long < 1.6 * short  # the short one hardly has to forget points
    assert long < 96 << 20


@pytest.mark.parametrize("layout", FOLLOWING)
def test_downsampling_ten_times_as_many_points_takes_no_more_memory(long_series: Database, layout: str) -> None:
    def thin(count: int) -> None:
        series = Series(long_series, RUN, f"{layout} {count}")
        extent = series.extent()
        assert extent is not None
        found = downsample_parts(series.parts(), 1000, extent)
        assert found is not None
        assert (len(found[0]) > 900, found[1]) == (True, count)

    short, long = (peak(lambda count=count: thin(count)) for count in (1_000_000, 10_000_000))  # type: ignore[misc]

    assert long < 1.2 * short
    assert long < 48 << 20


def test_a_series_in_order_is_given_in_blocks_while_it_is_read(long_series: Database) -> None:
    parts = Series(long_series, RUN, "in order 10000000").parts()

    assert 32_768 < len(next(parts)) <= 131_072
