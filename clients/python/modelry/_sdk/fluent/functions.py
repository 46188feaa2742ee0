"""The functions that training code calls: `modelry.start_run`, `modelry.log_metric` and so on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, overload

from modelry._sdk.client import Client
from modelry._sdk.fluent import session, starting
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.experiments import Experiment, Lifecycle, deleted_experiment, named_experiment
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.runs import Run, RunStatus
from modelry._sdk.recording import recorders
from modelry._sdk.recording.sync import SyncReport, deliver
from modelry._sdk.transport import settings
from modelry.errors import (
    DeadlineExceeded,
    ExperimentNotFound,
    FailedPrecondition,
    InvalidArgument,
    Unavailable,
)

if TYPE_CHECKING:
    import pandas as pd

    from modelry._sdk.nouns.versions import Version

log = logging.getLogger("modelry")

_local = session.local
_VIEWS = {1: Lifecycle.ACTIVE, 2: Lifecycle.DELETED, 3: Lifecycle.ANY}
"""Lifecycles by the numbers that MLflow has for them."""


def set_tracking_uri(uri: str | None) -> None:
    """Says which server to use from now on: `grpc://host:port`, `host:port` or `unix:///path`.

    Runs that are on stay where they are; None or an empty URI means that of the environment again. Raises
    InvalidArgument for another form.
    """
    settings.choose_tracking_uri(uri)


def get_tracking_uri() -> str:
    """The server in use: what was set, else `MODELRY_TRACKING_URI`, else `grpc://127.0.0.1:5100`."""
    return settings.tracking_uri()


def set_registry_uri(uri: str | None) -> None:
    """Says which server has the registry, where it is another one than that of tracking.

    None or an empty URI means that of the environment again. Raises InvalidArgument for another form.
    """
    session.set_registry_uri(uri)


def get_registry_uri() -> str:
    """The server of the registry: what was set, else `MODELRY_REGISTRY_URI`, else that of tracking."""
    return session.registry_uri()


def set_experiment(experiment_name: str | None = None, experiment_id: str | int | None = None) -> Experiment | None:
    """Chooses the experiment of the runs that follow; one of that name is made when there is none.

    While no server answers, the name is kept for the runs, and None is the answer. Raises ExperimentDeleted or
    ExperimentNotFound.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidArgument("set_experiment needs either a name or an id")
    experiments = session.client().experiments
    chosen_id = "" if experiment_id is None else arguments.id_text("experiment_id", experiment_id)
    chosen_name = "" if experiment_name is None else str(experiment_name)
    try:
        if experiment_id is not None:
            found = experiments.get(chosen_id)
        else:
            limit = settings.read().start_timeout
            found = named_experiment(experiments, chosen_name, timeout=limit)
    except (Unavailable, DeadlineExceeded) as error:
        log.warning("%s; the experiment is looked up later", error.message)
        session.set_experiment(starting.ExperimentChoice(chosen_id, chosen_name))
        return None
    if found.lifecycle is Lifecycle.DELETED:
        raise deleted_experiment(found.name, {"experiment_id": found.experiment_id, "name": found.name})
    session.set_experiment(starting.ExperimentChoice(found.experiment_id))
    return found


def create_experiment(name: str, tags: Mapping[str, object] | None = None) -> str:
    """Makes an experiment and answers with its id. Raises ExperimentExists."""
    return session.client().experiments.create(name, tags=tags).experiment_id


def client() -> Client:
    """The client that these functions use: that of the tracking URI."""
    return session.client()


def get_experiment(experiment_id: str | int) -> Experiment:
    """Reads an experiment, also a deleted one. Raises ExperimentNotFound."""
    return session.client().experiments.get(experiment_id)


def get_experiment_by_name(name: str) -> Experiment | None:
    """Reads the experiment of a name, also a deleted one; None where there is none."""
    try:
        return session.client().experiments.get_by_name(name)
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
) -> ActiveRun:
    """Starts a run, or goes on with that of `run_id` (or of `MODELRY_RUN_ID`), and makes it the active one.

    Use it as a context manager, or end the run by `end_run`. With `nested` it becomes a child of the active run. Where
    no server answers within `MODELRY_START_TIMEOUT` the run goes on offline, with a warning, and is sent later. Raises
    FailedPrecondition while another run is active, and ModelryError where the server refuses.
    """
    outer = session.active()
    own = _local.runs[-1] if _local.runs else None
    if own is not None and not nested:
        raise FailedPrecondition(
            f"run {own.id} is active; end it by modelry.end_run(), or start one inside it with nested=True",
            reason="RUN_IS_ACTIVE",
            metadata={"run_id": own.id},
        )
    labels = dict(tags or {})
    if description is not None:
        labels["modelry.description"] = description
    server = session.client()
    name = "" if run_name is None else str(run_name)
    resumed = run_id or os.environ.pop("MODELRY_RUN_ID", "")
    if resumed:
        run = starting.resume(server, resumed, name=name, tags=labels)
    else:
        if experiment_id is not None and experiment_id != "":
            choice = starting.ExperimentChoice(arguments.id_text("experiment_id", experiment_id))
        elif nested and outer is not None and outer.experiment_id:
            choice = starting.ExperimentChoice(outer.experiment_id)
        else:
            choice = session.experiment()
        parent = parent_run_id or (outer.id if nested and outer is not None else "")
        run = starting.start(server, choice, name=name, parent_run_id=parent, tags=labels)
    session.push(run)
    return run


def end_run(status: RunStatus | str = RunStatus.FINISHED) -> None:
    """Ends the active run, after everything that was logged to it. Nothing where none is active."""
    run = _local.runs[-1] if _local.runs else None
    if run is not None:
        run.end(status)


def active_run() -> ActiveRun | None:
    """The run that is on in this thread, or the only one that is on in another; None where there is none."""
    return session.active()


def last_active_run() -> Run | None:
    """The active run, else the one that was started last, as the server knows it. None before the first."""
    run = session.last()
    if run is None:
        return None
    _settle()
    return run.client.runs.get(run.id)


def get_run(run_id: str) -> Run:
    """Reads a run, with everything that was logged here before. Raises RunNotFound."""
    _settle()
    return session.client().runs.get(run_id)


def delete_run(run_id: str) -> None:
    """Deletes a run; `modelry.Client().runs.restore` undoes it. Raises RunNotFound."""
    _settle()
    session.client().runs.delete(run_id)


@overload
def search_runs(
    experiment_ids: str | int | Iterable[str | int] | None = None,
    filter_string: str = "",
    run_view_type: Lifecycle | str | int = Lifecycle.ACTIVE,
    max_results: int = 100_000,
    order_by: str | Iterable[str] | None = None,
    output_format: Literal["pandas"] | None = None,
    search_all_experiments: bool = False,
    experiment_names: str | Iterable[str] | None = None,
) -> pd.DataFrame: ...


@overload
def search_runs(
    experiment_ids: str | int | Iterable[str | int] | None = None,
    filter_string: str = "",
    run_view_type: Lifecycle | str | int = Lifecycle.ACTIVE,
    max_results: int = 100_000,
    order_by: str | Iterable[str] | None = None,
    *,
    output_format: Literal["list"],
    search_all_experiments: bool = False,
    experiment_names: str | Iterable[str] | None = None,
) -> LazyList[Run]: ...


def search_runs(
    experiment_ids: str | int | Iterable[str | int] | None = None,
    filter_string: str = "",
    run_view_type: Lifecycle | str | int = Lifecycle.ACTIVE,
    max_results: int = 100_000,
    order_by: str | Iterable[str] | None = None,
    output_format: Literal["pandas", "list"] | None = None,
    search_all_experiments: bool = False,
    experiment_names: str | Iterable[str] | None = None,
) -> pd.DataFrame | LazyList[Run]:
    """Finds runs, in the experiment in use unless others are named; the newest first unless ordered.

    The answer is a pandas DataFrame where pandas is installed, else a list of runs; `output_format` decides otherwise.
    A single id, name or order may stand without its list. Raises FilterSyntax, whose message points at the place,
    ExperimentNotFound, and InvalidArgument.
    """
    if output_format not in (None, "pandas", "list"):
        raise arguments.refused("output_format", output_format, "'pandas' or 'list'")
    lifecycle = _lifecycle("run_view_type", run_view_type)
    ids = arguments.ids("experiment_ids", experiment_ids)
    names = arguments.listed("experiment_names", experiment_names)
    sort_keys = arguments.listed("order_by", order_by)
    _settle()
    server = session.client()
    ids += [server.experiments.get_by_name(name).experiment_id for name in names]
    if not ids and not search_all_experiments:
        chosen = session.experiment()
        ids = [chosen.experiment_id or server.experiments.get_by_name(chosen.name).experiment_id]
    found = server.runs.search(
        ids,
        filter_string,
        order_by=sort_keys,
        lifecycle=lifecycle,
        max_results=max_results,
        page_size=1000,
    )
    if output_format == "list":
        return found
    try:
        from modelry._sdk.nouns.frames import frame_of

        return frame_of(found)
    except ModuleNotFoundError:
        if output_format == "pandas":
            raise
        return found


def search_experiments(
    view_type: Lifecycle | str | int = Lifecycle.ACTIVE,
    max_results: int | None = None,
    filter_string: str = "",
    order_by: str | Iterable[str] | None = None,
) -> LazyList[Experiment]:
    """Finds experiments, the newest first unless ordered. Raises FilterSyntax when the list is read."""
    return session.client().experiments.search(
        filter_string,
        order_by=order_by or (),
        lifecycle=_lifecycle("view_type", view_type),
        max_results=max_results,
    )


def register_model(model_uri: str, name: str, *, tags: Mapping[str, object] | None = None) -> Version:
    """Makes the next version of a model, and the model if there is none, from `runs:/<run_id>/<path>`.

    Raises RunNotFound, SourceEmpty and other ModelryErrors of `Client.versions.create`.
    """
    _settle()
    registry = session.registry_client()
    registry.models.create(name, allow_existing=True)
    return registry.versions.create(name, model_uri, tags=tags)


def transition_model_version_stage(
    name: str, version: int | str, stage: str, archive_existing_versions: bool = False
) -> Version:
    """Moves a version to None, Staging, Production or Archived, and the others in that stage to Archived if asked.

    Raises ModelNotFound, VersionNotFound, FieldInvalid for a stage that isn't one.
    """
    promotions = session.registry_client().promotions
    return promotions.promote(name, version, stage, archive_existing=archive_existing_versions).version


def set_registered_model_alias(name: str, alias: str, version: int | str) -> None:
    """Points an alias at a version. Raises ModelNotFound, VersionNotFound, or FieldInvalid for a bad alias."""
    session.registry_client().aliases.set(name, alias, version)


def flush(timeout: float | None = None) -> bool:
    """Waits until everything that was logged is durable, at most so many seconds; says whether it is.

    While no server answers it tries again until the time is up; without a limit it tries once, and says no.
    """
    return recorders.flush_all(timeout)


def sync(address: str | None = None, *, progress: Callable[[int, int], None] | None = None) -> SyncReport:
    """Delivers what processes that are gone left in the spool, each to its server, or all to `address`.

    `progress(done, total)` is told requests. Nothing is written twice. What can't be delivered now stays.
    """
    recorders.flush_all(settings.read().exit_timeout)
    return deliver(address, progress=progress)


def _lifecycle(argument: str, given: Lifecycle | str | int) -> Lifecycle:
    try:
        return _VIEWS[given] if isinstance(given, int) else Lifecycle(given.upper())
    except (KeyError, ValueError, AttributeError):
        wanted = f"{', '.join(Lifecycle)}, or MLflow's number for it, 1 to 3"
        raise arguments.refused(argument, given, wanted) from None


def _settle() -> None:
    """Sends what was logged here, so that it is found by what is asked next."""
    recorders.flush_all(settings.read().timeout)
