from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.files.destination import Destination, identity
from modelry.errors import FailedPrecondition

LONG = "n" * 300  # longer than what a file system can hold, as a colon is where Windows made the disk


def kept(target: Destination, path: str) -> Path:
    """A file with its own path as its content."""
    folder, _ = target.place(path)
    part = Path(folder, "part")
    part.write_text(path)
    return target.keep(str(part), identity(part.stat()), path)


def test_a_file_whose_name_can_not_be_held_gets_another_one_and_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = Destination(tmp_path)

    one, two = kept(target, f"{LONG}:1.txt"), kept(target, f"{LONG}/{LONG}")
    target.tell()

    assert (one.read_text(), two.read_text()) == (f"{LONG}:1.txt", f"{LONG}/{LONG}")
    assert one.name.startswith("nnn")
    assert one.suffix == ".txt"
    (said,) = caplog.messages
    assert said.startswith("3 files or folders in")


def test_names_that_the_file_system_takes_for_the_same_do_not_replace_each_other(tmp_path: Path) -> None:
    target = Destination(tmp_path)
    lower = kept(target, "read.me")
    os.link(lower, tmp_path / "Read.me")  # so that the name means the same file, as on macOS

    upper = kept(target, "Read.me")

    assert lower.read_text() == "read.me"
    assert upper.read_text() == "Read.me"
    assert upper.name.startswith("Read~")


def test_a_name_stays_as_it_is_where_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = Destination(tmp_path)
    names = ["a:b", "CON", "trailing. ", "A", "a", "e\u0301", "\u00e9", "w?*|<>"]

    for name in names:
        kept(target, name)
    target.tell()

    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert caplog.messages == []


def test_a_folder_where_a_file_is_to_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with pytest.raises(FailedPrecondition, match="is a folder"):
        kept(Destination(tmp_path), "a")


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("file", "file is a symbolic link or a file, but the download needs a folder there; remove it first"),
        ("file/below", "can't be written: Not a directory; make that possible, or choose another destination"),
        ("round", "round is a symbolic link or a file"),
        ("x" * 300, "can't be written: File name too long"),
        ("/proc/nothing", "can't be written: No such file or directory"),
    ],
)
@pytest.mark.parametrize("path", ["", "model/a"])
def test_a_destination_that_can_not_be_written_is_refused_with_advice(
    client: Client, a_run: Callable[..., str], tmp_path: Path, *, destination: str, said: str, path: str
) -> None:
    run_id = a_run(a=b"content")
    (tmp_path / "file").write_text("")
    (tmp_path / "round").symlink_to("round")

    with pytest.raises(FailedPrecondition, match=re.escape(said)) as caught:
        client.artifacts.download(f"runs/{run_id}", path, tmp_path / destination)

    assert caught.value.reason == "DESTINATION_REFUSED"


def test_an_error_of_a_callback_is_raised_as_it_is(client: Client, a_run: Callable[..., str], tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        client.artifacts.download(f"runs/{a_run(a=b'content')}", "", tmp_path, progress=fail)
