"""Models as rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, fetch, fetch_one, insert
from modelry_server.registry.entities import Model
from modelry_server.registry.store.tables import aliases, model_tags, models

# A text with a NUL names nothing: PostgreSQL has no such texts, and refuses to be asked.
_named = sa.and_(models.c.workspace == sa.bindparam("workspace"), models.c.name == sa.bindparam("name"))
_ID_OF = sa.select(models.c.model_id).where(_named)
_NAMED = sa.select(models).where(_named)
_LOCK = _NAMED.with_for_update()
_one = sa.update(models).where(models.c.model_id == sa.bindparam("model"))
_NEXT_NUMBER = _one.values(last_version=models.c.last_version + 1).returning(models.c.last_version)
_ADVANCE = _one.values(
    sequence=sa.bindparam("new_sequence"), digest=sa.bindparam("new_digest"), update_time=sa.bindparam("now")
)


def add(tx: Transaction, model: Model) -> bool:
    """Writes a new model without its tags; False if the name is taken in the workspace."""
    row = {column.name: getattr(model, column.name) for column in models.columns}
    return tx.execute(insert(tx, models).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, workspace: str, name: str) -> Model | None:
    """The model of a name, with its tags and aliases."""
    row = None if "\0" in workspace + name else fetch_one(tx, _NAMED, {"workspace": workspace, "name": name})
    return whole(tx, [row])[0] if row else None


def id_of(tx: Transaction, workspace: str, name: str) -> str | None:
    """The id of the model of a name."""
    if "\0" in workspace + name:
        return None
    for (model_id,) in fetch(tx, _ID_OF, {"workspace": workspace, "name": name}):
        return str(model_id)
    return None


def of_id(tx: Transaction, model_id: str) -> Model | None:
    """The model of an id, with its tags and aliases."""
    row = tx.execute(sa.select(models).where(models.c.model_id == model_id)).one_or_none()
    return whole(tx, [row])[0] if row else None


def lock(tx: Transaction, workspace: str, name: str) -> Model | None:
    """The model of a name, without tags and aliases; nobody else changes it or what belongs to it until the end."""
    row = None if "\0" in workspace + name else fetch_one(tx, _LOCK, {"workspace": workspace, "name": name})
    return _entity(row) if row else None


def describe(tx: Transaction, model_id: str, name: str, description: str, revision: int) -> bool:
    """Sets name, description and revision; False if the name is taken, and then nothing is changed."""
    change = sa.update(models).where(models.c.model_id == model_id)
    try:
        with tx.begin_nested():
            tx.execute(change.values(name=name, description=description, revision=revision))
    except sa.exc.IntegrityError:
        return False
    return True


def next_number(tx: Transaction, model_id: str) -> int:
    """The number of the next version; it is given once."""
    [(number,)] = fetch(tx, _NEXT_NUMBER, {"model": model_id})
    return int(number)


def advance(tx: Transaction, model_id: str, *, sequence: int, digest: str, now: int) -> None:
    """Notes the model's last audit record, and that it changed."""
    ask(tx, _ADVANCE, {"model": model_id, "new_sequence": sequence, "new_digest": digest, "now": now})


def delete(tx: Transaction, model_id: str) -> None:
    """Removes a model that has nothing left but tags."""
    for table in (model_tags, models):
        tx.execute(sa.delete(table).where(table.c.model_id == model_id))


def set_tags(tx: Transaction, model_id: str, tags: Mapping[str, str]) -> None:
    """Writes tags over those of the same keys."""
    if tags:
        rows = [{"model_id": model_id, "key": key, "value": value} for key, value in tags.items()]
        added = insert(tx, model_tags)
        same = [model_tags.c.model_id, model_tags.c.key]
        tx.execute(added.on_conflict_do_update(index_elements=same, set_={"value": added.excluded.value}), rows)


def delete_tags(tx: Transaction, model_id: str, keys: Collection[str]) -> None:
    """Removes tags."""
    tx.execute(sa.delete(model_tags).where(model_tags.c.model_id == model_id, model_tags.c.key.in_(keys)))


def whole(tx: Transaction, rows: Sequence[Any]) -> list[Model]:
    """Models from their rows, with tags and aliases."""
    found = [_entity(row) for row in rows]
    tags: dict[str, dict[str, str]] = {model.model_id: {} for model in found}
    numbers: dict[str, dict[str, int]] = {model.model_id: {} for model in found}
    for model_id, key, value in tx.execute(sa.select(model_tags).where(model_tags.c.model_id.in_(tags))):
        tags[model_id][key] = value
    pointing = sa.select(aliases.c.model_id, aliases.c.alias, aliases.c.number)
    for model_id, alias, number in tx.execute(pointing.where(aliases.c.model_id.in_(numbers))):
        numbers[model_id][alias] = number
    return [replace(model, tags=tags[model.model_id], aliases=numbers[model.model_id]) for model in found]


def _entity(row: Any) -> Model:
    return Model(
        model_id=row.model_id,
        workspace=row.workspace,
        name=row.name,
        description=row.description,
        create_time=row.create_time,
        update_time=row.update_time,
        last_version=row.last_version,
        revision=row.revision,
        sequence=row.sequence,
        digest=row.digest,
    )
