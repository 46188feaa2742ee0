"""Datasets and their use by runs as rows."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from assay_server.kernel.statements import Transaction, insert
from assay_server.tracking.entities import Dataset, DatasetInput
from assay_server.tracking.store.tables import dataset_inputs, datasets

_BRIEF = [column for column in datasets.c if column.name not in ("schema", "profile")]


def add(tx: Transaction, dataset: Dataset) -> Dataset:
    """Writes a dataset, or finds the one of the same name and digest."""
    row = {name: getattr(dataset, name) for name in datasets.c.keys()}  # noqa: SIM118 - a collection of columns, not a dict
    tx.execute(insert(tx, datasets).values(row).on_conflict_do_nothing())
    query = sa.select(datasets).where(
        datasets.c.workspace == dataset.workspace, datasets.c.name == dataset.name, datasets.c.digest == dataset.digest
    )
    return _entity(tx.execute(query).one())


def find(tx: Transaction, dataset_id: str) -> Dataset | None:
    """The dataset of an id."""
    row = tx.execute(sa.select(datasets).where(datasets.c.dataset_id == dataset_id)).one_or_none()
    return _entity(row) if row else None


def use(tx: Transaction, run_id: str, dataset_id: str, context: str) -> None:
    """Notes that a run used a dataset; once for each context."""
    row = {"run_id": run_id, "dataset_id": dataset_id, "context": context}
    tx.execute(insert(tx, dataset_inputs).values(row).on_conflict_do_nothing())


def inputs(tx: Transaction, run_ids: Collection[str]) -> dict[str, list[DatasetInput]]:
    """What each run used; without schema and profile, which can be long."""
    found: dict[str, list[DatasetInput]] = {run_id: [] for run_id in run_ids}
    i = dataset_inputs
    query = (
        sa.select(i.c.run_id, i.c.context, *_BRIEF)
        .join(datasets, datasets.c.dataset_id == i.c.dataset_id)
        .where(i.c.run_id.in_(run_ids))
        .order_by(i.c.run_id, datasets.c.name, i.c.context)
    )
    for row in tx.execute(query):
        found[row.run_id].append(DatasetInput(_entity(row), row.context))
    return found


def select() -> sa.Select[Any]:
    """A query for datasets without schema and profile."""
    return sa.select(*_BRIEF)


def entity(row: Any) -> Dataset:
    """The dataset of a row of `select()`."""
    return _entity(row)


def _entity(row: Any) -> Dataset:
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
