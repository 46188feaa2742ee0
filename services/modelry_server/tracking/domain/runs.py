"""The rules of runs, their params and their tags; how they are created is in `run_creation`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from modelry_server import mlflow_words
from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.requests.fields import (
    DESCRIPTION_LENGTH,
    KEY_LENGTH,
    PARAM_VALUE_LENGTH,
    Fields,
    excess_of_tags,
    require_room,
)
from modelry_server.kernel.requests.paging import Found, SortValue, completed
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.domain.ingest import Ingest
from modelry_server.tracking.domain.metrics import Metrics, check_columns
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.totals import excess_of_participants
from modelry_server.tracking.entities import (
    PARTS,
    Batch,
    Lifecycle,
    LifecycleFilter,
    Run,
    RunQuery,
    RunStatus,
)
from modelry_server.tracking.errors import (
    ExperimentNotFound,
    RunAlreadyEnded,
    RunDeleted,
    RunNotFound,
    TagNotFound,
)
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import heartbeats as heartbeat_store
from modelry_server.tracking.store import runs as store
from modelry_server.tracking.store import search

CHANGEABLE = ("name", "description", "status", "end_time")
"""The fields that an update can change."""

SEARCHED_EXPERIMENTS = 100
_SCOPES = ("metrics", "params", "tags", "attributes", "datasets")
_SORTED_SCOPES = ("metrics", "params", "tags", "attributes")
_log = Log("tracking")


class Runs:
    """Reads, changes, ends, deletes and finds runs."""

    def __init__(
        self,
        db: Database,
        places: Places,
        *,
        workspaces: Workspaces,
        ingest: Ingest,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._db = db
        self._places = places
        self._workspaces = workspaces
        self._ingest = ingest
        self._metrics = metrics
        self._clock = clock

    def get(self, run_id: str, parts: Collection[str] = PARTS) -> Run:
        """The run with this id, also a deleted one, with the named parts. Raises FieldInvalid, RunNotFound."""
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.read() as tx:
            return _found(tx, run_id, parts=parts)

    def update(
        self,
        run_id: str,
        etag: str,
        changes: Callable[[], Mapping[str, Any]],
        *,
        participant: str = "",
        prefix: str = "",
    ) -> Run:
        """Changes the fields that `changes` gives; without any, nothing. A participant joins the run, which runs then.

        `prefix` stands before the names of refused fields. Raises RunNotFound, RunDeleted, FieldInvalid, EtagMismatch,
        LimitReached.
        """
        with Fields(prefix) as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.write() as tx:
            run = _active(tx, run_id)
            given = changes()
            changed = replace(run, **given)
            with Fields(prefix) as fields:
                fields.name("name", changed.name)
                fields.text("description", changed.description, longest=DESCRIPTION_LENGTH, controls=True)
                fields.time("end_time", changed.end_time)
                if changed.status is RunStatus.LOST is not run.status:
                    fields.refuse("status", f"only the server says that a run is LOST; {_ENDED}")
                if not changed.status.ended and given.get("end_time") is not None:
                    fields.refuse("end_time", f"a run that is {changed.status.name} has none; set its status too")
            if etag and etag != run.etag:
                raise EtagMismatch(etag, run.etag)
            changed = self._with_end(run, changed, is_given="end_time" in given)
            with Fields() as fields:
                fields.text("participant", participant, longest=KEY_LENGTH)
                if participant and changed.status is not RunStatus.RUNNING:
                    fields.refuse("participant", f"continues a run, but this one is to be {changed.status.name}")
            if run.status.ended and not changed.status.ended:
                store.forget_participants(tx, run_id)
                heartbeat_store.forget(tx, run_id)
            if participant:
                self._join(tx, run_id, participant, changed.status)
            if changed == run:
                return run
            changed = replace(changed, revision=run.revision + 1)
            store.update(tx, changed)
        if changed.status.ended:
            self._metrics.run_ended(run_id)
        return changed

    def _with_end(self, run: Run, changed: Run, *, is_given: bool) -> Run:
        """The changed run with an end time if, and only if, it has ended."""
        if not changed.status.ended:
            return replace(changed, end_time=None)
        end_time = changed.end_time if is_given else run.end_time
        return replace(changed, end_time=self._clock.now() if end_time is None else end_time)

    def finish(self, run_id: str, status: RunStatus, end_time: int | None, participant: str = "") -> Run:
        """Ends a run, or one participant; the last of them ends the run. Ending again as before changes nothing.

        A lost run has not been ended by anybody, so this is its end.
        Raises FieldInvalid, RunNotFound, RunDeleted, RunAlreadyEnded, LimitReached.
        """
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.write() as tx:
            run = _active(tx, run_id)
            with Fields() as fields:
                fields.time("end_time", end_time)
                if not status.final:
                    fields.refuse("status", f"{status.name} is not the status of a run that has ended: {_ENDED}")
                fields.text("participant", participant, longest=KEY_LENGTH)
            if participant:
                if not run.status.final:
                    statuses = self._join(tx, run_id, participant, status)
                    if not all(each.final for each in statuses):
                        return run
                    status = next(worst for worst in _WORST_FIRST if worst in statuses)
                elif store.participant_status(tx, run_id, participant) is status:
                    return run
            if run.status.final:
                if run.status is status:
                    return run
                raise RunAlreadyEnded(run_id, run.status.name, status.name)
            end_time = self._clock.now() if end_time is None else end_time
            ended = replace(run, status=status, end_time=end_time, revision=run.revision + 1)
            store.update(tx, ended)
        self._metrics.run_ended(run_id)
        return ended

    def delete(self, run_id: str) -> Run:
        """Deletes a run. Deleting it again changes nothing. Raises FieldInvalid, RunNotFound."""
        return self._set_lifecycle(run_id, Lifecycle.DELETED)

    def restore(self, run_id: str) -> Run:
        """Restores a run. Restoring it again changes nothing. Raises FieldInvalid, RunNotFound."""
        return self._set_lifecycle(run_id, Lifecycle.ACTIVE)

    def log_batch(self, batch: Batch) -> None:
        """Adds a batch to its run, all or nothing.

        Raises RunNotFound, RunDeleted, ParamConflict, FieldInvalid, LimitReached.
        """
        with Fields() as fields:
            fields.id("run_id", batch.run_id)
        self._places.require_runs([batch.run_id])
        with Fields() as fields:
            fields.tags("params", batch.params, longest=PARAM_VALUE_LENGTH)
            fields.tags("tags", batch.tags)
            check_columns(fields, batch.metrics)
        self._ingest.write(batch)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> Run:
        """Sets tags, all or none; others stay. Raises RunNotFound, RunDeleted, FieldInvalid, LimitReached."""
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.write() as tx:
            run = _active(tx, run_id)
            with Fields() as fields:
                fields.tags("tags", tags, required=True)
            require_room("tags", excess_of_tags({**store.tags_of(tx, run_id), **tags}))
            store.set_tags(tx, run_id, tags)
        return run

    def delete_tags(self, run_id: str, keys: Sequence[str]) -> Run:
        """Removes tags, all or none. Raises RunNotFound, RunDeleted, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.write() as tx:
            run = _active(tx, run_id)
            with Fields() as fields:
                keys = fields.keys("keys", keys)
            present = store.tags_of(tx, run_id)
            missing = [key for key in keys if key not in present]
            if missing:
                raise TagNotFound(f"run {run_id}", missing)
            store.delete_tags(tx, run_id, keys)
        return run

    def search(
        self,
        workspace: str,
        *,
        experiment_ids: Sequence[str] = (),
        filter: str = "",
        order_by: Sequence[str] = (),
        lifecycle: LifecycleFilter = LifecycleFilter.ACTIVE,
        parts: Collection[str] = PARTS,
        after: tuple[SortValue, ...] | None,
        limit: int,
    ) -> Iterator[Found[Run]]:
        """At most `limit` runs after a sort key, with the named parts, read while they are taken.

        Raises FieldInvalid, FilterSyntax, ExperimentNotFound, WorkspaceNotFound, ServiceUnavailable.
        """
        within = self._places.within(workspace)
        with Fields() as fields:
            experiment_ids = fields.each("experiment_ids", experiment_ids, fields.number_id, most=SEARCHED_EXPERIMENTS)
        if not within.is_all:
            self._places.require_experiments(experiment_ids)
        query = RunQuery(
            workspace=workspace,
            experiment_ids=experiment_ids or None,
            deleted_ids=(),
            lifecycle=lifecycle,
            filter=parse(filter, _SCOPES, words=mlflow_words.RUNS),
            order=parse_order(order_by, _SORTED_SCOPES, words=mlflow_words.RUNS),
        )
        self._workspaces.require(workspace)

        def read(tx: Transaction) -> Iterator[Found[Run]]:
            searched = _located(tx, query, None if within.is_all else within.experiment_ids)
            found = search.page_of_runs(tx, searched, after, limit)
            sizes = partial(store.sizes, tx, parts=parts)
            return completed(found, partial(store.with_parts, tx, parts=parts), sizes)

        return self._db.each(read)

    def _set_lifecycle(self, run_id: str, lifecycle: Lifecycle) -> Run:
        with Fields() as fields:
            fields.id("run_id", run_id)
        self._places.require_runs([run_id])
        with self._db.write() as tx:
            run = _found(tx, run_id, lock=True)
            if run.lifecycle is lifecycle:
                return run
            delete_time = self._clock.now() if lifecycle is Lifecycle.DELETED else None
            changed = replace(run, delete_time=delete_time, revision=run.revision + 1)
            store.update(tx, changed)
            if delete_time is None:
                heartbeat_store.resume(tx, run_id, self._clock.now())
            else:
                heartbeat_store.put_off(tx, run_id)
        event = "run.restored" if delete_time is None else "run.deleted"
        _log.info(event, run_id=run_id, subject=caller.current().subject)
        return changed

    def _join(self, tx: Transaction, run_id: str, participant: str, status: RunStatus) -> Collection[RunStatus]:
        """Notes the status of a participant; returns the statuses that participants have. Raises LimitReached."""
        store.set_participant(tx, run_id, participant, status)
        counts = store.participants_by_status(tx, run_id)
        require_room("participant", excess_of_participants(sum(counts.values())))
        return counts.keys()


_WORST_FIRST = (RunStatus.FAILED, RunStatus.KILLED, RunStatus.FINISHED)
_ENDED = "use FINISHED, FAILED or KILLED"


def _located(tx: Transaction, query: RunQuery, readable: Collection[str] | None) -> RunQuery:
    """The query with what its experiments are; without any named, those `readable`, or all if that is None.

    Raises ExperimentNotFound if a named one is not in the workspace.
    """
    wanted = readable if query.experiment_ids is None else query.experiment_ids
    if wanted is None:
        return query
    homes = experiment_store.homes(tx, wanted)
    here = [each for each in wanted if each in homes and homes[each][0] == query.workspace]
    if query.experiment_ids is not None and len(here) < len(query.experiment_ids):
        raise ExperimentNotFound(next(each for each in query.experiment_ids if each not in here))
    return replace(query, experiment_ids=here, deleted_ids=[each for each in here if homes[each][1]])


def _found(tx: Transaction, run_id: str, *, parts: Collection[str] = (), lock: bool = False) -> Run:
    run = store.find(tx, run_id, parts=parts, lock=lock)
    if run is None:
        raise RunNotFound(run_id)
    return run


def _active(tx: Transaction, run_id: str) -> Run:
    """The run, locked, if it is active."""
    run = _found(tx, run_id, lock=True)
    if run.delete_time is not None:
        raise RunDeleted(run_id)
    return run
