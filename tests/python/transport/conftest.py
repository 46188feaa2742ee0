"""Fixtures: a server and a spool of their own for scripts that fork."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import Deployment, running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of these tests."""
    with running("all", tmp_path_factory.mktemp("platform")) as deployment:
        yield deployment


@pytest.fixture
def reader(server: Deployment) -> Client:
    """A client of that server."""
    return Client(server.address)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where the scripts of a test keep what they can't send."""
    return tmp_path / "spool"
