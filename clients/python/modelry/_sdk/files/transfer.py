"""Artifacts up and down: streams of files, verified by SHA-256, resumed where they broke off."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from modelry._sdk.files import paths
from modelry._sdk.files.local_files import LocalFile, groups
from modelry._sdk.transport.connection import STREAM_TIMEOUT_SECONDS, Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.errors import DataLoss, DigestMismatch, FailedPrecondition, Unavailable

Progress = Callable[[int, int], None]
"""Told, from whichever thread does the work, how many bytes are done and how many there are in all."""

PIECE_BYTES = 2**19
"""How many bytes a message carries. The contract allows 1 MiB; half of it costs the least here (2.1 s of CPU a GiB)."""

_SERVICE = "modelry.api.artifacts.v1.ArtifactService"
_PAUSES_SECONDS = (0.1, 0.5, 2.0)
_BYTES_PER_SECOND_AT_LEAST = 2**20

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
    """Does something that may be done again, up to four times while the server is out of reach."""
    for pause in _PAUSES_SECONDS:
        try:
            return action()
        except Unavailable:
            time.sleep(pause)
    return action()


def timeout_for(size_bytes: int) -> float:
    """The deadline of a transfer in seconds: enough for 1 MiB a second."""
    return STREAM_TIMEOUT_SECONDS + size_bytes / _BYTES_PER_SECOND_AT_LEAST


# --- up ------------------------------------------------------------------------------------------------------------


def upload_files(connection: Connection, owner: str, files: list[LocalFile], progress: Progress | None) -> None:
    """Writes files in groups; each group is visible at once or not at all.

    Raises FailedPrecondition where a file changes while it is uploaded.
    """
    meter = Meter(progress, sum(file.size_bytes for file in files))
    for group in groups(files):
        before = meter.done

        def send(group: list[LocalFile] = group, before: int = before) -> None:
            meter.done = before
            size = sum(file.size_bytes for file in group)
            write(connection, owner, (step for file in group for step in _steps(file, meter)), size)

        repeated(send)


def upload_content(connection: Connection, owner: str, path: str, content: bytes, content_type: str) -> None:
    """Writes one file from memory."""
    header = artifacts.ArtifactHeader(
        path=paths.checked(path),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content_type=content_type,
    )

    def steps() -> Iterator[artifacts.WriteArtifactsRequest]:
        yield artifacts.WriteArtifactsRequest(header=header)
        for start in range(0, len(content), PIECE_BYTES):
            yield artifacts.WriteArtifactsRequest(content=content[start : start + PIECE_BYTES])

    repeated(lambda: write(connection, owner, steps(), len(content)))


def write(
    connection: Connection, owner: str, steps: Iterable[artifacts.WriteArtifactsRequest], size_bytes: int
) -> artifacts.WriteArtifactsResponse:
    """Sends one stream of files; what goes wrong while they are read is raised as it is."""
    failures: list[Exception] = []

    def guarded() -> Iterator[artifacts.WriteArtifactsRequest]:
        yield artifacts.WriteArtifactsRequest(owner=owner)
        try:
            yield from steps
        except (OSError, FailedPrecondition) as failure:
            failures.append(failure)
            raise

    try:
        return connection.write(
            f"{_SERVICE}/WriteArtifacts",
            guarded(),
            artifacts.WriteArtifactsResponse,
            timeout=timeout_for(size_bytes),
        )
    finally:
        if failures:
            raise failures[0]


def _steps(file: LocalFile, meter: Meter) -> Iterator[artifacts.WriteArtifactsRequest]:
    with open(file.source, "rb", buffering=0) as source:
        size = os.fstat(source.fileno()).st_size
        if size <= PIECE_BYTES:
            content = source.read(size)
            digest = hashlib.sha256(content).hexdigest()
        else:
            content = b""
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
        header = artifacts.ArtifactHeader(path=file.path, size_bytes=size, sha256=digest)
        yield artifacts.WriteArtifactsRequest(header=header)
        left = size
        while left:
            piece = content or source.read(min(PIECE_BYTES, left))
            if not piece or len(piece) > left:
                raise FailedPrecondition(
                    f"{file.source} changed while it was uploaded; upload it again when it is written",
                    reason="LOCAL_FILE_CHANGED",
                    metadata={"local_path": file.source},
                )
            yield artifacts.WriteArtifactsRequest(content=piece)
            left -= len(piece)
            meter.add(len(piece))


# --- down ----------------------------------------------------------------------------------------------------------


class Incoming:
    """One file of a download while its content comes in: hashed and measured against what its header said."""

    def __init__(self, header: artifacts.Artifact) -> None:
        self.path = header.path
        self.size_bytes = header.size_bytes
        self.sha256 = header.sha256
        self._digest = hashlib.sha256()
        self.received = 0

    def add(self, piece: bytes) -> None:
        """Takes the next piece. Raises DigestMismatch when there is more than the header said."""
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
        """The error that says what came instead."""
        return DigestMismatch(
            f"{self.path}: the server sent {what}; the file was not kept",
            metadata={"path": self.path, "expected": self.sha256, "actual": actual},
        )


def read(
    connection: Connection, owner: str, path: str, *, offset: int = 0, size_bytes: int = 0
) -> Iterator[tuple[artifacts.Artifact, Iterator[bytes]]]:
    """Reads the files at or below a path: for each its header, and its content in pieces.

    Every path that the server names is judged. The pieces of a file must be taken before the next file is asked for.
    """
    request = artifacts.ReadArtifactsRequest(owner=owner, path=path, offset_bytes=offset)
    steps = connection.read(
        f"{_SERVICE}/ReadArtifacts", request, artifacts.ReadArtifactsResponse, timeout=timeout_for(size_bytes)
    )
    headers: list[artifacts.Artifact] = []

    def pieces() -> Iterator[bytes]:
        for step in steps:
            if step.WhichOneof("step") == "content":
                yield step.content
            else:
                headers.append(step.artifact)
                return

    for _ in pieces():
        raise DataLoss("the server sent content before it said of which file", reason="STREAM_MALFORMED")
    while headers:
        header = headers.pop()
        paths.checked(header.path)
        if path and header.path != path and not header.path.startswith(f"{path}/"):
            raise DataLoss(
                f"the server sent {header.path!r}, which does not lie at or below {path!r}",
                reason="STREAM_MALFORMED",
                metadata={"path": header.path},
            )
        yield header, pieces()
