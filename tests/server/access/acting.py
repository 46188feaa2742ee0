"""Access at work, judged by what its own rows say: callers with roles, groups and capped credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from modelry_server.access.domain.bindings import Bindings, Draft
from modelry_server.access.domain.groups import Groups
from modelry_server.access.domain.rights.grants import effective
from modelry_server.access.domain.roles import Roles
from modelry_server.access.entities import Member, RoleBinding
from modelry_server.access.rpc.groups import GroupService
from modelry_server.access.rpc.roles import RoleService
from modelry_server.access.store import state, tables
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access, Judge, Open, Place
from modelry_server.kernel.authority import Authority, Changed, Grants, Known
from modelry_server.kernel.caller import Caller, Credential, Identity
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import PERMISSIONS
from tests.parts.clock import HeldClock
from tests.server.access import written

ONCE = Request("", "", "", "")


class Asked:
    """Access as an authority asks it, at each call: nothing is kept, since nothing was heard."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def identity(self, bearer: str) -> Known:
        """Nobody: tests say who calls."""
        raise AssertionError(bearer)

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        """Nobody: tests say who calls."""
        raise AssertionError(token_id)

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        """Nobody: tests say who calls."""
        raise AssertionError(names)

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        """What the rows say."""
        with self._db.read() as tx:
            return effective(tx, principal_id, groups)


@dataclass
class Rules:
    """Roles, bindings and groups on one database. Without `judge`, what callers may do is what the rows say."""

    db: Database
    clock: HeldClock = field(default_factory=HeldClock)
    judge: Judge | None = None

    def __post_init__(self) -> None:
        access = Access(self.judge or Authority(Asked(self.db)))
        parts = (self.db, Requests(tables.requests, self.clock), access, self.clock)
        self.roles, self.bindings, self.groups = Roles(*parts), Bindings(*parts), Groups(*parts)
        pager = Pager(b"a secret for tests")
        self.role_service = RoleService(self.roles, self.bindings, pager)
        self.group_service = GroupService(self.groups, pager)
        with self.db.write() as tx:
            written.a_workspace(tx, "risk")
            written.a_workspace(tx, "lab")

    @classmethod
    def without_authentication(cls, db: Database) -> Rules:
        """Rules that let everybody do everything."""
        return cls(db, judge=Open())

    def a_principal(self, role: str = "", place: Place = INSTALLATION) -> str:
        """A principal, with a role if one is named; its id."""
        with self.db.write() as tx:
            principal_id = written.a_principal(tx)
            if role:
                written.bind(tx, role, principal_id, place)
        return principal_id

    def a_role(self, *permissions: str, name: str = "custom") -> str:
        """A role that is no part of Modelry; its name."""
        with self.db.write() as tx:
            return written.a_role(tx, name, *permissions)

    def a_group(self, name: str, *members: str, groups: tuple[str, ...] = ()) -> str:
        """A group with principals and groups in it; its name."""
        with self.db.write() as tx:
            return written.a_group(tx, name, people=members, groups=groups)

    def bound(self, role: str, subject: str, place: Place = INSTALLATION, *, is_group: bool = False) -> str:
        """Gives somebody a role past the rules; the id of the binding."""
        with self.db.write() as tx:
            return written.bind(tx, role, subject, place, is_group=is_group)

    def bind(self, role: str, subject: str, place: Place = INSTALLATION, *, is_group: bool = False) -> RoleBinding:
        """Gives somebody a role by the rules."""
        return self.bindings.create(Draft(role, Member(subject, is_group), place), ONCE)

    def listed(self, place: Place = INSTALLATION, subject: Member | None = None) -> list[str]:
        """The ids of the bindings that the caller sees."""
        return [each.item.binding_id for each in self.bindings.page(place, subject, after=None, limit=1000)]

    def changes(self) -> list[Changed]:
        """What others must forget, in order."""
        with self.db.read() as tx:
            return [changed for _, changed in state.changes_after(tx, 0, 10_000)]

    def records(self) -> list[tuple[str, str, dict[str, object], dict[str, object]]]:
        """What was written down: what was done to what, before and after."""
        t = tables.audit_records
        with self.db.read() as tx:
            rows = tx.execute(sa.select(t.c.body, t.c.before, t.c.after).order_by(t.c.sequence)).all()
        return [
            (
                json.loads(row.body)["action"],
                json.loads(row.body)["resource_id"],
                json.loads(row.before or "{}"),
                json.loads(row.after or "{}"),
            )
            for row in rows
        ]


@contextmanager
def calling(
    principal_id: str,
    rpc: str,
    *,
    groups: frozenset[str] = frozenset(),
    permission_cap: frozenset[str] | None = None,
    workspace_cap: frozenset[str] | None = None,
) -> Iterator[None]:
    """A block in which a principal calls an rpc, such as `RoleService.CreateRole`."""
    identity = Identity(
        principal_id,
        f"name of {principal_id}",
        Credential.API_TOKEN,
        "c" * 32,
        groups=groups,
        permission_cap=permission_cap,
        workspace_cap=workspace_cap,
    )
    present = Caller(
        identity.name,
        "0" * 32,
        credential=Credential.API_TOKEN,
        identity=identity,
        permission=PERMISSIONS[f"/modelry.api.access.v1.{rpc.replace('.', '/')}"],
    )
    with caller.using(present):
        yield
