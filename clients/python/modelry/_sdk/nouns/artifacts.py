"""Artifacts: the files of runs and of model versions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from modelry._sdk.files import download, local_files, paths, transfer
from modelry._sdk.files.transfer import Progress
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.errors import InvalidArgument

_SERVICE = "modelry.api.artifacts.v1.ArtifactService"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder of an owner as it was when it was read.

    `size_bytes` and `file_count` of a folder are of everything in it, at any depth; `sha256`, `content_type` and
    `create_time` are those of a file.
    """

    owner: str
    path: str
    kind: Literal["file", "folder"]
    size_bytes: int
    file_count: int
    sha256: str
    content_type: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What an upload wrote."""

    file_count: int
    size_bytes: int


class Artifacts:
    """Uploads, downloads, lists and deletes files.

    An owner is `runs/<run_id>`, or `versions/<version_id>`, whose files never change. A path is relative, in normal
    form, its parts separated by `/`; the empty path is the root of the owner. A path that is none raises PathInvalid,
    an owner that is none OwnerNotFound.
    """

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def upload(
        self,
        owner: str,
        local_path: str | os.PathLike[str],
        path: str = "",
        *,
        progress: Progress | None = None,
    ) -> Uploaded:
        """Uploads a file into the folder `path`, or what is in a folder of this machine into it.

        Files become visible in groups of at most 1000 and 256 MiB, each group at once; files of the same paths are
        replaced. Symbolic links are followed inside the folder that is uploaded. `progress(done, total)` is told
        bytes, from another thread. Raises InvalidArgument, naming it, for a link that leads outside and for what is
        neither file nor folder; FileNotFoundError; FailedPrecondition where a file changes meanwhile; OwnerFrozen;
        ArtifactKindConflict.
        """
        files = local_files.found(local_path, path)
        transfer.upload_files(self._connection, owner, files, progress)
        return Uploaded(len(files), sum(file.size_bytes for file in files))

    def upload_bytes(self, owner: str, path: str, data: bytes, *, content_type: str = "") -> None:
        """Writes one file, named by its whole path, from memory.

        Without a `content_type` the ending of the path decides. Raises OwnerFrozen or ArtifactKindConflict.
        """
        transfer.upload_content(self._connection, owner, path, data, content_type)

    def download(
        self,
        owner: str,
        path: str,
        destination: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> Path:
        """Downloads a file, or what is in a folder, into the folder `destination`, which is made when it is missing.

        Answers with the file's new path, or with `destination`. Each file is verified by size and SHA-256 before it
        gets its name, and replaces what had the name; a file that broke off is gone on with, also by a later call.
        Symbolic links in the destination are not followed. `progress(done, total)` is told bytes. Raises
        ArtifactNotFound, DigestMismatch where the content is not what was announced, and BlobLost.
        """
        artifact = self._get(owner, path)
        return download.download(self._connection, owner, artifact, Path(destination), progress)

    def read_bytes(self, owner: str, path: str) -> bytes:
        """Reads one file into memory, verified. Raises ArtifactNotFound, DigestMismatch or BlobLost."""
        paths.checked(path)
        return transfer.repeated(lambda: self._read_bytes(owner, path))

    def list(self, owner: str, path: str = "", *, recursive: bool = False, page_size: int = 1000) -> LazyList[Artifact]:
        """Lists a folder by path: its files and folders, or with `recursive` all files below it.

        An owner without files has an empty list.
        """

        def fetch(size: int, token: str) -> tuple[tuple[Artifact, ...], str]:
            request = artifacts.ListArtifactsRequest(
                owner=owner, path=path, recursive=recursive, page_size=size, page_token=token
            )
            page = self._connection.call(f"{_SERVICE}/ListArtifacts", request, artifacts.ListArtifactsResponse)
            return tuple(_artifact_of(message) for message in page.artifacts), page.next_page_token

        return LazyList(paged(fetch, max_results=None, page_size=page_size))

    def get(self, owner: str, path: str = "") -> Artifact:
        """Reads what is known of a file or folder, without its content. Raises ArtifactNotFound."""
        return _artifact_of(self._get(owner, path))

    def delete(self, owner: str, path: str) -> int:
        """Deletes a file, or a folder with everything in it; answers with how many files that were.

        Content that a model version refers to is kept for it. Raises ArtifactNotFound or OwnerFrozen.
        """
        request = artifacts.DeleteArtifactRequest(owner=owner, path=path)
        answer = self._connection.call(f"{_SERVICE}/DeleteArtifact", request, artifacts.DeleteArtifactResponse)
        return answer.file_count

    def _get(self, owner: str, path: str) -> artifacts.Artifact:
        request = artifacts.GetArtifactRequest(owner=owner, path=path)
        return self._connection.call(f"{_SERVICE}/GetArtifact", request, artifacts.GetArtifactResponse).artifact

    def _read_bytes(self, owner: str, path: str) -> bytes:
        content = b""
        for header, pieces in transfer.read(self._connection, owner, path):
            if header.path != path:
                raise InvalidArgument(
                    f"{path!r} is a folder; download it, or read one of its files",
                    reason="ARTIFACT_IS_FOLDER",
                    metadata={"path": path},
                )
            incoming = transfer.Incoming(header)
            taken = []
            for piece in pieces:
                incoming.add(piece)
                taken.append(piece)
            incoming.verify()
            content = b"".join(taken)
        return content


def _artifact_of(message: artifacts.Artifact) -> Artifact:
    return Artifact(
        owner=message.owner,
        path=message.path,
        kind="folder" if message.kind == artifacts.ARTIFACT_KIND_FOLDER else "file",
        size_bytes=message.size_bytes,
        file_count=message.file_count,
        sha256=message.sha256,
        content_type=message.content_type,
        create_time=time_of(message, "create_time"),
    )
