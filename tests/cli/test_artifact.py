from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelry import Client
from tests.cli.conftest import Modelry

Read = Callable[..., Any]


@pytest.fixture
def run_id(client: Client, name: str) -> str:
    return client.runs.create(client.experiments.create(name).experiment_id).run_id


def test_a_folder_goes_up_and_comes_back_the_same(read: Read, run_id: str, tmp_path: Path) -> None:
    content = {"a.txt": b"hello", "deep/b.bin": os.urandom(3_000_000)}
    for path, written in content.items():
        (tmp_path / "up" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / path).write_bytes(written)

    uploaded = read("artifact", "upload", run_id, tmp_path / "up", "files")
    listed = read("artifact", "list", run_id, "--recursive")
    read("artifact", "download", run_id, "files", "--to", tmp_path / "down")

    assert uploaded["file_count"] == 2
    assert [each["path"] for each in listed] == ["files/a.txt", "files/deep/b.bin"]
    for path, written in content.items():
        assert (tmp_path / "down" / path).read_bytes() == written


def test_a_folder_is_replaced_if_that_is_asked_for(
    read: Read, modelry: Modelry, client: Client, run_id: str, tmp_path: Path
) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "files/old/b.txt", b"old")
    client.artifacts.upload_bytes(f"runs/{run_id}", "beside.txt", b"stays")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a.txt").write_text("new")

    def paths() -> list[str]:
        return [each["path"] for each in read("artifact", "list", run_id, "--recursive")]

    read("artifact", "upload", run_id, tmp_path / "up", "files")
    added = paths()
    read("artifact", "upload", run_id, tmp_path / "up", "files", "--replace")
    replaced = paths()
    root = modelry("artifact", "upload", run_id, tmp_path / "up", "--replace")

    assert added == ["beside.txt", "files/a.txt", "files/old/b.txt"]
    assert replaced == ["beside.txt", "files/a.txt"]
    assert root.code == 2
    assert "--replace needs a PATH" in root.err
    assert paths() == replaced


def test_an_empty_folder_is_said_to_be_empty(modelry: Modelry, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()

    to_the_run = modelry("artifact", "upload", run_id, tmp_path / "nothing")
    to_a_folder = modelry("artifact", "upload", run_id, tmp_path / "nothing", "results")

    said = f"{tmp_path / 'nothing'} is an empty folder: "
    assert to_the_run.out == f"{said}there is nothing to upload to runs/{run_id}/\n"
    assert to_a_folder.out == f"{said}uploaded it as one to runs/{run_id}/results\n"


def test_a_file_is_read_to_standard_output_byte_for_byte(modelry: Modelry, client: Client, run_id: str) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes/a.txt", b"one\ntwo\x1b[0m")

    assert modelry("artifact", "read", f"runs/{run_id}", "notes/a.txt").out == "one\ntwo\x1b[0m"


def test_a_listing_shows_folders_with_what_is_in_them(modelry: Modelry, client: Client, run_id: str) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes/a.txt", b"12345")
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes/b.txt", b"12345")

    table = modelry("artifact", "list", run_id)

    assert "notes/" in table.out
    assert "10 B" in table.out


def test_a_path_that_is_not_there_is_refused(modelry: Modelry, client: Client, run_id: str, tmp_path: Path) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes/a.txt", b"1")
    (tmp_path / "file").touch()

    listed = modelry("artifact", "list", run_id, "nope")
    up = modelry("artifact", "upload", run_id, tmp_path / "nope")
    onto = modelry("artifact", "download", run_id, "notes", "--to", tmp_path / "file")
    below = modelry("artifact", "download", run_id, "notes", "--to", tmp_path / "file" / "more")

    assert [answer.code for answer in (listed, up, onto, below)] == [1, 1, 1, 1]
    assert "no file or folder 'nope'" in listed.err
    assert f"{tmp_path}/nope does not exist" in up.err
    assert f"{tmp_path}/file is a file" in onto.err
    assert f"{tmp_path}/file/more can't be written: Not a directory" in below.err


def test_a_deletion_is_confirmed_and_counts(read: Read, modelry: Modelry, client: Client, run_id: str) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes/a.txt", b"1")

    unconfirmed = modelry("artifact", "delete", run_id, "notes")
    deleted = read("artifact", "delete", run_id, "notes", "--yes")

    assert unconfirmed.code == 2
    assert unconfirmed.err.startswith("error: Delete 'notes'")
    assert "confirm it with --yes" in unconfirmed.err
    assert deleted["file_count"] == 1
    assert read("artifact", "list", run_id) == []


def test_a_local_file_that_is_not_there_is_refused(modelry: Modelry, run_id: str, tmp_path: Path) -> None:
    answer = modelry("artifact", "upload", run_id, tmp_path / "missing")

    assert answer.code == 1
    assert "missing" in answer.err


def test_a_path_that_climbs_is_refused(modelry: Modelry, run_id: str) -> None:
    answer = modelry("artifact", "get", run_id, "../x")

    assert answer.code == 1
    assert ".." in answer.err


def on_a_terminal(*words: object) -> tuple[int, str]:
    """Runs a command on a terminal. Returns its exit code and what it wrote."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelry_cli", *map(str, words)], stdin=its, stdout=its, stderr=its, env=dict(os.environ)
    )
    os.close(its)
    written = b""
    try:
        while part := os.read(ours, 1 << 16):
            written += part
    except OSError:
        pass  # How Linux says that the other end is closed.
    finally:
        os.close(ours)
    return process.wait(60), written.decode(errors="replace")


@pytest.mark.parametrize(
    "content", [b"\x80\x02weights", b"a\0b", b"text\n" * 1_000_000], ids=["no UTF-8", "NUL", "5 MB of text"]
)
def test_a_terminal_gets_no_binary_content_and_no_large_one_unless_forced(
    modelry: Modelry, client: Client, run_id: str, content: bytes
) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "a model/weights", content)

    code, told = on_a_terminal("artifact", "read", run_id, "a model/weights")

    assert code == 1
    assert len(told) < 1000
    assert f"modelry artifact download {run_id} 'a model/weights'" in " ".join(told.split())
    assert "--force" in told
    if len(content) < 1000:
        assert on_a_terminal("artifact", "read", run_id, "a model/weights", "--force")[0] == 0
    assert len(modelry("artifact", "read", run_id, "a model/weights").out) > len(content) // 2


@pytest.mark.parametrize("text", ["", "é" * 5000, "x" + "é" * 5000], ids=["empty", "even", "odd"])
def test_a_terminal_gets_text(modelry: Modelry, client: Client, run_id: str, text: str) -> None:
    client.artifacts.upload_bytes(f"runs/{run_id}", "notes.txt", text.encode())

    code, told = on_a_terminal("artifact", "read", run_id, "notes.txt")

    assert code == 0
    assert told.strip() == text
