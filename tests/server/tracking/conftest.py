from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.tracking.room import Room


@pytest.fixture(scope="session")
def tracking_url(kept_database_url: str) -> str:
    """A database with the tables of tracking."""
    room = Room(kept_database_url)
    room.db.upgrade()
    room.close()
    return kept_database_url


@pytest.fixture
def another_room(tracking_url: str) -> Iterator[Callable[..., Room]]:
    """Makes one more room on the same database, as another process would."""
    made: list[Room] = []

    def make(**options: int) -> Room:
        made.append(Room(tracking_url, **options))
        return made[-1]

    yield make
    for room in made:
        room.close()


@pytest.fixture(scope="session")
def kept_room(tracking_url: str) -> Iterator[Room]:
    """The room, kept for all tests of a session."""
    room = Room(tracking_url)
    yield room
    room.close()


@pytest.fixture
def room(kept_room: Room) -> Room:
    """The room on a database that other tests use too."""
    return kept_room
