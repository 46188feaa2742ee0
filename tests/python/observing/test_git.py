"""The code of a run, as git has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modelry._sdk.observing import git
from tests.python.observing.conftest import git as ask_git


def test_commit_branch_and_remote_are_read_without_a_process(repository: Path) -> None:
    ask_git(repository, "remote", "add", "origin", "https://ada:pass-word@example.com/ada/project.git")
    (repository / "deep" / "er").mkdir(parents=True)

    found = git.checkout(repository / "deep" / "er")

    assert found is not None
    assert found.folder == repository
    assert found.commit == ask_git(repository, "rev-parse", "HEAD")
    assert found.branch == "main"
    assert found.remote == "https://example.com/ada/project.git"


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    ask_git(repository, "checkout", "--quiet", "--detach")

    found = git.checkout(repository)

    assert found is not None
    assert (found.branch, len(found.commit)) == ("", 40)


def test_a_worktree_has_its_own_branch_and_the_common_remote(repository: Path, tmp_path: Path) -> None:
    ask_git(repository, "remote", "add", "upstream", "git@example.com:ada/project.git")
    ask_git(repository, "worktree", "add", "--quiet", "-b", "try/one", str(tmp_path / "beside"))

    found = git.checkout(tmp_path / "beside")

    assert found is not None
    assert (found.branch, found.remote) == ("try/one", "git@example.com:ada/project.git")


def test_without_a_repository_or_a_commit_there_is_nothing(tmp_path: Path) -> None:
    ask_git(tmp_path, "init", "--quiet")

    assert git.checkout(tmp_path) is None
    assert git.diff(tmp_path) == git.Diff(None, "")


def test_a_clean_tree_is_not_dirty_whatever_is_not_tracked(repository: Path) -> None:
    (repository / "notes.txt").write_text("not tracked")

    assert git.diff(repository) == git.Diff(False, "")


def test_the_diff_applies_to_the_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("lr = 0.2\n")
    ask_git(repository, "config", "diff.noprefix", "true")

    found = git.diff(repository)

    assert found.is_dirty
    (tmp_path / "changes.diff").write_text(found.text)
    ask_git(repository, "checkout", "--quiet", "train.py")
    ask_git(repository, "apply", str(tmp_path / "changes.diff"))
    assert (repository / "train.py").read_text() == "lr = 0.2\n"


def test_staged_changes_and_names_in_any_script_are_in_the_diff(repository: Path) -> None:
    (repository / "größe 数.py").write_text("x = 1\n")
    ask_git(repository, "add", ".")

    found = git.diff(repository)

    assert "+++ b/größe 数.py" in found.text


def test_secrets_are_masked_and_files_of_secrets_left_out_and_both_is_said(repository: Path) -> None:
    (repository / "train.py").write_text('lr = 0.2\npassword = "q7Rt5Yp0Lm2Kx9"\n')
    (repository / ".env").write_text("A=very-secret\n")

    text = git.diff(repository).text

    assert "+lr = 0.2" in text
    assert "q7Rt5Yp0Lm2Kx9" not in text
    assert "very-secret" not in text
    assert "# .env is left out" in text
    assert "# *** is in the place of what looks like a secret" in text


def test_a_large_diff_is_cut_at_a_line_and_says_so(repository: Path) -> None:
    (repository / "train.py").write_text("".join(f"line_{number} = {number}\n" for number in range(200_000)))

    found = git.diff(repository, largest=10_000)

    assert found.is_dirty
    assert "# The first 10,000 bytes: the rest is left out." in found.text
    assert len(found.text) < 11_000
    assert found.text.endswith("\n")


def test_a_git_that_takes_too_long_is_stopped(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 0.2\n")
    ask_git(repository, "config", "filter.slow.clean", "sleep 30")
    (repository / ".gitattributes").write_text("*.py filter=slow\n")

    found = git.diff(repository, seconds=0.2)

    assert found == git.Diff(None, "")


def test_without_the_program_git_there_is_no_diff(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    (repository / "train.py").write_text("lr = 0.2\n")

    assert git.diff(repository) == git.Diff(None, "")
    assert git.checkout(repository) is not None


def test_a_broken_repository_is_none(repository: Path) -> None:
    shutil.rmtree(repository / ".git" / "refs")
    (repository / ".git" / "packed-refs").unlink(missing_ok=True)

    assert git.checkout(repository) is None
