"""Deployments whose processes a test may kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelry_server.targets import ROOMS
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.postgres import PostgresServer


@pytest.fixture(params=["all-sqlite", "all-postgres", "split-sqlite", "split-postgres"])
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """Tracking at work, whole and split and on both databases; a split one has no rooms that it doesn't need."""
    name, database = request.param.split("-")
    rooms = ROOMS if name == "all" else ("access", "tracking")
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        if database == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            urls = dict.fromkeys(rooms, stack.enter_context(server.database()))
        settings = {"tracking.merge-interval": "50ms", "tracking.merge-chunks": "4"}
        yield stack.enter_context(deployments.running(name, tmp_path / "platform", urls, settings, rooms=rooms))
