"""Fewer points that look the same: what must be among them always is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelry_server.tracking.domain.downsample import LEAST, downsample
from modelry_server.tracking.entities import MetricColumns
from tests.server.tracking.room import bits_of

LOWEST, HIGHEST = -(2**63), 2**63 - 1
values = st.floats(allow_nan=True, allow_infinity=True, width=64)
finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
steps = st.integers(-50, 50) | st.sampled_from([LOWEST, LOWEST + 1, HIGHEST - 1, HIGHEST])


def series(values: list[float], steps: list[int] | None = None) -> MetricColumns:
    numbers = sorted(steps) if steps is not None else list(range(len(values)))
    return MetricColumns(
        "loss", np.array(numbers, np.int64), np.array(numbers, np.int64) // 2, np.array(values, np.float64)
    )


def places(columns: MetricColumns) -> list[tuple[int, int, int]]:
    return list(
        zip(columns.steps.tolist(), columns.times.tolist(), columns.values.view(np.int64).tolist(), strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(values, steps), min_size=1, max_size=300), st.integers(LEAST, 60))
def test_there_are_never_more_points_than_asked_for_and_all_of_them_are_points_of_the_series(
    drawn: list[tuple[float, int]], n: int
) -> None:
    whole = series([value for value, _ in drawn], [step for _, step in drawn])

    thin = downsample(whole, n)

    assert len(thin) <= n
    assert set(places(thin)) <= set(places(whole))
    assert (np.diff(thin.steps.astype(object)) >= 0).all()
    if len(whole) <= n:
        assert places(thin) == places(whole)


@settings(max_examples=150, deadline=None)
@given(st.lists(finite, min_size=5, max_size=300), st.integers(LEAST, 40))
def test_the_first_the_last_the_smallest_and_the_largest_point_are_kept(drawn: list[float], n: int) -> None:
    whole = series(drawn)

    thin = downsample(whole, n)

    kept = thin.values.tolist()
    assert places(thin)[0] == places(whole)[0]
    assert places(thin)[-1] == places(whole)[-1]
    assert (min(kept), max(kept)) == (min(drawn), max(drawn))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=300), st.integers(16, 40))
def test_a_line_breaks_where_the_series_has_nan(gaps: list[bool], n: int) -> None:
    whole = series([float("nan") if gap else float(index % 7) for index, gap in enumerate(gaps)])
    stretches = sum(gap and not before for gap, before in zip(gaps, [False, *gaps], strict=False))

    thin = downsample(whole, n)

    assert np.isnan(thin.values).sum() >= min(stretches, n // 4)
    if stretches <= n // 4:
        for left, right in zip(places(thin), places(thin)[1:], strict=False):
            between = whole.values[left[0] + 1 : right[0]]
            ends = np.isnan(np.array([left[2], right[2]], np.int64).view(np.float64))
            assert ends.any() or not np.isnan(between).any()


def test_a_series_of_nothing_but_nan_stays_one() -> None:
    thin = downsample(series([float("nan")] * 100), 10)

    assert np.isnan(thin.values).all()
    assert thin.steps[0] == 0
    assert thin.steps[-1] == 99


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity_is_kept_and_is_no_value_to_compare_others_with(value: float) -> None:
    drawn = [float(index) for index in range(100)]
    drawn[50] = value

    thin = downsample(series(drawn), 10)

    assert value in thin.values.tolist()
    assert {0.0, 99.0} <= set(thin.values.tolist())


@pytest.mark.parametrize("n", [4, 5, 7, 8, 100])
def test_one_finite_point_among_nan_is_kept(n: int) -> None:
    drawn = [float("nan")] * 500
    drawn[250] = 1.0

    assert 1.0 in downsample(series(drawn), n).values.tolist()


def test_a_spike_of_one_point_in_a_million_is_seen() -> None:
    drawn = np.zeros(1_000_000)
    drawn[777_777] = 1e9

    thin = downsample(series(drawn.tolist()), 1000)

    assert 1e9 in thin.values.tolist()
    assert len(thin) <= 1000


def test_steps_that_repeat_and_steps_at_the_ends_of_the_range_are_no_trouble() -> None:
    edges = [LOWEST, LOWEST, -1, 0, 0, 0, 1, HIGHEST, HIGHEST, HIGHEST] * 10

    thin = downsample(series([float(index) for index in range(100)], edges), 20)

    assert (thin.steps[0], thin.steps[-1]) == (LOWEST, HIGHEST)


@pytest.mark.parametrize("step", [0, 7, LOWEST, HIGHEST])
def test_a_series_without_steps_is_drawn_evenly_spaced(step: int) -> None:
    drawn = [float(index % 50) for index in range(5000)]

    thin = downsample(series(drawn, [step] * 5000), 100)

    assert 50 < len(thin) <= 100
    assert (thin.values.min(), thin.values.max()) == (0.0, 49.0)


def test_values_keep_their_bits() -> None:
    drawn = [-0.0, 5e-324, *range(100), -0.0]

    thin = downsample(series([float(value) for value in drawn]), 10)

    assert thin.values.view(np.int64)[0] == bits_of(-0.0)
    assert thin.values.view(np.int64)[-1] == bits_of(-0.0)
