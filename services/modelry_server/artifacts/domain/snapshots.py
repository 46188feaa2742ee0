"""Freezing files for a model version."""

import hashlib

from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.paths import ArtifactPath
from modelry_server.artifacts.domain.usage import Usage
from modelry_server.artifacts.entities import Owner, Snapshot
from modelry_server.artifacts.errors import ArtifactNotFound, OwnerNotFound, SnapshotExists, SnapshotNotFound
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests, owners
from modelry_server.artifacts.store import snapshots as rows
from modelry_server.kernel.access import INSTALLATION, Access, Kind, Place
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission


class Snapshots:
    """Makes, reads and deletes snapshots."""

    def __init__(self, db: Database, access: Access, source_owners: Owners, clock: Clock, *, usage: Usage) -> None:
        self._db = db
        self._access = access
        self._owners = source_owners
        self._clock = clock
        self._usage = usage

    def create(self, version_id: str, place: Place, source: Owner, path: ArtifactPath | None) -> Snapshot:
        """Links the files below a path to a version at a place, in one transaction.

        The same request again answers with the snapshot as it was made. A source in another workspace is not found.
        Only services may call it, for a caller who may create versions there and read the files of the source.

        Raises OwnerNotFound, ArtifactNotFound, SnapshotExists, PermissionMissing, ServiceUnavailable, QuotaExceeded.
        """
        version, text = Owner.version(version_id), path.text if path else ""
        for needed in (Kind.SERVICE, Permission.VERSIONS_CREATE):
            self._access.require(place, permission=needed, unseen=lambda: OwnerNotFound(str(version)))
        with self._db.read() as tx:
            known = rows.find(tx, version_id)
            stored = owners.find(tx, source)
        if known and stored is None:  # the source is gone since
            return _same(known, place, source, text)
        source_place = self._owners.require(source, stored, permission=Permission.FILES_READ)
        if known:
            return _same(known, place, source, text)
        if source_place.workspace != place.workspace:
            raise OwnerNotFound(str(source))
        if stored is None:
            raise ArtifactNotFound(str(source), text)
        with self._db.read() as tx:
            found = store.find(tx, source, text)
        with self._usage.taking(place.workspace) as taking:
            taking.take(found.size_bytes if found else 0)
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
                digests.release_all(tx, version, "", self._clock.now())
                store.remove(tx, version, "")
            owners.remove(tx, version)

    def _find(self, version_id: str) -> Snapshot | None:
        with self._db.read() as tx:
            found = rows.find(tx, version_id)
        place = found.place if found else INSTALLATION
        self._access.require(place, permission=Kind.SERVICE, unseen=lambda: SnapshotNotFound(version_id))
        return found

    def _link(self, tx: Transaction, version: Owner, place: Place, source: Owner, path: str) -> Snapshot:
        found = store.find(tx, source, path)
        if found is None or not found.file_count:
            raise ArtifactNotFound(str(source), path)
        digests.refer_known(tx, source, path)
        store.copy(tx, found, version)
        manifest = hashlib.sha256()
        for line in store.manifest_lines(tx, version):
            manifest.update(line.encode())
        now = self._clock.now()
        snapshot = Snapshot(
            version.id, place, source, path, manifest.hexdigest(), found.file_count, found.size_bytes, now
        )
        rows.add(tx, snapshot)
        return snapshot


def _same(known: Snapshot, place: Place, source: Owner, path: str) -> Snapshot:
    if (known.place, known.source, known.source_path) != (place, source, path):
        raise SnapshotExists(known.version_id, str(known.source), known.source_path)
    return known
