"""Roles and bindings as the contract has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.paging import PageTokenInvalid
from modelry_server.kernel.sql.database import Database
from modelry_server.permissions import ROLES
from tests.server.access.acting import Rules, calling

CONTEXT: Any = None  # answers need nothing of the call


@pytest.fixture
def rules(db: Database) -> Rules:
    """Roles and bindings at work."""
    return Rules(db)


@pytest.fixture(autouse=True)
def ann(rules: Rules) -> Iterator[str]:
    """An administrator, who calls."""
    ann = rules.a_principal("admin")
    with calling(ann, "RoleService.CreateRoleBinding"):
        yield ann


def test_a_role_is_made_changed_and_deleted(rules: Rules) -> None:
    service = rules.role_service
    request = api.CreateRoleRequest(name="clerk", description="Words.", permissions=["runs.read"], request_id="1")
    made = service.CreateRole(request, CONTEXT).role
    given = api.Role(name="clerk", permissions=["runs.read", "files.read"], etag=made.etag)
    changed = service.UpdateRole(api.UpdateRoleRequest(role=given), CONTEXT).role

    assert made.create_time.ToMilliseconds() == rules.clock.now()
    assert not made.builtin
    assert (changed.description, list(changed.permissions)) == ("Words.", ["runs.read", "files.read"])
    assert changed.etag != made.etag
    assert service.GetRole(api.GetRoleRequest(name="clerk"), CONTEXT).role == changed
    service.DeleteRole(api.DeleteRoleRequest(name="clerk"), CONTEXT)
    assert [each.name for each in service.ListRoles(api.ListRolesRequest(), CONTEXT).roles] == list(ROLES)


def test_the_roles_of_modelry_have_no_times(rules: Rules) -> None:
    found = rules.role_service.GetRole(api.GetRoleRequest(name="admin"), CONTEXT).role

    assert found.builtin
    assert set(found.permissions) == set(ROLES["admin"])
    assert not found.HasField("create_time")
    assert not found.HasField("update_time")


def test_all_pages_have_all_roles_once(rules: Rules) -> None:
    rules.a_role("runs.read", name="b")
    rules.a_role("runs.read", name="a")

    seen: list[str] = []
    token = ""
    while True:
        page = rules.role_service.ListRoles(api.ListRolesRequest(page_size=1, page_token=token), CONTEXT)
        seen += [each.name for each in page.roles]
        token = page.next_page_token
        if not token:
            break

    assert seen == [*ROLES, "a", "b"]
    with pytest.raises(PageTokenInvalid):
        rules.role_service.ListRoles(api.ListRolesRequest(page_token="x"), CONTEXT)


def test_a_binding_is_made_listed_and_removed(rules: Rules, ann: str) -> None:
    service, bob = rules.role_service, rules.a_principal()
    rules.a_group("team")
    place = api.Place(workspace="risk", experiment_id="7")
    made = service.CreateRoleBinding(
        api.CreateRoleBindingRequest(role="writer", principal_id=bob, place=place), CONTEXT
    ).role_binding
    of_group = service.CreateRoleBinding(
        api.CreateRoleBindingRequest(role="reader", group="team", place=api.Place(everywhere=True)), CONTEXT
    )

    assert (made.role, made.principal_id, made.place, made.creator_id) == ("writer", bob, place, ann)
    assert made.create_time.ToMilliseconds() == rules.clock.now()
    assert of_group.role_binding.group == "team"
    assert of_group.role_binding.WhichOneof("subject") == "group"
    with calling(ann, "RoleService.ListRoleBindings"):
        for request in (
            api.ListRoleBindingsRequest(place=place),
            api.ListRoleBindingsRequest(place=api.Place(workspace="risk")),
            api.ListRoleBindingsRequest(principal_id=bob),
        ):
            assert list(service.ListRoleBindings(request, CONTEXT).role_bindings) == [made]
        listed = service.ListRoleBindings(api.ListRoleBindingsRequest(group="team"), CONTEXT).role_bindings
        assert list(listed) == [of_group.role_binding]
    with calling(ann, "RoleService.DeleteRoleBinding"):
        service.DeleteRoleBinding(api.DeleteRoleBindingRequest(binding_id=made.binding_id), CONTEXT)


def test_a_binding_needs_a_subject_and_a_list_has_one_at_most(rules: Rules, ann: str) -> None:
    with pytest.raises(FieldInvalid):
        rules.role_service.CreateRoleBinding(
            api.CreateRoleBindingRequest(role="reader", place=api.Place(everywhere=True)), CONTEXT
        )
    request = api.ListRoleBindingsRequest(principal_id=ann, group="team")
    with calling(ann, "RoleService.ListRoleBindings"), pytest.raises(FieldInvalid):
        rules.role_service.ListRoleBindings(request, CONTEXT)
