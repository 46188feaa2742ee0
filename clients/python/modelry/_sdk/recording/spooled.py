"""Delivers spools that are closed or left: each in order, and many of them in one round.

`sync` and the parent of forked children share this. Of the spools of a round one is open at a time, because there may
be more of them than a process can have open.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.recording.attempts import End, Obstacles
from modelry._sdk.recording.delivery import FAULTS, Delivery
from modelry._sdk.spooling import holders
from modelry._sdk.spooling.holds import Holds
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import Spool, closed, writer_of
from modelry._sdk.transport import retries
from modelry._sdk.transport.connection import Origin, connect
from modelry.errors import Cancelled, ModelryError

_PAUSE_SECONDS = 0.1


class SpoolFile:
    """A spool as the source of a delivery."""

    def __init__(self, spool: Spool, *, told: Callable[[], None], go_on: Callable[[], bool]) -> None:
        self.delivered = 0
        self.points_delivered = 0
        self.refusals: dict[str, str] = {}
        self.refused_count = 0
        self.points_refused = 0
        self.left = Holds()
        """What is left or set aside, and why."""
        self.has_tried_all = False
        """Whether each request was tried, or waits behind one that is left."""
        self.aside: Spool | None = None
        """What the server fails at again and again, while it takes the rest."""
        self.spool = spool
        self._told = told
        self._go_on = go_on
        self._noted = 0
        self._refused: dict[int, ModelryError] = {}
        self._moved: set[int] = set()
        self._ends: set[str] = set()
        """How the parts of the request ended that is being noted, unless they were delivered."""

    def deliver(self, address: str, held: Holds, origin: Origin) -> ModelryError | None:
        """Delivers the file to the server of an address, but nothing behind what is held. Returns what prevents it."""
        try:
            connection = connect(address, origin=origin)
        except ModelryError as error:
            return error
        delivery = Delivery(connection, self.spool.server.get("workspace", ""), held)
        try:
            obstacle = self._run(delivery)
            self.left, self.has_tried_all = delivery.left, delivery.has_tried_all
            return obstacle
        except OSError as problem:
            # Not of the server, so it holds up only what the same process logged.
            return Cancelled(f"the spool can't be read or written: {problem}")
        finally:
            if self.aside is not None:
                self.aside.close()

    def _run(self, delivery: Delivery) -> ModelryError | None:
        """Delivers; while the server fails at a request, often enough to set that aside."""
        attempts, done = 0, -1
        while True:
            obstacle = delivery.run(self)
            if obstacle is None or retries.is_passing(obstacle) or retries.is_refusal(obstacle):
                return obstacle
            attempts = attempts + 1 if self._noted == done else 1
            done = self._noted
            if attempts > FAULTS:
                return obstacle
            time.sleep(_PAUSE_SECONDS * attempts)

    def take_to(self, queue: deque[QueuedRequest]) -> bool:
        """Adds the next request of the file to a queue."""
        return self.spool.next_to(queue)

    def done(self, request: QueuedRequest) -> None:
        """Notes in the file that a request needs no more, and counts it. Its parts come one after the other."""
        error = self._refused.pop(id(request), None)
        if error is not None:
            self._ends.add("refused")
            self.points_refused += request.points
            self.refusals.setdefault(error.reason or error.code, f"refused: {error.message}")
        elif id(request) in self._moved:
            self._moved.remove(id(request))
            self._ends.add("moved")
        else:
            self.points_delivered += request.points
        if request.end:
            self.spool.delivered(request)
            self._noted += 1
            self.refused_count += "refused" in self._ends
            self.delivered += not self._ends
            self._ends.clear()
            self._told()

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """Keeps in mind that the server refuses it. Until it is `done`, it may be sent again."""
        self._refused[id(request)] = error

    def set_aside(self, request: QueuedRequest, error: ModelryError) -> None:
        """Moves a request to a spool of its own. Raises OSError if it can't be kept."""
        if self.aside is None:
            self.aside = self.spool.before()
        self.aside.append([QueuedRequest(request.method, request.content, points=request.points)])
        self._moved.add(id(request))
        where = self.aside.path_when_closed
        text = f"the server does not take it and takes the rest, so it is set aside in {where}: {error.message}"
        self.refusals.setdefault(f"aside {error.reason or error.code} {error.metadata.get('run_id', '')}", text)

    def idle(self) -> bool:
        """Whether to go on."""
        return self._go_on()


@dataclass(frozen=True, slots=True)
class SpoolAttempt:
    """What became of a spool: DONE, GONE, UNREADABLE, IN_USE, WAITS or LEFT, and why.

    The `why` of one that is DONE says what was damaged in it. `source` is the spool if it could be opened, which is
    closed by now. `is_refused`: it is left because the server refuses its runs.
    """

    path: Path
    end: End
    why: str = ""
    source: SpoolFile | None = None
    is_refused: bool = False

    @property
    def part(self) -> Path | None:
        """The file of the runs that were set aside because the server refuses them."""
        if self.source is None or self.source.aside is None:
            return None
        return self.source.aside.path if any(map(retries.is_refusal, self.source.left.reasons)) else None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the spool waits any more, also not in another file."""
        return self.end.is_over and (self.source is None or self.source.aside is None)


class Delivering:
    """Delivers spools in order, but none behind one that is left of the same process or for a server that is away.

    Each goes to its own server or to the address of the obstacles. `told` is called for each request; `go_on` stops a
    delivery when it is false.
    """

    def __init__(
        self,
        obstacles: Obstacles,
        *,
        told: Callable[[], None] = lambda: None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._obstacles = obstacles
        self._told = told
        self._go_on = go_on

    def attempts(self, paths: Iterable[Path]) -> Iterator[SpoolAttempt]:
        """Tries each spool once, when it is asked for."""
        return map(self._attempt, paths)

    def _attempt(self, path: Path) -> SpoolAttempt:
        try:
            spool = _opened(path)
        except FileNotFoundError:
            return SpoolAttempt(path, End.GONE)
        except OSError as problem:
            self._obstacles.hold(writer_of(path))
            return SpoolAttempt(path, End.IN_USE if isinstance(problem, SpoolInUse) else End.UNREADABLE, str(problem))
        try:
            return self._deliver(spool)
        finally:
            spool.close()

    def _deliver(self, spool: Spool) -> SpoolAttempt:
        source, writer = SpoolFile(spool, told=self._told, go_on=self._go_on), holders.name_of(spool.server)
        if (obstacle := self._obstacles.before(spool.server, writer)) is not None:
            return SpoolAttempt(spool.path, End.WAITS, obstacle.message, source)
        obstacle = source.deliver(
            self._obstacles.address_of(spool.server), self._obstacles.left, self._obstacles.origin
        )
        self._obstacles.left.update(source.left)
        if source.delivered:
            self._obstacles.took(spool.server)
        if obstacle is None:
            try:
                return SpoolAttempt(spool.path, End.DONE, spool.remove(), source)
            except OSError as problem:
                why = f"everything in it is delivered, and it can't be deleted: {problem}"
                return SpoolAttempt(spool.path, End.LEFT, why, source)
        if source.has_tried_all and not retries.is_passing(obstacle):
            self._obstacles.failed(obstacle, spool.server)
        else:
            self._obstacles.met(obstacle, spool.server, writer)
        return SpoolAttempt(spool.path, End.LEFT, obstacle.message, source, retries.is_refusal(obstacle))


def _opened(path: Path) -> Spool:
    """Opens a spool, also one that another process has just given the name of a closed one."""
    try:
        return Spool.open(path)
    except FileNotFoundError:
        return Spool.open(closed(path))
