"""The rules of experiments."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.filter import parse, parse_order
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.tracking.clients import Workspaces
from modelry_server.tracking.entities import Experiment, Lifecycle
from modelry_server.tracking.errors import ExperimentDeleted, ExperimentExists, ExperimentNotFound, TagNotFound
from modelry_server.tracking.store import experiments as store
from modelry_server.tracking.store import search

_SCOPES = ("attributes", "tags")


class Experiments:
    """Makes, reads, changes, deletes and finds experiments."""

    def __init__(self, db: Database, requests: Requests, workspaces: Workspaces, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._workspaces = workspaces
        self._clock = clock

    def create(
        self, workspace: str, name: str, tags: Mapping[str, str], request: Request, *, allow_existing: bool = False
    ) -> Experiment:
        """Makes an experiment; with `allow_existing` the active one of the name is the answer.

        Raises FieldInvalid, ExperimentExists, RequestIdReused, and what access says of the workspace.
        """
        with Fields() as fields:
            fields.name("name", name)
            fields.tags("tags", tags)
            fields.tags_together("tags", tags)
            fields.request_id(request.request_id)
        self._workspaces.require(workspace)
        with self._db.write() as tx:
            if known := self._requests.recall(tx, request):
                return _found(tx, known)
            now = self._clock.now()
            made = store.add(tx, Experiment("", workspace, name, now, now, tags=tags))
            if made is None:
                if known := self._requests.recall(tx, request):  # the same request, while this one waited for the name
                    return _found(tx, known)
                present = store.find_by_name(tx, workspace, name)
                if present is None:
                    raise ExperimentNotFound(name)
                if not allow_existing or present.lifecycle is Lifecycle.DELETED:
                    raise ExperimentExists(name, present.experiment_id, present.lifecycle.name.lower())
                made = present
            self._requests.remember(tx, request, made.experiment_id)
        return made

    def get(self, experiment_id: str) -> Experiment:
        """The experiment of an id, also a deleted one. Raises ExperimentNotFound."""
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        with self._db.read() as tx:
            return _found(tx, experiment_id)

    def get_by_name(self, workspace: str, name: str) -> Experiment:
        """The experiment of a name, also a deleted one. Raises ExperimentNotFound."""
        with Fields() as fields:
            fields.name("name", name)
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            experiment = store.find_by_name(tx, workspace, name)
        if experiment is None:
            raise ExperimentNotFound(name)
        return experiment

    def rename(self, experiment_id: str, name: str, etag: str) -> Experiment:
        """Gives it another name. Raises ExperimentNotFound, -Deleted, -Exists, FieldInvalid, EtagMismatch."""
        with Fields() as fields:
            fields.number_id("experiment.experiment_id", experiment_id)
            fields.name("experiment.name", name)
        with self._db.write() as tx:
            experiment = _found(tx, experiment_id, lock=True)
            if etag and etag != experiment.etag:
                raise EtagMismatch(etag, experiment.etag)
            if experiment.delete_time is not None:
                raise ExperimentDeleted(experiment_id)
            other = store.find_by_name(tx, experiment.workspace, name)
            if other is not None and other.experiment_id != experiment.experiment_id:
                raise ExperimentExists(name, other.experiment_id, other.lifecycle.name.lower())
            return self._changed(tx, replace(experiment, name=name))

    def delete(self, experiment_id: str) -> Experiment:
        """Deletes an experiment; again changes nothing. Raises ExperimentNotFound."""
        return self._set_lifecycle(experiment_id, deleted=True)

    def restore(self, experiment_id: str) -> Experiment:
        """Restores an experiment; again changes nothing. Raises ExperimentNotFound."""
        return self._set_lifecycle(experiment_id, deleted=False)

    def set_tags(self, experiment_id: str, tags: Mapping[str, str]) -> Experiment:
        """Sets tags. Raises ExperimentNotFound, ExperimentDeleted, FieldInvalid."""
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
            fields.tags("tags", tags, required=True)
        with self._db.write() as tx:
            experiment = self._active(tx, experiment_id)
            with Fields() as fields:
                fields.tags_together("tags", {**experiment.tags, **tags})
            store.set_tags(tx, experiment_id, tags)
            return self._labelled(tx, experiment, {**experiment.tags, **tags})

    def delete_tags(self, experiment_id: str, keys: Collection[str]) -> Experiment:
        """Removes tags, all or none. Raises ExperimentNotFound, ExperimentDeleted, TagNotFound, FieldInvalid."""
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
            fields.keys("keys", keys)
        with self._db.write() as tx:
            experiment = self._active(tx, experiment_id)
            missing = [key for key in keys if key not in experiment.tags]
            if missing:
                raise TagNotFound(f"experiment {experiment_id}", missing)
            store.delete_tags(tx, experiment_id, keys)
            left = {key: value for key, value in experiment.tags.items() if key not in keys}
            return self._labelled(tx, experiment, left)

    def search(
        self,
        workspace: str,
        filter: str,
        order: Sequence[str],
        lifecycle: Lifecycle,
        after: Sequence[Any] | None,
        limit: int,
    ) -> list[tuple[Experiment, tuple[Any, ...]]]:
        """At most `limit` experiments that follow a place, each with its place. Raises FilterSyntax."""
        node, keys = parse(filter, _SCOPES), parse_order(order, _SCOPES)
        self._workspaces.require(workspace)
        with self._db.read() as tx:
            return search.page_of_experiments(tx, workspace, lifecycle, node, keys, after, limit)

    def _set_lifecycle(self, experiment_id: str, *, deleted: bool) -> Experiment:
        with Fields() as fields:
            fields.number_id("experiment_id", experiment_id)
        with self._db.write() as tx:
            experiment = _found(tx, experiment_id, lock=True)
            if (experiment.delete_time is not None) == deleted:
                return experiment
            return self._changed(tx, replace(experiment, delete_time=self._clock.now() if deleted else None))

    def _changed(self, tx: Transaction, experiment: Experiment) -> Experiment:
        changed = replace(experiment, update_time=self._clock.now(), revision=experiment.revision + 1)
        store.update(tx, changed)
        return changed

    def _labelled(self, tx: Transaction, experiment: Experiment, tags: Mapping[str, str]) -> Experiment:
        labelled = replace(experiment, tags=tags, update_time=self._clock.now())
        store.update(tx, labelled)
        return labelled

    def _active(self, tx: Transaction, experiment_id: str) -> Experiment:
        experiment = _found(tx, experiment_id, lock=True)
        if experiment.delete_time is not None:
            raise ExperimentDeleted(experiment_id)
        return experiment


def _found(tx: Transaction, experiment_id: str, *, lock: bool = False) -> Experiment:
    experiment = store.find(tx, experiment_id, lock=lock)
    if experiment is None:
        raise ExperimentNotFound(experiment_id)
    return experiment
