"""A file that keeps requests while no server is in reach.

One file per process, appended to and never rewritten, so that a process that dies leaves a file that can be read: a
torn last record is left out. While its process lives the file is locked; afterwards `modelry sync` delivers it. Folders
have mode 0700 and files 0600, because what people log is theirs.

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

from modelry._sdk.recording.outgoing import UPLOAD, Request

try:
    import fcntl
except ImportError:  # Windows has no flock; there a file in use can't be told from one that is left.
    fcntl = None  # type: ignore[assignment]

SERVER = "server"
SUFFIX = ".spool"
_HEADER = struct.Struct("<8sQ")
_DELIVERED = struct.Struct("<Q")
_RECORD = struct.Struct("<II")
_MAGIC = b"MDLRYSP1"
_WRITE_BYTES = 1 << 26


class SpoolInUse(OSError):
    """The process that writes the file is still alive."""


class SpoolUnreadable(OSError):
    """The file is not a spool, or its beginning is damaged."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Files that wait for their upload into the folder `path` of an owner: copies lie in `folder` beside the spool."""

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
    def create(cls, folder: Path, server: dict[str, str]) -> Spool:
        """Begins a new file in the folder, which is made when it isn't there. Raises OSError where that can't be."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        _lock(descriptor, path)
        first = _encode(SERVER, json.dumps(server).encode())
        os.write(descriptor, _HEADER.pack(_MAGIC, _HEADER.size + len(first)) + first)
        return cls(path, descriptor, server)

    @classmethod
    def open(cls, path: Path) -> Spool:
        """Opens the file of a process that is gone.

        Raises SpoolInUse while its process lives, SpoolUnreadable where it is no spool.
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
        # From the first record on, so that damage is known also where an earlier delivery went past it.
        spool._position = found.end
        ends = [found.end]
        while (request := spool.next()) is not None:
            ends.append(request.end)
        if spool._delivered not in ends:
            # The header is damaged. What is delivered once more is not written twice.
            spool._delivered = found.end
        spool.requests_left = sum(end > spool._delivered for end in ends)
        spool._end = spool._position
        spool._position = spool._delivered
        return spool

    def append(self, requests: Iterable[Request], *, held: bool = False) -> None:
        """Adds requests at the end. Raises OSError, and then has none of them.

        `held` says that they are on their way already: `next` leaves them out. Only before anything else was appended.
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

    def next(self) -> Request | None:
        """The next request that was not read yet; None at the end. A damaged record is counted and left out."""
        while (request := _read(self._descriptor, self._position, self._end)) is not None:
            if not request.method:
                self._damaged_at.add(self._position)
            self._position = request.end
            if request.method:
                return request
        return None

    def delivered(self, request: Request) -> None:
        """Notes that everything up to this request is delivered."""
        self._delivered = request.end
        self.requests_left -= 1
        os.pwrite(self._descriptor, _DELIVERED.pack(self._delivered), len(_MAGIC))

    @property
    def drained(self) -> bool:
        """Whether nothing is left to deliver."""
        return bool(self._delivered >= self._end)

    def remove(self) -> str:
        """Deletes the file, after everything in it was read and delivered; answers with nothing.

        A damaged one is renamed for people to look at; then the answer says what can't be read, and where it lies now.
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
        """Lets go of the file and of its lock, and leaves it for `modelry sync`."""
        os.close(self._descriptor)


def left_in(folder: Path) -> list[Path]:
    """The spools of a folder, the oldest first; none where there is no folder.

    Raises OSError where the folder can't be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.endswith(SUFFIX)]


def keep_files(spool_folder: Path, owner: str, path: str, source: Path) -> Request:
    """Copies a file, or what is in a folder, for a later upload into the folder `path`; answers with its request.

    Raises OSError where the copy can't be made.
    """
    request, folder = _new_upload(spool_folder, owner, path)
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, folder / source.name)
    return request


def keep_content(spool_folder: Path, owner: str, path: str, content: bytes) -> Request:
    """Keeps the content of one file, whose whole path is `path`, for a later upload; see `keep_files`."""
    request, folder = _new_upload(spool_folder, owner, "")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return request


def upload_of(request: Request) -> Upload:
    """What an upload request says."""
    return Upload(**json.loads(request.content))


def drop_files(spool_folder: Path, request: Request) -> None:
    """Deletes the copies that an upload request speaks of; nothing for other requests."""
    if request.method == UPLOAD:
        shutil.rmtree(spool_folder / upload_of(request).folder, ignore_errors=True)


def _new_upload(spool_folder: Path, owner: str, path: str) -> tuple[Request, Path]:
    upload = Upload(owner=owner, path=path, folder=f"{time.time_ns()}-{os.urandom(4).hex()}.files")
    folder = spool_folder / upload.folder
    spool_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    return Request(UPLOAD, json.dumps(asdict(upload)).encode()), folder


def _encode(method: str, content: bytes) -> bytes:
    body = method.encode() + b"\0" + content
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


def _read(descriptor: int, position: int, end: int) -> Request | None:
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
        return Request("", b"", end=stop)
    method, _, content = body.partition(b"\0")
    return Request(method.decode(), content, end=stop)


def _lock(descriptor: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolInUse(f"{path} belongs to a process that is still alive") from None
