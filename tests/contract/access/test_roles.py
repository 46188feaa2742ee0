"""Roles and their bindings: what a role can say, where it holds, and that nobody gives more than they have."""

from __future__ import annotations

from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry_server.kernel.ids import new_id
from modelry_server.permissions import Permission
from tests.contract.access.conftest import UNKNOWN, World, masked, unique

BUILTIN = ["reader", "writer", "approver", "admin"]
EXPERIMENT: dict[str, Any] = {"experiment_id": "987654321"}
MODEL: dict[str, Any] = {"model_id": "0" * 32}


def binding(**fields: Any) -> api.CreateRoleBindingRequest:
    return api.CreateRoleBindingRequest(**{"role": "reader", "place": api.Place(everywhere=True), **fields})


def test_nothing_is_bound_everywhere_by_a_place_that_was_forgotten_or_is_not_known(world: World) -> None:
    me = world.locked.somebody()
    forgotten = api.CreateRoleBindingRequest(role="reader", principal_id=me.principal_id)
    later = api.Place.FromString(api.Place(workspace="default").SerializeToString() + UNKNOWN)
    too_much = api.Place(workspace="default", everywhere=True)

    assert list(world.refused(forgotten).violations) == ["place"]
    assert list(world.refused(binding(principal_id=me.principal_id, place=later)).violations) == ["place.500"]
    assert list(world.refused(api.ListRoleBindingsRequest(place=later)).violations) == ["place"]
    assert list(world.refused(binding(principal_id=me.principal_id, place=too_much)).violations) == ["place.everywhere"]


# Roles.


def test_a_role_that_was_made_is_found_by_its_name(world: World) -> None:
    given = ["runs.read", "versions.create", "runs.read"]
    made = world.ask(api.CreateRoleRequest(name=unique("r"), description="Words.", permissions=given)).role

    assert world.ask(api.GetRoleRequest(name=made.name)).role == made
    assert (list(made.permissions), made.description, made.builtin) == (
        ["runs.read", "versions.create"],
        "Words.",
        False,
    )
    assert made.create_time == made.update_time


@pytest.mark.parametrize("name", BUILTIN)
def test_the_roles_of_modelry_are_there_and_can_not_be_changed(world: World, name: str) -> None:
    found = world.ask(api.GetRoleRequest(name=name)).role

    assert found.builtin
    assert "runs.read" in found.permissions
    assert not found.HasField("create_time")
    changed = api.UpdateRoleRequest(role=api.Role(name=name, description="x"))
    for request in (changed, api.DeleteRoleRequest(name=name)):
        refusal = world.refused(request)
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "ROLE_BUILTIN")
    taken = world.refused(api.CreateRoleRequest(name=name, permissions=["runs.read"]))
    assert (taken.code, taken.reason) == ("ALREADY_EXISTS", "ROLE_EXISTS")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "Big"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "a-"}, "name"),
        ({"name": "1a"}, "name"),
        ({"description": "x" * 5001}, "description"),
        ({"permissions": []}, "permissions"),
        ({"permissions": ["runs.read", "runs.raed"]}, "permissions[1]"),
        ({"permissions": ["RUNS.READ"]}, "permissions[0]"),
        ({"permissions": ["runs.read"] * 101}, "permissions"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_a_role_can_not_be_is_refused_by_its_path(world: World, fields: dict[str, Any], path: str) -> None:
    refusal = world.refused(api.CreateRoleRequest(**{"name": unique("r"), "permissions": ["runs.read"], **fields}))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])


def test_the_nearest_permission_is_named(world: World) -> None:
    refusal = world.refused(api.CreateRoleRequest(name=unique("r"), permissions=["versions.promot"]))

    assert "'versions.promote'" in refusal.violations["permissions[0]"]


def test_a_repeated_request_answers_with_the_role_until_it_is_deleted(world: World) -> None:
    request = api.CreateRoleRequest(name=unique("r"), permissions=["runs.read"], request_id=new_id())
    made = world.ask(request).role

    assert world.ask(request).role == made
    other = api.CreateRoleRequest(name=unique("r"), permissions=["runs.read"], request_id=request.request_id)
    assert world.refused(other).reason == "REQUEST_ID_REUSED"
    world.ask(api.DeleteRoleRequest(name=made.name))
    assert world.refused(request).reason == "ROLE_NOT_FOUND"


def test_a_taken_name_is_refused(world: World) -> None:
    name = world.role("runs.read")

    refusal = world.refused(api.CreateRoleRequest(name=name, permissions=["runs.read"]))

    assert (refusal.code, refusal.reason, refusal.metadata) == ("ALREADY_EXISTS", "ROLE_EXISTS", {"role": name})


def test_a_role_that_is_not_there_is_named(world: World) -> None:
    name = unique("r")
    requests: list[Any] = [
        api.GetRoleRequest(name=name),
        api.UpdateRoleRequest(role=api.Role(name=name, description="x")),
        api.DeleteRoleRequest(name=name),
        binding(role=name, principal_id=world.admin.principal_id),
    ]

    for request in requests:
        refusal = world.refused(request)
        assert (refusal.code, refusal.reason, refusal.resource) == ("NOT_FOUND", "ROLE_NOT_FOUND", ("role", name))


def test_roles_are_listed_those_of_modelry_first_to_everybody(world: World) -> None:
    made = sorted(world.role("runs.read") for _ in range(3))

    names = [each.name for each in world.pages(api.ListRolesRequest(page_size=3), "roles", world.locked.somebody())]

    assert names[:4] == BUILTIN
    assert names[4:] == sorted(set(names[4:]))
    assert set(made) <= set(names)
    assert world.refused(api.ListRolesRequest(page_size=-1)).reason == "FIELD_INVALID"
    assert world.refused(api.ListRolesRequest(page_token="x")).reason == "PAGE_TOKEN_INVALID"


def test_a_role_changes_for_all_who_have_it_and_an_old_etag_is_refused(world: World) -> None:
    here = world.locked.workspace()
    made = world.ask(api.GetRoleRequest(name=world.role("runs.read"))).role
    me = world.locked.somebody(made.name, api.Place(workspace=here))
    request = api.UpdateWorkspaceRequest(workspace=api.Workspace(name=here, description="Mine."))
    assert world.refused(request, me).reason == "PERMISSION_MISSING"

    given = api.Role(name=made.name, permissions=["workspaces.write"], etag=made.etag)
    changed = world.ask(api.UpdateRoleRequest(role=given)).role

    assert (list(changed.permissions), changed.etag != made.etag) == (["workspaces.write"], True)
    assert world.soon(request, me).workspace.description == "Mine."
    refusal = world.refused(api.UpdateRoleRequest(role=given))
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", changed.etag)
    back = masked(api.UpdateRoleRequest(role=api.Role(name=made.name, permissions=["runs.read"])), "permissions")
    world.ask(back)
    assert world.soon_refused(request, me).reason == "PERMISSION_MISSING"


@pytest.mark.parametrize(
    ("paths", "fields", "path"),
    [
        (["builtin"], {}, "update_mask"),
        (["permissions"], {}, "role.permissions"),
        ([], {"permissions": ["x"]}, "role.permissions[0]"),
        ([], {"description": "x" * 5001}, "role.description"),
    ],
)
def test_what_a_role_can_not_become_is_refused(
    world: World, paths: list[str], fields: dict[str, Any], path: str
) -> None:
    request = masked(api.UpdateRoleRequest(role=api.Role(name=world.role("runs.read"), **fields)), *paths)

    assert list(world.refused(request).violations) == [path]


def test_a_role_that_somebody_has_is_not_deleted(world: World) -> None:
    name = world.role("runs.read")
    me = world.locked.somebody(name, api.Place(workspace=world.locked.workspace()))
    capped = world.locked.token_of(me.principal_id, role_cap=name)

    refusal = world.refused(api.DeleteRoleRequest(name=name))

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "ROLE_IN_USE")
    assert refusal.metadata == {"role": name, "bindings": "1", "tokens": "1"}
    [found] = world.ask(api.ListRoleBindingsRequest(principal_id=me.principal_id)).role_bindings
    world.ask(api.DeleteRoleBindingRequest(binding_id=found.binding_id))
    assert world.refused(api.DeleteRoleRequest(name=name)).metadata["tokens"] == "1"
    world.locked.revoke(capped)
    world.ask(api.DeleteRoleRequest(name=name))
    assert world.refused(api.GetRoleRequest(name=name)).reason == "ROLE_NOT_FOUND"


def test_nobody_makes_a_role_that_may_do_more_than_they(world: World) -> None:
    maker = world.locked.somebody(world.role("roles.write", "runs.read"))

    refusal = world.refused(api.CreateRoleRequest(name=unique("r"), permissions=["runs.read", "runs.delete"]), maker)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert refusal.metadata["permissions"] == "runs.delete"
    own = world.ask(api.CreateRoleRequest(name=unique("r"), permissions=["runs.read"]), maker).role
    wider = api.UpdateRoleRequest(role=api.Role(name=own.name, permissions=["runs.read", "models.read"]))
    assert world.refused(wider, maker).reason == "GRANT_TOO_WIDE"


def test_every_permission_can_be_given(world: World) -> None:
    name = world.role(*map(str, Permission))

    assert list(world.ask(api.GetRoleRequest(name=name)).role.permissions) == list(map(str, Permission))


# Bindings.


def test_a_bound_role_holds_until_it_is_removed(world: World) -> None:
    here, me = world.locked.workspace(), world.locked.somebody()
    request = api.GetWorkspaceRequest(name=here)
    assert world.refused(request, me).reason == "WORKSPACE_NOT_FOUND"

    place = api.Place(workspace=here)
    made = world.ask(binding(principal_id=me.principal_id, place=place)).role_binding

    assert (made.role, made.principal_id, made.place.workspace) == ("reader", me.principal_id, here)
    assert made.creator_id == world.admin.principal_id
    assert world.soon(request, me).workspace.name == here
    world.ask(api.DeleteRoleBindingRequest(binding_id=made.binding_id))
    assert world.soon_refused(request, me).reason == "WORKSPACE_NOT_FOUND"
    again = world.refused(api.DeleteRoleBindingRequest(binding_id=made.binding_id))
    assert (again.code, again.resource) == ("NOT_FOUND", ("role_binding", made.binding_id))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"role": "No Role"}, "role"),
        ({"principal_id": "ada"}, "principal_id"),
        ({"group": ""}, "group"),
        ({"place": api.Place(**EXPERIMENT)}, "place.workspace"),
        ({"place": api.Place(workspace="default", experiment_id="x")}, "place.experiment_id"),
        ({"place": api.Place(workspace="default", model_id="x")}, "place.model_id"),
        ({"place": api.Place(workspace="default", **EXPERIMENT, **MODEL)}, "place"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
    ids=["role", "principal", "group", "no workspace", "experiment", "model", "both", "request id"],
)
def test_what_a_binding_can_not_be_is_refused_by_its_path(world: World, fields: dict[str, Any], path: str) -> None:
    given = fields if "group" in fields else {"principal_id": world.admin.principal_id, **fields}

    refusal = world.refused(binding(**given))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])


def test_a_binding_needs_somebody_who_gets_the_role(world: World) -> None:
    assert list(world.refused(binding()).violations) == ["principal_id"]


def test_a_binding_names_what_is_there(world: World) -> None:
    me = world.locked.somebody()
    world.locked.disable(gone := world.locked.somebody())

    unknown = world.refused(binding(principal_id=new_id()))
    group = world.refused(binding(group=unique("nobodies")))
    workspace = world.refused(binding(principal_id=me.principal_id, place=api.Place(workspace="not-there")))
    disabled = world.refused(binding(principal_id=gone.principal_id))

    assert (unknown.reason, group.reason) == ("PRINCIPAL_NOT_FOUND", "GROUP_NOT_FOUND")
    assert (workspace.code, workspace.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert (disabled.code, disabled.reason) == ("FAILED_PRECONDITION", "PRINCIPAL_DISABLED")


@pytest.mark.parametrize("part", [EXPERIMENT, MODEL], ids=["experiment", "model"])
def test_a_binding_at_something_that_is_not_there_gives_nothing(world: World, part: dict[str, Any]) -> None:
    here, me = world.locked.workspace(), world.locked.somebody()

    made = world.ask(binding(principal_id=me.principal_id, place=api.Place(workspace=here, **part))).role_binding

    assert made.place == api.Place(workspace=here, **part)
    [grant] = world.ask(api.WhoAmIRequest(), me).grants
    assert grant.place == made.place
    given = api.Workspace(name=here, description="Mine.")
    assert world.refused(api.UpdateWorkspaceRequest(workspace=given), me).reason == "PERMISSION_MISSING"


def test_the_same_binding_twice_is_refused_and_names_the_first(world: World) -> None:
    place = api.Place(workspace=world.locked.workspace())
    request = binding(principal_id=world.locked.somebody().principal_id, place=place)
    made = world.ask(request).role_binding

    refusal = world.refused(request)

    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "ROLE_BINDING_EXISTS")
    assert refusal.metadata == {"binding_id": made.binding_id}


def test_a_repeated_request_answers_with_the_binding_until_it_is_removed(world: World) -> None:
    place = api.Place(workspace=world.locked.workspace())
    request = binding(principal_id=world.locked.somebody().principal_id, place=place, request_id=new_id())
    made = world.ask(request).role_binding

    assert world.ask(request).role_binding == made
    other = binding(group=world.group(), request_id=request.request_id)
    assert world.refused(other).reason == "REQUEST_ID_REUSED"
    world.ask(api.DeleteRoleBindingRequest(binding_id=made.binding_id))
    assert world.refused(request).reason == "ROLE_BINDING_NOT_FOUND"


def test_nobody_gives_or_takes_more_than_they_may_do_there(world: World) -> None:
    here, there = (api.Place(workspace=world.locked.workspace()) for _ in range(2))
    keeper = world.locked.somebody(world.role("bindings.read", "bindings.write", "runs.read"), here)
    friend = world.locked.somebody()
    wide = world.locked.bind(friend.principal_id, "writer", here)

    refusal = world.refused(binding(role="admin", principal_id=friend.principal_id, place=here), keeper)

    assert (refusal.code, refusal.reason, refusal.metadata["workspace"]) == (
        "PERMISSION_DENIED",
        "GRANT_TOO_WIDE",
        here.workspace,
    )
    assert world.refused(api.DeleteRoleBindingRequest(binding_id=wide), keeper).reason == "GRANT_TOO_WIDE"
    narrow = binding(role=world.role("runs.read"), principal_id=friend.principal_id, place=here)
    assert world.ask(narrow, keeper).role_binding.creator_id == keeper.principal_id
    elsewhere = binding(principal_id=friend.principal_id, place=there)
    assert world.refused(elsewhere, keeper).reason == "WORKSPACE_NOT_FOUND"
    everywhere = binding(principal_id=friend.principal_id)
    assert world.refused(everywhere, keeper).reason == "PERMISSION_MISSING"


def test_a_capped_token_gives_no_more_than_its_cap(world: World) -> None:
    here = api.Place(workspace=world.locked.workspace())
    cap = world.role("bindings.write", "runs.read")
    keeper = world.locked.somebody("admin", here, role_cap=cap)
    friend = world.locked.somebody()

    assert world.refused(binding(principal_id=friend.principal_id, place=here), keeper).reason == "GRANT_TOO_WIDE"


def test_bindings_are_listed_by_age_at_a_place_and_of_a_subject(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    me, group = world.locked.somebody(), world.group()
    at_here = world.locked.bind(me.principal_id, "reader", api.Place(workspace=here))
    at_part = world.locked.bind(me.principal_id, "writer", api.Place(workspace=here, **EXPERIMENT))
    at_there = world.locked.bind(me.principal_id, "reader", api.Place(workspace=there))
    of_group = world.bind_group(group, "reader", api.Place(workspace=here))

    def ids(**fields: Any) -> list[str]:
        request = api.ListRoleBindingsRequest(page_size=1, **fields)
        return [each.binding_id for each in world.pages(request, "role_bindings")]

    assert ids(place=api.Place(workspace=here)) == [at_here, at_part, of_group]
    assert ids(place=api.Place(workspace=here, **EXPERIMENT)) == [at_part]
    assert ids(principal_id=me.principal_id) == [at_here, at_part, at_there]
    assert ids(principal_id=me.principal_id, place=api.Place(workspace=there)) == [at_there]
    assert ids(group=group) == [of_group]


def test_bindings_are_listed_of_one_role(world: World) -> None:
    here = api.Place(workspace=world.locked.workspace())
    me, other = world.locked.somebody(), world.locked.somebody()
    first = world.locked.bind(me.principal_id, "approver", here)
    world.locked.bind(me.principal_id, "reader", here)
    at_part = world.locked.bind(me.principal_id, "approver", api.Place(workspace=here.workspace, **EXPERIMENT))
    of_other = world.locked.bind(other.principal_id, "approver", here)
    unused = world.role("runs.read")

    def ids(**fields: Any) -> list[str]:
        request = api.ListRoleBindingsRequest(page_size=1, **fields)
        return [each.binding_id for each in world.pages(request, "role_bindings")]

    assert ids(place=here, role="approver") == [first, at_part, of_other]
    assert ids(place=here, role="approver", principal_id=me.principal_id) == [first, at_part]
    assert ids(place=here, role="writer") == ids(role=unused) == []
    assert set(ids(role="approver")) >= {first, at_part, of_other}


def test_a_page_of_one_role_does_not_go_on_with_another(world: World) -> None:
    here = api.Place(workspace=world.locked.workspace())
    for role in ("reader", "writer"):
        for _ in range(2):
            world.locked.bind(world.locked.somebody().principal_id, role, here)
    token = world.ask(api.ListRoleBindingsRequest(place=here, role="reader", page_size=1)).next_page_token

    for role in ("writer", ""):
        request = api.ListRoleBindingsRequest(place=here, role=role, page_size=1, page_token=token)
        assert world.refused(request).reason == "PAGE_TOKEN_INVALID"


def test_bindings_of_one_role_are_those_of_places_whose_members_the_caller_reads(world: World) -> None:
    here, there = (api.Place(workspace=world.locked.workspace()) for _ in range(2))
    keeper, me = world.locked.somebody("admin", here), world.locked.somebody()
    seen = world.locked.bind(me.principal_id, "approver", here)
    world.locked.bind(me.principal_id, "approver", there)

    found = world.ask(api.ListRoleBindingsRequest(role="approver"), keeper).role_bindings

    assert [each.binding_id for each in found] == [seen]
    at_there = api.ListRoleBindingsRequest(place=there, role="no-such-role")
    assert world.refused(at_there, keeper).reason == "WORKSPACE_NOT_FOUND"


def test_who_may_read_the_members_of_a_workspace_lists_its_bindings_and_no_others(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    keeper = world.locked.somebody("admin", api.Place(workspace=here))
    reader = world.locked.somebody("reader", api.Place(workspace=here))
    world.locked.bind(reader.principal_id, "reader", api.Place(workspace=there))

    found = world.pages(api.ListRoleBindingsRequest(), "role_bindings", keeper)

    assert {each.place.workspace for each in found} == {here}
    assert len(found) == 2
    of_one = world.ask(api.ListRoleBindingsRequest(principal_id=reader.principal_id), keeper).role_bindings
    assert [each.place.workspace for each in of_one] == [here]
    at_there = api.ListRoleBindingsRequest(place=api.Place(workspace=there))
    assert world.refused(at_there, keeper).reason == "WORKSPACE_NOT_FOUND"
    assert world.refused(api.ListRoleBindingsRequest(place=api.Place(workspace=here)), reader).reason == (
        "PERMISSION_MISSING"
    )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (api.ListRoleBindingsRequest(page_size=-1), "FIELD_INVALID"),
        (api.ListRoleBindingsRequest(principal_id="ada"), "FIELD_INVALID"),
        (api.ListRoleBindingsRequest(principal_id="0" * 32, group="g"), "FIELD_INVALID"),
        (api.ListRoleBindingsRequest(place=api.Place(**EXPERIMENT)), "FIELD_INVALID"),
        (api.ListRoleBindingsRequest(place=api.Place(workspace="not-there")), "WORKSPACE_NOT_FOUND"),
        (api.ListRoleBindingsRequest(role="No Role"), "FIELD_INVALID"),
        (api.ListRoleBindingsRequest(role="no-such-role"), "ROLE_NOT_FOUND"),
        (api.ListRoleBindingsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
        (api.GetRoleBindingRequest(binding_id="x"), "FIELD_INVALID"),
        (api.GetRoleBindingRequest(), "FIELD_INVALID"),
        (api.DeleteRoleBindingRequest(binding_id="x"), "FIELD_INVALID"),
    ],
    ids=["size", "principal", "both", "place", "workspace", "role", "no role", "token", "get", "no id", "delete"],
)
def test_what_can_not_be_asked_is_refused(world: World, request_: Any, reason: str) -> None:
    assert world.refused(request_).reason == reason


def test_who_may_not_see_a_binding_does_not_find_it(world: World) -> None:
    here = world.locked.workspace()
    me, stranger = (
        world.locked.somebody(),
        world.locked.somebody("admin", api.Place(workspace=world.locked.workspace())),
    )
    reader = world.locked.somebody("reader", api.Place(workspace=here))
    watcher = world.locked.somebody(world.role("bindings.read"), api.Place(workspace=here))
    made = world.locked.bind(me.principal_id, "reader", api.Place(workspace=here))
    request = api.DeleteRoleBindingRequest(binding_id=made)

    for each in (me, stranger, reader):
        assert world.refused(request, each).reason == "ROLE_BINDING_NOT_FOUND"
    assert world.refused(request, watcher).reason == "PERMISSION_MISSING"


@pytest.mark.parametrize("part", [{}, EXPERIMENT, MODEL], ids=["workspace", "experiment", "model"])
def test_who_lists_a_binding_reads_it_and_for_others_it_never_was(world: World, part: dict[str, Any]) -> None:
    here = world.locked.workspace()
    place = api.Place(workspace=here, **part)
    me = world.locked.somebody()
    made = world.ask(binding(principal_id=me.principal_id, place=place)).role_binding
    gone = world.locked.bind(me.principal_id, "writer", place)
    world.ask(api.DeleteRoleBindingRequest(binding_id=gone))
    keeper = world.locked.somebody(world.role("bindings.read"), place)
    giver = world.locked.somebody(world.role("bindings.write"), place)
    reader = world.locked.somebody("reader", api.Place(workspace=here))
    stranger = world.locked.somebody("admin", api.Place(workspace=world.locked.workspace()))
    request = api.GetRoleBindingRequest(binding_id=made.binding_id)

    assert world.ask(request).role_binding == made
    assert world.ask(request, keeper).role_binding == made
    assert made in world.ask(api.ListRoleBindingsRequest(place=place), keeper).role_bindings
    for by in (me, giver, reader, stranger, world.locked.somebody()):
        hidden = world.refused(request, by)
        assert (hidden.code, hidden.reason) == ("NOT_FOUND", "ROLE_BINDING_NOT_FOUND")
        for never in (gone, new_id()):
            said = world.refused(api.GetRoleBindingRequest(binding_id=never), by)
            assert said.message == hidden.message.replace(made.binding_id, never)
            assert (said.code, said.reason, said.resource) == (hidden.code, hidden.reason, ("role_binding", never))


def test_a_binding_everywhere_is_read_by_who_reads_members_everywhere(world: World) -> None:
    made = world.ask(binding(principal_id=world.locked.somebody().principal_id)).role_binding
    request = api.GetRoleBindingRequest(binding_id=made.binding_id)
    keeper = world.locked.somebody("admin", api.Place(workspace=world.locked.workspace()))

    assert world.ask(request, world.locked.somebody(world.role("bindings.read"))).role_binding == made
    for by in (keeper, world.locked.somebody("reader")):
        assert world.refused(request, by).reason == "ROLE_BINDING_NOT_FOUND"
