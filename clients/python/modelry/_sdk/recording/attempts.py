"""One round of a delivery: what is tried, in which order, and what an obstacle holds up.

An obstacle holds up what stands behind it only. While a server can't be reached, what is for it waits. Otherwise, as if
the disk is full, what the same process logged afterwards waits, or the next upload of the same files. If the server
refuses only some runs, or fails at some requests, what is about these waits; see `Holds`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from modelry._sdk.recording.delivery import MOST_FAILURES
from modelry._sdk.recording.refusals import is_of_all, is_of_the_run
from modelry._sdk.spooling import kept
from modelry._sdk.spooling.holds import Holds
from modelry._sdk.spooling.kept import Kept
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.transport import retries
from modelry._sdk.transport.connection import Connection, Origin, connect, within
from modelry.errors import ModelryError, Unavailable

log = logging.getLogger("modelry")

ORIGIN = Origin(
    "the address",
    "deliver to another server: `modelry sync --address HOST:PORT`, in Python modelry.sync('HOST:PORT')",
    is_chosen=False,
)
"""Where the address of a delivery is from: the spool, whatever the environment says."""
CHOSEN = replace(ORIGIN, is_chosen=True)
"""Where it is from if everything is delivered to one server."""

_SHORTEST_PUT_OFF = 60.0
_LONGEST_PUT_OFF = 3600.0


class Obstacles:
    """The obstacles of one round. With an `address` everything goes to that server."""

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._away: dict[str, ModelryError] = {}
        self._writers: set[str] = set()
        self.left = Holds()
        """What is left or set aside in spools, which nothing later may overtake."""
        self._failures: dict[str, int] = {}
        """How many spools in a row each server failed at."""

    def address_of(self, server: Mapping[str, str]) -> str:
        """Where something is delivered that names a server."""
        return self._address or server.get("address", "")

    @property
    def origin(self) -> Origin:
        """Where the addresses are from."""
        return CHOSEN if self._address else ORIGIN

    def before(self, server: Mapping[str, str], writer: str = "") -> ModelryError | None:
        """What holds up something for a server, or a spool of a writer; see `spool.writer_of`."""
        if writer in self._writers:
            return Unavailable("what the same process logged before is not delivered yet")
        return self._away.get(self.address_of(server))

    def met(self, obstacle: ModelryError, server: Mapping[str, str], writer: str = "") -> None:
        """Notes an obstacle: behind it the other spools of the writer wait, and the others for the same server."""
        if writer:
            self.hold(writer)
        if retries.is_of_the_server(obstacle):
            self._away[self.address_of(server)] = obstacle

    def failed(self, obstacle: ModelryError, server: Mapping[str, str]) -> None:
        """Notes that the server takes nothing of a spool. Fails it at many in a row, the others for it wait."""
        address = self.address_of(server)
        self._failures[address] = self._failures.get(address, 0) + (not retries.is_refusal(obstacle))
        if self._failures[address] >= MOST_FAILURES:
            self._away[address] = obstacle

    def took(self, server: Mapping[str, str]) -> None:
        """Notes that the server takes something."""
        self._failures.pop(self.address_of(server), None)

    def hold(self, writer: str) -> None:
        """Notes that a spool of a writer is left."""
        self._writers.add(writer)


class PutOff:
    """Uploads that take longer than they may, or must be divided, and can't be divided.

    Each is tried again after 1 minute, then after twice as long each time, at most 1 hour.
    """

    def __init__(self) -> None:
        self._pauses: dict[Path, tuple[float, float, str]] = {}

    def why(self, folder: Path) -> str:
        """Why an upload is not tried now. Empty: it may be."""
        _, until, why = self._pauses.get(folder, (0.0, 0.0, ""))
        return why if time.monotonic() < until else ""

    def add(self, made: Kept, why: str) -> None:
        """Puts an upload off, and warns the first time."""
        last, _, known = self._pauses.get(made.folder, (0.0, 0.0, ""))
        pause = min(_LONGEST_PUT_OFF, max(_SHORTEST_PUT_OFF, 2 * last))
        self._pauses[made.folder] = pause, time.monotonic() + pause, why
        if not known:
            text = "%s of %s can't be uploaded: %s; it is kept in %s and tried again now and then"
            log.warning(text, made.named, made.owner, why, made.folder)


class End(Enum):
    """How an attempt to upload copies of files ended."""

    DONE = auto()
    GONE = auto()
    """Another process has uploaded it."""
    DIVIDED = auto()
    """It took too long in one stream, or some of its files are refused: two uploads in its place are tried next.

    So a refusal costs what it is about. Halves find that with less content than one stream for each refused file.
    """
    REFUSED = auto()
    """Each of its files, or one of those that are uploaded together only. For good, so the copies are deleted."""
    UNREADABLE = auto()
    IN_USE = auto()
    """Another process has it."""
    PUT_OFF = auto()
    WAITS = auto()
    """Behind something else that is left."""
    LEFT = auto()

    @property
    def is_over(self) -> bool:
        """Whether the copies don't wait any more, except in parts."""
        return self in {End.DONE, End.GONE, End.DIVIDED, End.REFUSED}


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of the copies in a folder, and why if they are not uploaded."""

    folder: Path
    end: End
    why: str = ""
    parts: tuple[Kept, ...] = ()


class Uploading:
    """Uploads copies of files: those in some folders, in order, but none behind one of the same files.

    Each goes over the `connection`, else to its own server or the address of the obstacles. An upload that is not done
    at the time `until` is given up. `is_left_out` says whether to leave one to another process.
    """

    def __init__(
        self,
        obstacles: Obstacles,
        *,
        connection: Connection | None = None,
        put_off: PutOff | None = None,
        until: float | None = None,
        is_left_out: Callable[[Kept], bool] = lambda made: False,
    ) -> None:
        self._obstacles = obstacles
        self._connection = connection
        self._put_off = put_off or PutOff()
        self._until = until
        self._is_left_out = is_left_out
        self._left: list[Kept] = []

    def attempts(self, folders: Iterable[Path]) -> Iterator[Attempt]:
        """Tries each folder once, when it is asked for."""
        waiting = deque(folders)
        while waiting:
            attempt = self._attempt(waiting.popleft())
            waiting.extendleft(part.folder for part in reversed(attempt.parts))
            yield attempt

    def _attempt(self, folder: Path) -> Attempt:
        made: Kept | None = None
        parts: tuple[Kept, ...] = ()
        try:
            made = kept.opened(folder)
            end, why = self._before(made)
            if end is End.DONE:
                end, why, parts = self._upload(made)
        except FileNotFoundError:
            return Attempt(folder, End.GONE)
        except SpoolInUse as problem:
            end, why = End.IN_USE, str(problem)
        except OSError as problem:
            end, why = End.UNREADABLE, str(problem)
        if made is not None and not end.is_over:
            self._left.append(made)
        return Attempt(folder, end, why, parts)

    def _before(self, made: Kept) -> tuple[End, str]:
        """How an attempt ends before it begins, DONE if it may begin."""
        if self._is_left_out(made):
            return End.IN_USE, ""
        if any(map(made.overlaps, self._left)):
            return End.WAITS, "an earlier upload of the same files is left"
        if (obstacle := self._obstacles.before(made.server)) is not None:
            return End.WAITS, obstacle.message
        if why := self._put_off.why(made.folder):
            return End.PUT_OFF, why
        if self._until is not None and time.monotonic() >= self._until:
            return End.LEFT, "the time for the delivery is up"
        return End.DONE, ""

    def _upload(self, made: Kept) -> tuple[End, str, tuple[Kept, ...]]:
        with made.held():
            try:
                connection = self._connection or self._connected(made)
                with within(connection.timeout, until=self._until):
                    made.upload(connection)
            except ModelryError as error:
                if retries.is_refusal(error) and not is_of_the_run(error):
                    if made.is_divisible and not is_of_all(error, made.paths):
                        return self._divided(made, error)
                    made.drop()
                    return End.REFUSED, f"{made.named}: {error.message}", ()
                self._obstacles.met(error, made.server)
                if error.reason != "CALL_TOO_LONG":
                    return End.LEFT, error.message, ()
                if made.is_divisible:
                    return self._divided(made, error)
                self._put_off.add(made, error.message)
                return End.PUT_OFF, error.message, ()
        return End.DONE, "", ()

    def _divided(self, made: Kept, error: ModelryError) -> tuple[End, str, tuple[Kept, ...]]:
        """Divides an upload that fails as a whole; puts it off if there is no space for that."""
        try:
            return End.DIVIDED, "", made.divided()
        except SpoolInUse:
            raise
        except OSError as problem:
            why = f"{error.message}; and the copies can't be divided: {problem}"
            self._put_off.add(made, why)
            return End.PUT_OFF, why, ()

    def _connected(self, made: Kept) -> Connection:
        try:
            return connect(self._obstacles.address_of(made.server), origin=self._obstacles.origin)
        except ModelryError as error:
            raise Unavailable(error.message) from None
