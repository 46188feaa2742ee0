"""Filter tree -> SQL for runs, experiments and datasets. Reads summaries only, never chunks.

The best runs by a metric are read along the index `metric_summaries_by_value` until the page is full: first the runs
that have the metric (part 0), then the others (part 1). Every other field of a run is looked up for each run on the
way, as a scalar subquery: PostgreSQL would turn an EXISTS into a join and sort everything.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import starmap
from typing import Any, TypeAlias

import sqlalchemy as sa

from modelry_server.kernel.access import Within
from modelry_server.kernel.filter import And, Comparison, Field, Node, Op, OrderKey
from modelry_server.kernel.requests.paging import Found, SortValue, block_by_block, completed
from modelry_server.kernel.sql.predicate import Column, Columns, Kind, Order, SortKey, among, order, predicate
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.entities import Dataset, Experiment, LifecycleFilter, Run, RunQuery, RunStatus
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
    "name": Column(runs.c.name, Kind.TEXT, nullable=False),
    "status": Column(_status, Kind.TEXT, nullable=False, choices=tuple(status.name for status in RunStatus)),
    "creator": Column(runs.c.creator, Kind.TEXT, nullable=False, long=True),
    "claimed_user": Column(runs.c.claimed_user, Kind.TEXT, nullable=False),
    "start_time": Column(runs.c.start_time, Kind.NUMBER, nullable=False),
    "end_time": Column(runs.c.end_time, Kind.NUMBER),
    "experiment_id": Column(sa.cast(runs.c.experiment_id, sa.Text), Kind.TEXT, nullable=False),
    "parent_run_id": Column(sa.func.nullif(runs.c.parent_run_id, ""), Kind.TEXT),
}
_EXPERIMENT_ATTRIBUTES: dict[str, Column] = {
    "name": Column(experiments.c.name, Kind.TEXT, nullable=False),
    "experiment_id": Column(sa.cast(experiments.c.experiment_id, sa.Text), Kind.TEXT, nullable=False),
    "creator": Column(experiments.c.creator, Kind.TEXT, nullable=False, long=True),
    "create_time": Column(experiments.c.create_time, Kind.NUMBER, nullable=False),
    "update_time": Column(experiments.c.update_time, Kind.NUMBER, nullable=False),
}
# Compared as what it is, a text; sorted as a number, so that 10 comes after 9.
_EXPERIMENT_SORT_ATTRIBUTES = _EXPERIMENT_ATTRIBUTES | {
    "experiment_id": Column(experiments.c.experiment_id, Kind.NUMBER, nullable=False)
}
_DATASET_ATTRIBUTES: dict[str, Column] = {
    "name": Column(datasets.c.name, Kind.TEXT, nullable=False),
    "digest": Column(datasets.c.digest, Kind.TEXT, nullable=False),
    "source_type": Column(datasets.c.source_type, Kind.TEXT, nullable=False),
}


def page_of_runs(tx: Transaction, query: RunQuery, after: Sequence[SortValue] | None, limit: int) -> list[Found[Run]]:
    """At most `limit` runs after a sort key, without their parts. The sort key begins with the part, 0 or 1."""
    part, rest = (int(after[0] or 0), after[1:]) if after else (0, None)
    first = query.order[0] if query.order else None
    if first is None or first.field.scope != "metrics":
        keys = order(query.order, _RUN_COLUMNS, last=_NEWEST if query.order else [_STARTED, *_NEWEST])
        rows = _page(tx, _of_runs(query), query.filter, _RUN_COLUMNS, keys=keys, after=rest, limit=limit)
        return _runs(rows, query, part=0)
    found: list[Found[Run]] = []
    if part == 0:
        found = _runs(_with_metric(tx, query, first, after=rest, limit=limit), query, part=0)
        rest = None
    if len(found) < limit and not _requires(query.filter, first.field):
        others = _without_metric(tx, query, first, after=rest, limit=limit - len(found))
        found += _runs(others, query, part=1)
    return found


def page_of_experiments(
    tx: Transaction,
    workspace: str,
    *,
    within: Within,
    lifecycle: LifecycleFilter,
    node: Node | None,
    keys: Sequence[OrderKey],
    after: Sequence[SortValue] | None,
    limit: int,
) -> Iterator[Found[Experiment]]:
    """At most `limit` experiments of a part of a workspace, after a sort key."""
    query = sa.select(*experiment_store.LISTED)
    query = query.where(experiments.c.workspace == workspace, *_alive(experiments, lifecycle))
    if not within.is_all:
        query = query.where(among(experiments.c.experiment_id, map(int, within.experiment_ids)))
    newest = SortKey(_EXPERIMENT_SORT_ATTRIBUTES["experiment_id"], descending=True)
    wanted = order(keys, _EXPERIMENT_SORT_COLUMNS, last=[newest])
    rows = _page(tx, query, node, _EXPERIMENT_COLUMNS, keys=wanted, after=after, limit=limit)
    return completed(list(starmap(Found, rows)), partial(experiment_store.listed, tx))


def page_of_datasets(
    tx: Transaction,
    workspace: str,
    node: Node | None,
    *,
    within: Within,
    after: tuple[SortValue, ...] | None,
    limit: int,
) -> Iterator[Found[Dataset]]:
    """At most `limit` datasets after a sort key, the newest first: of a part of a workspace, those that runs of its
    experiments used."""
    query = dataset_store.select().where(datasets.c.workspace == workspace)
    if not within.is_all:
        query = query.where(datasets.c.dataset_id.in_(dataset_store.used_in(within.experiment_ids)))
    newest = Order([SortKey(Column(datasets.c.dataset_id, Kind.TEXT, nullable=False), descending=True)])

    def read(after: tuple[SortValue, ...] | None, limit: int) -> list[Found[Dataset]]:
        rows = _page(tx, query, node, _DATASET_COLUMNS, keys=newest, after=after, limit=limit)
        return [Found(dataset_store.entity(row), key) for row, key in rows]

    return block_by_block(read, after, limit)


def _with_metric(
    tx: Transaction, query: RunQuery, first: OrderKey, *, after: Sequence[SortValue] | None, limit: int
) -> list["_Row"]:
    """The runs that have the metric by which they are sorted first."""
    s = metric_summaries.alias("best")
    metric = Column(s.c.last_value, Kind.NUMBER, nullable=False)
    select = sa.select(*run_store.LISTED).select_from(s.join(runs, runs.c.run_id == s.c.run_id))
    select = select.where(s.c.key == first.field.key, s.c.last_value.is_not(None), _in_experiments(query))
    if query.experiment_ids is not None and len(query.experiment_ids) == 1:
        select = select.where(s.c.experiment_id == int(query.experiment_ids[0]))
    if after:  # follows from the order already; said again so that the database begins to read there
        select = select.where(s.c.last_value <= after[0] if first.descending else s.c.last_value >= after[0])
    # Other fields are looked up by the run id of the summary, so that only runs that pass are looked up.
    columns = Columns(
        lambda field: metric if field == first.field else _run_column(field, s.c.run_id), _RUN_COLUMNS.names
    )
    # The index has run ids, too: rows that are sorted by the metric and the run id need no further sorting.
    newest = SortKey(Column(s.c.run_id, Kind.TEXT, nullable=False), descending=True)
    keys = order(query.order, columns, last=[newest])
    return _page(tx, select, query.filter, columns, keys=keys, after=after, limit=limit)


def _without_metric(
    tx: Transaction, query: RunQuery, first: OrderKey, *, after: Sequence[SortValue] | None, limit: int
) -> list["_Row"]:
    """The runs that don't have the metric by which they are sorted first."""
    missing = _RUN_COLUMNS.find(first.field, 1, "order_by[0]").sql.is_(None)
    keys = order(query.order[1:], _RUN_COLUMNS, last=_NEWEST)
    select = _of_runs(query).where(missing)
    return _page(tx, select, query.filter, _RUN_COLUMNS, keys=keys, after=after, limit=limit)


def _requires(node: Node | None, field: Field) -> bool:
    """Whether a filter is true only for what has the field, so that there is no need to look further."""
    if isinstance(node, And):
        return any(_requires(term, field) for term in node.terms)
    return isinstance(node, Comparison) and node.field == field and node.op is not Op.IS_NULL


_Row: TypeAlias = tuple[Any, tuple[SortValue, ...]]
"""A row, and its sort key."""


def _of_runs(query: RunQuery) -> sa.Select[Any]:
    return sa.select(*run_store.LISTED).where(_in_experiments(query))


def _runs(rows: Sequence[_Row], query: RunQuery, *, part: int) -> list[Found[Run]]:
    return [Found(run_store.entity(row, query.workspace), (part, *key)) for row, key in rows]


def _page(
    tx: Transaction,
    select: sa.Select[Any],
    node: Node | None,
    columns: Columns,
    *,
    keys: Order,
    after: Sequence[SortValue] | None,
    limit: int,
) -> list[_Row]:
    if node is not None:
        select = select.where(predicate(node, columns))
    if after is not None:
        select = select.where(keys.after(after))
    sort_keys = [column.label(f"sort_key_{index}") for index, column in enumerate(keys.columns)]
    rows = tx.execute(select.add_columns(*sort_keys).order_by(*keys.clauses).limit(limit)).all()
    return [(row, tuple(row[-len(sort_keys) :])) for row in rows]


def _in_experiments(query: RunQuery) -> Any:
    """The condition on the experiment and the lifecycle of a run."""
    e = experiments
    if query.experiment_ids is None:
        mine = sa.select(e.c.experiment_id).where(e.c.workspace == query.workspace)
        active = runs.c.experiment_id.in_(mine.where(e.c.delete_time.is_(None)))
        anything = runs.c.experiment_id.in_(mine)
    else:
        active = _one_of(runs.c.experiment_id, [each for each in query.experiment_ids if each not in query.deleted_ids])
        anything = _one_of(runs.c.experiment_id, query.experiment_ids)
    if query.lifecycle is LifecycleFilter.ACTIVE:
        return sa.and_(active, runs.c.delete_time.is_(None))
    if query.lifecycle is LifecycleFilter.DELETED:
        return sa.and_(anything, sa.or_(runs.c.delete_time.is_not(None), sa.not_(active)))
    return anything


def _one_of(column: Any, experiment_ids: Sequence[str]) -> Any:
    numbers = [int(each) for each in experiment_ids]
    return column == numbers[0] if len(numbers) == 1 else among(column, numbers)


def _alive(table: sa.Table, lifecycle: LifecycleFilter) -> list[Any]:
    if lifecycle is LifecycleFilter.ANY:
        return []
    deleted = table.c.delete_time.is_not(None)
    return [deleted if lifecycle is LifecycleFilter.DELETED else sa.not_(deleted)]


def _run_column(field: Field, run_id: Any = runs.c.run_id) -> Column | None:
    match field.scope:
        case "metrics":
            s = metric_summaries
            value = sa.select(s.c.last_value).where(s.c.run_id == run_id, s.c.key == field.key)
            return Column(value.correlate(run_id.table).scalar_subquery(), Kind.NUMBER)
        case "params" | "tags":
            t = params if field.scope == "params" else tags

            def looked_up(column: Any) -> Any:
                found = sa.select(column).where(t.c.run_id == run_id, t.c.key == field.key)
                return found.correlate(run_id.table).scalar_subquery()

            number = looked_up(params.c.number) if t is params else None
            return Column(looked_up(t.c.value), Kind.TEXT, long=True, number=number)
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


def _experiment_sort_column(field: Field) -> Column | None:
    return _EXPERIMENT_SORT_ATTRIBUTES.get(field.key) if field.scope != "tags" else _experiment_column(field)


def _dataset_column(field: Field) -> Column | None:
    return _DATASET_ATTRIBUTES.get(field.key)


_RUN_COLUMNS = Columns(
    _run_column,
    "metrics.<key>, params.<key>, tags.<key>, datasets.name, datasets.digest, datasets.context, "
    + ", ".join(_RUN_ATTRIBUTES),
)
_EXPERIMENT_COLUMNS = Columns(_experiment_column, f"tags.<key>, {', '.join(_EXPERIMENT_ATTRIBUTES)}")
_EXPERIMENT_SORT_COLUMNS = Columns(_experiment_sort_column, _EXPERIMENT_COLUMNS.names)
_DATASET_COLUMNS = Columns(_dataset_column, ", ".join(_DATASET_ATTRIBUTES))
_STARTED = SortKey(_RUN_ATTRIBUTES["start_time"], descending=True)
_NEWEST = [SortKey(_RUN_ATTRIBUTES["run_id"], descending=True)]
