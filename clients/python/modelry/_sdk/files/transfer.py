"""Uploads and downloads: streams of files, verified by SHA-256.

An upload is one stream, whatever the number and size of its files, so that all of them become visible together. It
holds one piece of one file in memory. An upload that breaks off is sent again from the beginning; a download resumes.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, NamedTuple, TypeVar

from modelry._sdk.files import owners, paths
from modelry._sdk.files.local_files import LocalFile
from modelry._sdk.transport import process, retries
from modelry._sdk.transport.connection import STREAM_TIMEOUT_SECONDS, Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.api.artifacts.v1 import rpcs
from modelry.errors import DataLoss, DigestMismatch, InvalidArgument, LocalFileChanged, ModelryError

Progress = Callable[[int, int], None]
"""Called with the number of bytes that are done and of all bytes, by the thread that does the work."""

PIECE_BYTES = 2**19
"""How many bytes a message carries. The contract allows 1 MiB; 512 KiB was measured to need the least CPU time."""

_COPIES = 3
_PAUSES_SECONDS = (0.1, 0.5, 2.0)
_SLOWEST_BYTES_PER_SECOND = 2**20
_SLOWEST_FILES_PER_SECOND = 20
_LONGEST_TRANSFER_SECONDS = 100 * 86400.0

_SHA256_OF_NOTHING = hashlib.sha256().hexdigest()

T = TypeVar("T")


class Meter:
    """Counts bytes and reports them."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self.done = 0
        self.total = total

    def add(self, count: int) -> None:
        """Reports that so many more bytes are done."""
        self.done += count
        if self._progress is not None:
            self._progress(self.done, self.total)


def repeated(action: Callable[[], T]) -> T:
    """Runs an action that may be repeated: up to four times while the server can't be reached or takes no more now."""
    process.current().require_grpc()
    for pause in _PAUSES_SECONDS:
        try:
            return action()
        except ModelryError as error:
            if not retries.is_brief(error):
                raise
        time.sleep(pause)
    return action()


def timeout_for(size_bytes: int, file_count: int = 1) -> float:
    """The deadline of a download in seconds: 10 minutes, and what it takes at 1 MiB and 20 files a second.

    It is at most 100 days, whatever a server announces.
    """
    needed = size_bytes / _SLOWEST_BYTES_PER_SECOND + file_count / _SLOWEST_FILES_PER_SECOND
    return min(STREAM_TIMEOUT_SECONDS + needed, _LONGEST_TRANSFER_SECONDS)


# --- up ------------------------------------------------------------------------------------------------------------


class Replaced(NamedTuple):
    """What an upload replaces: all that is in a folder, or of that only what was written together with some files."""

    folder: str
    together_with: tuple[str, ...] = ()


def replaced(path: str, replace: bool | Collection[str]) -> Replaced | None:
    """What an upload to a folder replaces: all, nothing, or what was written together with files of these names."""
    if not replace:
        return None
    return Replaced(path, () if replace is True else tuple(paths.joined(path, name) for name in replace))


def upload_files(
    connection: Connection,
    owner: str,
    files: list[LocalFile],
    progress: Progress | None,
    *,
    replaces: Replaced | None = None,
) -> None:
    """Writes files in one stream: all of them become visible together when it ends, and none if it breaks off.

    Of each file as many bytes are sent as it had when it was found, so a file that only grows is sent as it was then.
    While the server can't be reached or takes no more, the stream is sent again from the beginning, up to four times in
    all; `progress` then starts at 0 again. There is no deadline while the server takes content. What it
    `replaces` goes in the same moment. Raises LocalFileChanged if content that was there changes during the upload.
    """
    if not files:
        return
    size = sum(file.size_bytes for file in files)
    meter = Meter(progress, size)

    def send() -> None:
        meter.done = 0
        steps = (step for file in files for step in _steps(file, meter))
        write(connection, owner, steps, replaces=replaces)

    repeated(send)


def upload_content(connection: Connection, owner: str, path: str, content: bytes, content_type: str) -> None:
    """Writes one file from memory. It is sent again as `upload_files` does."""
    upload_stream(connection, owner, path, io.BytesIO(content), content_type)


def upload_stream(connection: Connection, owner: str, path: str, source: BinaryIO, content_type: str) -> None:
    """Writes one file from an open file. It is sent again as `upload_files` does, from its beginning.

    Raises LocalFileChanged if it gets shorter meanwhile.
    """
    size = source.seek(0, os.SEEK_END)
    header = artifacts.ArtifactHeader(path=paths.checked(path), size_bytes=size, content_type=content_type)

    def steps() -> Iterator[artifacts.WriteArtifactsRequest]:
        source.seek(0)
        digest, left = hashlib.sha256(), size
        yield artifacts.WriteArtifactsRequest(header=header)
        while left:
            piece = source.read(min(PIECE_BYTES, left))
            if not piece:
                raise _changed(path)
            digest.update(piece)
            left -= len(piece)
            yield artifacts.WriteArtifactsRequest(content=piece)
        yield artifacts.WriteArtifactsRequest(sha256=digest.hexdigest())

    repeated(lambda: write(connection, owner, steps()))


def write(
    connection: Connection,
    owner: str,
    steps: Iterable[artifacts.WriteArtifactsRequest],
    *,
    replaces: Replaced | None = None,
) -> artifacts.WriteArtifactsResponse:
    """Sends one stream: the owner, the steps of the files, and how many files were sent.

    Without `replaces` they replace files of the same paths only.

    An error that is raised while the files are read ends the stream and is raised as it is.
    """
    failures: list[Exception] = []

    folder, files = replaces or ("", ())
    first = artifacts.WriteArtifactsRequest(owner=owners.message_of(owner), replaced_folder=folder, replaced_with=files)

    def guarded() -> Iterator[artifacts.WriteArtifactsRequest]:
        yield first
        count = 0
        try:
            for step in steps:
                count += step.HasField("header")
                yield step
        except (OSError, ModelryError) as failure:
            failures.append(failure)
            raise
        yield artifacts.WriteArtifactsRequest(sent_file_count=count)

    try:
        return connection.write(rpcs.WRITE_ARTIFACTS, guarded())
    finally:
        if failures:
            raise failures[0]


def read_through(file: LocalFile) -> None:
    """Reads a file as an upload does, and raises what an upload would."""
    for _ in _steps(file, Meter(None, 0)):
        pass


def copy(source: str, target: str) -> None:
    """Copies a file as it is at one moment; of one that only grows, its beginning.

    Raises OSError, and LocalFileChanged if content that was there changes again and again meanwhile.
    """
    for _ in range(_COPIES):
        before = os.stat(source)
        shutil.copyfile(source, target)
        with open(source, "rb", buffering=0) as now, open(target, "rb", buffering=0) as copied:
            size = os.fstat(copied.fileno()).st_size
            if not _was_written(now, before) or _digest(now, size) == _digest(copied, size):
                return
    os.unlink(target)
    raise _changed(source)


def _steps(file: LocalFile, meter: Meter) -> Iterator[artifacts.WriteArtifactsRequest]:
    if not file.source:
        yield artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path=file.path))
        yield artifacts.WriteArtifactsRequest(sha256=_SHA256_OF_NOTHING)
        return
    with open(file.source, "rb", buffering=0) as source:
        before = os.fstat(source.fileno())
        # The files of /proc and the like say that they are empty, and are not.
        with _naming(file.source):
            content = source.read(file.size_bytes or PIECE_BYTES) if file.size_bytes <= PIECE_BYTES else b""
        size = len(content) or min(file.size_bytes, before.st_size)
        yield artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path=file.path, size_bytes=size))
        digest, left = hashlib.sha256(), size
        while left:
            with _naming(file.source):
                piece = content or source.read(min(PIECE_BYTES, left))
            if not piece:
                raise _changed(file.source)
            digest.update(piece)
            yield artifacts.WriteArtifactsRequest(content=piece)
            left -= len(piece)
            meter.add(len(piece))
        # What was read at once is of one moment. Of a file that has only grown, what was sent is still there.
        with _naming(file.source):
            is_other = not content and _was_written(source, before) and _digest(source, size) != digest.hexdigest()
        if is_other:
            raise _changed(file.source)
        yield artifacts.WriteArtifactsRequest(sha256=digest.hexdigest())


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Names the file in an error while an open file is read, as an error while it is opened does."""
    try:
        yield
    except OSError as problem:
        problem.filename = problem.filename or source
        raise


def _was_written(source: io.FileIO, before: os.stat_result) -> bool:
    """Whether somebody may have written to a file since."""
    now = os.fstat(source.fileno())
    return (now.st_mtime_ns, now.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns)


def _digest(source: io.FileIO, size: int) -> str:
    """The SHA-256 of the first bytes of a file."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(size, PIECE_BYTES)))
    source.seek(0)
    while size and (count := source.readinto(buffer[:size])):
        digest.update(buffer[:count])
        size -= count
    return digest.hexdigest()


# --- down ----------------------------------------------------------------------------------------------------------


class Incoming:
    """A file that is being downloaded: its content is compared with the size and SHA-256 of its header."""

    def __init__(self, header: artifacts.Artifact) -> None:
        self.path = header.path
        self.size_bytes = header.size_bytes
        self.sha256 = header.sha256
        self._digest = hashlib.sha256()
        self.received = 0

    def add(self, piece: bytes) -> None:
        """Takes the next piece. Raises DigestMismatch if the content is longer than announced."""
        self.received += len(piece)
        if self.received > self.size_bytes:
            raise self.mismatch(f"more than {self.size_bytes} bytes", "size")
        self._digest.update(piece)

    def verify(self) -> None:
        """Raises DigestMismatch unless the whole content has the announced size and SHA-256."""
        if self.received != self.size_bytes:
            raise self.mismatch(f"{self.received} of {self.size_bytes} bytes", "size")
        actual = self._digest.hexdigest()
        if actual != self.sha256:
            raise self.mismatch(f"content with the SHA-256 {actual} in place of {self.sha256}", actual)

    def mismatch(self, what: str, actual: str) -> DigestMismatch:
        """The error that says what the server sent instead."""
        return DigestMismatch(
            f"{self.path}: the server sent {what}; the file was not kept",
            metadata={"path": self.path, "expected": self.sha256, "actual": actual},
        )


def read(
    connection: Connection,
    owner: str,
    path: str,
    *,
    offset: int = 0,
    size_bytes: int = 0,
    file_count: int = 1,
) -> Iterator[tuple[artifacts.Artifact, Iterator[bytes]]]:
    """Reads the files at or below a path: the header of each file, and its content in pieces.

    `size_bytes` and `file_count` say how much is expected; the deadline grows with them. Each path that the server
    sends is checked, and no piece is empty. Take all pieces of a file before you ask for the next file.
    """
    request = artifacts.ReadArtifactsRequest(owner=owners.to_read(owner, path), path=path, offset_bytes=offset)
    steps = connection.read(rpcs.READ_ARTIFACTS, request, timeout=timeout_for(size_bytes, file_count))
    headers: list[artifacts.Artifact] = []

    def pieces() -> Iterator[bytes]:
        for step in steps:
            if step.WhichOneof("step") == "content":
                content = step.content  # a copy of it, each time
                if not content:  # without an end of these, the stream would never look as if it stood still
                    raise _malformed("a piece of content without a byte")
                yield content
            else:
                headers.append(step.artifact)
                return

    for _ in pieces():
        raise _malformed("content before the header of a file")
    while headers:
        header = headers.pop()
        paths.checked(header.path)
        if path and header.path != path and not header.path.startswith(f"{path}/"):
            raise _malformed(f"{header.path!r}, which is not at or below {path!r}", path=header.path)
        yield header, pieces()
        if headers and header.path == path:
            raise _malformed(f"{headers[0].path!r} after the file {path!r}", path=path)


def read_range(connection: Connection, owner: str, path: str, start: int, end: int, sha256: str = "") -> bytes:
    """The bytes of a file from `start` up to `end`; fewer if it ends before. The stream is left when they are there."""
    request = artifacts.ReadArtifactsRequest(
        owner=owners.to_read(owner, path), path=paths.checked(path), offset_bytes=start
    )
    steps: Any = connection.read(rpcs.READ_ARTIFACTS, request, timeout=timeout_for(end - start))
    taken, left = [], end - start
    with closing(steps):
        for position, step in enumerate(steps):
            is_content = step.WhichOneof("step") == "content"
            if is_content != (position > 0):
                raise _malformed("a second header for a range of one file" if position else "no header of a file")
            if not is_content:
                _require_file(step.artifact, path, sha256)
                left = min(left, max(0, step.artifact.size_bytes - start))
            else:
                taken.append(step.content[:left])
                left -= len(taken[-1])
            if not left:
                return b"".join(taken)
    raise _malformed(f"{left} bytes too few of the range from {start} to {end} of {path!r}", path=path)


def _require_file(header: artifacts.Artifact, path: str, sha256: str) -> None:
    if header.path != path:
        raise InvalidArgument(
            f"{path!r} is a folder; read one of its files", reason="ARTIFACT_IS_FOLDER", metadata={"path": path}
        )
    if sha256 and header.sha256 != sha256:
        raise LocalFileChanged(
            f"{path!r} was replaced while it was read; open it again",
            metadata={"path": path, "expected": sha256, "actual": header.sha256},
        )


def _malformed(what: str, **metadata: str) -> DataLoss:
    return DataLoss(f"the server sent {what}", reason="STREAM_MALFORMED", metadata=metadata)


def _changed(source: str) -> LocalFileChanged:
    return LocalFileChanged(
        f"{source} changed during the upload, so nothing was written; try again when it is complete",
        metadata={"local_path": source},
    )
