"""Groups of people and service accounts, and of other groups."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.people import principal_id_of
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access
from modelry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it was when it was read. The etag also changes with the list of its members."""

    name: str
    description: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a group: a principal by its id, or another group by its name. The other field is empty."""

    principal_id: str
    group: str


@arguments.texts_checked
class Groups:
    """Creates, reads, lists, changes and deletes groups, and says who is in them."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection

    def create(self, name: str, *, description: str = "") -> Group:
        """Creates a group. Tokens of an OIDC issuer that name this group put their principal into it.

        Raises GroupExists and FieldInvalid.
        """
        request = access.CreateGroupRequest(name=name, description=description, request_id=uuid.uuid4().hex)
        return group_of(self._connection.call(access.rpcs.CREATE_GROUP, request).group)

    def get(self, name: str) -> Group:
        """Reads a group. Raises GroupNotFound."""
        return group_of(self._connection.call(access.rpcs.GET_GROUP, access.GetGroupRequest(name=name)).group)

    def list(
        self, *, principal: str = "", group: str = "", max_results: int | None = None, page_size: int = 100
    ) -> LazyList[Group]:
        """Lists groups, by name. With a principal or a group only those that have it as a member themselves.

        Who may not read all groups gets those that it is in. Raises PrincipalNotFound, GroupNotFound, and
        InvalidArgument if a principal and a group are named.
        """
        if principal and group:
            raise InvalidArgument("groups are listed of a principal or of a group; give one of them")
        request = access.ListGroupsRequest()
        if principal:
            request.principal_id = principal_id_of(self._connection, "principal", principal)
        elif group:
            request.group = group

        def fetch(size: int, token: str) -> tuple[list[Group], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(access.rpcs.LIST_GROUPS, request)
            return [group_of(message) for message in page.groups], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def update(self, name: str, *, description: str, etag: str = "") -> Group:
        """Changes the description.

        With an `etag` it raises EtagMismatch if somebody else has changed the group. Raises GroupNotFound.
        """
        changed = access.Group(name=name, description=description, etag=etag)
        request = access.UpdateGroupRequest(group=changed)
        request.update_mask.paths.append("description")
        return group_of(self._connection.call(access.rpcs.UPDATE_GROUP, request).group)

    def delete(self, name: str) -> None:
        """Deletes a group, with the bindings of its roles. Raises GroupNotFound and LastAdministrator."""
        self._connection.call(access.rpcs.DELETE_GROUP, access.DeleteGroupRequest(name=name))

    def add(self, name: str, principals: str | Iterable[str] = (), *, groups: str | Iterable[str] = ()) -> Group:
        """Adds principals, by their ids or names, and other groups: all or none. Members that it has already stay.

        Raises GroupNotFound, PrincipalNotFound, GroupCycle, LimitReached, GrantTooWide if the group may do what the
        caller may not, and InvalidArgument if nobody is named.
        """
        request = access.AddGroupMembersRequest(name=name, members=self._members(principals, groups))
        return group_of(self._connection.call(access.rpcs.ADD_GROUP_MEMBERS, request).group)

    def remove(self, name: str, principals: str | Iterable[str] = (), *, groups: str | Iterable[str] = ()) -> Group:
        """Removes principals, by their ids or names, and other groups: all or none. Who is not in it is no error.

        Raises GroupNotFound, PrincipalNotFound, LastAdministrator, and InvalidArgument if nobody is named.
        """
        request = access.RemoveGroupMembersRequest(name=name, members=self._members(principals, groups))
        return group_of(self._connection.call(access.rpcs.REMOVE_GROUP_MEMBERS, request).group)

    def members(self, name: str, *, max_results: int | None = None, page_size: int = 100) -> LazyList[GroupMember]:
        """Lists the members of a group: groups by name, then principals by id. Raises GroupNotFound when it is read."""

        def fetch(size: int, token: str) -> tuple[list[GroupMember], str]:
            request = access.ListGroupMembersRequest(name=name, page_size=size, page_token=token)
            page = self._connection.call(access.rpcs.LIST_GROUP_MEMBERS, request)
            return [GroupMember(each.principal_id, each.group) for each in page.members], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def _members(self, principals: str | Iterable[str], groups: str | Iterable[str]) -> Iterable[access.GroupMember]:
        people = [
            access.GroupMember(principal_id=principal_id_of(self._connection, "principals", each))
            for each in arguments.listed("principals", principals)
        ]
        members = [access.GroupMember(group=each) for each in arguments.listed("groups", groups)] + people
        if not members:
            raise arguments.refused("principals", [], "at least one principal, or give groups")
        return members


def group_of(message: access.Group) -> Group:
    """The group that a message holds."""
    return Group(
        name=message.name,
        description=message.description,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
