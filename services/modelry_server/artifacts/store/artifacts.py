"""Files and folders as rows.

A folder is a row too, with the count and size of all files below it, so that listing it costs what is listed and not
what lies below. The root is the row with the empty path, and the lock of its owner: who changes files takes it first.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.artifacts.entities import Artifact
from modelry_server.artifacts.store.tables import artifacts
from modelry_server.kernel.sql.statements import Query, Transaction, fetch_one, insert_rows

_CHUNK = 500

# Made once: for a single file, making statements anew is most of the work.
_FIND = sa.select(artifacts).where(artifacts.c.owner == sa.bindparam("owner"), artifacts.c.path == sa.bindparam("path"))
_DIGESTS = sa.select(artifacts.c.sha256).where(
    artifacts.c.owner == sa.bindparam("owner"), artifacts.c.sha256.is_not(None)
)
_here = artifacts.c.path == sa.bindparam("path")
_inside = sa.and_(artifacts.c.path > sa.bindparam("first"), artifacts.c.path < sa.bindparam("end"))
_DIGESTS_AT = _DIGESTS.where(sa.or_(_here, _inside))
_FIND_ALL = sa.select(artifacts).where(
    artifacts.c.owner == sa.bindparam("owner"), artifacts.c.path.in_(sa.bindparam("paths", expanding=True))
)


def lock(tx: Transaction, owner: str) -> None:
    """Makes the root of an owner if need be, and holds off other changes of its files until the transaction ends."""
    insert_rows(tx, artifacts, [_row(Artifact(owner, "", 0, 0), None)], _adding)


def find(tx: Transaction, owner: str, path: str) -> Artifact | None:
    """The file or folder at a path; the root if the path is empty, None if nothing was ever stored."""
    row = fetch_one(tx, _FIND, {"owner": owner, "path": path})
    return _entity(row) if row else None


def find_all(tx: Transaction, owner: str, paths: Collection[str]) -> dict[str, Artifact]:
    """What stands at the paths, by path."""
    rows = (row for chunk in chunks(sorted(paths)) for row in tx.execute(_FIND_ALL, {"owner": owner, "paths": chunk}))
    return {row.path: _entity(row) for row in rows}


def children(tx: Transaction, owner: str, folder: str, after: str, limit: int) -> list[Artifact]:
    """The files and folders directly in a folder that follow a path, by path."""
    t = artifacts
    here = sa.select(t).where(t.c.owner == owner, t.c.parent == folder, t.c.path > after)
    return [_entity(row) for row in tx.execute(here.order_by(t.c.path).limit(limit))]


def files(tx: Transaction, owner: str, folder: str, after: str, limit: int) -> list[Artifact]:
    """The files at any depth below a folder that follow a path, by path."""
    t = artifacts
    below = sa.select(t).where(*_below(owner, folder), t.c.path > after, t.c.sha256.is_not(None))
    return [_entity(row) for row in tx.execute(below.order_by(t.c.path).limit(limit))]


def put(tx: Transaction, written: Iterable[Artifact]) -> None:
    """Writes files; those of the same path are replaced. Their folders are not counted anew."""
    insert_rows(tx, artifacts, [_row(file, file.path.rpartition("/")[0]) for file in written], _replacing)


def grow(tx: Transaction, owner: str, changes: Mapping[str, tuple[int, int]]) -> None:
    """Adds to the file counts and sizes of folders, which may be negative; makes the folders that are missing."""
    rows = [
        _row(Artifact(owner, path, size, count), path.rpartition("/")[0] if path else None)
        for path, (count, size) in sorted(changes.items())
    ]
    insert_rows(tx, artifacts, rows, _adding)


def remove(tx: Transaction, owner: str, path: str) -> None:
    """Removes a file, or a folder with everything below it. The folders above are not counted anew."""
    t = artifacts
    tx.execute(sa.delete(t).where(t.c.owner == owner, t.c.path == path))
    tx.execute(sa.delete(t).where(*_below(owner, path)))


def remove_empty(tx: Transaction, owner: str, paths: Collection[str]) -> None:
    """Removes those of the folders that hold no file any more; the root stays."""
    t = artifacts
    empty = (t.c.owner == owner, t.c.path.in_(paths), t.c.path != "", t.c.file_count == 0, t.c.sha256.is_(None))
    tx.execute(sa.delete(t).where(*empty))


def digests(owner: str, path: str) -> Query:
    """A query for the digests of a file, or of all files below a folder."""
    if not path:
        return Query(_DIGESTS, {"owner": owner})
    first, end = _bounds(path)
    return Query(_DIGESTS_AT, {"owner": owner, "path": path, "first": first, "end": end})


def chunks(items: Sequence[Any], size: int = _CHUNK) -> Iterator[Sequence[Any]]:
    """The items in pieces that one statement can take."""
    return (items[at : at + size] for at in range(0, len(items), size))


def _replacing(statement: Any) -> Any:
    changed = ("sha256", "size_bytes", "content_type", "create_time")
    new = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=["owner", "path"], set_=new)


def _adding(statement: Any) -> Any:
    added = {name: artifacts.c[name] + statement.excluded[name] for name in ("file_count", "size_bytes")}
    return statement.on_conflict_do_update(index_elements=["owner", "path"], set_=added)


def _below(owner: str, folder: str) -> tuple[sa.ColumnElement[bool], ...]:
    t = artifacts
    if not folder:
        return (t.c.owner == owner, t.c.path > "")
    first, end = _bounds(folder)
    return (t.c.owner == owner, t.c.path > first, t.c.path < end)


def _bounds(folder: str) -> tuple[str, str]:
    """What all paths below a folder lie between: '0' is the byte that follows '/'."""
    return f"{folder}/", f"{folder}0"


def _row(artifact: Artifact, parent: str | None) -> dict[str, Any]:
    return {
        "owner": artifact.owner,
        "path": artifact.path,
        "parent": parent,
        "sha256": artifact.sha256 or None,
        "size_bytes": artifact.size_bytes,
        "file_count": artifact.file_count,
        "content_type": artifact.content_type,
        "create_time": artifact.create_time,
    }


def _entity(row: Any) -> Artifact:
    return Artifact(
        row.owner, row.path, row.size_bytes, row.file_count, row.sha256 or "", row.content_type, row.create_time
    )
