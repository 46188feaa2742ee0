"""Groups as the contract has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry_server.access.errors import GroupNotFound
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.sql.database import Database
from tests.server.access.acting import Rules, calling

CONTEXT: Any = None  # answers need nothing of the call


@pytest.fixture
def rules(db: Database) -> Rules:
    """Groups at work."""
    return Rules(db)


@pytest.fixture(autouse=True)
def ann(rules: Rules) -> Iterator[str]:
    """An administrator, who calls."""
    ann = rules.a_principal("admin")
    with calling(ann, "GroupService.CreateGroup"):
        yield ann


def test_a_group_is_made_changed_and_deleted(rules: Rules) -> None:
    service = rules.group_service
    made = service.CreateGroup(api.CreateGroupRequest(name="team", request_id="1"), CONTEXT).group
    given = api.Group(name="team", description="Words.", etag=made.etag)
    changed = service.UpdateGroup(api.UpdateGroupRequest(group=given), CONTEXT).group

    assert made.create_time.ToMilliseconds() == made.update_time.ToMilliseconds() == rules.clock.now()
    assert changed.description == "Words."
    assert service.GetGroup(api.GetGroupRequest(name="team"), CONTEXT).group == changed
    assert list(service.ListGroups(api.ListGroupsRequest(), CONTEXT).groups) == [changed]
    service.DeleteGroup(api.DeleteGroupRequest(name="team"), CONTEXT)
    with pytest.raises(GroupNotFound):
        service.GetGroup(api.GetGroupRequest(name="team"), CONTEXT)


def test_members_join_are_listed_page_by_page_and_leave(rules: Rules, ann: str) -> None:
    service = rules.group_service
    rules.a_group("team")
    rules.a_group("inner")
    members = [api.GroupMember(group="inner"), api.GroupMember(principal_id=ann)]

    added = service.AddGroupMembers(api.AddGroupMembersRequest(name="team", members=members[::-1]), CONTEXT).group
    first = service.ListGroupMembers(api.ListGroupMembersRequest(name="team", page_size=1), CONTEXT)
    request = api.ListGroupMembersRequest(name="team", page_size=1, page_token=first.next_page_token)
    second = service.ListGroupMembers(request, CONTEXT)
    removed = service.RemoveGroupMembers(api.RemoveGroupMembersRequest(name="team", members=members), CONTEXT).group

    assert [*first.members, *second.members] == members
    assert second.next_page_token == ""
    assert added.etag != removed.etag
    assert not service.ListGroupMembers(api.ListGroupMembersRequest(name="team"), CONTEXT).members


def test_a_member_that_names_nobody_is_refused(rules: Rules) -> None:
    rules.a_group("team")

    request = api.AddGroupMembersRequest(name="team", members=[api.GroupMember()])
    with pytest.raises(FieldInvalid) as refusal:
        rules.group_service.AddGroupMembers(request, CONTEXT)

    assert list(refusal.value.violations) == ["members[0]"]
