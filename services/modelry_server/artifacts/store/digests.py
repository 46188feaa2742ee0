"""Which object holds which content.

A row leads from a SHA-256 to the key of one object. Who refers to content writes to its row first, in the transaction
of the reference; who condemns it does so only if the row was not written to since it was found idle. So the two can't
pass each other.
"""

import functools
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.artifacts.entities import Blob
from modelry_server.artifacts.store.artifacts import chunks
from modelry_server.artifacts.store.tables import artifacts, blobs
from modelry_server.kernel.sql.database import ConcurrentChange
from modelry_server.kernel.sql.statements import Query, Transaction, ask, insert, insert_rows

# Made once: for a single file, making statements anew is most of the work.
_FIND = sa.select(blobs).where(blobs.c.sha256.in_(sa.bindparam("digests", expanding=True)))
_LOCK = (
    sa.select(blobs.c.blob_key)
    .where(blobs.c.sha256.in_(sa.bindparam("digests", expanding=True)))
    .order_by(blobs.c.sha256)
    .with_for_update(key_share=True)
)


def find(tx: Transaction, digests: Collection[str]) -> dict[str, Blob]:
    """What is stored of the digests."""
    rows = (row for chunk in chunks(sorted(digests)) for row in tx.execute(_FIND, {"digests": chunk}))
    return {row.sha256: Blob(row.blob_key, row.sha256, row.size_bytes) for row in rows}


def lock(tx: Transaction, digests: Collection[str]) -> None:
    """Holds off other changes of what is stored of the digests, in an order that all follow."""
    for chunk in chunks(sorted(digests)):
        tx.execute(_LOCK, {"digests": chunk}).all()


def refer(tx: Transaction, brought: Collection[Blob], now: int) -> None:
    """Marks content as in use; where nothing is stored of a digest, the object that was brought for it is from now on.

    An object that was condemned meanwhile has a row of its own: then the transaction ends with ConcurrentChange.
    """
    rows = [
        {
            "blob_key": blob.key,
            "sha256": blob.sha256,
            "size_bytes": blob.size_bytes,
            "create_time": now,
            "idle_time": None,
        }
        for blob in sorted(brought, key=lambda blob: blob.sha256)
    ]
    insert_rows(tx, blobs, rows, _in_use)


def _in_use(statement: Any) -> Any:
    return statement.on_conflict_do_update(index_elements=["sha256"], set_={"idle_time": statement.excluded.idle_time})


def refer_known(tx: Transaction, named: Query) -> None:
    """Marks content that a query names as in use. Raises ConcurrentChange if some of it is gone."""
    wanted = ask(tx, _count(named.select), named.values)
    locked = ask(tx, _lock_all(named.select), named.values)
    if wanted.rows() != locked.rows():
        raise ConcurrentChange("files were deleted meanwhile; send the call again")
    ask(tx, _use_all(named.select), named.values)


def leave(tx: Transaction, digests: Collection[str], now: int) -> None:
    """Notes that a reference to each of the digests was taken away, or is about to be, in this transaction."""
    b = blobs
    lock(tx, digests)
    for chunk in chunks(sorted(digests)):
        tx.execute(sa.update(b).where(b.c.sha256.in_(chunk)).values(idle_time=now))


def leave_all(tx: Transaction, named: Query, now: int) -> None:
    """As `leave`, for the digests that a query names."""
    ask(tx, _lock_all(named.select), named.values)
    ask(tx, _leave_all(named.select), {**named.values, "now": now})


def replace(tx: Transaction, lost: Blob, brought: Blob) -> bool:
    """Puts an object in the place of one that is lost; False if that is not the one in use any more."""
    b = blobs
    same = (b.c.blob_key == lost.key, b.c.sha256 == brought.sha256)
    change = sa.update(b).where(*same).values(blob_key=brought.key, size_bytes=brought.size_bytes, idle_time=None)
    return tx.execute(change).rowcount == 1


def idle(tx: Transaction, since: int, limit: int) -> list[tuple[Blob, int]]:
    """Content of which a reference was taken away at `since` or before, longest ago first, with that time."""
    b = blobs
    query = sa.select(b).where(b.c.idle_time <= since, b.c.sha256.is_not(None)).order_by(b.c.idle_time).limit(limit)
    return [(Blob(row.blob_key, row.sha256, row.size_bytes), row.idle_time) for row in tx.execute(query)]


def condemn(tx: Transaction, blob: Blob, idle_time: int, now: int) -> bool:
    """Condemns content that nothing refers to; False, with no change, if something does or it was touched meanwhile."""
    b = blobs
    unused = ~sa.exists().where(artifacts.c.sha256 == blob.sha256)
    same = (b.c.blob_key == blob.key, b.c.sha256 == blob.sha256, b.c.idle_time == idle_time)
    return tx.execute(sa.update(b).where(*same, unused).values(sha256=None, idle_time=now)).rowcount == 1


def absolve(tx: Transaction, blob: Blob, idle_time: int) -> None:
    """Notes that content found idle is in use."""
    b = blobs
    used = sa.exists().where(artifacts.c.sha256 == blob.sha256)
    same = (b.c.blob_key == blob.key, b.c.sha256 == blob.sha256, b.c.idle_time == idle_time)
    tx.execute(sa.update(b).where(*same, used).values(idle_time=None))


def unknown(tx: Transaction, keys: Sequence[str]) -> list[str]:
    """Those of the keys that no row knows."""
    b = blobs
    known = {
        key
        for chunk in chunks(keys)
        for key in tx.execute(sa.select(b.c.blob_key).where(b.c.blob_key.in_(chunk))).scalars()
    }
    return [key for key in keys if key not in known]


def condemn_strays(tx: Transaction, keys: Sequence[str], now: int) -> list[str]:
    """Condemns the objects that no row knows, so that none can come later. Returns their keys."""
    row = {"sha256": None, "size_bytes": 0, "create_time": now, "idle_time": now}
    return [
        key
        for key in sorted(keys)
        if tx.execute(insert(tx, blobs).values(blob_key=key, **row).on_conflict_do_nothing()).rowcount == 1
    ]


def condemned(tx: Transaction, since: int, limit: int) -> list[str]:
    """The keys of objects that were condemned at `since` or before."""
    b = blobs
    query = sa.select(b.c.blob_key).where(b.c.idle_time <= since, b.c.sha256.is_(None)).order_by(b.c.idle_time)
    return list(tx.execute(query.limit(limit)).scalars())


def forget(tx: Transaction, keys: Sequence[str]) -> None:
    """Forgets condemned objects."""
    b = blobs
    tx.execute(sa.delete(b).where(b.c.blob_key.in_(keys), b.c.sha256.is_(None)))


@functools.cache
def _count(query: sa.Select[Any]) -> sa.Select[Any]:
    """How many digests a query names."""
    return sa.select(sa.func.count()).select_from(query.distinct().subquery())


@functools.cache
def _lock_all(query: sa.Select[Any]) -> sa.Select[Any]:
    """As `lock`, for the digests that a query names; how many of them are stored."""
    found = sa.select(blobs.c.blob_key).where(blobs.c.sha256.in_(query)).order_by(blobs.c.sha256)
    return sa.select(sa.func.count()).select_from(found.with_for_update(key_share=True).subquery())


@functools.cache
def _use_all(query: sa.Select[Any]) -> sa.Update:
    b = blobs
    return sa.update(b).where(b.c.sha256.in_(query), b.c.idle_time.is_not(None)).values(idle_time=sa.null())


@functools.cache
def _leave_all(query: sa.Select[Any]) -> sa.Update:
    return sa.update(blobs).where(blobs.c.sha256.in_(query)).values(idle_time=sa.bindparam("now"))
