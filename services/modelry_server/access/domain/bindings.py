"""The rules of bindings: who has which role, and where."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from modelry_server.access.domain import journal, roles
from modelry_server.access.domain.journal import Change, Value
from modelry_server.access.domain.rights import administrators, grants, width
from modelry_server.access.entities import Member, Role, RoleBinding
from modelry_server.access.errors import (
    GroupNotFound,
    PrincipalDisabled,
    PrincipalNotFound,
    RoleBindingExists,
    RoleBindingNotFound,
    RoleNotFound,
)
from modelry_server.access.store import bindings as store
from modelry_server.access.store import members
from modelry_server.access.store import workspaces as workspace_store
from modelry_server.access.store.bindings import Visible, Wanted
from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access, Place, Within, WorkspaceNotFound
from modelry_server.kernel.authority import Changed
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import FieldInvalid, LimitReached, PermissionMissing
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.requests.fields import Fields, shown
from modelry_server.kernel.requests.idempotency import Request, Requests
from modelry_server.kernel.requests.paging import Found, SortValue
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import Transaction
from modelry_server.permissions import Permission

MOST_OF_ONE = 200
"""The most bindings of one principal or group in a workspace. All of them are looked at when it calls."""
MOST = 5_000
"""The most bindings in a workspace."""

_WORKSPACE_LENGTH = 63
_SEEING = (Permission.BINDINGS_READ, Permission.BINDINGS_WRITE)


@dataclass(frozen=True, slots=True)
class Draft:
    """A binding to be made; without a subject if the request names none."""

    role: str
    subject: Member | None
    place: Place


class Bindings:
    """Binds roles, lists bindings and removes them."""

    def __init__(self, db: Database, requests: Requests, access: Access, clock: Clock) -> None:
        self._db = db
        self._requests = requests
        self._access = access
        self._clock = clock

    def create(self, draft: Draft, request: Request) -> RoleBinding:
        """Binds a role.

        Raises WorkspaceNotFound, PermissionMissing, FieldInvalid, RoleNotFound, PrincipalNotFound, PrincipalDisabled,
        GroupNotFound, GrantTooWide, RoleBindingExists, LimitReached.
        """
        self._access.require(draft.place)
        with Fields() as fields:
            roles.judge_name(fields, "role", draft.role)
            _judge_subject(fields, draft.subject, required=True)
            _judge_place(fields, draft.place)
            fields.request_id(request.request_id)
        assert draft.subject is not None
        me, now = caller.current().identity, self._clock.now()
        binding = RoleBinding(new_id(), draft.role, draft.subject, draft.place, me.principal_id if me else "", now)

        def make() -> tuple[str, RoleBinding] | None:
            role = roles.find(tx, draft.role)
            _require_workspace(tx, draft.place)
            _require_subject(tx, binding.subject)
            _require_meaning(role, draft.place)
            width.require(self._access, draft.place, role.permissions)
            if not store.add(tx, binding):
                return None
            _require_below_limits(tx, binding)
            journal.write(tx, _change("role_binding.created", binding, after=_content(binding)), now=now)
            return binding.binding_id, binding

        def refuse() -> RoleBinding | None:
            if there := store.alike(tx, binding):
                raise RoleBindingExists(there.binding_id)
            return None

        with self._db.write() as tx:
            journal.begin(tx)
            return self._requests.once(tx, request, find=lambda known: _found(tx, known), make=make, existing=refuse)

    def get(self, binding_id: str) -> RoleBinding:
        """The binding with this id, if the caller may read the members of its place.

        Raises FieldInvalid, RoleBindingNotFound.
        """
        with Fields() as fields:
            fields.id("binding_id", binding_id)
        with self._db.read() as tx:
            binding = store.find(tx, binding_id)
        if not self._access.allows(binding.place if binding else None) or binding is None:
            raise RoleBindingNotFound(binding_id)
        return binding

    def page(
        self,
        place: Place,
        subject: Member | None,
        role: str = "",
        *,
        after: tuple[SortValue, ...] | None,
        limit: int,
    ) -> Sequence[Found[RoleBinding]]:
        """At most `limit` bindings, the oldest first, of those whose places show their members to the caller.

        All at a place and at what lies in it; with the installation as the place: of all workspaces. Raises
        WorkspaceNotFound, PermissionMissing, FieldInvalid, RoleNotFound.
        """
        visible = self._visible(place)
        with Fields() as fields:
            _judge_place(fields, place)
            _judge_subject(fields, subject)
            if role:
                roles.judge_name(fields, "role", role)
        wanted = Wanted(None if place == INSTALLATION else place, subject, role)
        with self._db.read() as tx:
            _require_workspace(tx, place)
            if role:  # a wrong name must not look like a role that nobody has
                roles.find(tx, role)
            found = store.page(tx, visible, wanted, str(after[0]) if after else "", limit)
        return [Found(each, (each.binding_id,)) for each in found]

    def delete(self, binding_id: str) -> None:
        """Removes a binding.

        Raises FieldInvalid, RoleBindingNotFound, PermissionMissing, GrantTooWide, LastAdministrator.
        """
        with Fields() as fields:
            fields.id("binding_id", binding_id)

        def unseen() -> RoleBindingNotFound:
            return RoleBindingNotFound(binding_id)

        with self._db.read() as tx:
            binding = _found(tx, binding_id)
        if not any(self._access.allows(binding.place, permission=each) for each in _SEEING):
            raise unseen()
        self._access.require(binding.place, unseen=unseen)
        with self._db.write() as tx:
            journal.begin(tx)
            with suppress(RoleNotFound):  # a role that is gone gives nothing
                width.require(self._access, binding.place, roles.find(tx, binding.role).permissions)
            is_admin = binding.role == administrators.ROLE and binding.place == INSTALLATION
            with administrators.keeping_one(tx) if is_admin else nullcontext():
                if not store.delete(tx, binding_id):
                    raise unseen()
            change = _change("role_binding.deleted", binding, before=_content(binding))
            journal.write(tx, change, now=self._clock.now())

    def _visible(self, place: Place) -> Visible:
        """The places of which the caller may see the members. Raises WorkspaceNotFound, PermissionMissing."""
        if place.experiment_id or place.model_id:
            self._access.require(place)
            return Visible(everything=True)
        if place.workspace:
            return Visible(parts={place.workspace: self._access.within(place.workspace)})
        if self._access.allows(INSTALLATION):
            return Visible(everything=True)
        if not self._access.anywhere(caller.current().permission):
            self._access.require(INSTALLATION)
        seen = self._access.workspaces()
        if seen is None:  # a role for the whole installation that does not show members
            with self._db.read() as tx:
                seen = frozenset(store.workspace_names(tx))
        return Visible(parts={name: within for name in sorted(seen) if (within := self._within(name)) is not None})

    def _within(self, workspace: str) -> Within | None:
        with suppress(PermissionMissing, WorkspaceNotFound):
            return self._access.within(workspace)
        return None


def _found(tx: Transaction, binding_id: str) -> RoleBinding:
    binding = store.find(tx, binding_id)
    if binding is None:
        raise RoleBindingNotFound(binding_id)
    return binding


def _require_workspace(tx: Transaction, place: Place) -> None:
    if place.workspace and workspace_store.find(tx, place.workspace) is None:
        raise WorkspaceNotFound(place.workspace)


def _require_subject(tx: Transaction, subject: Member) -> None:
    if subject.is_group:
        if not members.existing_groups(tx, [subject.name]):
            raise GroupNotFound(subject.name)
        return
    is_disabled = members.is_disabled(tx, subject.name)
    if is_disabled is None:
        raise PrincipalNotFound(subject.name)
    if is_disabled:
        raise PrincipalDisabled(subject.name)


def _require_meaning(role: Role, place: Place) -> None:
    """Raises FieldInvalid if nothing that the role allows means something at the place."""
    if not grants.at(place, frozenset(role.permissions)):
        told = ", ".join(role.permissions)
        fault = f"{shown(role.name)} has only permissions for the whole installation ({told}); bind it everywhere"
        raise FieldInvalid({"place": fault})


def _require_below_limits(tx: Transaction, binding: RoleBinding) -> None:
    """Raises LimitReached if a new binding, which is written already, is one too many in its workspace."""
    workspace = binding.place.workspace
    if not workspace:
        return
    if (of_one := store.count(tx, workspace, binding.subject)) > MOST_OF_ONE:
        what = f"roles of {'this group' if binding.subject.is_group else 'this principal'} in the workspace"
        raise LimitReached("place", f"{what} (bind one for the whole workspace instead)", of_one, MOST_OF_ONE)
    if (total := store.count(tx, workspace)) > MOST:
        raise LimitReached("place", "role bindings in the workspace (bind roles to groups instead)", total, MOST)


def _judge_subject(fields: Fields, subject: Member | None, *, required: bool = False) -> None:
    if subject is None:
        if required:
            fields.refuse("principal_id", "is required, or group")
    elif subject.is_group:
        fields.key("group", subject.name)
    else:
        fields.id("principal_id", subject.name)


def _judge_place(fields: Fields, place: Place) -> None:
    part = "experiment_id" if place.experiment_id else "model_id"
    fields.text("place.workspace", place.workspace, longest=_WORKSPACE_LENGTH)
    if place.experiment_id and place.model_id:
        fields.refuse("place", "names an experiment and a model; a role is bound at one of them")
    elif (place.experiment_id or place.model_id) and not place.workspace:
        fields.refuse("place.workspace", f"is required with {part}")
    if place.experiment_id:
        fields.number_id("place.experiment_id", place.experiment_id)
    if place.model_id:
        fields.id("place.model_id", place.model_id)


def _change(
    action: str, binding: RoleBinding, *, before: dict[str, Value] | None = None, after: dict[str, Value] | None = None
) -> Change:
    subject = binding.subject
    return Change(
        action,
        "role_binding",
        binding.binding_id,
        binding.role,
        binding.place.workspace,
        before=before or {},
        after=after or {},
        forget=Changed(group=subject.name) if subject.is_group else Changed(principal_id=subject.name),
    )


def _content(binding: RoleBinding) -> dict[str, Value]:
    content = {
        "role": binding.role,
        "group" if binding.subject.is_group else "principal_id": binding.subject.name,
        "workspace": binding.place.workspace,
        "experiment_id": binding.place.experiment_id,
        "model_id": binding.place.model_id,
    }
    return {name: value for name, value in content.items() if value}
