"""The rules of groups: who is in them, and that no group is in itself."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from modelry_server.access.domain import journal
from modelry_server.access.domain.journal import Change, Value
from modelry_server.access.domain.rights import administrators, sight, width
from modelry_server.access.entities import Group, Member
from modelry_server.access.errors import GroupCycle, GroupExists, GroupNotFound, PrincipalNotFound
from modelry_server.access.store import grants as grant_store
from modelry_server.access.store import groups as store
from modelry_server.access.store import members as member_store
from modelry_server.access.store import principals as principal_store
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch, LimitReached
from modelry_server.kernel.requests.fields import NOTE_LENGTH, Fields
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

CHANGEABLE = ("description",)
"""The fields that an update can change."""
DEEPEST = 10
"""How many groups may be in each other, the first and the last one included."""
MOST_MEMBERS = 10_000
MOST_AT_ONCE = 1000
"""How many members one call can add or remove."""


class Groups:
    """Creates, reads, lists, changes and deletes groups, and puts members into them."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock

    def create(self, name: str, description: str, request: Request) -> Group:
        """Creates a group. Raises PermissionMissing, FieldInvalid, GroupExists."""
        self._access.require(INSTALLATION)
        with Fields() as fields:
            fields.key("name", name)
            fields.text("description", description, longest=NOTE_LENGTH, controls=True)
            fields.request_id(request.request_id)
        now = self._clock.now()
        group = Group(name, description, now, now)

        def make() -> tuple[str, Group] | None:
            if not store.add(tx, group):
                return None
            # Nobody gets anything by a group without members and bindings, so nothing must be forgotten.
            journal.write(tx, _change("group.created", name, after={"description": description}), now=now)
            return name, group

        def refuse() -> None:
            raise GroupExists(name)

        with self._db.write() as tx:
            journal.begin(tx)
            return self._requests.once(tx, request, find=lambda known: _found(tx, known), make=make, existing=refuse)

    def get(self, name: str) -> Group:
        """The group with a name. Raises FieldInvalid, GroupNotFound."""
        _judge_name(name)
        sees_all = sight.sees_all(self._access)
        with self._db.read() as tx:
            return _seen(tx, name, sees_all)

    def page(
        self, member: Member | None = None, *, after: tuple[SortValue, ...] | None, limit: int
    ) -> Sequence[Found[Group]]:
        """At most `limit` groups by name: all, or those that the caller is in; with a member only those that have it.

        Raises FieldInvalid, PrincipalNotFound, GroupNotFound.
        """
        with Fields() as fields:
            if member is not None:
                _judge_member(fields, "", member)
        sees_all = sight.sees_all(self._access)
        with self._db.read() as tx:
            if member is not None:
                _require_seen_member(tx, member, sees_all)
            own = None if sees_all else _own(tx)
            found = store.page(tx, str(after[0]) if after else "", limit, among=own, member=member)
        return [Found(each, (each.name,)) for each in found]

    def update(self, name: str, etag: str, changes: Callable[[], Mapping[str, str]]) -> Group:
        """Changes the description. Raises PermissionMissing, FieldInvalid, GroupNotFound, EtagMismatch."""
        self._access.require(INSTALLATION)
        values = changes()
        with Fields("group.") as fields:
            fields.key("name", name)
            fields.text("description", values.get("description", ""), longest=NOTE_LENGTH, controls=True)
        with self._db.write() as tx:
            journal.begin(tx)
            group = _found(tx, name)
            if etag and etag != group.etag:
                raise EtagMismatch(etag, group.etag)
            if not values:
                return group
            changed = replace(self._touched(group), description=values["description"])
            store.update(tx, changed)
            before: dict[str, Value] = {"description": group.description}
            change = _change("group.updated", name, before=before, after={"description": changed.description})
            journal.write(tx, change, now=changed.update_time)
        return changed

    def delete(self, name: str) -> None:
        """Deletes a group with its bindings.

        Raises PermissionMissing, FieldInvalid, GroupNotFound, GrantTooWide, LastAdministrator.
        """
        self._access.require(INSTALLATION)
        _judge_name(name)
        with self._db.write() as tx:
            journal.begin(tx)
            group = _found(tx, name)
            self._require_width(tx, name)
            with administrators.keeping_one(tx):
                members, bindings = store.delete(tx, name)
            before: dict[str, Value] = {
                "description": group.description,
                "removed": {"members": members, "role_bindings": bindings},
            }
            change = _change("group.deleted", name, before=before, forget=Changed(group=name))
            journal.write(tx, change, now=self._clock.now())

    def add_members(self, name: str, members: Sequence[Member | None]) -> Group:
        """Adds members; those that the group has already stay.

        Raises PermissionMissing, FieldInvalid, GroupNotFound, PrincipalNotFound, GroupCycle, GrantTooWide,
        LimitReached.
        """
        self._access.require(INSTALLATION)
        wanted = _judged_members(name, members)
        with self._db.write() as tx:
            journal.begin(tx)
            group = _found(tx, name)
            _require_existing(tx, wanted)
            there = store.has(tx, name, wanted)
            added = [each for each in wanted if each not in there]
            if not added:
                return group
            total = store.count(tx, name) + len(added)
            if total > MOST_MEMBERS:
                raise LimitReached("members", "members of the group", total, MOST_MEMBERS)
            above = _checked_above(tx, name, [each.name for each in added if each.is_group])
            # Who joins gets what the group has, and what it has from the groups that it is in.
            width.require_all(self._access, grant_store.bound_to(tx, "", above))
            store.add_members(tx, name, added)
            changed = self._touched(group)
            store.update(tx, changed)
            change = replace(
                _change("group.members_added", name, after=_by_kind(added)),
                forget_also=[Changed(group=each.name) if each.is_group else Changed(each.name) for each in added],
            )
            journal.write(tx, change, now=changed.update_time)
        return changed

    def remove_members(self, name: str, members: Sequence[Member | None]) -> Group:
        """Removes members; those that the group does not have are no error.

        Raises PermissionMissing, FieldInvalid, GroupNotFound, GrantTooWide, LastAdministrator.
        """
        self._access.require(INSTALLATION)
        wanted = _judged_members(name, members)
        with self._db.write() as tx:
            journal.begin(tx)
            group = _found(tx, name)
            there = store.has(tx, name, wanted)
            removed = [each for each in wanted if each in there]
            if not removed:
                return group
            self._require_width(tx, name)
            with administrators.keeping_one(tx):
                store.remove_members(tx, name, removed)
            changed = self._touched(group)
            store.update(tx, changed)
            # All who got something by the group forget it, those who stay in it, too.
            change = _change("group.members_removed", name, before=_by_kind(removed), forget=Changed(group=name))
            journal.write(tx, change, now=changed.update_time)
        return changed

    def member_page(self, name: str, *, after: tuple[SortValue, ...] | None, limit: int) -> Sequence[Found[Member]]:
        """At most `limit` members: groups by name, then principals by id. Raises FieldInvalid, GroupNotFound."""
        _judge_name(name)
        last = Member(str(after[1]), bool(after[0])) if after else None
        sees_all = sight.sees_all(self._access)
        with self._db.read() as tx:
            _seen(tx, name, sees_all)
            found = store.member_page(tx, name, last, limit)
        return [Found(each, (each.is_group, each.name)) for each in found]

    def _require_width(self, tx: Transaction, name: str) -> None:
        """Does nothing if the caller may do all that who leaves a group loses. Raises GrantTooWide."""
        above = frozenset[str]().union(*store.above(tx, name, DEEPEST))
        width.require_all(self._access, grant_store.bound_to(tx, "", above))

    def _touched(self, group: Group) -> Group:
        return replace(group, update_time=self._clock.now(), revision=group.revision + 1)


def _own(tx: Transaction) -> frozenset[str]:
    """The groups that the caller is in."""
    identity = caller.current().identity
    return grant_store.groups_of(tx, identity.principal_id, identity.groups) if identity else frozenset()


def _found(tx: Transaction, name: str) -> Group:
    group = store.find(tx, name)
    if group is None:
        raise GroupNotFound(name)
    return group


def _seen(tx: Transaction, name: str, sees_all: bool) -> Group:
    """A group, if the caller sees all groups or is in it. Raises GroupNotFound."""
    if not sees_all and name not in _own(tx):
        raise GroupNotFound(name)
    return _found(tx, name)


def _require_seen_member(tx: Transaction, member: Member, sees_all: bool) -> None:
    """Who sees all groups sees all principals. Raises GroupNotFound, PrincipalNotFound."""
    if member.is_group:
        _seen(tx, member.name, sees_all)
        return
    principal = principal_store.find(tx, member.name)
    if principal is None or not (sees_all or sight.answers_for(principal)):
        raise PrincipalNotFound(member.name)


def _checked_above(tx: Transaction, name: str, added: Collection[str]) -> frozenset[str]:
    """The group and all that it is in, if these groups may be added to it. Raises GroupCycle, LimitReached."""
    steps_up = store.above(tx, name, DEEPEST)
    above = frozenset[str]().union(*steps_up)
    for each in added:
        if each in above:
            raise GroupCycle(name, each)
    depth = len(steps_up) + len(store.below(tx, added, DEEPEST))
    if depth > DEEPEST:
        raise LimitReached("members", "groups in each other", depth, DEEPEST)
    return above


def _require_existing(tx: Transaction, wanted: Collection[Member]) -> None:
    """Raises GroupNotFound, PrincipalNotFound."""
    groups = [each.name for each in wanted if each.is_group]
    principals = [each.name for each in wanted if not each.is_group]
    known_groups, known = member_store.existing_groups(tx, groups), member_store.existing_principals(tx, principals)
    for name in groups:
        if name not in known_groups:
            raise GroupNotFound(name)
    for principal_id in principals:
        if principal_id not in known:
            raise PrincipalNotFound(principal_id)


def _judge_name(name: str) -> None:
    with Fields() as fields:
        fields.key("name", name)


def _judged_members(name: str, members: Sequence[Member | None]) -> list[Member]:
    """Each member once; None is one that names nobody. Raises FieldInvalid."""

    def judge(path: str, member: Member | None) -> None:
        if member is None:
            fields.refuse(path, "is empty: set principal_id or group")
        else:
            _judge_member(fields, f"{path}.", member)

    with Fields() as fields:
        fields.key("name", name)
        judged = fields.each("members", members, judge, required=True, most=MOST_AT_ONCE)
    return [each for each in judged if each is not None]


def _judge_member(fields: Fields, path: str, member: Member) -> None:
    if member.is_group:
        fields.key(f"{path}group", member.name)
    else:
        fields.id(f"{path}principal_id", member.name)


def _by_kind(members: Collection[Member]) -> dict[str, Value]:
    found: dict[str, Value] = {
        "groups": [each.name for each in members if each.is_group],
        "principals": [each.name for each in members if not each.is_group],
    }
    return {kind: names for kind, names in found.items() if names}


def _change(
    action: str,
    name: str,
    *,
    before: Mapping[str, Value] | None = None,
    after: Mapping[str, Value] | None = None,
    forget: Changed | None = None,
) -> Change:
    return Change(action, "group", name, name, before=before or {}, after=after or {}, forget=forget)
