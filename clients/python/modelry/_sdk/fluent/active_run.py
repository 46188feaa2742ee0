"""The run that training code works on."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from modelry._sdk.client import Client
from modelry._sdk.files import attachments, figures, images, keyed, local_files
from modelry._sdk.files import audio as audio_files
from modelry._sdk.fluent import tables
from modelry._sdk.fluent.ending import CODE, ERROR, SIGNAL, ended_after
from modelry._sdk.nouns.arguments import converted
from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.nouns.mlflow_names import ActiveRunNames
from modelry._sdk.nouns.runs import Run, ended_status_number
from modelry._sdk.nouns.times import stamp_of
from modelry._sdk.observing import console, places
from modelry._sdk.recording import afterwork
from modelry._sdk.recording.pool import recorder_of
from modelry._sdk.recording.refusals import is_of_the_run
from modelry._sdk.spooling import queued
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.transport import retries, settings
from modelry._sdk.transport.connection import within
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import InvalidArgument, ModelryError

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
        self._online = online
        self.is_continued = False
        """Whether it was started before, and so may have ended before."""
        self._noted: set[tuple[str, str]] = set()
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
            self._refuse("dataset", text_of(dataset)[:200] if is_path else type(dataset).__name__, problem)
            return
        message = tracking.LogDatasetsRequest(run_id=self.run_id, inputs=[input_message(given)])
        self.buffer.add(QueuedRequest(queued.LOG_DATASETS, message.SerializeToString()))

    def log_artifact(self, local_path: str | os.PathLike[str], artifact_path: str = "") -> None:
        """Uploads a file, or a folder under its own name, into the folder `artifact_path` of the run.

        Returns when it is uploaded. While no server answers, a copy is kept in the spool and uploaded later. What the
        server refuses, or can't be read, is told and not raised. Raises FileNotFoundError if there is nothing or the
        path is empty, and PathInvalid for a path that can't be one.
        """
        source, artifact_path = local_files.given(local_path), text_of(artifact_path or "")
        with self._told(source):
            is_folder = local_files.is_folder(source)
            target = f"{artifact_path}/{source.name}".strip("/") if is_folder else artifact_path
            self._upload_files(source, target, is_divisible=is_folder)

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str = "") -> None:
        """Uploads the content of a folder into the folder `artifact_path` of the run; see `log_artifact`.

        If the server refuses some of the files, or some can't be read, a copy is kept, and the others are uploaded from
        it in several parts. Raises NotADirectoryError for a file.
        """
        source = local_files.given(local_dir)
        with self._told(source):
            if not local_files.is_folder(source):
                raise NotADirectoryError(f"{local_dir} is not a folder; upload a file with log_artifact")
            self._upload_files(source, text_of(artifact_path or ""), is_divisible=True)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Writes a text to a file of the run."""
        self._upload_made(artifact_file, lambda: attachments.of_text(text))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Writes a dictionary or list to a file of the run: YAML if the path ends in .yaml or .yml, else JSON.

        Keys become texts. Arrays, tensors, sets, dates and configuration objects are converted; see docs/sdk.md.
        """
        self._upload_made(artifact_file, lambda: attachments.of_dict(dictionary, text_of(artifact_file)))

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Writes a figure to a file of the run, whose extension says the format.

        It takes figures and axes of Matplotlib, also as `plt.subplots` gives them, grids of seaborn, displays of
        scikit-learn, figures of Plotly and charts of Altair. `save_kwargs` go to the function that saves it.
        """
        path = text_of(artifact_file)
        self._upload_noted(artifact_file, path, lambda: figures.of_figure(figure, path, **(save_kwargs or {})))

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

        self._upload_noted(path if artifact_file is None else artifact_file, name, made)

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

        self._upload_noted(path if artifact_file is None else artifact_file, name, made)

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
        return _unpickled, (self.client, self.run_id, self.experiment_id, self.name, self.status, self._online)

    def __repr__(self) -> str:
        return f"ActiveRun({self.run_id!r}, name={self.name!r}, status={self.status.value})"

    def upload_model(self, folder: Path, path: str) -> None:
        """Uploads the folder of a model, as `log_artifacts` does, but all of its files together or none."""
        with self._told(folder):
            self._upload_files(folder, path, is_divisible=False)

    def upload_in_background(self, folder: Path, path: str) -> None:
        """Uploads what the run records of itself, or keeps a copy, without a warning. No `flush` waits for it long."""
        uploads, artifacts = self.recorder.uploads, self.client.artifacts
        if not self._sent(path, lambda: artifacts.upload(self._owner, folder, path)):
            with contextlib.suppress(OSError, ModelryError):
                uploads.keep_files(self._owner, path, folder, in_background=True)

    def send_part(self, path: str, content: bytes, is_last: bool) -> bool:
        """Writes a file of the run that may be written again, without a warning. Returns whether it is done with.

        If the server can't take it now, it is not, unless it `is_last`: then a copy is kept in the spool.
        """
        uploads, artifacts = self.recorder.uploads, self.client.artifacts
        if self._sent(path, lambda: artifacts.upload_bytes(self._owner, path, content, content_type="text/plain")):
            return True
        if is_last:
            with contextlib.suppress(OSError, ModelryError):
                uploads.keep_content(self._owner, path, content, in_background=True)
        return is_last

    def _sent(self, path: str, send: Callable[[], object]) -> bool:
        """Uploads without a warning; says whether it is done with, which it also is if it is refused."""
        if not self.is_online():
            return False
        try:
            with within(settings.usable().start_timeout):
                send()
        except ModelryError as error:
            log.debug("%s: %s", path, error)
            return retries.is_refusal(error) and not is_of_the_run(error)
        return True

    def delete_part(self, path: str) -> None:
        """Deletes a file of the run, without a warning if it can't."""
        try:
            self.client.artifacts.delete(self._owner, path)
        except ModelryError as error:
            log.debug("%s: %s", path, error)

    def _set_exit_tags(self, exit_tags: Mapping[str, str]) -> None:
        """Says how the run ended; of one that was continued, also that how it ended before counts no more."""
        before = dict.fromkeys((CODE, SIGNAL, ERROR), "") if self.is_continued else {}
        if tags := {**before, **exit_tags}:
            self.buffer.set_tags(tags)

    @contextmanager
    def _told(self, source: Path) -> Iterator[None]:
        """Tells of local files that can't be read, and raises nothing of them into training."""
        try:
            yield
        except ModelryError as error:
            if error.reason != "LOCAL_FILE_REFUSED":
                raise
            self._refuse("file", repr(os.fspath(source)), error)

    def _upload_files(self, source: Path, path: str, *, is_divisible: bool) -> None:
        from modelry._sdk.files import paths

        def refuse(error: ModelryError) -> None:
            local = error.metadata.get("local_path", os.fspath(source))
            self.recorder.warn("file", local, f"file {local_files.problem_of(error)}", run_id=self.run_id)

        if path:
            paths.checked(path)
        self._upload(
            os.fspath(source),
            lambda: self.client.artifacts.upload(self._owner, source, path),
            lambda: self.recorder.uploads.keep_files(
                self._owner, path, source, whole=not is_divisible, refuse=refuse if is_divisible else None
            ),
            is_divisible=is_divisible,
        )

    def _upload_made(self, artifact_file: object, make: Callable[[], bytes]) -> bool:
        """Uploads what is made of a value, unless it can't be made, which is told and not raised into training.

        So is what is no path, such as an array. Returns whether the server has it.
        """
        from modelry._sdk.files import paths

        path = text_of(artifact_file) if attachments.is_path(artifact_file) else ""
        if attachments.is_path(artifact_file):
            paths.checked(path)
        try:
            attachments.require_path(artifact_file)
            content = make()
        except Exception as problem:  # It may be the object of another library, which may raise anything.
            signals.pass_on(problem)
            self._refuse("file", repr(path), problem)
            return False
        return self._upload(
            path,
            lambda: self.client.artifacts.upload_bytes(self._owner, path, content),
            lambda: self.recorder.uploads.keep_content(self._owner, path, content),
        )

    def _upload_noted(self, artifact_file: object, name: str, make: Callable[[], tuple[bytes, str]]) -> None:
        """Uploads what is made of a value, and says, once for each name, what whoever reads it must know."""

        def made() -> bytes:
            content, note = make()
            self.tell_once(name, note)
            return content

        self._upload_made(artifact_file, made)

    def is_online(self) -> bool:
        """Whether a server has answered, and it is not known that none does now."""
        self._online = self._online or self.recorder.attempt(1.0)
        return self._online and not self.recorder.offline

    def is_up_to_date(self) -> bool:
        """Whether no file waits to be uploaded."""
        return not self.recorder.uploads.waiting

    def tell_once(self, name: str, note: str) -> None:
        """Warns of what is to be known of a file; not again if only its numbers differ."""
        if note and (name, note[:20]) not in self._noted:
            self._noted.add((name, note[:20]))
            log.warning("%s: %s", name, note)

    def _upload(
        self, name: str, send: Callable[[], object], keep: Callable[[], None], *, is_divisible: bool = False
    ) -> bool:
        """Uploads, or keeps a copy if the server can't take it now, does not know the run yet, or stands still.

        A refusal is told and not raised into training. A copy of what is divisible is kept, too, if it is refused: the
        refusal may be about some of the files, and the others are uploaded without these. Returns whether it is
        uploaded.
        """
        obstacle = "no server answers"
        if self.is_online() and self.is_up_to_date():
            try:
                with within(settings.usable().start_timeout):
                    send()
            except ModelryError as error:
                is_refused = retries.is_refusal(error) and not is_of_the_run(error)
                if (is_refused and not is_divisible) or error.reason == "LOCAL_FILE_CHANGED":
                    self._refuse("file", repr(name), error)
                    return False
                if is_refused:
                    obstacle = error.message
                else:
                    log.warning("%s; a copy is kept in %s and will be uploaded later", error, self.recorder.folder)
            else:
                return True
        try:
            keep()
        except ModelryError as error:  # of the local files
            self._refuse("file", repr(name), error)
        except OSError as problem:
            why = f"{obstacle}, and no copy can be kept ({problem}); MODELRY_SPOOL_DIR sets the folder of copies"
            self.recorder.warn("file", repr(name), f"file {name!r}: {why}", run_id=self.run_id)
        return False

    def _refuse(self, kind: str, name: str, problem: Exception) -> None:
        said = problem.message if isinstance(problem, ModelryError) else f"{type(problem).__name__}: {said_of(problem)}"
        self.recorder.warn(kind, name, f"{kind} {name}: {said}", run_id=self.run_id)

    @property
    def _owner(self) -> str:
        return f"runs/{self.run_id}"


def _unpickled(
    client: Client, run_id: str, experiment_id: str, name: str, status: RunStatus, online: bool
) -> ActiveRun:
    run = ActiveRun(client, run_id, experiment_id=experiment_id, name=name, online=online)
    run.status = status
    return run
