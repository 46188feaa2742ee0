"""Unix sockets between services, in folders that only their user can open: nobody else can take a service's place.

The services of one process have a temporary folder, which is removed at the end. A process that is killed leaves its
folder behind; the next process that starts removes it. Services with a process each share a folder in the data folder.
"""

import atexit
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.ownership import lock_file_of

LONGEST = 107 if sys.platform == "linux" else 103
"""The most bytes of the path of a socket."""

_PREFIX = "modelry-services-"
_LOCK = "lock"
_SCHEME = "unix:"


def address_of(path: Path) -> str:
    """The address of a socket, as gRPC reads it: a URI."""
    return _SCHEME + quote(str(path))


def uri_of(path: Path) -> str:
    """The address of a socket as clients write it, from whatever folder they are started."""
    return f"{_SCHEME}//{quote(str(path.absolute()))}"


def path_of(address: str) -> Path | None:
    """The path of the socket that an address names; None if it names none."""
    if not address.startswith(_SCHEME):
        return None
    path = unquote(address.removeprefix(_SCHEME))
    return Path(path[2:] if path.startswith("//") else path)


def require_private(folder: Path) -> None:
    """Creates a folder for sockets that only this user can open. Raises ConfigurationInvalid if it is not such a one.

    Whoever may write to it could put a socket of their own in the place of a service that is down.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found, above = folder.lstat(), folder.parent.stat()
    except OSError as error:
        raise ConfigurationInvalid(
            [f"{folder}: the folder of the services' sockets can't be made or read: {error.strerror}"]
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        reason = "must be a folder for the services' sockets, not a link; remove it, and the next start makes a folder"
    elif found.st_uid != os.getuid():
        reason = (
            f"the folder of the services' sockets belongs to the user {found.st_uid}, and this process runs as the "
            f"user {os.getuid()}; run all services as one user, or remove the folder"
        )
    elif found.st_mode & 0o077:
        reason = f"other users can open the folder of the services' sockets; run `chmod 700 {folder}`"
    elif above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        reason = f"other users can replace the folder of the services' sockets; run `chmod o-w {folder.parent}`"
    else:
        return
    raise ConfigurationInvalid([f"{folder}: {reason}"])


def is_taken(path: Path) -> bool:
    """Whether a process listens at a socket. Creates nothing."""
    try:
        descriptor = os.open(lock_file_of(path), os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_folder() -> Path:
    """A new folder in the temporary folder, where paths are short enough for sockets."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    lock = made / "new"
    fcntl.flock(os.open(lock, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)  # open until the process ends
    lock.rename(made / _LOCK)
    return made


def _is_left(folder: Path) -> bool:
    """Whether it is a folder of this user, and its process has ended."""
    try:
        if folder.lstat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
