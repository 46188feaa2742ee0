"""A series -> at most n points that look the same.

MinMaxLTTB (J. Van Der Donckt and others, 2023, "MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB") from
tsdownsample on the finite points; the first, the last, the smallest and the largest point are always among them. What
is not finite breaks the line: of each stretch of NaN or infinity one point is kept.
"""

import numpy as np
import numpy.typing as npt
from tsdownsample import MinMaxLTTBDownsampler

from modelry_server.tracking.entities import Floats, Ints, MetricColumns

LEAST = 4
_SHARE_OF_BREAKS = 4
_WIDEST = 1 << 62


def downsample(columns: MetricColumns, n: int) -> MetricColumns:
    """At most `n` points (at least 4) of a series that is sorted by step."""
    if len(columns) <= n:
        return columns
    values = columns.values
    finite = np.isfinite(values)
    always = np.unique([0, len(columns) - 1])
    if finite.all():
        kept = _thinned(columns, np.arange(len(columns)), always, n)
    else:
        breaks = _breaks(finite, values)[: max(1, n // _SHARE_OF_BREAKS)]
        always = np.unique(np.concatenate([always, breaks])) if n > LEAST else always
        kept = _thinned(columns, np.flatnonzero(finite), always, n)
    return MetricColumns(columns.key, columns.steps[kept], columns.times[kept], values[kept])


def _thinned(columns: MetricColumns, finite: Ints, always: Ints, n: int) -> Ints:
    """The indexes of at most `n` points: `always`, the extremes, and what MinMaxLTTB picks of the finite ones."""
    if len(finite):
        values = columns.values[finite]
        extremes = finite[[int(values.argmin()), int(values.argmax())]]
        always = np.unique(np.concatenate([always, extremes]))
        room = n - len(always)
        if room >= 3:
            picked = _picked(columns.steps[finite], values, min(room, len(finite)))
            always = np.unique(np.concatenate([always, finite[picked]]))
    return always.astype(np.int64)


def _picked(steps: Ints, values: Floats, n: int) -> Ints:
    # The library takes steps that rise, and not by more than an int64 holds; others are drawn evenly spaced.
    rising = bool((steps[1:] > steps[:-1]).all()) and int(steps[-1]) - int(steps[0]) < _WIDEST
    sampler = MinMaxLTTBDownsampler()
    return np.asarray(sampler.downsample(*([steps] if rising else []), values, n_out=n), np.int64)


def _breaks(finite: npt.NDArray[np.bool_], values: Floats) -> Ints:
    """The index of the first point of each stretch of NaN, of infinity and of minus infinity."""
    kind = np.where(finite, 0, np.where(np.isnan(values), 1, np.where(values > 0, 2, 3)))
    begins = np.flatnonzero((kind != 0) & (np.diff(kind, prepend=0) != 0))
    return begins.astype(np.int64)
