"""Writing and reading series, and merging their chunks."""

import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from modelry_server.kernel.requests.fields import Fields, is_key
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.columns import distinct, joined, picked
from modelry_server.tracking.domain.downsample import LEAST, downsample_parts
from modelry_server.tracking.domain.ingest import Ingest
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.series import Parking, Series
from modelry_server.tracking.entities import Batch, MetricColumns
from modelry_server.tracking.store import metrics as store

BATCH_POINTS = 100_000
BATCH_KEYS = 1000
WRITER_LENGTH = 64
READ_RUNS = 100
MOST_POINTS = 100_000
_LONGEST_PAUSE_S = 0.1
_MOST_SMALL = 1_000_000  # series whose small chunks are counted; others are found by `merge_all`
_MERGED_CHUNKS = 1000  # at once: keeps the transaction short, and the number of ids within what a statement takes
_MERGED_POINTS = 262_144  # at once: bounds the memory


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series to read: the keys of each run, or all of them, within a range of steps.

    Each is downsampled to `max_points`, unless that is 0.
    """

    run_ids: Sequence[str]
    keys: Sequence[str]
    max_points: int = 0
    min_step: int | None = None
    max_step: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesPart:
    """Points of a series, following those of the part before if it is of the same series.

    A downsampled series is one part, whose `point_count` is the number of points in the range. Otherwise it is None.
    """

    run_id: str
    columns: MetricColumns
    point_count: int | None = None


class Metrics:
    """Writes numbered batches, reads series, merges chunks of up to `chunk_points` points."""

    def __init__(self, db: Database, places: Places, ingest: Ingest, *, chunk_points: int, merge_chunks: int) -> None:
        self._db = db
        self._places = places
        self._ingest = ingest
        self._chunk_points = chunk_points
        self._merge_chunks = merge_chunks
        self._parking = Parking()
        self._small: dict[tuple[str, str], int] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def write(self, batch: Batch) -> int:
        """Commits a numbered batch. Returns the writer's highest durable number.

        Raises FieldInvalid, RunNotFound, RunDeleted, LimitReached, BatchGap.
        """
        with Fields() as fields:
            fields.id("run_id", batch.run_id)
        self._places.require_runs([batch.run_id])
        with Fields() as fields:
            fields.text("writer_id", batch.writer_id, longest=WRITER_LENGTH, shortest=1)
            if batch.number < 1:
                fields.refuse("batch_number", f"{batch.number} is not a batch number: the first is 1")
            check_columns(fields, batch.metrics)
        return self._ingest.write(batch)

    def read(self, query: SeriesQuery) -> Iterator[SeriesPart]:
        """The series of a query, run by run and key by key, in bounded memory.

        Raises FieldInvalid and RunNotFound before the first part.
        """
        with Fields() as fields:
            run_ids = fields.each("run_ids", query.run_ids, fields.id, required=True, most=READ_RUNS)
        self._places.require_runs(run_ids)
        with Fields() as fields:
            keys = fields.each("keys", query.keys, fields.key, most=BATCH_KEYS)
            if query.max_points and not LEAST <= query.max_points <= MOST_POINTS:
                fields.refuse(
                    "max_points", f"{query.max_points} must be 0 (all points) or from {LEAST} to {MOST_POINTS}"
                )
            if query.min_step is not None and query.max_step is not None and query.min_step > query.max_step:
                fields.refuse("min_step", f"{query.min_step} is above max_step, {query.max_step}")
        return self._parts(replace(query, run_ids=run_ids, keys=keys))

    def _parts(self, query: SeriesQuery) -> Iterator[SeriesPart]:
        for run_id in query.run_ids:
            keys = query.keys
            if not keys:
                with self._db.read() as tx:
                    keys = store.keys(tx, run_id)
            for key in keys:
                series = Series(
                    self._db,
                    run_id,
                    key,
                    min_step=query.min_step,
                    max_step=query.max_step,
                    parking=None if query.max_points else self._parking,
                )
                extent = series.extent()
                if extent is None:
                    continue
                if not query.max_points:
                    yield from map(partial(SeriesPart, run_id), series.parts())
                elif thinned := downsample_parts(series.parts(), query.max_points, extent):
                    yield SeriesPart(run_id, *thinned)

    def run_ended(self, run_id: str) -> None:
        """Notes that the series of a run are complete, so that the next merge merges all of them."""
        self._ended.put(run_id)

    def merge(self) -> int:
        """Merges the small chunks of series that have many of them, and of runs that have ended.

        Returns the number of chunks that were merged. For one thread at a time.
        """
        for series, count in self._ingest.written_series().items():
            self._small[series] = self._small.get(series, 0) + count
        merged = 0
        for series in [series for series, count in self._small.items() if count >= self._merge_chunks]:
            del self._small[series]
            merged += self.merge_series(*series)
        ended = {self._ended.get() for _ in range(self._ended.qsize())}
        if ended:
            self._small = {series: count for series, count in self._small.items() if series[0] not in ended}
        for series in list(self._small)[: max(0, len(self._small) - _MOST_SMALL)]:  # of runs that never ended
            del self._small[series]
        return merged + sum(map(self.merge_run, ended))

    def merge_all(self) -> int:
        """Finds series with many small chunks in the whole store, such as after a restart, and merges them."""
        with self._db.read() as tx:
            scattered = store.scattered(tx, self._chunk_points // 2, self._merge_chunks)
        return sum(self.merge_series(run_id, key) for run_id, key in scattered)

    def merge_run(self, run_id: str) -> int:
        """Merges the chunks of all series of a run."""
        with self._db.read() as tx:
            keys = store.keys(tx, run_id)
        return sum(self.merge_series(run_id, key) for key in keys)

    def merge_series(self, run_id: str, key: str) -> int:
        """Replaces the small chunks of a series by big ones. No point is lost or doubled."""
        merged = 0
        begun = time.perf_counter()
        while taken := self._merge_some(run_id, key):
            merged += taken
            time.sleep(min(time.perf_counter() - begun, _LONGEST_PAUSE_S))  # at most half of the time is for merging
            begun = time.perf_counter()
        instruments.chunks_merged_total.inc(merged)
        return merged

    def _merge_some(self, run_id: str, key: str) -> int:
        """Merges as many small chunks as one transaction takes. Returns 0 if fewer than two are left.

        Chunks never change, so they are read and merged while others write. If another process has merged some of them
        meanwhile, nothing is changed, and that process goes on with the rest.
        """
        with self._db.read() as tx:
            small = store.small_chunks(tx, run_id, key, smaller_than=self._chunk_points // 2, limit=_MERGED_CHUNKS)
            old = store.read_chunks(tx, key, _first_of(small, _MERGED_POINTS))
        if len(old) < 2:
            return 0
        everything = joined([chunk.columns for chunk in old])
        kept = distinct(everything)
        new = [picked(kept, slice(at, at + self._chunk_points)) for at in range(0, len(kept), self._chunk_points)]
        with self._db.write() as tx:
            lost = len(everything) - len(kept)
            replaced = store.replace(tx, run_id, [chunk.chunk_id for chunk in old], new, lost=lost)
        return len(old) if replaced else 0


def _first_of(small: Sequence[tuple[int, int]], most_points: int) -> list[int]:
    """The ids of the first chunks that have at most so many points together, or of the first two."""
    taken: list[int] = []
    points = 0
    for chunk_id, count in small:
        points += count
        if points > most_points and len(taken) >= 2:
            break
        taken.append(chunk_id)
    return taken


def check_columns(fields: Fields, metrics: Sequence[MetricColumns], path: str = "metrics") -> None:
    """Judges the columns of a batch: keys, equal lengths, how many."""
    if len(metrics) > BATCH_KEYS:
        fields.refuse(path, f"has {len(metrics)} keys, at most {BATCH_KEYS} are allowed in one call")
        return
    points = 0
    for index, columns in enumerate(metrics):
        if not is_key(columns.key):
            fields.key(f"{path}[{index}].key", columns.key)
        steps, times, values = len(columns.steps), len(columns.times), len(columns.values)
        if not steps == times == values:
            fields.refuse(
                f"{path}[{index}]",
                f"{columns.key!r} has {steps} steps, {times} times_ms and {values} values; all must be equally many",
            )
        points += steps
    if points > BATCH_POINTS:
        fields.refuse(path, f"has {points} points, at most {BATCH_POINTS} are allowed in one call")
