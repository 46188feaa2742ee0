"""Downloads the files of a model to this machine, and keeps them as long as the loaded model needs them."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelry._sdk.client import Client
from modelry._sdk.nouns import uris
from modelry._sdk.values import urls
from modelry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from os import PathLike

T = TypeVar("T")


def loaded(
    model_uri: str | PathLike[str],
    load: Callable[[str], T],
    *,
    dst_path: str | PathLike[str] | None = None,
    client: Client | None = None,
) -> T:
    """Loads the model of a URI with `load(folder)`.

    Files that are not on this machine are downloaded to `dst_path` and stay there. Without `dst_path` they go to a
    temporary folder, because a model may read its files at any time; the folder is removed with the loaded model, at
    the latest when the process ends.
    """
    uri = uris.parse(model_uri)
    if isinstance(uri, Path):
        if not uri.exists():
            raise NotFound(f"there is no model at {urls.masked(os.fspath(uri))!r}", reason="LOCAL_FILE_NOT_FOUND")
        return load(_folder(uri, uri))
    source = client or _client(uri)
    owner, path = _location(uri, source)
    if dst_path is not None:
        return load(_folder(uri, source.artifacts.download(owner, path, dst_path)))
    folder = tempfile.mkdtemp(prefix="modelry-model-")
    kept: object = None
    try:
        model = load(_folder(uri, source.artifacts.download(owner, path, folder)))
        kept = _lifetime(model)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            weakref.finalize(kept, shutil.rmtree, folder, ignore_errors=True)
    return model


def local_path(uri: str | PathLike[str], folder: str, client: Client | None) -> str:
    """A path on this machine with the files of a URI. They are downloaded into `folder` if they are not local."""
    parsed = uris.parse(uri)
    if isinstance(parsed, Path):
        return os.fspath(parsed)
    source = client or _client(parsed)
    owner, path = _location(parsed, source)
    return os.fspath(source.artifacts.download(owner, path, folder))


def _location(uri: uris.RunUri | uris.VersionUri, client: Client) -> tuple[str, str]:
    """The owner and the path of the files that a URI means at this moment."""
    if isinstance(uri, uris.RunUri):
        return f"runs/{uri.run_id}", uri.path
    return client.versions.resolve(str(uri)).owner, ""


def _folder(uri: object, local: Path) -> str:
    if local.is_file():
        raise InvalidArgument(
            f"{str(uri)!r} is a file; name the folder that has the MLmodel file",
            reason="MODEL_IS_FILE",
            metadata={"uri": str(uri)},
        )
    if not (local / "MLmodel").exists():
        raise InvalidArgument(
            f"{str(uri)!r} has no file MLmodel, so it is no model in MLflow's format; its files can be downloaded by "
            "client.artifacts.download",
            reason="MODEL_HAS_NO_FORMAT",
            metadata={"uri": str(uri)},
        )
    return os.fspath(local)


class _Process:
    """Lives as long as the process."""


_process = _Process()


def _lifetime(model: object) -> object:
    try:
        weakref.ref(model)
    except TypeError:
        return _process
    return model


def _client(uri: uris.RunUri | uris.VersionUri) -> Client:
    from modelry._sdk.fluent import session

    return session.current().client() if isinstance(uri, uris.RunUri) else session.current().registry_client()
