"""A program that runs beside the tests, with everything that a run records of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.deployment import Deployment

Program = Callable[..., "subprocess.CompletedProcess[str]"]
_ON = {"MODELRY_SNAPSHOT": "1", "MODELRY_SYSTEM_METRICS": "1"}


@pytest.fixture(autouse=True)
def _everything_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in _ON.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a commit of `train.py` and `.env`, on the branch `main`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("lr = 0.1\n")
    (folder / ".env").write_text("A=1\n")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "-m", "Train")
    return folder


@pytest.fixture
def program(platform: Deployment, tmp_path: Path) -> Program:
    """Runs code as a program of its own against the platform, with further variables of the environment.

    It must end well, unless the variable `fails` says that it need not.
    """

    def run(code: str, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        file = folder / "program.py"
        file.write_text(code)
        return subprocess.run(
            [sys.executable, str(file), *arguments],
            cwd=folder,
            env={**os.environ, **_ON, "MODELRY_TRACKING_URI": platform.address, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check="fails" not in environment,
        )

    return run


def git(folder: Path, *arguments: str) -> str:
    """What git answers in a folder."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
