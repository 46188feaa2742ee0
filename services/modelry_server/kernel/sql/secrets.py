"""Random keys that all processes of a service share, kept in its database."""

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
