"""The run that training code works on."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from modelry._sdk.client import Client
from modelry._sdk.datasets.sources import without_credentials
from modelry._sdk.files import attachments, figures, images, keyed, local_files
from modelry._sdk.files import audio as audio_files
from modelry._sdk.fluent import tables
from modelry._sdk.fluent.ending import CODE, ERROR, SIGNAL, ended_after
from modelry._sdk.fluent.run_files import RunFiles
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.arguments import converted
from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.nouns.mlflow_names import ActiveRunNames
from modelry._sdk.nouns.runs import Run, ended_status_number
from modelry._sdk.nouns.times import stamp_of
from modelry._sdk.observing import console, places
from modelry._sdk.recording import afterwork
from modelry._sdk.recording.pool import recorder_of
from modelry._sdk.spooling import queued
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.transport import settings
from modelry._sdk.values import signals
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")


class ActiveRun(ActiveRunNames):
    """A run that is running in this process.

    As a context manager it ends with its block: FINISHED, FAILED after an error, KILLED after Ctrl-C. Logging returns
    at once and raises nothing: params, metrics, tags and inputs are sent in the background, or written to the spool
    while no server answers. `name` is empty if the run was started offline without one.
    """

    def __init__(
        self, client: Client, run_id: str, *, experiment_id: str, name: str, online: bool, is_new: bool = False
    ) -> None:
        self.run_id = run_id
        self.name = name
        self.experiment_id = experiment_id
        self.began = time.time()
        """When the run started, in seconds since 1970."""
        self.status = RunStatus.RUNNING
        self.client = client
        self.recorder = recorder_of(client._connection, client.workspace)
        self.buffer = self.recorder.buffer(run_id)
        self.is_new = is_new
        """Whether this process has created the run, so that it can't have had files before."""
        self.files = RunFiles(run_id, client, self.recorder, online=online)
        self.is_continued = False
        """Whether it was started before, and so may have ended before."""
        self._process = os.getpid()
        self._rank = converted(places.rank())
        self.on_end: Callable[[ActiveRun], None] | None = None
        self.on_error: Callable[[BaseException], None] | None = None
        """Is told of the error that ends the block of the run, before it ends."""
        self.has_console = False
        """Whether it is sent what this process prints."""

    @property
    def is_of_parent(self) -> bool:
        """Whether this process was forked while the run was active, so that its parent ends the run."""
        return self._process != os.getpid()

    def read(self) -> Run:
        """Reads the run from the server, with everything that was logged before. Raises what `Runs.get` raises."""
        self.flush(settings.read().timeout)
        return self.client.runs.get(self.run_id)

    def log_metric(
        self, key: str, value: float, step: int | None = None, timestamp: int | datetime | None = None
    ) -> None:
        """Logs one point. Default step: 0. Default time (ms since 1970, or a datetime): now."""
        self.buffer.log_metric(key, value, step, timestamp)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, timestamp: int | datetime | None = None
    ) -> None:
        """Logs one point of each metric, with the same step and time."""
        self.buffer.log_metrics(metrics, step, timestamp)

    def log_param(self, key: str, value: object) -> None:
        """Logs a param. It is write-once: another value is refused, with a warning that names both values."""
        self.buffer.log_params({key: value})

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs params; see `log_param`."""
        self.buffer.log_params(params)

    def set_tag(self, key: str, value: object) -> None:
        """Sets a tag. The last value counts."""
        self.buffer.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags. The last value of each counts."""
        self.buffer.set_tags(tags)

    def delete_tag(self, key: str) -> None:
        """Removes a tag. There is a warning if the run does not have it."""
        from modelry.api.tracking import v1 as tracking

        message = tracking.DeleteRunTagsRequest(run_id=self.run_id, keys=[converted(key)])
        self.buffer.add(QueuedRequest(queued.DELETE_RUN_TAGS, message.SerializeToString()))

    def log_input(self, dataset: Any, context: str = "") -> None:
        """Records that the run used a dataset: one of `modelry.data`, or anything with a name and a digest.

        A table of pandas, Polars or PyArrow, an array, a dataset of Hugging Face, and the path of a file, a folder or a
        `.dvc` file are described first. What can't be described is told and not raised.
        """
        from modelry._sdk.nouns.datasets import DatasetInput, dataset_from, input_message
        from modelry.api.tracking import v1 as tracking

        try:
            given = DatasetInput(dataset_from(dataset), converted(context))
        except Exception as problem:  # It may be the object of another library, which may raise anything.
            signals.pass_on(problem)
            is_path = isinstance(dataset, str | os.PathLike)
            self.files.refuse(
                "dataset", without_credentials(dataset)[:200] if is_path else type(dataset).__name__, problem
            )
            return
        message = tracking.LogDatasetsRequest(run_id=self.run_id, inputs=[input_message(given)])
        self.buffer.add(QueuedRequest(queued.LOG_DATASETS, message.SerializeToString()))

    def log_artifact(
        self, local_path: str | os.PathLike[str], artifact_path: str = "", *, synchronous: bool = True
    ) -> None:
        """Uploads a file, or a folder under its own name, into the folder `artifact_path` of the run.

        Returns when it is uploaded. While no server answers, a copy is kept in the spool and uploaded later. If not
        `synchronous`, that is done in any case: it returns when the file is copied, a thread uploads the copy, and
        `flush` waits for it. What the server refuses, or can't be read, is told and not raised. Raises
        FileNotFoundError if there is nothing or the path is empty, InvalidArgument for a URL and for a `synchronous`
        that is no boolean, and PathInvalid for a path that can't be one.
        """
        arguments.flag("synchronous", synchronous)
        source, artifact_path = local_files.given(local_path), text_of(artifact_path or "")
        with self.files.told(source):
            is_folder = local_files.is_folder(source)
            target = f"{artifact_path}/{source.name}".strip("/") if is_folder else artifact_path
            self.files.upload_files(source, target, is_divisible=is_folder, synchronous=synchronous)

    def log_artifacts(
        self, local_dir: str | os.PathLike[str], artifact_path: str = "", *, synchronous: bool = True
    ) -> None:
        """Uploads the content of a folder into the folder `artifact_path` of the run; see `log_artifact`.

        If the server refuses some of the files, or some can't be read, a copy is kept, and the others are uploaded from
        it in several parts. Raises NotADirectoryError for a file.
        """
        arguments.flag("synchronous", synchronous)
        source = local_files.given(local_dir)
        with self.files.told(source):
            if not local_files.is_folder(source):
                raise NotADirectoryError(f"{local_dir} is not a folder; upload a file with log_artifact")
            self.files.upload_files(source, text_of(artifact_path or ""), is_divisible=True, synchronous=synchronous)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Writes a text to a file of the run."""
        self.files.upload_made(artifact_file, lambda: attachments.of_text(text))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Writes a dictionary or list to a file of the run: YAML if the path ends in .yaml or .yml, else JSON.

        Keys become texts. Arrays, tensors, sets, dates and configuration objects are converted; see docs/sdk.md.
        """
        self.files.upload_made(artifact_file, lambda: attachments.of_dict(dictionary, text_of(artifact_file)))

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Writes a figure to a file of the run, whose extension says the format.

        It takes figures and axes of Matplotlib, also as `plt.subplots` gives them, grids of seaborn, displays of
        scikit-learn, figures of Plotly and charts of Altair. `save_kwargs` go to the function that saves it.
        """
        path = text_of(artifact_file)
        self.files.upload_noted(artifact_file, path, lambda: figures.of_figure(figure, path, **(save_kwargs or {})))

    def log_image(
        self, image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None
    ) -> None:
        """Writes an image of PIL, or an array or tensor, to a file of the run, named by its path.

        With a `key` and perhaps a `step` it gets a name of its own in the folder `images`, which has both. Numbers
        beyond 0 to 255, or fractions beyond 0 to 1, are stretched from black to white, with a warning. Raises
        InvalidArgument for both or neither of the two, and for a step without a key.
        """
        keyed.require_path_or_key("an image", artifact_file, key, step)
        path = keyed.path_of("images", key, step, "png") if artifact_file is None else text_of(artifact_file)
        name = path if key is None else text_of(key)

        def made() -> tuple[bytes, str]:
            if artifact_file is None:
                keyed.require_step(step)
            return images.of_image(image, path)

        self.files.upload_noted(path if artifact_file is None else artifact_file, name, made)

    def log_audio(
        self,
        audio: Any,
        artifact_file: str | None = None,
        *,
        sample_rate: int | None = None,
        key: str | None = None,
        step: int | None = None,
    ) -> None:
        """Writes sound to a file of the run: an array or tensor of samples, or the bytes or the path of an audio file.

        Samples have the shape (samples,), (samples, channels) or (channels, samples). They are fractions from -1 to 1,
        or integers of 8, 16 or 32 bits, and need their `sample_rate` in samples per second. With a `key` and perhaps a
        `step` the file gets a name of its own in the folder `audio`. `.wav` needs NumPy only, other formats the package
        soundfile. Raises InvalidArgument as `log_image` does.
        """
        keyed.require_path_or_key("sound", artifact_file, key, step)
        ending = "wav"
        with contextlib.suppress(InvalidArgument):  # which is told when the content is made
            ending = audio_files.ending_of(audio)
        path = keyed.path_of("audio", key, step, ending) if artifact_file is None else text_of(artifact_file)
        name = path if key is None else text_of(key)

        def made() -> tuple[bytes, str]:
            if artifact_file is None:
                keyed.require_step(step)
                audio_files.ending_of(audio)
            return audio_files.of_audio(audio, path, sample_rate)

        self.files.upload_noted(path if artifact_file is None else artifact_file, name, made)

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Writes a table to a file of the run, or appends its rows to the table there.

        `data` is a dictionary of columns, a DataFrame or a list of rows; see `modelry.log_table`.
        """
        tables.log_table(self, data, artifact_file)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything that was logged is committed, at most `timeout` seconds; see `modelry.flush`."""
        afterwork.finish(timeout, run_id=self.run_id)
        return console.delivered(self.recorder.flush, timeout) if self.has_console else self.recorder.flush(timeout)

    def end(self, status: RunStatus | str = RunStatus.FINISHED) -> None:
        """Ends the run after everything that was logged is sent. Waits at most `MODELRY_EXIT_TIMEOUT`.

        Ending it again does nothing. In a forked child it does nothing either: the parent ends the run. If the ranks of
        a distributed job share the run, it ends on the server when the last of them ends it, FAILED if one failed.
        Raises InvalidArgument for what is not the status of a run that has ended; then the run goes on.
        """
        ended_status_number(status)
        self._end_in_time(status)

    def end_soon(
        self, status: RunStatus | str = RunStatus.FINISHED, exit_tags: Mapping[str, str] | None = None
    ) -> bool:
        """Ends the run as `end` does, without waiting. Returns whether it was still running.

        `exit_tags` say more about how it ended. Of the ranks that share a run only those that fail set them.
        """
        number = ended_status_number(status)
        if self.status is not RunStatus.RUNNING:
            return False
        if not self.is_of_parent:
            from modelry.api.tracking import v1 as tracking

            self.status = RunStatus(status.upper())
            self.recorder.heartbeats.remove(self.run_id)
            if not (self._rank and self.status is RunStatus.FINISHED):
                self._set_exit_tags(exit_tags or {})
            message = tracking.FinishRunRequest(
                run_id=self.run_id, status=number, end_time=stamp_of(datetime.now(UTC)), participant=self._rank
            )
            self.buffer.ended = True
            self.buffer.add(QueuedRequest(queued.FINISH_RUN, message.SerializeToString()), urgent=True)
        if self.on_end is not None:
            self.on_end(self)
        return True

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = ended_after(error)
        if error is not None and self.on_error is not None and self.status is RunStatus.RUNNING:
            self.on_error(error)
        self._end_in_time(ended.status, ended.tags)

    def _end_in_time(self, status: RunStatus | str, exit_tags: Mapping[str, str] | None = None) -> None:
        """Ends the run after what autologging does in the background, also if a signal breaks this wait off."""
        try:
            if self.status is RunStatus.RUNNING:
                afterwork.finish(run_id=self.run_id)
        finally:
            until = time.monotonic() + settings.usable().exit_timeout
            if self.end_soon(status, exit_tags):
                self.recorder.settle(max(0.0, until - time.monotonic()))
                if self.has_console:
                    console.finish(max(0.0, until - time.monotonic()))

    def __copy__(self) -> ActiveRun:
        return self

    def __deepcopy__(self, memo: object) -> ActiveRun:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """What is pickled is the run's id and where it is. Who unpickles it logs to the same run."""
        return _unpickled, (self.client, self.run_id, self.experiment_id, self.name, self.status, self.files.was_online)

    def __repr__(self) -> str:
        return f"ActiveRun({self.run_id!r}, name={self.name!r}, status={self.status.value})"

    def _set_exit_tags(self, exit_tags: Mapping[str, str]) -> None:
        """Says how the run ended; of one that was continued, also that how it ended before counts no more."""
        before = dict.fromkeys((CODE, SIGNAL, ERROR), "") if self.is_continued else {}
        if tags := {**before, **exit_tags}:
            self.buffer.set_tags(tags)


def _unpickled(
    client: Client, run_id: str, experiment_id: str, name: str, status: RunStatus, online: bool
) -> ActiveRun:
    run = ActiveRun(client, run_id, experiment_id=experiment_id, name=name, online=online)
    run.status = status
    return run
