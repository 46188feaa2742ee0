"""Groups the batches of all writers into one transaction, and drops batches that are durable already.

The first thread leads: it commits all batches that wait, wakes the threads that brought them, and passes the lead to
the first one that arrived meanwhile. So a single writer pays for no thread switch, and many writers share one commit.
Before a batch gets here, its own thread has judged its caller (`Places`): the leader commits for others, but never
judges.

No caller waits longer than its deadline, and none prolongs or ends the batches of others. A batch that waits leaves at
its deadline. A group ends at the first deadline of its batches, with nothing written: those whose time is over are told
so, and the others go back to the head of the queue, to be one group again without newcomers. So each round has fewer.

There are two ways to write a group:

- `_write_all`, for numbered batches (WriteMetrics, and so all points of the SDK's recorder) and for params and tags. It
  looks up the state of the runs and the writers' numbers, and writes in the same transaction.
- `_write_points`, for points without a number, which only LogBatch brings (a client without a recorder). If all batches
  of a group are of this kind, of one run, and of metrics that the run is known to have, nothing has to be looked up:
  one statement writes them if the run is active, on PostgreSQL without a transaction around it.
"""

import math
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlineExceeded, DeadlinePassed, ModelryError, Unavailable
from modelry_server.kernel.filter import are_equal
from modelry_server.kernel.requests.fields import excess_of_tags, require_room
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.columns import gathered
from modelry_server.tracking.domain.totals import KnownMetrics, excess_of_metrics, excess_of_params
from modelry_server.tracking.entities import Batch
from modelry_server.tracking.errors import BatchGap, ParamConflict, RunDeleted, RunNotFound
from modelry_server.tracking.store import metrics as metric_store
from modelry_server.tracking.store import runs as run_store

_ATTEMPTS = 5
_POLL_S = 0.05
_LONGEST_WAIT_S = 60.0  # after which a thread looks whether it still has to wait
_MOST_EARLY = 8  # batches that may wait for their predecessors: each holds a thread that a predecessor may need


@dataclass(slots=True, eq=False)
class _Ticket:
    """A batch that waits for its commit, until a moment.

    Its thread is woken when it `leads`, which means that it commits the next group, and when it `is_done`. `mates` is
    shared by those that were in a group which could not be written, and so are tried again without others.
    """

    batch: Batch
    until: float
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    is_done: bool = False
    mates: object | None = None
    durable: int = 0
    error: BaseException | None = None


class Ingest:
    """Commits batches in groups of at most `group_points` points. A batch waits `gap_wait_s` for its predecessor."""

    def __init__(self, db: Database, *, group_points: int, gap_wait_s: float) -> None:
        self._db = db
        self._group_points = group_points
        self._gap_wait_s = gap_wait_s
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._led = False
        self._gaps: dict[tuple[str, str, int], threading.Event] = {}
        self._written: dict[tuple[str, str], int] = {}
        self._known = KnownMetrics()
        self._early = threading.BoundedSemaphore(_MOST_EARLY)

    def write(self, batch: Batch) -> int:
        """Commits a batch whose caller may write to the run: all or nothing.

        Returns the writer's highest durable number. Raises RunNotFound, RunDeleted, ParamConflict, LimitReached;
        BatchGap if a predecessor does not arrive in time.
        """
        try:
            return self._submit(batch)
        except BatchGap:
            if self._gap_wait_s <= 0 or not self._early.acquire(blocking=False):
                raise
        try:
            return self._submit_later(batch, time.monotonic() + self._gap_wait_s)
        finally:
            self._early.release()

    def written_series(self) -> dict[tuple[str, str], int]:
        """The number of chunks that each (run, key) got since the last call."""
        with self._lock:
            written, self._written = self._written, {}
        return written

    def _submit(self, batch: Batch) -> int:
        deadline = caller.current().deadline
        ticket = _Ticket(batch, math.inf if deadline is None else deadline)
        with self._lock:
            self._waiting.append(ticket)
            ticket.leads = not self._led
            self._led = True
        while not ticket.is_done:
            if ticket.leads:
                self._lead(ticket)
            else:
                self._await(ticket)
        if ticket.error is not None:
            raise ticket.error
        return ticket.durable

    def _await(self, ticket: _Ticket) -> None:
        """Waits until a ticket is woken. Raises DeadlinePassed if its time is over, unless it is being written.

        Then its group, which has the same deadline or an earlier one, ends very soon, and only it knows the outcome.
        """
        while not ticket.woken.wait(min(max(ticket.until - time.monotonic(), _POLL_S), _LONGEST_WAIT_S)):
            with self._lock:
                if ticket.until <= time.monotonic() and not ticket.leads and ticket in self._waiting:
                    self._waiting.remove(ticket)
                    raise DeadlinePassed

    def _submit_later(self, batch: Batch, until: float) -> int:
        while True:
            left = until - time.monotonic()
            self._await_predecessor(batch, min(max(left, 0.0), _POLL_S))
            try:
                return self._submit(batch)
            except BatchGap:
                if left <= 0:
                    raise

    def _lead(self, leader: _Ticket) -> None:
        """Commits one group, which has the leader's own batch unless its time is over, and passes the lead on."""
        group: list[_Ticket] = []
        again: Sequence[_Ticket] = ()
        try:
            with self._lock:
                leader.leads = False
                leader.woken.clear()
                late = self._leave_late()
                if not leader.is_done:
                    group = self._take()
            for ticket in late:
                ticket.woken.set()
            if group:
                again = self._commit(group)
        finally:
            with self._lock:
                self._waiting[:0] = again
                successor = self._waiting[0] if self._waiting else None
                self._led = successor is not None
                if successor is not None:
                    successor.leads = True
            for ticket in group:
                if ticket not in again:
                    ticket.is_done = True
                    ticket.woken.set()
            if successor is not None:
                successor.woken.set()

    def _leave_late(self) -> list[_Ticket]:
        """Takes those out of the queue whose time is over, and notes it on them."""
        now = time.monotonic()
        late = [ticket for ticket in self._waiting if ticket.until <= now]
        if late:
            self._waiting = [ticket for ticket in self._waiting if ticket.until > now]
            for ticket in late:
                ticket.error, ticket.is_done = DeadlinePassed(), True
        return late

    def _take(self) -> list[_Ticket]:
        points = count = 0
        for ticket in self._waiting:
            points += ticket.batch.points
            if count and (points > self._group_points or ticket.mates is not self._waiting[0].mates):
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _commit(self, group: list[_Ticket]) -> Sequence[_Ticket]:
        """Writes a group, and notes the outcome on its tickets. Returns those that have to be tried again."""
        begun = time.perf_counter()
        try:
            self._write(group)
        except BaseException as error:
            for ticket in group:
                ticket.error = error  # until the next try
            if again := _to_try_again(group, error):
                return again
        instruments.group_batches.observe(len(group))
        instruments.commit_duration_seconds.observe(time.perf_counter() - begun)
        return ()

    def _write(self, group: list[_Ticket]) -> None:
        for attempt in range(_ATTEMPTS):
            for ticket in group:
                ticket.error, ticket.durable = None, 0
            try:
                accepted = self._write_points(group) or self._write_all(group)
                break
            except ConcurrentChange:
                if attempt == _ATTEMPTS - 1:
                    raise
        points = 0
        with self._lock:
            for ticket in accepted:
                points += ticket.batch.points
                for columns in ticket.batch.metrics:
                    series = (ticket.batch.run_id, columns.key)
                    self._written[series] = self._written.get(series, 0) + 1
                gap = self._gaps.pop((ticket.batch.run_id, ticket.batch.writer_id, ticket.batch.number + 1), None)
                if gap is not None:
                    gap.set()
        instruments.points_total.inc(points)

    def _write_points(self, group: Sequence[_Ticket]) -> Sequence[_Ticket]:
        """Writes a group that is nothing but points of one run, without numbers. Returns the written batches.

        Writes nothing if the group is of another kind, or if the run is missing or deleted: `_write_all` raises that.
        """
        run_id = group[0].batch.run_id
        if any(not ticket.batch.only_points or ticket.batch.run_id != run_id for ticket in group):
            return ()
        if not all(self._known.has(run_id, _keys(ticket.batch)) for ticket in group):
            return ()
        metrics = gathered(ticket.batch for ticket in group)
        if not metrics:
            return ()
        with self._db.write_once(until=_until(group)) as tx:
            return group if metric_store.append_if_active(tx, run_id, list(metrics.values())) else ()

    def _write_all(self, group: Sequence[_Ticket]) -> Sequence[_Ticket]:
        growing = {
            ticket.batch.run_id for ticket in group if not self._known.has(ticket.batch.run_id, _keys(ticket.batch))
        }
        with self._db.write(until=_until(group)) as tx:
            accepted, present = _write_group(tx, group, growing)
        for run_id, keys in present.items():
            self._known.note(run_id, keys)
        return accepted

    def _await_predecessor(self, batch: Batch, seconds: float) -> None:
        """Waits until this process has committed the batch before, at most so long: another process may commit it."""
        key = (batch.run_id, batch.writer_id, batch.number)
        with self._lock:
            event = self._gaps.setdefault(key, threading.Event())
        event.wait(seconds)
        with self._lock:
            self._gaps.pop(key, None)


def _write_group(
    tx: Transaction, group: Sequence[_Ticket], growing: Collection[str]
) -> tuple[list[_Ticket], dict[str, set[str]]]:
    """Writes all batches of a group that can be written, and notes the outcome on each ticket.

    `growing` are the runs that may get new metrics. Returns the written batches, and all metrics of each such run.
    """
    run_ids = {ticket.batch.run_id for ticket in group}
    limited = {*growing, *(ticket.batch.run_id for ticket in group if ticket.batch.params or ticket.batch.tags)}
    if limited:
        run_store.lock(tx, limited)
    states = run_store.states(tx, run_ids)
    present = {run_id: metric_store.summarized(tx, run_id) for run_id in growing if run_id in states}
    writers = {(ticket.batch.run_id, ticket.batch.writer_id) for ticket in group if ticket.batch.writer_id}
    begun = {(ticket.batch.run_id, ticket.batch.writer_id) for ticket in group if ticket.batch.number == 1}
    metric_store.begin_numbers(tx, [writer for writer in begun if writer[0] in states])
    durable = metric_store.durable_numbers(tx, writers) if writers else {}
    advanced: dict[tuple[str, str], int] = {}
    accepted: list[_Ticket] = []
    for ticket in sorted(group, key=lambda each: each.batch.number):
        try:
            if _accept(tx, ticket, states, durable, present):
                accepted.append(ticket)
                if ticket.batch.writer_id:
                    writer = (ticket.batch.run_id, ticket.batch.writer_id)
                    durable[writer] = advanced[writer] = ticket.batch.number
        except ModelryError as error:
            ticket.error = error
    for ticket in group:
        ticket.durable = durable.get((ticket.batch.run_id, ticket.batch.writer_id), 0)
    written = gathered(ticket.batch for ticket in accepted)
    metric_store.append(
        tx, [metric_store.Series(run_id, states[run_id][0], columns) for (run_id, _), columns in written.items()]
    )
    metric_store.set_durable_numbers(tx, advanced)
    return accepted, present


def _accept(
    tx: Transaction,
    ticket: _Ticket,
    states: dict[str, tuple[int, bool]],
    durable: dict[tuple[str, str], int],
    present: dict[str, set[str]],
) -> bool:
    """Writes the params and tags of a batch. Returns whether its points are to be written.

    Raises, having written nothing, if the batch is refused.
    """
    batch = ticket.batch
    if batch.run_id not in states:
        raise RunNotFound(batch.run_id)
    if states[batch.run_id][1]:
        raise RunDeleted(batch.run_id)
    if batch.writer_id:
        last = durable.get((batch.run_id, batch.writer_id), 0)
        if batch.number <= last:
            instruments.batches_dropped_total.inc()
            return False
        if batch.number > last + 1:
            raise BatchGap(batch.number, last)
    known = present.get(batch.run_id)
    grown = None if known is None else known.union(_keys(batch))
    new_params: dict[str, str] = {}
    if grown is not None and grown != known:
        require_room("metrics", excess_of_metrics(grown))
    if batch.params:
        stored, count, size = run_store.param_values(tx, batch.run_id, batch.params.keys())
        conflicts = [key for key, value in batch.params.items() if not are_equal(stored.get(key, value), value)]
        if conflicts:
            raise ParamConflict(conflicts[0], stored[conflicts[0]], batch.params[conflicts[0]], conflicts[1:])
        new_params = {key: value for key, value in batch.params.items() if key not in stored}
        if new_params:
            require_room("params", excess_of_params(new_params, count=count, size=size))
    if batch.tags:
        require_room("tags", excess_of_tags({**run_store.tags_of(tx, batch.run_id), **batch.tags}))
    run_store.add_params(tx, batch.run_id, new_params)
    run_store.set_tags(tx, batch.run_id, batch.tags)
    if grown is not None:
        present[batch.run_id] = grown
    return True


def _to_try_again(group: Sequence[_Ticket], error: BaseException) -> Sequence[_Ticket]:
    """Those of a group that was not written for which that says nothing: apart from newcomers, they may succeed."""
    if isinstance(error, DeadlineExceeded):
        now, mates = time.monotonic(), object()
        again = [ticket for ticket in group if ticket.until > now]
        for ticket in again:
            ticket.mates = mates
        return again if len(again) < len(group) else ()  # else it was not for a deadline of theirs
    if isinstance(error, Unavailable) or len(group) == 1:
        return ()
    for ticket in group:  # one batch may be the cause: each on its own
        ticket.mates = object()
    return group


def _until(group: Sequence[_Ticket]) -> float:
    """The first moment at which somebody no longer waits for a group."""
    return min(ticket.until for ticket in group)


def _keys(batch: Batch) -> Iterable[str]:
    return (columns.key for columns in batch.metrics if len(columns))
