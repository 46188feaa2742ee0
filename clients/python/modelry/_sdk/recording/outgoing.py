"""A request on its way to the server, as bytes: in memory, in the spool, and when it is sent again, always the same."""

from __future__ import annotations

import struct
from dataclasses import dataclass

WRITE_METRICS = "modelry.api.tracking.v1.MetricService/WriteMetrics"
LOG_BATCH = "modelry.api.tracking.v1.RunService/LogBatch"
CREATE_RUN = "modelry.api.tracking.v1.RunService/CreateRun"
UPDATE_RUN = "modelry.api.tracking.v1.RunService/UpdateRun"
FINISH_RUN = "modelry.api.tracking.v1.RunService/FinishRun"
DELETE_RUN_TAGS = "modelry.api.tracking.v1.RunService/DeleteRunTags"
LOG_DATASETS = "modelry.api.tracking.v1.DatasetService/LogDatasets"
START_RUN = "start-run"
"""Not an rpc: makes an experiment by its name, or finds it, and starts a run in it. See `start_run`."""
UPLOAD = "upload"
"""Not an rpc: uploads a file that lies beside the spool. The content is JSON, see `spool.Upload`."""

_LENGTH = struct.Struct("<I")


@dataclass(slots=True, eq=False)
class Request:
    """What is to be sent, and how often it went wrong.

    `points` is how many metric points it holds; `end` is where its record ends in the spool, 0 while it is in memory
    only.
    """

    method: str
    content: bytes
    points: int = 0
    end: int = 0
    gaps: int = 0
    faults: int = 0

    @property
    def numbered(self) -> bool:
        """Whether it is a numbered batch, of which several may be under way at once."""
        return self.method == WRITE_METRICS


def start_run(create_experiment: bytes, create_run: bytes) -> Request:
    """Starts a run in an experiment whose id nobody knows yet; the id is filled in when it is sent."""
    return Request(START_RUN, _LENGTH.pack(len(create_experiment)) + create_experiment + create_run)


def parts_of_start_run(content: bytes) -> tuple[bytes, bytes]:
    """The CreateExperimentRequest and the CreateRunRequest of a `start_run`."""
    (length,) = _LENGTH.unpack_from(content)
    middle = _LENGTH.size + length
    return content[_LENGTH.size : middle], content[middle:]
