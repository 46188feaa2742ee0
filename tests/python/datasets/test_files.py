"""Datasets from files and folders."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

import modelry
from modelry._sdk.datasets import files
from modelry.errors import DatasetEmpty, InvalidArgument, LocalFileChanged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set" / "more").mkdir(parents=True)
    (tmp_path / "set" / "a.csv").write_text("x\n1\n")
    (tmp_path / "set" / "more" / "b.txt").write_text("words")
    return tmp_path / "set"


def test_the_digest_of_a_file_is_its_sha_256(folder: Path) -> None:
    dataset = modelry.data.from_files(folder / "a.csv")

    assert dataset.digest == hashlib.sha256(b"x\n1\n").hexdigest()
    assert (dataset.name, dataset.source, dataset.source_type) == ("a.csv", str(folder / "a.csv"), "local")
    assert json.loads(dataset.profile) == {"num_files": 1, "size_bytes": 4}


def test_the_digest_of_a_folder_covers_names_and_contents_and_not_its_place(folder: Path) -> None:
    before = modelry.data.from_files(folder)
    moved = modelry.data.from_files(folder.rename(folder.with_name("moved")))
    os.rename(folder.with_name("moved") / "a.csv", folder.with_name("moved") / "c.csv")
    renamed = modelry.data.from_files(folder.with_name("moved"))

    assert before.digest == moved.digest != renamed.digest
    assert [each["path"] for each in json.loads(before.schema)["files"]] == ["a.csv", "more/b.txt"]
    one, other = (hashlib.sha256(content).hexdigest() for content in (b"x\n1\n", b"words"))
    lines = f"{one}  a.csv\n{other}  more/b.txt\n"
    assert before.digest == hashlib.sha256(lines.encode()).hexdigest()


def test_a_pattern_selects_files(folder: Path) -> None:
    dataset = modelry.data.from_files(folder, "**/*.txt")

    assert json.loads(dataset.profile)["num_files"] == 1
    with pytest.raises(DatasetEmpty, match=r"no file that matches '\*\.parquet'"):
        modelry.data.from_files(folder, "*.parquet")
    with pytest.raises(InvalidArgument, match="no glob"):
        modelry.data.from_files(folder, "/etc/*")


def test_a_file_that_changes_while_it_is_read_is_noticed(folder: Path) -> None:
    pipe = folder / "growing"
    pipe.write_bytes(b"0" * (3 << 20))

    class Grows(type(pipe)):  # type: ignore[misc]
        def stat(self, **options: object) -> os.stat_result:
            with open(self, "ab") as opened:
                opened.write(b"1")
            return os.stat(str(self))

    with pytest.raises(LocalFileChanged, match="changed while it was read"):
        files.sized_digest(Grows(pipe), "sha256")


def test_what_is_not_there_or_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    with pytest.raises(FileNotFoundError):
        modelry.data.from_files(folder / "nothing")
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        modelry.data.from_files(folder / "pipe")
