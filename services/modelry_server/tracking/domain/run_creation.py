"""How runs are created."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import QuotaExceeded
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import DESCRIPTION_LENGTH, KEY_LENGTH, PARAM_VALUE_LENGTH, Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission
from modelry_server.tracking import instruments
from modelry_server.tracking.domain.columns import gathered
from modelry_server.tracking.domain.metrics import check_columns
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.domain.run_names import random_name
from modelry_server.tracking.domain.totals import excess_of_metrics, excess_of_params
from modelry_server.tracking.domain.usage import Usage
from modelry_server.tracking.entities import Batch, MetricColumns, Run, RunStatus
from modelry_server.tracking.errors import ExperimentDeleted, ExperimentNotFound, RunExists, RunNotFound
from modelry_server.tracking.store import experiments as experiment_store
from modelry_server.tracking.store import metrics as metric_store
from modelry_server.tracking.store import runs as store


@dataclass(frozen=True, slots=True)
class RunDraft:
    """What is known of a run at its start. Empty texts and None mean the default, where there is one."""

    experiment_id: str
    name: str = ""
    run_id: str = ""
    parent_run_id: str = ""
    start_time: int | None = None
    description: str = ""
    claimed_user: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricColumns] = ()
    participant: str = ""


class RunCreation:
    """Creates runs."""

    def __init__(self, db: Database, places: Places, *, requests: Requests, clock: Clock, usage: Usage) -> None:
        self._db = db
        self._places = places
        self._requests = requests
        self._clock = clock
        self._usage = usage

    def create(self, new: RunDraft, request: Request) -> Run:
        """Starts a run with everything that is known of it, all or nothing.

        If the experiment has a run with this run id already, returns that run as it is. Raises FieldInvalid,
        ExperimentNotFound, ExperimentDeleted, RunExists, RunNotFound (the parent), RequestIdReused, QuotaExceeded.
        """
        self._judge_new(new)
        with Fields() as fields:
            if new.name:
                fields.name("name", new.name)
            if new.run_id:
                fields.id("run_id", new.run_id)
            fields.time("start_time", new.start_time)
            fields.text("description", new.description, longest=DESCRIPTION_LENGTH, controls=True)
            fields.text("claimed_user", new.claimed_user, longest=KEY_LENGTH)
            fields.tags("params", new.params, longest=PARAM_VALUE_LENGTH)
            fields.within("params", excess_of_params(new.params))
            fields.first_tags(new.tags)
            check_columns(fields, new.metrics)
            fields.within("metrics", excess_of_metrics({columns.key for columns in new.metrics}))
            fields.text("participant", new.participant, longest=KEY_LENGTH)
            fields.request_id(request.request_id)
        creator = caller.current().subject
        run = Run(
            run_id=new.run_id or new_id(),
            experiment_id=new.experiment_id,
            workspace="",
            name=new.name or random_name(),
            status=RunStatus.RUNNING,
            start_time=self._clock.now() if new.start_time is None else new.start_time,
            parent_run_id=new.parent_run_id,
            description=new.description,
            creator=creator,
            claimed_user=new.claimed_user or creator,
            params=new.params,
            tags=new.tags,
        )
        given = gathered([Batch(run.run_id, new.metrics)]).values()
        series = [metric_store.Series(run.run_id, int(run.experiment_id), columns) for columns in given]
        try:
            with self._usage.taking(self._places.workspace_of(new.experiment_id)) as taking:
                taking.take()
                made = self._add(run, series, request, new.participant)
                if made is None:
                    made = self._add_or_find(run, series, request, new.participant)
        except QuotaExceeded:
            known = self._known(run, request)  # a call that is sent again
            if known is None:
                raise
            made = known
        self._places.note_run(made)
        return made

    def _judge_new(self, new: RunDraft) -> None:
        with Fields() as fields:
            fields.number_id("experiment_id", new.experiment_id)
            if new.parent_run_id:
                fields.id("parent_run_id", new.parent_run_id)
        self._places.require_experiments([new.experiment_id])
        if new.parent_run_id:
            self._places.require_runs([new.parent_run_id], permission=Permission.RUNS_READ)

    def _known(self, run: Run, request: Request) -> Run | None:
        """The run that an earlier call of the same request made, or that has the run id. Raises RunExists."""
        with self._db.read() as tx:
            known = self._requests.recall(tx, request)
            present = store.find(tx, known or run.run_id)
        if present is not None and present.experiment_id != run.experiment_id:
            raise RunExists(run.run_id)
        return present

    def _add(self, run: Run, series: Sequence[metric_store.Series], request: Request, participant: str) -> Run | None:
        """Adds a run in one statement, without looking for obstacles first. Returns None if there is one."""
        try:
            with self._db.write_once() as tx:
                workspace = store.add(tx, run, series, self._requests.note(request, run.run_id), participant)
        except ConcurrentChange:
            return None
        if workspace is None:
            return None
        instruments.runs_created_total.inc()
        return replace(run, workspace=workspace)

    def _add_or_find(self, run: Run, series: Sequence[metric_store.Series], request: Request, participant: str) -> Run:
        """Finds out why `_add` did nothing: returns the run that exists already, adds it after all, or raises."""
        made: Run | None = None
        with self._db.write() as tx:

            def make() -> tuple[str, Run] | None:
                nonlocal made
                is_new = store.find(tx, run.run_id) is None
                workspace = store.add(tx, run, series, (), participant) if is_new else None
                made = None if workspace is None else replace(run, workspace=workspace)
                return (run.run_id, made) if made else None

            def existing() -> Run | None:
                present = store.find(tx, run.run_id)
                if present is None:
                    _refuse(tx, run)
                elif present.experiment_id != run.experiment_id:
                    raise RunExists(run.run_id)
                else:
                    self._requests.remember(tx, request, present.run_id)
                return present

            answer = self._requests.once(
                tx, request, find=lambda run_id: _found(tx, run_id), make=make, existing=existing
            )
        if answer is made:
            instruments.runs_created_total.inc()
        return answer


def _refuse(tx: Transaction, run: Run) -> None:
    """Raises why a run can't be added although its id is free. Does nothing if the obstacle is gone."""
    home = experiment_store.homes(tx, [run.experiment_id]).get(run.experiment_id)
    if home is None:
        raise ExperimentNotFound(run.experiment_id)
    workspace, is_deleted = home
    if is_deleted:
        raise ExperimentDeleted(run.experiment_id)
    if run.parent_run_id:
        parent = store.places(tx, [run.parent_run_id]).get(run.parent_run_id)
        if parent is None or parent.workspace != workspace:
            raise RunNotFound(run.parent_run_id)


def _found(tx: Transaction, run_id: str) -> Run:
    run = store.find(tx, run_id)
    if run is None:
        raise RunNotFound(run_id)
    return run
