"""The files of a run of this process: they are uploaded, or copies are kept in the spool and uploaded later."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelry._sdk.files import attachments, local_files, paths, transfer
from modelry._sdk.recording import afterwork
from modelry._sdk.recording.refusals import is_of_the_run
from modelry._sdk.transport import retries, settings
from modelry._sdk.transport.connection import within
from modelry._sdk.values import signals, urls
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import ModelryError

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.recording.recorder import Recorder

log = logging.getLogger("modelry")


class RunFiles:
    """Uploads files to a run. What the server refuses, or can't be read, is told and not raised into training."""

    def __init__(self, run_id: str, client: Client, recorder: Recorder, *, online: bool) -> None:
        self._run_id = run_id
        self._owner = f"runs/{run_id}"
        self._client = client
        self._recorder = recorder
        self._noted: set[tuple[str, str]] = set()
        self.was_online = online
        """Whether a server has ever answered."""

    @contextmanager
    def told(self, source: Path) -> Iterator[None]:
        """Tells of local files that can't be read, and raises nothing of them into training."""
        try:
            yield
        except ModelryError as error:
            if error.reason != "LOCAL_FILE_REFUSED":
                raise
            self.refuse("file", repr(os.fspath(source)), error)

    def upload_files(
        self,
        source: Path,
        path: str,
        *,
        is_divisible: bool,
        synchronous: bool,
        moves: bool = False,
        replace: bool | Collection[str] = False,
    ) -> None:
        """Uploads a file, or what is in a folder, into the folder `path` of the run.

        If the server refuses some of the files of what is divisible, the others are uploaded without them. With `moves`
        nobody needs the local files any more, so that none must be copied. `replace` says what they replace in the
        folder `path`; see `Artifacts.upload`.
        """
        is_folder = local_files.is_folder(source)

        def refuse(error: ModelryError) -> None:
            local = error.metadata.get("local_path", os.fspath(source))
            self._recorder.warn("file", local, f"file {local_files.problem_of(error)}", run_id=self._run_id)

        if path:
            paths.checked(path)
        self._upload(
            os.fspath(source),
            path if is_folder else paths.named(path, source.name),
            lambda: self._client.artifacts.upload(self._owner, source, path, replace=replace),
            lambda: self._recorder.uploads.keep_files(
                self._owner,
                path,
                source,
                whole=not is_divisible,
                refuse=refuse if is_divisible else None,
                chosen=not synchronous,
                moves=moves,
                replaces=transfer.replaced(path, replace),
            ),
            is_divisible=is_divisible,
            synchronous=synchronous,
        )

    def upload_together(
        self, folder: Path, path: str, *, synchronous: bool = True, replace: bool | Collection[str] = False
    ) -> None:
        """Uploads a temporary folder, as `log_artifacts` does, but all of its files together or none."""
        with self.told(folder):
            self.upload_files(folder, path, is_divisible=False, synchronous=synchronous, moves=True, replace=replace)

    def upload_made(self, artifact_file: object, make: Callable[[], bytes]) -> bool:
        """Uploads what is made of a value, unless it can't be made, which is told and not raised into training.

        So is what is no path, such as an array. Returns whether the server has it.
        """
        path = text_of(artifact_file) if attachments.is_path(artifact_file) else ""
        if attachments.is_path(artifact_file):
            paths.checked(path)
        try:
            attachments.require_path(artifact_file)
            content = make()
        except Exception as problem:  # It may be the object of another library, which may raise anything.
            signals.pass_on(problem)
            self.refuse("file", repr(path), problem)
            return False
        return self._upload(
            path,
            path,
            lambda: self._client.artifacts.upload_bytes(self._owner, path, content),
            lambda: self._recorder.uploads.keep_content(self._owner, path, content),
        )

    def upload_noted(self, artifact_file: object, name: str, make: Callable[[], tuple[bytes, str]]) -> None:
        """Uploads what is made of a value, and says, once for each name, what whoever reads it must know."""

        def made() -> bytes:
            content, note = make()
            self.tell_once(name, note)
            return content

        self.upload_made(artifact_file, made)

    def upload_in_background(self, folder: Path, path: str) -> None:
        """Uploads what the run records of itself, or keeps a copy, without a warning. No `flush` waits for it long."""
        if not self._sent(path, lambda: self._client.artifacts.upload(self._owner, folder, path)):
            with contextlib.suppress(OSError, ModelryError):
                self._recorder.uploads.keep_files(self._owner, path, folder, in_background=True)

    def send_part(self, path: str, content: bytes, is_last: bool) -> bool:
        """Writes a file of the run that may be written again, without a warning. Returns whether it is done with.

        If the server can't take it now, it is not, unless it `is_last`: then a copy is kept in the spool.
        """
        artifacts = self._client.artifacts
        if self._sent(path, lambda: artifacts.upload_bytes(self._owner, path, content, content_type="text/plain")):
            return True
        if is_last:
            with contextlib.suppress(OSError, ModelryError):
                self._recorder.uploads.keep_content(self._owner, path, content, in_background=True)
        return is_last

    def delete_part(self, path: str) -> None:
        """Deletes a file of the run, without a warning if it can't."""
        try:
            self._client.artifacts.delete(self._owner, path)
        except ModelryError as error:
            log.debug("%s: %s", path, error)

    def is_online(self) -> bool:
        """Whether a server has answered, and it is not known that none does now."""
        self.was_online = self.was_online or self._recorder.attempt(1.0)
        return self.was_online and not self._recorder.offline

    def is_up_to_date(self, path: str) -> bool:
        """Whether a file can be written to a path now: none that waits to be uploaded must be there before."""
        return not self._recorder.uploads.hold_up(self._owner, path)

    def tell_once(self, name: str, note: str) -> None:
        """Warns of what is to be known of a file; not again if only its numbers differ."""
        if note and (name, note[:20]) not in self._noted:
            self._noted.add((name, note[:20]))
            log.warning("%s: %s", name, note)

    def refuse(self, kind: str, name: str, problem: Exception) -> None:
        """Warns that something is not recorded, and why."""
        said = problem.message if isinstance(problem, ModelryError) else f"{type(problem).__name__}: {said_of(problem)}"
        self._recorder.warn(kind, name, urls.masked(f"{kind} {name}: {said}"), run_id=self._run_id)

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

    def _upload(
        self,
        name: str,
        path: str,
        send: Callable[[], object],
        keep: Callable[[], None],
        *,
        is_divisible: bool = False,
        synchronous: bool = True,
    ) -> bool:
        """Uploads, or keeps a copy if the server can't take it now, does not know the run yet, or stands still.

        A refusal is told and not raised into training. A copy of what is divisible is kept, too, if it is refused: the
        refusal may be about some of the files, and the others are uploaded without these. What is not `synchronous` is
        uploaded at once only if no copy of it can be kept. What autologging still writes there comes before. Returns
        whether it is uploaded.
        """
        afterwork.catch_up(self._run_id, [path])
        why = "" if synchronous or self._recorder.is_closed else self._kept(name, keep)
        if why is None:
            return False
        obstacle = "no server answers"
        if self.is_online() and self.is_up_to_date(path):
            try:
                with within(settings.usable().start_timeout):
                    send()
            except ModelryError as error:
                is_refused = retries.is_refusal(error) and not is_of_the_run(error)
                if (is_refused and not is_divisible) or error.reason == "LOCAL_FILE_CHANGED":
                    self.refuse("file", repr(name), error)
                    return False
                if is_refused:
                    obstacle = error.message
                else:
                    log.warning("%s; a copy is kept in %s and will be uploaded later", error, self._recorder.folder)
            else:
                return True
        if (why := why or self._kept(name, keep)) is not None:
            why = f"{obstacle}, and {why}; MODELRY_SPOOL_DIR sets the folder of copies"
            self._recorder.warn("file", repr(name), f"file {name!r}: {why}", run_id=self._run_id)
        return False

    def _kept(self, name: str, keep: Callable[[], None]) -> str | None:
        """Keeps a copy. Returns why none can be kept, or None if that is done with: kept, or told of a local file."""
        try:
            keep()
        except ModelryError as error:
            self.refuse("file", repr(name), error)
        except OSError as problem:
            return f"no copy can be kept ({problem})"
        return None
