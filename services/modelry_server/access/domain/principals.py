"""The rules of principals."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from modelry_server.access.domain import journal
from modelry_server.access.domain.rights import administrators, sight, width
from modelry_server.access.domain.rights import grants as rights
from modelry_server.access.domain.workspaces import judge_name
from modelry_server.access.entities import Principal, PrincipalKind, Token
from modelry_server.access.errors import PrincipalExists, PrincipalNotFound
from modelry_server.access.store import grants as grant_store
from modelry_server.access.store import principals as store
from modelry_server.access.store import tokens as token_store
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access, Place
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.caller import Credential, Identity
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, LimitReached
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import KEY_LENGTH, Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction

CHANGEABLE = ("display_name", "owner_id", "disabled")
"""The fields that an update can change."""
CERTIFICATE = "certificate"
"""The issuer of principals who are known by a client certificate."""
DEEPEST = 10
"""How many principals may own each other in a row, the first and the last one included."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a new principal is to be."""

    kind: int
    name: str
    display_name: str = ""
    issuer: str = ""
    external_id: str = ""
    owner_id: str = ""
    groups: Mapping[str, int] = field(default_factory=dict)  # that its issuer says, at first sight


@dataclass(frozen=True, slots=True)
class Seen:
    """A principal as a caller sees it: with everything, or only who it is."""

    principal: Principal
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Granted:
    """What a caller may do at a place, and the roles that say so."""

    place: Place
    roles: Sequence[str]
    permissions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Self:
    """Who calls. Without a principal the server knows nobody, or the bootstrap token calls."""

    principal: Principal | None
    token: Token | None = None
    groups: Sequence[str] = ()
    grants: Sequence[Granted] = ()

    def page(self, *, after: tuple[SortValue, ...] | None, limit: int) -> Iterator[Found[Granted]]:
        """At most `limit` grants after a sort key, by their places."""
        found = (Found(each, _key(each.place)) for each in self.grants)
        return islice((each for each in found if after is None or each.key > after), limit)


class Principals:
    """Creates, reads, lists and changes principals. `issuers` are those of the settings, by their URL."""

    def __init__(
        self, db: Database, requests: Requests, access: Access, clock: Clock, *, issuers: Collection[str] = ()
    ) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock
        self._issuers = [*issuers, CERTIFICATE]

    def create(self, draft: Draft, request: Request) -> Principal:
        """Creates a principal.

        Raises PermissionMissing, FieldInvalid, PrincipalExists, PrincipalNotFound, LimitReached.
        """
        self._access.require(INSTALLATION)
        with Fields() as fields:
            self._judge(fields, draft)
            fields.request_id(request.request_id)

        def make() -> tuple[str, Principal]:
            if draft.owner_id:
                _require_owner(tx, draft.owner_id)
            principal = add(tx, draft, self._clock.now())
            return principal.principal_id, principal

        with self._db.write() as tx:
            journal.begin(tx)
            return self._requests.once(
                tx, request, find=lambda known: _found(tx, known), make=make, existing=lambda: None
            )

    def get(self, principal_id: str, name: str) -> Seen:
        """The principal with this id, or this name. Raises FieldInvalid, PrincipalNotFound.

        Everybody may find out who an id is, since ids stand where people read them. By name only those who may read
        all find others than themselves and the service accounts that they own.
        """
        with Fields() as fields:
            if bool(principal_id) == bool(name):
                fields.refuse("principal_id", "is required, or name, and not both")
            elif principal_id:
                fields.id("principal_id", principal_id)
        with self._db.read() as tx:
            found = store.find(tx, principal_id) if principal_id else store.by_name(tx, name)
        if found is not None and (sight.answers_for(found) or sight.sees_all(self._access)):
            return Seen(found)
        if found is None or name:
            raise PrincipalNotFound(principal_id or name)
        return Seen(found, is_whole=False)

    def page(
        self, kind: int, name_contains: str = "", *, after: tuple[SortValue, ...] | None, limit: int
    ) -> Sequence[Found[Principal]]:
        """Principals of a kind, by name, after a sort key: all that the caller sees. Raises FieldInvalid.

        With `name_contains` only those with this text in their name or display name.
        """
        with Fields() as fields:
            if kind and kind not in set(PrincipalKind):
                fields.refuse("kind", _no_kind(kind))
            fields.text("name_contains", name_contains, longest=KEY_LENGTH)
        only_of = None if sight.sees_all(self._access) else sight.own_id()
        with self._db.read() as tx:
            found = store.page(
                tx,
                str(after[0]) if after else "",
                limit,
                kind=PrincipalKind(kind) if kind else None,
                only_of=only_of,
                name_contains=name_contains,
            )
        return [Found(principal, (principal.name,)) for principal in found]

    def update(self, principal_id: str, etag: str, changes: Callable[[], Mapping[str, Any]]) -> Principal:
        """Changes the fields that `changes` gives.

        Raises PermissionMissing, FieldInvalid, PrincipalNotFound, EtagMismatch, LimitReached, GrantTooWide,
        LastAdministrator.
        """
        self._access.require(INSTALLATION)
        with Fields("principal.") as fields:
            fields.id("principal_id", principal_id)
        with self._db.write() as tx:
            journal.begin(tx)
            before = _found(tx, principal_id)
            given = changes()
            after = replace(
                before,
                display_name=given.get("display_name", before.display_name),
                owner_id=given.get("owner_id", before.owner_id),
                is_disabled=given.get("disabled", before.is_disabled),
            )
            with Fields("principal.") as fields:
                fields.text("display_name", after.display_name, longest=KEY_LENGTH)
                _judge_owner(fields, after.kind, after.owner_id, principal_id, issuer=after.issuer)
            if etag and etag != before.etag:
                raise EtagMismatch(etag, before.etag)
            if after == before:
                return before
            if after.owner_id and after.owner_id != before.owner_id:
                _require_owner(tx, after.owner_id, principal_id)
            if (after.owner_id, after.is_disabled) != (before.owner_id, before.is_disabled):
                # The owner can do all that the account, and what it owns, may do. So nobody makes themselves, or a
                # friend, do more, and nobody takes away more than they could give.
                width.require_reached(tx, self._access, principal_id)
            now = self._clock.now()
            after = replace(after, update_time=now, revision=before.revision + 1)
            with administrators.keeping_one(tx):
                store.update(tx, after)
            shown_before, shown_after = _differences(before, after)
            journal.write(
                tx,
                journal.Change(
                    "principal.updated",
                    "principal",
                    principal_id,
                    before=shown_before,
                    after=shown_after,
                    forget=Changed(principal_id=principal_id),
                ),
                now=now,
            )
        return after

    def myself(self, workspace: str) -> Self:
        """Who calls, and what it may do: everywhere, or in one workspace. Raises FieldInvalid."""
        with Fields() as fields:
            if workspace:
                judge_name(fields, "workspace", workspace)
        identity = caller.current().identity
        if identity is None or identity.is_bootstrap:
            return Self(None)
        with self._db.read() as tx:
            joined = grant_store.groups_of(tx, identity.principal_id, identity.groups)
            bound = grant_store.bound_to(tx, identity.principal_id, joined)
            is_token = identity.credential is Credential.API_TOKEN
            return Self(
                _found(tx, identity.principal_id),
                token_store.find(tx, identity.credential_id) if is_token else None,
                sorted(joined),
                _granted(bound, identity, workspace),
            )

    def _judge(self, fields: Fields, draft: Draft) -> None:
        if draft.kind not in set(PrincipalKind):
            fields.refuse("kind", _no_kind(draft.kind))
        judge_names(fields, draft.name, draft.display_name)
        if draft.issuer and draft.issuer not in self._issuers:
            fields.refuse("issuer", f"{shown(draft.issuer)} is not in the settings; known: {', '.join(self._issuers)}")
        fields.text("external_id", draft.external_id, longest=KEY_LENGTH, shortest=1 if draft.issuer else 0)
        if draft.external_id and not draft.issuer:
            fields.refuse("external_id", "is given without an issuer")
        _judge_owner(fields, draft.kind, draft.owner_id, issuer=draft.issuer)


def judge_names(fields: Fields, name: str, display_name: str) -> None:
    """The name and the display name of a new principal."""
    fields.name("name", name, longest=KEY_LENGTH)
    fields.text("display_name", display_name, longest=KEY_LENGTH)


def add(tx: Transaction, draft: Draft, now: int) -> Principal:
    """Writes a new principal and writes it down. Raises PrincipalExists. The transaction holds `journal.begin`."""
    principal = Principal(
        new_id(),
        PrincipalKind(draft.kind),
        draft.name,
        draft.display_name,
        now,
        now,
        issuer=draft.issuer,
        external_id=draft.external_id,
        owner_id=draft.owner_id,
        groups=draft.groups,
    )
    if not store.add(tx, principal):
        if draft.issuer and (known := store.by_external_id(tx, draft.issuer, draft.external_id)) is not None:
            raise PrincipalExists(known.name, draft.issuer, draft.external_id)
        raise PrincipalExists(draft.name)
    after: dict[str, journal.Value] = {"kind": principal.kind.name.lower(), "name": principal.name}
    after |= {
        name: value
        for name in ("display_name", "issuer", "external_id", "owner_id")
        if (value := getattr(principal, name))
    }
    change = journal.Change("principal.created", "principal", principal.principal_id, after=after)
    journal.write(tx, change, now=now)
    return principal


def _found(tx: Transaction, principal_id: str) -> Principal:
    principal = store.find(tx, principal_id)
    if principal is None:
        raise PrincipalNotFound(principal_id)
    return principal


def _require_owner(tx: Transaction, owner_id: str, principal_id: str = "") -> None:
    """Raises PrincipalNotFound, FieldInvalid if they would own each other, LimitReached."""
    _found(tx, owner_id)
    above = store.above(tx, owner_id, DEEPEST)
    if principal_id in above:
        problem = f"{owner_id!r} is owned by the service account, itself or through others"
        raise FieldInvalid({"principal.owner_id": problem}, principal_id=principal_id)
    depth = len(above) + 1 + (store.depth_below(tx, principal_id, DEEPEST) if principal_id else 0)
    if depth > DEEPEST:
        raise LimitReached("owner_id", "principals that own each other in a row", depth, DEEPEST)


def _judge_owner(fields: Fields, kind: int, owner_id: str, principal_id: str = "", *, issuer: str) -> None:
    if not owner_id:
        return
    if kind == PrincipalKind.USER:
        fields.refuse("owner_id", "is given for a person; only a service account has an owner")
    elif issuer:
        # Whoever comes with this identity would be in the hands of the owner, a person of the issuer, too.
        fields.refuse("owner_id", f"is given for a service account that signs in by {shown(issuer)}: it has no owner")
    elif owner_id == principal_id:
        fields.refuse("owner_id", "is the service account itself")
    fields.id("owner_id", owner_id)


def _no_kind(kind: int) -> str:
    known = ", ".join(f"{each.value} ({each.name.lower()})" for each in PrincipalKind)
    return f"{kind} is not a kind of principal; use {known}"


def _differences(
    before: Principal, after: Principal
) -> tuple[Mapping[str, journal.Value], Mapping[str, journal.Value]]:
    """What an update changed, as it was and as it is."""
    names = {"display_name": "display_name", "owner_id": "owner_id", "is_disabled": "disabled"}
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return (
        {names[name]: getattr(before, name) for name in changed},
        {names[name]: getattr(after, name) for name in changed},
    )


def _granted(bound: Sequence[grant_store.Bound], identity: Identity, workspace: str) -> list[Granted]:
    """What roles allow by means of a credential, by place. What its caps take off is not there."""
    found: dict[Place, tuple[set[str], set[str]]] = {}
    for each in bound:
        permissions = rights.permissions_of(each)
        if identity.permission_cap is not None:
            permissions &= identity.permission_cap
        for place in _places(each.place, identity.workspace_cap, workspace):
            if allowed := rights.at(place, permissions):
                roles, all_of_them = found.setdefault(place, (set(), set()))
                roles.add(each.role)
                all_of_them |= allowed
    ordered = sorted(found.items(), key=lambda item: _key(item[0]))
    return [Granted(place, sorted(roles), sorted(permissions)) for place, (roles, permissions) in ordered]


def _key(place: Place) -> tuple[str, str, str]:
    return place.workspace, place.experiment_id, place.model_id


def _places(place: Place, workspace_cap: frozenset[str] | None, workspace: str) -> Sequence[Place]:
    """Where a role counts that is bound at a place: with a cap, one for all workspaces counts in those of the cap."""
    places = [place]
    if workspace_cap is not None:
        places = [Place(each) for each in workspace_cap] if place == INSTALLATION else [place]
        places = [each for each in places if each.workspace in workspace_cap]
    return [each for each in places if not workspace or each.workspace in ("", workspace)]
