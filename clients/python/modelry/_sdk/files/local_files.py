"""The local files that an upload sends: found and checked before a byte is sent."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from modelry._sdk.files import paths
from modelry._sdk.values import urls
from modelry.errors import InvalidArgument, LocalFileChanged, ModelryError

log = logging.getLogger("modelry")

MOST_FILES = 100_000
"""How many files one upload may hold: the limit of `WriteArtifacts` in the contract."""
MORE_FOLDERS = 10_000
"""How many more folders than files it may hold."""
MOST_BYTES = 5 * 2**40
"""How large one file may be: the limit of `ArtifactHeader.size_bytes` in the contract."""
EMPTY_FOLDER = ".modelry-folder"
"""The name of an empty file that stands for an empty folder. A download makes the folder, without the file."""
READ = (
    "download it first, or log where data is with modelry.log_input and the source of a dataset: "
    "modelry.data.from_pandas(..., source=url)"
)
SAVED = "save to a folder of this machine and upload that afterwards, or log to a run with log_model or log_state_dict"
DOWNLOADED = "download to a folder of this machine, and upload that afterwards"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")
_NOTHING = "; nothing was uploaded"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file to upload: where it is read, its artifact path, and its size when it was found.

    Without a `source` it is empty, and stands for an empty folder.
    """

    source: str
    path: str
    size_bytes: int


Refuse = Callable[[ModelryError], object]
"""Called for each file or folder that is left out of an upload. It may raise the error."""


def given(local: str | os.PathLike[str]) -> Path:
    """The local path that a caller gave. Raises FileNotFoundError for an empty one, which is not the working folder.

    Raises InvalidArgument for a URL, also one that a `Path` was made of, unless something is there under its name.
    """
    if not os.fspath(local):
        raise FileNotFoundError(errno.ENOENT, "the local path is empty; the working folder is '.'", "")
    path = Path(local)
    if "\0" in os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, "no path has a zero byte", os.fspath(path))
    require_no_url(local)
    return path


def require_no_url(local: str | os.PathLike[str], advice: str = READ) -> None:
    """Raises InvalidArgument, without passwords, for a URL where a path of this machine is expected.

    `advice` says what to do instead: `READ` where the path is read, `SAVED` or `DOWNLOADED` where it is written.
    """
    text = os.fsdecode(local)
    if _URL.match(text) and not os.path.lexists(text):
        shown = urls.masked(text)
        raise InvalidArgument(
            f"{shown!r} is a URL, expected a path on this machine; {advice}",
            reason="LOCAL_PATH_IS_URL",
            metadata={"local_path": shown},
        )


def is_folder(local: Path) -> bool:
    """Whether a folder is there, and not a file. Raises FileNotFoundError, or InvalidArgument if it can't be read."""
    with reading(local):
        try:
            return stat.S_ISDIR(os.stat(local).st_mode)
        except NotADirectoryError:  # a file stands where a folder is named
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(local)) from None


@contextmanager
def reading(local: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what is raised while files at a local path are read into the errors of an upload.

    InvalidArgument names a file that can't be read, LocalFileChanged one that vanished. FileNotFoundError says that
    there is nothing at the path. An error without a file name, such as one of a callback, stays what it is.
    """
    try:
        yield
    except FileNotFoundError as problem:
        if problem.filename in (None, "") or not os.path.exists(local):
            raise
        raise _vanished(os.fsdecode(problem.filename)) from None
    except OSError as problem:
        if problem.filename is None:
            raise
        raise unreadable(os.fsdecode(problem.filename), problem) from None


def problem_of(refusal: ModelryError) -> str:
    """What is wrong with a file that is left out of an upload."""
    return refusal.message.removesuffix(_NOTHING)


def unreadable(path: str, problem: OSError) -> InvalidArgument:
    """The error for a file or folder that can't be read."""
    return _refused(path, f"can't be read: {problem.strerror or type(problem).__name__}")


def found(local: str | os.PathLike[str], folder: str, *, refuse: Refuse | None = None) -> list[LocalFile]:
    """The file, or all files in the folder at any depth, by artifact path; `folder` is prepended to each path.

    Symbolic links are followed wherever they lead, as in the folders of a Hugging Face cache. A name that can't be part
    of an artifact path gets another one (`paths.named`), and the log says so. An empty folder becomes the file
    `EMPTY_FOLDER` in it. Raises InvalidArgument, which names the file, for a link that leads nowhere or forms a circle,
    for something that is neither a file nor a folder, for a folder that can't be read, for two files that would get the
    same path, and for a file or folder that is too large for one upload; FileNotFoundError if there is nothing;
    PathInvalid for a path that is too long. With `refuse` such links, things and folders below the path are left out.
    """
    start = given(local)
    root = os.path.realpath(start)
    if folder:
        paths.checked(folder)
    search = _Search(start, refuse or _raised)
    with reading(start):
        is_folder(start)
        status = os.stat(root)
        if stat.S_ISDIR(status.st_mode):
            entries = _listed(root)
            below = itertools.islice(search.below(entries, folder, (root,)), MOST_FILES + 1)
            files = sorted(below, key=lambda file: file.path)
        elif stat.S_ISREG(status.st_mode):
            path = search.path(folder, start.name or os.path.basename(root), os.fspath(start))
            files = [LocalFile(root, path, status.st_size)]
        else:
            raise _refused(os.fspath(start), "is neither a file nor a folder")
    _require_uploadable(os.fspath(start), files)
    if search.renamed:
        source, path = next(iter(search.renamed.items()))
        log.warning(
            "%d names of files contain what a path of an artifact can't hold; they are stored under other names: "
            "%a as %r%s",
            len(search.renamed),
            source,
            path,
            " and others" if len(search.renamed) > 1 else "",
        )
    return files


def _require_uploadable(local: str, files: list[LocalFile]) -> None:
    if len(files) > MOST_FILES:
        raise _refused(
            local,
            f"has more than {MOST_FILES} files, which is the limit of one upload; "
            "pack them into archives, or upload its subfolders one by one",
        )
    folders: set[str] = set()
    for file in files:
        above = file.path.rpartition("/")[0]
        while above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    if len(folders) > len(files) + MORE_FOLDERS:
        raise _refused(
            local,
            f"has {len(folders)} folders, at most {len(files) + MORE_FOLDERS} are allowed for {len(files)} files; "
            "pack them into archives",
        )
    for file, following in itertools.pairwise(files):
        if file.path == following.path:
            raise _refused(
                file.source, f"would be stored as {file.path!r}, like {following.source}; rename one of the two"
            )
    for file in files:
        if file.size_bytes > MOST_BYTES:
            raise _refused(
                file.source,
                f"has {file.size_bytes} bytes, at most {MOST_BYTES} (5 TiB) are allowed; split it into smaller files",
            )


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the files in a folder: what is told of those that are left out, and which get other names."""

    start: Path
    refuse: Refuse
    renamed: dict[str, str] = field(default_factory=dict)

    def below(self, entries: list[os.DirEntry[str]], path: str, above: tuple[str, ...]) -> Iterator[LocalFile]:
        """The files at any depth in a folder with these entries; `above` are the folder and those that it is in."""
        if not entries and path:
            yield LocalFile("", paths.joined(path, EMPTY_FOLDER), 0)
        for entry in entries:
            below = self.path(path, entry.name, entry.path)
            inside: list[os.DirEntry[str]] | None = None
            try:
                with reading(self.start):
                    source = _target(entry.path) if entry.is_symlink() else entry.path
                    status = os.stat(source)
                    if stat.S_ISDIR(status.st_mode):
                        if source in above:
                            raise _refused(entry.path, f"is a symbolic link that forms a circle: it leads to {source}")
                        inside = _listed(source)
                    elif not stat.S_ISREG(status.st_mode):
                        raise _refused(entry.path, "is neither a file nor a folder")
            except (InvalidArgument, LocalFileChanged) as refusal:
                self.refuse(refusal)
                continue
            if inside is None:
                yield LocalFile(source, below, status.st_size)
            else:
                yield from self.below(inside, below, (*above, source))

    def path(self, folder: str, name: str, source: str) -> str:
        """The artifact path of a local name in a folder."""
        path = paths.named(folder, name)
        if not path.endswith(name):
            self.renamed[source] = path
        return path


def _listed(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _raised(refusal: ModelryError) -> NoReturn:
    raise refusal


def _target(link: str) -> str:
    real = os.path.realpath(link)
    try:
        os.stat(real)
    except (FileNotFoundError, NotADirectoryError):
        raise _refused(link, f"is a symbolic link that leads nowhere, to {real}; remove the link") from None
    return real


def _refused(path: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{path} {problem}{_NOTHING}",
        reason="LOCAL_FILE_REFUSED",
        metadata={"local_path": path},
    )


def _vanished(path: str) -> LocalFileChanged:
    return LocalFileChanged(f"{path} vanished during the upload{_NOTHING}", metadata={"local_path": path})
