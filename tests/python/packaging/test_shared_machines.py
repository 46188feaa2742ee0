"""Environments of checks on a shared machine: what somebody else may have planted is never run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

import modelry.models
from modelry._sdk.packaging import judging
from modelry._sdk.requiring import environments

SOMEBODY = 65534
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away"),
]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that requires nothing, so that its environment needs no index, and whose loader is nowhere."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn}}")
    (folder / "requirements.txt").write_text("")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def planted(model: Path, tmp_path: Path) -> Path:
    """Puts an environment where that of the model is, with a Python that leaves a trace; returns its place."""
    wanted = environments.Wanted.of(*judging.requirements(os.fspath(model)))
    place = environments.place_of(wanted, os.fspath(tmp_path))
    (place / "bin").mkdir(parents=True)
    (place / "ready").touch()
    python = place / "bin" / "python"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\nexit 3\n")
    python.chmod(0o755)
    return place


def test_an_environment_is_not_used_whose_folder_somebody_else_made(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(shared))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "nowhere")  # a user without a home
    place = planted(model, tmp_path)
    base = shared / f"modelry-cache-{os.geteuid()}"
    assert place.is_relative_to(base)
    for each in (base, *base.rglob("*")):
        os.chown(each, SOMEBODY, SOMEBODY)

    found = modelry.models.check(model)

    assert not (tmp_path / "ran").exists()
    assert (found.reused, found.environment) == (False, "")
    assert f"{base} belongs to the user {SOMEBODY}; set XDG_CACHE_HOME" in caplog.text


@pytest.mark.parametrize(("inside", "how"), [(".", "theirs"), ("bin/python", "theirs"), ("bin/python", "writable")])
def test_an_environment_is_made_anew_that_somebody_else_could_have_changed(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    inside: str,
    how: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    place = planted(model, tmp_path)
    if how == "theirs":
        os.chown(place / inside, SOMEBODY, SOMEBODY)
    else:
        (place / inside).chmod(0o777)

    found = modelry.models.check(model)
    again = modelry.models.check(model)

    assert not (tmp_path / "ran").exists()
    assert (found.reused, found.environment) == (False, os.fspath(place))
    assert (again.reused, again.environment) == (True, os.fspath(place))
    assert f"the environment {place} is not used" in caplog.text
    assert [each.name for each in place.parent.iterdir()] == [place.name]


def test_an_environment_can_be_used_again_whatever_the_umask_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    before = os.umask(0o002)
    try:
        assert not modelry.models.check(model).reused
        assert modelry.models.check(model).reused
    finally:
        os.umask(before)
