"""Folders and files that are there already are judged before they are used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelry_server.kernel.ownership import folder_problem, make_private, write_private


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_that_nobody_else_can_change_is_good(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)

    assert folder_problem(folder) == ""
    assert folder_problem(tmp_path / "not there yet" / "data") == ""
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("mode", [0o770, 0o775, 0o777, 0o1777])
def test_a_folder_to_which_others_can_write_is_not(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    (tmp_path / "link").symlink_to(folder)

    assert folder_problem(folder) == f"other users can write to it; run `chmod go-w {folder}`"
    assert folder_problem(tmp_path / "link") == folder_problem(folder)


def test_a_folder_that_others_can_replace_is_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tmp_path.chmod(0o777)

    assert "other users can replace it" in folder_problem(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    os.chown(tmp_path / "data", 65534, -1)
    os.chown(tmp_path / "file", 65534, -1)

    assert "belongs to the user 65534" in folder_problem(tmp_path / "data")
    with pytest.raises(PermissionError, match="belongs to the user 65534"):
        make_private(tmp_path / "file")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert folder_problem(tmp_path / "file") == "is not a folder"


def test_a_circle_of_links_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert folder_problem(tmp_path / "a")


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o277])
def test_a_file_is_for_its_user_alone_and_keeps_its_content(tmp_path: Path, umask: int) -> None:
    old = tmp_path / "old"
    old.write_text("kept")
    old.chmod(0o664)
    before = os.umask(umask)
    try:
        make_private(tmp_path / "new")
        make_private(old)
    finally:
        os.umask(before)

    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert old.stat().st_mode & 0o777 == 0o600
    assert old.read_text() == "kept"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder in which nobody can make one")
def test_a_folder_that_can_not_be_made_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert folder_problem(Path("/proc/x/data")).startswith("is not there, and can't be made in /proc: No such file")
    assert folder_problem(tmp_path / "file" / "data").startswith(
        f"is not there, and can't be made in {tmp_path / 'file'}: Not a directory"
    )


def test_a_file_and_its_folder_are_for_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "of" / "data" / "secret"

    write_private(file, "text")

    assert file.read_text() == "text"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_what_is_there_is_not_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_private(file, "first")

    with pytest.raises(FileExistsError):
        write_private(file, "second")

    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]
