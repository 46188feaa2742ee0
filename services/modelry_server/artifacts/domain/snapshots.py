"""Freezing the files of a run for a model version."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from modelry_server.artifacts.domain.owners import Owner, Owners
from modelry_server.artifacts.domain.paths import ArtifactPath, ancestors
from modelry_server.artifacts.entities import Artifact, Snapshot
from modelry_server.artifacts.errors import ArtifactNotFound, SnapshotExists, SnapshotNotFound
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests
from modelry_server.artifacts.store import snapshots as rows
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

_ROWS = 1000


class Snapshots:
    """Makes, reads and deletes snapshots."""

    def __init__(self, db: Database, owners: Owners, clock: Clock) -> None:
        self._db = db
        self._owners = owners
        self._clock = clock

    def create(self, owner: Owner, source: Owner, path: ArtifactPath | None) -> Snapshot:
        """Links the files below a path to a version, in one transaction; the same again answers with what was made.

        Raises OwnerNotFound, ArtifactNotFound, SnapshotExists.
        """
        name, text = str(owner), path.text if path else ""
        with self._db.read() as tx:
            known = rows.find(tx, name)
            has_files = store.find(tx, str(source), "") is not None
        if known:
            return _same(known, source, text)
        if not has_files:
            self._owners.require(source)
            raise ArtifactNotFound(str(source), text)
        with self._db.write() as tx:
            for each in sorted({str(source), name}):
                store.lock(tx, each)
            known = rows.find(tx, name)
            if known:
                return _same(known, source, text)
            return self._link(tx, name, str(source), text)

    def get(self, owner: Owner) -> Snapshot:
        """The snapshot of a version. Raises SnapshotNotFound."""
        with self._db.read() as tx:
            snapshot = rows.find(tx, str(owner))
        if snapshot is None:
            raise SnapshotNotFound(str(owner))
        return snapshot

    def delete(self, owner: Owner) -> None:
        """Deletes a snapshot with its list of files; none there is fine."""
        name = str(owner)
        with self._db.write() as tx:
            if not rows.remove(tx, name):
                return
            store.lock(tx, name)
            digests.leave_all(tx, store.digests(name, ""), self._clock.now())
            store.remove(tx, name, "")

    def _link(self, tx: Transaction, owner: str, source: str, path: str) -> Snapshot:
        found = store.find(tx, source, path)
        if found is None or not found.file_count:
            raise ArtifactNotFound(source, path)
        digests.refer_known(tx, store.digests(source, path))
        below = f"{path}/" if found.is_folder and path else path[: path.rfind("/") + 1]
        lines: list[bytes] = []
        folders: dict[str, tuple[int, int]] = {}
        for chunk in _files(tx, found):
            linked = [replace(file, owner=owner, path=file.path[len(below) :]) for file in chunk]
            store.put(tx, linked)
            lines += [f"{file.sha256} {file.size_bytes} {file.path}\n".encode() for file in linked]
            for file in linked:
                for folder in ancestors(file.path):
                    count, size = folders.get(folder, (0, 0))
                    folders[folder] = (count + 1, size + file.size_bytes)
        store.grow(tx, owner, folders)
        manifest = hashlib.sha256(b"".join(sorted(lines))).hexdigest()
        count, size = folders[""]
        snapshot = Snapshot(owner, source, path, manifest, count, size, self._clock.now())
        rows.add(tx, snapshot)
        return snapshot


def _same(known: Snapshot, source: Owner, path: str) -> Snapshot:
    if (known.source_owner, known.source_path) != (str(source), path):
        raise SnapshotExists(known.owner, known.source_owner, known.source_path)
    return known


def _files(tx: Transaction, found: Artifact) -> Iterable[list[Artifact]]:
    if not found.is_folder:
        yield [found]
        return
    after = ""
    while chunk := store.files(tx, found.owner, found.path, after, _ROWS):
        yield chunk
        after = chunk[-1].path
