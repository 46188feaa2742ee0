"""A file that keeps requests which can't be sent now.

One process writes a file, and only appends to it, so that the file can be read if the process dies: an incomplete last
record is left out. The process locks the file until it closes it. After that another process may deliver it: the parent
if a forked child wrote it, or `modelry sync`. Folders have mode 0700 and files 0600.

    "MDLRYSP1" u64 (up to which byte all is delivered), then records: u32 length, u32 CRC-32, method, NUL, content

The first record names the server: method `server`, content JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from modelry._sdk.recording.queued import UPLOAD, QueuedRequest

try:
    import fcntl
except ImportError:  # Windows has no flock: there a file in use looks like one that was left.
    fcntl = None  # type: ignore[assignment]

SERVER = "server"
SUFFIX = ".spool"
_HEADER = struct.Struct("<8sQ")
_DELIVERED = struct.Struct("<Q")
_RECORD = struct.Struct("<II")
_MAGIC = b"MDLRYSP1"
_WRITE_BYTES = 1 << 26


class SpoolInUse(OSError):
    """Another process writes or delivers the file."""


class SpoolUnreadable(OSError):
    """The file is not a spool, or its beginning is damaged."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Copies of files, in `folder` beside the spool, that wait for their upload into the folder `path` of an owner."""

    owner: str
    path: str
    folder: str


class Spool:
    """One open spool. For one thread at a time."""

    def __init__(self, path: Path, descriptor: int, server: dict[str, str]) -> None:
        self.path = path
        self.server = server
        self._descriptor = descriptor
        _, self._delivered = _HEADER.unpack(os.pread(descriptor, _HEADER.size, 0))
        self._end = os.fstat(descriptor).st_size
        self._position = self._delivered
        self.requests_left = 0
        self._damaged_at: set[int] = set()

    @classmethod
    def create(cls, folder: Path, server: dict[str, str], *, parent: str = "") -> Spool:
        """Begins a new file in the folder, which is made if necessary. Raises OSError if that fails.

        A forked child names the parent that is to deliver the file, see `left_in`.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}"
        path = folder / f"{name}{_suffix(parent)}"
        # Locked before it has its name, so that nobody takes it for a file that was left.
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(descriptor, path)
            first = _encode(SERVER, json.dumps(server).encode())
            os.write(descriptor, _HEADER.pack(_MAGIC, _HEADER.size + len(first)) + first)
            os.rename(new, path)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(new)
            raise
        return cls(path, descriptor, server)

    @classmethod
    def open(cls, path: Path) -> Spool:
        """Opens a file that another process has closed.

        Raises SpoolInUse if another process has it open, SpoolUnreadable if it is not a spool.
        """
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            _lock(descriptor, path)
            head = os.pread(descriptor, _HEADER.size, 0)
            found = _read(descriptor, _HEADER.size, os.fstat(descriptor).st_size)
            if len(head) < _HEADER.size or head[:8] != _MAGIC or found is None or found.method != SERVER:
                raise SpoolUnreadable(f"{path} is not a spool, or its beginning is damaged")
            spool = cls(path, descriptor, json.loads(found.content))
        except OSError:
            os.close(descriptor)
            raise
        # From the first record on, so that damage is found even if an earlier delivery went past it.
        spool._position = found.end
        ends = [found.end]
        while (request := spool.next()) is not None:
            ends.append(request.end)
        if spool._delivered not in ends:
            # The header is damaged. What is delivered again is not written twice.
            spool._delivered = found.end
        spool.requests_left = sum(end > spool._delivered for end in ends)
        spool._end = spool._position
        spool._position = spool._delivered
        return spool

    def append(self, requests: Iterable[QueuedRequest], *, held: bool = False) -> None:
        """Adds requests at the end: all of them, or none if it raises OSError.

        `held` means that they are under way already, so that `next` leaves them out. Only for the first requests.
        """
        position = self._end
        written = []
        for request in requests:
            record = _encode(request.method, request.content)
            position += len(record)
            written.append((request, record, position))
        data = b"".join(record for _, record, _ in written)
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done : done + _WRITE_BYTES], self._end + done)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise
        for request, _, end in written:
            request.end = end
        self._end = position
        self.requests_left += len(written)
        if held:
            self._position = position

    def next(self) -> QueuedRequest | None:
        """The next request that was not read yet, None at the end. A damaged record is counted and left out."""
        while (request := _read(self._descriptor, self._position, self._end)) is not None:
            if not request.method:
                self._damaged_at.add(self._position)
            self._position = request.end
            if request.method:
                return request
        return None

    def delivered(self, request: QueuedRequest) -> None:
        """Notes that everything up to this request is delivered."""
        self._delivered = request.end
        self.requests_left -= 1
        os.pwrite(self._descriptor, _DELIVERED.pack(self._delivered), len(_MAGIC))

    @property
    def drained(self) -> bool:
        """Whether nothing is left to deliver."""
        return bool(self._delivered >= self._end)

    def remove(self) -> str:
        """Deletes the file, after everything in it was read and delivered. Returns an empty string.

        A damaged file is renamed and kept; the string then says what can't be read, and the new path.
        """
        found = []
        if self._damaged_at:
            count = len(self._damaged_at)
            found.append(f"{count} record{'s' if count > 1 else ''}")
        if tail := os.fstat(self._descriptor).st_size - self._position:
            found.append(f"the last {tail} bytes")
        damage = ""
        if found:
            kept = self.path.rename(self.path.with_suffix(".damaged"))
            damage = f"damaged, {' and '.join(found)} could not be read and delivered; the file is now {kept}"
        self.path.unlink(missing_ok=True)
        self.close()
        return damage

    def close(self) -> None:
        """Closes the file, which releases its lock, and keeps it for a later delivery."""
        os.close(self._descriptor)


def left_in(folder: Path, *, parent: str = "") -> list[Path]:
    """The spools in a folder, the oldest first. With `parent` only those of its forked children.

    Empty if there is no such folder. Raises OSError if it can't be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.endswith(_suffix(parent))]


def keep_files(spool_folder: Path, owner: str, path: str, source: Path) -> QueuedRequest:
    """Copies a file, or what is in a folder, for a later upload into the folder `path`. Returns the request for it.

    Raises OSError if the copy can't be made.
    """
    request, folder = _new_upload(spool_folder, owner, path)
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, folder / source.name)
    return request


def keep_content(spool_folder: Path, owner: str, path: str, content: bytes) -> QueuedRequest:
    """Keeps the content of one file for a later upload to the path `path`; see `keep_files`."""
    request, folder = _new_upload(spool_folder, owner, "")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return request


def upload_of(request: QueuedRequest) -> Upload:
    """The content of an upload request."""
    return Upload(**json.loads(request.content))


def drop_files(spool_folder: Path, request: QueuedRequest) -> None:
    """Deletes the copies that belong to an upload request. Other requests have none."""
    if request.method == UPLOAD:
        shutil.rmtree(spool_folder / upload_of(request).folder, ignore_errors=True)


def _new_upload(spool_folder: Path, owner: str, path: str) -> tuple[QueuedRequest, Path]:
    upload = Upload(owner=owner, path=path, folder=f"{time.time_ns()}-{os.urandom(4).hex()}.files")
    folder = spool_folder / upload.folder
    spool_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    return QueuedRequest(UPLOAD, json.dumps(asdict(upload)).encode()), folder


def _suffix(parent: str) -> str:
    return f".{parent}{SUFFIX}" if parent else SUFFIX


def _encode(method: str, content: bytes) -> bytes:
    body = method.encode() + b"\0" + content
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


def _read(descriptor: int, position: int, end: int) -> QueuedRequest | None:
    head = os.pread(descriptor, _RECORD.size, position)
    if len(head) < _RECORD.size:
        return None
    length, checksum = _RECORD.unpack(head)
    stop = position + _RECORD.size + length
    if stop > end:
        return None
    body = os.pread(descriptor, length, position + _RECORD.size)
    if len(body) < length:
        return None
    if zlib.crc32(body) != checksum:
        return QueuedRequest("", b"", end=stop)
    method, _, content = body.partition(b"\0")
    return QueuedRequest(method.decode(), content, end=stop)


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolInUse(f"{path} is in use by another process") from None
