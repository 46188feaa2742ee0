"""RunService: contract in, contract out."""

from typing import Any

import grpc
from google.protobuf.message import Message

from modelry.api.tracking import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.tracking.domain.runs import RunDraft, Runs
from modelry_server.tracking.entities import PARTS, Batch, DatasetInput, Run, RunStatus
from modelry_server.tracking.rpc import datasets, metrics
from modelry_server.tracking.rpc.experiments import DEFAULT_WORKSPACE, lifecycle

_CHANGEABLE = ("name", "status", "end_time")


class RunService(api.RunServiceServicer):
    """Answers calls about runs."""

    def __init__(self, runs: Runs, pager: Pager) -> None:
        self._runs = runs
        self._pager = pager

    def CreateRun(self, request: api.CreateRunRequest, context: grpc.ServicerContext) -> api.CreateRunResponse:
        """Starts a run."""
        new = RunDraft(
            experiment_id=request.experiment_id,
            name=request.name,
            run_id=request.run_id,
            parent_run_id=request.parent_run_id,
            start_time=_milliseconds(request, "start_time"),
            user=request.user,
            params=dict(request.params),
            tags=dict(request.tags),
            metrics=metrics.columns(request.metrics),
        )
        return api.CreateRunResponse(run=_brief(self._runs.create(new, idempotency.request(request))))

    def GetRun(self, request: api.GetRunRequest, context: grpc.ServicerContext) -> api.GetRunResponse:
        """Reads one run."""
        return api.GetRunResponse(run=message(self._runs.get(request.run_id, _parts(request))))

    def UpdateRun(self, request: api.UpdateRunRequest, context: grpc.ServicerContext) -> api.UpdateRunResponse:
        """Changes name, status or end time."""
        given, paths = request.run, list(request.update_mask.paths)
        with Fields() as fields:
            fields.mask("update_mask", paths, _CHANGEABLE)
        paths = paths or [field.name for field, _ in given.ListFields() if field.name in _CHANGEABLE]
        values: dict[str, Any] = {
            "name": given.name,
            "status": status(given.status),
            "end_time": _milliseconds(given, "end_time", at="run."),
        }
        changed = self._runs.update(given.run_id, given.etag, {path: values[path] for path in paths})
        return api.UpdateRunResponse(run=_brief(changed))

    def FinishRun(self, request: api.FinishRunRequest, context: grpc.ServicerContext) -> api.FinishRunResponse:
        """Ends a run."""
        ended = RunStatus.FINISHED if request.status == api.RUN_STATUS_UNSPECIFIED else status(request.status)
        end_time = _milliseconds(request, "end_time")
        return api.FinishRunResponse(run=_brief(self._runs.finish(request.run_id, ended, end_time)))

    def DeleteRun(self, request: api.DeleteRunRequest, context: grpc.ServicerContext) -> api.DeleteRunResponse:
        """Deletes a run."""
        return api.DeleteRunResponse(run=_brief(self._runs.delete(request.run_id)))

    def RestoreRun(self, request: api.RestoreRunRequest, context: grpc.ServicerContext) -> api.RestoreRunResponse:
        """Restores a run."""
        return api.RestoreRunResponse(run=_brief(self._runs.restore(request.run_id)))

    def SearchRuns(self, request: api.SearchRunsRequest, context: grpc.ServicerContext) -> api.SearchRunsResponse:
        """Finds runs."""
        workspace, wanted = request.workspace or DEFAULT_WORKSPACE, lifecycle(request.lifecycle)
        scope = (
            "SearchRuns",
            workspace,
            wanted.name,
            " ".join(request.experiment_ids),
            request.filter,
            *request.order_by,
        )
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found, more = self._runs.search(
            workspace,
            list(request.experiment_ids),
            wanted,
            request.filter,
            list(request.order_by),
            page.after,
            page.size,
            _parts(request),
        )
        messages = fitting((message(each.run) for each in found), page.size)
        more = more or len(messages) < len(found)
        token = self._pager.token(scope, found[len(messages) - 1].place) if more else ""
        return api.SearchRunsResponse(runs=messages, next_page_token=token)

    def LogBatch(self, request: api.LogBatchRequest, context: grpc.ServicerContext) -> api.LogBatchResponse:
        """Adds params, metrics and tags."""
        batch = Batch(request.run_id, metrics.columns(request.metrics), dict(request.params), dict(request.tags))
        self._runs.log_batch(batch)
        return api.LogBatchResponse()

    def DeleteRunTags(
        self, request: api.DeleteRunTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteRunTagsResponse:
        """Removes tags."""
        self._runs.delete_tags(request.run_id, list(request.keys))
        return api.DeleteRunTagsResponse()


def message(run: Run) -> api.Run:
    """The run as the contract has it, with all its parts."""
    result = _brief(run)
    result.params.update(run.params)
    result.tags.update(run.tags)
    metrics.add_summaries(result.metrics, run.metrics)
    result.datasets.extend(map(_input, run.datasets))
    return result


def status(number: int) -> RunStatus | None:
    """The status of a number of the contract; None for one that it does not have."""
    return RunStatus(number) if number in RunStatus.__members__.values() else None


def _milliseconds(message: Message, field: str, *, at: str = "") -> int | None:
    """A time field as milliseconds, whether or not a Timestamp may hold its seconds: the domain judges that."""
    if not message.HasField(field):
        return None
    time = getattr(message, field)
    if not 0 <= time.nanos < 1_000_000_000:
        raise FieldInvalid({f"{at}{field}": f"{time.nanos} nanoseconds are not within a second: 0 to 999999999"})
    return int(time.seconds * 1000 + time.nanos // 1_000_000)


def _brief(run: Run) -> api.Run:
    result = api.Run(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        workspace=run.workspace,
        name=run.name,
        status=api.RunStatus.ValueType(run.status),
        lifecycle=api.Lifecycle.ValueType(run.lifecycle),
        parent_run_id=run.parent_run_id,
        user=run.user,
        etag=run.etag,
    )
    result.start_time.FromMilliseconds(run.start_time)
    if run.end_time is not None:
        result.end_time.FromMilliseconds(run.end_time)
    if run.delete_time is not None:
        result.delete_time.FromMilliseconds(run.delete_time)
    return result


def _input(used: DatasetInput) -> api.DatasetInput:
    return api.DatasetInput(dataset=datasets.message(used.dataset), context=used.context)


def _parts(request: api.GetRunRequest | api.SearchRunsRequest) -> tuple[str, ...]:
    if not request.HasField("read_mask"):
        return PARTS
    with Fields() as fields:
        fields.mask("read_mask", request.read_mask.paths, PARTS)
    return tuple(request.read_mask.paths)
