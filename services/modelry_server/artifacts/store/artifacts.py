"""Files and folders as rows.

A folder is a row too, with the number and size of all files below it, so that listing a folder does not depend on what
lies below it. The root is the row with the empty path.

The statements of single files are made once, and rows are written by `insert_rows`. Measured: making a statement anew
doubles the time of a small read on both databases, and of a small write on PostgreSQL.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from modelry_server.artifacts.entities import Artifact, Owner
from modelry_server.artifacts.store.owners import place_of
from modelry_server.artifacts.store.tables import artifacts, owners
from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.statements import Transaction, insert_rows

_CHUNK = 500

_t, _o = artifacts, owners
_FIND = sa.select(_t).where(_t.c.owner == sa.bindparam("owner"), _t.c.path == sa.bindparam("path"))
_FIND_ALL = sa.select(_t).where(
    _t.c.owner == sa.bindparam("owner"), _t.c.path.in_(sa.bindparam("paths", expanding=True))
)
_FIND_WITH_PLACE = (
    sa.select(_o, *(column for column in _t.c if column is not _t.c.owner))
    .select_from(_o.outerjoin(_t, sa.and_(_t.c.owner == _o.c.owner, _t.c.path == sa.bindparam("path"))))
    .where(_o.c.owner == sa.bindparam("owner"))
)


ANYWHERE = _t.c.owner == sa.bindparam("of")
AT_OR_BELOW = sa.and_(
    ANYWHERE,
    sa.or_(
        _t.c.path == sa.bindparam("at"),
        sa.and_(_t.c.path > sa.bindparam("low"), _t.c.path < sa.bindparam("high")),  # '0' is the byte that follows '/'
    ),
)


def _copying(chosen: sa.ColumnElement[bool]) -> Any:
    same = ("sha256", "size_bytes", "file_count", "content_type", "create_time")
    path = sa.func.substr(_t.c.path, sa.bindparam("begin", type_=sa.Integer))
    parent = sa.case(
        (_t.c.path == sa.bindparam("top"), None),
        else_=sa.func.substr(_t.c.parent, sa.bindparam("begin", type_=sa.Integer)),
    )
    to = sa.bindparam("to", type_=_t.c.owner.type)
    copied = sa.select(to, path, parent, *(_t.c[name] for name in same)).where(chosen)
    return sa.insert(_t).from_select(["owner", "path", "parent", *same], copied)


_COPY_ALL, _COPY = _copying(ANYWHERE), _copying(AT_OR_BELOW)
_MANIFEST = (
    sa.select(_t.c.sha256, _t.c.size_bytes, _t.c.path).where(ANYWHERE, _t.c.sha256.is_not(None)).order_by(_t.c.path)
)


def find(tx: Transaction, owner: Owner, path: str) -> Artifact | None:
    """The file or folder at a path; the root if the path is empty."""
    row = tx.execute(_FIND, {"owner": str(owner), "path": path}).first()
    return _entity(row) if row else None


def find_with_place(tx: Transaction, owner: Owner, path: str) -> tuple[Place | None, Artifact | None]:
    """Where an owner lies, None if it never had files; and the file or folder at a path."""
    row = tx.execute(_FIND_WITH_PLACE, {"owner": str(owner), "path": path}).first()
    if row is None:
        return None, None
    return place_of(row), None if row.path is None else _entity(row)


def find_all(tx: Transaction, owner: Owner, paths: Collection[str]) -> dict[str, Artifact]:
    """The files and folders at the paths, by path."""
    rows = (
        row for chunk in chunks(sorted(paths)) for row in tx.execute(_FIND_ALL, {"owner": str(owner), "paths": chunk})
    )
    return {row.path: _entity(row) for row in rows}


def children(tx: Transaction, owner: Owner, folder: str, after: str, limit: int) -> list[Artifact]:
    """The files and folders directly in a folder that follow a path, by path."""
    t = artifacts
    here = sa.select(t).where(t.c.owner == str(owner), t.c.parent == folder, t.c.path > after)
    return [_entity(row) for row in tx.execute(here.order_by(t.c.path).limit(limit))]


def files(tx: Transaction, owner: Owner, folder: str, after: str, limit: int) -> list[Artifact]:
    """The files at any depth below a folder that follow a path, by path."""
    t = artifacts
    below = sa.select(t).where(*_below(owner, folder), t.c.path > after, t.c.sha256.is_not(None))
    return [_entity(row) for row in tx.execute(below.order_by(t.c.path).limit(limit))]


def put(tx: Transaction, written: Iterable[Artifact]) -> None:
    """Writes files, which replace files of the same path. Counts and sizes of their folders are not changed."""
    insert_rows(tx, artifacts, [_row(file, file.path.rpartition("/")[0]) for file in written], _replacing)


def grow(tx: Transaction, owner: Owner, changes: Mapping[str, tuple[int, int]]) -> None:
    """Adds to the file counts and sizes of folders; both may be negative. Makes the folders that are missing."""
    rows = [
        _row(Artifact(owner, path, size, count), path.rpartition("/")[0] if path else None)
        for path, (count, size) in sorted(changes.items())
    ]
    insert_rows(tx, artifacts, rows, _adding)


def copy(tx: Transaction, source: Artifact, owner: Owner) -> None:
    """Copies a file, or all that is in a folder, into the root of an owner that has no files."""
    if not source.is_folder:
        name = source.path.rpartition("/")[2]
        put(tx, [replace(source, owner=owner, path=name)])
        grow(tx, owner, {"": (1, source.size_bytes)})
        return
    begin = len(source.path) + 2 if source.path else 1  # SQL counts characters from 1
    values = {**at_or_below(source.owner, source.path), "to": str(owner), "begin": begin, "top": source.path}
    tx.execute(_COPY if source.path else _COPY_ALL, values)


def manifest_lines(tx: Transaction, owner: Owner) -> Iterator[str]:
    """A line `<sha256> <size> <path>` for each file of an owner, by path."""
    for sha256, size_bytes, path in tx.execute(_MANIFEST, {"of": str(owner)}):
        yield f"{sha256} {size_bytes} {path}\n"


def remove(tx: Transaction, owner: Owner, path: str) -> None:
    """Removes a file, or a folder with everything below it. Counts and sizes of the folders above are not changed."""
    t = artifacts
    tx.execute(sa.delete(t).where(t.c.owner == str(owner), t.c.path == path))
    tx.execute(sa.delete(t).where(*_below(owner, path)))


def take_below(tx: Transaction, owner: Owner, folder: str, times: Collection[int] | None = None) -> list[Artifact]:
    """Removes the files below a folder, or those of these times, and returns them.

    Counts and sizes of folders are not changed.
    """
    t = artifacts
    chosen = [*_below(owner, folder), t.c.sha256.is_not(None)]
    if times is not None:
        chosen.append(t.c.create_time.in_(times))
    taken = [_entity(row) for row in tx.execute(sa.select(t).where(*chosen))]
    if taken:
        tx.execute(sa.delete(t).where(*chosen))
    return taken


def remove_empty(tx: Transaction, owner: Owner, paths: Collection[str]) -> None:
    """Removes the folders at the paths that hold no file any more; the root stays."""
    t = artifacts
    empty = (t.c.owner == str(owner), t.c.path != "", t.c.file_count == 0, t.c.sha256.is_(None))
    for chunk in chunks(sorted(paths)):
        tx.execute(sa.delete(t).where(*empty, t.c.path.in_(chunk)))


def at_or_below(owner: Owner, path: str) -> dict[str, str]:
    """The values of AT_OR_BELOW, or for the root (the empty path) of ANYWHERE."""
    below = {"at": path, "low": f"{path}/", "high": f"{path}0"} if path else {}
    return {"of": str(owner), **below}


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


def _below(owner: Owner, folder: str) -> tuple[sa.ColumnElement[bool], ...]:
    """The condition for all paths below a folder: '0' is the byte that follows '/'."""
    t = artifacts
    if not folder:
        return (t.c.owner == str(owner), t.c.path > "")
    return (t.c.owner == str(owner), t.c.path > f"{folder}/", t.c.path < f"{folder}0")


def _row(artifact: Artifact, parent: str | None) -> dict[str, Any]:
    return {
        "owner": str(artifact.owner),
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
        Owner.of_text(row.owner),
        row.path,
        row.size_bytes,
        row.file_count,
        row.sha256 or "",
        row.content_type,
        row.create_time,
    )
