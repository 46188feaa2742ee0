"""The most that a workspace may have of something, kept where such things are made.

No row has the number: all writers would wait for it. It is counted in the database, and only where there is a quota.
Between two counts a process adds up what it makes itself. It counts again after a few seconds, after a tenth of the
room that there was, and whenever less than ten times what is wanted is left: so the last ones are counted one by one.

A process never makes more than there is room for. Several processes may exceed a quota together: each of the others by
what it has under way at that moment, and by a tenth of what all have made in the five seconds before.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from modelry_server.kernel.errors import QuotaExceeded

COUNTED_S = 5.0
"""How long a count is good while there is much room, in seconds."""
FULL_S = 1.0
"""How long a workspace without room is refused without another count, in seconds; longer if a count takes long."""
WAIT_S = 1.0
"""How long a call waits for those that have taken the rest, which may fail or end, in seconds."""
PART = 10
"""Which part of the room is given out without another count."""


class Quota:
    """A quota that each workspace has, of things that this process makes.

    `name` is that of the field in the contract. `limit` says how many a workspace may have, None for no limit, and
    `count` how many it has in the database. `frees` says what makes room, for the error.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: Callable[[str], int | None],
        count: Callable[[str], int],
        frees: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._limit = limit
        self._count = count
        self._frees = frees
        self._now = now
        self._used: dict[str, _Used] = {}
        self._lock = threading.Lock()

    def taking(self, workspace: str) -> "Taking":
        """For a `with` block that makes things in a workspace. Never begin one inside a transaction: it may count."""
        return Taking(self, workspace)

    def take(self, workspace: str, amount: int) -> "_Used | None":
        """Holds room for so many more; None if there is no limit. Raises QuotaExceeded."""
        limit = self._limit(workspace)
        if limit is None:
            return None
        with self._lock:
            used = self._used.setdefault(workspace, _Used())
        until = self._now() + WAIT_S
        while True:
            with used.changed:
                if used.has_much(limit, amount, self._now()):
                    used.open += amount
                    return used
                ended = used.ended
            with used.counting:
                if self._taken(used, workspace, limit, amount, until):
                    return used
            used.await_end(ended, until - self._now())

    def _taken(self, used: "_Used", workspace: str, limit: int, amount: int, until: float) -> bool:
        """Counts, unless that was just done, and holds room. False if the rest is held by others, who may end soon.

        Raises QuotaExceeded.
        """
        began = self._now()
        with used.changed:
            if used.has_much(limit, amount, began):  # somebody else has counted
                used.open += amount
                return True
            if began < used.full_until and used.counted + amount > limit:
                raise self._exceeded(workspace, used.counted, limit, amount)
            added = used.added
        counted = self._count(workspace)
        with used.changed:
            used.note(counted, added, began)
            total = counted + used.added + used.open
            if total + amount <= limit:
                used.open += amount
                return True
            if counted + amount > limit:
                now = self._now()
                used.full_until = now + max(FULL_S, PART * (now - began))
                raise self._exceeded(workspace, counted, limit, amount)
            if self._now() >= until:
                raise self._exceeded(workspace, total, limit, amount)
        return False

    def _exceeded(self, workspace: str, used: int, limit: int, amount: int) -> QuotaExceeded:
        return QuotaExceeded(workspace, self._name, used, limit, wanted=amount, frees=self._frees)


class Taking:
    """What a call makes in a workspace. What it took is given back if its block raises."""

    def __init__(self, quota: Quota, workspace: str) -> None:
        self._quota = quota
        self._workspace = workspace
        self._taken: list[tuple[_Used, int]] = []

    def take(self, amount: int = 1) -> None:
        """Takes room for so many more. Raises QuotaExceeded."""
        used = self._quota.take(self._workspace, amount)
        if used is not None:
            self._taken.append((used, amount))

    def __enter__(self) -> "Taking":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for used, amount in self._taken:
            used.end(amount, is_made=kind is None)


class _Used:
    """What one workspace has, as this process knows."""

    def __init__(self) -> None:
        self.counting = threading.Lock()
        """Held by who counts: the others wait for the result."""
        self.changed = threading.Condition()
        """Held to read or change what follows."""
        self.counted = 0
        self.counted_at = self.full_until = float("-inf")
        self.added = 0
        """What was made here since the count began, which the count may lack."""
        self.open = 0
        """What is being made here."""
        self.base = 0
        """What of these two is older than the count."""
        self.ended = 0
        """How many have ended, to see whether one does."""

    def has_much(self, limit: int, amount: int, now: float) -> bool:
        """Whether the count is good enough for so many more: it is new, and leaves many times as much."""
        room = limit - self.counted - self.base
        return now - self.counted_at < COUNTED_S and self.added + self.open - self.base + amount <= room // PART

    def note(self, counted: int, added: int, began: float) -> None:
        """Notes a count, which has all that had been added when it began."""
        self.added -= added
        self.counted, self.counted_at = counted, began
        self.base = self.added + self.open

    def await_end(self, known: int, timeout_s: float) -> None:
        """Waits until more have ended than are known, or for so many seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended != known, timeout_s)

    def end(self, amount: int, *, is_made: bool) -> None:
        """Notes that so much was made, or was not."""
        with self.changed:
            self.open -= amount
            self.added += amount if is_made else 0
            self.ended += 1
            self.changed.notify_all()
