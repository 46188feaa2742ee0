"""What others keep in memory and must forget, as it is read from the database for all who watch in this process."""

import math
import threading
import time
from collections import deque

from modelry_server.access.store import state
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.sql.database import Database

POLL_S = 0.25
"""How often the database is asked at most, for all watchers together, unless this process has written something."""
HEARTBEAT_S = 1.0
"""How long a watcher waits for a change before it is told that there is none."""
KEPT_MS = 3600 * 1000
"""How long changes are kept, in milliseconds."""

_MOST = 10_000  # changes in memory, and read at once


class Changes:
    """Knows the last changes. It asks the database only while somebody watches."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asking = threading.Lock()
        self._written = threading.Condition()
        self._writes = 0
        self._writes_seen = -1
        self._asked_at = -math.inf
        self._revision = -1
        self.asked = 0
        """How many times the database was asked."""
        self._recent: deque[tuple[int, Changed]] = deque(maxlen=_MOST)
        db.tell(self._note_write)

    def after(self, revision: int) -> tuple[int, list[Changed]]:
        """The last revision, and what was changed after another one. If that is not known any more: everything.

        The answer is at most `POLL_S` old, and has all that this process wrote before. Raises DatabaseUnavailable.
        """
        with self._asking:
            if self._writes_seen != self._writes or time.monotonic() - self._asked_at >= POLL_S:
                self._ask()
            recent = [(at, changed) for at, changed in self._recent if at > revision]
            is_whole = revision >= self._revision or (bool(recent) and recent[0][0] == revision + 1)
            return self._revision, [changed for _, changed in recent] if is_whole else [Changed()]

    def wait(self, timeout_s: float) -> None:
        """Waits until the database has to be asked again, because of the time or of a write, or for so long."""
        with self._written:
            left = min(timeout_s, self._asked_at + POLL_S - time.monotonic())
            if left > 0 and self._writes == self._writes_seen:
                self._written.wait(left)

    def _note_write(self) -> None:
        with self._written:
            self._writes += 1
            self._written.notify_all()

    def _ask(self) -> None:
        """Reads what was changed since the last time. The caller holds the lock."""
        began, writes = time.monotonic(), self._writes
        with self._db.read() as tx:
            last = state.revision(tx)
            found = state.changes_after(tx, self._revision, _MOST) if 0 <= self._revision < last else []
        if self._revision >= 0 and last > self._revision and not _follow(self._revision, last, found):
            self._recent.clear()
            found = [(last, Changed())]
        self._recent.extend(found)
        self._revision = max([last, *(at for at, _ in found)])
        self._asked_at, self._writes_seen = began, writes
        self.asked += 1


class Watch:
    """One who watches: is told of changes from the moment on at which it is made, and of none at least each second."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._revision, _ = changes.after(-1)
        self._told = -math.inf
        self._next: tuple[int, list[Changed]] | None = None

    def wait(self, timeout_s: float) -> bool:
        """Waits until there is something to tell, but not longer than so many seconds. Returns whether there is.

        Raises DatabaseUnavailable: who hears nothing of the database must not believe that nothing was changed.
        """
        until = time.monotonic() + timeout_s
        while True:
            _, changed = self._changes.after(self._revision)
            now = time.monotonic()
            if changed or now - self._told >= HEARTBEAT_S:
                return True
            if now >= until:
                return False
            self._changes.wait(min(until - now, self._told + HEARTBEAT_S - now))

    def next(self) -> tuple[int, list[Changed]]:
        """The last revision, and what was changed since the call before. Raises DatabaseUnavailable."""
        while not self.wait(HEARTBEAT_S):
            pass
        self._revision, changed = self._changes.after(self._revision)
        self._told = time.monotonic()
        return self._revision, changed


def forget(db: Database, clock: Clock) -> int:
    """Removes changes that are older than an hour: nobody asks for them. Returns their number."""
    with db.write() as tx:
        return state.forget_changes(tx, clock.now() - KEPT_MS)


def _follow(revision: int, last: int, found: list[tuple[int, Changed]]) -> bool:
    """Whether the changes that were found are all between two revisions, and maybe later ones."""
    return [at for at, _ in found[: last - revision]] == list(range(revision + 1, last + 1))
