"""The key of the services: made once for a folder, readable by its user only, compared as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.transport import keys
from tests.parts.eventually import at_once


def test_the_first_who_asks_makes_the_key_and_all_get_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"

    found = at_once([lambda: keys.shared_key(folder) for _ in range(16)])

    assert len(set(found)) == 1
    assert keys.is_usable(str(found[0]))
    assert [file.name for file in folder.iterdir()] == ["service.key"]
    assert (folder / "service.key").stat().st_mode & 0o777 == 0o600


def test_another_folder_has_another_key(tmp_path: Path) -> None:
    assert keys.shared_key(tmp_path / "a") != keys.shared_key(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_other_users_can_read_or_change_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    keys.shared_key(tmp_path)
    (tmp_path / "service.key").chmod(mode)

    with pytest.raises(ConfigurationInvalid, match="chmod 600") as caught:
        keys.shared_key(tmp_path)

    assert (tmp_path / "service.key").read_text() not in str(caught.value)


@pytest.mark.parametrize("content", ["", "short", "x" * 31, "with a space" * 9, "\u65e5" * 40, "a\0" * 40])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "service.key"
    file.write_text(content)
    file.chmod(0o600)

    with pytest.raises(ConfigurationInvalid, match="holds no key"):
        keys.shared_key(tmp_path)


def test_a_key_may_end_with_a_line_break(tmp_path: Path) -> None:
    file = tmp_path / "service.key"
    file.write_text("k" * 40 + "\n")
    file.chmod(0o600)

    assert keys.shared_key(tmp_path) == "k" * 40


@pytest.mark.parametrize("content", [b"\xff" * 40, None])
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "service.key"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)

    with pytest.raises(ConfigurationInvalid, match=r"service\.key: the key of the services can't be read"):
        keys.shared_key(tmp_path)
