from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import load
from modelry_server.targets import build
from tests.server.tracking.room import Room


@pytest.fixture(scope="session")
def tracking_url(kept_database_url: str) -> str:
    """A database with the tables of tracking."""
    room = Room(kept_database_url)
    room.db.upgrade()
    room.close()
    return kept_database_url


@pytest.fixture(scope="session")
def access_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where access answers, which knows the workspaces `red` and `blue`."""
    flags = {"server.data-folder": str(tmp_path_factory.mktemp("access"))}
    flags |= {"server.listen": "127.0.0.1:0"}
    config = load(Config, environment={}, flags=flags)
    db = database(config, "access")
    db.upgrade()
    db.close()
    server = build("access", config)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        workspaces = access.WorkspaceServiceStub(channel)
        for name in ("red", "blue"):
            workspaces.CreateWorkspace(access.CreateWorkspaceRequest(name=name), wait_for_ready=True)
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def another_room(tracking_url: str) -> Iterator[Callable[..., Room]]:
    """Makes one more room on the same database, as another process would."""
    made: list[Room] = []

    def make(**options: Any) -> Room:
        made.append(Room(tracking_url, **options))
        return made[-1]

    yield make
    for room in made:
        room.close()


@pytest.fixture(scope="session")
def kept_room(tracking_url: str, access_address: str) -> Iterator[Room]:
    """The room, kept for all tests of a session."""
    room = Room(tracking_url, access=access_address)
    yield room
    room.close()


@pytest.fixture
def room(kept_room: Room) -> Room:
    """The room on a database that other tests use too."""
    return kept_room
