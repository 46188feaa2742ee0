"""Tables of runs: each call appends rows to a file, as MLflow's `log_table` does."""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
from pathlib import Path, PurePosixPath
from typing import Any

from modelry._sdk.files import paths
from modelry._sdk.transport import process
from modelry._sdk.values import foreign, signals
from modelry._sdk.values.texts import text_of
from modelry.errors import ArtifactNotFound, ModelryError, Unavailable

TAG = "mlflow.loggedArtifacts"
"""The tag that lists the tables of a run, as JSON. MLflow finds tables by it, too."""


class Tables(process.Part):
    """What this process knows of the tables that it has logged."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held from reading a table until it is written, so that threads append one after the other."""
        self.undelivered: dict[tuple[str, str], bytes] = {}
        """The content of tables that wait for a server, by run and path."""
        self.logged: set[tuple[str, str]] = set()
        self.named: dict[str, list[Any]] = {}
        """What the tag of each run says."""

    def after_fork_in_child(self) -> None:
        """Forgets the lock, which a thread of the parent may hold."""
        self.lock = threading.Lock()


def names(tag: str) -> list[Any]:
    """The entries of the tag. None of a tag that somebody else has written otherwise."""
    try:
        found = foreign.json_of(tag or "[]")
    except foreign.Unreadable:
        return []
    return found if isinstance(found, list) else []


def entry(path: str) -> dict[str, str]:
    """What the tag says of the table at a path."""
    return {"path": path, "type": "table"}


def log_table(run: Any, data: Any, artifact_file: object) -> None:
    """Writes a table to a run, which is an ActiveRun, or appends it to the table at the path.

    What can't be written, and what is no path, is told and not raised.
    """
    from modelry._sdk.files import attachments, tables

    path = text_of(artifact_file) if attachments.is_path(artifact_file) else ""
    if attachments.is_path(artifact_file):
        paths.checked(path)
    try:
        attachments.require_path(artifact_file)
        tables.checked(path)
        frame, images = tables.images_apart(tables.frame_of(data), path)
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        run.files.refuse("file", repr(path), problem)
        return
    if images:
        with tempfile.TemporaryDirectory(prefix="modelry-table-") as folder:
            for place, content in images.items():
                Path(folder, place).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, place).write_bytes(content)
            run.files.upload_together(Path(folder), "")
    state = process.current().part(Tables)
    with state.lock:
        path, before = _before(run, path, state)
        made: list[bytes] = []

        def make() -> bytes:
            content, note = tables.of_table(frame, path, before)
            run.files.tell_once(path, note)
            made.append(content)
            return content

        is_there = run.files.upload_made(path, make)
        if not made:
            return
        state.logged.add((run.run_id, path))
        if is_there:
            state.undelivered.pop((run.run_id, path), None)
        else:
            state.undelivered[run.run_id, path] = made[0]
        _name(run, path, state)


def _before(run: Any, path: str, state: Tables) -> tuple[str, bytes | None]:
    """Where the table goes, and what is there. If that can't be known now, it goes to a file of its own."""
    place = (run.run_id, path)
    try:
        if place in state.undelivered and not run.files.is_up_to_date(path):
            return path, state.undelivered[place]
        return path, _read(run, path)
    except ArtifactNotFound:
        return path, None
    except ModelryError as error:
        if place in state.undelivered:
            return path, state.undelivered[place]
        if run.is_new and place not in state.logged:
            return path, None
        file = PurePosixPath(path)
        other = str(file.with_name(f"{file.stem}-{secrets.token_hex(3)}{file.suffix}"))
        run.files.tell_once(path, f"it can't be read now, so these rows are written to {other!r} ({error.message})")
        return other, None


def _read(run: Any, path: str) -> bytes:
    if not run.files.is_online():
        raise Unavailable("no server answers")
    content: bytes = run.client.artifacts.read_bytes(f"runs/{run.run_id}", path)
    return content


def _name(run: Any, path: str, state: Tables) -> None:
    """Lists the table in the tag of the run."""
    listed = state.named.get(run.run_id)
    if listed is None:
        listed = []
        if run.files.is_online():
            try:
                listed = names(run.client.runs.get(run.run_id).tags.get(TAG, ""))
            except ModelryError:  # The run, or the server, is not there yet.
                listed = []
        state.named[run.run_id] = listed
    if entry(path) not in listed:
        listed.append(entry(path))
        run.set_tag(TAG, json.dumps(listed))
