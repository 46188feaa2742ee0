"""The functions with which training code logs: `modelry.log_metric`, `modelry.log_param`, `modelry.log_artifact`, …"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelry._sdk.fluent import session
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.fluent.functions import start_run

_local = session.local


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    timestamp: int | datetime | None = None,
    run_id: str | None = None,
) -> None:
    """Logs one point to the active run, which is started if there is none, or to the run of `run_id`.

    Without a step it is 0, without a time (ms since the epoch, or a datetime) now. Takes about a microsecond: the point
    is sent in the background. A numeric text, and an array or tensor of one element, is taken as its number. Raises
    nothing: what is no number is warned of once for each key, and counted.
    """
    if run_id is None:
        buffer = _local.buffer
        if buffer is None:
            buffer = _run().buffer
    else:
        buffer = session.buffer_of(run_id)
    buffer.log_metric(key, value, step, timestamp)


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    timestamp: int | datetime | None = None,
    run_id: str | None = None,
) -> None:
    """Logs one point of each metric, all with the same step and time; see `log_metric`."""
    buffer = _run().buffer if run_id is None else session.buffer_of(run_id)
    buffer.log_metrics(metrics, step, timestamp)


def log_param(key: str, value: Any) -> Any:
    """Logs a param to the active run, which is started if there is none; answers with the value.

    A param is write-once: another value later is refused, with a warning that names both.
    """
    _run().log_param(key, value)
    return value


def log_params(params: Mapping[str, object], run_id: str | None = None) -> None:
    """Logs params; see `log_param`."""
    (_run().buffer if run_id is None else session.buffer_of(run_id)).log_params(params)


def set_tag(key: str, value: object) -> None:
    """Sets a tag of the active run, which is started if there is none; the last value stands."""
    _run().set_tag(key, value)


def set_tags(tags: Mapping[str, object], run_id: str | None = None) -> None:
    """Sets tags; see `set_tag`."""
    (_run().buffer if run_id is None else session.buffer_of(run_id)).set_tags(tags)


def delete_tag(key: str) -> None:
    """Removes a tag of the active run; one that isn't there is warned of."""
    _run().delete_tag(key)


def log_input(dataset: Any, context: str = "") -> None:
    """Says that the active run used a dataset: one of `modelry.data`, or anything with a name and a digest."""
    _run().log_input(dataset, context)


def log_artifact(local_path: str | os.PathLike[str], artifact_path: str = "", run_id: str | None = None) -> None:
    """Uploads a file, or a folder with its name, into the folder `artifact_path` of the run; returns when it is there.

    While no server answers, a copy is kept in the spool and uploaded later. Raises FileNotFoundError, and ModelryError
    where the server refuses, as for a path that climbs.
    """
    _run(run_id).log_artifact(local_path, artifact_path or "")


def log_artifacts(local_dir: str | os.PathLike[str], artifact_path: str = "", run_id: str | None = None) -> None:
    """Uploads what is in a folder into the folder `artifact_path` of the run; see `log_artifact`."""
    _run(run_id).log_artifacts(local_dir, artifact_path or "")


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Writes a text into a file of the run; see `log_artifact`."""
    _run(run_id).log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Writes a dictionary or list into a file of the run: JSON, or YAML where the path ends so; see `log_artifact`."""
    _run(run_id).log_dict(dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Writes a figure of Matplotlib or Plotly into a file of the active run, in the format of its ending."""
    _run().log_figure(figure, artifact_file, save_kwargs=save_kwargs)


def log_image(image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None) -> None:
    """Writes a picture of PIL, or an array, into a file of the active run, named whole or by `key` and `step`."""
    _run().log_image(image, artifact_file, key=key, step=step)


def _run(run_id: str | None = None) -> ActiveRun:
    """The run of an id, else the active one, else a new one."""
    active = session.active()
    if run_id is None:
        return active or start_run()
    if active is not None and active.id == run_id:
        return active
    return ActiveRun(session.client(), run_id, experiment_id="", name="", online=True)
