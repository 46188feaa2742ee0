"""The rules of roles: those of Modelry, which never change, and those that administrators make."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelry_server.access.domain import journal
from modelry_server.access.domain.journal import Change
from modelry_server.access.domain.rights import width
from modelry_server.access.entities import Role
from modelry_server.access.errors import RoleBuiltin, RoleExists, RoleInUse, RoleNotFound
from modelry_server.access.store import roles as store
from modelry_server.kernel.access import INSTALLATION, Access
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch
from modelry_server.kernel.requests.fields import NOTE_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import ROLE_NOTES, ROLES, Permission

CHANGEABLE = ("description", "permissions")
"""The fields that an update can change."""
MOST_PERMISSIONS = 100

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ORDER = {str(permission): number for number, permission in enumerate(Permission)}
_BUILTIN = {
    name: Role(name, ROLE_NOTES[name], tuple(sorted(map(str, permissions), key=_ORDER.__getitem__)), is_builtin=True)
    for name, permissions in ROLES.items()
}
_PLACES = list(_BUILTIN)


def find(tx: Transaction, name: str) -> Role:
    """The role with a name. Raises RoleNotFound."""
    role = _BUILTIN.get(name) or store.find(tx, name)
    if role is None:
        raise RoleNotFound(name)
    return role


def judge_name(fields: Fields, path: str, name: str) -> None:
    """The name of a role."""
    if not _NAME.match(name):
        rule = "1 to 63 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
        fields.refuse(path, f"{shown(name)} is not the name of a role: {rule}")


class Roles:
    """Creates, reads, lists, changes and deletes roles."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock

    def create(self, name: str, description: str, permissions: Sequence[str], request: Request) -> Role:
        """Creates a role. Raises PermissionMissing, FieldInvalid, RoleExists, GrantTooWide."""
        self._access.require(INSTALLATION)
        with Fields() as fields:
            judge_name(fields, "name", name)
            fields.text("description", description, longest=NOTE_LENGTH, controls=True)
            permissions = _judged(fields, "permissions", permissions)
            fields.request_id(request.request_id)
        width.require(self._access, INSTALLATION, permissions)
        now = self._clock.now()
        role = Role(name, description, permissions, create_time=now, update_time=now)

        def make() -> tuple[str, Role] | None:
            if name in _BUILTIN or not store.add(tx, role):
                return None
            after = {"description": description, "permissions": permissions}
            journal.write(tx, Change("role.created", "role", name, name, after=after), now=now)
            return name, role

        def refuse() -> None:
            raise RoleExists(name)

        with self._db.write() as tx:
            journal.begin(tx)
            return self._requests.once(tx, request, find=lambda known: find(tx, known), make=make, existing=refuse)

    def get(self, name: str) -> Role:
        """The role with a name. Raises FieldInvalid, RoleNotFound."""
        with Fields() as fields:
            judge_name(fields, "name", name)
        with self._db.read() as tx:
            return find(tx, name)

    def page(self, *, after: tuple[SortValue, ...] | None, limit: int) -> Sequence[Found[Role]]:
        """At most `limit` roles: those of Modelry, then others by name."""
        place, name = (int(str(after[0])), str(after[1])) if after else (-1, "")
        found = [Found(_BUILTIN[each], (number, each)) for number, each in enumerate(_PLACES) if number > place]
        if len(found) < limit:
            with self._db.read() as tx:
                others = store.page(tx, name if place == len(_PLACES) else "", limit - len(found))
            found += [Found(each, (len(_PLACES), each.name)) for each in others]
        return found[:limit]

    def update(self, name: str, etag: str, changes: Callable[[], Mapping[str, Any]]) -> Role:
        """Changes the fields that `changes` gives, for all who have the role.

        Raises PermissionMissing, FieldInvalid, RoleNotFound, RoleBuiltin, EtagMismatch, GrantTooWide.
        """
        self._access.require(INSTALLATION)
        values = dict(changes())
        with Fields("role.") as fields:
            judge_name(fields, "name", name)
            if "description" in values:
                fields.text("description", values["description"], longest=NOTE_LENGTH, controls=True)
            if "permissions" in values:
                values["permissions"] = _judged(fields, "permissions", values["permissions"])
        with self._db.write() as tx:
            journal.begin(tx)
            role = _own(tx, name)
            if etag and etag != role.etag:
                raise EtagMismatch(etag, role.etag)
            if not values:
                return role
            changed = replace(role, **values, update_time=self._clock.now(), revision=role.revision + 1)
            others = set(changed.permissions) ^ set(role.permissions)  # what is taken out counts as what is put in
            width.require(self._access, INSTALLATION, others)
            store.update(tx, changed)
            change = Change(
                "role.updated",
                "role",
                name,
                name,
                before={each: getattr(role, each) for each in values},
                after=values,
                forget=Changed() if others else None,
            )
            journal.write(tx, change, now=changed.update_time)
        return changed

    def delete(self, name: str) -> None:
        """Deletes a role.

        Raises PermissionMissing, FieldInvalid, RoleNotFound, RoleBuiltin, GrantTooWide, RoleInUse.
        """
        self._access.require(INSTALLATION)
        with Fields() as fields:
            judge_name(fields, "name", name)
        now = self._clock.now()
        with self._db.write() as tx:
            journal.begin(tx)
            role = _own(tx, name)
            width.require(self._access, INSTALLATION, role.permissions)
            bindings, tokens = store.uses(tx, name, now)
            if bindings or tokens:
                raise RoleInUse(name, bindings, tokens)
            store.delete(tx, name)
            before = {"description": role.description, "permissions": role.permissions}
            journal.write(tx, Change("role.deleted", "role", name, name, before=before), now=now)


def _own(tx: Transaction, name: str) -> Role:
    """A role that is no part of Modelry. Raises RoleNotFound, RoleBuiltin."""
    role = find(tx, name)
    if role.is_builtin:
        raise RoleBuiltin(name)
    return role


def _judged(fields: Fields, path: str, permissions: Sequence[str]) -> Sequence[str]:
    """Permissions that exist, each once and in the order of the table."""

    def judge(where: str, name: str) -> None:
        if name not in _ORDER:
            nearest = difflib.get_close_matches(name[:100], _ORDER, n=1, cutoff=0.0)[0]
            fields.refuse(where, f"{shown(name)} is no permission; the nearest one is {nearest!r}")

    named = fields.each(path, permissions, judge, required=True, most=MOST_PERMISSIONS)
    return tuple(sorted(named, key=lambda name: _ORDER.get(name, len(_ORDER))))
