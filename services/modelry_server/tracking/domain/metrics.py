"""Writing and reading series, and merging their chunks."""

import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from modelry_server.kernel.requests.fields import Fields, is_key
from modelry_server.kernel.sql.database import Database
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.downsample import LEAST, downsample
from modelry_server.tracking.domain.ingest import Ingest, joined
from modelry_server.tracking.entities import Batch, MetricColumns
from modelry_server.tracking.errors import RunNotFound
from modelry_server.tracking.store import metrics as store
from modelry_server.tracking.store import runs as run_store
from modelry_server.tracking.store.chunks import ordered_bits

BATCH_POINTS = 100_000
BATCH_KEYS = 1000
WRITER_LENGTH = 64
READ_RUNS = 100
MOST_POINTS = 100_000
STEP_LIMIT = 1 << 63
_LONGEST_PAUSE_S = 0.1
_MOST_SMALL = 1_000_000  # series whose small chunks are counted; what is forgotten is looked for later
_MERGED_AT_ONCE = 1000  # chunks: keeps the transaction short, and their ids within what a statement takes


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series to read: of each run the keys, or all; thinned to `max_points` unless 0; within a range of steps."""

    run_ids: Sequence[str]
    keys: Sequence[str]
    max_points: int = 0
    min_step: int | None = None
    max_step: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesRead:
    """A series as read, and how many points it has in the range before thinning."""

    run_id: str
    columns: MetricColumns
    point_count: int


class Metrics:
    """Writes numbered batches, reads series, merges chunks of up to `chunk_points` points."""

    def __init__(self, db: Database, ingest: Ingest, *, chunk_points: int, merge_chunks: int) -> None:
        self._db = db
        self._ingest = ingest
        self._chunk_points = chunk_points
        self._merge_chunks = merge_chunks
        self._small: dict[tuple[str, str], int] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def write(self, batch: Batch) -> int:
        """Commits a numbered batch; returns the writer's highest durable number.

        Raises FieldInvalid, RunNotFound, RunDeleted, BatchGap.
        """
        with Fields() as fields:
            fields.id("run_id", batch.run_id)
            fields.text("writer_id", batch.writer_id, longest=WRITER_LENGTH, shortest=1)
            if batch.number < 1:
                fields.refuse("batch_number", f"{batch.number} is not a batch number: the first is 1")
            check_columns(fields, batch.metrics)
        return self._ingest.write(batch)

    def read(self, query: SeriesQuery) -> Iterator[SeriesRead]:
        """The series of a query, run by run and key by key. Raises FieldInvalid, RunNotFound before the first."""
        with Fields() as fields:
            fields.count("run_ids", query.run_ids, required=True, most=READ_RUNS)
            for index, run_id in enumerate(query.run_ids):
                fields.id(f"run_ids[{index}]", run_id)
            fields.count("keys", query.keys, most=BATCH_KEYS)
            for index, key in enumerate(query.keys):
                fields.key(f"keys[{index}]", key)
            if query.max_points and not LEAST <= query.max_points <= MOST_POINTS:
                fields.refuse(
                    "max_points", f"{query.max_points} must be 0 (all points) or from {LEAST} to {MOST_POINTS}"
                )
            if query.min_step is not None and query.max_step is not None and query.min_step > query.max_step:
                fields.refuse("min_step", f"{query.min_step} is above max_step, {query.max_step}")
        with self._db.read() as tx:
            known = run_store.states(tx, query.run_ids)
            for run_id in query.run_ids:
                if run_id not in known:
                    raise RunNotFound(run_id)
        return self._series(query)

    def _series(self, query: SeriesQuery) -> Iterator[SeriesRead]:
        for run_id in query.run_ids:
            with self._db.read() as tx:
                keys = list(query.keys) or store.keys(tx, run_id)
            for key in keys:
                with self._db.read() as tx:  # one for each series: a slow reader holds no transaction
                    parts = [
                        c.columns for c in store.read(tx, run_id, key, min_step=query.min_step, max_step=query.max_step)
                    ]
                if not parts:
                    continue
                columns = _within(distinct(joined(parts)), query.min_step, query.max_step)
                count = len(columns)
                if query.max_points:
                    columns = downsample(columns, query.max_points)
                if count:
                    yield SeriesRead(run_id, columns, count)

    def run_ended(self, run_id: str) -> None:
        """Notes that the series of a run are complete, so that the next merge takes them whole."""
        self._ended.put(run_id)

    def merge(self) -> int:
        """Merges the small chunks of series that have gathered many, and those of runs that ended.

        Returns how many chunks became part of others. For one thread at a time.
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
        """Looks for scattered series in the whole store, as after a restart, and merges them."""
        with self._db.read() as tx:
            scattered = store.scattered(tx, self._chunk_points // 2, self._merge_chunks)
        return sum(self.merge_series(run_id, key) for run_id, key in scattered)

    def merge_run(self, run_id: str) -> int:
        """Merges all series of a run, as when it ends."""
        with self._db.read() as tx:
            keys = store.keys(tx, run_id)
        return sum(self.merge_series(run_id, key) for key in keys)

    def merge_series(self, run_id: str, key: str) -> int:
        """Puts big chunks in the place of the small ones of a series; no point is lost or doubled."""
        merged = 0
        begun = time.perf_counter()
        while taken := self._merge_some(run_id, key):
            merged += taken
            time.sleep(min(time.perf_counter() - begun, _LONGEST_PAUSE_S))  # at most half of the time is for merging
            begun = time.perf_counter()
        instruments.chunks_merged_total.inc(merged)
        return merged

    def _merge_some(self, run_id: str, key: str) -> int:
        """Merges as many small chunks as one transaction takes; 0 when fewer than two are left.

        Chunks never change, so they are read and put together while others write. Where another process merged some of
        them meanwhile, nothing is changed: it goes on with the rest.
        """
        with self._db.read() as tx:
            old = store.read_chunks(
                tx, key, store.small_chunks(tx, run_id, key, self._chunk_points // 2, _MERGED_AT_ONCE)
            )
        if len(old) < 2:
            return 0
        everything = joined([chunk.columns for chunk in old])
        kept = distinct(everything)
        new = [
            MetricColumns(key, kept.steps[at:end], kept.times[at:end], kept.values[at:end])
            for at in range(0, len(kept), self._chunk_points)
            for end in [at + self._chunk_points]
        ]
        with self._db.write() as tx:
            lost = len(everything) - len(kept)
            replaced = store.replace(tx, run_id, [chunk.chunk_id for chunk in old], new, lost=lost)
        return len(old) if replaced else 0


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


def distinct(columns: MetricColumns) -> MetricColumns:
    """The points sorted by (step, time, value), each once."""
    steps, times, values = columns.steps, columns.times, columns.values
    if (steps[1:] > steps[:-1]).all():
        return columns
    order = np.lexsort((ordered_bits(values), times, steps))
    steps, times, bits = steps[order], times[order], values.view(np.int64)[order]
    kept = np.ones(len(steps), bool)
    kept[1:] = (steps[1:] != steps[:-1]) | (times[1:] != times[:-1]) | (bits[1:] != bits[:-1])
    return MetricColumns(columns.key, steps[kept], times[kept], bits[kept].view(np.float64))


def _within(columns: MetricColumns, low: int | None, high: int | None) -> MetricColumns:
    if low is None and high is None:
        return columns
    begin = 0 if low is None else int(np.searchsorted(columns.steps, low, "left"))
    end = len(columns) if high is None else int(np.searchsorted(columns.steps, high, "right"))
    return MetricColumns(columns.key, columns.steps[begin:end], columns.times[begin:end], columns.values[begin:end])
