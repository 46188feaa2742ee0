"""Reads a series in order, of whatever length, in bounded memory.

Each chunk is listed with (step, time) of its first and its last point. Chunks are read in the order of their first
points. All points that come before the first point of the next chunk are complete: they are sorted and given. Where
chunks follow each other, or overlap a little, as those of a training loop or of several writers do, this reads each
chunk once and holds a few of them.

Where so many chunks overlap that too many points wait to be complete (random steps, or millions of points at one step
and time), only the first `kept` points are kept, and the others are forgotten. They are read again in the next pass,
which begins after the last point that was given. So the memory is bounded, at about 80 MiB, and the time grows with the
square of the number of points that overlap: 10 million points at random steps take 30 s, in order they take 1 s. The
alternative, sorting in a temporary file, is linear, but needs as much disk as all series that are being read, and a
server may have no disk, or its temporary files in memory. Such series are rare, and a slow reader does less harm than a
full disk.

While the reader of a stream is slow, nothing is held for it but the message that it was given: what was read ahead is
parked, and dropped where too much is parked in all. It is read again when the reader goes on.

The list takes about 250 bytes for each chunk, which has 8,000 points or more once the background job has merged it.
"""

import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from modelry_server.kernel.sql.database import Database
from modelry_server.tracking.domain import columns as points
from modelry_server.tracking.domain.columns import Key, distinct, joined
from modelry_server.tracking.entities import Floats, Ints, MetricColumns
from modelry_server.tracking.store import metrics as store
from modelry_server.tracking.store.metrics import ListedChunk

BLOCK = 65_536
"""About how many points are read at once, and are given at once."""
PIECE = 8192
"""How many points are given at once to a reader that may be slow: about 0.2 MiB in a message."""
KEPT = 262_144
"""How many points are kept when too many wait to be complete; too many are twice as many."""

_CHUNKS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Extent:
    """What is known of a series before it is read. `points` may be too high: repeated points count."""

    points: int
    first_step: int
    last_step: int


class Parking:
    """Where readers that wait leave what was read ahead for them: at most so many bytes, the latest ones."""

    def __init__(self, most_bytes: int = 24 << 20) -> None:
        self._left = most_bytes
        self._lock = threading.Lock()
        self._parked: OrderedDict[Series, tuple[list[MetricColumns], int]] = OrderedDict()

    def put(self, owner: "Series", ahead: list[MetricColumns]) -> None:
        """Parks what was read ahead, in place of the oldest."""
        size = sum(_bytes(column) for each in ahead for column in (each.steps, each.times, each.values))
        with self._lock:
            self._parked[owner] = ahead, size
            self._left -= size
            while self._left < 0:
                self._left += self._parked.popitem(last=False)[1][1]

    def take(self, owner: "Series") -> list[MetricColumns] | None:
        """What was parked; None if it was dropped."""
        with self._lock:
            ahead, size = self._parked.pop(owner, (None, 0))
            self._left += size
            return ahead


class Series:
    """One series, between two steps, ready to be read once. Holds no transaction while its reader waits.

    With a `parking` it gives parts of at most 8192 points, and holds none while its reader waits.
    """

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
        parking: Parking | None = None,
    ) -> None:
        self._db = db
        self._run_id = run_id
        self._key = key
        self._min_step = min_step
        self._max_step = max_step
        self._block = block
        self._kept = kept
        self._at_once = sys.maxsize if parking is None else PIECE
        self._parking = parking
        self._after: Key | None = None  # the key of the last point that was given
        self._at_hand: dict[int, MetricColumns] = {}  # chunks that came with the list
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
        try:
            while not (yield from self._pass()):
                self._listed = self._list()
        finally:
            if self._parking is not None:
                self._parking.take(self)

    def _pass(self) -> Generator[MetricColumns, None, bool]:
        """Gives points, beginning where the pass before ended. Returns whether there are no more.

        It ends early where chunks were replaced by merged ones meanwhile, where it had to forget points, and where what
        it had parked was dropped.
        """
        ahead = deque(self._listed)
        held: list[MetricColumns] = []
        limit: Key | None = None  # set once points were forgotten: the last one that is kept
        while ahead and not (limit and ahead[0].first > limit[:2]):
            read = self._read(ahead, limit)
            if read is None:
                return False
            held += read
            read = None
            count = sum(map(len, held))
            if limit is None and ahead and count >= self._block:
                held = list(points.parted(joined(held), *ahead[0].first))
                if len(held[0]) >= self._block:
                    giving = self._give(held)
                    held = []  # no name here may keep what is parked
                    kept = yield from giving
                    if kept is None:
                        return False
                    held, count = kept, sum(map(len, kept))
            if ahead and count > 2 * self._kept:
                held = [points.smallest(joined(held), self._kept)]
                limit = points.greatest_key(held[0])
        if any(map(len, held)):
            giving = self._give([joined(held)])
            held = []
            if (yield from giving) is None:
                return False
        self._after = limit or self._after
        return limit is None

    def _give(self, ahead: list[MetricColumns]) -> Generator[MetricColumns, None, list[MetricColumns] | None]:
        """Gives the first of these columns, in order. Returns the others; None if they were dropped meanwhile."""
        ahead[0] = distinct(ahead[0])
        while len(ahead[0]):
            piece = [self._cut(ahead)]
            if self._parking is None:
                yield piece.pop()
                continue
            self._parking.put(self, ahead)
            del ahead
            yield piece.pop()
            taken = self._parking.take(self)
            if taken is None:
                return None
            ahead = taken
        return ahead[1:]

    def _cut(self, ahead: list[MetricColumns]) -> MetricColumns:
        """The next points of the first of these columns, which keeps the others."""
        first = ahead[0]
        size = min(len(first), self._at_once)
        piece = points.picked(first, slice(0, size))
        ahead[0] = points.picked(first, slice(size, None))
        self._after = points.key_at(piece, -1)
        return piece

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
        found = {chunk_id: self._at_hand[chunk_id] for chunk_id in taken if chunk_id in self._at_hand}
        if len(found) < len(taken):
            with self._db.read() as tx:
                found = {each.chunk_id: each.columns for each in store.read_chunks(tx, self._key, list(taken))}
        if len(found) < len(taken):
            return None
        return [self._within(found[chunk_id], chunk, limit) for chunk_id, chunk in taken.items()]

    def _within(self, part: MetricColumns, chunk: ListedChunk, limit: Key | None) -> MetricColumns:
        """The points of a chunk that are in the range of steps, not given yet, and not beyond the limit."""
        if self._min_step is not None and chunk.first[0] < self._min_step:
            part = points.picked(part, part.steps >= self._min_step)
        if self._max_step is not None and chunk.last[0] > self._max_step:
            part = points.picked(part, part.steps <= self._max_step)
        after = self._after if self._after is not None and chunk.first <= self._after[:2] else None
        limit = limit if limit is not None and chunk.last >= limit[:2] else None
        return points.between(part, after, limit)

    def _list(self) -> list[ListedChunk]:
        """The chunks that may have points that are still to be given, in the order of their first points."""
        within = {"min_step": self._min_step, "max_step": self._max_step}
        with self._db.read() as tx:
            few = store.few_chunks(tx, self._run_id, self._key, **within)
            listed = store.listed(tx, self._run_id, self._key, **within) if few is None else few
        self._at_hand = {chunk.chunk_id: part for chunk, part in few.items()} if few else {}
        wanted = (each for each in listed if self._after is None or each.last >= self._after[:2])
        return sorted(wanted, key=lambda each: each.first)


def _bytes(column: Ints | Floats) -> int:
    """What a column keeps in memory: a part of another one keeps all of that."""
    return (column if column.base is None else column.base).nbytes
