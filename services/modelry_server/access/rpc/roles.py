"""RoleService: contract in, contract out."""

import grpc
from google.protobuf.unknown_fields import UnknownFieldSet

from modelry.api.access import v1 as api
from modelry_server.access.domain.bindings import Bindings, Draft
from modelry_server.access.domain.roles import CHANGEABLE, Roles
from modelry_server.access.entities import Member, Role, RoleBinding
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Found, Pager, SortValue
from modelry_server.kernel.requests.updates import changes


class RoleService(api.RoleServiceServicer):
    """Answers calls about roles and who has them."""

    def __init__(self, roles: Roles, bindings: Bindings, pager: Pager) -> None:
        self._roles = roles
        self._bindings = bindings
        self._pager = pager

    def CreateRole(self, request: api.CreateRoleRequest, context: grpc.ServicerContext) -> api.CreateRoleResponse:
        """Creates a role."""
        role = self._roles.create(
            request.name, request.description, list(request.permissions), idempotency.request(request)
        )
        return api.CreateRoleResponse(role=_message(role))

    def GetRole(self, request: api.GetRoleRequest, context: grpc.ServicerContext) -> api.GetRoleResponse:
        """Reads a role."""
        return api.GetRoleResponse(role=_message(self._roles.get(request.name)))

    def ListRoles(self, request: api.ListRolesRequest, context: grpc.ServicerContext) -> api.ListRolesResponse:
        """Lists roles."""
        roles, next_page_token = self._pager.answer(request, self._roles.page, _message)
        return api.ListRolesResponse(roles=roles, next_page_token=next_page_token)

    def UpdateRole(self, request: api.UpdateRoleRequest, context: grpc.ServicerContext) -> api.UpdateRoleResponse:
        """Changes a role."""
        given = request.role
        role = self._roles.update(given.name, given.etag, lambda: changes(given, request.update_mask, CHANGEABLE))
        return api.UpdateRoleResponse(role=_message(role))

    def DeleteRole(self, request: api.DeleteRoleRequest, context: grpc.ServicerContext) -> api.DeleteRoleResponse:
        """Deletes a role."""
        self._roles.delete(request.name)
        return api.DeleteRoleResponse()

    def CreateRoleBinding(
        self, request: api.CreateRoleBindingRequest, context: grpc.ServicerContext
    ) -> api.CreateRoleBindingResponse:
        """Binds a role."""
        subject = None
        if request.WhichOneof("subject"):
            is_group = request.WhichOneof("subject") == "group"
            subject = Member(request.group if is_group else request.principal_id, is_group)
        draft = Draft(request.role, subject, _place(request.place, is_required=True))
        binding = self._bindings.create(draft, idempotency.request(request))
        return api.CreateRoleBindingResponse(role_binding=_binding(binding))

    def GetRoleBinding(
        self, request: api.GetRoleBindingRequest, context: grpc.ServicerContext
    ) -> api.GetRoleBindingResponse:
        """Reads a binding."""
        return api.GetRoleBindingResponse(role_binding=_binding(self._bindings.get(request.binding_id)))

    def ListRoleBindings(
        self, request: api.ListRoleBindingsRequest, context: grpc.ServicerContext
    ) -> api.ListRoleBindingsResponse:
        """Lists bindings."""
        if request.principal_id and request.group:
            raise FieldInvalid({"group": "can't be set together with principal_id"})
        name = request.group or request.principal_id
        subject = Member(name, is_group=bool(request.group)) if name else None

        def search(*, after: tuple[SortValue, ...] | None, limit: int) -> list[Found[RoleBinding]]:
            place = _place(request.place, is_required=False)
            return list(self._bindings.page(place, subject, request.role, after=after, limit=limit))

        bindings, next_page_token = self._pager.answer(request, search, _binding)
        return api.ListRoleBindingsResponse(role_bindings=bindings, next_page_token=next_page_token)

    def DeleteRoleBinding(
        self, request: api.DeleteRoleBindingRequest, context: grpc.ServicerContext
    ) -> api.DeleteRoleBindingResponse:
        """Removes a binding."""
        self._bindings.delete(request.binding_id)
        return api.DeleteRoleBindingResponse()


def place_message(place: Place) -> api.Place:
    """A place as the contract has it."""
    return api.Place(
        workspace=place.workspace,
        experiment_id=place.experiment_id,
        model_id=place.model_id,
        everywhere=place == INSTALLATION,
    )


def _place(place: api.Place, *, is_required: bool) -> Place:
    """The place that a request names. Raises FieldInvalid if it is not one that this server knows.

    A part of a later release would be lost here, and a role be bound to all that is around it.
    """
    found = Place(place.workspace, place.experiment_id, place.model_id)
    with Fields() as fields:
        if len(UnknownFieldSet(place)):
            fields.refuse("place", "has a field that this server does not know, so it may be smaller than it looks")
        elif place.everywhere and found != INSTALLATION:
            fields.refuse("place.everywhere", "is the whole installation, so it goes with no other field")
        elif is_required and not place.everywhere and found == INSTALLATION:
            fields.refuse("place", "is required: name a workspace, or set `everywhere` for the whole installation")
    return found


def _message(role: Role) -> api.Role:
    message = api.Role(
        name=role.name, description=role.description, permissions=role.permissions, builtin=role.is_builtin
    )
    message.etag = role.etag
    if not role.is_builtin:
        message.create_time.FromMilliseconds(role.create_time)
        message.update_time.FromMilliseconds(role.update_time)
    return message


def _binding(binding: RoleBinding) -> api.RoleBinding:
    message = api.RoleBinding(
        binding_id=binding.binding_id,
        role=binding.role,
        place=place_message(binding.place),
        creator_id=binding.creator_id,
    )
    if binding.subject.is_group:
        message.group = binding.subject.name
    else:
        message.principal_id = binding.subject.name
    message.create_time.FromMilliseconds(binding.create_time)
    return message
