"""The record of all changes of access: one chain, each change in it, and no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry
from modelry_server.kernel import audit
from tests.contract.access.conftest import World, masked, unique
from tests.parts.locked import bearing


def as_stored(record: common.AuditRecord) -> audit.Record:
    """A record as it was hashed."""
    names = ("chain", "sequence", "previous_digest", "body", "digest", "digest_version")
    texts = [each for name in audit.ERASABLE for each in (name, f"{name}_salt")]
    return audit.Record(**{name: getattr(record, name) for name in (*names, *texts)})


def actions(world: World, resource_type: str, resource_id: str) -> list[str]:
    """What was done to a thing, the oldest first."""
    return [each.action for each in world.records(resource_type, resource_id)][::-1]


def test_the_chain_has_no_fault_and_no_gap(world: World) -> None:
    world.locked.somebody("reader", api.Place(workspace=world.locked.workspace()))

    records = world.records()[::-1]

    assert [each.sequence for each in records] == list(range(1, len(records) + 1))
    assert {each.chain for each in records} == {"access"}
    assert audit.first_fault("access", map(as_stored, records)) is None


def test_a_record_that_is_altered_or_missing_shows(world: World) -> None:
    world.locked.somebody()
    stored = [as_stored(each) for each in world.records()[::-1]]
    altered = [*stored]
    altered[2] = audit.Record(**{**_fields(altered[2]), "after": '{"name":"other"}'})

    changed, missing = audit.first_fault("access", altered), audit.first_fault("access", stored[:1] + stored[2:])

    assert (changed and changed.sequence, missing and missing.sequence) == (3, 2)


def _fields(record: audit.Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def test_a_record_says_who_did_what_when_and_how(world: World) -> None:
    keeper = world.locked.somebody(world.role("groups.write"))
    made = world.ask(api.CreateGroupRequest(name=unique("group"), description="Old."), keeper).group
    world.ask(api.UpdateGroupRequest(group=api.Group(name=made.name, description="New.")), keeper)

    updated, created = world.records("group", made.name)

    assert (created.action, updated.action) == ("group.created", "group.updated")
    assert created.actor == keeper.principal_id
    assert (created.credential_kind, created.credential_id) == (common.CREDENTIAL_KIND_API_TOKEN, keeper.token_id)
    assert (updated.resource_type, updated.resource_id, updated.resource_name) == ("group", made.name, made.name)
    assert (json.loads(updated.before), json.loads(updated.after)) == ({"description": "Old."}, {"description": "New."})
    assert updated.create_time.ToMilliseconds() >= created.create_time.ToMilliseconds() > 1_700_000_000_000
    assert updated.peer


def test_readers_of_a_model_see_which_token_changed_it(world: World) -> None:
    here = api.Place(workspace=world.locked.workspace())
    writer, reader = world.locked.somebody("writer", here), world.locked.somebody("reader", here)
    second = world.locked.token_of(writer.principal_id)
    name = unique("model")
    world.ask(registry.CreateModelRequest(workspace=here.workspace, name=name), writer)
    tags = registry.SetModelTagsRequest(workspace=here.workspace, model_name=name, tags={"k": "v"})
    world.ask(tags, second)

    records = world.pages(
        registry.ListAuditRecordsRequest(workspace=here.workspace, model_name=name), "records", reader
    )

    assert [each.actor for each in records] == [writer.principal_id] * 2
    assert [each.credential_id for each in records] == [second.token_id, writer.token_id]
    assert [json.loads(each.body)["credential_id"] for each in records] == [second.token_id, writer.token_id]
    assert world.refused(api.GetTokenRequest(token_id=second.token_id), reader).reason == "TOKEN_NOT_FOUND"
    chain = [as_stored(each) for each in records[::-1]]
    assert audit.first_fault(chain[0].chain, chain) is None


def test_each_change_of_a_principal_and_of_its_tokens_is_written_down(world: World) -> None:
    made = world.principal()
    token = world.ask(api.CreateTokenRequest(principal_id=made.principal_id)).token
    world.ask(api.RotateTokenRequest(token_id=token.token_id))
    world.ask(api.RevokeTokenRequest(token_id=token.token_id))
    other = world.ask(api.CreateTokenRequest(principal_id=made.principal_id)).token
    world.ask(api.RevokeTokensRequest(principal_id=made.principal_id))
    given = api.Principal(principal_id=made.principal_id, disabled=True)
    world.ask(api.UpdatePrincipalRequest(principal=given))

    assert actions(world, "principal", made.principal_id) == [
        "principal.created",
        "principal.tokens_revoked",
        "principal.updated",
    ]
    assert actions(world, "token", token.token_id) == ["token.created", "token.rotated", "token.revoked"]
    assert actions(world, "token", other.token_id) == ["token.created", "token.revoked"]


def test_the_name_of_a_principal_stands_in_what_can_be_erased_only(world: World) -> None:
    keeper = world.locked.somebody("admin")
    person = world.principal(kind=api.PRINCIPAL_KIND_USER, name=unique("ada") + "@firm.example")
    world.ask(api.CreateTokenRequest(principal_id=person.principal_id), keeper)
    world.group(person.principal_id)
    world.locked.bind(person.principal_id, "reader")
    world.ask(api.RevokeTokensRequest(principal_id=person.principal_id))
    world.ask(api.UpdatePrincipalRequest(principal=api.Principal(principal_id=person.principal_id, disabled=True)))

    records = world.records()

    assert not [each.action for each in records if person.name in each.body or keeper.name in each.body]
    assert {each.resource_name for each in records if each.resource_type == "principal"} == {""}
    created = world.records("principal", person.principal_id)[-1]
    assert json.loads(created.after) == {"kind": "user", "name": person.name}


def test_each_change_of_a_group_is_written_down(world: World) -> None:
    member = world.principal().principal_id
    name = world.group(member)
    removed = api.RemoveGroupMembersRequest(name=name, members=[api.GroupMember(principal_id=member)])
    world.ask(removed)
    world.ask(removed)
    world.ask(api.DeleteGroupRequest(name=name))

    records = world.records("group", name)[::-1]
    assert [each.action for each in records] == [
        "group.created",
        "group.members_added",
        "group.members_removed",
        "group.deleted",
    ]
    assert json.loads(records[1].after) == {"principals": [member]}


def test_each_change_of_a_role_and_its_bindings_is_written_down(world: World) -> None:
    here, me = world.locked.workspace(), world.locked.somebody()
    name = world.role("runs.read")
    world.ask(api.UpdateRoleRequest(role=api.Role(name=name, permissions=["runs.read", "runs.write"])))
    binding_id = world.locked.bind(me.principal_id, name, api.Place(workspace=here))
    world.ask(api.DeleteRoleBindingRequest(binding_id=binding_id))
    world.ask(api.DeleteRoleRequest(name=name))

    bound = world.records("role_binding", binding_id)
    assert actions(world, "role", name) == ["role.created", "role.updated", "role.deleted"]
    assert [each.action for each in bound] == ["role_binding.deleted", "role_binding.created"]
    assert {each.workspace for each in bound} == {here}
    content = {"role": name, "principal_id": me.principal_id, "workspace": here}
    assert (json.loads(bound[1].after), json.loads(bound[0].before)) == (content, content)


def test_each_change_of_a_workspace_is_written_down(world: World) -> None:
    here = world.locked.workspace()
    world.ask(masked(api.UpdateWorkspaceRequest(workspace=api.Workspace(name=here, description="x")), "description"))

    assert actions(world, "workspace", here) == ["workspace.created", "workspace.updated"]


REFUSED: list[tuple[str, Callable[[World], Any]]] = [
    ("principal", lambda world: api.CreatePrincipalRequest(kind=api.PRINCIPAL_KIND_USER, name="root")),
    ("group", lambda world: api.CreateGroupRequest(name="")),
    ("role", lambda world: api.DeleteRoleRequest(name="reader")),
    ("token", lambda world: api.CreateTokenRequest(role_cap="no-such-role")),
    (
        "role_binding",
        lambda world: api.CreateRoleBindingRequest(
            role="reader", principal_id="0" * 32, place=api.Place(everywhere=True)
        ),
    ),
]


@pytest.mark.parametrize(("kind", "make"), REFUSED, ids=[kind for kind, _ in REFUSED])
def test_what_was_refused_or_changed_nothing_leaves_no_record(
    world: World, kind: str, make: Callable[[World], Any]
) -> None:
    before = world.records()[0].sequence

    world.refused(make(world))

    assert world.records()[0].sequence == before


def test_no_record_has_a_secret(world: World) -> None:
    me = world.locked.somebody()
    rotated = world.ask(api.RotateTokenRequest(), me)
    world.soon(api.WhoAmIRequest(), bearing(rotated.secret))

    told = "".join(map(str, world.records()))

    for secret in (me.secret, rotated.secret, world.admin.secret):
        assert secret[:-6] not in told
        assert secret[6:-6] not in told
    assert "mdy_" not in told


def test_records_are_filtered_and_listed_page_by_page(world: World) -> None:
    name = world.group()
    for number in range(4):
        world.ask(api.UpdateGroupRequest(group=api.Group(name=name, description=f"{number}")))

    everything = world.pages(
        api.ListAuditRecordsRequest(resource_type="group", resource_id=name, page_size=2), "records"
    )
    groups = world.pages(api.ListAuditRecordsRequest(resource_type="group", page_size=1000), "records")

    assert [each.sequence for each in everything] == sorted((each.sequence for each in everything), reverse=True)
    assert len(everything) == 5
    assert {each.resource_type for each in groups} == {"group"}
    assert len(groups) > 5


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        ({"resource_type": "run"}, "FIELD_INVALID", "resource_type"),
        ({"resource_id": "x"}, "FIELD_INVALID", "resource_type"),
        ({"resource_type": "group", "resource_id": "x" * 251}, "FIELD_INVALID", "resource_id"),
        ({"page_size": -1}, "FIELD_INVALID", "page_size"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID", "page_token"),
    ],
)
def test_what_can_not_be_asked_is_refused(world: World, fields: dict[str, Any], reason: str, path: str) -> None:
    refusal = world.refused(api.ListAuditRecordsRequest(**fields))

    assert (refusal.reason, "".join(refusal.violations)) == (reason, path)


def test_only_who_may_read_them_reads_the_records_of_access(world: World) -> None:
    keeper = world.locked.somebody("admin", api.Place(workspace=world.locked.workspace()))
    auditor = world.locked.somebody(world.role("access.audit"))

    assert world.refused(api.ListAuditRecordsRequest(), keeper).reason == "PERMISSION_MISSING"
    assert world.ask(api.ListAuditRecordsRequest(page_size=1), auditor).records
