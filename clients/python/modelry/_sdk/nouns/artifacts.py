"""Artifacts: the files of runs and of model versions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from modelry._sdk.files import download, keyed, listing, local_files, owners, paths, tables, transfer
from modelry._sdk.files.keyed import KeyedFile
from modelry._sdk.files.transfer import Progress, Replaced, replaced
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.artifacts import v1 as artifacts
from modelry.errors import FieldInvalid, InvalidArgument, LocalFileChanged

if TYPE_CHECKING:
    import pandas as pd

_ATTEMPTS = 3
_READ_BYTES = 2**30
_KINDS = {artifacts.ARTIFACT_KIND_FILE: "file", artifacts.ARTIFACT_KIND_FOLDER: "folder"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder of an owner as it was when it was read.

    `kind` is `file` or `folder`. `size_bytes` and `file_count` of a folder cover everything in it, at any depth. Only
    a file has `sha256`, `content_type` and `create_time`.
    """

    owner: str
    path: str
    kind: str
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


class _Registered(Protocol):
    """What is asked of a version."""

    @property
    def manifest_sha256(self) -> str:
        """The digest of the manifest of its files."""

    @property
    def file_count(self) -> int:
        """The number of its files."""


@arguments.texts_checked
class Artifacts:
    """Uploads, downloads, lists and deletes files.

    An owner is `runs/<run_id>`, or `versions/<version_id>`, whose files never change. A path is relative, with `/`
    between its parts and without `..`; the empty path is the root of the owner. Raises FieldInvalid for a text that is
    not an owner, OwnerNotFound for an owner that does not exist, and PathInvalid for a path that is not valid.
    """

    def __init__(
        self, connection: Connection, workspace: str, version: Callable[[str], _Registered] | None = None
    ) -> None:
        self._connection = connection
        self._version = version

    def upload(
        self,
        owner: str,
        local_path: str | os.PathLike[str],
        path: str = "",
        *,
        replace: bool | Collection[str] = False,
        progress: Progress | None = None,
    ) -> Uploaded:
        """Uploads a file, or the content of a folder, into the folder `path` of the owner.

        All files become visible together when the upload ends, and none if it fails. While the server can't be reached
        or takes no more, the upload is sent again from the beginning, up to four times in all. Files with the same
        paths are replaced, and the other files of the folder stay. With `replace` they go in the same moment, at any
        depth: then the folder `path` holds what was uploaded and nothing else. With names of files in the folder as
        `replace`, such as `["MLmodel"]`, only those go that were uploaded together with one of these.

        Symbolic links are followed. A file that grows meanwhile is uploaded as long as it was at the beginning; if one
        changes otherwise or vanishes, the upload begins again, up to three times in all. An empty folder is kept as a
        file `.modelry-folder` in it, which a download turns into the folder. A name with characters that no path can
        hold, such as a tab, is stored with their code points (`_x0009_`), and the log says so.

        `progress(done, total)` is called with bytes, from another thread. Raises InvalidArgument, before anything is
        sent, for more than 100,000 files, a file above 5 TiB, a link that leads nowhere, for what is neither file nor
        folder, for what can't be read, and for `replace` with an empty `path`; PathInvalid for a path that is too long
        or too deep; FileNotFoundError, also for an empty `local_path`; FailedPrecondition if a file goes on changing;
        OwnerFrozen; ArtifactKindConflict.
        """
        if replace and not path:
            raise arguments.refused("path", path, "a folder if replace is True, since the root is never replaced")
        replaces = replaced(path, replace)
        for _ in range(_ATTEMPTS - 1):
            with suppress(LocalFileChanged):
                return self._upload(owner, local_path, path, replaces, progress)
        return self._upload(owner, local_path, path, replaces, progress)

    def upload_bytes(self, owner: str, path: str, data: bytes, *, content_type: str = "") -> None:
        """Writes one file from memory. `path` is its whole path.

        Without a `content_type` the file name decides. Raises OwnerFrozen, ArtifactKindConflict, and InvalidArgument
        for what is no bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise arguments.refused("data", f"{type(data).__name__}", "bytes, such as text.encode()")
        owners.to_write(owner, [path])
        transfer.upload_content(self._connection, owner, path, data, content_type)

    def upload_stream(self, owner: str, path: str, source: BinaryIO, *, content_type: str = "") -> None:
        """Writes one file from an open binary file that can seek, such as `open(name, "rb")`, from its beginning.

        `path` is the whole path. Nothing is kept in memory but one piece. If the file changes while it is read, the
        call fails and nothing is written. Raises what `upload_bytes` raises, and LocalFileChanged.
        """
        owners.to_write(owner, [path])
        transfer.upload_stream(self._connection, owner, path, source, content_type)

    def download(
        self,
        owner: str,
        path: str,
        destination: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
    ) -> Path:
        """Downloads a file, or the content of a folder, into the folder `destination`, which is created if missing.

        Returns the path of the downloaded file, or `destination`. Each file is verified by size and SHA-256 before it
        gets its name, and replaces a file of that name. An interrupted download is resumed, also by a later call.
        Symbolic links in the destination are not followed. A name that the file system of the destination can't hold is
        changed, and the log says so. `progress(done, total)` is called with bytes. Raises ArtifactNotFound,
        DigestMismatch if the content is not what was announced, BlobLost, FailedPrecondition if something in the
        destination is in the way or it can't be written, and DataLoss for a folder that is short of files, or if the
        files of a version are not those that were registered.
        """
        if "\0" in os.fsdecode(destination):
            raise arguments.refused("destination", destination, "a path, which has no zero byte")
        local_files.require_no_url(destination, local_files.DOWNLOADED)
        artifact = self._get(owner, path)
        registered = self._registered(owner, path)
        return download.download(self._connection, owner, artifact, Path(destination), progress, registered=registered)

    def read_bytes(self, owner: str, path: str, *, max_bytes: int = _READ_BYTES) -> bytes:
        """Reads one file into memory, verified as by `download`.

        A file of more than `max_bytes` (default: 1 GiB) is refused before its content is read. Raises ArtifactNotFound,
        InvalidArgument for a folder and for a file that is too large, DigestMismatch, BlobLost or DataLoss.
        """
        paths.checked(path)
        registered = self._registered(owner, path)
        return transfer.repeated(lambda: self._read_bytes(owner, path, registered, max_bytes))

    def read_range(self, owner: str, path: str, start: int, end: int, *, sha256: str = "") -> bytes:
        """Reads the bytes of a file from `start` up to and without `end`; fewer if the file ends before.

        Only this part is sent, so it can't be compared with the SHA-256 of the file: `sha256`, if given, is compared
        with the one that the file has now. Raises ArtifactNotFound, InvalidArgument for a folder and for a negative
        number, and LocalFileChanged if the file has another SHA-256.
        """
        if start < 0 or end < 0:
            raise arguments.refused("start" if start < 0 else "end", min(start, end), "a number of bytes from 0")
        if end <= start:
            return b""
        try:
            return transfer.repeated(lambda: transfer.read_range(self._connection, owner, path, start, end, sha256))
        except FieldInvalid as error:
            if "offset_bytes" not in error.fields:
                raise
            return b""  # the file ends before

    def read_table(self, owner: str, path: str) -> pd.DataFrame:
        """Reads a table that was logged with `modelry.log_table`, or by MLflow, as a DataFrame of pandas.

        Raises what `read_bytes` raises, and InvalidArgument for content that is no table.
        """
        return tables.table_of(self.read_bytes(owner, tables.checked(path)), path)

    def images(self, owner: str, key: str = "") -> Sequence[KeyedFile]:
        """Lists the images that were logged with a key by `modelry.log_image`, by key, step and time.

        Default: those of all keys. `read_bytes(owner, image.path)` reads one.
        """
        return self._keyed(owner, "images", key)

    def sounds(self, owner: str, key: str = "") -> Sequence[KeyedFile]:
        """Lists what was logged with a key by `modelry.log_audio`, as `images` does."""
        return self._keyed(owner, "audio", key)

    def list(self, owner: str, path: str = "", *, recursive: bool = False, page_size: int = 1000) -> LazyList[Artifact]:
        """Lists the files and folders in a folder, by path; with `recursive` all files below it, at any depth.

        The list is empty if there is nothing at the path.
        """
        request = artifacts.ListArtifactsRequest(owner=owners.to_read(owner, path), path=path, recursive=recursive)

        def fetch(size: int, token: str) -> tuple[list[Artifact], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(artifacts.rpcs.LIST_ARTIFACTS, request)
            return [_artifact_of(message) for message in page.artifacts], page.next_page_token

        return listed_by(fetch, max_results=None, page_size=page_size)

    def get(self, owner: str, path: str = "") -> Artifact:
        """Reads the metadata of a file or folder, without content. Raises ArtifactNotFound."""
        return _artifact_of(self._get(owner, path))

    def delete(self, owner: str, path: str) -> int:
        """Deletes a file, or a folder with everything in it. Returns the number of deleted files.

        Content that a model version uses is kept for the version. Raises ArtifactNotFound or OwnerFrozen.
        """
        request = artifacts.DeleteArtifactRequest(owner=owners.to_write(owner, [path]), path=path)
        return self._connection.call(artifacts.rpcs.DELETE_ARTIFACT, request).file_count

    def _upload(
        self,
        owner: str,
        local_path: str | os.PathLike[str],
        path: str,
        replaces: Replaced | None,
        progress: Progress | None,
    ) -> Uploaded:
        files = local_files.found(local_path, path)
        owners.to_write(owner, [*(file.path for file in files), *([replaces.folder] if replaces else [])])
        with local_files.reading(local_path):
            transfer.upload_files(self._connection, owner, files, progress, replaces=replaces)
        return Uploaded(len(files), sum(file.size_bytes for file in files))

    def _keyed(self, owner: str, folder: str, key: str) -> Sequence[KeyedFile]:
        found = [keyed.read(artifact.path) for artifact in self.list(owner, folder)]
        wanted = keyed.shown_as(key) if key else ""
        return sorted(
            (each for each in found if each is not None and wanted in ("", each.key)),
            key=lambda each: (each.key, isinstance(each.step, str), each.step, each.time, each.path),
        )

    def _get(self, owner: str, path: str) -> artifacts.Artifact:
        return download.got(self._connection, owner, path)

    def _registered(self, owner: str, path: str) -> listing.Listing | None:
        """The files at or below a path of a version, after its whole list was compared with its manifest.

        None if it is not a version, or one that has no manifest yet.
        """
        version_id = owners.message_of(owner).version_id
        version = self._version(version_id) if version_id and self._version else None
        if version is None or not version.manifest_sha256:
            return None
        files = transfer.repeated(lambda: listing.listed(self._connection, owner, "", version.file_count))
        listing.require_manifest(files, version.manifest_sha256, owner)
        return listing.below(files, path)

    def _read_bytes(self, owner: str, path: str, registered: listing.Listing | None, max_bytes: int) -> bytes:
        content = b""
        for header, pieces in transfer.read(self._connection, owner, path):
            if registered is not None:
                listing.require_same(registered, [header])
            if header.path != path:
                raise InvalidArgument(
                    f"{path!r} is a folder; download it, or read one of its files",
                    reason="ARTIFACT_IS_FOLDER",
                    metadata={"path": path},
                )
            if header.size_bytes > max_bytes:
                raise InvalidArgument(
                    f"{path!r} has {header.size_bytes} bytes, more than max_bytes = {max_bytes}; download it to a file",
                    reason="ARTIFACT_TOO_LARGE",
                    metadata={"path": path, "size_bytes": str(header.size_bytes), "max_bytes": str(max_bytes)},
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
        owner=owners.text_of(message.owner),
        path=message.path,
        kind=_KINDS.get(message.kind) or name_of(artifacts.ArtifactKind, message.kind),
        size_bytes=message.size_bytes,
        file_count=message.file_count,
        sha256=message.sha256,
        content_type=message.content_type,
        create_time=time_of(message, "create_time"),
    )
