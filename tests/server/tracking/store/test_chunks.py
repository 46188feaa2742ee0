"""The blob of a chunk: every column comes back bit for bit, and it is small."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.tracking.store.chunks import decode, encode, encode_one, ordered_bits, values_of
from tests.server.tracking.room import bits_of

longs = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(longs, longs, longs), min_size=1, max_size=60))
def test_every_bit_of_every_column_comes_back(points: list[tuple[int, int, int]]) -> None:
    steps, times, bits = (np.array(column, np.int64) for column in zip(*points, strict=True))

    found = decode(encode(steps, times, bits.view(np.float64)))

    assert [column.view(np.int64).tolist() for column in found] == [steps.tolist(), times.tolist(), bits.tolist()]


@given(longs, longs, longs)
def test_the_short_way_for_one_point_gives_the_same_blob(step: int, time: int, bits: int) -> None:
    value = np.array([bits], np.int64).view(np.float64)

    assert encode_one(step, time, value.item()) == encode(np.array([step]), np.array([time]), value)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 16_384, 100_000])
def test_a_chunk_of_any_length_comes_back(count: int) -> None:
    steps = np.arange(count, dtype=np.int64)
    values = np.sin(steps / 100.0)

    found = decode(encode(steps, steps * 1000, values))

    assert [np.array_equal(a, b) for a, b in zip(found, (steps, steps * 1000, values), strict=True)] == [True] * 3


def test_threads_that_pack_at_once_do_not_disturb_each_other() -> None:
    def pack(seed: int) -> bool:
        random = np.random.default_rng(seed)
        columns = [random.integers(0, 10**12, 500), random.integers(0, 10**12, 500), random.random(500)]
        packed = [encode(*columns) for _ in range(200)]  # type: ignore[arg-type]
        return all(np.array_equal(a, b) for blob in packed for a, b in zip(decode(blob), columns, strict=True))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(pack, range(8)))


def test_a_noisy_curve_takes_fewer_than_fifteen_bytes_a_point() -> None:
    random = np.random.default_rng(7)
    steps = np.arange(16_384, dtype=np.int64)
    times = 1_700_000_000_000 + np.cumsum(random.integers(20, 40, len(steps)))
    values = np.exp(-steps / 4000.0) + random.normal(0, 0.01, len(steps))

    assert len(encode(steps, times, values)) / len(steps) < 15


@settings(max_examples=200, deadline=None)
@given(st.lists(longs, min_size=2, max_size=2))
def test_ordered_bits_sort_as_values_do_and_give_the_value_again(pair: list[int]) -> None:
    values = np.array(pair, np.int64).view(np.float64)

    ordered = ordered_bits(values).tolist()

    assert [bits_of(each) for each in values_of(ordered)] == pair
    if values[0] < values[1]:
        assert ordered[0] < ordered[1]


def test_nan_sorts_beyond_infinity_and_zero_above_negative_zero() -> None:
    values = np.array([float("-inf"), -1.0, -0.0, 0.0, 5e-324, 1.0, float("inf"), float("nan")])

    assert (np.diff(ordered_bits(values).astype(object)) > 0).all()
