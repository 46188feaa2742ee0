"""The registry's rules on a real database of its own, with a clock that the test holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.registry import clients, module
from modelry_server.registry.domain.aliases import Aliases
from modelry_server.registry.domain.audit import Audit
from modelry_server.registry.domain.events import Events
from modelry_server.registry.domain.models import Models
from modelry_server.registry.domain.promotions import Promotions
from modelry_server.registry.domain.snapshots import Snapshots
from modelry_server.registry.domain.versions import Versions
from modelry_server.registry.entities import Files, Model, Stage, Version
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


@dataclass
class Registry:
    """All nouns of the registry on one database; without `addresses` its neighbours are out of reach."""

    db: Database
    addresses: Mapping[str, str] = field(default_factory=dict)
    clock: HeldClock = field(default_factory=HeldClock)

    def __post_init__(self) -> None:
        requests = Requests(tables.requests, self.clock)
        names = ("access", "tracking", "artifacts")
        access, tracking, artifacts = self.neighbours = [
            Neighbour(name, self.addresses.get(name, NOWHERE)) for name in names
        ]
        workspaces = clients.Workspaces(access)
        self.snapshots = Snapshots(self.db, clients.Artifacts(artifacts), self.clock)
        self.models = Models(self.db, requests, workspaces, self.snapshots, self.clock)
        self.versions = Versions(
            self.db,
            requests,
            self.clock,
            workspaces=workspaces,
            runs=clients.Runs(tracking),
            snapshots=self.snapshots,
        )
        self.promotions = Promotions(self.db, self.clock)
        self.aliases = Aliases(self.db, self.clock)
        self.audit = Audit(self.db)
        self.events = Events(self.db, workspaces)

    def close(self) -> None:
        """Lets go of the neighbours."""
        for neighbour in self.neighbours:
            neighbour.close()

    def a_model(self, name: str = "fraud", **fields: object) -> Model:
        """A model that was made by the rules."""
        return self.models.create("default", name, request=ONCE, **fields)  # type: ignore[arg-type]

    def a_version(self, model: str = "fraud", **fields: object) -> Version:
        """A version that was written past the rules, as no run is there to make it from."""
        with self.db.write() as tx:
            owner = model_rows.lock(tx, "default", model)
            assert owner is not None
            version = Version(
                version_id=new_id(),
                model_id=owner.model_id,
                workspace="default",
                model=model,
                number=model_rows.next_number(tx, owner.model_id),
                stage=Stage.NONE,
                run_id=new_id(),
                source="runs:/0123456789abcdef0123456789abcdef/model",
                description="",
                user="ada",
                files=Files("d" * 64, 3, 1000),
                create_time=self.clock.now(),
                update_time=self.clock.now(),
            )
            version = replace(version, **fields)  # type: ignore[arg-type]
            version_rows.add(tx, version)
        return version


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
    """The registry at work, with real neighbours."""
    made = Registry(db, deployment.addresses)
    yield made
    made.close()


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """What the neighbours are asked through."""
    return Platform.of(deployment)
