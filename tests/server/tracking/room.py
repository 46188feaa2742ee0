"""The room as its own layers see it: built on a real database, without a server in front."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import _GeneratorContextManager
from typing import Any

import numpy as np
import sqlalchemy as sa

from modelry_server.databases import migrations
from modelry_server.kernel.access import Access, Judge, Open
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.domain.datasets import Datasets
from modelry_server.tracking.domain.experiments import Experiments
from modelry_server.tracking.domain.heartbeats import Heartbeats
from modelry_server.tracking.domain.ingest import Ingest
from modelry_server.tracking.domain.metrics import Metrics, SeriesQuery
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.run_creation import RunCreation, RunDraft
from modelry_server.tracking.domain.runs import Runs
from modelry_server.tracking.domain.usage import Usage
from modelry_server.tracking.entities import Batch, Experiment, MetricColumns, MetricSummary
from modelry_server.tracking.store import experiments as store
from modelry_server.tracking.store import tables
from tests.parts.clock import HeldClock

ONCE = Request("", "", "", "")
"""A request without a request id."""

NOBODY_THERE = "127.0.0.1:1"
"""An address at which nobody listens. The workspace `default` needs no asking."""

Point = tuple[int, int, int]
"""Step, time, and the bits of the value as a signed number."""


class CountedDatabase(Database):
    """A database that counts the transactions that only read."""

    reads = 0

    def read(self) -> _GeneratorContextManager[Transaction]:
        self.reads += 1
        return super().read()


class Room:
    """Tracking on one database. A second one on the same URL is what another process would be."""

    def __init__(
        self,
        url: str,
        *,
        access: str = NOBODY_THERE,
        chunk_points: int = 128,
        gap_wait_s: float = 0.0,
        group_points: int = 200_000,
        judge: Judge | None = None,
    ) -> None:
        self.url = url
        self.db = CountedDatabase(url, room="tracking", migrations=migrations("tracking"))
        self.clock = HeldClock()
        self.requests = Requests(tables.requests, self.clock)
        self.access = Neighbour("access", access)
        workspaces = Workspaces(self.access)
        self.ingest = Ingest(self.db, group_points=group_points, gap_wait_s=gap_wait_s)
        self.allowed = Access(judge or Open())
        self.places = places = Places(self.db, self.allowed)
        self.metrics = Metrics(self.db, places, self.ingest, chunk_points=chunk_points, merge_chunks=2)
        self.experiments = Experiments(self.db, places, requests=self.requests, workspaces=workspaces, clock=self.clock)
        self.usage = Usage(self.db, self.allowed, workspaces)
        self.run_creation = RunCreation(self.db, places, requests=self.requests, clock=self.clock, usage=self.usage)
        self.runs = Runs(
            self.db, places, workspaces=workspaces, ingest=self.ingest, metrics=self.metrics, clock=self.clock
        )
        self.heartbeats = Heartbeats(
            self.db, places, self.allowed, metrics=self.metrics, clock=self.clock, pause_s=60.0
        )
        self.datasets = Datasets(self.db, places, workspaces=workspaces, clock=self.clock)

    def close(self) -> None:
        """Lets go of the database."""
        self.access.close()
        self.db.close()

    def an_experiment(self, workspace: str = "default") -> str:
        """The id of a new experiment; in another workspace, without asking whether there is one."""
        new = Experiment("", workspace, f"experiment {new_id()}", self.clock.now(), self.clock.now())
        with self.db.write() as tx:
            made = store.add(tx, new)
        assert made is not None
        return made.experiment_id

    def a_run(self, experiment_id: str = "0") -> str:
        """The id of a new run."""
        return self.run_creation.create(RunDraft(experiment_id), ONCE).run_id

    def points(self, run_id: str, key: str) -> list[Point]:
        """The points of a series as a reader gets them."""
        found: list[Point] = []
        for series in self.metrics.read(SeriesQuery([run_id], [key])):
            found += points_of(series.columns)
        return found

    def stored_points(self, run_id: str, key: str) -> int:
        """How many points the chunks of a series hold, repeated ones too."""
        c = tables.metric_chunks
        counts = sa.select(sa.func.coalesce(sa.func.sum(c.c.point_count), 0)).where(
            c.c.run_id == run_id, c.c.key == key
        )
        with self.db.read() as tx:
            return int(tx.execute(counts).scalar_one())

    def leftovers(self, run_id: str) -> int:
        """How many rows there are of a run beside its own."""
        with self.db.read() as tx:
            owned = (tables.metric_chunks, tables.metric_summaries, tables.metric_writers, tables.params, tables.tags)
            counts = [sa.select(sa.func.count()).select_from(t).where(t.c.run_id == run_id) for t in owned]
            return sum(tx.execute(count).scalar_one() for count in counts)

    def chunks(self, run_id: str) -> int:
        """How many chunks a run has."""
        c = tables.metric_chunks
        with self.db.read() as tx:
            return int(tx.execute(sa.select(sa.func.count()).where(c.c.run_id == run_id)).scalar_one())

    def summary(self, run_id: str, key: str) -> MetricSummary | None:
        """What lists know of a series."""
        found = {each.key: each for each in self.runs.get(run_id).metrics}
        return found.get(key)


def to(**fields: Any) -> Callable[[], dict[str, Any]]:
    """Changes, as an update takes them."""
    return lambda: fields


def columns(key: str, points: Iterable[Point]) -> MetricColumns:
    """Points as columns, in the order given."""
    steps, times, bits = zip(*points, strict=True) if (points := list(points)) else ((), (), ())
    return MetricColumns(
        key, np.array(steps, np.int64), np.array(times, np.int64), np.array(bits, np.int64).view(np.float64)
    )


def points_of(series: MetricColumns) -> list[Point]:
    """Columns as points."""
    return list(zip(series.steps.tolist(), series.times.tolist(), series.values.view(np.int64).tolist(), strict=True))


def a_batch(run_id: str, *metrics: MetricColumns, writer: str = "", number: int = 0) -> Batch:
    """A batch of points; a numbered one where a writer is named."""
    return Batch(run_id, metrics, writer_id=writer, number=number)


def line(key: str, steps: Sequence[int], *, time: int = 0) -> MetricColumns:
    """A series whose values are its steps."""
    return columns(key, [(step, time, bits_of(float(step))) for step in steps])


def bits_of(value: float) -> int:
    """The bits of a value, as a signed number."""
    number: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return number


def value_of(bits: int) -> float:
    """The value of bits."""
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value


def in_order(point: Point) -> Point:
    """What points are sorted by: step, time, value in IEEE 754 total order."""
    step, time, bits = point
    return step, time, bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF
