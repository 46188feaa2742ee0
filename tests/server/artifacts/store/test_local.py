"""Local files: who may read them, what links do, what a killed put leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelry_server.artifacts.errors import StoreUnavailable
from modelry_server.artifacts.store.blobs import BlobMissing, new_key
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.kernel.config import ConfigurationInvalid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "some" / "blobs"


@pytest.fixture
def blobs(folder: Path) -> LocalBlobs:
    return LocalBlobs(folder)


def file_of(folder: Path, key: str) -> Path:
    return folder / key[:2] / key


def test_files_and_folders_are_for_their_user_only(blobs: LocalBlobs, folder: Path) -> None:
    key = new_key()
    before = os.umask(0)
    try:
        blobs.put(key, [b"abc"], 3)
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / key[:2])}
    assert modes == {0o700}
    assert stat.S_IMODE(file_of(folder, key).stat().st_mode) == 0o600


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigurationInvalid, match=r"artifacts\.local_folder"):
        LocalBlobs(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("")

    with pytest.raises(ConfigurationInvalid, match=r"artifacts\.local_folder"):
        LocalBlobs(tmp_path / "blobs")


def test_a_link_in_place_of_content_is_not_followed(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    key = new_key()
    blobs.put(key, [b"abcdef"], 6)
    file_of(folder, key).unlink()
    file_of(folder, key).symlink_to(secret)

    with pytest.raises(BlobMissing):
        list(blobs.read(key))
    assert blobs.stat(key) is None
    blobs.delete(key)
    assert secret.read_text() == "secret"


def test_a_link_in_place_of_a_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    key = new_key()
    (elsewhere / key).write_text("secret")
    folder.mkdir(parents=True, mode=0o700)
    (folder / key[:2]).symlink_to(elsewhere)
    blobs = LocalBlobs(folder)

    for call in (
        lambda: list(blobs.read(key)),
        lambda: blobs.put(new_key()[:0] + key, [b"x"], 1),
        lambda: blobs.delete(key),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    assert (elsewhere / key).read_text() == "secret"


def test_a_pipe_in_place_of_content_holds_nobody_up(blobs: LocalBlobs, folder: Path) -> None:
    key = new_key()
    blobs.put(key, [b"abc"], 3)
    file_of(folder, key).unlink()
    os.mkfifo(file_of(folder, key))

    with pytest.raises(BlobMissing):
        list(blobs.read(key))


def test_what_a_killed_put_left_is_listed_and_can_be_deleted_but_not_read(blobs: LocalBlobs, folder: Path) -> None:
    key = new_key()
    (folder / key[:2]).mkdir(mode=0o700)
    Path(f"{file_of(folder, key)}.part").write_bytes(b"half")

    assert [blob.key for blob in blobs.stored()] == [key]
    assert blobs.stat(key) is None
    with pytest.raises(BlobMissing):
        list(blobs.read(key))

    blobs.delete(key)

    assert list(blobs.stored()) == []


def test_a_full_disk_is_an_unavailable_store(blobs: LocalBlobs, folder: Path) -> None:
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreUnavailable) as refused:
            blobs.put(new_key(), [b"x" * 2000], 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)

    assert str(folder) not in refused.value.message
    assert list(blobs.stored()) == []
