"""The functions that training code calls: `modelry.start_run`, `modelry.log_metric` and so on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modelry._sdk.credentials import sources
from modelry._sdk.fluent import session, starting
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import Lifecycle, RunStatus
from modelry._sdk.nouns.experiments import Experiment, deleted_experiment, named_experiment
from modelry._sdk.nouns.runs import Run
from modelry._sdk.observing import places
from modelry._sdk.observing.console import Console, catch_up, delivered
from modelry._sdk.observing.sampling import Sampling
from modelry._sdk.observing.snapshots import Snapshots
from modelry._sdk.observing.transcript import Files
from modelry._sdk.recording import pool
from modelry._sdk.recording.sync import SyncReport, deliver
from modelry._sdk.transport import process, retries, settings
from modelry.errors import (
    ExperimentNotFound,
    FailedPrecondition,
    InvalidArgument,
    ModelryError,
)

if TYPE_CHECKING:
    from modelry._sdk.nouns.versions import Version

log = logging.getLogger("modelry")


def set_tracking_uri(uri: str | None, *, token: str | None = None) -> None:
    """Sets the server to use from now on: `grpc://host:port`, `host:port` or `unix:///path`.

    Running runs stay where they are. None or an empty URI selects the one of the environment again. `token` is the
    token for this server, in place of those that docs/credentials.md names. Raises InvalidArgument for another form,
    and for a token that can't be one.
    """
    process.current().choose_tracking_uri(uri, None if token is None else sources.checked("token", token))


def get_tracking_uri() -> str:
    """The server in use: the one that was set, else `MODELRY_TRACKING_URI`, else `grpc://127.0.0.1:5100`."""
    return process.current().tracking_uri


def set_registry_uri(uri: str | None) -> None:
    """Sets the server of the registry, if it is not the one of tracking.

    None or an empty URI selects the one of the environment again. Raises InvalidArgument for another form.
    """
    session.current().set_registry_uri(uri)


def get_registry_uri() -> str:
    """The server of the registry: the one that was set, else `MODELRY_REGISTRY_URI`, else the one of tracking."""
    return session.current().registry_uri


def set_experiment(experiment_name: str | None = None, experiment_id: str | int | None = None) -> Experiment | None:
    """Chooses the experiment of the runs that follow, by its name or its id.

    If there is no experiment with the name, it is created. While no server answers, the choice is kept and None is
    returned. Raises ExperimentDeleted, ExperimentNotFound, or InvalidArgument for a number as the name and for the id
    of an experiment of another workspace.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidArgument("set_experiment needs either a name or an id")
    if hasattr(experiment_name, "__index__"):
        raise InvalidArgument(
            f"the name of an experiment is a text; to choose an experiment by its id, pass "
            f"experiment_id={experiment_name}",
            fields={"experiment_name": "must be a text"},
        )
    client = session.current().client()
    experiments = client.experiments
    chosen_id = arguments.experiment_id("experiment_id", experiment_id)
    chosen_name = arguments.converted(experiment_name)
    try:
        if experiment_id is not None:
            found = experiments.get(chosen_id)
        else:
            limit = settings.read().start_timeout
            found = named_experiment(experiments, chosen_name, timeout=limit)
    except ModelryError as error:
        if retries.is_refusal(error):
            raise
        log.info("%s; the experiment will be looked up later", error.message)
        session.current().set_experiment(starting.ExperimentChoice(chosen_id, chosen_name))
        return None
    if found.lifecycle is Lifecycle.DELETED:
        raise deleted_experiment(found.name, {"experiment_id": found.experiment_id, "name": found.name})
    if found.workspace != client.workspace:
        raise InvalidArgument(
            f"experiment {found.experiment_id} is in the workspace {found.workspace!r} and not in "
            f"{client.workspace!r}; set MODELRY_WORKSPACE={found.workspace}, or choose another experiment",
            metadata={"experiment_id": found.experiment_id, "workspace": found.workspace},
            fields={"experiment_id": f"must be of the workspace {client.workspace!r}"},
        )
    session.current().set_experiment(starting.ExperimentChoice(found.experiment_id))
    return found


def create_experiment(name: str, tags: Mapping[str, object] | None = None) -> str:
    """Creates an experiment and returns its id. Raises ExperimentExists."""
    return session.current().client().experiments.create(arguments.converted(name), tags=tags).experiment_id


def get_experiment(experiment_id: str | int) -> Experiment:
    """Reads an experiment, also a deleted one. Raises ExperimentNotFound."""
    return session.current().client().experiments.get(experiment_id)


def get_experiment_by_name(name: str) -> Experiment | None:
    """Reads the experiment that has a name, also a deleted one. None if there is none."""
    try:
        return session.current().client().experiments.get_by_name(arguments.converted(name))
    except ExperimentNotFound:
        return None


def start_run(
    run_id: str | None = None,
    experiment_id: str | int | None = None,
    run_name: str | None = None,
    nested: bool = False,
    *,
    parent_run_id: str | None = None,
    tags: Mapping[str, object] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Starts a run, or continues the run `run_id`, and makes it the active one of this thread or task.

    Use it as a context manager, or end the run with `end_run`. With `nested` it becomes a child of the active run, with
    `parent_run_id` of that run. Without these three, the first run continues the run `MODELRY_RUN_ID`, if that is set;
    a nested one becomes its child. If no server answers within `MODELRY_START_TIMEOUT`, the run starts offline, with a
    warning, and is sent later. `log_system_metrics` says whether the use of the machine is sampled (default: as
    `MODELRY_SYSTEM_METRICS` says). Raises FailedPrecondition while another run of this thread or task is active,
    InvalidArgument for an id that can't be one, and ModelryError if the server refuses.
    """
    return _started(
        arguments.run_id("run_id", run_id),
        arguments.experiment_id("experiment_id", experiment_id),
        name=arguments.converted(run_name),
        nested=nested,
        parent_run_id=arguments.run_id("parent_run_id", parent_run_id),
        tags=tags,
        description=arguments.converted(description),
        log_system_metrics=log_system_metrics,
    )


def run_for_logging() -> ActiveRun | None:
    """The active run, else a new one. None, with a warning, if other runs are open and it is not clear which is meant.

    The new run belongs to the thread and not to the task, so that other tasks log to it too. None is started while the
    process ends, such as by a thread that goes on: what it logs belongs to the run that it had.
    """
    here = session.current()
    if (active := here.active()) is not None:
        return active
    if here.ends:
        if (left := here.ended_here()) is None:
            here.tell_once("what is logged while the process ends, and without a run, is not recorded")
        return left
    if here.others():
        here.tell_unclear("what is logged here is not recorded; pass run_id, or start a run")
        return None
    return _started(of_task=False)


def _started(
    run_id: str = "",
    experiment_id: str = "",
    *,
    name: str = "",
    nested: bool = False,
    parent_run_id: str = "",
    tags: Mapping[str, object] | None = None,
    description: str = "",
    log_system_metrics: bool | None = None,
    of_task: bool = True,
) -> ActiveRun:
    here = session.current()
    own, active = here.own(), here.active()
    if own is not None and not nested:
        advice = (
            "of the parent process is active here too; start a child run of it with nested=True"
            if own.is_of_parent
            else "is active; end it with modelry.end_run(), or start a child run with nested=True"
        )
        raise FailedPrecondition(
            f"run {own.run_id} {advice}",
            reason="RUN_IS_ACTIVE",
            metadata={"run_id": own.run_id},
        )
    above = active if nested else None
    parent = parent_run_id or (above.run_id if above is not None else "")
    inherited = "" if run_id or parent else here.inherited_id()
    resumed = run_id or ("" if nested else inherited)
    parent = parent or (inherited if nested else "")
    if resumed:
        run = starting.resume(here.client(), resumed, name=name, tags=tags, description=description)
    else:
        if nested and not parent and here.others() and not session.in_task():
            here.tell_unclear("a nested run becomes one without a parent; pass parent_run_id")
        run = starting.start(
            here.client(),
            _experiment_for(experiment_id, above),
            name=name,
            parent_run_id=parent,
            tags=tags,
            description=description,
        )
    here.push(run, parent_run_id=parent, of_task=of_task)
    process.current().part(Sampling).watch(run.buffer, began=run.began, wanted=log_system_metrics)
    if places.rank() not in {"", "0"} or not (resumed or above):
        process.current().part(Snapshots).take(run.files.upload_in_background, run.set_tags)
    if not above:
        _record_console(run)
    return run


def _record_console(run: ActiveRun) -> None:
    console = process.current().part(Console)
    transcript = console.record(Files(run.files.send_part, run.files.delete_part))
    if transcript is None:
        return
    run.has_console = True
    before = run.on_end

    def end(ended: ActiveRun) -> None:
        console.end(transcript)
        if before is not None:
            before(ended)

    run.on_end = end
    run.on_error = lambda error: console.end(transcript, error)


def _experiment_for(experiment_id: str, above: ActiveRun | None) -> starting.ExperimentChoice:
    """The experiment of a new run: the given one, else that of the run above it, else the chosen one."""
    if experiment_id:
        return starting.ExperimentChoice(experiment_id)
    if above is not None and above.experiment_id:
        return starting.ExperimentChoice(above.experiment_id)
    return session.current().experiment()


def end_run(status: RunStatus | str = RunStatus.FINISHED) -> None:
    """Ends the run of this thread or task after everything that was logged to it is sent. Does nothing without one.

    Raises InvalidArgument for what is not the status of a run that has ended; then the run goes on.
    """
    run = session.current().own()
    if run is not None:
        run.end(status)


def active_run() -> ActiveRun | None:
    """The run that this thread or task works on. None if there is none, or if it is not clear which."""
    return session.current().active()


def last_active_run() -> Run | None:
    """The active run, else the one that was started last, as the server has it. None before the first."""
    run = session.current().last()
    if run is None:
        return None
    _settle()
    return run.client.runs.get(run.run_id)


def get_run(run_id: str) -> Run:
    """Reads a run, with everything that this process has logged to it. Raises RunNotFound."""
    _settle()
    return session.current().client().runs.get(run_id)


def delete_run(run_id: str) -> None:
    """Deletes a run. `modelry.Client().runs.restore` undoes it. Raises RunNotFound."""
    _settle()
    session.current().client().runs.delete(run_id)


def transition_model_version_stage(
    name: str, version: int | str, stage: str, archive_existing_versions: bool = False
) -> Version:
    """Moves a version to a stage, such as Production, and on request the other versions in it to the archive.

    Raises ModelNotFound, VersionNotFound, or FieldInvalid for a stage that the model does not have.
    """
    promotions = session.current().registry_client().promotions
    return promotions.promote(name, version, stage, archive_existing=archive_existing_versions).version


def set_registered_model_alias(name: str, alias: str, version: int | str) -> None:
    """Points an alias at a version. Raises ModelNotFound, VersionNotFound, or FieldInvalid for a bad alias."""
    session.current().registry_client().aliases.set(name, alias, version)


def flush(timeout: float | None = None) -> bool:
    """Waits until everything that was logged is committed, at most `timeout` seconds. Returns whether it is.

    For what was printed it waits too, at most 5 seconds; the answer does not depend on it.
    While no server answers it tries again until the time is up. Without a timeout it tries once and returns False. In a
    forked child it writes to the spool, which the parent delivers, and returns False.
    """
    return delivered(pool.flush_all, timeout)


def sync(address: str | None = None, *, progress: Callable[[int, int], None] | None = None) -> SyncReport:
    """Delivers what ended processes left in the spool, each to its server, or all to `address`.

    The server is the one for which it was logged, whatever `MODELRY_TRACKING_URI` says.
    `progress(done, total)` is called with numbers of requests. Nothing is written twice. What can't be delivered now
    stays in the spool.
    """
    flush(settings.read().exit_timeout)
    return deliver(address, progress=progress)


def _settle() -> None:
    """Sends what was logged here, so that the next read finds it."""
    catch_up(settings.read().timeout)
