"""Runs as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelry._sdk.nouns.runs import Run

if TYPE_CHECKING:
    import pandas as pd


def frame_of(runs: Iterable[Run]) -> pd.DataFrame:
    """A row for each run: its attributes, then a column for each metric, param and tag that any of the runs has.

    The columns are `metrics.<key>`, `params.<key>` and `tags.<key>`; a missing value is NaN or None. Times are UTC.
    Needs pandas.
    """
    import pandas as pd

    found = list(runs)
    columns: dict[str, object] = {
        "run_id": [run.run_id for run in found],
        "experiment_id": [run.experiment_id for run in found],
        "run_name": [run.name for run in found],
        "status": [run.status.value for run in found],
        "artifact_uri": [f"runs:/{run.run_id}" for run in found],
        "start_time": pd.to_datetime([run.start_time for run in found], utc=True),
        "end_time": pd.to_datetime([run.end_time for run in found], utc=True),
    }
    for key in _keys(run.metrics for run in found):
        columns[f"metrics.{key}"] = [run.metrics.get(key, float("nan")) for run in found]
    for key in _keys(run.params for run in found):
        columns[f"params.{key}"] = [run.params.get(key) for run in found]
    for key in _keys(run.tags for run in found):
        columns[f"tags.{key}"] = [run.tags.get(key) for run in found]
    return pd.DataFrame(columns)


def _keys(mappings: Iterable[Iterable[str]]) -> list[str]:
    return sorted({key for mapping in mappings for key in mapping})
