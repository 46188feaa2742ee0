"""Versions as rows.

What the creation of a version, a promotion and the resolution of an alias ask here is compiled once
(`kernel.sql.statements`): measured, plain SQLAlchemy needs twice the time for each. Everything else is plain.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, fetch, fetch_one, insert, insert_rows
from modelry_server.registry.entities import Files, Flavor, Signature, Version, VersionCopy, as_json, source_of
from modelry_server.registry.store.tables import aliases, models, version_tags, versions

with_name = sa.select(versions, models.c.name.label("model_name")).join_from(versions, models)
"""Versions with the current names of their models."""
listed = sa.select(
    *(column for column in versions.columns if column is not versions.c.signature),
    sa.literal_column("''").label("signature"),
    models.c.name.label("model_name"),
).join_from(versions, models)
"""As `with_name`, for lists: without signatures, which may be long."""
brief = sa.select(
    *(column for column in versions.columns if column.name not in ("signature", "description", "flavors")),
    models.c.name.label("model_name"),
).join_from(versions, models)
"""What the page of a list reads of all its versions at once: the other columns can be long."""
# Subqueries and no joins: without statistics PostgreSQL would walk through all versions of the model.
id_of_named = (
    sa.select(models.c.model_id)
    .where(models.c.workspace == sa.bindparam("workspace"), models.c.name == sa.bindparam("model_name"))
    .scalar_subquery()
)
"""The id of the model with the given `model_name` in the given `workspace`."""
with_given_name = sa.select(versions, sa.bindparam("model_name", type_=sa.Text).label("model_name"))
"""Versions with the name by which their model is asked for."""

_LONG = sa.select(versions.c.version_id, versions.c.description, versions.c.flavors).where(
    versions.c.version_id.in_(sa.bindparam("ids", expanding=True))
)
_COPIED = (
    *("version_id", "workspace", "model_id", "version_number", "stage", "run_id", "creator", "description"),
    *("create_time", "update_time", "revision"),
)


def add(tx: Transaction, version: Version) -> None:
    """Writes a new version with its tags."""
    row = {name: getattr(version, name) for name in _COPIED}
    files = version.files
    row |= {"manifest_sha256": files.manifest_sha256, "file_count": files.file_count, "size_bytes": files.size_bytes}
    row["source"] = str(version.source)
    row["source_version_id"] = version.source.version_id if isinstance(version.source, VersionCopy) else ""
    row["signature"] = as_json(asdict(version.signature)) if version.signature else ""
    row["flavors"] = as_json([asdict(flavor) for flavor in version.flavors]) if version.flavors else ""
    insert_rows(tx, versions, [row])
    set_tags(tx, version.model_id, version.version_number, version.tags)


def find(tx: Transaction, model_id: str, version_number: int) -> Version | None:
    """The version with this number, with its tags and aliases."""
    row = fetch_one(tx, _FIND, {"model_id": model_id, "version_number": version_number})
    return whole(tx, [row])[0] if row else None


def named(tx: Transaction, workspace: str, model_name: str, version_number: int) -> Version | None:
    """The version with this number of the model with this name, with its tags and aliases."""
    values = {"workspace": workspace, "model_name": model_name, "version_number": version_number}
    row = tx.execute(_NAMED, values).one_or_none()
    return whole(tx, [row])[0] if row else None


def of_id(tx: Transaction, version_id: str) -> Version | None:
    """The version with this id, with its tags and aliases."""
    row = fetch_one(tx, _OF_ID, {"version_id": version_id})
    return whole(tx, [row])[0] if row else None


def place_of(tx: Transaction, version_id: str) -> tuple[str, str] | None:
    """The workspace and the id of the model of the version with this id."""
    row = fetch_one(tx, _PLACE_OF_ID, {"version_id": version_id})
    return (row.workspace, row.model_id) if row else None


def in_stages(tx: Transaction, model_id: str, stages: Collection[str]) -> list[Version]:
    """The versions of a model that are in one of the stages, by number, without signatures."""
    query = listed.where(versions.c.model_id == model_id, versions.c.stage.in_(stages))
    return whole(tx, tx.execute(query.order_by(versions.c.version_number)).all())


def latest(tx: Transaction, model_id: str, stages: Collection[str]) -> list[Version]:
    """The version with the highest number in each of the stages, without signatures."""
    t = versions
    highest = sa.select(sa.func.max(t.c.version_number)).where(t.c.model_id == model_id, t.c.stage.in_(stages))
    found = listed.where(t.c.model_id == model_id, t.c.version_number.in_(highest.group_by(t.c.stage)))
    return whole(tx, tx.execute(found).all())


def ids(tx: Transaction, model_id: str) -> dict[int, str]:
    """The ids of all versions of a model, by number."""
    query = sa.select(versions.c.version_number, versions.c.version_id).where(versions.c.model_id == model_id)
    return {number: version_id for number, version_id in tx.execute(query.order_by(versions.c.version_number))}


def describe(tx: Transaction, version: Version, description: str, now: int) -> None:
    """Changes the description."""
    one = sa.update(versions).where(
        versions.c.model_id == version.model_id, versions.c.version_number == version.version_number
    )
    tx.execute(one.values(description=description, update_time=now, revision=_next))


def move(tx: Transaction, model_id: str, version_number: int, stage: str, now: int) -> None:
    """Changes the stage."""
    one = {"of_model": model_id, "of_number": version_number}
    ask(tx, _MOVE, one | {"new_stage": stage, "now": now})


def touch(tx: Transaction, model_id: str, version_numbers: Collection[int], now: int) -> None:
    """Notes that something of versions changed."""
    touched = sa.update(versions).where(versions.c.model_id == model_id, versions.c.version_number.in_(version_numbers))
    tx.execute(touched.values(update_time=now))


def delete(tx: Transaction, model_id: str, version_number: int | None = None) -> None:
    """Removes a version with its tags, or all versions of a model; no alias may point at them any more."""
    for table in (version_tags, versions):
        doomed = sa.delete(table).where(table.c.model_id == model_id)
        tx.execute(doomed if version_number is None else doomed.where(table.c.version_number == version_number))


def set_tags(tx: Transaction, model_id: str, version_number: int, tags: Mapping[str, str]) -> None:
    """Writes tags; those with the same keys are replaced."""
    if tags:
        t, of_version = version_tags, {"model_id": model_id, "version_number": version_number}
        rows = [{**of_version, "key": key, "value": value} for key, value in tags.items()]
        added = insert(tx, t)
        same = [t.c.model_id, t.c.version_number, t.c.key]
        tx.execute(added.on_conflict_do_update(index_elements=same, set_={"value": added.excluded.value}), rows)


def delete_tags(tx: Transaction, model_id: str, version_number: int, keys: Collection[str]) -> None:
    """Removes tags."""
    t = version_tags
    tx.execute(sa.delete(t).where(t.c.model_id == model_id, t.c.version_number == version_number, t.c.key.in_(keys)))


def of_brief(tx: Transaction, rows: Sequence[Any]) -> list[Version]:
    """Versions from rows of `brief`, with their descriptions, flavors, tags and aliases, without signatures."""
    found = {row.version_id: row for row in tx.execute(_LONG, {"ids": [row.version_id for row in rows]})}
    listing = whole(tx, rows)
    for place, version in enumerate(listing):
        if long := found.get(version.version_id):
            listing[place] = replace(version, description=long.description, flavors=_flavors(long.flavors))
    return listing


def whole(tx: Transaction, rows: Sequence[Any]) -> list[Version]:
    """Versions from their rows, which must have the column `model_name` too, with tags and aliases."""
    keys = [(row.model_id, row.version_number) for row in rows]
    tags: dict[tuple[str, int], dict[str, str]] = {key: {} for key in keys}
    names: dict[tuple[str, int], list[str]] = {key: [] for key in keys}
    labels: Iterable[Any]
    if len(keys) == 1:
        labels = fetch(tx, _labels_of_one, {"model_id": keys[0][0], "version_number": keys[0][1]})
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
    tags = sa.select(t.c.model_id, t.c.version_number, t.c.key, t.c.value).where(chosen(t))
    names = sa.select(a.c.model_id, a.c.version_number, a.c.alias, sa.null()).where(chosen(a))
    return sa.union_all(tags, names)


def _is_one(table: sa.Table) -> sa.ColumnElement[bool]:
    of_model = table.c.model_id == sa.bindparam("model_id")
    return sa.and_(of_model, table.c.version_number == sa.bindparam("version_number"))


# Made once: making a statement takes longer than SQLite needs to answer it.
_labels_of_one = _labels(_is_one)
_labels_of_many = _labels(
    lambda t: sa.tuple_(t.c.model_id, t.c.version_number).in_(sa.bindparam("keys", expanding=True))
)
_next = versions.c.revision + 1
_FIND = with_name.where(_is_one(versions))
_OF_ID = with_name.where(versions.c.version_id == sa.bindparam("version_id"))
_PLACE_OF_ID = sa.select(versions.c.workspace, versions.c.model_id).where(
    versions.c.version_id == sa.bindparam("version_id")
)
_NAMED = with_given_name.where(
    versions.c.model_id == id_of_named, versions.c.version_number == sa.bindparam("version_number")
)
_MOVE = (
    sa.update(versions)
    .where(versions.c.model_id == sa.bindparam("of_model"), versions.c.version_number == sa.bindparam("of_number"))
    .values(stage=sa.bindparam("new_stage"), update_time=sa.bindparam("now"), revision=_next)
)


def _entity(row: Any) -> Version:
    return Version(
        version_id=row.version_id,
        workspace=row.workspace,
        model_id=row.model_id,
        model_name=row.model_name,
        version_number=row.version_number,
        stage=row.stage,
        run_id=row.run_id,
        source=source_of(row.source, row.source_version_id),
        creator=row.creator,
        files=Files(row.manifest_sha256, row.file_count, row.size_bytes),
        create_time=row.create_time,
        update_time=row.update_time,
        description=getattr(row, "description", ""),
        signature=Signature(**json.loads(row.signature)) if getattr(row, "signature", "") else None,
        flavors=_flavors(getattr(row, "flavors", "")),
        revision=row.revision,
    )


def _flavors(stored: str) -> tuple[Flavor, ...]:
    return tuple(Flavor(**flavor) for flavor in json.loads(stored)) if stored else ()
