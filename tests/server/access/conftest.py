"""Access on a real database of its own, with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from modelry_server.access.domain.audit import Audit
from modelry_server.access.domain.bootstrap import Bootstrap
from modelry_server.access.domain.identities import Identities
from modelry_server.access.domain.principals import Draft, Principals
from modelry_server.access.domain.tokens import Draft as TokenDraft
from modelry_server.access.domain.tokens import Lifetimes, Tokens
from modelry_server.access.domain.workspaces import Workspaces
from modelry_server.access.entities import Principal, PrincipalKind, Token
from modelry_server.access.store import audit as audit_rows
from modelry_server.access.store import principals as principal_rows
from modelry_server.access.store import tables
from modelry_server.databases import migrations
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access, Judge, Open, Place
from modelry_server.kernel.audit import Record
from modelry_server.kernel.authority import Authority
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.config import Secret
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.sql.database import Database
from tests.parts.clock import HeldClock
from tests.server.access import written

ONCE = Request("", "", "", "")
"""A request without a request id."""
FIRST = TokenDraft("first")
LIFETIMES = Lifetimes(90 * 86_400_000, 365 * 86_400_000)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Installation:
    """All nouns of access on one database. Who calls is judged by what the database says, or by another judge."""

    db: Database
    clock: HeldClock
    folder: Path
    judge: Judge | None = None
    given: Secret = field(default_factory=lambda: Secret(""))

    def __post_init__(self) -> None:
        self.identities = Identities(self.db, self.clock)
        access = Access(self.judge or Authority(self.identities))  # it has not heard of access, so it asks each time
        requests = Requests(tables.requests, self.clock)
        self.workspaces = Workspaces(self.db, requests, access, self.clock)
        self.principals = Principals(self.db, requests, access, self.clock, issuers=["https://idp.example"])
        self.tokens = Tokens(self.db, requests, access, self.clock, LIFETIMES)
        self.audit = Audit(self.db, access)
        self.bootstrap = Bootstrap(
            self.db, access, self.clock, folder=self.folder, given=self.given, lifetimes=LIFETIMES
        )

    @cached_property
    def anybody(self) -> Installation:
        """The same, without authentication."""
        return Installation(self.db, self.clock, self.folder, Open())

    def principal(
        self, name: str, role: str = "", place: Place = INSTALLATION, *, owner_id: str = "", robot: bool = False
    ) -> Principal:
        """A principal that was made, with a role."""
        kind = PrincipalKind.SERVICE_ACCOUNT if robot or owner_id else PrincipalKind.USER
        made = self.anybody.principals.create(Draft(kind, name, f"The {name}", owner_id=owner_id), ONCE)
        if role:
            with self.db.write() as tx:
                written.bind(tx, role, made.principal_id, place)
        return made

    def token(self, principal: Principal, draft: TokenDraft = FIRST) -> tuple[Token, str]:
        """A token that a principal has made, without another token."""
        identity = caller.Identity(principal.principal_id, principal.name, caller.Credential.OIDC_TOKEN, "login")
        with caller.using(Caller(principal.name, TRACE, identity=identity)):
            return self.tokens.create("", draft, ONCE)

    def by(self, bearer: str, permission: str = "") -> caller.using:
        """A block in which somebody calls by means of a credential, an rpc that needs a permission."""
        identity = self.identities.identity(bearer).identity
        known = Caller(identity.name, TRACE, credential=identity.credential, identity=identity, permission=permission)
        return caller.using(known)

    def stored(self, principal_id: str) -> Principal:
        """A principal as it is stored."""
        with self.db.read() as tx:
            found = principal_rows.find(tx, principal_id)
        assert found is not None
        return found

    def records(self) -> list[Record]:
        """All audit records, the oldest first."""
        with self.db.read() as tx:
            return audit_rows.page(tx, "", "", before=None, limit=1000)[::-1]


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
def installation(db: Database, clock: HeldClock, tmp_path: Path) -> Installation:
    """All nouns at work, with callers who are judged."""
    return Installation(db, clock, tmp_path)


@pytest.fixture
def workspaces(db: Database, clock: HeldClock, tmp_path: Path) -> Workspaces:
    """The rules of workspaces at work, on a server that does not know its callers."""
    return Installation(db, clock, tmp_path, Open()).workspaces
