"""A file that keeps requests which can't be sent now.

One process at a time writes a file, and only appends to it, so that the file can be read if the process dies: an
incomplete last record is left out. Until the process closes the file it is locked and has `.open` in its name. After
that another process may deliver it: the parent if a forked child wrote it, or `modelry sync`. Whoever takes an open
file, because its process seems to have ended, gives it the name of a closed one. A process that finds that its file was
taken begins another one, so nothing is lost where locks don't work. Folders have mode 0700 and files 0600.

    "MDLRYSP2" u64 (up to which byte all is delivered), then records: u32 length, u32 CRC-32, head, NUL, content

The head is the method, a space and the number of points. The first record names the server and the process that begins
the file, and in a file of what another process logged also that one, as the `writer`: method `server`, content JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from modelry._sdk.spooling import holders, ids, places
from modelry._sdk.spooling.locks import LockedFile, SpoolInUse
from modelry._sdk.spooling.numbering import is_readable
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.values.foreign import Unreadable, json_object_of

SERVER = "server"
SUFFIX = ".spool"
DAMAGED = ".damaged"
_OPEN = ".open"
_HEADER = struct.Struct("<8sQ")
_DELIVERED = struct.Struct("<Q")
_RECORD = struct.Struct("<II")
_MAGIC = b"MDLRYSP2"
_WRITE_BYTES = 1 << 26
_AT_A_TIME = 100
_MOST_DIGITS = 18
_DIGITS_OF_A_MOMENT = 19
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_sync = getattr(os, "fdatasync", os.fsync)


class SpoolUnreadable(OSError):
    """The file is not a spool, or its beginning is damaged."""


class Spool:
    """One open spool. For one thread at a time."""

    def __init__(self, path: Path, file: LockedFile, server: dict[str, str]) -> None:
        self.path = path
        self.server = server
        self._file = file
        _, self._delivered = _HEADER.unpack(os.pread(file.descriptor, _HEADER.size, 0))
        self._end = os.fstat(file.descriptor).st_size
        self._position = self._delivered
        self.requests_left = self.others_left = self.points_left = 0
        self._beaten_at = time.monotonic()
        self._damaged_at: set[int] = set()

    @classmethod
    def create(cls, folder: Path, server: dict[str, str], *, parent: str = "", name: str = "") -> Spool:
        """Begins a new file in the folder, which is made if necessary. Raises OSError if that fails.

        A forked child names the parent that is to deliver the file, see `left_in`. The default of the name begins with
        the time in nanoseconds since 1970, so that the names are in order.
        """
        folder = places.prepared(folder)
        server = {**server, **holders.me()}
        name = name or f"{ids.moment()}-{os.getpid()}-{os.urandom(4).hex()}"
        path = folder / f"{name}{_OPEN}{_suffix(parent)}"
        # Locked before it has its name, so that nobody takes it for a file that was left.
        new = path.with_name(f"{path.name}.{os.urandom(4).hex()}.new")
        file = LockedFile(new, _FLAGS | os.O_CREAT | os.O_EXCL)
        try:
            file.lock(path)
            first = _encode(SERVER, json.dumps(server).encode())
            _write(file.descriptor, _HEADER.pack(_MAGIC, _HEADER.size + len(first)) + first, 0)
            os.rename(new, path)
        except BaseException:
            file.close()
            with suppress(OSError):
                os.unlink(new)
            raise
        return cls(path, file, server)

    @classmethod
    def open(cls, path: Path) -> Spool:
        """Opens a file that another process has closed, or has left when it ended.

        Raises SpoolInUse if another process has it open or may have, SpoolUnreadable if it is not a spool, SpoolUnsafe
        if somebody else could have written it.
        """
        file = LockedFile(path, _FLAGS)
        try:
            places.require_own(file.descriptor, path)
            file.lock(path)
            server, first = _beginning(file.descriptor, path)
            if path != closed(path):
                if holders.may_be_at_work(server, path):
                    raise SpoolInUse(f"{path} is in use by another process")
                path = path.rename(closed(path))
            spool = cls(path, file, server)
        except OSError:
            file.close()
            raise
        spool._count(first)
        return spool

    def before(self) -> Spool:
        """Opens the file for what is moved out of this one: directly before it in the order. It is begun if needed."""
        name, _, parent = self.path_when_closed.name.removesuffix(SUFFIX).partition(".")
        began, _, rest = name.partition("-")
        if not began.isdecimal() or len(began) > _DIGITS_OF_A_MOMENT:
            return Spool.create(self.path.parent, self.server, parent=parent)
        name = f"{int(began) - 1:0{len(began)}}-{rest}"
        for between in ("", _OPEN):
            with suppress(FileNotFoundError):
                return Spool.open(self.path.with_name(f"{name}{between}{_suffix(parent)}"))
        server = {**self.server, "writer": holders.name_of(self.server)}
        return Spool.create(self.path.parent, server, parent=parent, name=name)

    @classmethod
    def peek(cls, path: Path) -> Spool:
        """Opens a file only to look at what waits in it: without a lock, and its name stays. Raises as `open` does."""
        file = LockedFile(path, _FLAGS)
        try:
            places.require_own(file.descriptor, path)
            server, first = _beginning(file.descriptor, path)
            spool = cls(path, file, server)
        except OSError:
            file.close()
            raise
        spool._count(first)
        return spool

    def _count(self, first: int) -> None:
        """Counts what is left. `first` is where the first request begins."""
        # From the first record on, so that damage is found even if an earlier delivery went past it.
        self._position = first
        points = {first: 0}
        while (request := self.next()) is not None:
            points[request.end] = request.points
        if self._delivered not in points:
            # The header is damaged. What is delivered again is not written twice.
            self._delivered = first
        self.requests_left = sum(end > self._delivered for end in points)
        self.others_left = sum(not count for end, count in points.items() if end > self._delivered)
        self.points_left = sum(count for end, count in points.items() if end > self._delivered)
        self._end = self._position
        self._position = self._delivered

    def append(self, requests: Iterable[QueuedRequest], *, held: bool = False) -> None:
        """Adds requests at the end: all of them, or none if it raises OSError.

        `held` means that they are under way already, so that `next` leaves them out. Only for the first requests.
        """
        position = self._end
        written = []
        for request in requests:
            record = _encode(request.method, request.content, request.points)
            position += len(record)
            written.append((request, record, position))
        data = b"".join(record for _, record, _ in written)
        try:
            _write(self._file.descriptor, data, self._end)
            if data:
                # So that another machine can read it, and a full disk of another machine is told here.
                _sync(self._file.descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file.descriptor, self._end)
            raise
        for request, _, end in written:
            request.end = end
        self._end = position
        self.requests_left += len(written)
        self.others_left += sum(not request.points for request, _, _ in written)
        self.points_left += sum(request.points for request, _, _ in written)
        if held:
            self._position = position

    def next(self) -> QueuedRequest | None:
        """The next request that was not read yet, None at the end.

        A damaged record is counted and left out, and so is one whose content is no message of its method.
        """
        found: deque[QueuedRequest] = deque()
        return found[0] if self.next_to(found) else None

    def next_to(self, queue: deque[QueuedRequest]) -> bool:
        """Adds the next request to a queue, see `next`; False at the end."""
        while (request := _read(self._file.descriptor, self._position, self._end)) is not None:
            is_whole = bool(request.method) and is_readable(request)
            if is_whole:
                queue.append(request)
            else:
                self._damaged_at.add(self._position)
            self._position = request.end
            if is_whole:
                return True
        return False

    def copy_rest(self, to: Spool) -> None:
        """Reads what was not read yet, and appends it to another spool. If that raises, it counts as not read."""
        position = self._position
        try:
            while rest := list(itertools.islice(iter(self.next, None), _AT_A_TIME)):
                to.append(rest)
        except BaseException:
            self._position = position
            raise

    def delivered(self, request: QueuedRequest) -> None:
        """Notes that everything up to this request is delivered."""
        self._delivered = max(self._delivered, request.end)
        self.requests_left -= 1
        self.others_left -= not request.points
        self.points_left -= request.points
        with suppress(OSError):  # what is delivered again is not written twice
            os.pwrite(self._file.descriptor, _DELIVERED.pack(self._delivered), len(_MAGIC))

    @property
    def is_damaged(self) -> bool:
        """Whether a record that was read is damaged."""
        return bool(self._damaged_at)

    @property
    def path_when_closed(self) -> Path:
        """Where the file will be once it is closed."""
        return closed(self.path)

    @property
    def is_taken(self) -> bool:
        """Whether another process has taken the file, or somebody has deleted it."""
        try:
            named = os.open(self.path, _FLAGS)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            return not os.path.samestat(os.fstat(named), os.fstat(self._file.descriptor))
        finally:
            os.close(named)

    def beat(self) -> None:
        """Shows processes on other machines, from time to time, that the process of this file is at work."""
        if time.monotonic() - self._beaten_at > holders.BEAT_SECONDS:
            self._beaten_at = time.monotonic()
            with suppress(OSError):
                os.utime(self._file.descriptor)

    def remove(self) -> str:
        """Deletes the file, after everything in it was read and delivered. Returns an empty string.

        A damaged file is renamed and kept; the string then says what can't be read, and the new path.
        """
        found = []
        if self._damaged_at:
            count = len(self._damaged_at)
            found.append(f"{count} record{'s' if count > 1 else ''}")
        if tail := os.fstat(self._file.descriptor).st_size - self._position:
            found.append(f"the last {tail} bytes")
        damage = ""
        if found:
            kept = self.path.rename(self.path.with_suffix(DAMAGED))
            damage = f"damaged, {' and '.join(found)} could not be read and delivered; the file is now {kept}"
        self.path.unlink(missing_ok=True)
        self.let_go()
        return damage

    def discard(self) -> None:
        """Deletes the file if that is possible, whatever is in it, and closes it."""
        with suppress(OSError):
            self.path.unlink()
        self.let_go()

    def close(self) -> None:
        """Closes the file, which releases its lock, and keeps it for a later delivery. Nothing if it is closed."""
        with suppress(OSError):
            if self._file.descriptor >= 0 and not self.is_taken:
                self.path = self.path.rename(closed(self.path))
        self.let_go()

    def let_go(self) -> None:
        """Closes the file as it is, if it is open."""
        self._file.close()


def left_in(folder: Path, *, parent: str = "") -> list[Path]:
    """The spools in a folder, the oldest first. With `parent` only those of its forked children.

    Empty if there is no such folder. Raises OSError if it can't be read, or if somebody else could write to it.
    """
    folder = places.own(folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.endswith(_suffix(parent))]


def is_open(path: Path) -> bool:
    """Whether a spool has the name of one that its process has not closed."""
    return f"{_OPEN}." in path.name


def is_being_written(path: Path) -> bool:
    """Whether the process that began a spool still writes to it: one that is open and belongs to a running process."""
    return is_open(path) and ids.is_running(_process_of(path))


def writer_of(path: Path) -> str:
    """Names the process that wrote a spool, also one that is in use. By its number only, if it can't be read."""
    try:
        descriptor = os.open(path if path.exists() else closed(path), _FLAGS)
        try:
            first = _read(descriptor, _HEADER.size, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
        return holders.name_of(_server_of(first.content if first else b"", path))
    except OSError:
        return _process_of(path)


def _process_of(path: Path) -> str:
    """The number of the process that wrote a spool, as its name has it. Of a file of another name that name."""
    _, _, rest = path.name.partition("-")
    return rest.partition("-")[0] or path.name


def _suffix(parent: str) -> str:
    return f".{parent}{SUFFIX}" if parent else SUFFIX


def closed(path: Path) -> Path:
    """The name that a spool gets when its process closes it, or another process takes it."""
    return path.with_name(path.name.replace(f"{_OPEN}.", ".", 1))


def _beginning(descriptor: int, path: Path) -> tuple[dict[str, str], int]:
    """The server and the process that a spool names, and where its first request begins. Raises SpoolUnreadable."""
    head = os.pread(descriptor, _HEADER.size, 0)
    found = _read(descriptor, _HEADER.size, os.fstat(descriptor).st_size)
    if len(head) < _HEADER.size or head[:8] != _MAGIC or found is None or found.method != SERVER:
        raise SpoolUnreadable(f"{path} is not a spool, or its beginning is damaged")
    return _server_of(found.content, path), found.end


def _server_of(content: bytes, path: Path) -> dict[str, str]:
    try:
        server = json_object_of(content)
        return {"address": str(server["address"]), **{str(key): str(value) for key, value in server.items()}}
    except (Unreadable, KeyError):
        raise SpoolUnreadable(f"{path} does not name its server, so it can't be delivered") from None


def _encode(method: str, content: bytes, points: int = 0) -> bytes:
    body = f"{method} {points}".encode() + b"\0" + content
    return _RECORD.pack(len(body), zlib.crc32(body)) + body


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Writes all of it: the system may write a part only, such as what still fits on a disk."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done : done + _WRITE_BYTES], position + done)


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
    head, _, content = body.partition(b"\0")
    method, _, points = head.decode(errors="replace").partition(" ")
    is_number = points.isdecimal() and len(points) <= _MOST_DIGITS
    return QueuedRequest(method, content, points=int(points) if is_number else 0, end=stop)
