"""The bytes of one stream of files on their way into the object store, hashed in passing.

Small files are put by a pool of threads, several at a time, because a put waits for a disk or a network more than it
works; large ones by the thread of the stream, as their bytes come.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from modelry_server.artifacts.domain.paths import ArtifactPath
from modelry_server.artifacts.entities import Blob
from modelry_server.artifacts.errors import DigestMismatch, StoreUnavailable
from modelry_server.artifacts.store.blobs import Blobs, new_key
from modelry_server.kernel.telemetry import Log

SMALL = 128 << 10
"""Bytes up to which a file is small."""
_AHEAD = 16
_log = Log("artifacts")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file as it comes: what was announced, and its content in pieces, to be read before the next file."""

    path: ArtifactPath
    size_bytes: int
    sha256: str
    content_type: str
    pieces: Iterator[bytes]


class Staging:
    """What one stream has put into the store so far. `discard` is its undoing, `keep` what ends it well."""

    def __init__(self, blobs: Blobs, pool: Executor) -> None:
        self._blobs = blobs
        self._pool = pool
        self._pending: deque[Future[None]] = deque()
        self._keys: set[str] = set()

    def put(self, file: Incoming) -> Blob:
        """Takes a file in. It is whole when `settle` has returned. Raises DigestMismatch, StoreUnavailable."""
        blob = Blob(new_key(), file.sha256, file.size_bytes)
        self._keys.add(blob.key)
        pieces = _checked(file)
        if file.size_bytes <= SMALL:
            while len(self._pending) >= _AHEAD:
                self._pending.popleft().result()
            content = b"".join(pieces)
            self._pending.append(self._pool.submit(self._blobs.put, blob.key, (content,), file.size_bytes))
            return blob
        self._blobs.put(blob.key, pieces, file.size_bytes)
        # A store stops at the announced size: whether more comes, and the digest, is judged at the end.
        for _ in pieces:
            pass
        return blob

    def settle(self) -> None:
        """Waits until all content is stored. Raises StoreUnavailable."""
        while self._pending:
            self._pending.popleft().result()

    def discard(self) -> None:
        """Removes all that is not kept, as far as the store lets it; the rest is left to the garbage job."""
        for future in self._pending:
            future.cancel()
        removals = [self._pool.submit(self._remove, key) for key in self._wait_for_puts()]
        for removal in removals:
            removal.result()
        self._keys.clear()

    def keep(self, is_used: Callable[[str], bool]) -> None:
        """Lets go of the objects that rows refer to now, so that `discard` removes the others only."""
        self._keys = {key for key in self._keys if not is_used(key)}

    def _wait_for_puts(self) -> set[str]:
        while self._pending:
            future = self._pending.popleft()
            if not future.cancelled():
                future.exception()
        return self._keys

    def _remove(self, key: str) -> None:
        try:
            self._blobs.delete(key)
        except StoreUnavailable:
            _log.warning("blob.left_behind", key=key)


def _checked(file: Incoming) -> Iterator[bytes]:
    """The content, judged when it ends. Raises DigestMismatch if it is not what was announced."""
    digest, size = hashlib.sha256(), 0
    path = file.path.text
    for piece in file.pieces:
        size += len(piece)
        if size > file.size_bytes:
            raise DigestMismatch(path, "size", f"{file.size_bytes} bytes", "more")
        digest.update(piece)
        yield piece
    if size != file.size_bytes:
        raise DigestMismatch(path, "size", f"{file.size_bytes} bytes", f"{size} bytes")
    if digest.hexdigest() != file.sha256:
        raise DigestMismatch(path, "SHA-256", file.sha256, digest.hexdigest())
