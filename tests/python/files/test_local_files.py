from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelry._sdk.files import local_files
from modelry.errors import InvalidArgument, PathInvalid


def paths(local: Path, folder: str = "") -> list[str]:
    return [file.path for file in local_files.found(local, folder)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files at two depths."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "b").write_text("b")
    (tree / "sub" / "a").write_text("a")
    return tree


def test_a_file_lies_in_the_folder_under_its_own_name(tree: Path) -> None:
    assert paths(tree / "b") == ["b"]
    assert paths(tree / "b", "deep/er") == ["deep/er/b"]


def test_what_is_in_a_folder_lies_below_the_path(tree: Path) -> None:
    assert paths(tree) == ["b", "sub/a"]
    assert paths(tree, "model") == ["model/b", "model/sub/a"]


def test_links_inside_of_the_folder_are_followed(tree: Path) -> None:
    (tree / "file").symlink_to(tree / "b")
    (tree / "folder").symlink_to("sub")

    assert paths(tree) == ["b", "file", "folder/a", "sub/a"]


def test_links_out_of_the_folder_are_followed_as_in_the_cache_of_hugging_face(tree: Path) -> None:
    blobs = tree.parent / "blobs"
    (blobs / "more").mkdir(parents=True)
    (blobs / "1a2b").write_text("weights")
    (blobs / "more" / "file").write_text("")
    (tree / "sub" / "weights").symlink_to("../../blobs/1a2b")
    (tree / "more").symlink_to(blobs / "more")

    found = {file.path: file.source for file in local_files.found(tree, "")}

    assert sorted(found) == ["b", "more/file", "sub/a", "sub/weights"]
    assert Path(found["sub/weights"]).read_text() == "weights"


def test_a_link_to_a_folder_above_is_a_circle(tree: Path) -> None:
    (tree / "sub" / "link").symlink_to("..")

    with pytest.raises(InvalidArgument, match=r"sub/link .*circle"):
        paths(tree)


def test_an_empty_folder_is_kept_as_a_file_in_it(tree: Path) -> None:
    (tree / "empty" / "inside").mkdir(parents=True)
    (tree.parent / "nothing").mkdir()

    assert paths(tree) == ["b", "empty/inside/.modelry-folder", "sub/a"]
    assert paths(tree.parent / "nothing", "cache") == ["cache/.modelry-folder"]
    assert paths(tree.parent / "nothing") == []


def test_a_link_to_nowhere_and_a_circle_are_refused(tree: Path) -> None:
    (tree / "gone").symlink_to(tree / "nothing")
    with pytest.raises(InvalidArgument, match="leads nowhere"):
        paths(tree)

    (tree / "gone").unlink()
    (tree / "round").symlink_to(tree)
    with pytest.raises(InvalidArgument, match="circle"):
        paths(tree)


def test_what_is_neither_file_nor_folder_is_refused(tree: Path) -> None:
    os.mkfifo(tree / "pipe")

    with pytest.raises(InvalidArgument, match=r"pipe is neither"):
        paths(tree)


def test_a_name_that_can_not_be_a_path_is_written_out_and_told(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "new\nline").write_text("")
    (tree / "a\\b").mkdir()
    (tree / "a\\b" / "file").write_text("")

    assert paths(tree) == ["a_x005C_b/file", "b", "new_x000A_line", "sub/a"]
    (said,) = caplog.messages
    assert said.startswith("2 names of files")
    assert "\n" not in said


def test_two_files_that_would_get_the_same_path_are_refused(tree: Path) -> None:
    (tree / "new\nline").write_text("")
    (tree / "new_x000A_line").write_text("")

    with pytest.raises(InvalidArgument, match="rename one of the two"):
        paths(tree)


def test_a_path_that_is_too_long_or_too_deep_is_refused(tree: Path) -> None:
    deep = tree / "/".join(["d"] * 64)
    deep.mkdir(parents=True)
    (deep / "file").write_text("")

    with pytest.raises(PathInvalid, match="65 parts, at most 64"):
        paths(tree)


def test_a_missing_file_is_pythons_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        paths(tmp_path / "nothing")


def test_a_folder_with_too_many_files_is_refused_with_advice(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "MOST_FILES", 2)
    assert paths(tree) == ["b", "sub/a"]
    (tree / "sub" / "c").write_text("c")

    with pytest.raises(InvalidArgument, match=r"tree has more than 2 files.*; pack them into archives, or"):
        paths(tree)


def test_a_file_that_is_too_large_is_refused_by_its_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "MOST_BYTES", 1)
    (tree / "sub" / "large").write_text("22")

    with pytest.raises(InvalidArgument, match=r"sub/large has 2 bytes, at most 1 .* are allowed; split it"):
        paths(tree)


def test_the_limits_are_those_that_the_contract_names() -> None:
    contract = (Path(__file__).parents[3] / "protos/modelry/api/artifacts/v1/artifact_service.proto").read_text()

    assert f"at most {local_files.MOST_FILES} files" in contract
    assert f"at most {local_files.MORE_FOLDERS} more folders" in contract
    assert f"at most {local_files.MOST_BYTES} (5 TiB)" in contract
