"""Datasets that DVC tracks. DVC itself is not needed: its files are YAML, its settings INI."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from modelry._sdk.datasets.dataset import Dataset, json_of
from modelry._sdk.datasets.dvc_repository import Output, Repository
from modelry._sdk.datasets.files import below, sized_digest
from modelry._sdk.files import local_files
from modelry._sdk.values import foreign
from modelry.errors import DvcContentMissing, LocalFileChanged


def from_dvc(path: str | os.PathLike[str], *, name: str | None = None, check: bool = True) -> Dataset:
    """Describes a file or folder that DVC tracks: by its `.dvc` file, or as an output of a stage in `dvc.lock`.

    `path` is the file or folder, or its `.dvc` file. The digest is that of DVC: an MD5, for a folder that of the
    listing of its files, which ends in `.dir`. The source is JSON: the path in the repository, the URL of the Git
    repository and the commit, whether the file of DVC differs from that commit, the stage, the name of the remote, and
    the URL where the content is there if it was pushed; URLs lose user, password and other credentials. The profile
    has the size in bytes and the number of files. Default `name`: the path in the repository. Needs PyYAML, and `git`
    for the commit.

    The working copy is read and compared with the digest, unless `check` is false, which saves the time for many
    gigabytes. Raises DvcNotTracked; DvcContentMissing and LocalFileChanged for a working copy that is not there or
    not what is tracked; LocalFileChanged; and InvalidArgument for a file of DVC or a working copy that can't be read.
    """
    output = Repository.of(local_files.given(path)).tracked(local_files.given(path))
    if check:
        with local_files.reading(output.path):
            _require_unchanged(output)
    sizes = (("size_bytes", output.size), ("num_files", output.files))
    return Dataset(
        name or output.inside,
        digest=output.digest,
        source=json_of(output.origin()),
        source_type="dvc",
        profile=json_of({key: value for key, value in sizes if value is not None}),
    )


def _require_unchanged(output: Output) -> None:
    path, is_folder = output.path, output.digest.endswith(".dir")
    if not path.exists():
        command = f"dvc checkout {output.inside}" if output.is_cached() else f"dvc pull {output.inside}"
        where = "" if output.is_cached() else ", nor in the cache"
        raise DvcContentMissing(
            f"{output.inside} is tracked by {output.file} with the digest {output.digest}, but it is not in the "
            f"working folder{where}; run: {command}",
            metadata={"path": output.inside, "digest": output.digest},
        )
    if path.is_dir() != is_folder:
        raise _changed(output, "is a folder" if path.is_dir() else "is no folder", "")
    if is_folder:
        _require_unchanged_folder(output)
        return
    size = path.stat().st_size
    if not output.is_old and output.size not in (None, size):
        raise _changed(output, f"has {size} bytes", f"{output.size} bytes and ")
    found = _md5(path, output)
    if found != output.digest:
        raise _changed(output, f"has the digest {found}", "")


def _require_unchanged_folder(output: Output) -> None:
    folder = output.path
    found = {each.relative_to(folder).as_posix(): _md5(each, output) for each in below(folder)}
    ignores = any(each.name == ".dvcignore" for each in output.ignore_files())
    listed = _listing(output)
    if listed is not None:
        differing = sorted(key for key, digest in listed.items() if found.get(key) != digest)
        # What .dvcignore names is in the folder, but not in the listing.
        differing += [] if ignores else sorted(found.keys() - listed.keys())
        if differing:
            some = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
            raise _changed(output, f"differs in {some}", "")
        return
    # As DVC writes it: sorted by the parts of the paths, with the separators of `json`.
    entries = sorted(found.items(), key=lambda each: tuple(each[0].split("/")))
    listing = json.dumps([{"md5": digest, "relpath": key} for key, digest in entries], sort_keys=True)
    digest = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    if digest != output.digest:
        hint = (
            "; it may be what .dvcignore names, which is known from the cache only: give check=False" if ignores else ""
        )
        raise _changed(output, f"has the digest {digest}", "", hint)


def _listing(output: Output) -> dict[str, str] | None:
    """The digests of the files of a folder, by path, from the cache. None if it is not there."""
    try:
        content = output.cached().read_bytes()
    except OSError:
        return None
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != output.digest.removesuffix(".dir"):
        return None
    try:
        return {str(each["relpath"]): str(each["md5"]) for each in foreign.json_of(content)}
    except (foreign.Unreadable, KeyError, TypeError):
        return None


def _md5(file: Path, output: Output) -> str:
    if output.is_old and _is_text(file):  # DVC 2 and before read text with the line ends of Unix.
        return hashlib.md5(file.read_bytes().replace(b"\r\n", b"\n"), usedforsecurity=False).hexdigest()
    return str(sized_digest(file, "md5")["md5"])


def _is_text(file: Path) -> bool:
    with file.open("rb") as opened:
        return b"\0" not in opened.read(512)


def _changed(output: Output, what: str, size: str, hint: str = "") -> LocalFileChanged:
    redo = f"dvc repro {output.stage}" if output.stage else f"dvc add {output.inside}"
    keep = f"dvc commit {output.stage}" if output.stage else redo
    return LocalFileChanged(
        f"{output.inside} {what}, but {output.file} has {size}the digest {output.digest}; to record what is there run: "
        f"{keep}; to get what was tracked run: dvc checkout --force {output.inside}{hint}",
        metadata={"path": output.inside, "digest": output.digest},
    )
