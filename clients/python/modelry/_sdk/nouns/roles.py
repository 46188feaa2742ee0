"""Roles: sets of permissions under a name, and who has them where."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.people import principal_id_of
from modelry._sdk.nouns.places import Place, Places, Tracked, place_of
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access
from modelry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Role:
    """A role as it was when it was read. One that is `builtin` is part of Modelry and never changes."""

    name: str
    description: str
    permissions: tuple[str, ...]
    builtin: bool
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role that a principal or a group has at a place. Of `principal_id` and `group` one is empty."""

    binding_id: str
    role: str
    principal_id: str
    group: str
    place: Place
    creator_id: str
    create_time: datetime | None


@arguments.texts_checked
class Roles:
    """Creates, reads, lists, changes and deletes roles, and binds them to principals and groups.

    A principal is named by its id or its name, an experiment too, a model by its name. The place of a role is the
    workspace of the client, unless it is named; it is the whole installation only with `everywhere=True`.
    """

    def __init__(self, connection: Connection, workspace: str, inside: Tracked) -> None:
        self._connection = connection
        self._places = Places(workspace, inside)

    def create(self, name: str, permissions: str | Iterable[str], *, description: str = "") -> Role:
        """Creates a role with permissions such as `runs.read`: see docs/access.md for all.

        Raises RoleExists, FieldInvalid, and GrantTooWide for a permission that the caller does not have.
        """
        request = access.CreateRoleRequest(
            name=name,
            description=description,
            permissions=arguments.listed("permissions", permissions),
            request_id=uuid.uuid4().hex,
        )
        return role_of(self._connection.call(access.rpcs.CREATE_ROLE, request).role)

    def get(self, name: str) -> Role:
        """Reads a role. Raises RoleNotFound."""
        return role_of(self._connection.call(access.rpcs.GET_ROLE, access.GetRoleRequest(name=name)).role)

    def list(self, *, max_results: int | None = None, page_size: int = 100) -> LazyList[Role]:
        """Lists roles: those that are part of Modelry, then others by name."""

        def fetch(size: int, token: str) -> tuple[list[Role], str]:
            page = self._connection.call(
                access.rpcs.LIST_ROLES, access.ListRolesRequest(page_size=size, page_token=token)
            )
            return [role_of(message) for message in page.roles], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def update(
        self,
        name: str,
        *,
        permissions: str | Iterable[str] | None = None,
        description: str | None = None,
        etag: str = "",
    ) -> Role:
        """Changes the description, or replaces all permissions, for all who have the role.

        With an `etag` it raises EtagMismatch if somebody else has changed the role. Raises RoleNotFound, RoleBuiltin,
        FieldInvalid and GrantTooWide.
        """
        request = access.UpdateRoleRequest(role=access.Role(name=name, etag=etag))
        if permissions is not None:
            request.role.permissions.extend(arguments.listed("permissions", permissions))
            request.update_mask.paths.append("permissions")
        if description is not None:
            request.role.description = description
            request.update_mask.paths.append("description")
        if not request.update_mask.paths:
            return self.get(name)
        return role_of(self._connection.call(access.rpcs.UPDATE_ROLE, request).role)

    def delete(self, name: str) -> None:
        """Deletes a role that nobody has. Raises RoleNotFound, RoleBuiltin and RoleInUse."""
        self._connection.call(access.rpcs.DELETE_ROLE, access.DeleteRoleRequest(name=name))

    def place(
        self,
        *,
        workspace: str | None = None,
        experiment: str | int = "",
        model: str = "",
        everywhere: bool = False,
    ) -> Place:
        """The place that such arguments name, as `bind` takes them.

        Raises ExperimentNotFound, ModelNotFound, and InvalidArgument if two places are named.
        """
        return place_of(
            self._places.named(workspace=workspace, experiment=experiment, model=model, everywhere=everywhere)
        )

    def bind(
        self,
        role: str,
        *,
        principal: str = "",
        group: str = "",
        workspace: str | None = None,
        experiment: str | int = "",
        model: str = "",
        everywhere: bool = False,
    ) -> RoleBinding:
        """Gives a role to a principal or to a group, at a place and at all that lies there.

        Raises RoleBindingExists, RoleNotFound, PrincipalNotFound, PrincipalDisabled, GroupNotFound, WorkspaceNotFound,
        ExperimentNotFound, ExperimentDeleted, ModelNotFound, LimitReached, GrantTooWide if the caller may not do there
        what the role allows, and InvalidArgument if not exactly one of `principal` and `group`, or two places are
        named.
        """
        if bool(principal) == bool(group):
            raise InvalidArgument("a role is bound to a principal or to a group; give one of them")
        request = access.CreateRoleBindingRequest(role=role, request_id=uuid.uuid4().hex)
        request.place.CopyFrom(
            self._places.named(
                workspace=workspace, experiment=experiment, model=model, everywhere=everywhere, is_new=True
            )
        )
        if group:
            request.group = group
        else:
            request.principal_id = principal_id_of(self._connection, "principal", principal)
        return binding_of(self._connection.call(access.rpcs.CREATE_ROLE_BINDING, request).role_binding)

    def unbind(self, binding_id: str) -> None:
        """Takes away the role that a binding gives: within five seconds it holds nowhere any more.

        Raises RoleBindingNotFound, GrantTooWide, and LastAdministrator if nobody would be left who administers the
        installation.
        """
        request = access.DeleteRoleBindingRequest(binding_id=binding_id)
        self._connection.call(access.rpcs.DELETE_ROLE_BINDING, request)

    def binding(self, binding_id: str) -> RoleBinding:
        """Reads a binding. Raises RoleBindingNotFound, also if the caller may not read the members of its place."""
        request = access.GetRoleBindingRequest(binding_id=binding_id)
        return binding_of(self._connection.call(access.rpcs.GET_ROLE_BINDING, request).role_binding)

    def bindings(
        self,
        *,
        role: str = "",
        principal: str = "",
        group: str = "",
        workspace: str | None = None,
        experiment: str | int = "",
        model: str = "",
        everywhere: bool = False,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[RoleBinding]:
        """Lists who has which role at a place and at what lies in it, the oldest first.

        With a role only those of this role. With a principal or a group only its own bindings: those of its groups are
        not among them, and neither are, at a workspace, those of the whole installation. Raises WorkspaceNotFound,
        RoleNotFound, PrincipalNotFound, ExperimentNotFound, ModelNotFound, and InvalidArgument if two places or a
        principal and a group are named.
        """
        if principal and group:
            raise InvalidArgument("bindings are listed of a principal or of a group; give one of them")
        request = access.ListRoleBindingsRequest(group=group, role=role)
        request.place.CopyFrom(
            self._places.named(workspace=workspace, experiment=experiment, model=model, everywhere=everywhere)
        )
        if principal:
            request.principal_id = principal_id_of(self._connection, "principal", principal)

        def fetch(size: int, token: str) -> tuple[Iterable[RoleBinding], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(access.rpcs.LIST_ROLE_BINDINGS, request)
            return map(binding_of, page.role_bindings), page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)


def role_of(message: access.Role) -> Role:
    """The role that a message holds."""
    return Role(
        name=message.name,
        description=message.description,
        permissions=tuple(message.permissions),
        builtin=message.builtin,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )


def binding_of(message: access.RoleBinding) -> RoleBinding:
    """The binding that a message holds."""
    return RoleBinding(
        binding_id=message.binding_id,
        role=message.role,
        principal_id=message.principal_id,
        group=message.group,
        place=place_of(message.place),
        creator_id=message.creator_id,
        create_time=time_of(message, "create_time"),
    )
