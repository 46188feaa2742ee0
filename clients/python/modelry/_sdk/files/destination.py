"""The folder of a download, on any file system."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modelry._sdk.files import paths
from modelry.errors import FailedPrecondition

log = logging.getLogger("modelry")

_REFUSED = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
"""How file systems refuse a name."""
_NO_FOLDER = "is a symbolic link or a file, but the download needs a folder there"
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)', re.IGNORECASE)
_EVERYWHERE = re.compile(r"[^\w. -]")
_LONGEST, _LONGEST_ENDING = 50, 16


class Destination:
    """A folder into which files are written. Symbolic links below it are never followed.

    A file gets its name when it is complete, and replaces an earlier file of that name. Where the file system can't
    hold the name, or does not distinguish it from that of another file of the download, the file gets another one,
    which begins like its own.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise _refused(os.fspath(root), _NO_FOLDER) from None
        self._folders = {"": os.fspath(root)}
        self._written: dict[tuple[int, int], str] = {}
        self._renamed: dict[str, str] = {}

    def place(self, path: str) -> tuple[str, str]:
        """The local folder of a path, and the name of the file in it; makes the folder.

        `path` is the end of a path that was checked. Raises FailedPrecondition if a symbolic link or a file stands
        where a folder is needed.
        """
        folder, _, name = path.rpartition("/")
        return self.folder(folder), name

    def folder(self, path: str) -> str:
        """The local folder of the path of a folder, which is made."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            self._folders[path] = self._made(self.folder(above), name, path)
        return self._folders[path]

    def keep(self, part: str, written: tuple[int, int], path: str) -> Path:
        """Gives a finished file its name, and returns where it is; `written` is its identity.

        Raises FailedPrecondition if a folder stands there.
        """
        folder, name = self.place(path)
        for candidate in _names(name, path):
            target = os.path.join(folder, candidate)
            try:
                if self._is_another(target, path):
                    continue
                _move(part, target, written)
            except IsADirectoryError:
                raise _refused(target, "is a folder, but the download needs a file there") from None
            except OSError as problem:
                if problem.errno not in _REFUSED:
                    raise
                continue
            self._written[written] = path
            if candidate != name:
                self._renamed[path] = candidate
            return Path(target)
        raise _refused(os.path.join(folder, name), "can't be written under this or another name")

    def remove(self, path: str) -> None:
        """Removes a file that was kept, unless something else has taken its place."""
        folder, name = self.place(path)
        target = os.path.join(folder, self._renamed.get(path, name))
        with suppress(FileNotFoundError):
            found = identity(os.lstat(target))
            if self._written.get(found) == path:
                os.unlink(target)
                del self._written[found]

    def tell(self) -> None:
        """Says in the log which files have other names than they had, if there are any."""
        if self._renamed:
            path, name = next(iter(self._renamed.items()))
            log.warning(
                "%d files or folders in %a have other names than before, because this file system can't hold theirs: "
                "%r is %r%s",
                len(self._renamed),
                os.fspath(self.root),
                path,
                name,
                " and others" if len(self._renamed) > 1 else "",
            )

    def _made(self, above: str, name: str, path: str) -> str:
        for candidate in _names(name, path):
            made = os.path.join(above, candidate)
            try:
                if self._is_another(made, path):
                    continue
                if os.path.islink(made) or (os.path.lexists(made) and not os.path.isdir(made)):
                    raise _refused(made, _NO_FOLDER)
                os.makedirs(made, exist_ok=True)
            except OSError as problem:
                if problem.errno not in _REFUSED:
                    raise
                continue
            if candidate != name:
                self._renamed[path] = candidate
            return made
        raise _refused(os.path.join(above, name), "can't be made under this or another name")

    def _is_another(self, target: str, path: str) -> bool:
        """Whether another file of this download is there: under a name that the file system takes for the same."""
        try:
            return self._written.get(identity(os.lstat(target)), path) != path
        except FileNotFoundError:
            return False


@contextmanager
def writing() -> Iterator[None]:
    """Turns what the file system refuses of a download into FailedPrecondition, with the name of the file.

    An error without a file name, such as one of a callback, stays what it is.
    """
    try:
        yield
    except OSError as problem:
        if problem.filename is None:
            raise
        local = os.fsdecode(problem.filename)
        raise FailedPrecondition(
            f"{local} can't be written: {problem.strerror or type(problem).__name__}; make that possible, or choose "
            "another destination",
            reason="DESTINATION_REFUSED",
            metadata={"local_path": local},
        ) from problem


def identity(status: os.stat_result) -> tuple[int, int]:
    """What tells a file from all others."""
    return status.st_dev, status.st_ino


def _names(name: str, path: str) -> tuple[str, ...]:
    """The name of a file or folder, and the one that it gets where that is not possible: any file system can hold it.

    A letter that some file system can't hold is written out; a part of the digest of the path makes the name unique.
    """
    stem, _, ending = name.rpartition(".")
    if not stem or not ending.isalnum() or len(ending) > _LONGEST_ENDING:
        stem, ending = name, ""
    written_out = _EVERYWHERE.sub(lambda letter: paths.written_out(letter[0]), stem)[:_LONGEST]
    unique = f"{written_out}~{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    other = f"{unique}.{ending}" if ending else unique
    if os.name == "nt" and _NOT_ON_WINDOWS.search(name):
        return (other,)
    return (name, other)


def _move(part: str, target: str, written: tuple[int, int]) -> None:
    try:
        os.replace(part, target)
    except FileNotFoundError:
        # Another process that downloads the same content to the same folder was faster.
        if identity(os.lstat(target)) != written:
            raise


def _refused(local: str, problem: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{local} {problem}; remove it first, or choose another destination",
        reason="DESTINATION_REFUSED",
        metadata={"local_path": local},
    )
