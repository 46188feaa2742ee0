"""Reads a series in order, of whatever length, in bounded memory.

Each chunk is listed with (step, time) of its first and its last point. Chunks are read in the order of their first
points; what comes before the first point of the next chunk is complete, is sorted and given. Where chunks follow each
other, or overlap a little, as those of a training loop and of several writers do, this reads every chunk once and keeps
a few of them.

Where so many chunks overlap that the points which wait are too many (random steps, or millions of points at one step
and time), only the first `kept` of them are kept and the others forgotten. These are read again in the next pass, which
begins after the last point that was given. So the memory is bounded, and the time grows with the square of the number
of points that overlap: a pass for each 262,144 points, of about 0.5 s for 10 million. A sort in a temporary file would
be linear, but needs as much disk as the series has bytes, for each reader; a server may have none, or may have its
temporary files in memory. Layouts that need passes are rare enough to be slow.

The list itself takes about 200 bytes a chunk, for 8,000 points or more once the background job has merged small ones.
"""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.domain import columns as points
from modelry_server.tracking.domain.columns import Key, distinct, joined
from modelry_server.tracking.entities import MetricColumns
from modelry_server.tracking.store import metrics as store
from modelry_server.tracking.store.metrics import ListedChunk

BLOCK = 65_536
"""How many points are read at once, and given at once, about."""
KEPT = 262_144
"""How many points wait at most until they are complete; twice as many while they are being sorted."""

_CHUNKS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Extent:
    """What is known of a series before it is read. `points` may be too high: repeated points count."""

    points: int
    first_step: int
    last_step: int


class Series:
    """One series, between two steps, ready to be read once. Holds no transaction while its reader waits."""

    def __init__(
        self,
        db: Database,
        run_id: str,
        key: str,
        *,
        min_step: int | None = None,
        max_step: int | None = None,
        block: int = BLOCK,
        kept: int = KEPT,
    ) -> None:
        self._db = db
        self._run_id = run_id
        self._key = key
        self._min_step = min_step
        self._max_step = max_step
        self._block = block
        self._kept = kept
        self._after: Key | None = None  # the key of the last point that was given
        self._listed = self._list()

    def extent(self) -> Extent | None:
        """How long it is at most; None if it has no points."""
        if not self._listed:
            return None
        first, last = self._listed[0].first[0], max(each.last[0] for each in self._listed)
        return Extent(
            sum(each.point_count for each in self._listed),
            first if self._min_step is None else max(first, self._min_step),
            last if self._max_step is None else min(last, self._max_step),
        )

    def parts(self) -> Iterator[MetricColumns]:
        """All points in order, each once, in parts of which none is empty."""
        while not (yield from self._pass()):
            self._listed = self._list()

    def _pass(self) -> Generator[MetricColumns, None, bool]:
        """Gives points, beginning where the pass before ended. Returns whether there are no more.

        It ends early where chunks were replaced by merged ones meanwhile, and where it had to forget points.
        """
        ahead, wanted = deque(self._listed), self._block
        held: list[MetricColumns] = []
        limit: Key | None = None  # set once points were forgotten: the last one that is kept
        while ahead and not (limit and ahead[0].first > limit[:2]):
            read = self._read(ahead, limit)
            if read is None:
                return False
            held += [part for part in read if len(part)]
            count = sum(map(len, held))
            if limit is None and count >= wanted:
                ready, rest = self._parted(distinct(joined(held)), ahead)
                if len(ready):
                    yield self._given(ready)
                if len(rest) > self._kept:
                    rest = points.picked(rest, slice(self._kept))
                    limit = points.key_at(rest, -1)
                held, wanted = [rest], max(self._block, 2 * len(rest))
            elif limit is not None and count > 2 * self._kept:
                held = [points.smallest(joined(held), self._kept)]
                limit = points.greatest_key(held[0])
        if held and len(ready := distinct(joined(held))):
            yield self._given(ready)
        self._after = limit or self._after
        return limit is None

    def _parted(self, held: MetricColumns, ahead: deque[ListedChunk]) -> tuple[MetricColumns, MetricColumns]:
        """What comes before all points that are still to be read, and the rest."""
        complete = points.index_of(held, *ahead[0].first) if ahead else len(held)
        return points.picked(held, slice(complete)), points.picked(held, slice(complete, None))

    def _given(self, part: MetricColumns) -> MetricColumns:
        self._after = points.key_at(part, -1)
        return part

    def _read(self, ahead: deque[ListedChunk], limit: Key | None) -> list[MetricColumns] | None:
        """The points of the next chunks that are still to be given; None if one of the chunks is gone."""
        taken: dict[int, ListedChunk] = {}
        count = 0
        while ahead and count < self._block and len(taken) < _CHUNKS_AT_ONCE:
            if limit is not None and ahead[0].first > limit[:2]:
                break
            chunk = ahead.popleft()
            taken[chunk.chunk_id] = chunk
            count += chunk.point_count
        with self._db.read() as tx:
            found = store.read_chunks(tx, self._key, list(taken))
        if len(found) < len(taken):
            return None
        return [self._within(each.columns, taken[each.chunk_id], limit) for each in found]

    def _within(self, part: MetricColumns, chunk: ListedChunk, limit: Key | None) -> MetricColumns:
        """The points of a chunk that are in the range of steps, not given yet, and not beyond the limit."""
        if self._min_step is not None and chunk.first[0] < self._min_step:
            part = points.picked(part, part.steps >= self._min_step)
        if self._max_step is not None and chunk.last[0] > self._max_step:
            part = points.picked(part, part.steps <= self._max_step)
        if self._after is not None and chunk.first <= self._after[:2]:
            part = points.picked(part, points.are_after(part, self._after))
        if limit is not None and chunk.last >= limit[:2]:
            part = points.picked(part, ~points.are_after(part, limit))
        return part

    def _list(self) -> list[ListedChunk]:
        with self._db.read() as tx:
            listed = store.listed(tx, self._run_id, self._key, min_step=self._min_step, max_step=self._max_step)
        return [each for each in listed if self._after is None or each.last >= self._after[:2]]
