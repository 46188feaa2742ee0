"""The functions with which training code logs: `modelry.log_metric`, `modelry.log_param`, `modelry.log_artifact`, …"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelry._sdk.fluent import session
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.fluent.functions import run_for_logging
from modelry._sdk.nouns import arguments
from modelry._sdk.recording.buffer import Buffer


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    timestamp: int | datetime | None = None,
    run_id: str | None = None,
) -> None:
    """Logs one point to the active run, which is started if there is none, or to the run `run_id`.

    Default step: 0. Default time (ms since 1970, or a datetime): now. It takes about a microsecond: the point is sent
    in the background. A numeric text, and an array or tensor of one element, counts as its number. Nothing is raised:
    values that are not numbers are counted, with one warning for each key and reason.
    """
    if run_id is None and (opened := session.current().innermost.get()) is not None and not opened.over:
        opened.buffer.log_metric(key, value, step, timestamp)  # the shortest way
    elif (buffer := _buffer(run_id)) is not None:
        buffer.log_metric(key, value, step, timestamp)


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    timestamp: int | datetime | None = None,
    run_id: str | None = None,
) -> None:
    """Logs one point of each metric, with the same step and time; see `log_metric`."""
    if (buffer := _buffer(run_id)) is not None:
        buffer.log_metrics(metrics, step, timestamp)


def log_param(key: str, value: Any) -> Any:
    """Logs a param to the active run, which is started if there is none. Returns the value.

    A param is write-once: another value is refused, with a warning that names both values.
    """
    if (run := _run()) is not None:
        run.log_param(key, value)
    return value


def log_params(params: Mapping[str, object], run_id: str | None = None) -> None:
    """Logs params; see `log_param`."""
    if (buffer := _buffer(run_id)) is not None:
        buffer.log_params(params)


def set_tag(key: str, value: object) -> None:
    """Sets a tag of the active run, which is started if there is none. The last value counts."""
    if (run := _run()) is not None:
        run.set_tag(key, value)


def set_tags(tags: Mapping[str, object], run_id: str | None = None) -> None:
    """Sets tags; see `set_tag`."""
    if (buffer := _buffer(run_id)) is not None:
        buffer.set_tags(tags)


def delete_tag(key: str) -> None:
    """Removes a tag of the active run. There is a warning if the run does not have it."""
    if (run := _run()) is not None:
        run.delete_tag(key)


def log_input(dataset: Any, context: str = "") -> None:
    """Records that the active run used a dataset: one of `modelry.data`, or anything with a name and a digest.

    A table of pandas, Polars or PyArrow, an array, a dataset of Hugging Face, and the path of a file, a folder or a
    `.dvc` file are described first. What can't be described is told and not raised.
    """
    if (run := _run()) is not None:
        run.log_input(dataset, context)


def log_artifact(
    local_path: str | os.PathLike[str],
    artifact_path: str = "",
    run_id: str | None = None,
    *,
    synchronous: bool = True,
) -> None:
    """Uploads a file, or a folder under its own name, into the folder `artifact_path` of the run.

    Returns when it is uploaded. While no server answers, a copy is kept in the spool and uploaded later. If not
    `synchronous`, that is done in any case: it returns when the file is copied, a thread uploads the copy, and `flush`
    waits for it. What the server refuses, or can't be read, is told and not raised. Raises FileNotFoundError if there
    is nothing or the path is empty, PathInvalid for a path that can't be one, and InvalidArgument for a URL and for
    a `synchronous` that is no boolean.
    """
    arguments.flag("synchronous", synchronous)  # before a run is started
    if (run := _run(run_id)) is not None:
        run.log_artifact(local_path, artifact_path or "", synchronous=synchronous)


def log_artifacts(
    local_dir: str | os.PathLike[str],
    artifact_path: str = "",
    run_id: str | None = None,
    *,
    synchronous: bool = True,
) -> None:
    """Uploads the content of a folder into the folder `artifact_path` of the run; see `log_artifact`.

    Raises NotADirectoryError for a file.
    """
    arguments.flag("synchronous", synchronous)
    if (run := _run(run_id)) is not None:
        run.log_artifacts(local_dir, artifact_path or "", synchronous=synchronous)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Writes a text to a file of the run; see `log_artifact`."""
    if (run := _run(run_id)) is not None:
        run.log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Writes a dictionary or list to a file of the run: YAML if the path ends in .yaml or .yml, else JSON."""
    if (run := _run(run_id)) is not None:
        run.log_dict(dictionary, artifact_file)


def log_figure(
    figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None, run_id: str | None = None
) -> None:
    """Writes a figure to a file of the run, whose extension says the format.

    It takes figures and axes of Matplotlib, also as `plt.subplots` gives them, grids of seaborn, displays of
    scikit-learn, figures of Plotly and charts of Altair. `save_kwargs` go to the function that saves it.
    """
    if (run := _run(run_id)) is not None:
        run.log_figure(figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    *,
    key: str | None = None,
    step: int | None = None,
    run_id: str | None = None,
) -> None:
    """Writes an image of PIL, or an array or tensor, to a file of the run, named by its path or by `key` and `step`.

    With a key every step is kept; `client.artifacts.images` lists them. See docs/pictures-and-files.md for what arrays
    may hold. Raises InvalidArgument for both or neither of a path and a key, and for a step without a key.
    """
    if (run := _run(run_id)) is not None:
        run.log_image(image, artifact_file, key=key, step=step)


def log_audio(
    audio: Any,
    artifact_file: str | None = None,
    *,
    sample_rate: int | None = None,
    key: str | None = None,
    step: int | None = None,
    run_id: str | None = None,
) -> None:
    """Writes sound to a file of the run, named by its path or by `key` and `step`.

    It takes an array or tensor of samples, with their `sample_rate` in samples per second, or the bytes or the path of
    an audio file. Samples have the shape (samples,), (samples, channels) or (channels, samples). They are fractions
    from -1 to 1, or integers of 8, 16 or 32 bits. `.wav` needs NumPy only, other formats the package soundfile. With a
    key every step is kept; `client.artifacts.sounds` lists them. Raises InvalidArgument as `log_image` does.
    """
    if (run := _run(run_id)) is not None:
        run.log_audio(audio, artifact_file, sample_rate=sample_rate, key=key, step=step)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Writes a table to a file of the run, or appends its rows to the table that is there, as MLflow does.

    `data` is a DataFrame of pandas or Polars, a table of Arrow, a dictionary of columns or of one row, or a list of
    dictionaries. `artifact_file` ends in `.json`, which `modelry.load_table` and MLflow read, or in `.parquet`, which
    keeps the types of columns. Images of Pillow in cells become files in the folder `table_images`. Each call reads the
    table and writes it again: log rows in groups. Threads append one after the other; of two processes that append at
    the same time one may lose its rows. Needs pandas.
    """
    if (run := _run(run_id)) is not None:
        run.log_table(data, artifact_file)


def _run(run_id: str | None = None) -> ActiveRun | None:
    """The run with an id, else the one that is logged to here, see `run_for_logging`.

    None, with a warning, for what can't be the id of a run.
    """
    if run_id is None:
        return run_for_logging()
    active = session.current().active()
    if active is not None and active.run_id == run_id:
        return active
    if session.current().buffer_of(run_id) is None:
        return None
    return ActiveRun(session.current().client(), run_id, experiment_id="", name="", online=True)


def _buffer(run_id: str | None) -> Buffer | None:
    """The buffer of the run with an id, else of the one that is logged to here."""
    if run_id is not None:
        return session.current().buffer_of(run_id)
    run = run_for_logging()
    return None if run is None else run.buffer
