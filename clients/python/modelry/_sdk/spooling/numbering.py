"""Gives numbered batches new numbers after one of them was refused, passed over or set aside, or is missing.

The server takes a writer's batches without gaps. If a batch is refused, the later ones are sent as another writer. Its
name is computed from the old name and the refused number, so whoever sends the same spool again computes the same
names, and the server recognises what is committed already.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from modelry._sdk.spooling import queued
from modelry._sdk.spooling.queued import CREATE_RUN, LOG_BATCH, START_RUN, UPDATE_RUN, WRITE_METRICS, QueuedRequest
from modelry.api.tracking.v1 import rpcs
from modelry.api.tracking.v1.metric_service_pb2 import WriteMetricsRequest
from modelry.api.tracking.v1.run_pb2 import Run
from modelry.api.tracking.v1.run_service_pb2 import CreateRunRequest, LogBatchRequest, UpdateRunRequest


@dataclass(slots=True)
class _Successor:
    writer_id: str
    last_number: int


class Numbering:
    """Remembers which writers have a successor."""

    def __init__(self) -> None:
        self._successors: dict[str, _Successor] = {}

    def apply(self, request: QueuedRequest) -> None:
        """Renumbers a batch whose writer has a successor. Each batch must come here once, in order."""
        if not self._successors or not request.numbered or request.apart:
            return
        message = WriteMetricsRequest.FromString(request.content)
        successor = self._successors.get(message.writer_id)
        if successor is None:
            return
        successor.last_number += 1
        _renumber(request, message, successor.writer_id, successor.last_number)

    def isolate(self, request: QueuedRequest, why: str) -> None:
        """Makes a batch the only one of a writer, such as one that was split off. `why` is part of the name."""
        if request.numbered:
            message = WriteMetricsRequest.FromString(request.content)
            _renumber(request, message, _name(message, why), 1)
            request.apart = True

    def succeed(self, request: QueuedRequest, why: str) -> None:
        """Begins another writer for the batches that are applied from now on. `why` is part of its name.

        A name must say whether this batch is the first of the new writer: else two batches might get one number.
        """
        message = WriteMetricsRequest.FromString(request.content)
        name = _name(message, why)
        successor = _Successor(name, 0)
        for known in self._successors.values():
            if known.writer_id == message.writer_id:
                known.writer_id, known.last_number = name, 0
                successor = known
        self._successors[message.writer_id] = successor


def _renumber(request: QueuedRequest, message: WriteMetricsRequest, writer_id: str, number: int) -> None:
    message.writer_id, message.batch_number = writer_id, number
    request.content, request.number = message.SerializeToString(), number


def _name(batch: WriteMetricsRequest, why: str) -> str:
    return hashlib.sha256(f"{batch.writer_id}/{batch.batch_number}/{why}".encode()).hexdigest()[:32]


def split(request: QueuedRequest) -> list[QueuedRequest]:
    """The smallest parts of a refused request: one for each metric, param or tag. Empty if it has only one.

    Of the start of a run: the bare start, and a part for whatever can be said of the run later.
    """
    if request.is_start:
        return _parts_of_start(request)
    if request.method == WRITE_METRICS:
        batch = WriteMetricsRequest.FromString(request.content)
        parts = []
        for columns in batch.metrics:
            part = WriteMetricsRequest(run_id=batch.run_id, writer_id=batch.writer_id, batch_number=batch.batch_number)
            part.metrics.append(columns)
            parts.append(QueuedRequest(WRITE_METRICS, part.SerializeToString(), points=len(columns.values)))
    else:
        texts = LogBatchRequest.FromString(request.content)
        messages = [LogBatchRequest(run_id=texts.run_id, params={key: text}) for key, text in texts.params.items()]
        messages += [LogBatchRequest(run_id=texts.run_id, tags={key: text}) for key, text in texts.tags.items()]
        parts = [QueuedRequest(request.method, message.SerializeToString()) for message in messages]
    if len(parts) < 2:
        return []
    parts[-1].end = request.end
    return parts


def _parts_of_start(request: QueuedRequest) -> list[QueuedRequest]:
    experiment, content = (
        queued.parts_of_start_run(request.content) if request.method == START_RUN else (b"", request.content)
    )
    whole = CreateRunRequest.FromString(content)
    bare = CreateRunRequest()
    bare.CopyFrom(whole)
    for field in ("name", "description", "params", "tags"):
        bare.ClearField(field)
    if bare == whole:
        if not whole.claimed_user:
            return []
        bare.ClearField("claimed_user")  # nothing else is left that could be refused for what it says
    start = bare.SerializeToString()
    parts = [queued.start_run(experiment, start) if experiment else QueuedRequest(CREATE_RUN, start)]
    for field in ("name", "description"):
        if text := getattr(whole, field):
            update = UpdateRunRequest(run=Run(run_id=whole.run_id, **{field: text}))
            update.update_mask.paths.append(field)
            parts.append(QueuedRequest(UPDATE_RUN, update.SerializeToString()))
    if whole.params or whole.tags:
        batch = LogBatchRequest(run_id=whole.run_id, params=whole.params, tags=whole.tags)
        parts.append(QueuedRequest(LOG_BATCH, batch.SerializeToString()))
    parts[-1].end = request.end
    return parts


_OF_A_RUN: dict[str, type[Any]] = {
    rpc.path: rpc.request
    for rpc in (
        rpcs.WRITE_METRICS,
        rpcs.LOG_BATCH,
        rpcs.CREATE_RUN,
        rpcs.FINISH_RUN,
        rpcs.DELETE_RUN_TAGS,
        rpcs.LOG_DATASETS,
    )
}


def run_of(request: QueuedRequest) -> str:
    """The id of the run that a request is about."""
    content = request.content
    if request.method == UPDATE_RUN:
        return UpdateRunRequest.FromString(content).run.run_id
    if request.method == START_RUN:
        return CreateRunRequest.FromString(queued.parts_of_start_run(content)[1]).run_id
    message = _OF_A_RUN.get(request.method)
    return "" if message is None else str(message.FromString(content).run_id)


def is_readable(request: QueuedRequest) -> bool:
    """Whether the content is a message of its method. A spool of another release may have something else."""
    try:
        run_of(request)
        if request.method == START_RUN:
            rpcs.CREATE_EXPERIMENT.request.FromString(queued.parts_of_start_run(request.content)[0])
    except DecodeError:
        return False
    return True


def number_of(request: QueuedRequest) -> int:
    """The number of a numbered batch."""
    return request.number or WriteMetricsRequest.FromString(request.content).batch_number


def key_of(request: QueuedRequest) -> str:
    """The quoted key of the metric, param or tag in a request. Empty if the request has not exactly one."""
    keys: list[str] = []
    if request.method == WRITE_METRICS:
        keys = [columns.key for columns in WriteMetricsRequest.FromString(request.content).metrics]
    elif request.method == LOG_BATCH:
        texts = LogBatchRequest.FromString(request.content)
        keys = [*texts.params, *texts.tags]
    return repr(keys[0]) if len(keys) == 1 else ""


def subjects_of(request: QueuedRequest) -> set[str]:
    """What a request sets, where the order counts: of two requests with a subject in common the later one wins.

    A numbered batch has none, since points stand beside each other, and so do datasets.
    """
    content = request.content
    if request.method == LOG_BATCH:
        texts = LogBatchRequest.FromString(content)
        return {f"param {key}" for key in texts.params} | {f"tag {key}" for key in texts.tags}
    if request.method == queued.DELETE_RUN_TAGS:
        return {f"tag {key}" for key in rpcs.DELETE_RUN_TAGS.request.FromString(content).keys}
    if request.method == UPDATE_RUN:
        paths = set(UpdateRunRequest.FromString(content).update_mask.paths)
        return paths if paths and "*" not in paths else _UPDATED
    return {"status", "end_time"} if request.method == queued.FINISH_RUN else set()


_UPDATED = {"name", "description", "status", "end_time"}
