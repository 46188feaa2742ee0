"""Experiments as rows."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.statements import Transaction, fetch, insert, insert_rows, one_of
from modelry_server.tracking.entities import Experiment
from modelry_server.tracking.store.tables import experiment_tags, experiments


def add(tx: Transaction, experiment: Experiment) -> Experiment | None:
    """Writes a new experiment and gives it its id; None if the name is taken."""
    row = {
        "workspace": experiment.workspace,
        "name": experiment.name,
        "create_time": experiment.create_time,
        "update_time": experiment.update_time,
        "revision": experiment.revision,
        "creator": experiment.creator,
        "description": experiment.description,
    }
    statement = insert(tx, experiments).values(row).on_conflict_do_nothing().returning(experiments.c.experiment_id)
    number = tx.execute(statement).scalar_one_or_none()
    if number is None:
        return None
    added = replace(experiment, experiment_id=str(number))
    set_tags(tx, added.experiment_id, experiment.tags)
    return added


def find(tx: Transaction, experiment_id: str, *, lock: bool = False) -> Experiment | None:
    """The experiment of an id; `lock` keeps others from changing it until the transaction ends."""
    query = sa.select(experiments).where(experiments.c.experiment_id == int(experiment_id))
    return _one(tx, query.with_for_update() if lock else query)


def homes(tx: Transaction, experiment_ids: Collection[str]) -> dict[str, tuple[str, bool]]:
    """For each experiment that exists: its workspace, and whether it is deleted."""
    found = fetch(tx, _HOMES, {"numbers": [int(each) for each in experiment_ids]})
    return {str(number): (workspace, delete_time is not None) for number, workspace, delete_time in found}


def places(tx: Transaction, experiment_ids: Collection[str]) -> dict[str, Place]:
    """The place of each experiment that exists."""
    return {each: Place(workspace, each) for each, (workspace, _) in homes(tx, experiment_ids).items()}


def id_of(tx: Transaction, workspace: str, name: str) -> str | None:
    """The id of the experiment of a name, active or deleted."""
    found = fetch(tx, _ID_OF_NAMED, {"workspace": workspace, "name": name})
    return str(found[0][0]) if found else None


def find_by_name(tx: Transaction, workspace: str, name: str) -> Experiment | None:
    """The experiment of a name, active or deleted."""
    return _one(tx, sa.select(experiments).where(experiments.c.workspace == workspace, experiments.c.name == name))


def update(tx: Transaction, experiment: Experiment) -> None:
    """Writes name, description, times and revision."""
    values = {
        "name": experiment.name,
        "description": experiment.description,
        "update_time": experiment.update_time,
        "delete_time": experiment.delete_time,
        "revision": experiment.revision,
    }
    tx.execute(
        sa.update(experiments).where(experiments.c.experiment_id == int(experiment.experiment_id)).values(values)
    )


def set_tags(tx: Transaction, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Writes tags over those of the same keys."""
    rows = [{"experiment_id": int(experiment_id), "key": key, "value": value} for key, value in sorted(tags.items())]
    insert_rows(tx, experiment_tags, rows, _replaced)


def delete_tags(tx: Transaction, experiment_id: str, keys: Collection[str]) -> None:
    """Removes tags."""
    t = experiment_tags
    tx.execute(sa.delete(t).where(t.c.experiment_id == int(experiment_id), t.c.key.in_(keys)))


def with_tags(tx: Transaction, rows: Collection[Any]) -> list[Experiment]:
    """The entities of rows of `experiments`, with their tags."""
    tags: dict[int, dict[str, str]] = {row.experiment_id: {} for row in rows}
    t = experiment_tags
    for number, key, value in tx.execute(sa.select(t).where(t.c.experiment_id.in_(tags)).order_by(t.c.key)):
        tags[number][key] = value
    return [_entity(row, tags[row.experiment_id]) for row in rows]


def listed(tx: Transaction, rows: Collection[Any]) -> list[Experiment]:
    """The entities of rows of the columns that are `LISTED`, with their descriptions and tags."""
    described = tx.execute(_DESCRIPTIONS, {"numbers": [row.experiment_id for row in rows]})
    texts = {number: text for number, text in described}
    found = with_tags(tx, rows)
    return [replace(each, description=texts.get(row.experiment_id, "")) for each, row in zip(found, rows, strict=True)]


def _replaced(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=["experiment_id", "key"], set_={"value": statement.excluded.value}
    )


LISTED = [column for column in experiments.c if column.name != "description"]
"""What the page of a list reads of all its experiments at once: a description can be long."""
_DESCRIPTIONS = sa.select(experiments.c.experiment_id, experiments.c.description).where(
    experiments.c.experiment_id.in_(sa.bindparam("numbers", expanding=True))
)
_ID_OF_NAMED = sa.select(experiments.c.experiment_id).where(
    experiments.c.workspace == sa.bindparam("workspace"), experiments.c.name == sa.bindparam("name")
)
_HOMES = sa.select(experiments.c.experiment_id, experiments.c.workspace, experiments.c.delete_time).where(
    one_of(experiments.c.experiment_id, "numbers")
)


def _one(tx: Transaction, query: sa.Select[Any]) -> Experiment | None:
    row = tx.execute(query).one_or_none()
    return with_tags(tx, [row])[0] if row else None


def _entity(row: Any, tags: Mapping[str, str]) -> Experiment:
    return Experiment(
        experiment_id=str(row.experiment_id),
        workspace=row.workspace,
        name=row.name,
        create_time=row.create_time,
        update_time=row.update_time,
        delete_time=row.delete_time,
        description=getattr(row, "description", ""),
        creator=row.creator,
        revision=row.revision,
        tags=tags,
    )
