"""Random keys that all processes of a service share, kept in its database, and marks, which are keys nobody reads."""

import secrets

import sqlalchemy as sa

from modelry_server.kernel.sql.backend import Transaction, backend_of
from modelry_server.kernel.sql.tables import secrets_table

_BYTES = 32


def shared_key(tx: Transaction, room: str, name: str) -> bytes:
    """The key of 32 bytes with this name, made by the first who asks. `tx` must be able to write."""
    table = secrets_table(sa.MetaData(), room)
    made = backend_of(tx).insert(table).values(name=name, value=secrets.token_hex(_BYTES))
    tx.execute(made.on_conflict_do_nothing())
    return bytes.fromhex(tx.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one())


def has_key(tx: Transaction, room: str, name: str) -> bool:
    """Whether there is a key with this name."""
    table = secrets_table(sa.MetaData(), room)
    return tx.execute(sa.select(table.c.name).where(table.c.name == name)).one_or_none() is not None


def drop_key(tx: Transaction, room: str, name: str) -> None:
    """Removes the key with this name, if there is one."""
    table = secrets_table(sa.MetaData(), room)
    tx.execute(sa.delete(table).where(table.c.name == name))
