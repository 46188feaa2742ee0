"""Series as rows. Chunks hold the points, and only history reads them; summaries hold what lists need."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from modelry_server.kernel.sql.functions import octets
from modelry_server.kernel.sql.statements import (
    Rows,
    Transaction,
    ask,
    fetch,
    insert_if,
    insert_rows,
    keep_existing,
    one_of,
)
from modelry_server.tracking.entities import MetricColumns, MetricSummary
from modelry_server.tracking.store import chunks
from modelry_server.tracking.store.tables import metric_chunks, metric_summaries, metric_writers, runs

LOWEST_STEP, HIGHEST_STEP = -(1 << 63), (1 << 63) - 1


class Series(NamedTuple):
    """Columns to be stored, and the run that they belong to."""

    run_id: str
    experiment_id: int
    columns: MetricColumns


class ListedChunk(NamedTuple):
    """A chunk without its points: how many they are, and (step, time) of the first and of the last one."""

    chunk_id: int
    point_count: int
    first: tuple[int, int]
    last: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk with its points."""

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
    summaries, new_chunks = [], []
    for run_id, experiment_id, columns in series:
        summary, chunk = _rows_of(columns)
        summary["run_id"] = chunk["run_id"] = run_id
        summary["experiment_id"] = experiment_id
        summaries.append(summary)
        new_chunks.append(chunk)
    return Rows(metric_summaries, summaries), Rows(metric_chunks, new_chunks)


def append_if_active(tx: Transaction, run_id: str, metrics: Collection[MetricColumns]) -> bool:
    """Adds points, at most one series of each key, to a run. If it is missing or deleted, adds nothing: False."""
    made = [_rows_of(each) for each in sorted(metrics, key=lambda each: each.key)]
    new_chunks = Rows(metric_chunks, [chunk for _, chunk in made])
    new_summaries = Rows(metric_summaries, [summary for summary, _ in made], _added_to_summary)
    return insert_if(tx, _ACTIVE, {"one": run_id}, [new_chunks, new_summaries]) is not None


def summarized(tx: Transaction, run_id: str) -> set[str]:
    """The keys of all metrics that a run has."""
    return {key for (key,) in fetch(tx, _SUMMARIZED, {"one": run_id})}


def begin_numbers(tx: Transaction, writers: Collection[tuple[str, str]]) -> None:
    """Inserts a row for each (run, writer) that has none, so that `durable_numbers` can lock it."""
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
    asked = ask(tx, _SUMMARIES, {"run_ids": list(run_ids)}, many=len(run_ids) > 1)

    def answer() -> dict[str, list[MetricSummary]]:
        found: dict[str, list[MetricSummary]] = {run_id: [] for run_id in run_ids}
        if rows := asked.rows():
            ids, *columns = zip(*rows, strict=True)
            with_values = [_values_of(each) if place in _BITS else each for place, each in enumerate(columns)]
            for run_id, summary in zip(ids, map(MetricSummary._make, zip(*with_values, strict=True)), strict=True):
                found[run_id].append(summary)
            for summaries in found.values():
                summaries.sort()  # not in SQL: to avoid sorting, SQLite would scan all runs in order
        return found

    return answer


def keys(tx: Transaction, run_id: str) -> list[str]:
    """The metrics of a run, by key."""
    c = metric_chunks
    return list(tx.execute(sa.select(c.c.key).where(c.c.run_id == run_id).distinct().order_by(c.c.key)).scalars())


def few_chunks(
    tx: Transaction, run_id: str, key: str, *, min_step: int | None = None, max_step: int | None = None
) -> dict[ListedChunk, MetricColumns] | None:
    """All chunks of a series that may have points in a range of steps, if they are few and small; else None.

    Most series are: this takes one statement for each of them.
    """
    low, high = LOWEST_STEP if min_step is None else min_step, HIGHEST_STEP if max_step is None else max_step
    found = fetch(tx, _FEW_CHUNKS, {"of_run": run_id, "of_key": key, "low": low, "high": high})
    if len(found) > _FEW or any(row[-1] is None for row in found):
        return None
    return {
        ListedChunk(chunk_id, count, (step0, time0), (step1, time1)): MetricColumns(key, *chunks.decode(blob))
        for chunk_id, count, step0, time0, step1, time1, blob in found
    }


def listed(
    tx: Transaction, run_id: str, key: str, *, min_step: int | None = None, max_step: int | None = None
) -> list[ListedChunk]:
    """All chunks of a series that may have points in a range of steps, in any order."""
    c = metric_chunks.c
    query = sa.select(c.chunk_id, c.point_count, c.first_step, c.first_time, c.last_step, c.last_time)
    query = query.where(c.run_id == run_id, c.key == key)
    if min_step is not None:
        query = query.where(c.last_step >= min_step)
    if max_step is not None:
        query = query.where(c.first_step <= max_step)
    return [
        ListedChunk(chunk_id, count, (step0, time0), (step1, time1))
        for chunk_id, count, step0, time0, step1, time1 in tx.execute(query)
    ]


def replace(tx: Transaction, run_id: str, old: Sequence[int], new: Sequence[MetricColumns], *, lost: int) -> bool:
    """Replaces chunks of a series by new ones. `lost` is the number of repeated points that were left out.

    Returns False, and changes nothing, if one of the old chunks does not exist any more.
    """
    s, c = metric_summaries.c, metric_chunks.c
    here = sa.and_(s.run_id == run_id, s.key == new[0].key)
    tx.execute(sa.select(s.key).where(here).with_for_update()).all()  # two processes that merge take turns
    if len(tx.execute(sa.select(c.chunk_id).where(c.chunk_id.in_(old))).all()) < len(old):
        return False
    tx.execute(sa.delete(metric_chunks).where(c.chunk_id.in_(old)))
    rows = [{"run_id": run_id, **_chunk_row(columns, _ends_of(columns))} for columns in new]
    insert_rows(tx, metric_chunks, rows)
    if lost:
        tx.execute(sa.update(metric_summaries).where(here).values(point_count=s.point_count - lost))
    return True


def small_chunks(tx: Transaction, run_id: str, key: str, *, smaller_than: int, limit: int) -> list[tuple[int, int]]:
    """At most `limit` chunks of a series with fewer points, in the order in which they were written.

    The id and the number of points of each.
    """
    c = metric_chunks.c
    query = sa.select(c.chunk_id, c.point_count)
    query = query.where(c.run_id == run_id, c.key == key, c.point_count < smaller_than)
    return [(id, count) for id, count in tx.execute(query.order_by(c.chunk_id).limit(limit))]


def read_chunks(tx: Transaction, key: str, chunk_ids: Sequence[int]) -> list[Chunk]:
    """Those of the chunks that still exist, in the order in which they were written."""
    found = fetch(tx, _CHUNKS, {"chunk_ids": list(chunk_ids)})
    return [Chunk(chunk_id, MetricColumns(key, *chunks.decode(blob))) for chunk_id, blob in found]


def scattered(tx: Transaction, smaller_than: int, at_least: int) -> list[tuple[str, str]]:
    """The series that have at least `at_least` chunks of fewer than `smaller_than` points."""
    c = metric_chunks
    query = sa.select(c.c.run_id, c.c.key).where(c.c.point_count < smaller_than).group_by(c.c.run_id, c.c.key)
    return [(row.run_id, row.key) for row in tx.execute(query.having(sa.func.count() >= at_least))]


_FEW, _SMALL = 8, 4096
_c = metric_chunks.c
_CHUNKS = sa.select(_c.chunk_id, _c.columns).where(one_of(_c.chunk_id, "chunk_ids")).order_by(_c.chunk_id)
_FEW_CHUNKS = (
    sa.select(
        *(_c.chunk_id, _c.point_count, _c.first_step, _c.first_time, _c.last_step, _c.last_time),
        sa.case((_c.point_count <= _SMALL, _c.columns)).label("columns"),
    )
    .where(_c.run_id == sa.bindparam("of_run"), _c.key == sa.bindparam("of_key"))
    .where(_c.last_step >= sa.bindparam("low"), _c.first_step <= sa.bindparam("high"))
    .limit(sa.literal_column(str(_FEW + 1)))
)
_s = metric_summaries.c
_SUMMARIES = sa.select(
    _s.run_id, _s.key, _s.point_count, _s.first_step, _s.first_time, _s.first_bits, _s.last_step, _s.last_time,
    _s.last_bits, _s.min_bits, _s.min_step, _s.max_bits, _s.max_step,
).where(one_of(_s.run_id, "run_ids"))  # fmt: skip
_SUMMARY_BYTES = 100  # in an answer, besides the key
SIZES = (
    sa.select(_s.run_id, sa.func.sum(octets(_s.key) + _SUMMARY_BYTES))
    .where(one_of(_s.run_id, "run_ids"))
    .group_by(_s.run_id)
)
"""About how many bytes the summaries of each run take in an answer."""
_BITS = [place for place, column in enumerate(_SUMMARIES.selected_columns.keys()[1:]) if column.endswith("_bits")]
_SUMMARIZED = sa.select(_s.key).where(_s.run_id == sa.bindparam("one"))
_ACTIVE = sa.select(runs.c.run_id, runs.c.experiment_id).where(
    runs.c.run_id == sa.bindparam("one"), runs.c.delete_time.is_(None)
)


def _rows_of(columns: MetricColumns) -> tuple[dict[str, Any], dict[str, Any]]:
    """The summary of columns, and their chunk. Neither says to which run they belong."""
    if len(columns.steps) == 1:
        return _rows_of_one(columns)
    ends = _ends_of(columns)
    return _summary_row(columns, ends), _chunk_row(columns, ends)


def _rows_of_one(columns: MetricColumns) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of one point, at a quarter of the cost of the general way: runs often log a metric once."""
    step, time, value = columns.steps.item(), columns.times.item(), columns.values.item()
    bits, number = chunks.ordered_bits_of(value), _or_null(value)
    extreme, extreme_step = (None, None) if number is None else (_extreme_bits(number), step)
    summary = {
        "key": columns.key,
        "point_count": 1,
        "first_step": step,
        "first_time": time,
        "first_bits": bits,
        "last_step": step,
        "last_time": time,
        "last_bits": bits,
        "last_value": number,
        "min_bits": extreme,
        "min_step": extreme_step,
        "max_bits": extreme,
        "max_step": extreme_step,
    }
    chunk = {
        "key": columns.key,
        "point_count": 1,
        "first_step": step,
        "first_time": time,
        "last_step": step,
        "last_time": time,
        "columns": chunks.encode_one(step, time, value),
    }
    return summary, chunk


class _Ends(NamedTuple):
    """Where the first and the last point of columns are, in the order of a series; `rising`: every step is higher than
    the one before."""

    first: int
    last: int
    rising: bool


def _ends_of(columns: MetricColumns) -> _Ends:
    steps = columns.steps
    if len(steps) == 1 or (steps[1:] > steps[:-1]).all():
        return _Ends(0, len(steps) - 1, True)
    order = np.lexsort((chunks.ordered_bits(columns.values), columns.times, steps))
    return _Ends(int(order[0]), int(order[-1]), False)


def _chunk_row(columns: MetricColumns, ends: _Ends) -> dict[str, Any]:
    steps, times = columns.steps, columns.times
    return {
        "key": columns.key,
        "point_count": len(steps),
        "first_step": int(steps[ends.first]),
        "first_time": int(times[ends.first]),
        "last_step": int(steps[ends.last]),
        "last_time": int(times[ends.last]),
        "columns": chunks.encode(steps, times, columns.values),
    }


def _summary_row(columns: MetricColumns, ends: _Ends) -> dict[str, Any]:
    steps, times, values = columns.steps, columns.times, columns.values
    first, last, rising = ends
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
        "min_bits": low,
        "min_step": low_step,
        "max_bits": high,
        "max_step": high_step,
    }


def _extremes(steps: Any, values: Any, rising: bool) -> tuple[int | None, int | None, int | None, int | None]:
    """The bits of the lowest and highest value without NaN, each with its lowest step. `rising`: steps are sorted."""
    low, high = int(values.argmin()), int(values.argmax())
    if values[low] != values[low]:  # NaN wins both searches where there is one
        kept = ~np.isnan(values)
        if not kept.any():
            return None, None, None, None
        steps, values = steps[kept], values[kept]
        low, high = int(values.argmin()), int(values.argmax())
    least, most = float(values[low]), float(values[high])
    least_bits, most_bits = _extreme_bits(least), _extreme_bits(most)
    if rising:
        return least_bits, int(steps[low]), most_bits, int(steps[high])
    return least_bits, int(steps[values == least].min()), most_bits, int(steps[values == most].min())


def _extreme_bits(value: float) -> int:
    """The bits of a lowest or highest value, which sort as the values do: -0.0 counts as 0.0, to which it is equal."""
    return chunks.ordered_bits_of(value + 0.0)


def _values_of(bits: Sequence[int | None]) -> Sequence[float | None]:
    """The values of a column of bits, of which some may be null."""
    if None not in bits:
        return chunks.values_of(bits)  # type: ignore[arg-type]
    return [None if each is None else chunks.values_of([each])[0] for each in bits]


def _or_null(value: float) -> float | None:
    return None if value != value else value


def _advanced(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=["run_id", "writer_id"], set_={"batch_number": statement.excluded.batch_number}
    )


def _added_to_summary(statement: Any) -> Any:
    """Merges a summary into the existing one. The result does not depend on the order of the writers."""
    new, old = statement.excluded, metric_summaries.c
    later = sa.tuple_(new.last_step, new.last_time, new.last_bits) > sa.tuple_(
        old.last_step, old.last_time, old.last_bits
    )
    earlier = sa.tuple_(new.first_step, new.first_time, new.first_bits) < sa.tuple_(
        old.first_step, old.first_time, old.first_bits
    )
    lower = sa.or_(
        sa.and_(old.min_bits.is_(None), new.min_bits.is_not(None)),
        new.min_bits < old.min_bits,
        sa.and_(new.min_bits == old.min_bits, new.min_step < old.min_step),
    )
    higher = sa.or_(
        sa.and_(old.max_bits.is_(None), new.max_bits.is_not(None)),
        new.max_bits > old.max_bits,
        sa.and_(new.max_bits == old.max_bits, new.max_step < old.max_step),
    )
    changes: dict[str, Any] = {"point_count": old.point_count + new.point_count}
    for condition, names in (
        (later, ("last_step", "last_time", "last_bits", "last_value")),
        (earlier, ("first_step", "first_time", "first_bits")),
        (lower, ("min_bits", "min_step")),
        (higher, ("max_bits", "max_step")),
    ):
        changes.update({name: sa.case((condition, new[name]), else_=old[name]) for name in names})
    return statement.on_conflict_do_update(index_elements=["run_id", "key"], set_=changes)
