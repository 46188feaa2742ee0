"""Runs: one execution of training code each, with params, tags and summaries of metrics."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modelry._sdk.files.console import ConsoleLine
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.datasets import DatasetInput, input_of
from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter, RunStatus, member_of, name_of
from modelry._sdk.nouns.experiments import default_experiment_id, lifecycle_filter, lifecycle_of
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.metrics import MetricSummary, Points, Summaries, add_columns
from modelry._sdk.nouns.mlflow_names import RunNames
from modelry._sdk.nouns.sorting import tell_fields_of_mlflow, tell_unsorted
from modelry._sdk.nouns.times import stamp_of, time_of
from modelry._sdk.transport import unfinished
from modelry._sdk.transport.connection import Connection
from modelry.api.tracking import v1 as tracking

DEFAULT_PERIOD = 30.0
"""The seconds between two heartbeats of a run."""

_LARGE = {"params", "tags", "metrics", "datasets"}
_SMALL = [field.name for field in tracking.Run.DESCRIPTOR.fields if field.name not in _LARGE]
"""The fields of a run that are always read."""


@dataclass(frozen=True, slots=True)
class Run(RunNames):
    """A run as it was when it was read.

    `metrics` has the last value of each metric, `summaries` all that is known of it. `claimed_user` is who started it,
    as the client says; `creator` is the caller that created it.
    """

    run_id: str
    workspace: str
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
    description: str
    claimed_user: str
    creator: str
    delete_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class HeartbeatsIgnored:
    """The ids of runs for which a heartbeat had no effect.

    They do not exist, are not running, are deleted, or the caller may not change them.
    """

    unknown: Sequence[str]
    not_running: Sequence[str]
    deleted: Sequence[str]
    denied: Sequence[str]


@arguments.texts_checked
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
        description: str = "",
        claimed_user: str = "",
    ) -> Run:
        """Starts a run with everything that is known of it already, all or nothing.

        Without an `experiment_id` it goes into the experiment `Default` of the workspace. Without a `run_id` (a UUIDv7
        as 32 hexadecimal characters) the server chooses one. A retry after a lost answer creates no second run. The
        answer has no params, tags and metrics. Raises ExperimentNotFound, ExperimentDeleted, RunExists, RunNotFound
        (the parent) and FieldInvalid.
        """
        if experiment_id is None:
            experiment_id = default_experiment_id(self._connection, self._workspace)
        request = tracking.CreateRunRequest(
            experiment_id=arguments.id_text("experiment_id", experiment_id),
            name=name,
            run_id=run_id,
            parent_run_id=parent_run_id,
            start_time=stamp_of(start_time),
            params=arguments.texts(params, "params"),
            tags=arguments.texts(tags),
            description=description,
            claimed_user=claimed_user,
            request_id=uuid.uuid4().hex,
        )
        add_columns(request.metrics, metrics)
        return run_of(self._connection.call(tracking.rpcs.CREATE_RUN, request).run)

    def get(self, run_id: str, *, read: str | Iterable[str] | None = None) -> Run:
        """Reads a run, also a deleted one, with what this process has logged to it before. Raises RunNotFound.

        `read` selects some of `params`, `tags`, `metrics` and `datasets`. Default: all four.
        """
        request = tracking.GetRunRequest(run_id=run_id)
        unfinished.before_reading(run_id)
        request.read_mask.paths.extend(_mask("read", read))
        return run_of(self._connection.call(tracking.rpcs.GET_RUN, request).run)

    def update(
        self,
        run_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        status: RunStatus | str | None = None,
        end_time: datetime | None = None,
        etag: str = "",
    ) -> Run:
        """Changes the name, description, status or end time. What is None stays.

        A run that has ended can be set to running again. With an `etag` it raises EtagMismatch if somebody else has
        changed the run. Raises RunNotFound, RunDeleted and FieldInvalid.
        """
        request = tracking.UpdateRunRequest(run=tracking.Run(run_id=run_id, etag=etag))
        if name is not None:
            request.run.name = name
            request.update_mask.paths.append("name")
        if description is not None:
            request.run.description = description
            request.update_mask.paths.append("description")
        if status is not None:
            request.run.status = status_number(status)
            request.update_mask.paths.append("status")
        if (stamp := stamp_of(end_time)) is not None:
            request.run.end_time.CopyFrom(stamp)
            request.update_mask.paths.append("end_time")
        return run_of(self._connection.call(tracking.rpcs.UPDATE_RUN, request).run)

    def finish(
        self, run_id: str, status: RunStatus | str = RunStatus.FINISHED, *, end_time: datetime | None = None
    ) -> Run:
        """Ends a run, by default now. Ending it again with the same status changes nothing.

        Raises RunNotFound, RunDeleted, and RunAlreadyEnded if it has ended with another status.
        """
        request = tracking.FinishRunRequest(run_id=run_id, status=status_number(status), end_time=stamp_of(end_time))
        return run_of(self._connection.call(tracking.rpcs.FINISH_RUN, request).run)

    def delete(self, run_id: str) -> Run:
        """Deletes a run. `restore` undoes it. Deleting it again changes nothing. Raises RunNotFound."""
        request = tracking.DeleteRunRequest(run_id=run_id)
        return run_of(self._connection.call(tracking.rpcs.DELETE_RUN, request).run)

    def restore(self, run_id: str) -> Run:
        """Restores a deleted run. Restoring an active one changes nothing. Raises RunNotFound."""
        request = tracking.RestoreRunRequest(run_id=run_id)
        return run_of(self._connection.call(tracking.rpcs.RESTORE_RUN, request).run)

    def log_heartbeats(
        self, run_ids: str | Iterable[str], *, period: timedelta | float = DEFAULT_PERIOD
    ) -> HeartbeatsIgnored:
        """Says that the process of these runs is alive, and will say so again after a `period`, in seconds.

        For programs of their own kind: runs of `modelry.start_run` do so by themselves. At most 1000 runs; a period of
        1 second to 1 hour, by default 30 seconds. A run with a heartbeat and no other one for two periods is LOST,
        until the next one. The answer names the runs for which this had no effect. Raises FieldInvalid.
        """
        seconds = period.total_seconds() if isinstance(period, timedelta) else period
        request = tracking.LogHeartbeatsRequest(run_ids=arguments.listed("run_ids", run_ids))
        try:
            request.period.FromMilliseconds(round(seconds * 1000))
        except (TypeError, ValueError, OverflowError):
            raise arguments.refused("period", period, "a number of seconds from 1 to 3600, or a timedelta") from None
        answer = self._connection.call(tracking.rpcs.LOG_HEARTBEATS, request)
        return HeartbeatsIgnored(
            tuple(answer.unknown_run_ids),
            tuple(answer.not_running_run_ids),
            tuple(answer.deleted_run_ids),
            tuple(answer.denied_run_ids),
        )

    def console(
        self, run_id: str, *, follow: bool = False, grep: str = "", rank: int | None = None
    ) -> Iterator[ConsoleLine]:
        """What the processes of a run wrote to standard output and standard error, line by line, by time.

        With `follow` it goes on with what is written until the run has ended. `grep` is a regular expression for the
        text of a line, `rank` the number of a process in its job (default: all). The last lines may still change while
        the run goes, see `ConsoleLine.is_final`. Of much output the first and the last 4 MiB are there. Raises
        RunNotFound, and InvalidArgument for what is no regular expression.
        """
        from modelry._sdk.nouns import console
        from modelry._sdk.nouns.artifacts import Artifacts

        self.get(run_id, read=())
        return console.lines(
            Artifacts(self._connection.of("artifacts"), self._workspace),
            run_id,
            rank=rank,
            grep=grep,
            is_running=(lambda: self.get(run_id, read=()).status is RunStatus.RUNNING) if follow else None,
        )

    def search(
        self,
        experiment_ids: str | int | Iterable[str | int] = (),
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        lifecycle: LifecycleFilter | Lifecycle | str = LifecycleFilter.ACTIVE,
        max_results: int | None = None,
        page_size: int = 100,
        read: str | Iterable[str] | None = None,
    ) -> LazyList[Run]:
        """Finds runs. Default: in all experiments of the workspace, the newest first.

        `read` as in `get`. A single id, sort key or field needs no list. A sort key that no run of the search has
        is warned of. Raises FilterSyntax, FieldInvalid and ExperimentNotFound when the list is read.
        """
        request = tracking.SearchRunsRequest(
            workspace=self._workspace,
            experiment_ids=arguments.ids("experiment_ids", experiment_ids),
            filter=filter,
            order_by=arguments.listed("order_by", order_by),
            lifecycle=lifecycle_filter(lifecycle),
        )
        request.read_mask.paths.extend(_mask("read", read))

        def fetch(size: int, token: str) -> tuple[list[Run], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(tracking.rpcs.SEARCH_RUNS, request)
            if not token:
                tell_fields_of_mlflow(filter, page.runs)
                tell_unsorted(
                    request, page.runs, lambda probe: self._connection.call(tracking.rpcs.SEARCH_RUNS, probe).runs
                )
            return [run_of(message) for message in page.runs], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Points = (),
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Adds params, metrics and tags in one transaction, all or nothing. Returns when it is committed.

        Metrics are columns or values by key (of step 0), or a list of `modelry.types.Point`, which is (key, value, time
        in ms, step). Values of params and tags are converted to text. Raises RunNotFound, RunDeleted, ParamConflict,
        FieldInvalid, and InvalidArgument for what is no point.
        """
        request = tracking.LogBatchRequest(
            run_id=run_id, params=arguments.texts(params, "params"), tags=arguments.texts(tags)
        )
        add_columns(request.metrics, metrics)
        self._connection.call(tracking.rpcs.LOG_BATCH, request)

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Adds params, all or none. A param is write-once. Errors as in `log_batch`."""
        self.log_batch(run_id, params=params)

    def log_metrics(self, run_id: str, metrics: Points, *, step: int = 0) -> None:
        """Adds points, all or none; values by key, such as `{"loss": 0.5}`, at a `step`. Errors as in `log_batch`."""
        request = tracking.LogBatchRequest(run_id=run_id)
        add_columns(request.metrics, metrics, step=step)
        self._connection.call(tracking.rpcs.LOG_BATCH, request)

    def set_tags(self, run_id: str, tags: Mapping[str, object]) -> Run:
        """Sets tags, all or none. Tags with the same keys are replaced, others stay.

        The answer has no params, tags and metrics. Raises RunNotFound, RunDeleted or FieldInvalid.
        """
        request = tracking.SetRunTagsRequest(run_id=run_id, tags=arguments.texts(tags))
        return run_of(self._connection.call(tracking.rpcs.SET_RUN_TAGS, request).run)

    def delete_tags(self, run_id: str, keys: str | Iterable[str]) -> Run:
        """Removes tags, all or none. The answer has no params, tags and metrics.

        Raises RunNotFound, RunDeleted or TagNotFound.
        """
        request = tracking.DeleteRunTagsRequest(run_id=run_id, keys=arguments.listed("keys", keys))
        return run_of(self._connection.call(tracking.rpcs.DELETE_RUN_TAGS, request).run)


def run_of(message: tracking.Run) -> Run:
    """The run that a message holds."""
    summaries = Summaries(message.metrics)
    return Run(
        run_id=message.run_id,
        workspace=message.workspace,
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
        description=message.description,
        claimed_user=message.claimed_user,
        creator=message.creator,
        delete_time=time_of(message, "delete_time"),
        etag=message.etag,
    )


def status_number(status: RunStatus | str) -> tracking.RunStatus.ValueType:
    """The status of a request. Raises InvalidArgument for another word."""
    return tracking.RunStatus.Value(f"RUN_STATUS_{member_of('status', status, RunStatus)}")


def ended_status_number(status: RunStatus | str) -> tracking.RunStatus.ValueType:
    """The status of a request that ends a run. Raises InvalidArgument for another word or status."""
    if not isinstance(status, str) or status.upper() in ("RUNNING", "SCHEDULED", "LOST"):
        raise arguments.refused("status", status, "that of a run that has ended: FINISHED, FAILED or KILLED")
    return status_number(status)


@functools.lru_cache(maxsize=64)
def _status_of(number: int) -> RunStatus:
    return RunStatus(name_of(tracking.RunStatus, number))


def _mask(argument: str, read: str | Iterable[str] | None) -> list[str]:
    """The read mask of a request: empty, which means everything, or the small fields and the given ones."""
    return [] if read is None else [*_SMALL, *arguments.listed(argument, read)]
