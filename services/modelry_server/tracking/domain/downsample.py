"""A series -> at most n points that look the same, in bounded memory.

MinMaxLTTB (J. Van Der Donckt and others, 2023, "MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB") from
tsdownsample on the finite points; the first, the last, the smallest and the largest point are always among them. What
is not finite breaks the line: of each stretch of NaN or infinity one point is kept, or, where there are too many, of
some that are spread evenly.

A long series comes in blocks. Of each block the smallest and the largest point of many short spans are kept at once,
four or more for each point that is wanted in the end: this is the algorithm's own first step. The second step, which
picks n of them, is done at the end.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from tsdownsample import MinMaxDownsampler, MinMaxLTTBDownsampler

from modelry_server.tracking.domain.columns import joined, picked
from modelry_server.tracking.domain.series import BLOCK, Extent
from modelry_server.tracking.entities import Floats, Ints, MetricColumns

LEAST = 4
_SHARE_OF_BREAKS = 4
_SPANS = 2  # for each point that is wanted: of each span two points are kept
_LEAST_SPANS = 2  # of a block: the library takes no less
_WIDEST = 1 << 62
_NOT_FINITE = _NAN, _INFINITY, _MINUS_INFINITY = 1, 2, 3


def downsample(columns: MetricColumns, n: int) -> MetricColumns:
    """At most `n` points (at least 4) of a series that is sorted by step."""
    if len(columns) <= n:
        return columns
    kinds = _kinds(columns.values)
    breaks = np.flatnonzero((kinds != 0) & (np.diff(kinds, prepend=0) != 0))
    return _thinned(columns, breaks, n)


def downsample_parts(parts: Iterable[MetricColumns], n: int, extent: Extent) -> tuple[MetricColumns, int] | None:
    """At most `n` points (at least 4) of a series that comes in parts, and how many points it has; None if none."""
    blocks = _blocks(parts, max(BLOCK, n))
    block = next(blocks, None)
    if block is None:
        return None
    reduction = _Reduction(n, extent)
    for following in blocks:
        reduction.add(block)
        block = following
    if not reduction.count:
        return downsample(block, n), len(block)
    reduction.add(block, is_last=True)
    return reduction.result(), reduction.count


class _Reduction:
    """What is kept of the blocks of a long series until its end is known."""

    def __init__(self, n: int, extent: Extent) -> None:
        self.count = 0
        self._n = n
        self._extent = extent
        self._kept: list[MetricColumns] = []
        self._breaks: list[Ints] = []  # as indexes into all that is kept
        self._length = 0
        self._last_kind = 0

    def add(self, block: MetricColumns, *, is_last: bool = False) -> None:
        """Keeps what matters of the next block."""
        breaks, spans = self._of_finite(block) if np.isfinite(block.values).all() else self._of_any(block)
        ends = [0] * (not self.count) + [len(block) - 1] * is_last
        kept = np.unique(np.concatenate([breaks, spans, ends]).astype(np.int64))
        self._kept.append(picked(block, kept))
        self._breaks.append(self._length + np.searchsorted(kept, breaks))
        self._length += len(kept)
        self.count += len(block)

    def _of_finite(self, block: MetricColumns) -> tuple[Ints, Ints]:
        """The breaks of a block that has none, and the extremes of its spans."""
        self._last_kind = 0
        return np.zeros(0, np.int64), _extremes_of_spans(block.steps, block.values, self._spans(block))

    def _of_any(self, block: MetricColumns) -> tuple[Ints, Ints]:
        """The first points of stretches that are not finite, and the extremes of the spans of all others."""
        kinds = _kinds(block.values)
        breaks = np.flatnonzero((kinds != 0) & (np.diff(kinds, prepend=self._last_kind) != 0))
        most = len(_NOT_FINITE) + int(_most_breaks(self._n) * self._share(block))
        breaks = _spread(breaks, block.values[breaks], most)
        self._last_kind = int(kinds[-1])
        finite = np.flatnonzero(kinds == 0)
        return breaks, finite[_extremes_of_spans(block.steps[finite], block.values[finite], self._spans(block))]

    def result(self) -> MetricColumns:
        """At most n points of all blocks."""
        return _thinned(joined(self._kept), np.concatenate(self._breaks), self._n)

    def _spans(self, block: MetricColumns) -> int:
        """How many spans a block is worth."""
        return _LEAST_SPANS + int(_SPANS * self._n * self._share(block))

    def _share(self, block: MetricColumns) -> float:
        """The block's share of the steps, or of the points if that is more."""
        of_steps = (int(block.steps[-1]) - int(block.steps[0])) / max(
            1, self._extent.last_step - self._extent.first_step
        )
        of_points = len(block) / max(self._extent.points, 1)
        return min(1.0, max(of_steps, of_points))


def _blocks(parts: Iterable[MetricColumns], least: int) -> Iterator[MetricColumns]:
    """The parts joined to blocks of at least `least` points; the last one may have fewer."""
    waiting: list[MetricColumns] = []
    for part in parts:
        if sum(map(len, waiting)) >= least:
            yield joined(waiting)
            waiting = []
        waiting.append(part)
    if waiting:
        yield joined(waiting)


def _thinned(columns: MetricColumns, breaks: Ints, n: int) -> MetricColumns:
    """At most `n` points: the ends, the extremes, `breaks`, and what MinMaxLTTB picks of the finite ones."""
    always = np.unique([0, len(columns) - 1])
    if n > LEAST:
        always = np.union1d(always, _spread(breaks, columns.values[breaks], _most_breaks(n)))
    finite = np.flatnonzero(np.isfinite(columns.values))
    if len(finite):
        values = columns.values[finite]
        always = np.union1d(always, finite[[int(values.argmin()), int(values.argmax())]])
        room = n - len(always)
        if room >= 3:
            chosen = _chosen(columns.steps[finite], values, min(room, len(finite)))
            always = np.union1d(always, finite[chosen])
    return picked(columns, always.astype(np.int64))


def _spread(breaks: Ints, values: Floats, most: int) -> Ints:
    """At most so many of the breaks, which have these values: the first of each kind, and others spread evenly."""
    if len(breaks) <= most:
        return breaks
    kinds = _kinds(values)
    firsts = [int(np.argmax(kinds == kind)) for kind in _NOT_FINITE if (kinds == kind).any()][:most]
    rest, room = np.delete(breaks, firsts), most - len(firsts)
    places = ((np.arange(room) + 0.5) * len(rest) / max(room, 1)).astype(np.int64)
    return np.union1d(breaks[firsts], rest[places])


def _chosen(steps: Ints, values: Floats, n: int) -> Ints:
    sampler = MinMaxLTTBDownsampler()
    return np.asarray(sampler.downsample(*_abscissa(steps), values, n_out=n), np.int64)


def _extremes_of_spans(steps: Ints, values: Floats, spans: int) -> Ints:
    """The index of the smallest and of the largest point of each span."""
    if len(values) <= 2 * spans:
        return np.arange(len(values))
    sampler = MinMaxDownsampler()
    return np.asarray(sampler.downsample(*_abscissa(steps), values, n_out=2 * spans), np.int64)


def _abscissa(steps: Ints) -> list[Ints]:
    """The steps, if the library takes them: they must rise, and not by more than an int64 holds.

    Other points are drawn evenly spaced.
    """
    rising = bool((steps[1:] > steps[:-1]).all()) and int(steps[-1]) - int(steps[0]) < _WIDEST
    return [steps] if rising else []


def _most_breaks(n: int) -> int:
    return max(1, n // _SHARE_OF_BREAKS)


def _kinds(values: Floats) -> npt.NDArray[np.int8]:
    """0 for a finite value, and other numbers for NaN, infinity and minus infinity."""
    kinds = np.zeros(len(values), np.int8)
    odd = np.flatnonzero(~np.isfinite(values))
    if len(odd):
        signs = np.where(values[odd] > 0, _INFINITY, _MINUS_INFINITY)
        kinds[odd] = np.where(np.isnan(values[odd]), _NAN, signs)
    return kinds
