"""A request that waits to be sent, encoded once: it is the same in memory, in the spool, and when it is sent again."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from modelry.api.tracking.v1 import rpcs

WRITE_METRICS = rpcs.WRITE_METRICS.path
LOG_BATCH = rpcs.LOG_BATCH.path
CREATE_RUN = rpcs.CREATE_RUN.path
UPDATE_RUN = rpcs.UPDATE_RUN.path
FINISH_RUN = rpcs.FINISH_RUN.path
DELETE_RUN_TAGS = rpcs.DELETE_RUN_TAGS.path
LOG_DATASETS = rpcs.LOG_DATASETS.path
START_RUN = "start-run"
"""Not an rpc: creates an experiment by its name, or finds it, and creates a run in it. See `start_run`."""
METHODS = (WRITE_METRICS, LOG_BATCH, CREATE_RUN, UPDATE_RUN, FINISH_RUN, DELETE_RUN_TAGS, LOG_DATASETS, START_RUN)
"""All that is ever sent."""

_LENGTH = struct.Struct("<I")


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """What is to be sent, and how often it failed.

    `method` is the path of an rpc, or START_RUN. `points` is the number of its metric points. `end` is the position in
    the spool at which its record ends, 0 while it is in memory only. `order` is its place among the others of a
    delivery, and of a part its place in the whole. `apart`: a batch that does not count any more for the numbers of its
    writer. `proven`: the server failed at it, and took a later one. `number` is that of a numbered batch, 0 if it must
    be read from the content.
    """

    method: str
    content: bytes
    points: int = 0
    end: int = 0
    gaps: int = 0
    faults: int = 0
    order: tuple[int, ...] = ()
    number: int = 0
    apart: bool = False
    proven: bool = False

    @property
    def is_start(self) -> bool:
        """Whether it creates a run."""
        return self.method in (CREATE_RUN, START_RUN)

    @property
    def numbered(self) -> bool:
        """Whether it is a numbered batch. Several of those may be under way at once."""
        return self.method == WRITE_METRICS


def move_first(queue: deque[QueuedRequest], to: list[QueuedRequest] | deque[QueuedRequest]) -> None:
    """Moves the first of a queue, so that it is lost in no case: if memory runs out it may be in both."""
    to.append(queue[0])
    queue.popleft()


def told(requests: int, points: int) -> str:
    """A number of requests as users count them: `3 points and 2 other entries`, where a batch has many points."""
    parts = [f"{points} point{'' if points == 1 else 's'}"] if points else []
    if requests:
        parts.append(f"{requests} {'other ' if points else ''}entr{'y' if requests == 1 else 'ies'}")
    return " and ".join(parts) or "nothing"


def start_run(create_experiment: bytes, create_run: bytes) -> QueuedRequest:
    """Creates a run in an experiment whose id is not known yet: the id is filled in when this is sent."""
    return QueuedRequest(START_RUN, _LENGTH.pack(len(create_experiment)) + create_experiment + create_run)


def parts_of_start_run(content: bytes) -> tuple[bytes, bytes]:
    """The encoded CreateExperimentRequest and CreateRunRequest of a `start_run`. Raises DecodeError if cut off."""
    middle = _LENGTH.size
    if len(content) >= middle:
        middle += _LENGTH.unpack_from(content)[0]
    if len(content) < middle:
        raise DecodeError("the start of a run is cut off")
    return content[_LENGTH.size : middle], content[middle:]
