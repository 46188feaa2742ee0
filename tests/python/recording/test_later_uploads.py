"""With `synchronous=False` a file is copied and uploaded behind the training, and holds up no other file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.files import transfer
from modelry._sdk.recording import afterwork
from modelry._sdk.spooling import kept
from modelry._sdk.spooling.kept import Kept
from modelry.errors import NotFound
from tests.parts.deployment import Deployment
from tests.parts.slow_link import slow_link
from tests.python.recording.scripts import PATIENCE_S

RATE = 4e6
LARGE_S = 3


@pytest.fixture
def link(own_on_sqlite: Deployment) -> Iterator[str]:
    with slow_link(own_on_sqlite.address, RATE) as address:
        yield address


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that takes some seconds."""
    file = tmp_path / "large.bin"
    file.write_bytes(os.urandom(int(LARGE_S * RATE)))
    return file


def paths(client: Client, run_id: str) -> list[str]:
    found = client.artifacts.list(f"runs/{run_id}", recursive=True)
    return sorted(entry.path for entry in found)


def test_a_large_file_is_uploaded_as_it_was_while_others_pass_it(
    own_on_sqlite: Deployment, link: str, large: Path, tmp_path: Path
) -> None:
    reader = Client(own_on_sqlite.address)
    content = large.read_bytes()
    (tmp_path / "small.txt").write_text("small")
    modelry.set_tracking_uri(link)
    with modelry.start_run() as run:
        modelry.log_text("first", "first.txt")
        began = time.monotonic()
        modelry.log_artifact(large, "checkpoints", synchronous=False)
        took = time.monotonic() - began
        large.write_bytes(b"the next epoch")
        modelry.log_text("text", "text.txt")
        modelry.log_artifact(tmp_path / "small.txt", "checkpoints")
        with afterwork.inside():  # which waits for nothing, as another process does
            while_it_waits = paths(reader, run.id)
        flushed = modelry.flush(PATIENCE_S)

    assert took < LARGE_S / 2
    assert while_it_waits == ["checkpoints/small.txt", "first.txt", "text.txt"]
    assert flushed
    assert reader.artifacts.read_bytes(f"runs/{run.id}", "checkpoints/large.bin") == content


def test_what_is_written_to_the_same_place_comes_later(own_on_sqlite: Deployment, link: str, large: Path) -> None:
    reader = Client(own_on_sqlite.address)
    modelry.set_tracking_uri(link)
    with modelry.start_run() as run:
        modelry.log_text("first", "first.txt")
        modelry.log_artifact(large, synchronous=False)
        large.write_bytes(b"the next epoch")
        modelry.log_artifact(large)
        assert modelry.flush(PATIENCE_S)

    assert reader.artifacts.read_bytes(f"runs/{run.id}", "large.bin") == b"the next epoch"


def test_who_reads_it_waits_for_it_and_who_reads_other_files_does_not(
    own_on_sqlite: Deployment, link: str, large: Path
) -> None:
    reader = Client(own_on_sqlite.address)
    modelry.set_tracking_uri(link)
    with modelry.start_run() as run:
        modelry.log_text("first", "first.txt")
        modelry.log_artifact(large, "checkpoints", synchronous=False)
        began = time.monotonic()
        assert reader.artifacts.read_bytes(f"runs/{run.id}", "first.txt") == b"first"
        assert reader.runs.get(run.id).run_id == run.id
        took = time.monotonic() - began
        assert reader.artifacts.get(f"runs/{run.id}", "checkpoints").file_count == 1

    assert took < LARGE_S / 2


def test_who_reads_it_does_not_wait_for_a_server_that_takes_nothing(
    own_on_sqlite: Deployment, large: Path, spool: Path
) -> None:
    reader = Client(own_on_sqlite.address)
    modelry.set_tracking_uri("127.0.0.1:1")
    with modelry.start_run() as run:
        modelry.log_artifact(large, "checkpoints", synchronous=False)
        with pytest.raises(NotFound):
            reader.artifacts.get(f"runs/{run.run_id}", "checkpoints")
    assert kept.left_in(spool) != []


def test_the_files_of_a_folder_come_too(own_on_sqlite: Deployment, tmp_path: Path, spool: Path) -> None:
    reader = Client(own_on_sqlite.address)
    modelry.set_tracking_uri(own_on_sqlite.address)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text("a")
    (tmp_path / "folder" / "deep" / "b.txt").write_text("b")
    with modelry.start_run() as run:
        modelry.log_artifacts(tmp_path / "folder", "all", synchronous=False)
        run.log_artifact(tmp_path / "folder", synchronous=False)
        assert run.flush(PATIENCE_S)

    assert paths(reader, run.id) == ["all/a.txt", "all/deep/b.txt", "folder/a.txt", "folder/deep/b.txt"]
    assert (tmp_path / "folder" / "a.txt").read_text() == "a"
    assert kept.left_in(spool) == []


def test_without_a_place_for_copies_it_is_uploaded_at_once(
    own_on_sqlite: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "no-folder"))
    reader = Client(own_on_sqlite.address)
    modelry.set_tracking_uri(own_on_sqlite.address)
    with modelry.start_run() as run:
        modelry.log_artifact(tmp_path / "no-folder", synchronous=False)
        assert paths(reader, run.id) == ["no-folder"]


@pytest.mark.parametrize(
    ("path", "holds"),
    [("", True), ("a", True), ("a/b", True), ("a/b/c", True), ("a/bc", False), ("b", False), ("a/b.txt", False)],
)
def test_an_upload_is_in_the_way_at_above_and_below_its_files(path: str, holds: bool) -> None:
    made = Kept(Path("x"), {}, "runs/1", ("a/b",))

    assert made.touches("runs/1", path) is holds
    assert not made.touches("runs/2", path)


def test_only_files_that_are_nowhere_else_are_moved(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    ours = tmp_path / "ours.txt"
    ours.write_text("ours")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.txt").write_text("inside")
    (made / "plain.txt").write_text("plain")
    (made / "link.txt").symlink_to(ours)
    (made / "folder").symlink_to(tmp_path / "folder")
    os.link(ours, made / "hard.txt")
    mode = ours.stat().st_mode

    copies = kept.keep_files(tmp_path / "spool", {}, "runs/1", "", made, moves=True)

    content = {path: (copies.folder / str(number)).read_text() for number, path in enumerate(copies.paths)}
    assert content == {"plain.txt": "plain", "link.txt": "ours", "folder/inside.txt": "inside", "hard.txt": "ours"}
    assert sorted(os.listdir(made)) == ["folder", "hard.txt", "link.txt"]
    assert (ours.read_text(), ours.stat().st_mode) == ("ours", mode)
    assert (tmp_path / "folder" / "inside.txt").exists()


def test_what_a_client_writes_comes_after_what_waits(
    own_on_sqlite: Deployment, link: str, large: Path, tmp_path: Path
) -> None:
    for name in ("file", "gone", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("old")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "n.txt").write_text("new")
    modelry.set_tracking_uri(link)
    with modelry.start_run() as run:
        modelry.log_text("first", "first.txt")
        modelry.log_artifact(large, synchronous=False)
        for name in ("file", "gone", "model"):
            modelry.log_artifacts(tmp_path / name, name, synchronous=False)
        client, owner = Client(link), f"runs/{run.id}"
        client.artifacts.upload_bytes(owner, "file/x.txt", b"new")
        client.artifacts.delete(owner, "gone")
        client.artifacts.upload(owner, tmp_path / "new", "model", replace=True)
        assert modelry.flush(PATIENCE_S)

    assert paths(client, run.id) == ["file/x.txt", "first.txt", "large.bin", "model/n.txt"]
    assert client.artifacts.read_bytes(owner, "file/x.txt") == b"new"


def test_files_that_were_moved_come_back_if_another_can_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for name in "ab":
        (made / name).write_text(name)
    os.link(made / "b", tmp_path / "hard")
    (made / "c").symlink_to(made / "a")

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "copy", full)

    with pytest.raises(OSError, match="No space"):
        kept.keep_files(tmp_path / "spool", {}, "runs/1", "", made, moves=True)

    assert {name: (made / name).read_text() for name in os.listdir(made)} == {"a": "a", "b": "b", "c": "a"}
    assert kept.left_in(tmp_path / "spool") == []
