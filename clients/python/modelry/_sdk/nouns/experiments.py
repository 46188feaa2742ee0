"""Experiments: each groups the runs that answer one question."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter, member_of, name_of
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.mlflow_names import ExperimentNames
from modelry._sdk.nouns.sorting import tell_unsorted
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import Connection
from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as tracking
from modelry.errors import ExperimentDeleted, ExperimentExists

DEFAULT_EXPERIMENT_NAME = "Default"
"""The experiment of runs for which none was chosen, in each workspace."""


@dataclass(frozen=True, slots=True)
class Experiment(ExperimentNames):
    """An experiment as it was when it was read."""

    experiment_id: str
    workspace: str
    name: str
    description: str
    lifecycle: Lifecycle
    tags: Mapping[str, str]
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    etag: str


@arguments.texts_checked
class Experiments:
    """Creates, reads, changes, deletes and finds experiments of a workspace."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, object] | None = None,
        allow_existing: bool = False,
        timeout: float | None = None,
    ) -> Experiment:
        """Creates an experiment. A retry after a lost answer creates no second one.

        With `allow_existing` it returns the active experiment that has the name already, unchanged. Raises
        ExperimentExists otherwise, and FieldInvalid for a name, tag or description that exceeds the limits.
        """
        request = tracking.CreateExperimentRequest(
            workspace=self._workspace,
            name=name,
            description=description,
            tags=arguments.texts(tags),
            allow_existing=allow_existing,
            request_id=uuid.uuid4().hex,
        )
        answer = self._connection.call(tracking.rpcs.CREATE_EXPERIMENT, request, timeout=timeout)
        return experiment_of(answer.experiment)

    def get(self, experiment_id: str | int) -> Experiment:
        """Reads an experiment, also a deleted one. Raises ExperimentNotFound."""
        request = tracking.GetExperimentRequest(experiment_id=_id(experiment_id))
        return experiment_of(self._connection.call(tracking.rpcs.GET_EXPERIMENT, request).experiment)

    def get_by_name(self, name: str) -> Experiment:
        """Reads the experiment that has a name, also a deleted one. Raises ExperimentNotFound."""
        request = tracking.GetExperimentByNameRequest(workspace=self._workspace, name=name)
        return experiment_of(self._connection.call(tracking.rpcs.GET_EXPERIMENT_BY_NAME, request).experiment)

    def update(
        self, experiment_id: str | int, *, name: str | None = None, description: str | None = None, etag: str = ""
    ) -> Experiment:
        """Changes the name or the description. What is None stays.

        With an `etag` it raises EtagMismatch if somebody else has changed the experiment. Raises ExperimentNotFound,
        ExperimentExists or ExperimentDeleted.
        """
        changed = tracking.Experiment(experiment_id=_id(experiment_id), etag=etag)
        request = tracking.UpdateExperimentRequest(experiment=changed)
        if name is not None:
            request.experiment.name = name
            request.update_mask.paths.append("name")
        if description is not None:
            request.experiment.description = description
            request.update_mask.paths.append("description")
        return experiment_of(self._connection.call(tracking.rpcs.UPDATE_EXPERIMENT, request).experiment)

    def delete(self, experiment_id: str | int) -> Experiment:
        """Deletes an experiment. `restore` undoes it. Deleting it again changes nothing. Raises ExperimentNotFound."""
        request = tracking.DeleteExperimentRequest(experiment_id=_id(experiment_id))
        return experiment_of(self._connection.call(tracking.rpcs.DELETE_EXPERIMENT, request).experiment)

    def restore(self, experiment_id: str | int) -> Experiment:
        """Restores a deleted experiment. Restoring an active one changes nothing. Raises ExperimentNotFound."""
        request = tracking.RestoreExperimentRequest(experiment_id=_id(experiment_id))
        return experiment_of(self._connection.call(tracking.rpcs.RESTORE_EXPERIMENT, request).experiment)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        lifecycle: LifecycleFilter | Lifecycle | str = LifecycleFilter.ACTIVE,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Experiment]:
        """Finds experiments. Default order: the newest first.

        Raises FilterSyntax and FieldInvalid when the list is read.
        """
        request = tracking.SearchExperimentsRequest(
            workspace=self._workspace,
            filter=filter,
            order_by=arguments.listed("order_by", order_by),
            lifecycle=lifecycle_filter(lifecycle),
        )

        def fetch(size: int, token: str) -> tuple[list[Experiment], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(tracking.rpcs.SEARCH_EXPERIMENTS, request)
            if not token:
                tell_unsorted(
                    request,
                    page.experiments,
                    lambda probe: self._connection.call(tracking.rpcs.SEARCH_EXPERIMENTS, probe).experiments,
                )
            return [experiment_of(message) for message in page.experiments], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def set_tags(self, experiment_id: str | int, tags: Mapping[str, object]) -> Experiment:
        """Sets tags, all or none. Tags with the same keys are replaced, others stay. Raises ExperimentNotFound."""
        request = tracking.SetExperimentTagsRequest(experiment_id=_id(experiment_id), tags=arguments.texts(tags))
        return experiment_of(self._connection.call(tracking.rpcs.SET_EXPERIMENT_TAGS, request).experiment)

    def delete_tags(self, experiment_id: str | int, keys: str | Iterable[str]) -> Experiment:
        """Removes tags, all or none. Raises ExperimentNotFound or TagNotFound."""
        request = tracking.DeleteExperimentTagsRequest(
            experiment_id=_id(experiment_id), keys=arguments.listed("keys", keys)
        )
        return experiment_of(self._connection.call(tracking.rpcs.DELETE_EXPERIMENT_TAGS, request).experiment)


def default_experiment_id(connection: Connection, workspace: str) -> str:
    """The id of the experiment of runs for which none was chosen. It is created if the workspace has none yet."""
    if workspace == settings.DEFAULT_WORKSPACE:
        return "0"
    return named_experiment(Experiments(connection, workspace), DEFAULT_EXPERIMENT_NAME).experiment_id


def named_experiment(experiments: Experiments, name: str, *, timeout: float | None = None) -> Experiment:
    """The experiment that has a name; it is created if there is none. Raises ExperimentDeleted."""
    try:
        return experiments.create(name, allow_existing=True, timeout=timeout)
    except ExperimentExists as taken:  # only a deleted one has the name then
        raise deleted_experiment(name, taken.metadata) from None


def deleted_experiment(name: str, metadata: Mapping[str, str]) -> ExperimentDeleted:
    """The error if a deleted experiment is chosen."""
    problem = f"experiment {name!r} is deleted; restore it first with modelry.Client().experiments.restore(id)"
    return ExperimentDeleted(problem, metadata=metadata)


def experiment_of(message: tracking.Experiment) -> Experiment:
    """The experiment that a message holds."""
    return Experiment(
        experiment_id=message.experiment_id,
        workspace=message.workspace,
        name=message.name,
        description=message.description,
        lifecycle=lifecycle_of(message.lifecycle),
        tags=dict(message.tags),
        creator=message.creator,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        delete_time=time_of(message, "delete_time"),
        etag=message.etag,
    )


def lifecycle_of(number: int) -> Lifecycle:
    """The lifecycle that a message has."""
    return Lifecycle(name_of(common.Lifecycle, number))


def lifecycle_filter(given: LifecycleFilter | Lifecycle | str) -> common.LifecycleFilter.ValueType:
    """The lifecycle filter of a request. Raises InvalidArgument for another word."""
    return common.LifecycleFilter.Value(f"LIFECYCLE_FILTER_{member_of('lifecycle', given, LifecycleFilter)}")


def _id(experiment_id: str | int) -> str:
    return arguments.id_text("experiment_id", experiment_id)
