"""What is done with columns of points: putting them together, in order, without repeated points.

A series is sorted by (step, time, value), values in IEEE 754 total order. A point is known by these three, as a `Key`.
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modelry_server.tracking.entities import Batch, MetricColumns
from modelry_server.tracking.store.chunks import ordered_bits, ordered_bits_of

Key: TypeAlias = tuple[int, int, int]
"""Step, time, and the value as `ordered_bits` makes it: keys sort as points do."""

Mask: TypeAlias = npt.NDArray[np.bool_]


def gathered(batches: Iterable[Batch]) -> dict[tuple[str, str], MetricColumns]:
    """All points by (run, key), so that many small batches make one chunk."""
    parts: dict[tuple[str, str], list[MetricColumns]] = {}
    for batch in batches:
        for columns in batch.metrics:
            if len(columns):
                parts.setdefault((batch.run_id, columns.key), []).append(columns)
    return {series: joined(each) for series, each in parts.items()}


def joined(parts: Sequence[MetricColumns]) -> MetricColumns:
    """Columns of one metric, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return MetricColumns(
        parts[0].key,
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def distinct(columns: MetricColumns) -> MetricColumns:
    """The points in order, each of them once."""
    steps, times, values = columns.steps, columns.times, columns.values
    same_step = steps[1:] == steps[:-1]
    if ((steps[1:] > steps[:-1]) | (same_step & (times[1:] > times[:-1]))).all():
        return columns
    order = np.lexsort((ordered_bits(values), times, steps))
    steps, times, bits = steps[order], times[order], values.view(np.int64)[order]
    kept = np.ones(len(steps), bool)
    kept[1:] = (steps[1:] != steps[:-1]) | (times[1:] != times[:-1]) | (bits[1:] != bits[:-1])
    return MetricColumns(columns.key, steps[kept], times[kept], bits[kept].view(np.float64))


def smallest(columns: MetricColumns, count: int) -> MetricColumns:
    """The first `count` points in the order of a series, themselves in any order; there must be as many.

    It sorts only the points at the step where it has to stop: to sort all takes fifty times as long.
    """
    steps = columns.steps
    last_step = np.partition(steps, count - 1)[count - 1]
    below, tied = np.flatnonzero(steps < last_step), np.flatnonzero(steps == last_step)
    order = np.lexsort((ordered_bits(columns.values[tied]), columns.times[tied]))
    return picked(columns, np.concatenate([below, tied[order[: count - len(below)]]]))


def picked(columns: MetricColumns, which: npt.NDArray[np.int64] | Mask | slice) -> MetricColumns:
    """Some of the points: by their indexes, by a mask, or as a slice."""
    return MetricColumns(columns.key, columns.steps[which], columns.times[which], columns.values[which])


def key_at(columns: MetricColumns, index: int) -> Key:
    """The key of one point."""
    return int(columns.steps[index]), int(columns.times[index]), ordered_bits_of(float(columns.values[index]))


def greatest_key(columns: MetricColumns) -> Key:
    """The key of the last point in the order of a series, of points in any order."""
    last = np.flatnonzero(columns.steps == columns.steps.max())
    last = last[columns.times[last] == columns.times[last].max()]
    return key_at(columns, int(last[ordered_bits(columns.values[last]).argmax()]))


def between(columns: MetricColumns, after: Key | None, limit: Key | None) -> MetricColumns:
    """The points that come after the one with the first key, and not after the one with the second."""
    if after is not None:  # first by the steps alone, which nearly all points can be judged by
        columns = picked(columns, columns.steps >= after[0])
        columns = picked(columns, _are_after(columns, after))
    if limit is not None:
        columns = picked(columns, columns.steps <= limit[0])
        columns = picked(columns, ~_are_after(columns, limit))
    return columns


def _are_after(columns: MetricColumns, key: Key) -> Mask:
    step, time, bits = key
    after: Mask = columns.steps > step
    tied = np.flatnonzero(columns.steps == step)
    if len(tied):
        times, values = columns.times[tied], columns.values[tied]
        after[tied] = (times > time) | ((times == time) & (ordered_bits(values) > bits))
    return after


def parted(columns: MetricColumns, step: int, time: int) -> tuple[MetricColumns, MetricColumns]:
    """The points before (step, time), and the others. Neither is sorted by this."""
    before: Mask = columns.steps < step
    tied = np.flatnonzero(columns.steps == step)
    before[tied] = columns.times[tied] < time
    if before.all():
        return columns, picked(columns, slice(0))
    return picked(columns, before), picked(columns, ~before)
