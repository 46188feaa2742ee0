"""A refused file costs only itself; the files of a model, which belong together, are written together or not at all."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from modelry._sdk.spooling import kept
from modelry.errors import InvalidArgument
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import PATIENCE_S, leave


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with five files."""
    made = tmp_path / "five"
    made.mkdir()
    for name in "abcde":
        (made / name).write_text(name)
    return made


def paths(client: Client, run_id: str) -> list[str]:
    return [entry.path for entry in client.artifacts.list(f"runs/{run_id}", recursive=True)]


def keep(client: Client, spool: Path, folder: Path, present: str, *, whole: bool = False) -> str:
    """Copies of the folder in the spool, to be uploaded to the folder `d` of a run that has a file in the way."""
    run_id = client.runs.create().run_id
    client.artifacts.upload_bytes(f"runs/{run_id}", present, b"in the way")
    made = kept.keep_files(
        spool, {"address": client._connection.address.uri}, f"runs/{run_id}", "d", folder, whole=whole
    )
    leave(made.folder)
    return run_id


def test_a_kept_file_that_is_refused_costs_only_itself_and_is_named(client: Client, spool: Path, folder: Path) -> None:
    run_id = keep(client, spool, folder, "d/b/x")

    report = sync.deliver(folder=spool)

    assert paths(client, run_id) == ["d/a", "d/b/x", "d/c", "d/d", "d/e"]
    assert (report.requests_refused, report.files_left) == (1, 0)
    (problem,) = report.problems
    assert "refused: file 'd/b': 'd/b' is a folder" in problem
    assert list(spool.iterdir()) == []


def test_what_is_refused_for_all_files_is_refused_at_once(client: Client, spool: Path, folder: Path) -> None:
    run_id = keep(client, spool, folder, "d")

    report = sync.deliver(folder=spool)

    assert paths(client, run_id) == ["d"]
    (problem,) = report.problems
    assert "refused: file 'd/a' and 4 others: 'd' is a file" in problem
    assert list(spool.iterdir()) == []


def test_kept_files_that_belong_together_are_refused_together(client: Client, spool: Path, folder: Path) -> None:
    run_id = keep(client, spool, folder, "d/b/x", whole=True)

    report = sync.deliver(folder=spool)

    assert paths(client, run_id) == ["d/b/x"]
    (problem,) = report.problems
    assert "refused: file 'd/a' and 4 others: 'd/b' is a folder" in problem
    assert list(spool.iterdir()) == []


def test_a_file_that_is_refused_while_a_script_runs_costs_only_itself(
    client: Client, platform: Deployment, spool: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(platform.address)
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_text("in the way", "d/b/x")
        modelry.log_artifacts(folder, "d")
        modelry.log_text("after", "after.txt")
        modelry.flush(PATIENCE_S)

    assert paths(client, run.id) == ["after.txt", "d/a", "d/b/x", "d/c", "d/d", "d/e"]
    (told,) = (text for text in caplog.messages if "not recorded" in text)
    assert "file 'd/b': 'd/b' is a folder" in told
    assert list(spool.iterdir()) == []


def test_a_folder_that_cant_be_uploaded_is_told_without_a_server_too(
    platform: Deployment, spool: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "dangling").symlink_to(folder / "nothing")
    modelry.set_tracking_uri("127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run():
        modelry.log_artifacts(folder)

    assert "leads nowhere" in caplog.text
    assert [kept.opened(left).paths for left in kept.left_in(spool)] == [tuple("abcde")]


@pytest.fixture
def unreadable(folder: Path) -> Iterator[Path]:
    """The folder with five files, with a file and a folder that even the superuser can't read."""
    (folder / "file").symlink_to("/proc/self/mem")
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        (folder / "net").symlink_to(f"/proc/{ended.pid}/net")
        yield folder


def test_what_cant_be_read_is_told_and_costs_only_itself(
    client: Client, platform: Deployment, unreadable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(platform.address)
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_artifact(unreadable / "file")
        assert modelry.flush(PATIENCE_S) is False
        modelry.log_artifacts(unreadable, "d")
        assert modelry.flush(PATIENCE_S) is False

    assert paths(client, run.id) == ["d/a", "d/b", "d/c", "d/d", "d/e"]
    told = [text for text in caplog.messages if "not recorded" in text]
    assert "mem can't be read: Input/output error" in told[0]
    assert any("net can't be read: Invalid argument" in text for text in told)


def test_what_cant_be_read_is_told_without_a_server_too(unreadable: Path, spool: Path) -> None:
    modelry.set_tracking_uri("127.0.0.1:9")
    with modelry.start_run():
        modelry.log_artifact(unreadable / "file")
        modelry.log_artifacts(unreadable)
        modelry.log_artifacts(unreadable / "net")

    assert [kept.opened(left).paths for left in kept.left_in(spool)] == [tuple("abcde")]


def test_a_client_raises_for_what_cant_be_read_and_uploads_nothing(client: Client, unreadable: Path) -> None:
    run_id = client.runs.create().run_id

    with pytest.raises(InvalidArgument, match="net can't be read: Invalid argument; nothing was uploaded"):
        client.artifacts.upload(f"runs/{run_id}", unreadable)
    with pytest.raises(InvalidArgument, match="mem can't be read: Input/output error; nothing was uploaded"):
        client.artifacts.upload(f"runs/{run_id}", unreadable / "file")

    assert paths(client, run_id) == []


def test_an_empty_folder_is_kept_without_a_server(folder: Path, spool: Path) -> None:
    (folder / "empty").mkdir()
    modelry.set_tracking_uri("127.0.0.1:9")
    with modelry.start_run():
        modelry.log_artifacts(folder)

    assert [kept.opened(left).paths for left in kept.left_in(spool)] == [(*"abcde", "empty/.modelry-folder")]


@pytest.mark.parametrize("local", ["nothing", "a/nothing", "dangling", "zero\0byte"])
def test_where_nothing_is_pythons_own_error_is_raised(
    client: Client, platform: Deployment, folder: Path, local: str
) -> None:
    (folder / "dangling").symlink_to("gone")
    modelry.set_tracking_uri(platform.address)

    with modelry.start_run() as run:
        with pytest.raises(FileNotFoundError):
            modelry.log_artifact(folder / local)
        with pytest.raises(FileNotFoundError):
            client.artifacts.upload(f"runs/{run.id}", folder / local)


@pytest.mark.parametrize("upload", [modelry.log_artifact, modelry.log_artifacts])
def test_an_empty_path_is_not_the_working_folder(
    client: Client, platform: Deployment, folder: Path, upload: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    modelry.set_tracking_uri(platform.address)

    with modelry.start_run() as run:
        with pytest.raises(FileNotFoundError, match="the local path is empty"):
            upload("")
        with pytest.raises(FileNotFoundError, match="the local path is empty"):
            client.artifacts.upload(f"runs/{run.id}", "")
        assert paths(client, run.id) == []
        modelry.log_artifacts(".")

    assert paths(client, run.id) == list("abcde")
