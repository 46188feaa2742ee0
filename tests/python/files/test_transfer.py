from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry._sdk.files import local_files, owners, transfer
from modelry.api.artifacts import v1 as artifacts
from modelry.errors import Cancelled, FailedPrecondition, InvalidArgument, LocalFileChanged, ModelryError, PathInvalid
from tests.python.scripted import LASTING, OWNER, PASSING, BreakOff, Script, a_folder, client_of

MEBIBYTE = 2**20


@pytest.fixture
def script() -> Script:
    return Script(a_folder(""), [])


def files_in(steps: list[artifacts.WriteArtifactsRequest]) -> dict[str, bytes]:
    """The files of a stream, after it was seen to be in order."""
    assert [step.WhichOneof("step") for step in steps].count("owner") == 1
    assert steps[0].owner == owners.message_of(OWNER)
    files: dict[str, bytes] = {}
    ended = 0
    for step in steps[1:-1]:
        kind = step.WhichOneof("step")
        if kind == "header":
            assert ended == len(files)
            header = step.header
            files[header.path] = b""
        elif kind == "content":
            assert 0 < len(step.content) <= MEBIBYTE
            files[header.path] += step.content
        else:
            assert header.size_bytes == len(files[header.path])
            assert step.sha256 == hashlib.sha256(files[header.path]).hexdigest()
            ended += 1
    assert steps[-1].WhichOneof("step") == "sent_file_count"
    assert steps[-1].sent_file_count == ended == len(files)
    return files


def test_a_folder_goes_up_in_order_with_sizes_and_digests(script: Script, tmp_path: Path) -> None:
    large = bytes(range(251)) * 10_000
    (tmp_path / "sub").mkdir()
    for name, content in {"large": large, "empty": b"", "sub/small": b"small"}.items():
        (tmp_path / name).write_bytes(content)
    told: list[tuple[int, int]] = []

    with client_of(script) as client:
        uploaded = client.artifacts.upload(OWNER, tmp_path, "model", progress=lambda *state: told.append(state))

    (steps,) = script.written
    assert files_in(steps) == {"model/empty": b"", "model/large": large, "model/sub/small": b"small"}
    assert (uploaded.file_count, uploaded.size_bytes) == (3, len(large) + 5)
    assert told[-1] == (len(large) + 5, len(large) + 5)


def test_a_folder_is_replaced_only_if_that_is_asked_for(script: Script, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(b"x")

    with client_of(script) as client:
        client.artifacts.upload(OWNER, tmp_path, "model")
        client.artifacts.upload(OWNER, tmp_path, "model", replace=True)
        with pytest.raises(InvalidArgument, match="path must be a folder if replace is True") as refused:
            client.artifacts.upload(OWNER, tmp_path, replace=True)

    assert [[step.replaced_folder for step in steps] for steps in script.written] == [[""] * 5, ["model"] + [""] * 4]
    assert list(refused.value.fields) == ["path"]


def test_any_number_of_files_is_one_stream(script: Script, tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:04}").write_bytes(b"x")

    with client_of(script) as client:
        client.artifacts.upload(OWNER, tmp_path)

    assert [len(files_in(steps)) for steps in script.written] == [3000]


def test_files_of_any_size_are_one_stream(script: Script, tmp_path: Path) -> None:
    size = 160 * MEBIBYTE  # together more than what was once the most of one stream
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)

    with client_of(script) as client:
        client.artifacts.upload(OWNER, tmp_path)

    (steps,) = script.written
    assert {path: len(content) for path, content in files_in(steps).items()} == {"a": size, "b": size}


def test_a_folder_that_is_too_large_is_refused_before_anything_is_sent(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "MOST_FILES", 2)
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x")

    with client_of(script) as client, pytest.raises(InvalidArgument, match="more than 2 files"):
        client.artifacts.upload(OWNER, tmp_path)

    assert script.written == []


def test_a_deadline_grows_with_the_size_and_the_number_of_files() -> None:
    assert transfer.timeout_for(0) < 660
    assert transfer.timeout_for(100 * 2**30) > 100 * 1024
    assert transfer.timeout_for(0, 100_000) > 5000


def test_an_empty_folder_sends_nothing(script: Script, tmp_path: Path) -> None:
    with client_of(script) as client:
        assert client.artifacts.upload(OWNER, tmp_path).file_count == 0

    assert script.written == []


def test_bytes_go_up_in_pieces(script: Script) -> None:
    content = bytes(2 * MEBIBYTE + 1)

    with client_of(script) as client:
        client.artifacts.upload_bytes(OWNER, "sub/file.bin", content, content_type="application/x-test")

    (steps,) = script.written
    assert files_in(steps) == {"sub/file.bin": content}
    assert steps[1].header.content_type == "application/x-test"


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a//b"])
def test_a_bad_path_is_refused_before_anything_is_sent(script: Script, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with client_of(script) as client:
        with pytest.raises(PathInvalid):
            client.artifacts.upload_bytes(OWNER, path, b"x")
        with pytest.raises(PathInvalid):
            client.artifacts.read_bytes(OWNER, path)
        if path:
            with pytest.raises(PathInvalid):
                client.artifacts.upload(OWNER, tmp_path / "file", path)

    assert script.written == []


def test_an_upload_is_sent_again_from_the_beginning_when_the_server_was_stopped(script: Script, tmp_path: Path) -> None:
    content = {"a": b"first", "b": b"second"}
    for name, each in content.items():
        (tmp_path / name).write_bytes(each)
    script.refusals = 2
    told: list[tuple[int, int]] = []

    with client_of(script) as client:
        client.artifacts.upload(OWNER, tmp_path, progress=lambda *state: told.append(state))

    assert [files_in(steps) for steps in script.written] == [content]
    assert [done for done, _ in told] == [5, 11] * 3


@pytest.mark.parametrize("refusal", PASSING, ids=str)
def test_an_upload_that_a_server_takes_later_is_sent_again(script: Script, refusal: BreakOff) -> None:
    script.refusals, script.refusal = 2, refusal

    with client_of(script) as client:
        client.artifacts.upload_bytes(OWNER, "a", b"content")

    assert [files_in(steps) for steps in script.written] == [{"a": b"content"}]


@pytest.mark.parametrize("refusal", LASTING, ids=str)
def test_an_upload_that_a_server_would_refuse_again_is_sent_once(script: Script, refusal: BreakOff) -> None:
    script.refusals, script.refusal = 2, refusal

    with client_of(script) as client, pytest.raises(ModelryError) as raised:
        client.artifacts.upload_bytes(OWNER, "a", b"content")

    assert raised.value.code == refusal.code.name
    assert (script.written, script.refusals) == ([], 1)


def test_an_upload_that_this_process_ends_is_not_sent_again(script: Script) -> None:
    sent = []

    def steps() -> Iterator[artifacts.WriteArtifactsRequest]:
        sent.append(True)
        yield artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path="a"))
        client._connection.close()

    with client_of(script) as client, pytest.raises(Cancelled):
        transfer.repeated(lambda: transfer.write(client._connection, OWNER, steps()))

    assert (sent, script.written) == ([True], [])


def test_a_file_that_shrinks_meanwhile_is_not_uploaded(script: Script, tmp_path: Path) -> None:
    growing = tmp_path / "log"
    growing.write_bytes(bytes(3 * MEBIBYTE))

    def shrink(done: int, total: int) -> None:
        growing.write_bytes(b"rotated")

    found = local_files.found(growing, "")
    with client_of(script) as client, pytest.raises(FailedPrecondition, match="changed during the upload"):
        transfer.upload_files(client._connection, OWNER, found, shrink)

    assert script.written == []


def test_a_file_that_is_written_to_meanwhile_is_not_uploaded(script: Script, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(3 * MEBIBYTE))
    before = weights.stat()

    def write(done: int, total: int) -> None:
        with weights.open("r+b") as file:
            file.write(b"other")
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))

    found = local_files.found(weights, "")
    with client_of(script) as client, pytest.raises(LocalFileChanged) as raised:
        transfer.upload_files(client._connection, OWNER, found, write)

    assert raised.value.metadata["local_path"] == str(weights)
    assert script.written == []


def test_a_file_that_is_read_again_because_it_was_touched_is_uploaded(script: Script, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(3 * MEBIBYTE))

    with client_of(script) as client:
        client.artifacts.upload(OWNER, weights, progress=lambda done, total: weights.touch())

    (steps,) = script.written
    assert files_in(steps) == {"weights": bytes(3 * MEBIBYTE)}


def test_a_file_may_change_between_two_attempts(script: Script, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"first")
    script.refusals = 1
    found = local_files.found(tmp_path / "state", "")

    def write(done: int, total: int) -> None:
        (tmp_path / "state").write_bytes(b"other")

    with client_of(script) as client:
        transfer.upload_files(client._connection, OWNER, found, write)

    (steps,) = script.written
    assert files_in(steps) == {"state": b"other"}


def test_a_failure_to_read_is_raised_as_it_is(script: Script) -> None:
    def steps() -> Iterator[artifacts.WriteArtifactsRequest]:
        raise PermissionError("not yours")
        yield

    with client_of(script) as client, pytest.raises(PermissionError, match="not yours"):
        transfer.write(client._connection, OWNER, steps())

    assert script.written == []


@pytest.mark.parametrize("size", [10, 3 * MEBIBYTE])
def test_a_file_that_grows_is_uploaded_as_long_as_it_was(script: Script, tmp_path: Path, size: int) -> None:
    growing = tmp_path / "log"
    growing.write_bytes(bytes(size))
    found = local_files.found(growing, "")

    def grow(done: int, total: int) -> None:
        with growing.open("ab") as more:
            more.write(b"line")

    grow(0, 0)
    with client_of(script) as client:
        transfer.upload_files(client._connection, OWNER, found, grow)

    (steps,) = script.written
    assert files_in(steps) == {"log": bytes(size)}


def test_a_file_of_the_system_that_says_that_it_is_empty_is_uploaded(script: Script, tmp_path: Path) -> None:
    with client_of(script) as client:
        client.artifacts.upload(OWNER, "/proc/self/status")

    (steps,) = script.written
    assert files_in(steps)["status"].startswith(b"Name:")


def test_an_upload_begins_again_when_a_file_vanishes(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"stays")
    (tmp_path / "b.tmp").write_bytes(b"goes")

    def vanish(done: int, total: int) -> None:
        (tmp_path / "b.tmp").unlink(missing_ok=True)

    with client_of(script) as client:
        uploaded = client.artifacts.upload(OWNER, tmp_path, progress=vanish)

    assert uploaded.file_count == 1
    (steps,) = script.written
    assert files_in(steps) == {"a": b"stays"}


@pytest.mark.parametrize("changes", [1, 2])
def test_a_copy_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("0000")
    told = iter(range(1, changes + 1))
    real = shutil.copyfile

    def copyfile(source: str, target: str) -> None:
        real(source, target)
        for number in told:
            Path(source).write_text(f"{number}" * 4)
            break

    monkeypatch.setattr(shutil, "copyfile", copyfile)

    transfer.copy(str(source), str(target))

    assert target.read_text() == f"{changes}" * 4


def test_a_copy_of_a_file_that_grows_is_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("begun")
    copies: list[str] = []
    real = shutil.copyfile

    def copyfile(source: str, target: str) -> None:
        real(source, target)
        copies.append(target)
        Path(source).write_text("begun, and gone on")

    monkeypatch.setattr(shutil, "copyfile", copyfile)

    transfer.copy(str(source), str(target))

    assert (target.read_text(), len(copies)) == ("begun", 1)


def test_a_file_that_changes_all_the_time_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("0000")
    numbers = iter(range(1, 10))
    real = shutil.copyfile

    def copyfile(source: str, target: str) -> None:
        real(source, target)
        Path(source).write_text(f"{next(numbers)}" * 4)

    monkeypatch.setattr(shutil, "copyfile", copyfile)

    with pytest.raises(LocalFileChanged, match="changed during the upload"):
        transfer.copy(str(source), str(target))
