"""Experiments: each holds the runs of one question."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import Connection
from modelry.api.tracking import v1 as tracking
from modelry.errors import ExperimentDeleted, ExperimentExists, InvalidArgument

DEFAULT_EXPERIMENT_NAME = "Default"
"""The experiment of runs for which none was chosen, in each workspace."""
_SERVICE = "modelry.api.tracking.v1.ExperimentService"


class Lifecycle(StrEnum):
    """Whether a thing is in use or deleted; ANY is for searches only."""

    ACTIVE = "ACTIVE"
    DELETED = "DELETED"
    ANY = "ANY"


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as it was when it was read."""

    experiment_id: str
    name: str
    workspace: str
    lifecycle: Lifecycle
    tags: Mapping[str, str]
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    etag: str


class Experiments:
    """Makes, reads, changes, deletes and finds experiments of a workspace."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        name: str,
        *,
        tags: Mapping[str, object] | None = None,
        allow_existing: bool = False,
        timeout: float | None = None,
    ) -> Experiment:
        """Makes an experiment; sending it again after a lost answer makes no second one.

        With `allow_existing` it answers with the active experiment of that name where there is one, unchanged. Raises
        ExperimentExists otherwise, and FieldInvalid for a name or tag over the limits.
        """
        request = tracking.CreateExperimentRequest(
            workspace=self._workspace,
            name=str(name),
            tags=arguments.texts(tags),
            allow_existing=allow_existing,
            request_id=uuid.uuid4().hex,
        )
        answer = self._connection.call(
            f"{_SERVICE}/CreateExperiment", request, tracking.CreateExperimentResponse, timeout=timeout
        )
        return experiment_of(answer.experiment)

    def get(self, experiment_id: str | int) -> Experiment:
        """Reads an experiment, also a deleted one. Raises ExperimentNotFound."""
        request = tracking.GetExperimentRequest(experiment_id=_id(experiment_id))
        answer = self._connection.call(f"{_SERVICE}/GetExperiment", request, tracking.GetExperimentResponse)
        return experiment_of(answer.experiment)

    def get_by_name(self, name: str) -> Experiment:
        """Reads the experiment of a name, also a deleted one. Raises ExperimentNotFound."""
        request = tracking.GetExperimentByNameRequest(workspace=self._workspace, name=str(name))
        answer = self._connection.call(f"{_SERVICE}/GetExperimentByName", request, tracking.GetExperimentByNameResponse)
        return experiment_of(answer.experiment)

    def update(self, experiment_id: str | int, *, name: str, etag: str = "") -> Experiment:
        """Renames an experiment.

        With an `etag` it raises EtagMismatch where somebody else changed the experiment since. Raises
        ExperimentNotFound, ExperimentExists or ExperimentDeleted.
        """
        request = tracking.UpdateExperimentRequest(
            experiment=tracking.Experiment(experiment_id=_id(experiment_id), name=str(name), etag=etag)
        )
        request.update_mask.paths.append("name")
        answer = self._connection.call(f"{_SERVICE}/UpdateExperiment", request, tracking.UpdateExperimentResponse)
        return experiment_of(answer.experiment)

    def delete(self, experiment_id: str | int) -> Experiment:
        """Deletes an experiment, which `restore` undoes; again changes nothing. Raises ExperimentNotFound."""
        request = tracking.DeleteExperimentRequest(experiment_id=_id(experiment_id))
        answer = self._connection.call(f"{_SERVICE}/DeleteExperiment", request, tracking.DeleteExperimentResponse)
        return experiment_of(answer.experiment)

    def restore(self, experiment_id: str | int) -> Experiment:
        """Restores a deleted experiment. Restoring an active one changes nothing. Raises ExperimentNotFound."""
        request = tracking.RestoreExperimentRequest(experiment_id=_id(experiment_id))
        answer = self._connection.call(f"{_SERVICE}/RestoreExperiment", request, tracking.RestoreExperimentResponse)
        return experiment_of(answer.experiment)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        lifecycle: Lifecycle | str = Lifecycle.ACTIVE,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Experiment]:
        """Finds experiments, the newest first unless `order_by` says otherwise.

        Raises FilterSyntax and FieldInvalid when the list is read.
        """
        sort_keys, wanted = arguments.listed("order_by", order_by), lifecycle_number(lifecycle)

        def fetch(size: int, token: str) -> tuple[list[Experiment], str]:
            request = tracking.SearchExperimentsRequest(
                workspace=self._workspace,
                filter=filter,
                order_by=sort_keys,
                lifecycle=wanted,
                page_size=size,
                page_token=token,
            )
            page = self._connection.call(f"{_SERVICE}/SearchExperiments", request, tracking.SearchExperimentsResponse)
            return [experiment_of(message) for message in page.experiments], page.next_page_token

        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))

    def set_tags(self, experiment_id: str | int, tags: Mapping[str, object]) -> Experiment:
        """Sets tags, all or none; tags of the same keys are replaced, others stay. Raises ExperimentNotFound."""
        request = tracking.SetExperimentTagsRequest(experiment_id=_id(experiment_id), tags=arguments.texts(tags))
        answer = self._connection.call(f"{_SERVICE}/SetExperimentTags", request, tracking.SetExperimentTagsResponse)
        return experiment_of(answer.experiment)

    def delete_tags(self, experiment_id: str | int, keys: str | Iterable[str]) -> Experiment:
        """Removes tags, all or none. Raises ExperimentNotFound or TagNotFound."""
        request = tracking.DeleteExperimentTagsRequest(
            experiment_id=_id(experiment_id), keys=arguments.listed("keys", keys)
        )
        answer = self._connection.call(
            f"{_SERVICE}/DeleteExperimentTags", request, tracking.DeleteExperimentTagsResponse
        )
        return experiment_of(answer.experiment)


def default_experiment_id(connection: Connection, workspace: str) -> str:
    """The id of the experiment of runs for which none was chosen; it is made where the workspace has none yet."""
    if workspace == settings.DEFAULT_WORKSPACE:
        return "0"
    return named_experiment(Experiments(connection, workspace), DEFAULT_EXPERIMENT_NAME).experiment_id


def named_experiment(experiments: Experiments, name: str, *, timeout: float | None = None) -> Experiment:
    """The experiment of a name, which is made where there is none. Raises ExperimentDeleted."""
    try:
        return experiments.create(name, allow_existing=True, timeout=timeout)
    except ExperimentExists as taken:  # Only a deleted one stands in the way.
        raise deleted_experiment(name, taken.metadata) from None


def deleted_experiment(name: str, metadata: Mapping[str, str]) -> ExperimentDeleted:
    """The error where a deleted experiment is chosen."""
    problem = f"experiment {name!r} is deleted; restore it first, by modelry.Client().experiments.restore(id)"
    return ExperimentDeleted(problem, metadata=metadata)


def experiment_of(message: tracking.Experiment) -> Experiment:
    """The experiment that a message holds."""
    return Experiment(
        experiment_id=message.experiment_id,
        name=message.name,
        workspace=message.workspace,
        lifecycle=lifecycle_of(message.lifecycle),
        tags=dict(message.tags),
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        delete_time=time_of(message, "delete_time"),
        etag=message.etag,
    )


def lifecycle_of(number: int) -> Lifecycle:
    """The lifecycle that a message names; an unknown one counts as active."""
    return Lifecycle.DELETED if number == tracking.LIFECYCLE_DELETED else Lifecycle.ACTIVE


def lifecycle_number(lifecycle: Lifecycle | str) -> tracking.Lifecycle.ValueType:
    """The lifecycle of a request. Raises InvalidArgument for a word that is none."""
    try:
        return tracking.Lifecycle.Value(f"LIFECYCLE_{Lifecycle(str(lifecycle).upper()).value}")
    except ValueError:
        raise InvalidArgument(
            f"lifecycle {lifecycle!r} is not one of {', '.join(Lifecycle)}", fields={"lifecycle": "is unknown"}
        ) from None


def _id(experiment_id: str | int) -> str:
    return arguments.id_text("experiment_id", experiment_id)
