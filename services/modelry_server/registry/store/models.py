"""Models as rows.

What the creation of a version and a promotion ask here is compiled once (`kernel.sql.statements`): measured, plain
SQLAlchemy needs twice the time for each. Everything else is plain.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, fetch, fetch_one, insert
from modelry_server.registry.entities import Model
from modelry_server.registry.store.tables import aliases, model_tags, models, versions

_COLUMNS = [column.name for column in models.columns]
LISTED = [column for column in models.columns if column.name != "description"]
"""What the page of a list reads of all its models at once: a description can be long."""
_DESCRIPTIONS = sa.select(models.c.model_id, models.c.description).where(
    models.c.model_id.in_(sa.bindparam("ids", expanding=True))
)
_named = sa.and_(models.c.workspace == sa.bindparam("workspace"), models.c.name == sa.bindparam("name"))
_NAMED = sa.select(models).where(_named)
_OF_ID = sa.select(models).where(models.c.model_id == sa.bindparam("id"))
_ID_OF_NAMED = sa.select(models.c.model_id).where(_named)
_WORKSPACE_OF_ID = sa.select(models.c.workspace).where(models.c.model_id == sa.bindparam("id"))
_LOCK_NAMED, _LOCK_ID = _NAMED.with_for_update(), _OF_ID.with_for_update()
_one = sa.update(models).where(models.c.model_id == sa.bindparam("id"))
_NEXT_NUMBER = _one.values(last_version_number=models.c.last_version_number + 1).returning(models.c.last_version_number)
_ADVANCE = _one.values(
    audit_sequence=sa.bindparam("new_sequence"),
    audit_digest=sa.bindparam("new_digest"),
    update_time=sa.bindparam("now"),
)


def add(tx: Transaction, model: Model) -> bool:
    """Writes a new model without its tags; False if the name is taken in the workspace."""
    row = {name: getattr(model, name) for name in _COLUMNS}
    return tx.execute(insert(tx, models).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, workspace: str, name: str) -> Model | None:
    """The model with this name, with its tags and aliases."""
    row = tx.execute(_NAMED, {"workspace": workspace, "name": name}).one_or_none()
    return whole(tx, [row])[0] if row else None


def id_of(tx: Transaction, workspace: str, name: str) -> str | None:
    """The id of the model with this name."""
    row = fetch_one(tx, _ID_OF_NAMED, {"workspace": workspace, "name": name})
    return row.model_id if row else None


def workspace_of(tx: Transaction, model_id: str) -> str | None:
    """The workspace of the model with this id."""
    row = fetch_one(tx, _WORKSPACE_OF_ID, {"id": model_id})
    return row.workspace if row else None


def of_id(tx: Transaction, model_id: str) -> Model | None:
    """The model with this id, with its tags and aliases."""
    row = tx.execute(_OF_ID, {"id": model_id}).one_or_none()
    return whole(tx, [row])[0] if row else None


def lock(tx: Transaction, workspace: str, name: str) -> Model | None:
    """The model with this name, without tags and aliases. Nobody else changes it, or what belongs to it, until the
    transaction ends."""
    row = fetch_one(tx, _LOCK_NAMED, {"workspace": workspace, "name": name})
    return _entity(row) if row else None


def lock_id(tx: Transaction, model_id: str) -> Model | None:
    """As `lock`: the model with this id."""
    row = fetch_one(tx, _LOCK_ID, {"id": model_id})
    return _entity(row) if row else None


def lock_of_version(tx: Transaction, version_id: str) -> Model | None:
    """As `lock`: the model of the version with this id."""
    owner = sa.select(versions.c.model_id).where(versions.c.version_id == version_id).scalar_subquery()
    row = tx.execute(sa.select(models).where(models.c.model_id == owner).with_for_update()).one_or_none()
    return _entity(row) if row else None


def describe(tx: Transaction, model_id: str, name: str, description: str, revision: int) -> bool:
    """Sets name, description and revision. False if the name is taken; then nothing is changed."""
    change = sa.update(models).where(models.c.model_id == model_id)
    try:
        with tx.begin_nested():
            tx.execute(change.values(name=name, description=description, revision=revision))
    except sa.exc.IntegrityError:
        return False
    return True


def next_number(tx: Transaction, model_id: str) -> int:
    """The number of the next version. Each number is given once."""
    [(number,)] = fetch(tx, _NEXT_NUMBER, {"id": model_id})
    return int(number)


def advance(tx: Transaction, model_id: str, *, sequence: int, digest: str, now: int) -> None:
    """Notes the last audit record of a model, and that the model changed."""
    ask(tx, _ADVANCE, {"id": model_id, "new_sequence": sequence, "new_digest": digest, "now": now})


def delete(tx: Transaction, model_id: str) -> None:
    """Removes a model that has nothing left but tags."""
    for table in (model_tags, models):
        tx.execute(sa.delete(table).where(table.c.model_id == model_id))


def set_tags(tx: Transaction, model_id: str, tags: Mapping[str, str]) -> None:
    """Writes tags; those with the same keys are replaced."""
    if tags:
        rows = [{"model_id": model_id, "key": key, "value": value} for key, value in tags.items()]
        added = insert(tx, model_tags)
        same = [model_tags.c.model_id, model_tags.c.key]
        tx.execute(added.on_conflict_do_update(index_elements=same, set_={"value": added.excluded.value}), rows)


def delete_tags(tx: Transaction, model_id: str, keys: Collection[str]) -> None:
    """Removes tags."""
    tx.execute(sa.delete(model_tags).where(model_tags.c.model_id == model_id, model_tags.c.key.in_(keys)))


def listed(tx: Transaction, rows: Sequence[Any]) -> list[Model]:
    """Models from rows of the columns that are `LISTED`, with their descriptions, tags and aliases."""
    described = tx.execute(_DESCRIPTIONS, {"ids": [row.model_id for row in rows]})
    texts = {model_id: text for model_id, text in described}
    return [replace(model, description=texts.get(model.model_id, "")) for model in whole(tx, rows)]


def whole(tx: Transaction, rows: Sequence[Any]) -> list[Model]:
    """Models from their rows, with tags and aliases."""
    found = [_entity(row) for row in rows]
    tags: dict[str, dict[str, str]] = {model.model_id: {} for model in found}
    numbers: dict[str, dict[str, int]] = {model.model_id: {} for model in found}
    for model_id, key, value in tx.execute(sa.select(model_tags).where(model_tags.c.model_id.in_(tags))):
        tags[model_id][key] = value
    pointing = sa.select(aliases.c.model_id, aliases.c.alias, aliases.c.version_number)
    for model_id, alias, number in tx.execute(pointing.where(aliases.c.model_id.in_(numbers))):
        numbers[model_id][alias] = number
    return [replace(model, tags=tags[model.model_id], aliases=numbers[model.model_id]) for model in found]


def _entity(row: Any) -> Model:
    values: dict[str, Any] = {name: getattr(row, name, "") for name in _COLUMNS}
    return Model(**values)
