"""Runs: one execution of training code each, with params, tags and summaries of metrics."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.datasets import DatasetInput, input_of
from modelry._sdk.nouns.experiments import Lifecycle, default_experiment_id, lifecycle_number, lifecycle_of
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.metrics import MetricSummary, Points, Summaries, add_columns
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import stamp_of, time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.tracking import v1 as tracking
from modelry.errors import InvalidArgument

_SERVICE = "modelry.api.tracking.v1.RunService"


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it was when it was read.

    `metrics` has the last value of each metric, `summaries` all that is known of it. Who comes from MLflow finds
    `run.info.run_id` and `run.data.params` too: `info` and `data` are the run itself.
    """

    run_id: str
    experiment_id: str
    name: str
    status: RunStatus
    lifecycle: Lifecycle
    parent_run_id: str
    start_time: datetime | None
    end_time: datetime | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    summaries: Mapping[str, MetricSummary] = field(repr=False)
    datasets: Sequence[DatasetInput] = field(repr=False)
    workspace: str
    user: str
    delete_time: datetime | None
    etag: str

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run_id

    @property
    def run_name(self) -> str:
        """The name of the run."""
        return self.name

    @property
    def user_id(self) -> str:
        """The user, as MLflow calls it."""
        return self.user

    @property
    def lifecycle_stage(self) -> str:
        """The lifecycle as MLflow writes it: `active` or `deleted`."""
        return self.lifecycle.lower()

    @property
    def artifact_uri(self) -> str:
        """What the URIs of the run's files begin with: `runs:/<run_id>`."""
        return f"runs:/{self.run_id}"

    @property
    def info(self) -> Run:
        """The run itself, for code that says `run.info.run_id`."""
        return self

    @property
    def data(self) -> Run:
        """The run itself, for code that says `run.data.metrics`."""
        return self


class Runs:
    """Starts, reads, changes, ends, deletes and finds runs."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        experiment_id: str | int | None = None,
        *,
        name: str = "",
        run_id: str = "",
        parent_run_id: str = "",
        start_time: datetime | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
        metrics: Points = (),
        user: str = "",
    ) -> Run:
        """Starts a run with whatever is known of it already, all or nothing.

        Without an `experiment_id` it goes into the experiment `Default` of the workspace. Without a `run_id` (a UUIDv7
        as 32 hexadecimal characters) the server chooses one. Sending it again after a lost answer makes no second run.
        The answer has no params, tags and metrics: the caller knows them. Raises ExperimentNotFound,
        ExperimentDeleted, RunExists, RunNotFound (the parent) and FieldInvalid.
        """
        if experiment_id is None:
            experiment_id = default_experiment_id(self._connection, self._workspace)
        request = tracking.CreateRunRequest(
            experiment_id=arguments.id_text("experiment_id", experiment_id),
            name=str(name),
            run_id=run_id,
            parent_run_id=parent_run_id,
            start_time=stamp_of(start_time),
            params=arguments.texts(params),
            tags=arguments.texts(tags),
            user=user,
            request_id=uuid.uuid4().hex,
        )
        add_columns(request.metrics, metrics)
        return run_of(self._connection.call(f"{_SERVICE}/CreateRun", request, tracking.CreateRunResponse).run)

    def get(self, run_id: str, *, read: str | Iterable[str] | None = None) -> Run:
        """Reads a run, also a deleted one. Raises RunNotFound.

        `read` says which of `params`, `tags`, `metrics` and `datasets` are wanted; without it all four.
        """
        request = tracking.GetRunRequest(run_id=run_id)
        if read is not None:
            request.read_mask.paths.extend(arguments.listed("read", read))
        return run_of(self._connection.call(f"{_SERVICE}/GetRun", request, tracking.GetRunResponse).run)

    def update(
        self, run_id: str, *, name: str | None = None, status: RunStatus | str | None = None, etag: str = ""
    ) -> Run:
        """Changes name or status; a run that ended can be set running again. What is None stays.

        With an `etag` it raises EtagMismatch where somebody else changed the run since. Raises RunNotFound, RunDeleted
        and FieldInvalid.
        """
        request = tracking.UpdateRunRequest(run=tracking.Run(run_id=run_id, etag=etag))
        if name is not None:
            request.run.name = str(name)
            request.update_mask.paths.append("name")
        if status is not None:
            request.run.status = status_number(status)
            request.update_mask.paths.append("status")
        return run_of(self._connection.call(f"{_SERVICE}/UpdateRun", request, tracking.UpdateRunResponse).run)

    def finish(
        self, run_id: str, status: RunStatus | str = RunStatus.FINISHED, *, end_time: datetime | None = None
    ) -> Run:
        """Ends a run; without a time now. Ending it again with the same status changes nothing.

        Raises RunNotFound, RunDeleted, and RunAlreadyEnded where it ended with another status.
        """
        request = tracking.FinishRunRequest(run_id=run_id, status=status_number(status), end_time=stamp_of(end_time))
        return run_of(self._connection.call(f"{_SERVICE}/FinishRun", request, tracking.FinishRunResponse).run)

    def delete(self, run_id: str) -> Run:
        """Deletes a run, which `restore` undoes. Deleting it again changes nothing. Raises RunNotFound."""
        request = tracking.DeleteRunRequest(run_id=run_id)
        return run_of(self._connection.call(f"{_SERVICE}/DeleteRun", request, tracking.DeleteRunResponse).run)

    def restore(self, run_id: str) -> Run:
        """Restores a deleted run. Restoring an active one changes nothing. Raises RunNotFound."""
        request = tracking.RestoreRunRequest(run_id=run_id)
        return run_of(self._connection.call(f"{_SERVICE}/RestoreRun", request, tracking.RestoreRunResponse).run)

    def search(
        self,
        experiment_ids: str | int | Iterable[str | int] = (),
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        lifecycle: Lifecycle | str = Lifecycle.ACTIVE,
        max_results: int | None = None,
        page_size: int = 100,
        read: str | Iterable[str] | None = None,
    ) -> LazyList[Run]:
        """Finds runs, in all experiments of the workspace unless some are named; the newest first unless ordered.

        `read` as in `get`. A single id, order or field may stand without its list. Raises FilterSyntax, FieldInvalid
        and ExperimentNotFound when the list is read.
        """
        request = tracking.SearchRunsRequest(
            workspace=self._workspace,
            experiment_ids=arguments.ids("experiment_ids", experiment_ids),
            filter=filter,
            order_by=arguments.listed("order_by", order_by),
            lifecycle=lifecycle_number(lifecycle),
        )
        if read is not None:
            request.read_mask.paths.extend(arguments.listed("read", read))

        def fetch(size: int, token: str) -> tuple[list[Run], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(f"{_SERVICE}/SearchRuns", request, tracking.SearchRunsResponse)
            return [run_of(message) for message in page.runs], page.next_page_token

        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Points = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Adds params, metrics and tags in one transaction, all or nothing; returns when it is committed.

        Metrics are columns or values by key, or an iterable of (key, value, time in ms, step). Values of params and
        tags are turned to text. Raises RunNotFound, RunDeleted, ParamConflict and FieldInvalid.
        """
        request = tracking.LogBatchRequest(run_id=run_id, params=arguments.texts(params), tags=arguments.texts(tags))
        add_columns(request.metrics, metrics)
        self._connection.call(f"{_SERVICE}/LogBatch", request, tracking.LogBatchResponse)

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Adds params, all or none: write-once, though the same value again is fine. Errors as in `log_batch`."""
        self.log_batch(run_id, params=params)

    def log_metrics(self, run_id: str, metrics: Points) -> None:
        """Adds points, all or none. Errors as in `log_batch`."""
        self.log_batch(run_id, metrics=metrics)

    def set_tags(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Sets tags, all or none; tags of the same keys are replaced, others stay. Errors as in `log_batch`."""
        self.log_batch(run_id, tags=tags)

    def delete_tags(self, run_id: str, keys: str | Iterable[str]) -> None:
        """Removes tags, all or none. Raises RunNotFound, RunDeleted or TagNotFound."""
        request = tracking.DeleteRunTagsRequest(run_id=run_id, keys=arguments.listed("keys", keys))
        self._connection.call(f"{_SERVICE}/DeleteRunTags", request, tracking.DeleteRunTagsResponse)


def run_of(message: tracking.Run) -> Run:
    """The run that a message holds."""
    summaries = Summaries(message.metrics)
    return Run(
        run_id=message.run_id,
        experiment_id=message.experiment_id,
        name=message.name,
        status=_status_of(message.status),
        lifecycle=lifecycle_of(message.lifecycle),
        parent_run_id=message.parent_run_id,
        start_time=time_of(message, "start_time"),
        end_time=time_of(message, "end_time"),
        params=dict(message.params),
        tags=dict(message.tags),
        metrics=summaries.last_values(),
        summaries=summaries,
        datasets=tuple(input_of(given) for given in message.datasets),
        workspace=message.workspace,
        user=message.user,
        delete_time=time_of(message, "delete_time"),
        etag=message.etag,
    )


def status_number(status: RunStatus | str) -> tracking.RunStatus.ValueType:
    """The status of a request. Raises InvalidArgument for a word that is none."""
    try:
        return tracking.RunStatus.Value(f"RUN_STATUS_{RunStatus(str(status).upper()).value}")
    except ValueError:
        raise InvalidArgument(
            f"run status {status!r} is not one of {', '.join(RunStatus)}", fields={"status": "is unknown"}
        ) from None


@functools.cache
def _status_of(number: tracking.RunStatus.ValueType) -> RunStatus:
    known = number in tracking.RunStatus.values() and number != tracking.RUN_STATUS_UNSPECIFIED
    return RunStatus(tracking.RunStatus.Name(number).removeprefix("RUN_STATUS_")) if known else RunStatus.RUNNING
