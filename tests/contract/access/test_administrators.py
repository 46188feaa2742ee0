"""Somebody can always administer the installation: each way to take that away is refused for the last one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from modelry.api.access import v1 as api
from tests.contract.access.conftest import World
from tests.parts.eventually import at_once, eventually
from tests.parts.locked import Who
from tests.parts.refusal import Refusal


def binding_of(world: World, principal_id: str, by: Who | None = None) -> str:
    """The binding by which somebody is an administrator."""
    request = api.ListRoleBindingsRequest(principal_id=principal_id)
    [found] = [each for each in world.pages(request, "role_bindings", by) if each.role == "admin"]
    return str(found.binding_id)


def disabling(principal_id: str) -> api.UpdatePrincipalRequest:
    return api.UpdatePrincipalRequest(principal=api.Principal(principal_id=principal_id, disabled=True))


def is_last(refusal: Refusal) -> bool:
    return (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LAST_ADMINISTRATOR")


@pytest.fixture
def by_group(lonely: World) -> Iterator[tuple[Who, str, str]]:
    """Somebody who is the last administrator through a group in a group: with both; and `root` again at the end."""
    heir, root = lonely.locked.somebody(), lonely.admin
    outer = lonely.group(groups=[inner := lonely.group(heir.principal_id)])
    lonely.bind_group(outer, "admin")
    lonely.soon(api.ListAuditRecordsRequest(page_size=1), heir)
    lonely.ask(api.DeleteRoleBindingRequest(binding_id=binding_of(lonely, root.principal_id, heir)), heir)
    yield heir, inner, outer
    lonely.ask(
        api.CreateRoleBindingRequest(role="admin", principal_id=root.principal_id, place=api.Place(everywhere=True)),
        heir,
    )
    lonely.soon(api.ListAuditRecordsRequest(page_size=1))
    lonely.ask(api.DeleteGroupRequest(name=outer))


def test_the_binding_of_the_last_administrator_stays(lonely: World) -> None:
    binding_id = binding_of(lonely, lonely.admin.principal_id)

    assert is_last(lonely.refused(api.DeleteRoleBindingRequest(binding_id=binding_id)))
    assert binding_of(lonely, lonely.admin.principal_id) == binding_id


def test_the_last_administrator_is_not_disabled(lonely: World) -> None:
    assert is_last(lonely.refused(disabling(lonely.admin.principal_id)))
    assert not lonely.ask(api.WhoAmIRequest()).principal.disabled


def test_an_administrator_of_a_workspace_or_by_a_custom_role_does_not_count(lonely: World) -> None:
    lonely.locked.somebody("admin", api.Place(workspace=lonely.locked.workspace()))
    lonely.locked.somebody(lonely.role("principals.write", "roles.write", "bindings.write"))

    assert is_last(lonely.refused(disabling(lonely.admin.principal_id)))


def test_a_disabled_administrator_does_not_count(lonely: World) -> None:
    other = lonely.locked.somebody("admin")
    lonely.locked.disable(other)

    assert is_last(lonely.refused(disabling(lonely.admin.principal_id)))


def test_one_of_two_administrators_may_go(lonely: World) -> None:
    other = lonely.locked.somebody("admin")
    binding_id = binding_of(lonely, other.principal_id)

    lonely.ask(api.DeleteRoleBindingRequest(binding_id=binding_id))

    assert is_last(lonely.refused(disabling(lonely.admin.principal_id)))


def test_of_two_administrators_who_go_at_once_one_stays(lonely: World) -> None:
    root, other = lonely.admin, lonely.locked.somebody("admin")
    bindings = {each.principal_id: binding_of(lonely, each.principal_id) for each in (root, other)}
    going = [(root, bindings[other.principal_id]), (other, bindings[root.principal_id])]

    found = at_once([partial(lonely.refusal, api.DeleteRoleBindingRequest(binding_id=b), by) for by, b in going])

    assert None in found
    [one] = eventually(lambda: _administrators(lonely, [root, other]), within_s=5)
    if one is other:
        lonely.ask(
            api.CreateRoleBindingRequest(
                role="admin", principal_id=root.principal_id, place=api.Place(everywhere=True)
            ),
            other,
        )
        lonely.soon(api.ListAuditRecordsRequest(page_size=1))
        lonely.ask(api.DeleteRoleBindingRequest(binding_id=bindings[other.principal_id]))
    assert is_last(lonely.refused(disabling(root.principal_id)))


def _administrators(world: World, people: list[Who]) -> list[Who]:
    """Who of two people is an administrator, once the other one is not any more."""
    found = [each for each in people if world.refusal(api.ListAuditRecordsRequest(page_size=1), each) is None]
    return found if len(found) == 1 else []


@pytest.mark.parametrize("way", ["disabling", "leaving", "inner", "deleting", "deleting inner", "binding"])
def test_each_way_that_takes_the_role_from_the_last_one_in_a_group_is_refused(
    lonely: World, by_group: tuple[Who, str, str], way: str
) -> None:
    heir, inner, outer = by_group
    member = api.GroupMember(principal_id=heir.principal_id)
    [binding] = lonely.ask(api.ListRoleBindingsRequest(group=outer), heir).role_bindings
    request = {
        "disabling": disabling(heir.principal_id),
        "leaving": api.RemoveGroupMembersRequest(name=inner, members=[member]),
        "inner": api.RemoveGroupMembersRequest(name=outer, members=[api.GroupMember(group=inner)]),
        "deleting": api.DeleteGroupRequest(name=outer),
        "deleting inner": api.DeleteGroupRequest(name=inner),
        "binding": api.DeleteRoleBindingRequest(binding_id=binding.binding_id),
    }[way]

    assert is_last(lonely.refused(request, heir))
    assert lonely.ask(api.ListAuditRecordsRequest(page_size=1), heir).records
