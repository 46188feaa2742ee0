"""The file in which logins are kept: `credentials.json` in the user's folder for settings, by server.

Nobody else can read or change it: the folder has mode 0700, the file 0600, and what somebody else could have written is
not used. It is replaced as a whole, so a reader sees the old one or the new one. Whoever changes it holds the lock
beside it, also while a token is refreshed: one process asks the issuer, and the others take what it got.

The tokens of a login may be in the keyring of the system instead, by the package `keyring`.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from modelry._sdk.credentials import keyrings, private
from modelry._sdk.credentials.keyrings import Unusable
from modelry._sdk.values.foreign import Unreadable, json_object_of

try:
    import fcntl
except ImportError:  # Windows: a process there may refresh what another one refreshes.
    fcntl = None  # type: ignore[assignment]

_NAME = "credentials.json"
_LOCK_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.1
_LOOK_SECONDS = 0.02
_LONGEST = 1 << 20
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Entry = dict[str, Any]
"""A login as the file has it: values of JSON."""


class _Content(NamedTuple):
    """What was read: replaced as a whole, since several threads read."""

    seen: tuple[object, ...]
    """What told that the file is as it was."""
    entries: dict[str, Entry]
    whole: dict[str, Entry]
    """Entries with what the keyring has of them."""


class Store:
    """The logins of this user. For any number of threads."""

    def __init__(self) -> None:
        self._read = _Content((), {}, {})
        self._looked: tuple[str, float] = ("", 0.0)
        """The folder for settings at the last look at the file, and until when that counts."""
        self._turn = threading.RLock()
        self._depth = 0
        """How often this thread holds the lock: a handler of a signal may come while it does."""

    def entry(self, server: str) -> Entry | None:
        """The login for a server, from memory if the file is as it was at most 0.1 s ago. Raises Unusable."""
        where, now = os.environ.get("XDG_CONFIG_HOME") or "", time.monotonic()
        if self._looked[0] != where or now >= self._looked[1]:
            self._all()
            self._looked = where, now + _LOOK_AGAIN_SECONDS
        found = self._read.entries.get(server)
        return None if found is None else self._whole(server, found)

    def entry_now(self, server: str) -> Entry | None:
        """As `entry`, after a look at the file. Raises Unusable."""
        found = self._all().get(server)
        return None if found is None else self._whole(server, found)

    def servers(self) -> list[str]:
        """The servers that there is a login for. Raises Unusable."""
        return sorted(self._all())

    def issuers(self) -> dict[str, tuple[str, str]]:
        """The issuer and the client of each login that has one, by server; asks no keyring. Raises Unusable."""
        found = {server: (entry.get("issuer"), entry.get("client_id")) for server, entry in self._all().items()}
        return {
            server: (issuer, client if isinstance(client, str) else "")
            for server, (issuer, client) in found.items()
            if issuer and isinstance(issuer, str)
        }

    def put(self, server: str, entry: Entry, secret: tuple[str, ...]) -> Path:
        """Keeps a login. If it says `keyring`, the values that are `secret` go there. Raises Unusable, OSError."""
        with self.changing() as path:
            entries = dict(self._all())
            if entry.get("keyring"):
                hidden = {key: entry[key] for key in secret if key in entry}
                keyrings.put(server, json.dumps(hidden))
                entry = {key: value for key, value in entry.items() if key not in secret}
            entries[server] = entry
            _write(path, entries)
            self.look_again()
            return path

    def remember(self, server: str, entry: Entry) -> None:
        """Keeps a login in memory, until the file changes: it can't be written."""
        read = self._read
        self._read = _Content(read.seen, {**read.entries, server: {**entry, "keyring": False}}, {})

    def remove(self, server: str) -> None:
        """Forgets a login. Raises Unusable, OSError."""
        with self.changing() as path:
            entries = dict(self._all())
            entry = entries.pop(server, None)
            if entry is None:
                return
            _write(path, entries)
            self.look_again()
        if entry.get("keyring"):
            keyrings.remove(server)

    @contextmanager
    def changing(self) -> Iterator[Path]:
        """Holds the lock, of threads and of processes. Raises Unusable if it can't be had."""
        path = _path()
        if path is None:
            raise Unusable("this user has no home folder, so a login can't be kept; set MODELRY_TOKEN_FILE instead")
        with self._turn:
            self._depth += 1
            try:
                with _locked(path) if self._depth == 1 else nullcontext():
                    yield path
            finally:
                self._depth -= 1

    def after_fork_in_child(self) -> None:
        """Forgets the lock, which a thread of the parent may hold."""
        self._turn, self._depth = threading.RLock(), 0

    def look_again(self) -> None:
        """Forgets when the file was looked at last."""
        self._looked = ("", 0.0)

    def _all(self) -> dict[str, Entry]:
        path = _path()
        if path is None:
            self._read = _Content((), {}, {})
            return {}
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            self._read = _Content((), {}, {})
            return {}
        seen = (path, status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size, status.st_mode, status.st_uid)
        read = self._read
        if seen != read.seen:
            self._read = read = _Content(seen, _read(path), {})
        return read.entries

    def _whole(self, server: str, entry: Entry) -> Entry:
        if not entry.get("keyring"):
            return entry
        whole = self._read.whole
        if (known := whole.get(server)) is not None:
            return known
        hidden = keyrings.get(server)
        if hidden is None:
            raise Unusable(f"the keyring has no token for {server} any more; log in again: {login_command(server)}")
        try:
            whole[server] = entry | json_object_of(hidden)
        except Unreadable:
            raise Unusable(
                f"what the keyring has for {server} is damaged; log in again: {login_command(server)}"
            ) from None
        return whole[server]


def login_command(server: str) -> str:
    """What to run to log in to a server."""
    return f"`modelry login --server {server}`"


def _path() -> Path | None:
    above = private.of_kind("XDG_CONFIG_HOME", ".config")
    return None if above is None else above / "modelry" / _NAME


def _read(path: Path) -> dict[str, Entry]:
    try:
        problem = private.problem_of_folder(path.parent)
        if problem:
            raise Unusable(f"{path.parent} {problem}, so the logins in it are not used")
        number = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            status = os.fstat(number)
            if problem := _problem_of(status):
                raise Unusable(f"{path} {problem}, so the logins in it are not used; run: chmod 600 {path}")
            content = os.read(number, _LONGEST)
        finally:
            os.close(number)
        entries = json_object_of(content)["servers"]
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError
    except OSError as problem:
        raise Unusable(f"{path} can't be read: {problem.strerror or problem}") from None
    except (Unreadable, ValueError, KeyError):
        raise Unusable(f"{path} is damaged; delete it, and log in again with `modelry login`") from None
    return entries


def _problem_of(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "is no file"
    is_open = hasattr(os, "geteuid") and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return private.problem_of(status) or ("can be read by others" if is_open else "")


def _write(path: Path, entries: dict[str, Entry]) -> None:
    made = path.with_name(f".{_NAME}.{os.getpid()}-{secrets.token_hex(4)}")
    number = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump({"servers": entries}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        with suppress(OSError):
            made.unlink()
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        folder = private.prepared(path.parent, levels=1)
        if hasattr(os, "geteuid") and stat.S_IMODE(folder.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            folder.chmod(0o700)
        number = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as problem:
        raise Unusable(f"{path} can't be written: {problem}") from None
    try:
        _await_lock(number, path)
        yield
    finally:
        if fcntl is not None:
            with suppress(OSError):  # a forked child may have a copy of it, which would keep the lock
                fcntl.flock(number, fcntl.LOCK_UN)
        os.close(number)


def _await_lock(number: int, path: Path) -> None:
    until = time.monotonic() + _LOCK_SECONDS
    while fcntl is not None:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Unusable(f"another process has held the lock of {path} for {_LOCK_SECONDS:.0f} s") from None
            time.sleep(_LOOK_SECONDS)
        except OSError:
            return  # The file system has no locks.
        else:
            return


STORE = Store()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=STORE.after_fork_in_child)
