"""Filter tree -> SQL for runs, experiments and datasets; on summaries only, never on chunks.

The best runs by a metric are a walk along `metric_summaries_by_value` that stops when the page is full: runs that have
the metric first (part 0), then those that have not (part 1). Every other field of a run is looked up for each run on
the way, as a scalar subquery: PostgreSQL would turn an EXISTS into a join and sort everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.filter import And, Comparison, Field, Node, Op, OrderKey
from modelry_server.kernel.sql.predicate import Column, Columns, Kind, Order, SortKey, order, predicate
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.entities import Dataset, Experiment, Lifecycle, Run, RunQuery, RunStatus
from modelry_server.tracking.store import datasets as dataset_store
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import runs as run_store
from modelry_server.tracking.store.tables import (
    dataset_inputs,
    datasets,
    experiment_tags,
    experiments,
    metric_summaries,
    params,
    runs,
    tags,
)

_status = sa.case({int(status): status.name for status in RunStatus}, value=runs.c.status)
_RUN_ATTRIBUTES: dict[str, Column] = {
    "run_id": Column(runs.c.run_id, Kind.TEXT, nullable=False),
    "run_name": Column(runs.c.name, Kind.TEXT, nullable=False),
    "status": Column(_status, Kind.TEXT, nullable=False, choices=tuple(status.name for status in RunStatus)),
    "user_id": Column(runs.c.user_id, Kind.TEXT, nullable=False),
    "start_time": Column(runs.c.start_time, Kind.NUMBER, nullable=False),
    "end_time": Column(runs.c.end_time, Kind.NUMBER),
    "experiment_id": Column(sa.cast(runs.c.experiment_id, sa.Text), Kind.TEXT, nullable=False),
    "parent_run_id": Column(sa.func.nullif(runs.c.parent_run_id, ""), Kind.TEXT),
}
_RUN_ATTRIBUTES |= {"created": _RUN_ATTRIBUTES["start_time"], "name": _RUN_ATTRIBUTES["run_name"]}
_EXPERIMENT_ATTRIBUTES: dict[str, Column] = {
    "name": Column(experiments.c.name, Kind.TEXT, nullable=False),
    "experiment_id": Column(experiments.c.experiment_id, Kind.NUMBER, nullable=False),
    "creation_time": Column(experiments.c.create_time, Kind.NUMBER, nullable=False),
    "last_update_time": Column(experiments.c.update_time, Kind.NUMBER, nullable=False),
}
_DATASET_ATTRIBUTES: dict[str, Column] = {
    "name": Column(datasets.c.name, Kind.TEXT, nullable=False),
    "digest": Column(datasets.c.digest, Kind.TEXT, nullable=False),
    "source_type": Column(datasets.c.source_type, Kind.TEXT, nullable=False),
}


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, and its place in the order, from which the next page goes on."""

    run: Run
    place: tuple[Any, ...]


def page_of_runs(tx: Transaction, query: RunQuery, after: Sequence[Any] | None, limit: int) -> list[FoundRun]:
    """At most `limit` runs that follow a place, without their parts."""
    within = _within_experiments(query)
    part, rest = (int(after[0]), list(after[1:])) if after else (0, None)
    first = query.order[0] if query.order else None
    if first is None or first.field.scope != "metrics":
        keys = order(query.order, _RUN_COLUMNS, last=_NEWEST if query.order else [_STARTED, *_NEWEST])
        return _walk(tx, query, sa.select(runs).where(within), _RUN_COLUMNS, keys, 0, rest, limit)
    found: list[FoundRun] = []
    if part == 0:
        found = _walk_by_metric(tx, query, first, within, rest, limit)
        rest = None
    if len(found) < limit and not _requires(query.filter, first.field):
        found += _walk_without_metric(tx, query, first, within, rest, limit - len(found))
    return found


def page_of_experiments(
    tx: Transaction,
    workspace: str,
    lifecycle: Lifecycle,
    node: Node | None,
    keys: Sequence[OrderKey],
    after: Sequence[Any] | None,
    limit: int,
) -> list[tuple[Experiment, tuple[Any, ...]]]:
    """At most `limit` experiments that follow a place, each with its place."""
    query = sa.select(experiments).where(experiments.c.workspace == workspace, *_alive(experiments, lifecycle))
    newest = SortKey(_EXPERIMENT_ATTRIBUTES["experiment_id"], descending=True)
    rows = _page(tx, query, node, _EXPERIMENT_COLUMNS, order(keys, _EXPERIMENT_COLUMNS, last=[newest]), after, limit)
    found = experiment_store.with_tags(tx, [row for row, _ in rows])
    return [(experiment, place) for experiment, (_, place) in zip(found, rows, strict=True)]


def page_of_datasets(
    tx: Transaction, workspace: str, node: Node | None, after: Sequence[Any] | None, limit: int
) -> list[tuple[Dataset, tuple[Any, ...]]]:
    """At most `limit` datasets that follow a place, the newest first, each with its place."""
    query = dataset_store.select().where(datasets.c.workspace == workspace)
    newest = Order([SortKey(Column(datasets.c.dataset_id, Kind.TEXT, nullable=False), descending=True)])
    rows = _page(tx, query, node, _DATASET_COLUMNS, newest, after, limit)
    return [(dataset_store.entity(row), place) for row, place in rows]


def _walk_by_metric(
    tx: Transaction, query: RunQuery, first: OrderKey, within: Any, after: list[Any] | None, limit: int
) -> list[FoundRun]:
    s = metric_summaries.alias("best")
    metric = Column(s.c.last_value, Kind.NUMBER, nullable=False)
    select = sa.select(runs).select_from(s.join(runs, runs.c.run_id == s.c.run_id))
    select = select.where(s.c.key == first.field.key, s.c.last_value.is_not(None), within)
    if len(query.experiment_ids) == 1:
        select = select.where(s.c.experiment_id == int(query.experiment_ids[0]))
    if after:  # says once more what the order says, so that the walk begins there
        select = select.where(s.c.last_value <= after[0] if first.descending else s.c.last_value >= after[0])
    # What is not of the run itself is asked of the walk's own id, so that only runs that pass are looked up.
    columns = Columns(
        lambda field: metric if field == first.field else _run_column(field, s.c.run_id), _RUN_COLUMNS.names
    )
    # The index knows run ids too: sorted by the metric and the run id, nothing is left to sort.
    newest = SortKey(Column(s.c.run_id, Kind.NUMBER, nullable=False), descending=True)
    return _walk(tx, query, select, columns, order(query.order, columns, last=[newest]), 0, after, limit)


def _walk_without_metric(
    tx: Transaction, query: RunQuery, first: OrderKey, within: Any, after: list[Any] | None, limit: int
) -> list[FoundRun]:
    missing = _RUN_COLUMNS.find(first.field, 1, "order_by[0]").sql.is_(None)
    keys = order(query.order[1:], _RUN_COLUMNS, last=_NEWEST)
    return _walk(tx, query, sa.select(runs).where(within, missing), _RUN_COLUMNS, keys, 1, after, limit)


def _requires(node: Node | None, field: Field) -> bool:
    """Whether a filter is true only for what has the field, so that there is no need to look further."""
    if isinstance(node, And):
        return any(_requires(term, field) for term in node.terms)
    return isinstance(node, Comparison) and node.field == field and node.op is not Op.IS_NULL


def _walk(
    tx: Transaction,
    query: RunQuery,
    select: sa.Select[Any],
    columns: Columns,
    keys: Order,
    part: int,
    after: Sequence[Any] | None,
    limit: int,
) -> list[FoundRun]:
    rows = _page(tx, select, query.filter, columns, keys, after, limit)
    return [FoundRun(run_store.entity(row, query.workspace), (part, *place)) for row, place in rows]


def _page(
    tx: Transaction,
    select: sa.Select[Any],
    node: Node | None,
    columns: Columns,
    keys: Order,
    after: Sequence[Any] | None,
    limit: int,
) -> list[tuple[Any, tuple[Any, ...]]]:
    if node is not None:
        select = select.where(predicate(node, columns))
    if after is not None:
        select = select.where(keys.after(list(after)))
    places = [column.label(f"place_{index}") for index, column in enumerate(keys.columns)]
    rows = tx.execute(select.add_columns(*places).order_by(*keys.clauses).limit(limit))
    return [(row, tuple(row[-len(places) :])) for row in rows]


def _within_experiments(query: RunQuery) -> Any:
    """The condition on the run's experiment and lifecycle."""
    e = experiments
    if not query.experiment_ids:
        mine = sa.select(e.c.experiment_id).where(e.c.workspace == query.workspace)
        active = runs.c.experiment_id.in_(mine.where(e.c.delete_time.is_(None)))
        anything = runs.c.experiment_id.in_(mine)
    else:
        active = _one_of(runs.c.experiment_id, [each for each in query.experiment_ids if each not in query.deleted_ids])
        anything = _one_of(runs.c.experiment_id, query.experiment_ids)
    if query.lifecycle is Lifecycle.ACTIVE:
        return sa.and_(active, runs.c.delete_time.is_(None))
    if query.lifecycle is Lifecycle.DELETED:
        return sa.and_(anything, sa.or_(runs.c.delete_time.is_not(None), sa.not_(active)))
    return anything


def _one_of(column: Any, experiment_ids: Sequence[str]) -> Any:
    numbers = [int(each) for each in experiment_ids]
    return column == numbers[0] if len(numbers) == 1 else column.in_(numbers)


def _alive(table: sa.Table, lifecycle: Lifecycle) -> list[Any]:
    if lifecycle is Lifecycle.ANY:
        return []
    deleted = table.c.delete_time.is_not(None)
    return [deleted if lifecycle is Lifecycle.DELETED else sa.not_(deleted)]


def _run_column(field: Field, run_id: Any = runs.c.run_id) -> Column | None:
    match field.scope:
        case "metrics":
            s = metric_summaries
            value = sa.select(s.c.last_value).where(s.c.run_id == run_id, s.c.key == field.key)
            return Column(value.correlate(run_id.table).scalar_subquery(), Kind.NUMBER)
        case "params" | "tags":
            t = params if field.scope == "params" else tags
            text = sa.select(t.c.value).where(t.c.run_id == run_id, t.c.key == field.key)
            return Column(text.correlate(run_id.table).scalar_subquery(), Kind.TEXT, long=True)
        case "datasets":
            return _dataset_of_run(field, run_id)
    return _RUN_ATTRIBUTES.get(field.key)


def _dataset_of_run(field: Field, run_id: Any) -> Column | None:
    known = {"name": datasets.c.name, "digest": datasets.c.digest, "context": dataset_inputs.c.context}
    if field.key not in known:
        return None
    joined = dataset_inputs.join(datasets, datasets.c.dataset_id == dataset_inputs.c.dataset_id)

    def within(condition: Any) -> Any:
        used = sa.select(sa.literal(1)).select_from(joined).where(dataset_inputs.c.run_id == run_id, condition)
        return used.correlate(run_id.table).exists()

    return Column(known[field.key], Kind.TEXT, within=within)


def _experiment_column(field: Field) -> Column | None:
    if field.scope == "tags":
        t = experiment_tags
        text = sa.select(t.c.value).where(t.c.experiment_id == experiments.c.experiment_id, t.c.key == field.key)
        return Column(text.correlate(experiments).scalar_subquery(), Kind.TEXT, long=True)
    return _EXPERIMENT_ATTRIBUTES.get(field.key)


def _dataset_column(field: Field) -> Column | None:
    return _DATASET_ATTRIBUTES.get(field.key)


_RUN_COLUMNS = Columns(
    _run_column,
    "metrics.<key>, params.<key>, tags.<key>, datasets.name, datasets.digest, datasets.context, "
    + ", ".join(_RUN_ATTRIBUTES),
)
_EXPERIMENT_COLUMNS = Columns(_experiment_column, f"tags.<key>, {', '.join(_EXPERIMENT_ATTRIBUTES)}")
_DATASET_COLUMNS = Columns(_dataset_column, ", ".join(_DATASET_ATTRIBUTES))
_STARTED = SortKey(_RUN_ATTRIBUTES["start_time"], descending=True)
# Ids are taken as they are, by which they are indexed: being hexadecimal, they sort alike in every collation.
_NEWEST = [SortKey(Column(runs.c.run_id, Kind.NUMBER, nullable=False), descending=True)]
