"""Groups: who is in them, directly and through others, and that no group is in itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.access.conftest import World, masked, unique
from tests.parts.eventually import at_once, of
from tests.parts.refusal import Refusal


def a_person(principal_id: str) -> api.GroupMember:
    return api.GroupMember(principal_id=principal_id)


def a_group(name: str) -> api.GroupMember:
    return api.GroupMember(group=name)


def test_a_group_that_was_made_is_found_by_its_name(world: World) -> None:
    made = world.ask(api.CreateGroupRequest(name=unique("Risk / Łódź"), description="The team.\nSecond line.")).group

    assert world.ask(api.GetGroupRequest(name=made.name)).group == made
    assert made.description == "The team.\nSecond line."
    assert made.create_time == made.update_time
    assert made.etag


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 251}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"description": "x" * 5001}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_a_group_can_not_be_is_refused_by_its_path(world: World, fields: dict[str, str], path: str) -> None:
    refusal = world.refused(api.CreateGroupRequest(**{"name": unique("group"), **fields}))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])


def test_a_taken_name_is_refused(world: World) -> None:
    name = world.group()

    refusal = world.refused(api.CreateGroupRequest(name=name))

    assert (refusal.code, refusal.reason, refusal.metadata) == ("ALREADY_EXISTS", "GROUP_EXISTS", {"group": name})


def test_a_repeated_request_answers_with_the_group_until_it_is_deleted(world: World) -> None:
    request = api.CreateGroupRequest(name=unique("group"), request_id=new_id())
    made = world.ask(request).group

    assert world.ask(request).group == made
    other = api.CreateGroupRequest(name=unique("group"), request_id=request.request_id)
    assert world.refused(other).reason == "REQUEST_ID_REUSED"
    world.ask(api.DeleteGroupRequest(name=made.name))
    assert world.refused(request).reason == "GROUP_NOT_FOUND"


def test_a_group_that_is_not_there_is_named(world: World) -> None:
    name = unique("nowhere")
    requests: list[Any] = [
        api.GetGroupRequest(name=name),
        api.DeleteGroupRequest(name=name),
        api.UpdateGroupRequest(group=api.Group(name=name, description="x")),
        api.AddGroupMembersRequest(name=name, members=[a_person(world.admin.principal_id)]),
        api.RemoveGroupMembersRequest(name=name, members=[a_person(world.admin.principal_id)]),
        api.ListGroupMembersRequest(name=name),
    ]

    for request in requests:
        refusal = world.refused(request)
        assert (refusal.code, refusal.reason, refusal.resource) == ("NOT_FOUND", "GROUP_NOT_FOUND", ("group", name))


def test_a_description_changes_and_an_old_etag_is_refused(world: World) -> None:
    made = world.ask(api.GetGroupRequest(name=world.group())).group
    given = api.Group(name=made.name, description="Words.", etag=made.etag)

    changed = world.ask(api.UpdateGroupRequest(group=given)).group

    assert (changed.description, changed.etag != made.etag) == ("Words.", True)
    refusal = world.refused(api.UpdateGroupRequest(group=given))
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", changed.etag)
    cleared = world.ask(masked(api.UpdateGroupRequest(group=api.Group(name=made.name)), "*")).group
    assert cleared.description == ""
    renamed = masked(api.UpdateGroupRequest(group=api.Group(name=made.name)), "name")
    assert list(world.refused(renamed).violations) == ["update_mask"]
    long = api.UpdateGroupRequest(group=api.Group(name=made.name, description="x" * 5001))
    assert list(world.refused(long).violations) == ["group.description"]


def test_groups_are_listed_by_name_page_by_page(world: World) -> None:
    made = sorted(world.group() for _ in range(5))

    names = [each.name for each in world.pages(api.ListGroupsRequest(page_size=2), "groups")]

    assert names == sorted(set(names))
    assert set(made) <= set(names)
    assert world.refused(api.ListGroupsRequest(page_size=-1)).reason == "FIELD_INVALID"
    assert world.refused(api.ListGroupsRequest(page_token="x")).reason == "PAGE_TOKEN_INVALID"


def test_others_see_the_groups_that_they_are_in_and_no_others(world: World) -> None:
    me = world.locked.somebody("reader")
    outer = world.group(groups=[inner := world.group(me.principal_id)])
    stranger = world.group()

    assert [each.name for each in world.ask(api.ListGroupsRequest(), me).groups] == sorted([inner, outer])
    assert world.ask(api.ListGroupMembersRequest(name=outer), me).members == [a_group(inner)]
    for request in (api.GetGroupRequest(name=stranger), api.ListGroupMembersRequest(name=stranger)):
        assert world.refused(request, me).reason == "GROUP_NOT_FOUND"


def test_groups_are_listed_of_a_member(world: World) -> None:
    me = world.principal().principal_id
    inner = world.group(me)
    direct, outer = world.group(me), world.group(groups=[inner])
    world.group(world.principal().principal_id)

    def names(**member: str) -> list[str]:
        return [each.name for each in world.pages(api.ListGroupsRequest(page_size=1, **member), "groups")]

    assert names(principal_id=me) == sorted([inner, direct])
    assert names(group=inner) == [outer]
    assert names(group=outer) == []


def test_the_groups_of_who_is_not_there_are_refused(world: World) -> None:
    for by in (world.admin, world.locked.somebody()):
        unknown = world.refused(api.ListGroupsRequest(principal_id=new_id()), by)
        nowhere = world.refused(api.ListGroupsRequest(group=unique("nowhere")), by)
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "PRINCIPAL_NOT_FOUND")
        assert (nowhere.code, nowhere.reason) == ("NOT_FOUND", "GROUP_NOT_FOUND")
    for bad, path in (({"principal_id": "ada"}, "principal_id"), ({"principal_id": ""}, "principal_id")):
        assert list(world.refused(api.ListGroupsRequest(**bad)).violations) == [path]  # type: ignore[arg-type]
    assert list(world.refused(api.ListGroupsRequest(group="")).violations) == ["group"]


def test_a_page_of_one_member_does_not_go_on_with_another(world: World) -> None:
    me, other = (world.principal().principal_id for _ in range(2))
    for _ in range(2):
        world.group(me, other)
    token = world.ask(api.ListGroupsRequest(principal_id=me, page_size=1)).next_page_token

    for member in ({"principal_id": other}, {}):
        request = api.ListGroupsRequest(page_size=1, page_token=token, **member)
        assert world.refused(request).reason == "PAGE_TOKEN_INVALID"


def test_others_list_their_own_groups_by_a_member_and_learn_of_no_others(world: World) -> None:
    me, friend = world.locked.somebody("reader"), world.principal()
    job = world.owned(me)
    inner, hidden = world.group(me.principal_id, friend.principal_id, job), world.group(friend.principal_id, job)
    outer = world.group(groups=[inner])
    world.group(groups=[inner, hidden])

    def names(**member: str) -> list[str]:
        return [each.name for each in world.ask(api.ListGroupsRequest(**member), me).groups]  # type: ignore[arg-type]

    assert names(principal_id=me.principal_id) == names(principal_id=job) == [inner]
    assert outer in names(group=inner)
    hers = world.refused(api.ListGroupsRequest(principal_id=friend.principal_id), me)
    nobody = world.refused(api.ListGroupsRequest(principal_id=(never := new_id())), me)
    assert (hers.code, hers.reason) == (nobody.code, nobody.reason) == ("NOT_FOUND", "PRINCIPAL_NOT_FOUND")
    assert nobody.message == hers.message.replace(friend.principal_id, never)
    assert world.refused(api.ListGroupsRequest(group=hidden), me).reason == "GROUP_NOT_FOUND"


def test_who_may_add_members_somewhere_lists_the_groups_of_anybody(world: World) -> None:
    keeper = world.locked.somebody("admin", api.Place(workspace=world.locked.workspace()))
    friend = world.principal().principal_id
    name = world.group(friend)

    assert [each.name for each in world.ask(api.ListGroupsRequest(principal_id=friend), keeper).groups] == [name]


def test_members_are_listed_groups_by_name_then_principals_by_id(world: World) -> None:
    people = [world.principal().principal_id for _ in range(3)]
    groups = [world.group() for _ in range(2)]
    name = world.group(*people, groups=groups)

    found = world.pages(api.ListGroupMembersRequest(name=name, page_size=2), "members")

    assert found == [*map(a_group, sorted(groups)), *map(a_person, sorted(people))]
    assert world.refused(api.ListGroupMembersRequest(name=name, page_size=-1)).reason == "FIELD_INVALID"
    assert world.refused(api.ListGroupMembersRequest(name=name, page_token="x")).reason == "PAGE_TOKEN_INVALID"


def test_members_that_are_there_already_stay_and_removing_others_is_no_error(world: World) -> None:
    one, two = world.principal().principal_id, world.principal().principal_id
    name = world.group(one)
    before = world.ask(api.GetGroupRequest(name=name)).group

    same = world.ask(api.AddGroupMembersRequest(name=name, members=[a_person(one)])).group
    gone = world.ask(api.RemoveGroupMembersRequest(name=name, members=[a_person(two)])).group
    more = world.ask(api.AddGroupMembersRequest(name=name, members=[a_person(one), a_person(two), a_person(two)])).group

    assert same == gone == before
    assert more.etag != before.etag
    assert len(world.ask(api.ListGroupMembersRequest(name=name)).members) == 2


@pytest.mark.parametrize("kind", [api.AddGroupMembersRequest, api.RemoveGroupMembersRequest])
def test_what_is_no_member_is_refused_by_its_path(world: World, kind: Any) -> None:
    name = world.group()
    given: list[tuple[list[api.GroupMember], str]] = [
        ([], "members"),
        ([api.GroupMember()], "members[0]"),
        ([a_person("0" * 32), a_person("ada")], "members[1].principal_id"),
        ([a_group("")], "members[0].group"),
        ([a_person("0" * 32)] * 1001, "members"),
    ]

    for members, path in given:
        refusal = world.refused(kind(name=name, members=members))
        assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", [path])


def test_of_members_that_do_not_exist_none_is_added(world: World) -> None:
    name, there = world.group(), world.principal().principal_id

    one = world.refused(api.AddGroupMembersRequest(name=name, members=[a_person(there), a_person(new_id())]))
    other = world.refused(api.AddGroupMembersRequest(name=name, members=[a_person(there), a_group(unique("g"))]))

    assert (one.reason, other.reason) == ("PRINCIPAL_NOT_FOUND", "GROUP_NOT_FOUND")
    assert world.ask(api.ListGroupMembersRequest(name=name)).members == []


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_group_is_never_in_itself(world: World, length: int) -> None:
    chain = [world.group()]
    for _ in range(length - 1):
        chain.append(world.group(groups=[chain[-1]]))

    refusal = world.refused(api.AddGroupMembersRequest(name=chain[0], members=[a_group(chain[-1])]))

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "GROUP_CYCLE")
    assert refusal.metadata == {"group": chain[0], "member": chain[-1]}
    assert world.ask(api.ListGroupMembersRequest(name=chain[0])).members == []


def test_of_two_groups_that_are_put_into_each_other_at_once_one_is(world: World) -> None:
    one, two = world.group(), world.group()
    requests = [api.AddGroupMembersRequest(name=a, members=[a_group(b)]) for a, b in ((one, two), (two, one))]

    found = at_once([partial(world.refusal, request) for request in requests])

    [refusal] = of(Refusal, found)
    assert refusal.reason == "GROUP_CYCLE"


def test_groups_are_in_each_other_up_to_a_limit(world: World) -> None:
    name, refusal = world.group(), None
    for _ in range(100):
        outer = world.group()
        refusal = world.refusal(api.AddGroupMembersRequest(name=outer, members=[a_group(name)]))
        if refusal:
            break
        name = outer

    assert refusal is not None
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LIMIT_REACHED")


def test_a_role_of_a_group_is_that_of_all_who_are_in_it_as_long_as_they_are(world: World) -> None:
    here = world.locked.workspace()
    me = world.locked.somebody()
    inner = world.group()
    outer = world.group(groups=[inner])
    request = api.GetWorkspaceRequest(name=here)
    assert world.refused(request, me).reason == "WORKSPACE_NOT_FOUND"

    binding = world.bind_group(outer, "reader", api.Place(workspace=here))
    world.ask(api.AddGroupMembersRequest(name=inner, members=[a_person(me.principal_id)]))

    assert world.soon(request, me).workspace.name == here
    world.ask(api.RemoveGroupMembersRequest(name=inner, members=[a_person(me.principal_id)]))
    assert world.soon_refused(request, me).reason == "WORKSPACE_NOT_FOUND"
    world.ask(api.AddGroupMembersRequest(name=outer, members=[a_person(me.principal_id)]))
    assert world.soon(request, me).workspace.name == here
    world.ask(api.DeleteRoleBindingRequest(binding_id=binding))
    assert world.soon_refused(request, me).reason == "WORKSPACE_NOT_FOUND"


def test_a_deleted_group_takes_its_bindings_along(world: World) -> None:
    here = world.locked.workspace()
    me = world.locked.somebody()
    name = world.group(me.principal_id)
    binding = world.bind_group(name, "reader", api.Place(workspace=here))
    request = api.GetWorkspaceRequest(name=here)
    world.soon(request, me)

    world.ask(api.DeleteGroupRequest(name=name))

    assert world.soon_refused(request, me).reason == "WORKSPACE_NOT_FOUND"
    assert world.refused(api.DeleteRoleBindingRequest(binding_id=binding)).reason == "ROLE_BINDING_NOT_FOUND"
    assert world.refused(api.GetGroupRequest(name=name)).reason == "GROUP_NOT_FOUND"
    world.group(me.principal_id, name=name)
    assert world.refused(request, me).reason == "WORKSPACE_NOT_FOUND"


def test_a_disabled_principal_stays_a_member(world: World) -> None:
    me = world.locked.somebody()
    name = world.group(me.principal_id)

    world.locked.disable(me)

    assert world.ask(api.ListGroupMembersRequest(name=name)).members == [a_person(me.principal_id)]


def test_nobody_puts_a_friend_into_a_group_that_may_do_more_than_they(world: World) -> None:
    keeper = world.locked.somebody(world.role("groups.write"))
    mighty, weak, friend = world.group(), world.group(), a_person(world.principal().principal_id)
    inner = world.group()
    world.ask(api.AddGroupMembersRequest(name=mighty, members=[a_group(inner)]))
    world.bind_group(mighty, "admin")

    for name in (mighty, inner):
        refusal = world.refused(api.AddGroupMembersRequest(name=name, members=[friend]), keeper)
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert world.ask(api.AddGroupMembersRequest(name=weak, members=[friend]), keeper).group.name == weak
    bound = world.group()
    world.ask(api.AddGroupMembersRequest(name=bound, members=[friend]))
    refusal = world.refused(api.AddGroupMembersRequest(name=mighty, members=[a_group(bound)]), keeper)
    assert refusal.reason == "GRANT_TOO_WIDE"
