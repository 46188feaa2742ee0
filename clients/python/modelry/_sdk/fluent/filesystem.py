"""Files of runs and versions as a file system of fsspec, so that pandas, Polars and PyTorch read and write them.

    modelry://runs/<run_id>/<path>                                  read and write
    modelry://models/<name>/<number, stage, latest or @alias>/<path>   read

fsspec finds it by the entry point `fsspec.specs`. Nothing is decoded in a path. No listing and no content is kept.
"""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from modelry import errors
from modelry._sdk.client import Client
from modelry._sdk.files import paths
from modelry._sdk.fluent import session
from modelry._sdk.nouns.artifacts import Artifact

_TLS_OPTIONS = ("ca_file", "client_certificate_file", "client_key_file")
_OWN_OPTIONS = ("address", "workspace", "insecure", *_TLS_OPTIONS)
_OPTIONS_OF_FSSPEC = {
    *("asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths", "skip_instance_cache"),
    *("use_listings_cache", "protocol", "fo", "target_protocol", "target_options"),
}
"""What fsspec itself may give any file system."""
_IN_MEMORY_BYTES = 8 * 2**20
"""What is written goes to a temporary file, if it is more than this."""


class _Place(NamedTuple):
    """A path, taken apart. Without an owner it is one of the folders above the files."""

    client: Client
    owner: str
    path: str
    folder: str
    """What stands before the path in the names that fsspec knows, such as `runs/<run_id>`."""

    def named(self, path: str) -> str:
        return f"{self.folder}/{path}" if path else self.folder


class ModelryFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of runs, which can be written, and of versions of models, which can't.

    `address`, `workspace`, `insecure` and the files of TLS are those of `modelry.Client`. Default: what the functions
    of `modelry` use at the time of each call. A file that is written appears when it is closed, as a whole; after an
    error in its block it does not appear. Errors are those of Python: FileNotFoundError, PermissionError,
    IsADirectoryError, FileExistsError, ConnectionError, TimeoutError, and OSError for the rest, each caused by the
    ModelryError. Raises InvalidArgument for an option that is not there.
    """

    protocol = "modelry"
    root_marker = ""

    def __init__(
        self,
        address: str | None = None,
        workspace: str | None = None,
        insecure: bool | None = None,
        **options: Any,
    ) -> None:
        for name in options:
            if name not in _OPTIONS_OF_FSSPEC and name not in _TLS_OPTIONS:
                near = difflib.get_close_matches(name, _OWN_OPTIONS, n=1)
                advice = f"is {near[0]!r} meant?" if near else f"there are {', '.join(_OWN_OPTIONS)}"
                raise errors.InvalidArgument(
                    f"the file system modelry:// has no option {name!r}; {advice}", fields={name: "is no option"}
                )
        super().__init__(address=address, workspace=workspace, insecure=insecure, **options)
        files = {name: options[name] for name in _TLS_OPTIONS if name in options}
        self._chosen = Client(address, workspace, insecure=insecure, **files) if address or workspace else None

    @property
    def fsid(self) -> str:
        """A name of the file system."""
        return "modelry"

    # --- what is there ---------------------------------------------------------------------------------------------

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Reads size, type, SHA-256 and time of a file, or the size of a folder with everything in it."""
        with _as_os_errors(path):
            place = self._place(path)
            if not place.owner:
                return _folder(place.folder)
            return _entry(place, place.client.artifacts.get(place.owner, place.path))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """Lists a folder. `runs` has the runs of the workspace, `models` its models, a model its versions."""
        with _as_os_errors(path):
            found = list(self._listed(self._place(path), recursive=False))
        return found if detail else sorted(each["name"] for each in found)

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        """Lists all files at or below a path."""
        if maxdepth is not None or withdirs or not (place := self._place(path)).owner:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options)
        with _as_os_errors(path):
            try:
                found = {each["name"]: each for each in self._listed(place, recursive=True)}
            except errors.NotFound:
                found = {}
        return found if detail else sorted(found)

    def exists(self, path: str, **options: Any) -> bool:
        """Whether there is a file or folder. It raises if that can't be known, as where no server answers."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def created(self, path: str) -> Any:
        """When a file was written."""
        return self.info(path)["created"]

    modified = created

    def ukey(self, path: str) -> str:
        """The SHA-256 of a file."""
        return str(self.info(path)["sha256"])

    checksum = ukey

    # --- reading ---------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Reads a file, which is verified by its SHA-256, or a part of it, of which no more is sent."""
        with _as_os_errors(path):
            place = self._file(path)
            if start is None and end is None:
                return place.client.artifacts.read_bytes(place.owner, place.path, max_bytes=sys.maxsize)
            if end is None or start is None or start < 0 or end < 0:
                size = place.client.artifacts.get(place.owner, place.path).size_bytes
                start, end, _ = slice(start, end).indices(size)
            return place.client.artifacts.read_range(place.owner, place.path, start, end)

    def get_file(self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **options: Any) -> None:
        """Downloads a file, which gets its name when it is verified."""
        if hasattr(lpath, "write"):
            lpath.write(self.cat_file(rpath))
            return
        with _as_os_errors(rpath):
            place = self._place(rpath)
            if place.owner and place.client.artifacts.get(place.owner, place.path).kind == "file":
                self._get(place, Path(lpath), callback)
            else:
                os.makedirs(lpath, exist_ok=True)

    def _get(self, place: _Place, local: Path, callback: Any) -> None:
        def progress(done: int, total: int) -> None:
            callback.set_size(total)
            callback.absolute_update(done)

        local.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".modelry-", dir=local.parent) as folder:
            found = place.client.artifacts.download(place.owner, place.path, folder, progress=progress)
            os.replace(found, local)

    # --- writing ---------------------------------------------------------------------------------------------------

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **options: Any
    ) -> None:
        """Uploads a file."""
        if os.path.isdir(lpath):
            return
        with _as_os_errors(rpath):
            place = self._writable(rpath)
            if mode == "create":
                self._require_free(rpath)
            with open(lpath, "rb") as source:
                place.client.artifacts.upload_stream(place.owner, place.path, source)
        callback.set_size(os.path.getsize(lpath))
        callback.absolute_update(os.path.getsize(lpath))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Writes a file from memory."""
        with _as_os_errors(path):
            place = self._writable(path)
            if mode == "create":
                self._require_free(path)
            place.client.artifacts.upload_bytes(place.owner, place.path, value)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copies a file, by way of this machine."""
        if self.isdir(path1):
            return
        with self.open(path1, "rb") as source, self.open(path2, "wb") as target:
            shutil.copyfileobj(source, target)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Deletes files, and with `recursive` folders with everything in them.

        A path is the name of one of them, whatever letters it has: for a pattern give what `glob` finds.
        """
        for each in [path] if isinstance(path, str) else path:
            if not recursive and self.isdir(each):
                raise IsADirectoryError(errno.EISDIR, "a folder is deleted with recursive=True", each)
            self.rm_file(each)

    def rm_file(self, path: str) -> None:
        """Deletes a file, or a folder with everything in it."""
        with _as_os_errors(path):
            place = self._writable(path)
            place.client.artifacts.delete(place.owner, place.path)

    _rm = rm_file

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Does nothing: a folder is there as soon as a file is in it."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Does nothing, as `mkdir`."""

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **options: Any,
    ) -> Any:
        with _as_os_errors(path):
            if mode == "rb":
                place = self._file(path)
                entry = _entry(place, place.client.artifacts.get(place.owner, place.path))
                if entry["type"] != "file":
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
                return _Reading(self, place, entry, block_size or "default", cache_options, options)
            if mode not in {"wb", "ab", "xb"}:
                raise ValueError(f"mode is {mode!r}; a file is opened with 'r', 'w', 'a' or 'x'")
            place = self._writable(path)
            place.client.artifacts.get(place.owner)  # the run is there
            if mode == "xb":
                self._require_free(path)
            before = b""
            if mode == "ab" and self.exists(path):
                before = place.client.artifacts.read_bytes(place.owner, place.path, max_bytes=sys.maxsize)
            return _Writing(place, path, before, autocommit=autocommit)

    # --- where it is -----------------------------------------------------------------------------------------------

    def _client(self, *, of_models: bool) -> Client:
        if self._chosen is not None:
            return self._chosen
        current = session.current()
        return current.registry_client() if of_models else current.client()

    def _plain(self, path: str) -> str:
        return str(self._strip_protocol(path)).strip("/")

    def _place(self, path: str) -> _Place:
        """Raises FileNotFoundError for a path that no file can have."""
        plain = self._plain(path)
        kind, _, rest = plain.partition("/")
        if kind not in {"", "runs", "models"}:
            raise FileNotFoundError(
                errno.ENOENT, "use modelry://runs/<run_id>/<path> or modelry://models/<name>/<version>/<path>", path
            )
        client = self._client(of_models=kind == "models")
        if not rest:
            return _Place(client, "", "", plain)
        name, _, inside = rest.partition("/")
        if kind == "runs":
            place = _Place(client, f"runs/{name}", inside, f"runs/{name}")
        else:
            name, separator, which = name.partition("@")
            which, _, inside = (f"@{which}/{inside}" if separator else inside).partition("/")
            if not which:
                return _Place(client, "", "", plain)
            uri = f"models:/{name}{which}" if which.startswith("@") else f"models:/{name}/{which}"
            folder = plain.removesuffix(f"/{inside}") if inside else plain
            place = _Place(client, client.versions.resolve(uri).owner, inside, folder)
        if place.path:
            paths.checked(place.path)
        return place

    def _file(self, path: str) -> _Place:
        place = self._place(path)
        if not place.owner or not place.path:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return place

    def _writable(self, path: str) -> _Place:
        if self._plain(path).partition("/")[0] == "models":
            raise PermissionError(errno.EROFS, "the files of a version never change; write to those of a run", path)
        return self._file(path)

    def _require_free(self, path: str) -> None:
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def _listed(self, place: _Place, *, recursive: bool) -> Iterator[dict[str, Any]]:
        if place.owner:
            found = list(place.client.artifacts.list(place.owner, place.path, recursive=recursive))
            if not found:
                place.client.artifacts.get(place.owner, place.path)  # raises if there is nothing
            yield from (_entry(place, artifact) for artifact in found)
        elif not place.folder:
            yield from (_folder("runs"), _folder("models"))
        elif place.folder == "runs":
            yield from (_folder(f"runs/{run.run_id}") for run in place.client.runs.search())
        elif place.folder == "models":
            yield from (_folder(f"models/{model.name}") for model in place.client.models.search())
        else:
            name = place.folder.partition("/")[2]
            place.client.models.get(name)
            quoted = name.replace("'", "''")
            for version in place.client.versions.search(f"model_name = '{quoted}'"):
                yield _folder(f"{place.folder}/{version.version_number}")


class _Reading(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file that is read in blocks. All of them are of the file as it was when it was opened."""

    def __init__(
        self, fs: Any, place: _Place, entry: dict[str, Any], block_size: Any, cache_options: Any, options: Any
    ) -> None:
        self._place = place
        self.details = entry
        super().__init__(
            fs, entry["name"], "rb", block_size, cache_options=cache_options, size=entry["size"], **options
        )

    def _fetch_range(self, start: int, end: int) -> bytes:
        with _as_os_errors(self.path):
            place = self._place
            return place.client.artifacts.read_range(place.owner, place.path, start, end, sha256=self.details["sha256"])


class _Writing:
    """A file that is written: a temporary one without a name, uploaded when it is closed."""

    def __init__(self, place: _Place, path: str, before: bytes, *, autocommit: bool) -> None:
        self._place = place
        self._content = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115
        self._content.write(before)
        self._autocommit = autocommit
        self._handled = sys.exc_info()[1]
        """The error that is handled where the file is opened, as in an `except` block: it is not one of this file."""
        self._closed = False
        self.path = path
        self.mode = "wb"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in {"name", "fileno"}:  # what has these is taken for a file of this machine
            raise AttributeError(name)
        return getattr(self._content, name)

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.discard()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def writable(self) -> bool:
        """Whether it can be written to: yes."""
        return True

    def readable(self) -> bool:
        """Whether it can be read: no."""
        return False

    def seekable(self) -> bool:
        """Whether what is written can be written over: yes."""
        return True

    def close(self) -> None:
        """Uploads the file, unless it is closed while an error ends the block in which it was written."""
        if self._closed:
            return
        error = sys.exc_info()[1]
        if error is not None and error is not self._handled:
            self.discard()
        elif self._autocommit:
            self.commit()
        self._closed = True

    def commit(self) -> None:
        """Uploads the file."""
        try:
            with _as_os_errors(self.path):
                self._place.client.artifacts.upload_stream(self._place.owner, self._place.path, self._content)
        finally:
            self.discard()

    def discard(self) -> None:
        """Forgets what was written."""
        self._closed = True
        self._content.close()


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _entry(place: _Place, artifact: Artifact) -> dict[str, Any]:
    name = place.named(artifact.path)
    if artifact.kind != "file":
        return {"name": name, "size": artifact.size_bytes, "type": "directory"}
    return {
        "name": name,
        "size": artifact.size_bytes,
        "type": "file",
        "sha256": artifact.sha256,
        "mimetype": artifact.content_type,
        "created": artifact.create_time,
        "mtime": artifact.create_time,
    }


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Raises what Python's own files raise, for whoever knows nothing of Modelry."""
    try:
        yield
    except errors.ModelryError as error:
        number, kind = next((found for types, *found in _ERRORS if isinstance(error, types)), (errno.EIO, OSError))
        if error.reason == "ARTIFACT_IS_FOLDER":
            number, kind = errno.EISDIR, IsADirectoryError
        raise kind(number, error.message, path) from error


_ERRORS: tuple[Any, ...] = (
    (errors.NotFound, errno.ENOENT, FileNotFoundError),
    ((errors.PermissionDenied, errors.Unauthenticated), errno.EACCES, PermissionError),
    ((errors.OwnerFrozen, errors.RunDeleted), errno.EROFS, PermissionError),
    (errors.ArtifactKindConflict, errno.EISDIR, IsADirectoryError),
    (errors.AlreadyExists, errno.EEXIST, FileExistsError),
    (errors.LocalFileChanged, errno.ESTALE, OSError),
    (errors.Unavailable, errno.ECONNREFUSED, ConnectionError),
    (errors.DeadlineExceeded, errno.ETIMEDOUT, TimeoutError),
    (errors.InvalidArgument, errno.EINVAL, OSError),
)
"""Errors of Modelry, and what each is to Python: the number and the class."""
