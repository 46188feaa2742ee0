"""Reading, listing and deleting files. An owner that has files answers even if tracking does not."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future

from modelry_server.artifacts import instruments
from modelry_server.artifacts.domain.incoming import SMALL
from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.paths import ArtifactPath, ancestors
from modelry_server.artifacts.entities import Artifact, Blob, Owner
from modelry_server.artifacts.errors import ArtifactNotFound, BlobLost, OwnerFrozen
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests, owners
from modelry_server.artifacts.store.blobs import BlobMissing, Blobs
from modelry_server.kernel.access import Place
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.telemetry import Log

_ROWS = 500
_AHEAD = 16
_log = Log("artifacts")

_File = tuple[Artifact, Blob | None]
_Fetched = tuple[Artifact, Future[list[bytes]] | Iterator[bytes]]


class Artifacts:
    """Reads, lists and deletes files and folders. A path that is None is the root.

    Each method raises OwnerNotFound if there is no such owner or the caller may not read there, and ServiceUnavailable
    if tracking does not answer about a run without files.
    """

    def __init__(self, db: Database, blobs: Blobs, owners: Owners, clock: Clock, *, pool: Executor) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._clock = clock
        self._pool = pool

    def get(self, owner: Owner, path: ArtifactPath | None) -> Artifact:
        """The file or folder at a path. Raises ArtifactNotFound."""
        _, found = self._find(owner, path)
        if found is None and path is None:
            return Artifact(owner, "", 0, 0)
        if found is None:
            raise ArtifactNotFound(str(owner), str(path))
        return found

    def search(
        self,
        owner: Owner,
        path: ArtifactPath | None,
        *,
        after: tuple[SortValue, ...] | None,
        limit: int,
        recursive: bool,
    ) -> list[Found[Artifact]]:
        """At most `limit` files and folders in a folder, by path; the path of a file gives the file.

        `recursive` gives all files at any depth instead. The list is empty if there is nothing at the path.
        """
        last = str(after[0]) if after else ""
        _, here = self._find(owner, path)
        if here is None:
            found = []
        elif not here.is_folder:
            found = [here] if here.path > last else []
        else:
            below = store.files if recursive else store.children
            with self._db.read() as tx:
                found = below(tx, owner, here.path, last, limit)
        return [Found(each, (each.path,)) for each in found]

    def read(
        self, owner: Owner, path: ArtifactPath | None, offset: int = 0
    ) -> Iterator[tuple[Artifact, Iterator[bytes]]]:
        """A file, or all files below a folder by path: each with its content in pieces, to be read before the next.

        `offset` is the first byte to read, of a file only. Raises ArtifactNotFound, FieldInvalid, BlobLost,
        StoreUnavailable; ConcurrentChange for a large folder that is replaced meanwhile.
        """
        found = self.get(owner, path)
        if offset and (found.is_folder or not 0 < offset <= found.size_bytes):
            wanted = "0 for a folder" if found.is_folder else f"from 0 to {found.size_bytes}, the size of the file"
            raise FieldInvalid({"offset_bytes": f"is {offset}, must be {wanted}"})
        if found.is_folder:
            yield from self._read_ahead(self._files(found))
            return
        with self._db.read() as tx:
            blob = digests.find(tx, [found.sha256]).get(found.sha256)
        yield found, self._content(found, blob, offset)

    def delete(self, owner: Owner, path: ArtifactPath) -> int:
        """Deletes a file, or a folder with everything in it; returns the number of files.

        Raises PermissionMissing, OwnerFrozen, ArtifactNotFound.
        """
        place, found = self._find(owner, path)
        if owner.is_version:
            raise OwnerFrozen(str(owner))
        if found is None:
            raise ArtifactNotFound(str(owner), path.text)
        with self._db.write() as tx:
            owners.lock(tx, owner, place)
            found = store.find(tx, owner, path.text)
            if found is None:
                raise ArtifactNotFound(str(owner), path.text)
            digests.release_all(tx, owner, path.text, self._clock.now())
            store.remove(tx, owner, path.text)
            folders = ancestors(path.text)
            store.grow(tx, owner, dict.fromkeys(folders, (-found.file_count, -found.size_bytes)))
            store.remove_empty(tx, owner, folders)
        return found.file_count

    def _find(self, owner: Owner, path: ArtifactPath | None) -> tuple[Place, Artifact | None]:
        """The place of an owner where the caller has the permission, and what is at a path."""
        with self._db.read() as tx:
            stored, found = store.find_with_place(tx, owner, path.text if path else "")
        return self._owners.require(owner, stored), found

    def _files(self, folder: Artifact) -> Iterator[_File]:
        last: Artifact | None = None
        while True:
            after = last.path if last else ""
            with self._db.read() as tx:
                if last and store.find(tx, folder.owner, after) != last:  # those before may be gone or replaced, too
                    raise ConcurrentChange("files were changed while they were read; read them again")
                found = store.files(tx, folder.owner, folder.path, after, _ROWS)
                blobs = digests.find(tx, {file.sha256 for file in found})
            for file in found:
                yield file, blobs.get(file.sha256)
            if len(found) < _ROWS:
                return
            last = found[-1]

    def _read_ahead(self, files: Iterator[_File]) -> Iterator[tuple[Artifact, Iterator[bytes]]]:
        """The files with their content. While one is sent, the pool fetches the small ones that follow."""
        ahead: deque[_Fetched] = deque()
        try:
            for file, blob in files:
                content = self._content(file, blob, 0)
                ahead.append((file, self._pool.submit(list, content) if file.size_bytes <= SMALL else content))
                if len(ahead) >= _AHEAD:
                    yield _arrived(*ahead.popleft())
            while ahead:
                yield _arrived(*ahead.popleft())
        finally:
            for _, fetched in ahead:
                if isinstance(fetched, Future):
                    fetched.cancel()

    def _content(self, file: Artifact, blob: Blob | None, offset: int) -> Iterator[bytes]:
        """The content of a file. Raises BlobLost if it is missing or has another size."""
        left = file.size_bytes - offset
        try:
            for piece in self._blobs.read(blob.key, offset) if blob else ():
                left -= len(piece)
                if left < 0:
                    break
                instruments.read_bytes_total.inc(len(piece))
                yield piece
        except BlobMissing:
            left = -1
        if left or not blob:
            instruments.lost_blobs_total.inc()
            key = blob.key if blob else None
            _log.error("blob.lost", owner=str(file.owner), path=file.path, sha256=file.sha256, key=key)
            raise BlobLost(file.path, file.sha256)


def _arrived(file: Artifact, fetched: Future[list[bytes]] | Iterator[bytes]) -> tuple[Artifact, Iterator[bytes]]:
    return file, iter(fetched.result()) if isinstance(fetched, Future) else fetched
