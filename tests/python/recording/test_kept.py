"""Copies of files wait in the spool, each with where it belongs; no name in them leads out of it."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.files.transfer import Replaced
from modelry._sdk.recording import sync
from modelry._sdk.spooling import kept, undelivered
from modelry._sdk.spooling.locks import SpoolInUse
from modelry._sdk.spooling.places import SpoolUnsafe
from modelry._sdk.spooling.spool import SpoolUnreadable
from modelry.errors import InvalidArgument, ModelryError, PathInvalid
from tests.python.recording.scripts import leave

SERVER = {"address": "127.0.0.1:5100", "workspace": "default"}


def test_files_are_kept_as_they_are_now(tmp_path: Path) -> None:
    folder, spool = tmp_path / "plots", tmp_path / "spool"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("before")

    files = kept.keep_files(spool, SERVER, "runs/1", "plots", folder)
    content = kept.keep_content(spool, SERVER, "runs/1", "report/b.txt", b"text")
    (folder / "deep" / "a.txt").write_text("after")

    assert (files.owner, files.paths) == ("runs/1", ("plots/deep/a.txt",))
    assert (files.folder / "0").read_text() == "before"
    assert (content.folder / "0").read_bytes() == b"text"
    assert [kept.opened(path) for path in kept.left_in(spool)] == [files, content]
    assert os.stat(content.folder / "0").st_mode & 0o077 == 0
    files.drop()
    assert kept.left_in(spool) == [content.folder]


@pytest.mark.parametrize("name", ["a b%.txt", "ü\u0301.txt", "x" * 200 + ".txt", "'; rm -rf ~", "target.json", "0"])
def test_a_path_may_hold_any_character_that_an_artifact_may(client: Client, tmp_path: Path, name: str) -> None:
    run_id = client.runs.create().run_id
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / name).write_text(name)

    kept.keep_files(tmp_path / "spool", SERVER, f"runs/{run_id}", "", tmp_path / "files").upload(client._connection)

    assert client.artifacts.read_bytes(f"runs/{run_id}", name).decode() == name
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("umask", [0o002, 0o000, 0o077])
def test_a_copy_is_for_its_user_alone_whatever_the_umask_is(client: Client, tmp_path: Path, umask: int) -> None:
    run_id = client.runs.create().run_id
    (tmp_path / "plots").mkdir()
    for name in "ab":
        (tmp_path / "plots" / name).write_text(name)
        (tmp_path / "plots" / name).chmod(0o666)
    before = os.umask(umask)
    try:
        files = kept.keep_files(tmp_path / "spool", SERVER, f"runs/{run_id}", "", tmp_path / "plots")
        with files.held():
            halves = files.divided()
        for half in halves:
            half.upload(client._connection)
    finally:
        os.umask(before)

    assert client.artifacts.read_bytes(f"runs/{run_id}", "b") == b"b"
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_that_changes_all_the_time_costs_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files" / "empty").mkdir(parents=True)
    for name in ("changing", "steady"):
        (tmp_path / "files" / name).write_text(name)
    real, numbers = shutil.copyfile, iter(range(10))
    refused: list[ModelryError] = []

    def copyfile(source: str, target: str) -> None:
        real(source, target)
        if source.endswith("changing"):
            Path(source).write_text(f"changed {next(numbers)}")

    monkeypatch.setattr(shutil, "copyfile", copyfile)

    made = kept.keep_files(tmp_path / "spool", SERVER, "runs/1", "", tmp_path / "files", refuse=refused.append)

    content = {path: (made.folder / str(number)).read_text() for number, path in enumerate(made.paths)}
    assert content == {"empty/.modelry-folder": "", "steady": "steady"}
    assert [error.metadata["local_path"] for error in refused] == [str(tmp_path / "files" / "changing")]


def test_what_an_upload_refuses_is_not_kept_either(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "gone")

    with pytest.raises(InvalidArgument, match="leads nowhere"):
        kept.keep_files(tmp_path / "spool", SERVER, "runs/1", "", tmp_path / "folder")
    with pytest.raises(PathInvalid):
        kept.keep_content(tmp_path / "spool", SERVER, "runs/1", "../a", b"")

    assert kept.left_in(tmp_path / "spool") == []


def test_a_copy_that_was_not_completed_is_found_but_not_delivered(tmp_path: Path) -> None:
    made = kept.keep_content(tmp_path, SERVER, "runs/1", "a.txt", b"text")
    target = json.loads((made.folder / "target.json").read_text())
    target["server"]["process"] = "0"
    (made.folder / "target.json").write_text(json.dumps(target))
    broken = made.folder.rename(made.folder.with_suffix(".copying"))

    assert kept.left_in(tmp_path) == []
    assert kept.incomplete_in(tmp_path) == [broken]


@pytest.mark.parametrize("how", ["uploaded", "discarded"])
def test_what_a_killed_process_left_of_copies_that_it_deleted_goes_without_a_word(
    spool: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def remove(path: Path, **_: object) -> None:
        if path.exists():
            raise SystemExit

    made = kept.keep_content(spool, SERVER, "runs/1", "a.txt", b"text")
    leave(made.folder)
    delete = made.drop if how == "uploaded" else partial(undelivered.discard, made.folder)
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", remove)
        with pytest.raises(SystemExit):
            delete()
    assert len(list(spool.iterdir())) == 1
    assert undelivered.undelivered() == []

    report = sync.deliver()

    assert (report.files_delivered, report.files_left, report.problems) == (0, 0, ())
    assert list(spool.iterdir()) == []


def test_what_was_left_of_copies_of_the_same_name_hinders_no_deletion(tmp_path: Path) -> None:
    made = kept.keep_content(tmp_path, SERVER, "runs/1", "a.txt", b"text")
    shutil.copytree(made.folder, made.folder.with_suffix(".gone"))

    made.drop()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"server": [], "owner": "", "paths": []}'])
def test_a_target_that_cant_be_read_is_said(tmp_path: Path, content: str) -> None:
    made = kept.keep_content(tmp_path, SERVER, "runs/1", "a.txt", b"text")
    (made.folder / "target.json").write_text(content)

    with pytest.raises(SpoolUnreadable, match=r"target\.json is damaged"):
        kept.opened(made.folder)


def test_a_link_in_place_of_a_copy_is_never_followed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("private")
    made = kept.keep_content(tmp_path / "spool", SERVER, "runs/1", "a.txt", b"text")
    (made.folder / "0").unlink()
    (made.folder / "0").symlink_to(tmp_path / "secret" / "key")
    folder = tmp_path / "spool" / "1-1-a.upload"
    folder.symlink_to(tmp_path / "secret")

    with pytest.raises(SpoolUnsafe, match="is no copy"):
        made.upload(client._connection)
    with pytest.raises(SpoolUnsafe, match="is no copy"):
        kept.opened(folder)

    assert (tmp_path / "secret" / "key").read_text() == "private"


def test_what_replaces_a_folder_is_whole_and_remembers_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("MLmodel", "model.pkl"):
        (tmp_path / "model" / name).touch()

    replaced = Replaced("a/model", ("a/model/MLmodel",))

    made = kept.keep_files(tmp_path / "spool", SERVER, "runs/1", "a/model", tmp_path / "model", replaces=replaced)

    assert (made.replaces, made.whole, made.is_divisible) == (replaced, True, False)
    assert kept.opened(made.folder) == made


@pytest.mark.parametrize(
    "said",
    [
        None,
        1,
        "model",
        ["model"],
        ["", []],
        ["other", []],
        ["mode", []],
        ["../model", []],
        ["model", ["b"]],
        ["model", [1]],
    ],
)
def test_a_target_that_names_no_folder_of_its_files_replaces_nothing(tmp_path: Path, said: object) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").touch()
    made = kept.keep_files(
        tmp_path / "spool", SERVER, "runs/1", "model", tmp_path / "model", replaces=Replaced("model")
    )
    target = json.loads((made.folder / "target.json").read_text())
    del target["replaces"]
    (made.folder / "target.json").write_text(json.dumps(target if said is None else {**target, "replaces": said}))

    opened = kept.opened(made.folder)

    assert (opened.replaces, opened.paths) == (None, ("model/MLmodel",))


def test_what_is_below_a_folder_that_is_replaced_keeps_its_place_in_the_order(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").touch()
    model = kept.keep_files(tmp_path / "spool", SERVER, "runs/1", "a/m", tmp_path / "model", replaces=Replaced("a/m"))
    inner = kept.keep_content(tmp_path / "spool", SERVER, "runs/1", "a/m/notes.txt", b"")
    beside = kept.keep_content(tmp_path / "spool", SERVER, "runs/1", "a/m.txt", b"")
    of_another = kept.keep_content(tmp_path / "spool", SERVER, "runs/2", "a/m/notes.txt", b"")

    assert model.overlaps(inner)
    assert inner.overlaps(model)
    assert not any(model.overlaps(other) or other.overlaps(model) for other in (beside, of_another))
    assert all(model.touches("runs/1", path) for path in ("a/m/notes.txt", "a/m", "a", ""))
    assert not any(model.touches("runs/1", path) for path in ("a/m.txt", "a/mo", "b"))


def three(spool: Path) -> kept.Kept:
    """Copies of three files."""
    source = spool.parent / "three"
    source.mkdir()
    for name in "abc":
        (source / name).write_text(name)
    return kept.keep_files(spool, SERVER, "runs/1", "", source)


def test_a_division_that_fails_half_way_leaves_everything_as_it_was(tmp_path: Path) -> None:
    made = three(tmp_path / "spool")
    (made.folder / "2").rename(tmp_path / "2")

    with pytest.raises(OSError, match="2"):
        made.divided()

    assert list((tmp_path / "spool").iterdir()) == [made.folder]
    (tmp_path / "2").rename(made.folder / "2")
    assert [half.paths for half in made.divided()] == [("a",), ("b", "c")]


def test_a_division_replaces_what_a_killed_process_left_of_one(tmp_path: Path) -> None:
    made = three(tmp_path / "spool")
    shutil.copytree(made.folder, tmp_path / "original")
    first, second = made.divided()
    (tmp_path / "original").rename(made.folder)
    second.folder.rename(second.folder.with_suffix(".copying"))

    assert made.divided() == (first, second)

    assert kept.left_in(tmp_path / "spool") == [first.folder, second.folder]
    assert kept.incomplete_in(tmp_path / "spool") == []
    assert [(second.folder / name).read_text() for name in "01"] == ["b", "c"]


def test_a_division_replaces_no_half_that_is_uploaded_or_that_is_none(tmp_path: Path) -> None:
    made = three(tmp_path / "spool")
    shutil.copytree(made.folder, tmp_path / "original")
    _, second = made.divided()
    (tmp_path / "original").rename(made.folder)

    with second.held(), pytest.raises(SpoolInUse):
        made.divided()
    target = (second.folder / "target.json").read_text()
    (second.folder / "target.json").write_text(target.replace("runs/1", "runs/2"))
    with pytest.raises(FileExistsError, match="holds other files"):
        made.divided()

    assert made.folder.exists()
    assert (second.folder / "1").read_text() == "c"
