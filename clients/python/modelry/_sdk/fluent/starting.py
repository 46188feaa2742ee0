"""Starting runs: on the server if it answers in time, else offline."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from modelry._sdk.client import Client
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.nouns.arguments import converted, converted_texts
from modelry._sdk.nouns.experiments import DEFAULT_EXPERIMENT_NAME, named_experiment
from modelry._sdk.nouns.times import stamp_of
from modelry._sdk.observing import places
from modelry._sdk.observing import tags as own_tags
from modelry._sdk.recording.pool import recorder_of
from modelry._sdk.spooling import ids, queued
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.transport import process, retries, settings
from modelry.api.tracking import v1 as tracking
from modelry.errors import ModelryError

log = logging.getLogger("modelry")

_SHORTEST_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ExperimentChoice:
    """The experiment of new runs: by its id, or by its name while no server could be asked for the id.

    `variable` is the one of the environment that has the name.
    """

    experiment_id: str = ""
    name: str = ""
    variable: str = ""


class _Elsewhere(process.Part):
    """The experiments of other workspaces in which this process has started runs."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, run: tracking.Run, chosen: str) -> None:
        """Warns if the run is not in the workspace that was chosen, once for each experiment."""
        case = (run.experiment_id, chosen)
        if run.workspace == chosen or case in self._told:
            return
        self._told.add(case)
        log.warning(
            "experiment %s is in the workspace %r and not in %r: its runs are logged there; set MODELRY_WORKSPACE=%s, "
            "or choose another experiment",
            run.experiment_id,
            run.workspace,
            chosen,
            run.workspace,
        )


def default_experiment(workspace: str) -> ExperimentChoice:
    """The experiment of new runs if none was chosen."""
    if workspace == settings.DEFAULT_WORKSPACE:
        return ExperimentChoice(experiment_id="0")
    return ExperimentChoice(name=DEFAULT_EXPERIMENT_NAME)


def start(
    client: Client,
    experiment: ExperimentChoice,
    *,
    name: str = "",
    parent_run_id: str = "",
    tags: Mapping[str, object] | None = None,
    description: str = "",
    began: datetime | None = None,
) -> ActiveRun:
    """Starts a run. If no server answers within `MODELRY_START_TIMEOUT` it starts offline, with a warning.

    `began` is when it began, if that was before. Raises ModelryError if the server refuses, such as ExperimentDeleted.
    """
    run_id = ids.run_id()
    request = tracking.CreateRunRequest(
        experiment_id=experiment.experiment_id,
        name=name,
        run_id=run_id,
        parent_run_id=parent_run_id,
        start_time=stamp_of((began or datetime.now(UTC)).astimezone(UTC)),
        tags={**converted_texts(own_tags.at_start()), **converted_texts(tags)},
        claimed_user=converted(own_tags.user()),
        description=description,
        participant=converted(places.rank()),
    )
    recorder = recorder_of(client._connection, client.workspace)
    why = recorder.why_offline
    if not recorder.offline:
        until = time.monotonic() + settings.read().start_timeout
        try:
            if not experiment.experiment_id:
                request.experiment_id = _experiment_id(client, experiment)
            left = max(_SHORTEST_SECONDS, until - time.monotonic())
            answer = client._connection.call(tracking.rpcs.CREATE_RUN, request, timeout=left)
        except ModelryError as error:
            if retries.is_refusal(error):
                raise
            why = error.message
        else:
            run = answer.run
            process.current().part(_Elsewhere).tell(run, client.workspace)
            recorder.heartbeats.add(run_id)
            return ActiveRun(client, run_id, experiment_id=run.experiment_id, name=run.name, online=True, is_new=True)
    recorder.tell_offline(f"{why}; run {run_id} starts offline, is kept in {recorder.folder} and will be sent later")
    active = ActiveRun(client, run_id, experiment_id=request.experiment_id, name=name, online=False, is_new=True)
    active.buffer.add(_offline_start(client, experiment, request), urgent=True)
    recorder.heartbeats.add(run_id)
    return active


def resume(
    client: Client, run_id: str, *, name: str = "", tags: Mapping[str, object] | None = None, description: str = ""
) -> ActiveRun:
    """Continues a run, whose status becomes running again; offline if no server answers.

    Raises RunNotFound or RunDeleted.
    """
    request = tracking.UpdateRunRequest(
        run=tracking.Run(run_id=run_id, status=tracking.RUN_STATUS_RUNNING), participant=converted(places.rank())
    )
    request.update_mask.paths.append("status")
    if name:
        request.run.name = name
        request.update_mask.paths.append("name")
    if description:
        request.run.description = description
        request.update_mask.paths.append("description")
    recorder = recorder_of(client._connection, client.workspace)
    active: ActiveRun | None = None
    why = recorder.why_offline
    if not recorder.offline:
        try:
            answer = client._connection.call(tracking.rpcs.UPDATE_RUN, request, timeout=settings.read().start_timeout)
        except ModelryError as error:
            if retries.is_refusal(error):
                raise
            why = error.message
        else:
            run = answer.run
            active = ActiveRun(client, run_id, experiment_id=run.experiment_id, name=run.name, online=True)
            active.began = run.start_time.ToMilliseconds() / 1000
    if active is None:
        where = f"is kept in {recorder.folder} and will be sent later"
        recorder.tell_offline(f"{why}; run {run_id} continues offline, {where}")
        active = ActiveRun(client, run_id, experiment_id="", name=name, online=False)
        active.buffer.add(QueuedRequest(queued.UPDATE_RUN, request.SerializeToString()), urgent=True)
    active.is_continued = True
    recorder.heartbeats.add(run_id)
    if tags:
        active.set_tags(tags)
    return active


def _experiment_id(client: Client, choice: ExperimentChoice) -> str:
    limit = settings.read().start_timeout
    try:
        return named_experiment(client.experiments, choice.name, timeout=limit).experiment_id
    except ModelryError as error:
        if not choice.variable or not retries.is_refusal(error):
            raise
        said = f"{choice.variable}={choice.name!r}: {error.message}"
        raise type(error)(said, reason=error.reason, metadata=error.metadata, fields=error.fields) from None


def _offline_start(client: Client, experiment: ExperimentChoice, request: tracking.CreateRunRequest) -> QueuedRequest:
    if request.experiment_id:
        return QueuedRequest(queued.CREATE_RUN, request.SerializeToString())
    create = tracking.CreateExperimentRequest(
        workspace=client.workspace, name=experiment.name, allow_existing=True, request_id=ids.writer_id()
    )
    return queued.start_run(create.SerializeToString(), request.SerializeToString())
