"""Downloads into a folder: to temporary names first, renamed when the content is verified."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelry._sdk.files import owners, paths
from modelry._sdk.files.transfer import PIECE_BYTES, Incoming, Meter, Progress, read, repeated
from modelry._sdk.transport.connection import Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.api.artifacts.v1 import rpcs
from modelry.errors import DataLoss, DigestMismatch, FailedPrecondition, Unavailable

_SHA256 = re.compile("[0-9a-f]{64}")
_NEW_FILE = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Destination:
    """A folder into which files are written. Symbolic links below it are never followed.

    A file gets its name when it is complete, and replaces an earlier file of that name.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._folders = {""}
        self._written: set[tuple[int, int]] = set()

    def place(self, path: str) -> tuple[str, str]:
        """The local folder of a path, and the name of the file in it; makes the folder.

        Raises FailedPrecondition if a symbolic link or a file stands where a folder is needed.
        """
        folder, _, name = paths.checked(path).rpartition("/")
        if folder not in self._folders:
            self._make(folder)
        return os.path.join(self.root, folder), name

    def keep(self, part: str, written: tuple[int, int], path: str) -> None:
        """Gives a finished file its name; `written` is its identity.

        Raises FailedPrecondition if the name collides with another file of the download, as on a disk that does not
        distinguish upper and lower case.
        """
        folder, name = self.place(path)
        target = os.path.join(folder, name)
        try:
            if _identity(os.lstat(target)) in self._written:
                raise FailedPrecondition(
                    f"{path!r} collides with another downloaded file: this file system does not distinguish upper "
                    "and lower case; choose a destination that does",
                    reason="NAME_COLLISION",
                    metadata={"path": path},
                )
        except FileNotFoundError:
            pass
        try:
            os.replace(part, target)
        except FileNotFoundError:
            # Another process that downloads the same content to the same folder was faster.
            if _identity(os.lstat(target)) != written:
                raise
        self._written.add(written)

    def _make(self, folder: str) -> None:
        above, _, _ = folder.rpartition("/")
        if above not in self._folders:
            self._make(above)
        made = os.path.join(self.root, folder)
        if os.path.islink(made) or (os.path.lexists(made) and not os.path.isdir(made)):
            raise FailedPrecondition(
                f"{made} is a symbolic link or a file, but the download needs a folder there; remove it first",
                reason="DESTINATION_REFUSED",
                metadata={"local_path": made},
            )
        os.makedirs(made, exist_ok=True)
        self._folders.add(folder)


def download(
    connection: Connection,
    owner: str,
    artifact: artifacts.Artifact,
    destination: Path,
    progress: Progress | None,
) -> Path:
    """Downloads a file, or the content of a folder, into `destination`. Returns the new path, or `destination`."""
    target = Destination(destination)
    meter = Meter(progress, artifact.size_bytes)
    if artifact.kind == artifacts.ARTIFACT_KIND_FILE:
        name = paths.checked(artifact.path).rpartition("/")[2]
        _whole_file(connection, owner, artifact, target, name, meter)
        return destination / name
    _folder(connection, owner, artifact, target, meter)
    return destination


def _folder(
    connection: Connection,
    owner: str,
    folder: artifacts.Artifact,
    target: Destination,
    meter: Meter,
) -> None:
    skipped = len(folder.path) + 1 if folder.path else 0
    done: set[str] = set()
    try:
        expected = {"size_bytes": folder.size_bytes, "file_count": folder.file_count}
        for header, pieces in read(connection, owner, folder.path, **expected):
            _new_file(header, pieces, target, header.path[skipped:], meter)
            done.add(header.path)
    except Unavailable:
        for artifact in repeated(lambda: _listed(connection, owner, folder.path)):
            if artifact.path not in done:
                _whole_file(connection, owner, artifact, target, paths.checked(artifact.path)[skipped:], meter)


def _new_file(
    header: artifacts.Artifact, pieces: Iterator[bytes], target: Destination, path: str, meter: Meter
) -> None:
    folder, _ = target.place(path)
    part = os.path.join(folder, f".modelry-{secrets.token_hex(8)}.part")
    incoming = Incoming(header)
    before = meter.done
    kept = False
    try:
        with _opened(part, os.O_EXCL | os.O_WRONLY) as file:
            for piece in pieces:
                incoming.add(piece)
                _write(file, piece)
                meter.add(len(piece))
            incoming.verify()
            written = _identity(os.fstat(file))
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
) -> None:
    """Downloads one file. Resumes an earlier attempt that broke off, also one of another process."""
    if not _SHA256.fullmatch(artifact.sha256):
        raise DataLoss(
            f"the SHA-256 of {path!r} that the server sent, {artifact.sha256[:200]!a}, is not 64 hexadecimal digits",
            reason="STREAM_MALFORMED",
            metadata={"path": path},
        )
    folder, _ = target.place(path)
    part = os.path.join(folder, f".modelry-{artifact.sha256[:32]}.part")
    try:
        with _opened(part, os.O_RDWR) as file:
            begun = os.fstat(file).st_size > 0
            before = meter.done
            try:
                _fill(connection, owner, artifact, file, meter)
            except DigestMismatch:
                if not begun:
                    raise
                # The part that an earlier attempt left may be damaged: start over.
                os.ftruncate(file, 0)
                meter.done = before
                _fill(connection, owner, artifact, file, meter)
            written = _identity(os.fstat(file))
        target.keep(part, written, path)
    except (DigestMismatch, FailedPrecondition):
        os.unlink(part)
        raise


def _fill(connection: Connection, owner: str, artifact: artifacts.Artifact, file: int, meter: Meter) -> None:
    """Completes the content of a file and verifies all of it, including the part that was there before."""
    incoming = Incoming(artifact)
    os.lseek(file, 0, os.SEEK_SET)
    while piece := os.read(file, PIECE_BYTES):
        incoming.add(piece)
    meter.add(incoming.received)

    def rest() -> None:
        begin, size = incoming.received, artifact.size_bytes - incoming.received
        for header, pieces in read(connection, owner, artifact.path, offset=begin, size_bytes=size):
            if header.sha256 != artifact.sha256:
                raise incoming.mismatch("other content than before", header.sha256)
            for piece in pieces:
                incoming.add(piece)
                _write(file, piece)
                meter.add(len(piece))

    if incoming.received < artifact.size_bytes:
        repeated(rest)
    incoming.verify()


def _listed(connection: Connection, owner: str, path: str) -> list[artifacts.Artifact]:
    found: list[artifacts.Artifact] = []
    token = ""
    while True:
        request = artifacts.ListArtifactsRequest(
            owner=owners.message_of(owner), path=path, recursive=True, page_size=1000, page_token=token
        )
        page = connection.call(rpcs.LIST_ARTIFACTS, request)
        found.extend(page.artifacts)
        token = page.next_page_token
        if not token:
            return found


@contextmanager
def _opened(part: str, flags: int) -> Iterator[int]:
    file = os.open(part, _NEW_FILE | flags, 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _write(file: int, piece: bytes) -> None:
    written = os.write(file, piece)
    while written < len(piece):
        written += os.write(file, piece[written:])


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
