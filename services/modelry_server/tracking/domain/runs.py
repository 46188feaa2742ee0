"""The rules of runs, their params and their tags."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import KEY_LENGTH, PARAM_VALUE_LENGTH, Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking import instruments
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.domain.ingest import Ingest, gathered
from modelry_server.tracking.domain.metrics import Metrics, check_columns
from modelry_server.tracking.entities import PARTS, Batch, Lifecycle, MetricColumns, Run, RunQuery, RunStatus
from modelry_server.tracking.errors import (
    ExperimentDeleted,
    ExperimentNotFound,
    RunAlreadyEnded,
    RunDeleted,
    RunExists,
    RunNotFound,
    TagNotFound,
)
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import metrics as metric_store
from modelry_server.tracking.store import runs as store
from modelry_server.tracking.store import search

SEARCHED_EXPERIMENTS = 100
_SCOPES = ("metrics", "params", "tags", "attributes", "datasets")
_SORTED_SCOPES = ("metrics", "params", "tags", "attributes")
_QUALITIES = (
    "bright",
    "fine",
    "noble",
    "pure",
    "proven",
    "ductile",
    "molten",
    "polished",
    "refined",
    "sterling",
    "tested",
    "true",
)
_THINGS = (
    "anvil",
    "bullion",
    "carat",
    "crucible",
    "furnace",
    "hallmark",
    "ingot",
    "ore",
    "planchet",
    "scale",
    "stamp",
    "touchstone",
)


@dataclass(frozen=True, slots=True)
class RunDraft:
    """What is known of a run at its start. Empty texts and None mean the default."""

    experiment_id: str = ""
    name: str = ""
    run_id: str = ""
    parent_run_id: str = ""
    start_time: int | None = None
    user: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricColumns] = ()


class Runs:
    """Starts, reads, changes, ends, deletes and finds runs."""

    def __init__(
        self, db: Database, requests: Requests, workspaces: Workspaces, ingest: Ingest, metrics: Metrics, clock: Clock
    ) -> None:
        self._db = db
        self._requests = requests
        self._workspaces = workspaces
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock

    def create(self, new: RunDraft, request: Request) -> Run:
        """Starts a run with what is known of it, all or nothing.

        Asking again for the same run id in the same experiment is answered with the run as it is. Raises FieldInvalid,
        ExperimentNotFound, ExperimentDeleted, RunExists, RunNotFound (the parent), RequestIdReused.
        """
        experiment_id = new.experiment_id or "0"
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
            if new.name:
                fields.name("name", new.name)
            if new.run_id:
                fields.id("run_id", new.run_id)
            if new.parent_run_id:
                fields.id("parent_run_id", new.parent_run_id)
            fields.time("start_time", new.start_time)
            fields.text("user", new.user, longest=KEY_LENGTH)
            fields.tags("params", new.params, longest=PARAM_VALUE_LENGTH)
            fields.tags("tags", new.tags)
            check_columns(fields, new.metrics)
            fields.request_id(request.request_id)
        run = Run(
            run_id=new.run_id or new_id(),
            experiment_id=experiment_id,
            workspace="",
            name=new.name or _made_up_name(),
            status=RunStatus.RUNNING,
            start_time=self._clock.now() if new.start_time is None else new.start_time,
            parent_run_id=new.parent_run_id,
            user=new.user or caller.current().subject,
            params=new.params,
            tags=new.tags,
        )
        given = gathered([Batch(run.run_id, new.metrics)]).values()
        series = [metric_store.Series(run.run_id, int(experiment_id), columns) for columns in given]
        made = self._add(run, series, request) or self._present(run, request) or self._add(run, series, request)
        if made is None:
            raise ConcurrentChange
        return made

    def _add(self, run: Run, series: Sequence[metric_store.Series], request: Request) -> Run | None:
        """Makes a run, without a look at what may be in the way; None if something is."""
        try:
            with self._db.write_once() as tx:
                workspace = store.add(tx, run, series, self._requests.note(request, run.run_id))
        except ConcurrentChange:
            return None
        if workspace is None:
            return None
        instruments.runs_created_total.inc()
        return replace(run, workspace=workspace)

    def _present(self, run: Run, request: Request) -> Run | None:
        """The run that the same request made, or that has the same id; raises whatever else is in the way."""
        with self._db.write() as tx:
            self._requests.forget(tx)  # an id that is too old to be remembered may still be there
            made = self._requests.recall(tx, request)
            if made is not None:
                return _found(tx, made)
            present = store.find(tx, run.run_id)
            if present is not None and present.experiment_id != run.experiment_id:
                raise RunExists(run.run_id, present.experiment_id)
            if present is not None:
                return present
            workspace = _home(tx, run.experiment_id)
            if run.parent_run_id and store.workspace(tx, run.parent_run_id) != workspace:
                raise RunNotFound(run.parent_run_id)
            return None

    def get(self, run_id: str, parts: Collection[str] = PARTS) -> Run:
        """The run of an id, also a deleted one, with the parts named. Raises RunNotFound."""
        with Fields() as fields:
            fields.id("run_id", run_id)
        with self._db.read() as tx:
            return _found(tx, run_id, parts=parts)

    def update(self, run_id: str, etag: str, changes: Mapping[str, Any]) -> Run:
        """Changes `name`, `status` or `end_time`. Raises RunNotFound, RunDeleted, FieldInvalid, EtagMismatch."""
        with Fields() as fields:
            fields.id("run.run_id", run_id)
            if "name" in changes:
                fields.name("run.name", changes["name"])
            fields.time("run.end_time", changes.get("end_time"))
            if changes.get("status", RunStatus.RUNNING) is None:
                fields.refuse("run.status", f"must be one of {', '.join(status.name for status in RunStatus)}")
        with self._db.write() as tx:
            run = _active(tx, run_id)
            if etag and etag != run.etag:
                raise EtagMismatch(etag, run.etag)
            changed = self._with_end(run, replace(run, **changes), "end_time" in changes)
            if changed == run:
                return run
            changed = replace(changed, revision=run.revision + 1)
            store.update(tx, changed)
        if changed.status.ended:
            self._metrics.run_ended(run_id)
        return changed

    def _with_end(self, run: Run, changed: Run, given: bool) -> Run:
        """The changed run with an end time if, and only if, it has ended."""
        if changed.status.ended:
            end_time = changed.end_time if given else run.end_time
            return replace(changed, end_time=self._clock.now() if end_time is None else end_time)
        with Fields() as fields:
            if given and changed.end_time is not None:
                fields.refuse("run.end_time", f"a run that is {changed.status.name} has none; set its status too")
        return replace(changed, end_time=None)

    def finish(self, run_id: str, status: RunStatus | None, end_time: int | None) -> Run:
        """Ends a run; again with the same status changes nothing. Raises RunNotFound, RunDeleted, RunAlreadyEnded."""
        with Fields() as fields:
            fields.id("run_id", run_id)
            fields.time("end_time", end_time)
            if status is None or not status.ended:
                fields.refuse("status", "must be FINISHED, FAILED or KILLED")
        assert status is not None
        with self._db.write() as tx:
            run = _active(tx, run_id)
            if run.status.ended:
                if run.status is status:
                    return run
                raise RunAlreadyEnded(run_id, run.status.name, status.name)
            end_time = self._clock.now() if end_time is None else end_time
            ended = replace(run, status=status, end_time=end_time, revision=run.revision + 1)
            store.update(tx, ended)
        self._metrics.run_ended(run_id)
        return ended

    def delete(self, run_id: str) -> Run:
        """Deletes a run; again changes nothing. Raises RunNotFound."""
        return self._set_lifecycle(run_id, deleted=True)

    def restore(self, run_id: str) -> Run:
        """Restores a run; again changes nothing. Raises RunNotFound."""
        return self._set_lifecycle(run_id, deleted=False)

    def log_batch(self, batch: Batch) -> None:
        """Adds it to its run, all or nothing. Raises RunNotFound, RunDeleted, ParamConflict, FieldInvalid."""
        with Fields() as fields:
            fields.id("run_id", batch.run_id)
            fields.tags("params", batch.params, longest=PARAM_VALUE_LENGTH)
            fields.tags("tags", batch.tags)
            check_columns(fields, batch.metrics)
        self._ingest.write(batch)

    def delete_tags(self, run_id: str, keys: Collection[str]) -> None:
        """Removes tags, all or none. Raises RunNotFound, RunDeleted, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.id("run_id", run_id)
            fields.keys("keys", keys)
        with self._db.write() as tx:
            _active(tx, run_id)
            present = store.tag_keys(tx, run_id, keys)
            missing = [key for key in keys if key not in present]
            if missing:
                raise TagNotFound(f"run {run_id}", missing)
            store.delete_tags(tx, run_id, keys)

    def search(
        self,
        workspace: str,
        experiment_ids: Sequence[str],
        lifecycle: Lifecycle,
        filter: str,
        order: Sequence[str],
        after: Sequence[Any] | None,
        limit: int,
        parts: Collection[str] = PARTS,
    ) -> tuple[list[search.FoundRun], bool]:
        """At most `limit` runs that follow a place, with the parts named, and whether there are more.

        Raises FieldInvalid, FilterSyntax, ExperimentNotFound, and what access says of the workspace.
        """
        with Fields() as fields:
            fields.count("experiment_ids", experiment_ids, most=SEARCHED_EXPERIMENTS)
            for index, experiment_id in enumerate(experiment_ids):
                fields.number_id(f"experiment_ids[{index}]", experiment_id)
        node, keys = parse(filter, _SCOPES), parse_order(order, _SORTED_SCOPES)
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            deleted_ids = _deleted(tx, workspace, experiment_ids)
            query = RunQuery(workspace, experiment_ids, deleted_ids, lifecycle, node, keys)
            found = search.page_of_runs(tx, query, after, limit + 1)
            more, found = len(found) > limit, found[:limit]
            whole = store.with_parts(tx, [each.run for each in found], parts)
        return [search.FoundRun(run, each.place) for each, run in zip(found, whole, strict=True)], more

    def _set_lifecycle(self, run_id: str, *, deleted: bool) -> Run:
        with Fields() as fields:
            fields.id("run_id", run_id)
        with self._db.write() as tx:
            run = _found(tx, run_id, lock=True)
            if (run.delete_time is not None) == deleted:
                return run
            changed = replace(run, delete_time=self._clock.now() if deleted else None, revision=run.revision + 1)
            store.update(tx, changed)
        return changed


def _deleted(tx: Transaction, workspace: str, experiment_ids: Sequence[str]) -> list[str]:
    """Which experiments of a workspace are deleted. Raises ExperimentNotFound if one of them is not there."""
    homes = experiment_store.homes(tx, experiment_ids) if experiment_ids else {}
    for experiment_id in experiment_ids:
        if experiment_id not in homes or homes[experiment_id][0] != workspace:
            raise ExperimentNotFound(experiment_id)
    return [experiment_id for experiment_id in experiment_ids if homes[experiment_id][1]]


def _home(tx: Transaction, experiment_id: str) -> str:
    """The workspace of an active experiment."""
    home = experiment_store.homes(tx, [experiment_id]).get(experiment_id)
    if home is None:
        raise ExperimentNotFound(experiment_id)
    workspace, deleted = home
    if deleted:
        raise ExperimentDeleted(experiment_id)
    return workspace


def _found(tx: Transaction, run_id: str, *, parts: Collection[str] = (), lock: bool = False) -> Run:
    run = store.find(tx, run_id, parts=parts, lock=lock)
    if run is None:
        raise RunNotFound(run_id)
    return run


def _active(tx: Transaction, run_id: str) -> Run:
    run = _found(tx, run_id, lock=True)
    if run.delete_time is not None:
        raise RunDeleted(run_id)
    return run


def _made_up_name() -> str:
    return f"{random.choice(_QUALITIES)}-{random.choice(_THINGS)}-{random.randrange(1000)}"
