"""The state of access: its revision, the end of its chain of audit records, and the changes that others must forget."""

import sqlalchemy as sa

from modelry_server.access.store.tables import changes, state, used_bootstrap_tokens
from modelry_server.kernel.audit import End
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.sql.statements import Transaction

CHAIN = "access"


def lock(tx: Transaction) -> tuple[int, End]:
    """The last revision, and the end of the chain. Nobody else changes access until the transaction ends."""
    row = tx.execute(sa.select(state).with_for_update()).one()
    return row.revision, End(CHAIN, row.audit_sequence, row.audit_digest)


def advance(tx: Transaction, revision: int, end: End) -> None:
    """Writes the new revision and the new end of the chain."""
    tx.execute(sa.update(state).values(revision=revision, audit_sequence=end.sequence, audit_digest=end.digest))


def revision(tx: Transaction) -> int:
    """The last revision."""
    return int(tx.execute(sa.select(state.c.revision)).scalar_one())


def add_change(tx: Transaction, revision: int, changed: Changed, now: int) -> None:
    """Writes what others must forget at a revision."""
    row = {
        "revision": revision,
        "principal_id": changed.principal_id,
        "group_name": changed.group,
        "credential_id": changed.credential_id,
        "create_time": now,
    }
    tx.execute(sa.insert(changes).values(row))


def changes_after(tx: Transaction, revision: int, limit: int) -> list[tuple[int, Changed]]:
    """The first changes after a revision, each with its own."""
    query = sa.select(changes).where(changes.c.revision > revision).order_by(changes.c.revision).limit(limit)
    return [(row.revision, Changed(row.principal_id, row.group_name, row.credential_id)) for row in tx.execute(query)]


def forget_changes(tx: Transaction, before: int) -> int:
    """Removes the changes before a time. Returns their number."""
    return tx.execute(sa.delete(changes).where(changes.c.create_time < before)).rowcount


def bootstrap_digest(tx: Transaction) -> str:
    """The digest of the bootstrap token; empty if there is none."""
    return str(tx.execute(sa.select(state.c.bootstrap_digest)).scalar_one())


def set_bootstrap_digest(tx: Transaction, digest: str) -> None:
    """Writes the digest of the bootstrap token; empty: there is none any more."""
    tx.execute(sa.update(state).values(bootstrap_digest=digest))


def use_bootstrap(tx: Transaction, digest: str, now: int) -> None:
    """Notes that the bootstrap token with this digest was used: there is none any more, and never this one again."""
    tx.execute(sa.insert(used_bootstrap_tokens).values(digest=digest, use_time=now))
    set_bootstrap_digest(tx, "")


def was_used(tx: Transaction, digest: str) -> bool:
    """Whether the bootstrap token with this digest was used."""
    t = used_bootstrap_tokens
    return tx.execute(sa.select(t.c.digest).where(t.c.digest == digest)).first() is not None
