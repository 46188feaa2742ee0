"""Whether folders and files of the server are this user's alone, and this process's, judged before they are used."""

import errno
import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def folder_problem(folder: Path) -> str:
    """What is wrong with a folder, and what to do; empty if there is nothing. One that is not there can be made.

    It must belong to the user of this process, and nobody else may write to it, replace it, or put something else in
    its place.
    """
    try:
        folder = folder.resolve()
        found = folder.stat()
        above = folder.parent.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _why_not_made(folder)
    except (OSError, RuntimeError) as error:  # a circle of links is a RuntimeError before Python 3.13
        return f"can't be read: {getattr(error, 'strerror', None) or error}"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if found.st_uid != os.geteuid():
        return (
            f"belongs to the user {found.st_uid}, and this process runs as the user {os.geteuid()}; run it as that "
            "user, or name another folder"
        )
    if found.st_mode & _OTHERS:
        return f"other users can write to it; run `chmod go-w {folder}`"
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        return f"other users can replace it; run `chmod o-w {folder.parent}`"
    return ""


def _why_not_made(folder: Path) -> str:
    """Why a folder that is not there can't be made; empty if it can. Nothing is left behind.

    It is tried: rights alone don't tell, such as on a file system that only reads, or that has no folders of others.
    """
    above = next(each for each in folder.absolute().parents if each.exists())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".modelry-", dir=above))
    except OSError as error:
        return f"is not there, and can't be made in {above}: {error.strerror}; name another folder"
    return ""


def make_private(file: Path) -> None:
    """Makes a file that only this user can read and write, or takes the rights of others from one that is there.

    The file is not opened if it is there: closing it would take SQLite's locks from a database that this process uses.
    Raises PermissionError if it belongs to another user, and the other errors of `os.open`.
    """
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    found = file.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(
            errno.EPERM, f"belongs to the user {found.st_uid}, not to that of this process", str(file)
        )
    if found.st_mode & 0o077:
        file.chmod(found.st_mode & 0o700)


def write_private(file: Path, text: str) -> None:
    """Writes a file that only this user can read, and makes its folder.

    The file is there whole or not at all, and replaces none. Raises FileExistsError and other OSErrors.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # mode 0600, O_EXCL
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as made:
            made.write(text)
            made.flush()
            os.fsync(made.fileno())
        os.link(name, file)
    finally:
        os.unlink(name)


def lock(file: Path) -> int:
    """Takes a file, such as a socket, for this process until the returned descriptor is closed.

    The lock is a file beside it, with the number of the process. Raises BlockingIOError if another process has it, and
    the other errors of `os.open` and `flock`.
    """
    descriptor = os.open(lock_file_of(file), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock_file_of(file: Path) -> Path:
    """The file beside a file by which a process takes it."""
    return file.with_name(f"{file.name}.lock")


def holder_of(file: Path) -> str:
    """The number of the process that took a file last. Empty if it is not known."""
    try:
        text = lock_file_of(file).read_text()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isascii() and text.isdecimal() else ""
