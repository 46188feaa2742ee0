"""Freezing files for a model version."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.paths import ArtifactPath, ancestors
from modelry_server.artifacts.entities import Artifact, Owner, Snapshot
from modelry_server.artifacts.errors import ArtifactNotFound, OwnerNotFound, SnapshotExists, SnapshotNotFound
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests, owners
from modelry_server.artifacts.store import snapshots as rows
from modelry_server.kernel.access import INSTALLATION, Access, Permission, Place
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

_ROWS = 1000


class Snapshots:
    """Makes, reads and deletes snapshots."""

    def __init__(self, db: Database, access: Access, source_owners: Owners, clock: Clock) -> None:
        self._db = db
        self._access = access
        self._owners = source_owners
        self._clock = clock

    def create(self, version_id: str, place: Place, source: Owner, path: ArtifactPath | None) -> Snapshot:
        """Links the files below a path to a version at a place, in one transaction.

        The same request again answers with the snapshot as it was made. A source in another workspace is not found.
        Raises OwnerNotFound, ArtifactNotFound, SnapshotExists, PermissionMissing, ServiceUnavailable.
        """
        version, text = Owner.version(version_id), path.text if path else ""
        self._access.require(Permission.SERVICE, place, unseen=lambda: OwnerNotFound(str(version)))
        with self._db.read() as tx:
            known = rows.find(tx, version_id)
            stored = owners.find(tx, source)
        if known:
            return _same(known, place, source, text)
        source_place = self._owners.require(Permission.READ, source, stored)
        if source_place.workspace != place.workspace:
            raise OwnerNotFound(str(source))
        if stored is None:
            raise ArtifactNotFound(str(source), text)
        with self._db.write() as tx:
            for owner, its_place in sorted([(source, source_place), (version, place)], key=lambda each: each[0]):
                owners.lock(tx, owner, its_place)
            known = rows.find(tx, version_id)
            if known:
                return _same(known, place, source, text)
            return self._link(tx, version, place, source, text)

    def get(self, version_id: str) -> Snapshot:
        """The snapshot of a version. Raises SnapshotNotFound, PermissionMissing."""
        snapshot = self._find(version_id)
        if snapshot is None:
            raise SnapshotNotFound(version_id)
        return snapshot

    def delete(self, version_id: str) -> None:
        """Deletes a snapshot with its list of files; does nothing if there is none. Raises PermissionMissing."""
        found, version = self._find(version_id), Owner.version(version_id)
        if found is None:
            return
        with self._db.write() as tx:
            owners.lock(tx, version, found.place)
            if rows.remove(tx, version_id):
                digests.release_all(tx, store.digests(version, ""), self._clock.now())
                store.remove(tx, version, "")
            owners.remove(tx, version)

    def _find(self, version_id: str) -> Snapshot | None:
        with self._db.read() as tx:
            found = rows.find(tx, version_id)
        place = found.place if found else INSTALLATION
        self._access.require(Permission.SERVICE, place, unseen=lambda: SnapshotNotFound(version_id))
        return found

    def _link(self, tx: Transaction, version: Owner, place: Place, source: Owner, path: str) -> Snapshot:
        found = store.find(tx, source, path)
        if found is None or not found.file_count:
            raise ArtifactNotFound(str(source), path)
        digests.refer_known(tx, store.digests(source, path))
        below = f"{path}/" if found.is_folder and path else path[: path.rfind("/") + 1]
        lines: list[bytes] = []
        folders: dict[str, tuple[int, int]] = {}
        for chunk in _files(tx, found):
            linked = [replace(file, owner=version, path=file.path[len(below) :]) for file in chunk]
            store.put(tx, linked)
            lines += [f"{file.sha256} {file.size_bytes} {file.path}\n".encode() for file in linked]
            for file in linked:
                for folder in ancestors(file.path):
                    count, size = folders.get(folder, (0, 0))
                    folders[folder] = (count + 1, size + file.size_bytes)
        store.grow(tx, version, folders)
        manifest = hashlib.sha256(b"".join(sorted(lines))).hexdigest()
        count, size = folders[""]
        snapshot = Snapshot(version.id, place, source, path, manifest, count, size, self._clock.now())
        rows.add(tx, snapshot)
        return snapshot


def _same(known: Snapshot, place: Place, source: Owner, path: str) -> Snapshot:
    if (known.place, known.source, known.source_path) != (place, source, path):
        raise SnapshotExists(known.version_id, str(known.source), known.source_path)
    return known


def _files(tx: Transaction, found: Artifact) -> Iterable[list[Artifact]]:
    if not found.is_folder:
        yield [found]
        return
    after = ""
    while chunk := store.files(tx, found.owner, found.path, after, _ROWS):
        yield chunk
        after = chunk[-1].path
