"""The folder of the sockets: only its user can open it, and those that are left behind are removed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry_server.kernel.transport.sockets import make_folder

ENDS = "from modelry_server.kernel.transport.sockets import make_folder; print(make_folder())"
CRASHES = f"{ENDS}; import os; os._exit(1)"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


def of_another_process(program: str) -> Path:
    """The folder that another process made, which has ended."""
    ended = subprocess.run([sys.executable, "-uc", program], capture_output=True, text=True, check=False, timeout=60)
    return Path(ended.stdout.strip())


def test_only_its_user_can_open_the_folder_and_its_name_is_short(temporary: Path) -> None:
    folder = make_folder()

    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(str(folder / "artifacts.sock")) < 107


def test_each_call_makes_a_folder_of_its_own_and_leaves_those_that_are_in_use(temporary: Path) -> None:
    made = {make_folder() for _ in range(3)}

    assert set(temporary.iterdir()) == made


def test_a_process_that_ends_takes_its_folder_away(temporary: Path) -> None:
    folder = of_another_process(ENDS)

    assert folder.parent == temporary
    assert not folder.exists()


def test_what_a_crashed_process_left_is_removed_and_what_is_not_ours_stays(temporary: Path) -> None:
    left = of_another_process(CRASHES)
    (temporary / "modelry-services-without-a-lock").mkdir()
    (temporary / "something-else").mkdir()
    assert left.exists()

    folder = make_folder()

    assert {path.name for path in temporary.iterdir()} == {
        folder.name,
        "modelry-services-without-a-lock",
        "something-else",
    }
