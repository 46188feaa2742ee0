"""Aliases as rows."""

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, fetch_one, insert
from modelry_server.registry.entities import Alias, Version
from modelry_server.registry.store import versions as version_rows
from modelry_server.registry.store.tables import aliases, versions

_pointing = sa.and_(aliases.c.model_id == version_rows.id_of_named, aliases.c.alias == sa.bindparam("alias"))
_set_time = sa.select(aliases.c.update_time).where(_pointing).scalar_subquery()
_RESOLVE = version_rows.with_given_name.add_columns(_set_time.label("set_time")).where(
    versions.c.model_id == version_rows.id_of_named,
    versions.c.version_number == sa.select(aliases.c.version_number).where(_pointing).scalar_subquery(),
)


def point(tx: Transaction, model_id: str, alias: str, version_number: int, now: int) -> None:
    """Points an alias at a version."""
    row = {"model_id": model_id, "alias": alias, "version_number": version_number, "update_time": now}
    added = insert(tx, aliases).values(row)
    over = {"version_number": added.excluded.version_number, "update_time": added.excluded.update_time}
    tx.execute(added.on_conflict_do_update(index_elements=[aliases.c.model_id, aliases.c.alias], set_=over))


def target(tx: Transaction, model_id: str, alias: str) -> tuple[int, int] | None:
    """The number of the version that an alias points at, and when it was set."""
    query = sa.select(aliases.c.version_number, aliases.c.update_time)
    row = tx.execute(query.where(aliases.c.model_id == model_id, aliases.c.alias == alias)).one_or_none()
    return (row.version_number, row.update_time) if row else None


def count(tx: Transaction, model_id: str) -> int:
    """The number of aliases of a model."""
    return int(tx.execute(sa.select(sa.func.count()).where(aliases.c.model_id == model_id)).scalar_one())


def resolve(tx: Transaction, workspace: str, model_name: str, alias: str) -> tuple[Alias, Version] | None:
    """An alias of a model with the version that it points at."""
    row = fetch_one(tx, _RESOLVE, {"workspace": workspace, "model_name": model_name, "alias": alias})
    if row is None:
        return None
    found = Alias(workspace, model_name, alias, row.version_number, row.set_time)
    return found, version_rows.whole(tx, [row])[0]


def delete(tx: Transaction, model_id: str, alias: str | None = None) -> None:
    """Removes an alias, or all aliases of a model."""
    doomed = sa.delete(aliases).where(aliases.c.model_id == model_id)
    tx.execute(doomed if alias is None else doomed.where(aliases.c.alias == alias))
