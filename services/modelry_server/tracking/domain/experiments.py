"""The rules of experiments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelry_server import mlflow_words
from modelry_server.kernel import caller
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.requests.fields import DESCRIPTION_LENGTH, Fields, excess_of_tags, require_room
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.kernel.telemetry import Log
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.domain.places import Places
from modelry_server.tracking.entities import Experiment, Lifecycle, LifecycleFilter
from modelry_server.tracking.errors import (
    ExperimentDeleted,
    ExperimentExists,
    ExperimentNameNotFound,
    ExperimentNotFound,
    TagNotFound,
)
from modelry_server.tracking.store import experiments as store
from modelry_server.tracking.store import search

CHANGEABLE = ("name", "description")
"""The fields that an update can change."""

_SCOPES = ("attributes", "tags")
_log = Log("tracking")


class Experiments:
    """Creates, reads, changes, deletes and finds experiments."""

    def __init__(
        self, db: Database, places: Places, *, requests: Requests, workspaces: Workspaces, clock: Clock
    ) -> None:
        self._db = db
        self._places = places
        self._requests = requests
        self._workspaces = workspaces
        self._clock = clock

    def create(
        self,
        workspace: str,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, str],
        request: Request,
        allow_existing: bool = False,
    ) -> Experiment:
        """Creates an experiment. With `allow_existing` it returns the active one that has the name already.

        Raises FieldInvalid, WorkspaceNotFound, ExperimentExists, RequestIdReused, ServiceUnavailable.
        """
        self._places.require_workspace(workspace)
        with Fields() as fields:
            fields.name("name", name)
            fields.text("description", description, longest=DESCRIPTION_LENGTH, controls=True)
            fields.first_tags(tags)
            fields.request_id(request.request_id)
        self._workspaces.require(workspace)
        now = self._clock.now()
        new = Experiment(
            "", workspace, name, now, now, description=description, creator=caller.current().subject, tags=tags
        )
        with self._db.write() as tx:

            def make() -> tuple[str, Experiment] | None:
                made = store.add(tx, new)
                return (made.experiment_id, made) if made else None

            def existing() -> Experiment | None:
                present = store.find_by_name(tx, workspace, name)
                if present is None:
                    return None
                if not allow_existing or present.lifecycle is Lifecycle.DELETED:
                    raise ExperimentExists(name, present.experiment_id, present.lifecycle.name.lower())
                self._requests.remember(tx, request, present.experiment_id)
                return present

            return self._requests.once(tx, request, find=lambda known: _found(tx, known), make=make, existing=existing)

    def get(self, experiment_id: str) -> Experiment:
        """The experiment with this id, also a deleted one. Raises FieldInvalid, ExperimentNotFound."""
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        self._places.require_experiments([experiment_id])
        with self._db.read() as tx:
            return _found(tx, experiment_id)

    def get_by_name(self, workspace: str, name: str) -> Experiment:
        """The experiment with this name, also a deleted one.

        Raises FieldInvalid, WorkspaceNotFound, ExperimentNameNotFound, ServiceUnavailable.
        """
        with Fields() as fields:
            if not workspace:
                fields.refuse("workspace", "is required")
            fields.name("name", name)
        with self._db.read() as tx:
            experiment_id = store.id_of(tx, workspace, name)
        if experiment_id is None or not self._places.sees_experiment(workspace, experiment_id):
            self._places.within(workspace)
            self._workspaces.require(workspace)
            raise ExperimentNameNotFound(workspace, name)
        self._places.require_experiments([experiment_id])
        with self._db.read() as tx:
            return _found(tx, experiment_id)

    def update(
        self, experiment_id: str, etag: str, changes: Callable[[], Mapping[str, Any]], *, prefix: str = ""
    ) -> Experiment:
        """Changes the fields that `changes` gives; without any, nothing.

        `prefix` stands before the names of refused fields. Raises ExperimentNotFound, ExperimentDeleted,
        ExperimentExists, FieldInvalid, EtagMismatch.
        """
        with Fields(prefix) as fields:
            fields.number_id("experiment_id", experiment_id)
        self._places.require_experiments([experiment_id])
        with self._db.write() as tx:
            experiment = _active(tx, experiment_id)
            changed = replace(experiment, **changes())
            with Fields(prefix) as fields:
                fields.name("name", changed.name)
                fields.text("description", changed.description, longest=DESCRIPTION_LENGTH, controls=True)
            if etag and etag != experiment.etag:
                raise EtagMismatch(etag, experiment.etag)
            if changed == experiment:
                return experiment
            if changed.name != experiment.name:  # whether it is taken is for those to know who may take it
                self._places.require_naming(experiment)
            other = store.find_by_name(tx, experiment.workspace, changed.name)
            if other is not None and other.experiment_id != experiment_id:
                raise ExperimentExists(changed.name, other.experiment_id, other.lifecycle.name.lower())
            return self._revised(tx, changed)

    def delete(self, experiment_id: str) -> Experiment:
        """Deletes an experiment. Deleting it again changes nothing. Raises ExperimentNotFound."""
        return self._set_lifecycle(experiment_id, Lifecycle.DELETED)

    def restore(self, experiment_id: str) -> Experiment:
        """Restores an experiment. Restoring it again changes nothing. Raises ExperimentNotFound."""
        return self._set_lifecycle(experiment_id, Lifecycle.ACTIVE)

    def set_tags(self, experiment_id: str, tags: Mapping[str, str]) -> Experiment:
        """Sets tags. If all have these values already, nothing changes.

        Raises ExperimentNotFound, ExperimentDeleted, FieldInvalid, LimitReached.
        """
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        self._places.require_experiments([experiment_id])
        with self._db.write() as tx:
            experiment = _active(tx, experiment_id)
            with Fields() as fields:
                fields.tags("tags", tags, required=True)
            after = {**experiment.tags, **tags}
            if after == experiment.tags:
                return experiment
            require_room("tags", excess_of_tags(after))
            store.set_tags(tx, experiment_id, tags)
            return self._tagged(tx, experiment, after)

    def delete_tags(self, experiment_id: str, keys: Sequence[str]) -> Experiment:
        """Removes tags, all or none. Raises ExperimentNotFound, ExperimentDeleted, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        self._places.require_experiments([experiment_id])
        with self._db.write() as tx:
            experiment = _active(tx, experiment_id)
            with Fields() as fields:
                keys = fields.keys("keys", keys)
            missing = [key for key in keys if key not in experiment.tags]
            if missing:
                raise TagNotFound(f"experiment {experiment_id}", missing)
            store.delete_tags(tx, experiment_id, keys)
            left = {key: value for key, value in experiment.tags.items() if key not in keys}
            return self._tagged(tx, experiment, left)

    def search(
        self,
        workspace: str,
        *,
        filter: str = "",
        order_by: Sequence[str] = (),
        lifecycle: LifecycleFilter = LifecycleFilter.ACTIVE,
        after: tuple[SortValue, ...] | None,
        limit: int,
    ) -> Iterator[Found[Experiment]]:
        """At most `limit` experiments after a sort key, read while they are taken.

        Raises FieldInvalid, FilterSyntax, WorkspaceNotFound, ServiceUnavailable.
        """
        within = self._places.within(workspace)
        node = parse(filter, _SCOPES, words=mlflow_words.EXPERIMENTS)
        keys = parse_order(order_by, _SCOPES, words=mlflow_words.EXPERIMENTS)
        self._workspaces.require(workspace)
        return self._db.each(
            lambda tx: search.page_of_experiments(
                tx, workspace, within=within, lifecycle=lifecycle, node=node, keys=keys, after=after, limit=limit
            )
        )

    def _set_lifecycle(self, experiment_id: str, lifecycle: Lifecycle) -> Experiment:
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        self._places.require_experiments([experiment_id])
        with self._db.write() as tx:
            experiment = _found(tx, experiment_id, lock=True)
            if experiment.lifecycle is lifecycle:
                return experiment
            delete_time = self._clock.now() if lifecycle is Lifecycle.DELETED else None
            changed = self._revised(tx, replace(experiment, delete_time=delete_time))
        event = "experiment.restored" if delete_time is None else "experiment.deleted"
        _log.info(event, experiment_id=experiment_id, subject=caller.current().subject)
        return changed

    def _revised(self, tx: Transaction, experiment: Experiment) -> Experiment:
        revised = replace(experiment, update_time=self._clock.now(), revision=experiment.revision + 1)
        store.update(tx, revised)
        return revised

    def _tagged(self, tx: Transaction, experiment: Experiment, tags: Mapping[str, str]) -> Experiment:
        tagged = replace(experiment, tags=tags, update_time=self._clock.now())
        store.update(tx, tagged)
        return tagged


def _active(tx: Transaction, experiment_id: str) -> Experiment:
    """The experiment, locked, if it is active."""
    experiment = _found(tx, experiment_id, lock=True)
    if experiment.delete_time is not None:
        raise ExperimentDeleted(experiment_id)
    return experiment


def _found(tx: Transaction, experiment_id: str, *, lock: bool = False) -> Experiment:
    experiment = store.find(tx, experiment_id, lock=lock)
    if experiment is None:
        raise ExperimentNotFound(experiment_id)
    return experiment
