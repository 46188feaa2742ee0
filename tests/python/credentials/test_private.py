"""Folders of this user alone: on a shared machine others may have made them first, or may write to them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry._sdk.credentials import private
from modelry._sdk.credentials.private import Unsafe

SOMEBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_o04_every_folder_that_is_made_is_for_its_user_alone_whatever_the_umask_is(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "modelry" / "environments"

    private.prepared(folder, levels=2)
    private.made(folder / "a" / "b")

    for each in (folder, *folder.parents[:2], folder / "a", folder / "a" / "b"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused_at_each_level(tmp_path: Path, level: int, mode: int) -> None:
    folder = tmp_path / "modelry" / "environments"
    folder.mkdir(parents=True)
    (folder, folder.parent)[level].chmod(mode)

    with pytest.raises(Unsafe, match="can be written by others"):
        private.prepared(folder, levels=2)


def test_above_it_a_folder_of_everybody_must_be_sticky(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    with pytest.raises(Unsafe, match="is not sticky"):
        private.prepared(shared / "modelry", levels=1)
    assert list(shared.iterdir()) == []
    shared.chmod(0o1777)
    assert private.prepared(shared / "modelry", levels=1).is_dir()


@only_root
def test_nothing_is_made_in_a_folder_of_somebody_else(tmp_path: Path) -> None:
    planted = tmp_path / "modelry"
    planted.mkdir(0o755)
    os.chown(planted, SOMEBODY, SOMEBODY)

    with pytest.raises(Unsafe, match=f"belongs to the user {SOMEBODY}"):
        private.prepared(planted / "environments", levels=2)

    assert list(planted.iterdir()) == []


@only_root
def test_a_link_is_followed_if_this_user_made_it(tmp_path: Path) -> None:
    link = tmp_path / "modelry"
    (tmp_path / "elsewhere").mkdir(0o700)
    link.symlink_to("elsewhere")

    assert private.prepared(link / "environments", levels=2).is_dir()
    os.chown(link, SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(Unsafe, match="is a link of the user"):
        private.prepared(link / "environments", levels=2)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "modelry").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to("gone")

    for name in ("modelry", "nowhere"):
        with pytest.raises(NotADirectoryError, match="is no folder"):
            private.prepared(tmp_path / name, levels=1)


def test_one_file_that_others_can_write_is_found_in_a_tree_and_can_be_mended(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    (tmp_path / "link").symlink_to("/tmp")
    file.chmod(0o664)

    assert private.problem_of_tree(tmp_path) == f"{file} can be written by others"
    private.tighten(tmp_path)
    assert private.problem_of_tree(tmp_path) == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_relative_folder_of_the_user_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    for given in ("", "cache", "./cache", "~/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert private.of_kind("XDG_CACHE_HOME", ".cache") == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "mine"))
    assert private.of_kind("XDG_CACHE_HOME", ".cache") == tmp_path / "mine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "home")
    assert private.of_kind("XDG_CACHE_HOME", ".cache") is None
