"""The lock files of a project go with its models, without what opens doors."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

import modelry.sklearn
from modelry._sdk.requiring import locks

LOCK = """\
source = { registry = "https://me:s3cret@private.example.com/simple?token=s3cret&page=2" }
url = "https://files.example.com/numpy-2.4.6.whl"
"""
PROJECT = '''\
[[tool.uv.index]]
url = "https://s3cret@private.example.com/simple"
password = "s3cret"
api_key = "s3cret"
[project]
name = "a_project"
[tool.x]
env-vars = { HF_TOKEN = "s3cret" }
token = """
s3cret
"""
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    return tmp_path / "project"


def saved(folder: Path) -> Path:
    modelry.sklearn.save_model(LinearRegression().fit([[1.0], [2.0]], [1, 2]), folder)
    return folder


@pytest.mark.parametrize("lock", ["uv.lock", "poetry.lock"])
def test_the_lock_of_a_project_goes_with_a_model_without_credentials(project: Path, tmp_path: Path, lock: str) -> None:
    (project / lock).write_text(LOCK)

    model = saved(tmp_path / "model")

    kept = (model / lock).read_text()
    assert kept == LOCK.replace("me:s3cret@", "***@").replace("token=s3cret", "token=***")
    described = (model / "pyproject.toml").read_text()
    assert "s3cret" not in described
    assert 'name = "a_project"' in described
    assert modelry.sklearn.load_model(model).predict([[3.0]]).tolist() == pytest.approx([3.0])


def test_a_project_beyond_the_repository_is_not_meant(project: Path, tmp_path: Path) -> None:
    (project / "notebooks" / ".git").mkdir()

    assert not (saved(tmp_path / "model") / "pyproject.toml").exists()


def test_a_lock_that_is_too_large_or_no_text_is_left_out_and_told(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "uv.lock").write_bytes(b" " * (locks.LARGEST_BYTES + 1))
    (project / "poetry.lock").write_bytes(b"\xff\xfe\x00")
    (project / "pyproject.toml").write_text("password = s3cret")

    model = saved(tmp_path / "model")

    assert sorted(each.name for each in model.glob("*.lock")) == []
    assert not (model / "pyproject.toml").exists()
    assert "pyproject.toml does not go with the model: it can't be read as TOML" in caplog.text
    assert "s3cret" not in caplog.text
    assert "uv.lock is larger than" in caplog.text
    assert "poetry.lock does not go with the model" in caplog.text
