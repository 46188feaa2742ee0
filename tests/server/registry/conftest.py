"""The registry's rules on a real database of its own, with a clock that the test holds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import Access, Judge, Open
from modelry_server.kernel.audit import Record
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.registry import clients, module
from modelry_server.registry.domain import stages
from modelry_server.registry.domain.aliases import Aliases
from modelry_server.registry.domain.audit import Audit
from modelry_server.registry.domain.drafts import Drafts
from modelry_server.registry.domain.evaluations import Evaluations
from modelry_server.registry.domain.events import Events
from modelry_server.registry.domain.lookup import Lookup
from modelry_server.registry.domain.models import Models
from modelry_server.registry.domain.promotions import Move, Promoted, Promotions
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.domain.sources import Sources
from modelry_server.registry.domain.usage import Usage
from modelry_server.registry.domain.versions import Versions
from modelry_server.registry.entities import Event, Files, Model, RunFiles, Version
from modelry_server.registry.store import models as model_rows
from modelry_server.registry.store import tables
from modelry_server.registry.store import versions as version_rows
from tests.contract.registry.conftest import Platform
from tests.parts.clock import HeldClock
from tests.parts.deployment import Deployment

MIGRATIONS = Path(module.__file__).parent / "migrations"
NOWHERE = "127.0.0.1:1"
ONCE = Request("", "", "", "")
"""A request without a request id."""
SOURCE = RunFiles("0123456789abcdef0123456789abcdef", "model")
ADA = caller.Caller("ada", "0af7651916cd43dd8448eb211c80319c", peer="ipv4:127.0.0.1:4711")


@dataclass(frozen=True)
class EventsSeen:
    """Events with their cursors, and the cursor after them."""

    events: Sequence[tuple[Event, str]]
    next_cursor: str


@dataclass
class Registry:
    """All nouns of the registry on one database. Without `addresses` no other service can be reached."""

    db: Database
    addresses: Mapping[str, str] = field(default_factory=dict)
    clock: HeldClock = field(default_factory=HeldClock)
    key: str = ""
    judge: Judge = field(default_factory=Open)

    def __post_init__(self) -> None:
        requests, lookup = Requests(tables.requests, self.clock), Lookup(Access(self.judge))
        names = ("access", "tracking", "artifacts")
        access, tracking, artifacts = self.neighbours = [
            Neighbour(name, self.addresses.get(name, NOWHERE), key=self.key) for name in names
        ]
        workspaces = clients.Workspaces(access)
        self.snapshots = Snapshots(self.db, clients.Artifacts(artifacts), self.clock)
        self.sources = Sources(self.db, lookup, clients.Runs(tracking))
        self.models = Models(self.db, requests, lookup, self.clock, workspaces=workspaces, snapshots=self.snapshots)
        self.usage = Usage(self.db, Access(self.judge), workspaces)
        self.drafts = Drafts(
            self.db,
            requests,
            lookup,
            self.clock,
            sources=self.sources,
            snapshots=self.snapshots,
            usage=self.usage,
        )
        self.versions = Versions(self.db, lookup, self.clock, workspaces=workspaces, snapshots=self.snapshots)
        self.promotions = Promotions(self.db, requests, lookup, self.clock)
        self.aliases = Aliases(self.db, lookup, self.clock)
        self.evaluations = Evaluations(self.db, requests, lookup, self.clock, runs=clients.Runs(tracking))
        self.audit = Audit(self.db, lookup)
        self.events = Events(self.db, workspaces, lookup, Pager(b"a secret for tests"))

    def close(self) -> None:
        """Closes the connections to other services."""
        for neighbour in self.neighbours:
            neighbour.close()

    def a_model(self, name: str = "fraud", **fields: object) -> Model:
        """A model that was created by the rules."""
        return self.models.create("default", name, request=ONCE, **fields)  # type: ignore[arg-type]

    def a_version(self, model_name: str = "fraud", **fields: object) -> Version:
        """A version that was written past the rules, as there is no run to create it from."""
        with self.db.write() as tx:
            owner = model_rows.lock(tx, "default", model_name)
            assert owner is not None
            version = Version(
                version_id=new_id(),
                workspace="default",
                model_id=owner.model_id,
                model_name=model_name,
                version_number=model_rows.next_number(tx, owner.model_id),
                stage=stages.DEFAULT.first,
                run_id=new_id(),
                source=SOURCE,
                creator="ada",
                files=Files("d" * 64, 3, 1000),
                create_time=self.clock.now(),
                update_time=self.clock.now(),
            )
            version = replace(version, **fields)  # type: ignore[arg-type]
            version_rows.add(tx, version)
        return version

    def get(self, name: str = "fraud") -> Model:
        """The model with this name."""
        return self.models.get(workspace="default", model_name=name)

    def update(self, present_name: str, /, etag: str = "", reason: str = "", **values: str) -> Model:
        """Changes the model that has this name."""
        return self.models.update(self.get(present_name).model_id, lambda: values, etag=etag, reason=reason)

    def promote(self, version_number: int, stage: str, *, request: Request = ONCE, **fields: object) -> Promoted:
        """Moves a version of the model `fraud`."""
        wanted = Move(version_number, stage, **fields)  # type: ignore[arg-type]
        return self.promotions.promote("default", "fraud", wanted, request=request)

    def records(self, model_name: str = "fraud", version_number: int = 0, model_id: str = "") -> list[Record]:
        """The audit records of a model, the oldest first."""
        found = self.audit.page(
            "default",
            model_name="" if model_id else model_name,
            model_id=model_id,
            version_number=version_number,
            after=None,
            limit=1000,
        )
        return [each.item for each in reversed(list(found))]

    def followed(self, after_cursor: str = "", workspace: str = "default") -> Sequence[Event]:
        """The events after a cursor, at most 1000."""
        return [event for event, _ in self.event_page(workspace, after_cursor, limit=1000).events]

    def event_page(self, workspace: str, after_cursor: str, *, limit: int, **filters: Any) -> "EventsSeen":
        """A page of events, and where to go on."""
        page = self.events.page(workspace, after_cursor, limit=limit, **filters)
        events = list(page.events)
        return EventsSeen(events, events[-1][1] if len(events) == limit else page.last_cursor)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """The registry's database, empty but for its schema."""
    database = Database(database_url, room="registry", migrations=MIGRATIONS)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def registry(db: Database) -> Iterator[Registry]:
    """The registry at work, alone."""
    made = Registry(db)
    yield made
    made.close()


@pytest.fixture
def connected(db: Database, deployment: Deployment) -> Iterator[Registry]:
    """The registry at work, with the real other services."""
    addresses = {room: deployment.internal_address(room) for room in ("access", "tracking", "artifacts")}
    made = Registry(db, addresses, key=deployment.service_key)
    yield made
    made.close()


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """The way to the other services."""
    return Platform.of(deployment)
