"""Series as rows: chunks hold the points, and only history reads them; summaries hold what lists need."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Rows, Transaction, ask, insert_if, insert_rows, keep_existing, one_of
from modelry_server.tracking.entities import MetricColumns, MetricSummary
from modelry_server.tracking.store import chunks
from modelry_server.tracking.store.tables import metric_chunks, metric_summaries, metric_writers, runs


class Series(NamedTuple):
    """Columns on their way into the store: whose they are."""

    run_id: str
    experiment_id: int
    columns: MetricColumns


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as it was read: its id, and the columns."""

    chunk_id: int
    columns: MetricColumns


def append(tx: Transaction, series: Sequence[Series]) -> None:
    """Adds points: a chunk for each series, and its summary, in an order that keeps writers from deadlock."""
    ordered = sorted(series, key=lambda each: (each.run_id, each.columns.key))
    new_summaries, new_chunks = first(ordered)
    insert_rows(tx, *new_summaries._replace(conflict=_added_to_summary))
    insert_rows(tx, *new_chunks)


def first(series: Sequence[Series]) -> tuple[Rows, Rows]:
    """The rows of the first points of runs: the summary of each series, and its chunk."""
    summaries = [
        {"run_id": each.run_id, "experiment_id": each.experiment_id, **_summary_row(each.columns)} for each in series
    ]
    new_chunks = [{"run_id": each.run_id, **_chunk_row(each.columns)} for each in series]
    return Rows(metric_summaries, summaries), Rows(metric_chunks, new_chunks)


def append_if_active(tx: Transaction, run_id: str, metrics: Collection[MetricColumns]) -> bool:
    """Adds points, at most one series of each key, to a run; False, and adds nothing, if it is missing or deleted."""
    ordered = sorted(metrics, key=lambda each: each.key)
    new_chunks = Rows(metric_chunks, [_chunk_row(each) for each in ordered])
    new_summaries = Rows(metric_summaries, [_summary_row(each) for each in ordered], _added_to_summary)
    return insert_if(tx, _ACTIVE, {"one": run_id}, [new_chunks, new_summaries]) is not None


def begin_numbers(tx: Transaction, writers: Collection[tuple[str, str]]) -> None:
    """Makes the row of each (run, writer) that has none, so that `durable_numbers` has one to lock."""
    rows = [{"run_id": run_id, "writer_id": writer, "batch_number": 0} for run_id, writer in sorted(writers)]
    insert_rows(tx, metric_writers, rows, keep_existing)


def durable_numbers(tx: Transaction, writers: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The highest batch number of each (run, writer) that has one; locked until the transaction ends."""
    w = metric_writers
    query = sa.select(w).where(sa.tuple_(w.c.run_id, w.c.writer_id).in_(writers)).order_by(w.c.run_id, w.c.writer_id)
    return {(row.run_id, row.writer_id): row.batch_number for row in tx.execute(query.with_for_update())}


def set_durable_numbers(tx: Transaction, numbers: dict[tuple[str, str], int]) -> None:
    """Writes the highest batch number of each (run, writer)."""
    rows = [{"run_id": r, "writer_id": w, "batch_number": number} for (r, w), number in sorted(numbers.items())]
    insert_rows(tx, metric_writers, rows, _advanced)


def ask_summaries(tx: Transaction, run_ids: Collection[str]) -> Callable[[], dict[str, list[MetricSummary]]]:
    """Asks for the summaries of each run, by key."""
    asked = ask(tx, _SUMMARIES, {"run_ids": list(run_ids)})

    def answer() -> dict[str, list[MetricSummary]]:
        found: dict[str, list[MetricSummary]] = {run_id: [] for run_id in run_ids}
        rows = sorted(asked.rows())  # here: SQLite would walk through all runs to spare itself the sorting
        if rows:
            ids, key, count, step0, time0, first, step1, time1, last, *extremes = zip(*rows, strict=True)
            values = chunks.values_of(first), chunks.values_of(last)
            columns = zip(key, count, step0, time0, values[0], step1, time1, values[1], *extremes, strict=True)
            for run_id, summary in zip(ids, map(MetricSummary._make, columns), strict=True):
                found[run_id].append(summary)
        return found

    return answer


def keys(tx: Transaction, run_id: str) -> list[str]:
    """The metrics of a run, by key."""
    c = metric_chunks
    return list(tx.execute(sa.select(c.c.key).where(c.c.run_id == run_id).distinct().order_by(c.c.key)).scalars())


def read(
    tx: Transaction, run_id: str, key: str, *, min_step: int | None = None, max_step: int | None = None
) -> Iterator[Chunk]:
    """The chunks of a series that touch a range of steps, in the order in which they were written."""
    c = metric_chunks
    query = sa.select(c.c.chunk_id, c.c.columns).where(c.c.run_id == run_id, c.c.key == key).order_by(c.c.chunk_id)
    if min_step is not None:
        query = query.where(c.c.max_step >= min_step)
    if max_step is not None:
        query = query.where(c.c.min_step <= max_step)
    for chunk_id, blob in tx.execute(query):
        yield Chunk(chunk_id, MetricColumns(key, *chunks.decode(blob)))


def replace(tx: Transaction, run_id: str, old: Sequence[int], new: Sequence[MetricColumns], *, lost: int) -> bool:
    """Puts new chunks in the place of old ones of a series; `lost` says how many repeated points are no longer counted.

    False, and changes nothing, if one of the old ones is gone.
    """
    s, c = metric_summaries.c, metric_chunks.c
    here = sa.and_(s.run_id == run_id, s.key == new[0].key)
    tx.execute(sa.select(s.key).where(here).with_for_update()).all()  # so that two who merge take turns
    if len(tx.execute(sa.select(c.chunk_id).where(c.chunk_id.in_(old))).all()) < len(old):
        return False
    tx.execute(sa.delete(metric_chunks).where(c.chunk_id.in_(old)))
    insert_rows(tx, metric_chunks, [{"run_id": run_id, **_chunk_row(columns)} for columns in new])
    if lost:
        tx.execute(sa.update(metric_summaries).where(here).values(point_count=s.point_count - lost))
    return True


def small_chunks(tx: Transaction, run_id: str, key: str, smaller_than: int, limit: int) -> list[int]:
    """The ids of at most `limit` chunks of a series with fewer points, in the order in which they were written."""
    c = metric_chunks
    query = sa.select(c.c.chunk_id).where(c.c.run_id == run_id, c.c.key == key, c.c.point_count < smaller_than)
    return list(tx.execute(query.order_by(c.c.chunk_id).limit(limit)).scalars())


def read_chunks(tx: Transaction, key: str, chunk_ids: Sequence[int]) -> list[Chunk]:
    """The chunks of the ids that are still there, in the order in which they were written."""
    c = metric_chunks
    query = sa.select(c.c.chunk_id, c.c.columns).where(c.c.chunk_id.in_(chunk_ids)).order_by(c.c.chunk_id)
    return [Chunk(chunk_id, MetricColumns(key, *chunks.decode(blob))) for chunk_id, blob in tx.execute(query)]


def scattered(tx: Transaction, smaller_than: int, at_least: int) -> list[tuple[str, str]]:
    """The series with at least so many chunks of fewer points."""
    c = metric_chunks
    query = sa.select(c.c.run_id, c.c.key).where(c.c.point_count < smaller_than).group_by(c.c.run_id, c.c.key)
    return [(row.run_id, row.key) for row in tx.execute(query.having(sa.func.count() >= at_least))]


_s = metric_summaries.c
_SUMMARIES = sa.select(
    _s.run_id, _s.key, _s.point_count, _s.first_step, _s.first_time, _s.first_bits, _s.last_step, _s.last_time,
    _s.last_bits, _s.min_value, _s.min_step, _s.max_value, _s.max_step,
).where(one_of(_s.run_id, "run_ids"))  # fmt: skip
_ACTIVE = sa.select(runs.c.run_id, runs.c.experiment_id).where(
    runs.c.run_id == sa.bindparam("one"), runs.c.delete_time.is_(None)
)


def _chunk_row(columns: MetricColumns) -> dict[str, Any]:
    steps = columns.steps
    lowest, highest = (steps[0], steps[0]) if len(steps) == 1 else (steps.min(), steps.max())
    return {
        "key": columns.key,
        "point_count": len(steps),
        "min_step": int(lowest),
        "max_step": int(highest),
        "columns": chunks.encode(steps, columns.times, columns.values),
    }


def _summary_row(columns: MetricColumns) -> dict[str, Any]:
    steps, times, values = columns.steps, columns.times, columns.values
    if len(steps) == 1:
        return _summary_row_of_one(columns.key, int(steps[0]), int(times[0]), float(values[0]))
    first, last = 0, len(steps) - 1
    rising = bool((steps[1:] > steps[:-1]).all())
    if not rising:
        order = np.lexsort((chunks.ordered_bits(values), times, steps))
        first, last = int(order[0]), int(order[-1])
    last_value = float(values[last])
    low, low_step, high, high_step = _extremes(steps, values, rising)
    return {
        "key": columns.key,
        "point_count": len(steps),
        "first_step": int(steps[first]),
        "first_time": int(times[first]),
        "first_bits": chunks.ordered_bits_of(float(values[first])),
        "last_step": int(steps[last]),
        "last_time": int(times[last]),
        "last_bits": chunks.ordered_bits_of(last_value),
        "last_value": _or_null(last_value),
        "min_value": low,
        "min_step": low_step,
        "max_value": high,
        "max_step": high_step,
    }


def _summary_row_of_one(key: str, step: int, time: int, value: float) -> dict[str, Any]:
    """What the general way gives for one point, at a quarter of the cost: runs often log a metric once."""
    bits, number = chunks.ordered_bits_of(value), _or_null(value)
    extreme_step = None if number is None else step
    return {
        "key": key,
        "point_count": 1,
        "first_step": step,
        "first_time": time,
        "first_bits": bits,
        "last_step": step,
        "last_time": time,
        "last_bits": bits,
        "last_value": number,
        "min_value": number,
        "min_step": extreme_step,
        "max_value": number,
        "max_step": extreme_step,
    }


def _extremes(steps: Any, values: Any, rising: bool) -> tuple[float | None, int | None, float | None, int | None]:
    """The lowest and the highest value, NaN aside, each with the first of its steps; `rising`: as the steps come."""
    low, high = int(values.argmin()), int(values.argmax())
    if values[low] != values[low]:  # NaN wins both searches where there is one
        kept = ~np.isnan(values)
        if not kept.any():
            return None, None, None, None
        steps, values = steps[kept], values[kept]
        low, high = int(values.argmin()), int(values.argmax())
    least, most = float(values[low]), float(values[high])
    if rising:
        return least, int(steps[low]), most, int(steps[high])
    return least, int(steps[values == least].min()), most, int(steps[values == most].min())


def _or_null(value: float) -> float | None:
    return None if value != value else value


def _advanced(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=["run_id", "writer_id"], set_={"batch_number": statement.excluded.batch_number}
    )


def _added_to_summary(statement: Any) -> Any:
    """Adds a summary to the one that is there, whatever the order in which writers come."""
    new, old = statement.excluded, metric_summaries.c
    later = sa.tuple_(new.last_step, new.last_time, new.last_bits) > sa.tuple_(
        old.last_step, old.last_time, old.last_bits
    )
    earlier = sa.tuple_(new.first_step, new.first_time, new.first_bits) < sa.tuple_(
        old.first_step, old.first_time, old.first_bits
    )
    lower = sa.or_(
        sa.and_(old.min_value.is_(None), new.min_value.is_not(None)),
        new.min_value < old.min_value,
        sa.and_(new.min_value == old.min_value, new.min_step < old.min_step),
    )
    higher = sa.or_(
        sa.and_(old.max_value.is_(None), new.max_value.is_not(None)),
        new.max_value > old.max_value,
        sa.and_(new.max_value == old.max_value, new.max_step < old.max_step),
    )
    changes: dict[str, Any] = {"point_count": old.point_count + new.point_count}
    for condition, names in (
        (later, ("last_step", "last_time", "last_bits", "last_value")),
        (earlier, ("first_step", "first_time", "first_bits")),
        (lower, ("min_value", "min_step")),
        (higher, ("max_value", "max_step")),
    ):
        changes.update({name: sa.case((condition, new[name]), else_=old[name]) for name in names})
    return statement.on_conflict_do_update(index_elements=["run_id", "key"], set_=changes)
