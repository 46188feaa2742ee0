"""Finding runs, experiments and tables: `modelry.search_runs`, `search_experiments` and `load_table`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, overload

from modelry._sdk.files import tables
from modelry._sdk.fluent import session
from modelry._sdk.fluent.tables import TAG, entry, names
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter
from modelry._sdk.nouns.experiments import Experiment
from modelry._sdk.nouns.frames import frame_of
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.mlflow_names import VIEW_TYPES
from modelry._sdk.nouns.runs import Run
from modelry._sdk.observing.console import catch_up
from modelry._sdk.transport import settings
from modelry.errors import ArtifactNotFound

if TYPE_CHECKING:
    import pandas as pd


log = logging.getLogger("modelry")


@overload
def search_runs(
    experiment_ids: str | int | Iterable[str | int] | None = None,
    filter_string: str = "",
    run_view_type: LifecycleFilter | Lifecycle | str | int = LifecycleFilter.ACTIVE,
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
    run_view_type: LifecycleFilter | Lifecycle | str | int = LifecycleFilter.ACTIVE,
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
    run_view_type: LifecycleFilter | Lifecycle | str | int = LifecycleFilter.ACTIVE,
    max_results: int = 100_000,
    order_by: str | Iterable[str] | None = None,
    output_format: Literal["pandas", "list"] | None = None,
    search_all_experiments: bool = False,
    experiment_names: str | Iterable[str] | None = None,
) -> pd.DataFrame | LazyList[Run]:
    """Finds runs. Default: in the experiment in use, the newest first.

    Returns a pandas DataFrame if pandas is installed, else a list of runs; `output_format` chooses one of them. A
    single id, name or sort key needs no list. Raises FilterSyntax, whose message points at the mistake,
    ExperimentNotFound, and InvalidArgument.
    """
    if output_format not in (None, "pandas", "list"):
        raise arguments.refused("output_format", output_format, "'pandas' or 'list'")
    lifecycle = _lifecycle("run_view_type", run_view_type)
    ids = arguments.ids("experiment_ids", experiment_ids)
    names = arguments.listed("experiment_names", experiment_names)
    sort_keys = arguments.listed("order_by", order_by)
    catch_up(settings.read().timeout)  # so that the search finds what was logged here
    server = session.current().client()
    ids += [server.experiments.get_by_name(name).experiment_id for name in names]
    if not ids and not search_all_experiments:
        chosen = session.current().experiment()
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
        return frame_of(found)
    except ModuleNotFoundError:
        if output_format == "pandas":
            raise
        return found


def load_table(
    artifact_file: str, run_ids: str | Iterable[str] | None = None, extra_columns: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Reads a table of runs that was logged with `modelry.log_table`, one run after the other.

    Default: of all runs of the experiment in use that have it, the newest first. `extra_columns` are columns of
    `search_runs` that are added to the rows, such as `run_id` or `params.rate`; a name that the table has already gets
    a `_` at its end. Texts stay texts, also those that look like numbers or dates. Raises ArtifactNotFound if no run
    has the table, and InvalidArgument for content that is no table. Runs of `run_ids` without it are skipped, with a
    warning. Needs pandas.
    """
    import pandas as pd

    path = tables.checked(artifact_file)
    extra = arguments.listed("extra_columns", extra_columns)
    server = session.current().client()
    if run_ids is not None:
        ids = arguments.ids("run_ids", run_ids)
        catch_up(settings.read().timeout)  # so that it finds what was logged here
        runs = [server.runs.get(run_id) for run_id in ids]
    else:
        found = search_runs(filter_string=f"tags.`{TAG}` IS NOT NULL", output_format="list")
        runs = [run for run in found if entry(path) in names(run.tags[TAG])]
    of_runs = frame_of(runs)
    if unknown := [column for column in extra if column not in of_runs]:
        raise arguments.refused("extra_columns", unknown[0], f"a column of runs: {', '.join(of_runs.columns)}")
    parts = []
    for position, run in enumerate(runs):
        try:
            part = server.artifacts.read_table(f"runs/{run.run_id}", path)
        except ArtifactNotFound:
            log.warning("run %s has no table at %r; it is skipped", run.run_id, path)
            continue
        for column in extra:
            part[f"{column}_" if column in part else column] = of_runs[column].iloc[position]
        parts.append(part)
    if not parts:
        where = "none of these runs has" if run_ids is not None else "no run of the experiment in use has"
        raise ArtifactNotFound(f"{where} a table at {path!r}", metadata={"path": path})
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)


def search_experiments(
    view_type: LifecycleFilter | Lifecycle | str | int = LifecycleFilter.ACTIVE,
    max_results: int | None = None,
    filter_string: str = "",
    order_by: str | Iterable[str] | None = None,
) -> LazyList[Experiment]:
    """Finds experiments. Default order: the newest first. Raises FilterSyntax when the list is read."""
    experiments = session.current().client().experiments
    return experiments.search(
        filter_string,
        order_by=order_by or (),
        lifecycle=_lifecycle("view_type", view_type),
        max_results=max_results,
    )


def _lifecycle(argument: str, given: object) -> LifecycleFilter:
    try:
        return LifecycleFilter(VIEW_TYPES[given] if isinstance(given, int) else str(given).upper())
    except (KeyError, ValueError):
        wanted = f"{', '.join(LifecycleFilter)}, or MLflow's number for it, 1 to 3"
        raise arguments.refused(argument, given, wanted) from None
