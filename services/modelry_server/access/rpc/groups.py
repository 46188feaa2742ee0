"""GroupService: contract in, contract out."""

from collections.abc import Iterable
from functools import partial

import grpc

from modelry.api.access import v1 as api
from modelry_server.access.domain.groups import CHANGEABLE, Groups
from modelry_server.access.entities import Group, Member
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.updates import changes


class GroupService(api.GroupServiceServicer):
    """Answers calls about groups."""

    def __init__(self, groups: Groups, pager: Pager) -> None:
        self._groups = groups
        self._pager = pager

    def CreateGroup(self, request: api.CreateGroupRequest, context: grpc.ServicerContext) -> api.CreateGroupResponse:
        """Creates a group."""
        group = self._groups.create(request.name, request.description, idempotency.request(request))
        return api.CreateGroupResponse(group=_message(group))

    def GetGroup(self, request: api.GetGroupRequest, context: grpc.ServicerContext) -> api.GetGroupResponse:
        """Reads a group."""
        return api.GetGroupResponse(group=_message(self._groups.get(request.name)))

    def ListGroups(self, request: api.ListGroupsRequest, context: grpc.ServicerContext) -> api.ListGroupsResponse:
        """Lists groups."""
        search = partial(self._groups.page, _member_of(request))
        groups, next_page_token = self._pager.answer(request, search, _message)
        return api.ListGroupsResponse(groups=groups, next_page_token=next_page_token)

    def UpdateGroup(self, request: api.UpdateGroupRequest, context: grpc.ServicerContext) -> api.UpdateGroupResponse:
        """Changes a group."""
        given = request.group
        group = self._groups.update(given.name, given.etag, lambda: changes(given, request.update_mask, CHANGEABLE))
        return api.UpdateGroupResponse(group=_message(group))

    def DeleteGroup(self, request: api.DeleteGroupRequest, context: grpc.ServicerContext) -> api.DeleteGroupResponse:
        """Deletes a group."""
        self._groups.delete(request.name)
        return api.DeleteGroupResponse()

    def AddGroupMembers(
        self, request: api.AddGroupMembersRequest, context: grpc.ServicerContext
    ) -> api.AddGroupMembersResponse:
        """Adds members."""
        group = self._groups.add_members(request.name, _members(request.members))
        return api.AddGroupMembersResponse(group=_message(group))

    def RemoveGroupMembers(
        self, request: api.RemoveGroupMembersRequest, context: grpc.ServicerContext
    ) -> api.RemoveGroupMembersResponse:
        """Removes members."""
        group = self._groups.remove_members(request.name, _members(request.members))
        return api.RemoveGroupMembersResponse(group=_message(group))

    def ListGroupMembers(
        self, request: api.ListGroupMembersRequest, context: grpc.ServicerContext
    ) -> api.ListGroupMembersResponse:
        """Lists members."""
        search = partial(self._groups.member_page, request.name)
        members, next_page_token = self._pager.answer(request, search, _member)
        return api.ListGroupMembersResponse(members=members, next_page_token=next_page_token)


def _members(given: Iterable[api.GroupMember]) -> list[Member | None]:
    return [_member_of(each) for each in given]


def _member_of(given: api.GroupMember | api.ListGroupsRequest) -> Member | None:
    """The member that a message names; None if it names nobody."""
    kind = given.WhichOneof("member")
    return Member(given.group if kind == "group" else given.principal_id, kind == "group") if kind else None


def _member(member: Member) -> api.GroupMember:
    return api.GroupMember(group=member.name) if member.is_group else api.GroupMember(principal_id=member.name)


def _message(group: Group) -> api.Group:
    message = api.Group(name=group.name, description=group.description, etag=group.etag)
    message.create_time.FromMilliseconds(group.create_time)
    message.update_time.FromMilliseconds(group.update_time)
    return message
