"""Leaves out the families whose frameworks are not installed: `run.py` gives each of them its environment."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.python.conftest import client, fluent, spool_folder, unique

__all__ = ["client", "fluent", "spool_folder", "unique"]

HERE = Path(__file__).parent


def _is_here(family: Path) -> bool:
    try:
        return all(version(line.partition("==")[0]) for line in family.read_text().split())
    except PackageNotFoundError:
        return False


collect_ignore = [str(each.parent) for each in HERE.glob("*/requirements.txt") if not _is_here(each)]


@pytest.fixture(scope="session")
def all_in_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server in one process, on SQLite: what a framework does is the same with every other."""
    with deployments.running("all", tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def platform(all_in_one: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The platform, where the environment says that it is."""
    for key, value in all_in_one.environment().items():
        monkeypatch.setenv(key, value)
    return all_in_one
