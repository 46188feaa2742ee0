"""Access on a real database of its own, with a clock that the test holds."""

from collections.abc import Iterator

import pytest

from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.store import tables
from modelry_server.databases import migrations
from modelry_server.kernel.access import Access
from modelry_server.kernel.requests.idempotency import Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import may
from tests.parts.clock import HeldClock


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """The database of access, with what its migrations put there."""
    database = Database(database_url, room="access", migrations=migrations("access"))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def clock() -> HeldClock:
    """A clock that stands still."""
    return HeldClock()


@pytest.fixture
def workspaces(db: Database, clock: HeldClock) -> Workspaces:
    """The rules of workspaces at work."""
    return Workspaces(db, Requests(tables.requests, clock), Access(may), clock)
