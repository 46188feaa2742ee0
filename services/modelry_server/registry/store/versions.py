"""Versions as rows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, fetch, fetch_one, insert, insert_rows
from modelry_server.registry.entities import Files, Stage, Version
from modelry_server.registry.store.tables import aliases, models, version_tags, versions

with_name = sa.select(versions, models.c.name.label("model")).join_from(versions, models)
"""Versions with the present names of their models."""
# Subqueries and no joins: without statistics PostgreSQL would walk through all versions of the model.
of_name = (
    sa.select(models.c.model_id)
    .where(models.c.workspace == sa.bindparam("workspace"), models.c.name == sa.bindparam("model"))
    .scalar_subquery()
)
"""The id of the model with the name `model` in the workspace `workspace`, which are to be given with the query."""
with_given_name = sa.select(versions, sa.bindparam("model", type_=sa.Text).label("model"))
"""Versions with the name by which their model is asked for."""
_named = with_given_name.where(versions.c.model_id == of_name, versions.c.number == sa.bindparam("number"))
_SHARED = [column.name for column in versions.columns if column.name in Version.__slots__]


def add(tx: Transaction, version: Version) -> None:
    """Writes a new version with its tags."""
    row = {name: getattr(version, name) for name in _SHARED}
    files = version.files
    row |= {"manifest_sha256": files.manifest_sha256, "file_count": files.file_count, "size_bytes": files.size_bytes}
    insert_rows(tx, versions, [row | {"stage": str(version.stage)}])
    set_tags(tx, version.model_id, version.number, version.tags)


def find(tx: Transaction, model_id: str, number: int) -> Version | None:
    """The version of a number, with its tags and aliases."""
    row = fetch_one(tx, _FIND, {"model_id": model_id, "number": number})
    return whole(tx, [row])[0] if row else None


def named(tx: Transaction, workspace: str, model: str, number: int) -> Version | None:
    """The version of a number of the model of a name, with its tags and aliases."""
    if "\0" in workspace or "\0" in model:  # PostgreSQL has no such texts, and refuses to be asked
        return None
    row = fetch_one(tx, _named, {"workspace": workspace, "model": model, "number": number})
    return whole(tx, [row])[0] if row else None


def of_id(tx: Transaction, version_id: str) -> Version | None:
    """The version of an id, with its tags and aliases."""
    row = fetch_one(tx, _OF_ID, {"version_id": version_id})
    return whole(tx, [row])[0] if row else None


def in_stages(tx: Transaction, model_id: str, stages: Collection[Stage]) -> list[Version]:
    """The versions of a model that stand in one of the stages, by number."""
    query = with_name.where(versions.c.model_id == model_id, versions.c.stage.in_(stages))
    return whole(tx, tx.execute(query.order_by(versions.c.number)).all())


def latest(tx: Transaction, model_id: str, stages: Collection[Stage]) -> list[Version]:
    """The version with the highest number of each of the stages that has one."""
    t = versions
    highest = (
        sa.select(sa.func.max(t.c.number)).where(t.c.model_id == model_id, t.c.stage.in_(stages)).group_by(t.c.stage)
    )
    return whole(tx, tx.execute(with_name.where(t.c.model_id == model_id, t.c.number.in_(highest))).all())


def ids(tx: Transaction, model_id: str) -> dict[int, str]:
    """The ids of all versions of a model, by number."""
    query = sa.select(versions.c.number, versions.c.version_id).where(versions.c.model_id == model_id)
    return {number: version_id for number, version_id in tx.execute(query.order_by(versions.c.number))}


def describe(tx: Transaction, version: Version, description: str, now: int) -> None:
    """Changes the description."""
    tx.execute(_of(sa.update(versions), version).values(description=description, update_time=now, revision=_next))


def move(tx: Transaction, version: Version, stage: Stage, now: int) -> None:
    """Changes the stage."""
    one = {"model": version.model_id, "one": version.number}
    ask(tx, _MOVE, one | {"new_stage": str(stage), "now": now})


def touch(tx: Transaction, model_id: str, numbers: Collection[int], now: int) -> None:
    """Notes that something of versions changed."""
    touched = sa.update(versions).where(versions.c.model_id == model_id, versions.c.number.in_(numbers))
    tx.execute(touched.values(update_time=now))


def delete(tx: Transaction, model_id: str, number: int | None = None) -> None:
    """Removes a version with its tags, or all versions of a model; aliases must not point at them any more."""
    for table in (version_tags, versions):
        doomed = sa.delete(table).where(table.c.model_id == model_id)
        tx.execute(doomed if number is None else doomed.where(table.c.number == number))


def set_tags(tx: Transaction, model_id: str, number: int, tags: Mapping[str, str]) -> None:
    """Writes tags over those of the same keys."""
    if tags:
        rows = [{"model_id": model_id, "number": number, "key": key, "value": value} for key, value in tags.items()]
        added = insert(tx, version_tags)
        same = [version_tags.c.model_id, version_tags.c.number, version_tags.c.key]
        tx.execute(added.on_conflict_do_update(index_elements=same, set_={"value": added.excluded.value}), rows)


def delete_tags(tx: Transaction, model_id: str, number: int, keys: Collection[str]) -> None:
    """Removes tags."""
    t = version_tags
    tx.execute(sa.delete(t).where(t.c.model_id == model_id, t.c.number == number, t.c.key.in_(keys)))


def whole(tx: Transaction, rows: Sequence[Any]) -> list[Version]:
    """Versions from their rows, which must have the column `model` too, with tags and aliases."""
    keys = [(row.model_id, row.number) for row in rows]
    tags: dict[tuple[str, int], dict[str, str]] = {key: {} for key in keys}
    names: dict[tuple[str, int], list[str]] = {key: [] for key in keys}
    labels: Iterable[Any]
    if len(keys) == 1:
        labels = fetch(tx, _labels_of_one, {"model_id": keys[0][0], "number": keys[0][1]})
    else:
        labels = tx.execute(_labels_of_many, {"keys": keys or [("", 0)]})
    for model_id, number, key, value in labels:
        if value is None:
            names[model_id, number].append(key)
        else:
            tags[model_id, number][key] = value
    found = [(_entity(row), key) for row, key in zip(rows, keys, strict=True)]
    return [replace(version, tags=tags[key], aliases=tuple(sorted(names[key]))) for version, key in found]


def _labels(chosen: Callable[[sa.Table], sa.ColumnElement[bool]]) -> sa.CompoundSelect[Any]:
    """Tags and, without a value, aliases of versions."""
    t, a = version_tags, aliases
    tags = sa.select(t.c.model_id, t.c.number, t.c.key, t.c.value).where(chosen(t))
    names = sa.select(a.c.model_id, a.c.number, a.c.alias, sa.null()).where(chosen(a))
    return sa.union_all(tags, names)


# Made once: to make a statement takes longer than SQLite needs to answer it.
_labels_of_one = _labels(
    lambda t: sa.and_(t.c.model_id == sa.bindparam("model_id"), t.c.number == sa.bindparam("number"))
)
_labels_of_many = _labels(lambda t: sa.tuple_(t.c.model_id, t.c.number).in_(sa.bindparam("keys", expanding=True)))
_next = versions.c.revision + 1
_FIND = with_name.where(versions.c.model_id == sa.bindparam("model_id"), versions.c.number == sa.bindparam("number"))
_OF_ID = with_name.where(versions.c.version_id == sa.bindparam("version_id"))
_MOVE = (
    sa.update(versions)
    .where(versions.c.model_id == sa.bindparam("model"), versions.c.number == sa.bindparam("one"))
    .values(stage=sa.bindparam("new_stage"), update_time=sa.bindparam("now"), revision=_next)
)


def _of(statement: sa.Update, version: Version) -> sa.Update:
    return statement.where(versions.c.model_id == version.model_id, versions.c.number == version.number)


def _entity(row: Any) -> Version:
    return Version(
        version_id=row.version_id,
        model_id=row.model_id,
        workspace=row.workspace,
        model=row.model,
        number=row.number,
        stage=Stage(row.stage),
        run_id=row.run_id,
        source=row.source,
        description=row.description,
        user=row.user,
        files=Files(row.manifest_sha256, row.file_count, row.size_bytes),
        create_time=row.create_time,
        update_time=row.update_time,
        revision=row.revision,
    )
