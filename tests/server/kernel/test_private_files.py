"""Files with secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modelry_server.kernel.private_files import write_once


def test_a_file_and_its_folder_are_for_this_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "of" / "data" / "secret"

    write_once(file, "text")

    assert file.read_text() == "text"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_what_is_there_is_not_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_once(file, "first")

    with pytest.raises(FileExistsError):
        write_once(file, "second")

    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]
