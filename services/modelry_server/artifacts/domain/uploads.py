"""Writing files: bytes first, rows at the end, all in one transaction or none."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from mimetypes import MimeTypes

from modelry_server.artifacts import instruments
from modelry_server.artifacts.domain.owners import Owner, Owners
from modelry_server.artifacts.domain.paths import ancestors
from modelry_server.artifacts.domain.staging import Incoming, Staging
from modelry_server.artifacts.entities import Artifact, Blob
from modelry_server.artifacts.errors import ArtifactKindConflict, UploadBrokenOff
from modelry_server.artifacts.store import artifacts as store
from modelry_server.artifacts.store import digests
from modelry_server.artifacts.store.blobs import Blobs
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import Unavailable
from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import Transaction

MOST_FILES = 10_000
"""Files in one stream."""
MOST_BYTES = 5 << 40
"""Bytes of one file: what an S3 can hold."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_TYPES = MimeTypes()  # the table of Python itself: those of the machine differ from one to the next
_ATTEMPTS = 3


class Uploads:
    """Writes files of runs."""

    def __init__(
        self, db: Database, blobs: Blobs, owners: Owners, clock: Clock, *, pool: Executor, limit_s: float
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._owners = owners
        self._clock = clock
        self._pool = pool
        self._limit_s = limit_s

    def write(self, owner: Owner, files: Iterable[Incoming], is_wanted: Callable[[], bool]) -> tuple[int, int]:
        """Writes files, all or none; returns their number and the sum of their sizes.

        `is_wanted` says whether the caller is still there: a stream that was cut off can look like one that has ended.
        Raises OwnerFrozen, OwnerNotFound, RunDeleted, PathInvalid, FieldInvalid, DigestMismatch, ArtifactKindConflict,
        StoreUnavailable, UploadBrokenOff.
        """
        begun = time.monotonic()
        self._owners.require_writable(owner)
        staging = Staging(self._blobs, self._pool)
        with ExitStack() as undo:
            undo.callback(staging.discard)
            written: dict[str, Artifact] = {}
            brought: dict[str, Blob] = {}
            for number, file in enumerate(files, 1):
                self._judge(file, number)
                blob = staging.put(file)
                brought[blob.sha256] = blob
                written[file.path.text] = self._artifact(owner, file)
            staging.settle()

            def check() -> None:
                if not is_wanted() or time.monotonic() - begun > self._limit_s:
                    raise UploadBrokenOff

            in_use = {file.sha256: brought[file.sha256] for file in written.values()}
            self._commit(owner, written, in_use, staging, check)
        size = sum(file.size_bytes for file in written.values())
        instruments.files_written_total.inc(len(written))
        instruments.written_bytes_total.inc(size)
        return len(written), size

    def _judge(self, file: Incoming, number: int) -> None:
        with Fields() as fields:
            if number > MOST_FILES:
                fields.refuse(
                    "header", f"is the {number}th; at most {MOST_FILES} files fit in one stream, begin another"
                )
            if not _SHA256.match(file.sha256):
                wanted = "64 lower-case hexadecimal characters"
                fields.refuse("header.sha256", f"{shown(file.sha256)} is not a SHA-256: {wanted}")
            if not 0 <= file.size_bytes <= MOST_BYTES:
                fields.refuse("header.size_bytes", f"is {file.size_bytes}, must be from 0 to {MOST_BYTES}")
            fields.text("header.content_type", file.content_type, longest=255)

    def _artifact(self, owner: Owner, file: Incoming) -> Artifact:
        path = file.path.text
        kind = file.content_type or _TYPES.guess_type(path.rpartition("/")[2])[0] or "application/octet-stream"
        return Artifact(str(owner), path, file.size_bytes, 1, file.sha256, kind, self._clock.now())

    def _commit(
        self,
        owner: Owner,
        written: Mapping[str, Artifact],
        brought: Mapping[str, Blob],
        staging: Staging,
        check: Callable[[], None],
    ) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            lost = self._lost(brought)
            try:
                used = self._write_rows(owner, written, brought, lost, check)
            except ConcurrentChange:  # nothing was written: another try may find its way
                if attempt == _ATTEMPTS:
                    raise
            except Unavailable:  # the rows may be there: whether they are, the garbage job will know, here nobody does
                staging.keep(lambda key: True)
                raise
            else:
                staging.keep(used.__contains__)
                instruments.known_files_total.inc(len(brought) - len(used))
                return

    def _lost(self, brought: Mapping[str, Blob]) -> list[Blob]:
        """Known content that the store has lost: what was brought takes its place."""
        with self._db.read() as tx:
            known = digests.find(tx, brought)
        sizes = self._pool.map(self._blobs.stat, [blob.key for blob in known.values()])
        return [blob for blob, size in zip(known.values(), sizes, strict=True) if size != blob.size_bytes]

    def _write_rows(
        self,
        owner: Owner,
        written: Mapping[str, Artifact],
        brought: Mapping[str, Blob],
        lost: Sequence[Blob],
        check: Callable[[], None],
    ) -> set[str]:
        """Writes all rows; returns the keys of the objects that came into use."""
        name = str(owner)
        with self._db.write() as tx:
            store.lock(tx, name)
            present = self._present(tx, name, written.keys())
            replaced = {old.sha256 for path, old in present.items() if path in written} - brought.keys()
            if replaced:
                digests.lock(tx, replaced | brought.keys())
            healed = {blob.sha256 for blob in lost if digests.replace(tx, blob, brought[blob.sha256])}
            others = [blob for sha256, blob in brought.items() if sha256 not in healed]
            digests.refer(tx, others, self._clock.now())
            stored = digests.find(tx, brought)
            digests.leave(tx, replaced, self._clock.now())
            store.put(tx, written.values())
            store.grow(tx, name, _changes(written, present))
            check()
        return {stored[sha256].key for sha256, blob in brought.items() if stored[sha256].key == blob.key}

    def _present(self, tx: Transaction, owner: str, paths: Iterable[str]) -> dict[str, Artifact]:
        """What stands at the paths now. Raises ArtifactKindConflict where a file would be a folder, or the reverse."""
        files = set(paths)
        folders = {folder for path in files for folder in ancestors(path) if folder}
        for path in sorted(files & folders):
            raise ArtifactKindConflict(path, "file", "folder")
        present = store.find_all(tx, owner, files | folders)
        for path, artifact in sorted(present.items()):
            if artifact.is_folder and path in files:
                raise ArtifactKindConflict(path, "folder", "file")
            if not artifact.is_folder and path in folders:
                raise ArtifactKindConflict(path, "file", "folder")
        return present


def _changes(written: Mapping[str, Artifact], present: Mapping[str, Artifact]) -> dict[str, tuple[int, int]]:
    """By how much the count and the size of each folder grow."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path, file in written.items():
        old = present.get(path)
        for folder in ancestors(path):
            counts[folder] += 0 if old else 1
            sizes[folder] += file.size_bytes - (old.size_bytes if old else 0)
    return {folder: (counts[folder], sizes[folder]) for folder in counts}
