"""RunService: contract in, contract out."""

from collections.abc import Collection
from functools import partial
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.tracking import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.times import milliseconds
from modelry_server.kernel.requests.updates import EVERYTHING, changes
from modelry_server.tracking.domain.heartbeats import DEFAULT_PERIOD_MS, Heartbeats
from modelry_server.tracking.domain.run_creation import RunCreation, RunDraft
from modelry_server.tracking.domain.runs import CHANGEABLE, Runs
from modelry_server.tracking.entities import Batch, DatasetInput, Run, RunStatus
from modelry_server.tracking.rpc import datasets, metrics
from modelry_server.tracking.rpc.experiments import lifecycle, lifecycle_filter

_FIELDS = tuple(field.name for field in api.Run.DESCRIPTOR.fields)


class RunService(api.RunServiceServicer):
    """Answers calls about runs."""

    def __init__(self, run_creation: RunCreation, runs: Runs, heartbeats: Heartbeats, pager: Pager) -> None:
        self._run_creation = run_creation
        self._runs = runs
        self._heartbeats = heartbeats
        self._pager = pager

    def CreateRun(self, request: api.CreateRunRequest, context: grpc.ServicerContext) -> api.CreateRunResponse:
        """Starts a run."""
        new = RunDraft(
            experiment_id=request.experiment_id,
            name=request.name,
            run_id=request.run_id,
            parent_run_id=request.parent_run_id,
            start_time=milliseconds(request, "start_time"),
            description=request.description,
            claimed_user=request.claimed_user,
            params=dict(request.params),
            tags=dict(request.tags),
            metrics=metrics.columns(request.metrics),
            participant=request.participant,
        )
        return api.CreateRunResponse(run=_brief(self._run_creation.create(new, idempotency.request(request))))

    def GetRun(self, request: api.GetRunRequest, context: grpc.ServicerContext) -> api.GetRunResponse:
        """Reads a run."""
        wanted = _read(request.read_mask)
        return api.GetRunResponse(run=message(self._runs.get(request.run_id, wanted), wanted))

    def UpdateRun(self, request: api.UpdateRunRequest, context: grpc.ServicerContext) -> api.UpdateRunResponse:
        """Changes name, description, status or end time."""
        given = request.run

        def changed() -> dict[str, Any]:
            fields = changes(given, request.update_mask, CHANGEABLE)
            if "status" in fields:
                fields["status"] = _status(given.status, "run.status")
            if "end_time" in fields:
                fields["end_time"] = milliseconds(given, "end_time", prefix="run.")
            return fields

        run = self._runs.update(given.run_id, given.etag, changed, participant=request.participant, prefix="run.")
        return api.UpdateRunResponse(run=_brief(run))

    def FinishRun(self, request: api.FinishRunRequest, context: grpc.ServicerContext) -> api.FinishRunResponse:
        """Ends a run."""
        status = _status(request.status or api.RUN_STATUS_FINISHED, "status")
        end_time = milliseconds(request, "end_time")
        run = self._runs.finish(request.run_id, status, end_time, request.participant)
        return api.FinishRunResponse(run=_brief(run))

    def DeleteRun(self, request: api.DeleteRunRequest, context: grpc.ServicerContext) -> api.DeleteRunResponse:
        """Deletes a run."""
        return api.DeleteRunResponse(run=_brief(self._runs.delete(request.run_id)))

    def RestoreRun(self, request: api.RestoreRunRequest, context: grpc.ServicerContext) -> api.RestoreRunResponse:
        """Restores a run."""
        return api.RestoreRunResponse(run=_brief(self._runs.restore(request.run_id)))

    def SearchRuns(self, request: api.SearchRunsRequest, context: grpc.ServicerContext) -> api.SearchRunsResponse:
        """Finds runs."""
        wanted = _read(request.read_mask)
        search = partial(
            self._runs.search,
            request.workspace,
            experiment_ids=list(request.experiment_ids),
            filter=request.filter,
            order_by=list(request.order_by),
            lifecycle=lifecycle_filter(request.lifecycle),
            parts=wanted,
        )
        runs, next_page_token = self._pager.answer(request, search, lambda run: message(run, wanted))
        return api.SearchRunsResponse(runs=runs, next_page_token=next_page_token)

    def LogHeartbeats(
        self, request: api.LogHeartbeatsRequest, context: grpc.ServicerContext
    ) -> api.LogHeartbeatsResponse:
        """Notes that runs are alive."""
        period = milliseconds(request, "period")
        noted = self._heartbeats.log(list(request.run_ids), DEFAULT_PERIOD_MS if period is None else period)
        return api.LogHeartbeatsResponse(
            unknown_run_ids=noted.unknown,
            not_running_run_ids=noted.not_running,
            deleted_run_ids=noted.deleted,
            denied_run_ids=noted.denied,
        )

    def LogBatch(self, request: api.LogBatchRequest, context: grpc.ServicerContext) -> api.LogBatchResponse:
        """Adds params, metrics and tags."""
        batch = Batch(request.run_id, metrics.columns(request.metrics), dict(request.params), dict(request.tags))
        self._runs.log_batch(batch)
        return api.LogBatchResponse()

    def SetRunTags(self, request: api.SetRunTagsRequest, context: grpc.ServicerContext) -> api.SetRunTagsResponse:
        """Sets tags."""
        return api.SetRunTagsResponse(run=_brief(self._runs.set_tags(request.run_id, dict(request.tags))))

    def DeleteRunTags(
        self, request: api.DeleteRunTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteRunTagsResponse:
        """Removes tags."""
        return api.DeleteRunTagsResponse(run=_brief(self._runs.delete_tags(request.run_id, list(request.keys))))


def message(run: Run, wanted: Collection[str] = _FIELDS) -> api.Run:
    """The run as the contract has it: its id, and the wanted fields."""
    result = _brief(run)
    result.params.update(run.params)
    result.tags.update(run.tags)
    metrics.add_summaries(result.metrics, run.metrics)
    result.datasets.extend(map(_input, run.datasets))
    if wanted is not _FIELDS:
        for field in _FIELDS:
            if field not in wanted and field != "run_id":
                result.ClearField(field)  # type: ignore[arg-type]  # the stub knows literal names only
    return result


def _brief(run: Run) -> api.Run:
    """The run without params, tags, metrics and datasets."""
    result = api.Run(
        run_id=run.run_id,
        workspace=run.workspace,
        experiment_id=run.experiment_id,
        name=run.name,
        status=api.RunStatus.ValueType(run.status),
        lifecycle=lifecycle(run.lifecycle),
        parent_run_id=run.parent_run_id,
        description=run.description,
        claimed_user=run.claimed_user,
        creator=run.creator,
        etag=run.etag,
    )
    result.start_time.FromMilliseconds(run.start_time)
    if run.end_time is not None:
        result.end_time.FromMilliseconds(run.end_time)
    if run.delete_time is not None:
        result.delete_time.FromMilliseconds(run.delete_time)
    return result


def _read(mask: FieldMask) -> tuple[str, ...]:
    """The fields of a run that a request reads. Raises FieldInvalid for a path that is no field."""
    if not mask.paths or mask.paths == [EVERYTHING]:
        return _FIELDS
    with Fields() as fields:
        named = fields.mask("read_mask", mask.paths, _FIELDS)
    return tuple(named)


def _status(number: int, path: str) -> RunStatus:
    if number in RunStatus.__members__.values():
        return RunStatus(number)
    known = ", ".join(status.name for status in RunStatus)
    raise FieldInvalid({path: f"{number} is not a status that this server knows; use one of {known}"})


def _input(used: DatasetInput) -> api.DatasetInput:
    return api.DatasetInput(dataset=datasets.message(used.dataset), context=used.context)
