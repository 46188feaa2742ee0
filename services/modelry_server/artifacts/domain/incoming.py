"""The files of one stream on their way into the object store. Their content is hashed as it passes.

Small files are put by a pool of threads, several at a time, because a put mostly waits for a disk or the network. Large
files are put by the thread of the stream.
"""

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass

from modelry_server.artifacts.domain.paths import ArtifactPath
from modelry_server.artifacts.entities import Blob
from modelry_server.artifacts.errors import DigestMismatch, StoreUnavailable
from modelry_server.artifacts.store.blobs import Blobs, new_key
from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.kernel.telemetry import Log

MOST_BYTES = 5 << 40
"""The largest file, in bytes: the largest object of an S3."""
SMALL = 128 << 10
"""The largest file, in bytes, that is held in memory."""

_LONGEST_TYPE = 255
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_AHEAD = 16
_log = Log("artifacts")


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What is announced of a file before its content. `announced` makes it."""

    path: ArtifactPath
    size_bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file that arrives: its header, and its content in pieces, to be read before the next file."""

    header: FileHeader
    pieces: Iterator[bytes]
    sha256: Callable[[], str]
    """The SHA-256 of the content as the client says, which comes after the last piece."""


def announced(path: str, size_bytes: int, content_type: str, *, field: str) -> FileHeader:
    """A header that keeps the rules; `field` is the field of the request that holds it.

    Raises PathInvalid, FieldInvalid.
    """
    checked = ArtifactPath(path, f"{field}.path")
    with Fields() as fields:
        if not 0 <= size_bytes <= MOST_BYTES:
            fields.refuse(f"{field}.size_bytes", f"is {size_bytes}, must be from 0 to {MOST_BYTES}")
        fields.text(f"{field}.content_type", content_type, longest=_LONGEST_TYPE)
    return FileHeader(checked, size_bytes, content_type)


class PendingBlobs:
    """The objects that one stream has put into the store and no transaction has committed yet."""

    def __init__(self, blobs: Blobs, pool: Executor) -> None:
        self._blobs = blobs
        self._pool = pool
        self._puts: deque[Future[None]] = deque()
        self._keys: set[str] = set()

    def put(self, file: IncomingFile) -> Blob:
        """Stores the content of a file; it is complete when `settle` has returned.

        Raises DigestMismatch, FieldInvalid, StoreUnavailable.
        """
        key, size = new_key(), file.header.size_bytes
        self._keys.add(key)
        pieces = _checked(file)
        if size <= SMALL:
            while len(self._puts) >= _AHEAD:
                self._puts.popleft().result()
            content = b"".join(pieces)
            self._puts.append(self._pool.submit(self._blobs.put, key, (content,), size))
        else:
            self._blobs.put(key, pieces, size)
            # A store stops reading at the announced size. What follows, and the digest, is checked at the end.
            for _ in pieces:
                pass
        return Blob(key, file.sha256(), size)

    def settle(self) -> None:
        """Waits until all content is stored. Raises StoreUnavailable."""
        while self._puts:
            self._puts.popleft().result()

    def discard(self) -> None:
        """Deletes all objects that are not kept. Garbage collection deletes those that can't be deleted now."""
        for future in self._puts:
            future.cancel()
        with suppress(RuntimeError):  # the pool takes nothing any more, because the server ends
            deletions = [self._pool.submit(self._delete, key) for key in self._stored()]
            for deletion in deletions:
                deletion.result()
        self._keys.clear()

    def keep(self, is_used: Callable[[str], bool]) -> None:
        """Keeps the objects that rows refer to now, so that `discard` deletes the others only."""
        self._keys = {key for key in self._keys if not is_used(key)}

    def _stored(self) -> set[str]:
        while self._puts:
            future = self._puts.popleft()
            if not future.cancelled():
                future.exception()
        return self._keys

    def _delete(self, key: str) -> None:
        try:
            self._blobs.delete(key)
        except StoreUnavailable:
            _log.seldom("blob.left_behind", per="", key=key)


def _checked(file: IncomingFile) -> Iterator[bytes]:
    """The content of a file. Raises DigestMismatch or FieldInvalid at its end if it is not what was announced."""
    digest, size = hashlib.sha256(), 0
    header, path = file.header, file.header.path.text
    for piece in file.pieces:
        size += len(piece)
        if size > header.size_bytes:
            said = "" if header.size_bytes else f"size_bytes of {shown(path)} is 0, but content came"
            raise DigestMismatch(path, "size", f"{header.size_bytes} bytes", "larger", said=said)
        digest.update(piece)
        yield piece
    if size != header.size_bytes:
        raise DigestMismatch(path, "size", f"{header.size_bytes} bytes", f"{size} bytes")
    sha256 = file.sha256()
    with Fields() as fields:
        if not _SHA256.match(sha256):
            fields.refuse("sha256", f"{shown(sha256)} is not a SHA-256: 64 lower-case hexadecimal characters")
    if digest.hexdigest() != sha256:
        raise DigestMismatch(path, "SHA-256", sha256, digest.hexdigest())
