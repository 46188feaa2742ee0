"""Owners as rows: where each owner with files lies, by which rights are judged.

The row is also the lock of the owner: a transaction that changes its files locks it first.
"""

from typing import Any

import sqlalchemy as sa

from modelry_server.artifacts.entities import Owner
from modelry_server.artifacts.store.tables import owners
from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.statements import Transaction, insert_rows

_FIND = sa.select(owners).where(owners.c.owner == sa.bindparam("owner"))


def lock(tx: Transaction, owner: Owner, place: Place) -> None:
    """Adds the owner if it is new, and holds off other changes of its files until the transaction ends."""
    row = {
        "owner": str(owner),
        "workspace": place.workspace,
        "experiment_id": place.experiment_id,
        "model_id": place.model_id,
    }
    insert_rows(tx, owners, [row], _locking)


def find(tx: Transaction, owner: Owner) -> Place | None:
    """Where an owner lies; None if it never had files."""
    row = tx.execute(_FIND, {"owner": str(owner)}).first()
    return place_of(row) if row else None


def remove(tx: Transaction, owner: Owner) -> None:
    """Removes an owner that has no files any more."""
    tx.execute(sa.delete(owners).where(owners.c.owner == str(owner)))


def place_of(row: sa.Row[tuple[object, ...]]) -> Place:
    """The place in a row that has the columns of the table."""
    return Place(row.workspace, experiment_id=row.experiment_id, model_id=row.model_id)


def _locking(statement: Any) -> Any:
    return statement.on_conflict_do_update(index_elements=["owner"], set_={"owner": statement.excluded.owner})
