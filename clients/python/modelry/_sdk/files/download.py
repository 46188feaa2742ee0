"""Downloads into a folder: to temporary names first, renamed when the content is verified."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from modelry._sdk.files import owners, paths
from modelry._sdk.files.destination import Destination, identity, writing
from modelry._sdk.files.listing import Listing, listed, require_same
from modelry._sdk.files.local_files import EMPTY_FOLDER
from modelry._sdk.files.transfer import PIECE_BYTES, Incoming, Meter, Progress, read, repeated
from modelry._sdk.transport import retries
from modelry._sdk.transport.answers import malformed
from modelry._sdk.transport.connection import Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.api.artifacts.v1 import rpcs
from modelry.errors import ArtifactNotFound, DataLoss, DigestMismatch, FailedPrecondition, ModelryError

_ATTEMPTS = 3
_SHA256 = re.compile("[0-9a-f]{64}")
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW_FILE, _OLD_FILE = _FILE | os.O_CREAT, _FILE | getattr(os, "O_NONBLOCK", 0)


def download(
    connection: Connection,
    owner: str,
    artifact: artifacts.Artifact,
    destination: Path,
    progress: Progress | None,
    *,
    registered: Listing | None = None,
) -> Path:
    """Downloads a file, or the content of a folder, into `destination`. Returns the new path, or `destination`.

    `registered` are the files of a version, of which nothing else is taken. Raises DataLoss for a folder that is short
    of files, and FailedPrecondition for what can't be written.
    """
    if artifact.size_bytes < 0 or artifact.file_count < 0:
        raise malformed(f"a size or a number of files below 0 for {artifact.path!r}")
    with writing():
        target = Destination(destination)
        meter = Meter(progress, artifact.size_bytes)
        if artifact.kind == artifacts.ARTIFACT_KIND_FILE:
            if registered is not None:
                require_same(registered, [artifact])
            destination = _whole_file(connection, owner, artifact, target, _name(artifact.path), meter)
        else:
            _Folder(connection, owner, artifact, target, meter).get(registered)
        target.tell()
        return destination


class _Folder:
    """A folder that is downloaded: all of its files in one stream, and one by one those that did not come."""

    def __init__(
        self, connection: Connection, owner: str, folder: artifacts.Artifact, target: Destination, meter: Meter
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._folder = folder
        self._target = target
        self._meter = meter
        self._skipped = len(folder.path) + 1 if folder.path else 0
        self._done: dict[str, artifacts.Artifact] = {}
        self._has_more = False
        """Whether the stream held more than the folder had when it began."""

    def get(self, registered: Listing | None) -> None:
        """Gets all files: those that are `registered`, or those that the folder had at some moment of the download."""
        try:
            self._stream(registered)
        except ModelryError as error:
            if not retries.is_brief(error):
                raise
        if registered is not None:
            self._complete(registered)
            return
        for _ in range(_ATTEMPTS):
            if self._is_whole():
                return
            # The stream broke off, or files were written or deleted meanwhile.
            self._folder = repeated(lambda: got(self._connection, self._owner, self._folder.path))
            with suppress(ArtifactNotFound):  # deleted since it was listed
                self._complete(repeated(self._listed))
                self._has_more = False
        if not self._is_whole():
            raise DataLoss(
                f"the server has announced {self._folder.file_count} files with {self._folder.size_bytes} bytes at "
                f"{self._folder.path!r}, and has {len(self._done)}; the download is not complete",
                reason="FOLDER_INCOMPLETE",
                metadata={"path": self._folder.path},
            )

    def _stream(self, registered: Listing | None) -> None:
        expected = {"size_bytes": self._folder.size_bytes, "file_count": self._folder.file_count}
        for header, pieces in read(self._connection, self._owner, self._folder.path, **expected):
            if len(self._done) == self._folder.file_count:  # of a folder that was replaced, or of a bad server
                self._has_more = True
                return
            if header.path in self._done:
                raise malformed(f"{header.path!r} twice")
            if registered is not None:
                require_same(registered, [header])
            if self._is_empty_folder(header):
                for _ in pieces:
                    raise malformed(f"content of {header.path!r}, which is empty")
            else:
                _new_file(header, pieces, self._target, self._below(header.path), self._meter)
            self._done[header.path] = header

    def _listed(self) -> Listing:
        return listed(self._connection, self._owner, self._folder.path, self._folder.file_count)

    def _complete(self, files: Listing) -> None:
        for path in self._done.keys() - files.keys():  # of a model that was replaced meanwhile
            self._target.remove(self._below(path))
        for path, file in files.items():
            known = self._done.get(path)
            if (known is None or known.sha256 != file.sha256) and not self._is_empty_folder(file):
                _whole_file(self._connection, self._owner, file, self._target, self._below(path), self._meter)
        self._done = dict(files)

    def _is_empty_folder(self, file: artifacts.Artifact) -> bool:
        """Whether a file stands for an empty folder, which is made."""
        if file.size_bytes or _name(file.path) != EMPTY_FOLDER:
            return False
        self._target.place(self._below(file.path))
        return True

    def _is_whole(self) -> bool:
        size = sum(file.size_bytes for file in self._done.values())
        return not self._has_more and (len(self._done), size) == (self._folder.file_count, self._folder.size_bytes)

    def _below(self, path: str) -> str:
        inside = path[self._skipped :]
        if not inside or (self._folder.path and not path.startswith(f"{self._folder.path}/")):
            raise malformed(f"{path!r} as a file in the folder {self._folder.path!r}")
        return inside


def got(connection: Connection, owner: str, path: str) -> artifacts.Artifact:
    """The metadata of a file or folder."""
    request = artifacts.GetArtifactRequest(owner=owners.to_read(owner, path), path=path)
    artifact = connection.call(rpcs.GET_ARTIFACT, request).artifact
    if artifact.path != path:
        raise malformed(f"{artifact.path!r} where {path!r} was asked for")
    return artifact


def _name(path: str) -> str:
    return paths.checked(path).rpartition("/")[2]


def _new_file(
    header: artifacts.Artifact, pieces: Iterator[bytes], target: Destination, path: str, meter: Meter
) -> None:
    folder, _ = target.place(path)
    part = _new_part(folder)
    incoming = Incoming(header)
    before = meter.done
    kept = False
    try:
        with _closed(part, os.open(part, _NEW_FILE | os.O_EXCL | os.O_WRONLY, 0o666)) as file:
            for piece in pieces:
                incoming.add(piece)
                file.write(piece)
                meter.add(len(piece))
            incoming.verify()
            written = identity(os.fstat(file.number))
        target.keep(part, written, path)
        kept = True
    finally:
        if not kept:
            meter.done = before
            with suppress(FileNotFoundError):
                os.unlink(part)


def _whole_file(
    connection: Connection,
    owner: str,
    artifact: artifacts.Artifact,
    target: Destination,
    path: str,
    meter: Meter,
) -> Path:
    """Downloads one file, and returns where it is.

    Resumes an earlier attempt of this user that broke off, also one of another process.
    """
    if not _SHA256.fullmatch(artifact.sha256):
        raise DataLoss(
            f"the SHA-256 of {path!r} that the server sent, {artifact.sha256[:200]!a}, is not 64 hexadecimal digits",
            reason="STREAM_MALFORMED",
            metadata={"path": path},
        )
    folder, _ = target.place(path)
    part, number, can_resume = _begun(folder, artifact.sha256)
    try:
        with _closed(part, number) as file:
            begun = os.fstat(number).st_size > 0
            before = meter.done
            try:
                _fill(connection, owner, artifact, file, meter)
            except DigestMismatch:
                if not begun:
                    raise
                # The part that an earlier attempt left may be damaged: start over.
                os.ftruncate(file.number, 0)
                meter.done = before
                _fill(connection, owner, artifact, file, meter)
            written = identity(os.fstat(file.number))
        return target.keep(part, written, path)
    except BaseException as problem:
        if not can_resume or isinstance(problem, DigestMismatch | FailedPrecondition):
            with suppress(FileNotFoundError):
                os.unlink(part)
        raise


def _begun(folder: str, sha256: str) -> tuple[str, int, bool]:
    """The path of the file for a download, open, and whether a later attempt can resume it.

    It is the one that an earlier attempt has begun. If that is not this user's alone, such as another user's file in a
    shared folder, or a pipe, it stays where it is, and the download begins in a file with another name.
    """
    part = os.path.join(folder, f".modelry-{sha256[:32]}.part")
    with suppress(FileExistsError):
        return part, os.open(part, _NEW_FILE | os.O_EXCL | os.O_RDWR, 0o666), True
    with suppress(OSError):
        file = os.open(part, _OLD_FILE | os.O_RDWR)
        if _is_own(os.fstat(file)):
            return part, file, True
        os.close(file)
    part = _new_part(folder)
    return part, os.open(part, _NEW_FILE | os.O_EXCL | os.O_RDWR, 0o666), False


def _is_own(status: os.stat_result) -> bool:
    """Whether an open file is a regular one of this user, which has no other name."""
    is_mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and is_mine


def _new_part(folder: str) -> str:
    return os.path.join(folder, f".modelry-{secrets.token_hex(8)}.part")


def _fill(connection: Connection, owner: str, artifact: artifacts.Artifact, file: _Part, meter: Meter) -> None:
    """Completes the content of a file and verifies all of it, including the part that was there before."""
    incoming = Incoming(artifact)
    os.lseek(file.number, 0, os.SEEK_SET)
    while piece := os.read(file.number, PIECE_BYTES):
        incoming.add(piece)
    meter.add(incoming.received)

    def rest() -> None:
        begin, size = incoming.received, artifact.size_bytes - incoming.received
        for header, pieces in read(connection, owner, artifact.path, offset=begin, size_bytes=size):
            if header.sha256 != artifact.sha256:
                raise incoming.mismatch("other content than before", header.sha256)
            for piece in pieces:
                incoming.add(piece)
                file.write(piece)
                meter.add(len(piece))

    if incoming.received < artifact.size_bytes:
        repeated(rest)
    incoming.verify()


class _Part(NamedTuple):
    """An open file that becomes a file of the download: its descriptor and its temporary path."""

    number: int
    path: str

    def write(self, piece: bytes) -> None:
        """Writes all of it. Raises OSError with the path."""
        try:
            written = os.write(self.number, piece)
            while written < len(piece):
                written += os.write(self.number, piece[written:])
        except OSError as problem:
            problem.filename = self.path
            raise


@contextmanager
def _closed(path: str, number: int) -> Iterator[_Part]:
    try:
        yield _Part(number, path)
    finally:
        os.close(number)
