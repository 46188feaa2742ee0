"""Finding runs and experiments: `modelry.search_runs` and `modelry.search_experiments`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, overload

from modelry._sdk.fluent import session
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter
from modelry._sdk.nouns.experiments import Experiment
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.mlflow_names import VIEW_TYPES
from modelry._sdk.nouns.runs import Run
from modelry._sdk.recording import pool
from modelry._sdk.transport import settings

if TYPE_CHECKING:
    import pandas as pd


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
    pool.catch_up(settings.read().timeout)  # so that the search finds what was logged here
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
        from modelry._sdk.nouns.frames import frame_of

        return frame_of(found)
    except ModuleNotFoundError:
        if output_format == "pandas":
            raise
        return found


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
