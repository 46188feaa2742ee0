"""Writing the files of a run: first their content, at the end all rows in one transaction."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from mimetypes import MimeTypes

from modelry_server.artifacts import instruments
from modelry_server.artifacts.domain.incoming import FileHeader, IncomingFile, PendingBlobs
from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.paths import DEEPEST, ArtifactPath, ancestors, parent
from modelry_server.artifacts.domain.usage import Usage
from modelry_server.artifacts.entities import Artifact, Blob, Owner
from modelry_server.artifacts.errors import (
    ArtifactKindConflict,
    StoreUnavailable,
    TooManyFiles,
    TooManyFolders,
    UploadBrokenOff,
    UploadTooLong,
)
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests, owners
from modelry_server.artifacts.store.blobs import Blobs
from modelry_server.kernel.access import Place
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid, Unavailable
from modelry_server.kernel.quotas import Taking
from modelry_server.kernel.requests.fields import shown
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import Transaction

_TYPES = MimeTypes()  # Python's own table: the tables of machines differ
_TYPES.add_type("text/markdown", ".md")  # which older Pythons lack
_ATTEMPTS = 3
MORE_FOLDERS = 10_000
"""How many more folders than files a stream may have, so that what it costs follows from what it holds."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What the files of a stream replace: those below a folder, or of those only what was written `together_with` some.

    Raises FieldInvalid for a file that is not below the folder.
    """

    folder: str
    together_with: Sequence[str] = ()

    def __post_init__(self) -> None:
        for path in self.together_with:
            if not path.startswith(f"{self.folder}/"):
                wanted = f"has {shown(path)}, must be below replaced_folder, which is {shown(self.folder)}"
                raise FieldInvalid({"replaced_with": wanted})


@dataclass(slots=True)
class _Stream:
    """What one stream has brought so far: all that is held in memory of its files."""

    owner: Owner
    place: Place
    replaces: Replaced | None
    """What the files replace; None if they replace single files only."""
    now: int
    """The time of all of its files, which tells them from those of other streams."""
    begun: float
    limit_s: float
    is_wanted: Callable[[], bool]
    pending: PendingBlobs
    taking: Taking
    """What it takes of the quota of the workspace."""
    files: dict[str, Artifact] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    blobs: dict[str, Blob] = field(default_factory=dict)

    def add(self, file: Artifact, blob: Blob) -> None:
        """Takes a file, whose content is or will be in an object of the store."""
        self.blobs[blob.sha256] = blob
        self.files[file.path] = file
        folder = parent(file.path)
        while folder not in self.folders:  # what is above a known folder is known
            self.folders.add(folder)
            folder = parent(folder)

    def require_within(self, path: ArtifactPath) -> None:
        """Raises FieldInvalid for a file that is not below the folder that is replaced."""
        if self.replaces and not path.text.startswith(f"{self.replaces.folder}/"):
            wanted = f"is {shown(path.text)}, must be below replaced_folder, which is {shown(self.replaces.folder)}"
            raise FieldInvalid({"header.path": wanted})

    def in_time(self, file: IncomingFile) -> IncomingFile:
        """The file, whose content raises UploadTooLong when the time of the stream is over."""
        return replace(file, pieces=map(self._in_time, file.pieces))

    def check(self) -> None:
        """Raises UploadBrokenOff if the caller is gone, UploadTooLong if the time is over."""
        if not self.is_wanted():
            raise UploadBrokenOff
        self._require_time()

    def _in_time(self, piece: bytes) -> bytes:
        self._require_time()
        return piece

    def _require_time(self) -> None:
        if time.monotonic() - self.begun > self.limit_s:
            raise UploadTooLong(self.limit_s)


class FileWriter:
    """Writes the files of runs.

    A stream holds at most `most_files` files, of which about 2 KB each are kept in memory until the end, and may take
    `limit_s` seconds. It may have `MORE_FOLDERS` more folders than files: each folder costs as much as a file.
    """

    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        owners: Owners,
        clock: Clock,
        *,
        usage: Usage,
        pool: Executor,
        most_files: int,
        limit_s: float,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._clock = clock
        self._usage = usage
        self._pool = pool
        self._most_files = most_files
        self._limit_s = limit_s

    def write(
        self,
        owner: Owner,
        files: Iterable[IncomingFile],
        is_wanted: Callable[[], bool],
        *,
        replaces: Replaced | None = None,
    ) -> tuple[int, int]:
        """Writes files, all or none; returns their number and the sum of their sizes.

        They are all below the folder that is replaced, if there is one.
        `is_wanted` says whether the caller is still there: one who gives up before the answer finds nothing written.
        Raises OwnerFrozen, OwnerNotFound, PermissionMissing, RunDeleted, PathInvalid, FieldInvalid, TooManyFiles,
        TooManyFolders, DigestMismatch, ArtifactKindConflict, StoreUnavailable, ServiceUnavailable, UploadBrokenOff,
        UploadTooLong; QuotaExceeded at the beginning of a file, never later.
        """
        begun = time.monotonic()
        place = self._owners.require_writable(owner)
        pending = PendingBlobs(self._blobs, self._pool)
        with ExitStack() as undo:
            undo.callback(pending.discard)
            taking = undo.enter_context(self._usage.taking(place.workspace))
            now, limit_s = self._clock.now(), self._limit_s
            stream = _Stream(owner, place, replaces, now, begun, limit_s, is_wanted, pending, taking)
            try:
                self._receive(stream, files)
            except StoreUnavailable:  # it would not delete now: garbage collection does
                stream.pending.keep(lambda key: True)
                raise
            stream.blobs = {file.sha256: stream.blobs[file.sha256] for file in stream.files.values()}
            self._commit(stream)
        size = sum(file.size_bytes for file in stream.files.values())
        instruments.files_written_total.inc(len(stream.files))
        instruments.written_bytes_total.inc(size)
        return len(stream.files), size

    def _artifact(self, stream: _Stream, header: FileHeader, sha256: str) -> Artifact:
        path = header.path.text
        kind = header.content_type or _TYPES.guess_type(path.rpartition("/")[2])[0] or "application/octet-stream"
        return Artifact(stream.owner, path, header.size_bytes, 1, sha256, kind, stream.now)

    def _commit(self, stream: _Stream) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            lost = self._lost(stream.blobs)
            try:
                used = self._write_rows(stream, lost)
            except ConcurrentChange:  # nothing was written: another attempt may succeed
                if attempt == _ATTEMPTS:
                    raise
            except Unavailable:  # the rows may have been committed: garbage collection finds out, nobody here can
                stream.pending.keep(lambda key: True)
                raise
            else:
                stream.pending.keep(used.__contains__)
                instruments.known_files_total.inc(len(stream.blobs) - len(used))
                return

    def _receive(self, stream: _Stream, files: Iterable[IncomingFile]) -> None:
        """Stores the content of all files."""
        for number, file in enumerate(files, 1):
            if number > self._most_files:
                raise TooManyFiles(self._most_files)
            stream.require_within(file.header.path)
            stream.taking.take(file.header.size_bytes)
            blob = stream.pending.put(stream.in_time(file))
            stream.add(self._artifact(stream, file.header, blob.sha256), blob)
            _require_few_folders(stream, self._most_files)
        _require_few_folders(stream, len(stream.files))
        stream.pending.settle()

    def _lost(self, brought: Mapping[str, Blob]) -> list[Blob]:
        """Known content that the store has lost: what was brought takes its place."""
        with self._db.read() as tx:
            known = digests.find(tx, brought)
        sizes = self._pool.map(self._blobs.stat, [blob.key for blob in known.values()])
        return [blob for blob, size in zip(known.values(), sizes, strict=True) if size != blob.size_bytes]

    def _write_rows(self, stream: _Stream, lost: Sequence[Blob]) -> set[str]:
        """Writes all rows; returns the keys of the objects that are used from now on."""
        owner, written, brought = stream.owner, stream.files, stream.blobs
        with self._db.write() as tx:
            owners.lock(tx, owner, stream.place)
            gone = _deleted(tx, owner, stream.replaces)
            present = self._present(tx, owner, written.keys(), stream.folders)
            replaced = (gone | {old.sha256 for path, old in present.items() if path in written}) - brought.keys()
            if replaced:
                digests.lock(tx, replaced | brought.keys())
            healed = {blob.sha256 for blob in lost if digests.replace(tx, blob, brought[blob.sha256])}
            others = [blob for sha256, blob in brought.items() if sha256 not in healed]
            digests.refer(tx, others, self._clock.now())
            stored = digests.find(tx, brought)
            digests.release(tx, replaced, self._clock.now())
            store.put(tx, written.values())
            store.grow(tx, owner, _changes(written, present))
            stream.check()
        return {blob.key for sha256, blob in brought.items() if stored[sha256].key == blob.key}

    def _present(self, tx: Transaction, owner: Owner, files: Set[str], folders: Set[str]) -> dict[str, Artifact]:
        """The files and folders at the paths of files and folders.

        Raises ArtifactKindConflict if a file would become a folder, or a folder a file.
        """
        for path in sorted(files & folders):
            raise ArtifactKindConflict(path, "file", "folder")
        if store.find(tx, owner, "") is None:
            return {}
        present = store.find_all(tx, owner, files | folders)
        for path, artifact in sorted(present.items()):
            if artifact.is_folder and path in files:
                raise ArtifactKindConflict(path, "folder", "file")
            if not artifact.is_folder and path in folders:
                raise ArtifactKindConflict(path, "file", "folder")
        return present


def _require_few_folders(stream: _Stream, file_count: int) -> None:
    if len(stream.folders) > file_count + MORE_FOLDERS:
        raise TooManyFolders(file_count + MORE_FOLDERS)


def _deleted(tx: Transaction, owner: Owner, replaced: Replaced | None) -> set[str]:
    """Deletes what is replaced, and the folders that are empty then; returns the digests of the files."""
    if replaced is None:
        return set()
    times = None
    if replaced.together_with:
        found = store.find_all(tx, owner, replaced.together_with)
        times = {file.create_time for file in found.values() if not file.is_folder}
    gone = store.take_below(tx, owner, replaced.folder, times)
    if gone:
        store.grow(tx, owner, _changes({}, {}, gone))
        store.remove_empty(tx, owner, {folder for file in gone for folder in ancestors(file.path)})
    return {file.sha256 for file in gone}


def _changes(
    written: Mapping[str, Artifact], present: Mapping[str, Artifact], gone: Sequence[Artifact] = ()
) -> dict[str, tuple[int, int]]:
    """By how much the count and the size of each folder grow. What a folder grows by, the one above it grows by too."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for file in gone:
        counts[parent(file.path)] -= 1
        sizes[parent(file.path)] -= file.size_bytes
    for path, file in written.items():
        old = present.get(path)
        counts[parent(path)] += 0 if old else 1
        sizes[parent(path)] += file.size_bytes - (old.size_bytes if old else 0)
    by_depth: list[set[str]] = [set() for _ in range(DEEPEST)]
    for folder in counts:
        by_depth[folder.count("/")].add(folder)
    for depth in range(DEEPEST - 1, -1, -1):
        for folder in by_depth[depth] - {""}:
            above = parent(folder)
            counts[above] += counts[folder]
            sizes[above] += sizes[folder]
            by_depth[max(0, depth - 1)].add(above)
    return {folder: (counts[folder], sizes[folder]) for folder in counts}
