"""Datasets and their use by runs as rows."""

from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.functions import octets
from modelry_server.kernel.sql.predicate import among
from modelry_server.kernel.sql.statements import Transaction, ask, insert, one_of
from modelry_server.tracking.entities import Dataset, DatasetInput
from modelry_server.tracking.store.tables import dataset_inputs, datasets, runs

_BRIEF = [column for column in datasets.c if column.name not in ("schema", "profile")]
_i = dataset_inputs.c
_INPUTS = (
    sa.select(_i.run_id, _i.context, *_BRIEF)
    .join(datasets, datasets.c.dataset_id == _i.dataset_id)
    .where(one_of(_i.run_id, "run_ids"))
    .order_by(datasets.c.name, _i.context)
)

_TEXTS = (datasets.c.name, datasets.c.digest, datasets.c.source_type, datasets.c.source, _i.context)
_bytes: Any = sa.func.sum(sum(map(octets, _TEXTS), sa.literal_column("0")))
SIZES = (
    sa.select(_i.run_id, _bytes)
    .join_from(dataset_inputs, datasets, datasets.c.dataset_id == _i.dataset_id)
    .where(one_of(_i.run_id, "run_ids"))
    .group_by(_i.run_id)
)
"""About how many bytes the datasets of each run take in an answer."""
_TOTAL = (
    sa.select(sa.func.count(), sa.func.coalesce(_bytes, 0))
    .join_from(dataset_inputs, datasets, datasets.c.dataset_id == _i.dataset_id)
    .where(_i.run_id == sa.bindparam("one"))
)


def add(tx: Transaction, dataset: Dataset) -> Dataset:
    """Writes a dataset, or finds the one of the same name and digest."""
    row = {name: getattr(dataset, name) for name in datasets.c.keys()}  # noqa: SIM118 - a collection of columns, not a dict
    tx.execute(insert(tx, datasets).values(row).on_conflict_do_nothing())
    query = sa.select(datasets).where(
        datasets.c.workspace == dataset.workspace, datasets.c.name == dataset.name, datasets.c.digest == dataset.digest
    )
    return entity(tx.execute(query).one())


def find(tx: Transaction, dataset_id: str) -> Dataset | None:
    """The dataset of an id."""
    row = tx.execute(sa.select(datasets).where(datasets.c.dataset_id == dataset_id)).one_or_none()
    return entity(row) if row else None


def place(tx: Transaction, dataset_id: str, experiment_ids: Collection[str]) -> tuple[str, Collection[str]]:
    """The workspace of a dataset, and those of the experiments whose runs used it. Empty if there is no such dataset.

    Nothing here depends on whether there is one: it takes the same time.
    """
    workspace = tx.execute(sa.select(datasets.c.workspace).where(datasets.c.dataset_id == dataset_id)).scalar() or ""
    if not experiment_ids:
        return workspace, ()
    using = _used_in(runs.c.experiment_id, experiment_ids).where(_i.dataset_id == dataset_id).distinct()
    return workspace, [str(number) for number in tx.scalars(using)]


def used_in(experiment_ids: Collection[str]) -> sa.Select[Any]:
    """A query for the ids of the datasets that runs of experiments used."""
    return _used_in(_i.dataset_id, experiment_ids)


def _used_in(column: sa.Column[Any], experiment_ids: Collection[str]) -> sa.Select[Any]:
    used = sa.select(column).join_from(runs, dataset_inputs, runs.c.run_id == _i.run_id)
    return used.where(among(runs.c.experiment_id, map(int, experiment_ids)))


def use(tx: Transaction, run_id: str, dataset_id: str, context: str) -> None:
    """Notes that a run used a dataset; once for each context."""
    row = {"run_id": run_id, "dataset_id": dataset_id, "context": context}
    tx.execute(insert(tx, dataset_inputs).values(row).on_conflict_do_nothing())


def total(tx: Transaction, run_id: str) -> tuple[int, int]:
    """How many datasets a run has, each counted once for each context, and the bytes of their texts in a list."""
    count, size = tx.execute(_TOTAL, {"one": run_id}).one()
    return count, int(size)


def ask_inputs(tx: Transaction, run_ids: Collection[str]) -> Callable[[], dict[str, list[DatasetInput]]]:
    """Asks for the datasets of each run, without schema and profile, which can be long."""
    asked = ask(tx, _INPUTS, {"run_ids": list(run_ids)}, many=len(run_ids) > 1)

    def answer() -> dict[str, list[DatasetInput]]:
        found: dict[str, list[DatasetInput]] = {run_id: [] for run_id in run_ids}
        for run_id, context, *brief in asked.rows():
            named = {column.name: value for column, value in zip(_BRIEF, brief, strict=True)}
            found[run_id].append(DatasetInput(Dataset(**named), context))
        return found

    return answer


def select() -> sa.Select[Any]:
    """A query for datasets without schema and profile."""
    return sa.select(*_BRIEF)


def entity(row: Any) -> Dataset:
    """The dataset of a row of `datasets`, with or without schema and profile."""
    return Dataset(
        dataset_id=row.dataset_id,
        workspace=row.workspace,
        name=row.name,
        digest=row.digest,
        source_type=row.source_type,
        source=row.source,
        schema=getattr(row, "schema", ""),
        profile=getattr(row, "profile", ""),
        create_time=row.create_time,
    )
