"""Which object of the store holds which content.

A row maps a SHA-256 to the key of one object. A transaction that adds a reference to content writes the row first.
Garbage collection marks content for deletion only if its row has not been written since it was found unreferenced. So
one of the two always sees the other.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from modelry_server.artifacts.entities import Blob, Owner
from modelry_server.artifacts.store.artifacts import ANYWHERE, AT_OR_BELOW, at_or_below, chunks
from modelry_server.artifacts.store.tables import artifacts, blobs
from modelry_server.kernel.sql.database import ConcurrentChange
from modelry_server.kernel.sql.statements import Transaction, insert, insert_rows

# Made once, as those of `artifacts`.
_GIVEN = blobs.c.sha256.in_(sa.bindparam("digests", expanding=True))
_FIND = sa.select(blobs.c.blob_key, blobs.c.sha256, blobs.c.size_bytes).where(_GIVEN)
_RELEASE = sa.update(blobs).where(_GIVEN).values(release_time=sa.bindparam("now"))


def find(tx: Transaction, digests: Collection[str]) -> dict[str, Blob]:
    """The stored content of the digests."""
    rows = (row for chunk in chunks(sorted(digests)) for row in tx.execute(_FIND, {"digests": chunk}))
    return {row.sha256: Blob(row.blob_key, row.sha256, row.size_bytes) for row in rows}


def named_by(tx: Transaction, owner: Owner, path: str) -> set[str]:
    """The digests of a file, or of all files below a folder."""
    return set(tx.execute((_BELOW if path else _ALL).named, at_or_below(owner, path)).scalars())


def lock(tx: Transaction, digests: Collection[str]) -> None:
    """Locks the rows of the digests, in an order that all transactions follow."""
    for chunk in chunks(sorted(digests)):
        tx.execute(_LOCK, {"digests": chunk}).all()


def refer(tx: Transaction, brought: Collection[Blob], now: int) -> None:
    """Marks content as in use. If nothing is stored of a digest, the object that was brought for it is from now on.

    If such an object was marked for deletion meanwhile, the transaction ends with ConcurrentChange.
    """
    rows = [
        {
            "blob_key": blob.key,
            "sha256": blob.sha256,
            "size_bytes": blob.size_bytes,
            "create_time": now,
            "release_time": None,
        }
        for blob in sorted(brought, key=lambda blob: blob.sha256)
    ]
    insert_rows(tx, blobs, rows, _in_use)


def refer_known(tx: Transaction, owner: Owner, path: str) -> None:
    """Marks content as in use: of a file, or of all files below a folder. Raises ConcurrentChange if some is gone."""
    statements, values = _ALL if not path else _BELOW, at_or_below(owner, path)
    if tx.scalar(statements.count, values) != tx.scalar(statements.lock, values):
        raise ConcurrentChange("files were deleted at the same time; send the call again")
    tx.execute(statements.use, values)


def release(tx: Transaction, digests: Collection[str], now: int) -> None:
    """Notes that a reference to each of the digests is removed in this transaction."""
    lock(tx, digests)
    for chunk in chunks(sorted(digests)):
        tx.execute(_RELEASE, {"digests": chunk, "now": now})


def release_all(tx: Transaction, owner: Owner, path: str, now: int) -> None:
    """As `release`, for the content of a file, or of all files below a folder."""
    statements, values = _ALL if not path else _BELOW, at_or_below(owner, path)
    tx.scalar(statements.lock, values)
    tx.execute(statements.release, {**values, "now": now})


def replace(tx: Transaction, lost: Blob, brought: Blob) -> bool:
    """Puts an object in the place of a lost one; False if the lost one is not the one in use any more."""
    b = blobs
    same = (b.c.blob_key == lost.key, b.c.sha256 == brought.sha256)
    change = sa.update(b).where(*same).values(blob_key=brought.key, size_bytes=brought.size_bytes, release_time=None)
    return tx.execute(change).rowcount == 1


def released(tx: Transaction, since: int, limit: int) -> list[tuple[Blob, int]]:
    """Content of which a reference was released at `since` or before, the oldest first, each with that time."""
    b = blobs
    query = sa.select(b).where(b.c.release_time <= since, b.c.sha256.is_not(None)).order_by(b.c.release_time)
    rows = tx.execute(query.limit(limit))
    return [(Blob(row.blob_key, row.sha256, row.size_bytes), row.release_time) for row in rows]


def mark_for_deletion(tx: Transaction, blob: Blob, release_time: int, now: int) -> bool:
    """Marks unreferenced content for deletion; False, with no change, if it is referenced or was used meanwhile."""
    unused = ~sa.exists().where(artifacts.c.sha256 == blob.sha256)
    change = sa.update(blobs).where(*_unchanged(blob, release_time), unused).values(sha256=None, release_time=now)
    return tx.execute(change).rowcount == 1


def keep(tx: Transaction, blob: Blob, release_time: int) -> None:
    """Notes that content of which a reference was released is still in use."""
    used = sa.exists().where(artifacts.c.sha256 == blob.sha256)
    tx.execute(sa.update(blobs).where(*_unchanged(blob, release_time), used).values(release_time=None))


def orphans(tx: Transaction, keys: Sequence[str]) -> list[str]:
    """The keys that have no row."""
    b = blobs
    known = {
        key
        for chunk in chunks(keys)
        for key in tx.execute(sa.select(b.c.blob_key).where(b.c.blob_key.in_(chunk))).scalars()
    }
    return [key for key in keys if key not in known]


def mark_orphans(tx: Transaction, keys: Sequence[str], now: int) -> list[str]:
    """Marks objects that have no row for deletion, so that no transaction can use them later. Returns their keys."""
    row = {"sha256": None, "size_bytes": 0, "create_time": now, "release_time": now}
    return [
        key
        for key in sorted(keys)
        if tx.execute(insert(tx, blobs).values(blob_key=key, **row).on_conflict_do_nothing()).rowcount == 1
    ]


def marked(tx: Transaction, since: int, limit: int) -> list[str]:
    """The keys of objects that were marked for deletion at `since` or before."""
    b = blobs
    query = sa.select(b.c.blob_key).where(b.c.release_time <= since, b.c.sha256.is_(None)).order_by(b.c.release_time)
    return list(tx.execute(query.limit(limit)).scalars())


def forget(tx: Transaction, keys: Sequence[str]) -> None:
    """Removes the rows of objects that were marked for deletion."""
    b = blobs
    tx.execute(sa.delete(b).where(b.c.blob_key.in_(keys), b.c.sha256.is_(None)))


def _unchanged(blob: Blob, release_time: int) -> tuple[sa.ColumnElement[bool], ...]:
    b = blobs
    return (b.c.blob_key == blob.key, b.c.sha256 == blob.sha256, b.c.release_time == release_time)


def _in_use(statement: Any) -> Any:
    new = {"release_time": statement.excluded.release_time}
    return statement.on_conflict_do_update(index_elements=["sha256"], set_=new)


def _locked(condition: sa.ColumnElement[bool]) -> sa.Select[tuple[Any]]:
    return sa.select(blobs.c.blob_key).where(condition).order_by(blobs.c.sha256).with_for_update(key_share=True)


_LOCK = _locked(_GIVEN)


class _Statements(NamedTuple):
    """For the content of many files, which a condition chooses: name, count, lock it, note that it is in use or not."""

    named: Any
    count: Any
    lock: Any
    use: Any
    release: Any


def _made(chosen: sa.ColumnElement[bool]) -> _Statements:
    named = sa.select(artifacts.c.sha256).where(chosen, artifacts.c.sha256.is_not(None))
    these, count = blobs.c.sha256.in_(named), sa.select(sa.func.count())
    return _Statements(
        named.distinct(),
        count.select_from(named.distinct().subquery()),
        count.select_from(_locked(these).subquery()),
        sa.update(blobs).where(these, blobs.c.release_time.is_not(None)).values(release_time=None),
        sa.update(blobs).where(these).values(release_time=sa.bindparam("now")),
    )


_ALL, _BELOW = _made(ANYWHERE), _made(AT_OR_BELOW)
