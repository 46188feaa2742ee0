"""Content in a local folder: `<folder>/<two characters of the key>/<key>`, readable by this user only.

Files are opened relative to the handle of their folder and never through a symbolic link, so that a link that someone
places below the root has no effect. A put writes to `<key>.part`, syncs it, renames it and syncs the folder.
"""

import errno
import os
import stat as modes
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelry_server.artifacts.errors import StoreUnavailable
from modelry_server.artifacts.store.blobs import PIECE, BlobMissing, StoredBlob, is_key
from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.telemetry import Log

_PART = ".part"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)  # non-blocking: a pipe with the name of a key must not hold a thread
_FLUSH = 8 << 20
_log = Log("artifacts")


class LocalBlobs:
    """Content in a local folder. See `Blobs`.

    The folder is made if it is missing. Raises ConfigurationInvalid if it belongs to another user, or if others may
    write to it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigurationInvalid([f"artifacts.local_folder = {str(folder)!r}: {error.strerror}"]) from error
        status = os.fstat(self._root)
        if status.st_uid != os.geteuid() or status.st_mode & (modes.S_IWGRP | modes.S_IWOTH):
            os.close(self._root)
            wanted = "must belong to the user of the server and be writable by nobody else (chmod go-w)"
            raise ConfigurationInvalid([f"artifacts.local_folder = {str(folder)!r}: {wanted}"])
        self._shards: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, key: str, pieces: Iterable[bytes], size: int) -> None:
        """Stores content; see `Blobs.put`."""
        with _translated():
            shard = self._shard(key)
            part = key + _PART
            file = os.open(part, _NEW, 0o600, dir_fd=shard)
        try:
            written, flushed = 0, 0
            for piece in pieces:
                with _translated():
                    _write(file, piece)
                written += len(piece)
                if written - flushed >= _FLUSH:
                    _flush(file, max(0, flushed - 3 * _FLUSH), written)
                    flushed = written
                if written >= size:
                    break
            with _translated():
                os.fsync(file)
                os.rename(part, key, src_dir_fd=shard, dst_dir_fd=shard)
                os.fsync(shard)
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=shard)
            raise
        finally:
            os.close(file)

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """The content from a byte on; see `Blobs.read`."""
        file = self._open(key)
        try:
            os.lseek(file, offset, os.SEEK_SET)
            while True:
                with _translated():
                    piece = os.read(file, PIECE)
                if not piece:
                    return
                yield piece
        finally:
            os.close(file)

    def stat(self, key: str) -> int | None:
        """The size of an object; see `Blobs.stat`."""
        with _translated():
            try:
                status = os.stat(key, dir_fd=self._shard(key), follow_symlinks=False)
            except FileNotFoundError:
                return None
        return status.st_size if modes.S_ISREG(status.st_mode) else None

    def delete(self, key: str) -> None:
        """Deletes an object; see `Blobs.delete`."""
        with _translated():
            for name in (key, key + _PART):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._shard(key))

    def stored(self) -> Iterator[StoredBlob]:
        """All objects; see `Blobs.stored`."""
        with _translated():
            names = sorted(name for name in os.listdir(self._root) if len(name) == 2)
        for name in names:
            yield from self._keys_of(name)

    def close(self) -> None:
        """Closes the folders."""
        with self._lock:
            for file in self._shards.values():
                os.close(file)
            self._shards.clear()
            if self._root >= 0:
                os.close(self._root)
                self._root = -1

    def _keys_of(self, name: str) -> Iterator[StoredBlob]:
        with _translated():
            shard = os.open(
                name, _FOLDER, dir_fd=self._root
            )  # a handle of its own: a listing moves the place of the handle
            try:
                with os.scandir(shard) as entries:
                    for entry in entries:
                        key = entry.name.removesuffix(_PART)
                        if is_key(key):
                            with suppress(FileNotFoundError):
                                yield StoredBlob(key, entry.stat(follow_symlinks=False).st_mtime_ns // 1_000_000)
            finally:
                os.close(shard)

    def _open(self, key: str) -> int:
        with _translated():
            try:
                file = os.open(key, _READ, dir_fd=self._shard(key))
            except FileNotFoundError:
                raise BlobMissing(key) from None
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                _log.error("blob.is_a_link", key=key)
                raise BlobMissing(key) from None
        if not modes.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            _log.error("blob.is_no_file", key=key)
            raise BlobMissing(key)
        return file

    def _shard(self, key: str) -> int:
        """The handle of the folder of a key, which is made if it is missing."""
        if not is_key(key):
            raise ValueError(f"{key!r} is not a key")
        name = key[:2]
        found = self._shards.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._shards:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=self._root)
                    os.fsync(self._root)
                self._shards[name] = os.open(name, _FOLDER, dir_fd=self._root)
            return self._shards[name]


def _write(file: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]


def _flush(file: int, begin: int, end: int) -> None:
    """Makes the system start to write to the disk, and drop the pages that are written from its cache.

    Measured on 1 GiB: a third of the system's CPU time, and little is left for the sync at the end. The cached pages of
    other programs, such as the database, stay in memory.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, begin, end - begin, os.POSIX_FADV_DONTNEED)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.seldom("blobs.failed", per=str(error.errno), trace=True, errno=error.errno)
        raise StoreUnavailable(os.strerror(error.errno or 0)) from error
