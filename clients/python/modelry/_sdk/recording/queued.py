"""A request that waits to be sent, encoded once: it is the same in memory, in the spool, and when it is sent again."""

from __future__ import annotations

import struct
from dataclasses import dataclass

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
UPLOAD = "upload"
"""Not an rpc: uploads files that lie beside the spool. The content is JSON, see `spool.Upload`."""

_LENGTH = struct.Struct("<I")


@dataclass(slots=True, eq=False)
class QueuedRequest:
    """What is to be sent, and how often it failed.

    `method` is the path of an rpc, START_RUN or UPLOAD. `points` is the number of its metric points. `end` is the
    position in the spool at which its record ends, 0 while it is in memory only.
    """

    method: str
    content: bytes
    points: int = 0
    end: int = 0
    gaps: int = 0
    faults: int = 0

    @property
    def is_start(self) -> bool:
        """Whether it creates a run."""
        return self.method in (CREATE_RUN, START_RUN)

    @property
    def numbered(self) -> bool:
        """Whether it is a numbered batch. Several of those may be under way at once."""
        return self.method == WRITE_METRICS


def start_run(create_experiment: bytes, create_run: bytes) -> QueuedRequest:
    """Creates a run in an experiment whose id is not known yet: the id is filled in when this is sent."""
    return QueuedRequest(START_RUN, _LENGTH.pack(len(create_experiment)) + create_experiment + create_run)


def parts_of_start_run(content: bytes) -> tuple[bytes, bytes]:
    """The encoded CreateExperimentRequest and CreateRunRequest of a `start_run`."""
    (length,) = _LENGTH.unpack_from(content)
    middle = _LENGTH.size + length
    return content[_LENGTH.size : middle], content[middle:]
