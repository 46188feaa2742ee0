"""The handle that training code holds while a run is on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from modelry._sdk.client import Client
from modelry._sdk.files import attachments
from modelry._sdk.nouns.runs import Run, RunStatus, status_number
from modelry._sdk.nouns.times import stamp_of
from modelry._sdk.recording import outgoing as requests
from modelry._sdk.recording import spool
from modelry._sdk.recording.outgoing import Request
from modelry._sdk.recording.recorders import recorder_of
from modelry._sdk.transport import settings
from modelry.errors import DeadlineExceeded, InvalidArgument, Unavailable

log = logging.getLogger("modelry")


class ActiveRun:
    """A run that is on. As a context manager it ends with the block: FINISHED, FAILED by an error, KILLED by Ctrl-C.

    Logging returns at once and raises nothing: params, metrics, tags and inputs go to the server in the background, or
    to the spool while it does not answer. `run.id`, `run.name` and `run.status` say what it is; `run.info` is the run
    itself, for code that says `run.info.run_id`.
    """

    def __init__(self, client: Client, run_id: str, *, experiment_id: str, name: str, online: bool) -> None:
        self.id = run_id
        self.name = name
        self.experiment_id = experiment_id
        self.status = RunStatus.RUNNING
        self.client = client
        self.recorder = recorder_of(client._connection, client.workspace)
        self.buffer = self.recorder.buffer(run_id)
        self._online = online
        self._process = os.getpid()
        self.on_end: Callable[[ActiveRun], None] | None = None

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.id

    @property
    def run_name(self) -> str:
        """The name of the run; empty while it was started offline without one."""
        return self.name

    @property
    def info(self) -> ActiveRun:
        """The run itself."""
        return self

    @property
    def artifact_uri(self) -> str:
        """What the URIs of the run's files begin with: `runs:/<run_id>`."""
        return f"runs:/{self.id}"

    @property
    def data(self) -> Run:
        """The run as the server has it, with all that was logged before, for code that says `run.data.metrics`.

        Asks the server each time, and raises what `client.runs.get` raises.
        """
        self.flush(settings.read().timeout)
        return self.client.runs.get(self.id)

    def log_metric(
        self, key: str, value: float, step: int | None = None, timestamp: int | datetime | None = None
    ) -> None:
        """Logs one point; without a step 0, without a time (ms since the epoch, or a datetime) now."""
        self.buffer.log_metric(key, value, step, timestamp)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int | None = None, timestamp: int | datetime | None = None
    ) -> None:
        """Logs one point of each metric, all with the same step and time."""
        self.buffer.log_metrics(metrics, step, timestamp)

    def log_param(self, key: str, value: object) -> None:
        """Logs a param. It is write-once: another value later is refused, with a warning that names both."""
        self.buffer.log_params({key: value})

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs params, see `log_param`."""
        self.buffer.log_params(params)

    def set_tag(self, key: str, value: object) -> None:
        """Sets a tag; the last value stands."""
        self.buffer.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags; the last value of each stands."""
        self.buffer.set_tags(tags)

    def delete_tag(self, key: str) -> None:
        """Removes a tag; a tag that isn't there is warned of."""
        from modelry.api.tracking import v1 as tracking

        message = tracking.DeleteRunTagsRequest(run_id=self.id, keys=[key])
        self.buffer.add(Request(requests.DELETE_RUN_TAGS, message.SerializeToString()))

    def log_input(self, dataset: Any, context: str = "") -> None:
        """Says that the run used a dataset: one of `modelry.data`, or anything with a name and a digest."""
        from modelry._sdk.nouns.datasets import DatasetInput, input_message, logged_dataset_of
        from modelry.api.tracking import v1 as tracking

        given = DatasetInput(logged_dataset_of(dataset), context)
        message = tracking.LogDatasetsRequest(run_id=self.id, inputs=[input_message(given)])
        self.buffer.add(Request(requests.LOG_DATASETS, message.SerializeToString()))

    def log_artifact(self, local_path: str | os.PathLike[str], artifact_path: str = "") -> None:
        """Uploads a file, or a folder with its name, into the folder `artifact_path` of the run.

        Returns when it is there. While no server answers a copy is kept in the spool and uploaded later. Raises
        FileNotFoundError, and ModelryError where the server refuses, as for a path that climbs.
        """
        source = Path(local_path)
        target = f"{artifact_path}/{source.name}".strip("/") if source.is_dir() else artifact_path
        self._upload_files(source, target)

    def log_artifacts(self, local_dir: str | os.PathLike[str], artifact_path: str = "") -> None:
        """Uploads what is in a folder into the folder `artifact_path` of the run; see `log_artifact`."""
        source = Path(local_dir)
        if not source.is_dir():
            raise NotADirectoryError(f"{local_dir} is not a folder; log_artifact uploads a file")
        self._upload_files(source, artifact_path)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Writes a text into a file of the run."""
        self._upload_content(artifact_file, text.encode(errors="replace"))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Writes a dictionary or list into a file of the run: JSON, or YAML where the path ends so."""
        self._upload_content(artifact_file, attachments.of_dict(dictionary, artifact_file))

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Writes a figure of Matplotlib or Plotly into a file of the run, in the format of its ending."""
        self._upload_content(artifact_file, attachments.of_figure(figure, artifact_file, **(save_kwargs or {})))

    def log_image(
        self, image: Any, artifact_file: str | None = None, *, key: str | None = None, step: int | None = None
    ) -> None:
        """Writes a picture of PIL, or an array, into a file of the run, named whole or by `key` and `step`."""
        if (artifact_file is None) == (key is None):
            raise InvalidArgument("an image needs either the path of its file or a key")
        path = artifact_file or f"images/{str(key).replace('/', '#')}%step%{step or 0}.png"
        self._upload_content(path, attachments.of_image(image, path))

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until what was logged is durable, at most so many seconds; see `modelry.flush`."""
        return self.recorder.flush(timeout)

    def end(self, status: RunStatus | str = RunStatus.FINISHED) -> None:
        """Ends the run, after everything that was logged; waits for it within the limit that holds at exit.

        Ending it again does nothing, and neither does it in a forked child, whose parent ends it.
        """
        if self.end_soon(status) and not self.recorder.offline:
            self.recorder.attempt(settings.read().exit_timeout)

    def end_soon(self, status: RunStatus | str = RunStatus.FINISHED) -> bool:
        """Ends the run as `end` does, without waiting; says whether it was still on."""
        number = status_number(status)
        if self.status is not RunStatus.RUNNING:
            return False
        if self._process == os.getpid():
            from modelry.api.tracking import v1 as tracking

            self.status = RunStatus(status.upper())
            message = tracking.FinishRunRequest(run_id=self.id, status=number, end_time=stamp_of(datetime.now(UTC)))
            self.buffer.ended = True
            self.buffer.add(Request(requests.FINISH_RUN, message.SerializeToString()), urgent=True)
        if self.on_end is not None:
            self.on_end(self)
        return True

    def __enter__(self) -> ActiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(status_after(error))

    def __repr__(self) -> str:
        return f"ActiveRun({self.id!r}, name={self.name!r}, status={self.status.value})"

    def _upload_files(self, source: Path, path: str) -> None:
        if not source.exists():
            raise FileNotFoundError(f"{source} is not there")
        self._upload(
            os.fspath(source),
            lambda: self.client.artifacts.upload(self._owner, source, path),
            lambda: spool.keep_files(self.recorder.folder, self._owner, path, source),
        )

    def _upload_content(self, path: str, content: bytes) -> None:
        from modelry._sdk.files import paths

        paths.checked(path)
        self._upload(
            path,
            lambda: self.client.artifacts.upload_bytes(self._owner, path, content),
            lambda: spool.keep_content(self.recorder.folder, self._owner, path, content),
        )

    def _upload(self, name: str, send: Callable[[], object], keep: Callable[[], Request]) -> None:
        """Sends, or keeps a copy where the server is out of reach or does not know of the run yet."""
        self._online = self._online or self.recorder.attempt(1.0)
        if self._online and not self.recorder.offline:
            try:
                send()
            except (Unavailable, DeadlineExceeded) as error:
                log.warning("%s; a copy is kept in %s and uploaded later", error.message, self.recorder.folder)
            else:
                return
        try:
            kept = keep()
        except OSError as problem:
            why = f"no server answers, and no copy can be kept ({problem}); MODELRY_SPOOL_DIR says where copies go"
            self.recorder.warn("file", repr(name), f"file {name!r}: {why}")
            return
        self.buffer.add(kept)

    @property
    def _owner(self) -> str:
        return f"runs/{self.id}"


def status_after(error: BaseException | None) -> RunStatus:
    """How a run ends whose code left with this error, or with none."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return RunStatus.FINISHED
    return RunStatus.KILLED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
