from __future__ import annotations

import pytest

from modelry import Client
from modelry.api.access import v1 as access
from modelry.errors import (
    EtagMismatch,
    FieldInvalid,
    GroupCycle,
    GroupExists,
    GroupNotFound,
    InvalidArgument,
    PrincipalExists,
    PrincipalNotFound,
)
from tests.python.registry_script import scripted

SOMEBODY = "5a" * 16


def test_a_person_is_made_changed_disabled_and_listed_by_name_or_id(client: Client, unique: str) -> None:
    made = client.principals.create(unique, display_name="Ada")
    changed = client.principals.update(unique, display_name="Ada L.", etag=made.etag)
    disabled = client.principals.disable(made.principal_id)
    enabled = client.principals.enable(unique)

    assert (made.name, made.kind, made.display_name, made.disabled) == (unique, "USER", "Ada", False)
    assert (changed.display_name, disabled.disabled, enabled.disabled) == ("Ada L.", True, False)
    assert client.principals.get(unique) == client.principals.get(made.principal_id) == enabled
    assert made.principal_id in {each.principal_id for each in client.principals.list(kind="user", page_size=1)}
    assert unique not in {each.name for each in client.principals.list(kind="SERVICE_ACCOUNT")}
    with pytest.raises(EtagMismatch):
        client.principals.update(unique, display_name="Eve", etag=made.etag)


def test_people_are_found_by_a_part_of_their_names(client: Client, unique: str) -> None:
    client.principals.create(f"Q{unique}", display_name="Grace")
    client.principals.create(f"robot-{unique}", kind="SERVICE_ACCOUNT", display_name=f"For q{unique}")

    found = client.principals.list(name_contains=f"q{unique}".upper(), page_size=1)
    people = client.principals.list(name_contains=f"q{unique}", kind="USER")

    assert [each.name for each in found] == [f"Q{unique}", f"robot-{unique}"]
    assert [each.name for each in people] == [f"Q{unique}"]


def test_a_service_account_has_an_owner_by_name(client: Client, unique: str) -> None:
    owner = client.principals.create(unique)

    robot = client.principals.create(f"{unique}-robot", kind="SERVICE_ACCOUNT", owner=unique)
    freed = client.principals.update(f"{unique}-robot", owner="")

    assert (robot.kind, robot.owner_id, freed.owner_id) == ("SERVICE_ACCOUNT", owner.principal_id, "")


def test_a_principal_that_cant_be_is_refused(client: Client, unique: str) -> None:
    client.principals.create(unique)

    with pytest.raises(PrincipalExists):
        client.principals.create(unique)
    with pytest.raises(PrincipalNotFound):
        client.principals.get("nobody of this name")
    with pytest.raises(FieldInvalid):
        client.principals.create(f" {unique} ")
    with pytest.raises(InvalidArgument, match="kind 'ROBOT' is not one of USER, SERVICE_ACCOUNT"):
        client.principals.create(f"{unique}-x", kind="ROBOT")
    with pytest.raises(InvalidArgument, match="principal must be the id or the name"):
        client.principals.get("")


def test_groups_have_members_by_name_and_other_groups(client: Client, unique: str) -> None:
    ada, bob = (client.principals.create(f"{unique}-{each}") for each in ("ada", "bob"))
    client.groups.create(f"{unique}-inner", description="inside")
    client.groups.create(f"{unique}-outer")

    client.groups.add(f"{unique}-outer", [ada.name, bob.principal_id], groups=f"{unique}-inner")
    both = client.groups.members(f"{unique}-outer", page_size=1)
    people = {each.principal_id for each in both if not each.group}
    client.groups.remove(f"{unique}-outer", ada.name)
    left = client.groups.members(f"{unique}-outer")

    assert people == {ada.principal_id, bob.principal_id}
    assert [each.group for each in both if each.group] == [f"{unique}-inner"]
    assert [each.principal_id for each in left if not each.group] == [bob.principal_id]
    with pytest.raises(GroupCycle):
        client.groups.add(f"{unique}-inner", groups=[f"{unique}-outer"])


def test_groups_are_listed_of_a_member(client: Client, unique: str) -> None:
    ada = client.principals.create(unique)
    for name in ("a", "b", "c"):
        client.groups.create(f"{unique}-{name}")
    client.groups.add(f"{unique}-b", unique)
    client.groups.add(f"{unique}-a", unique, groups=f"{unique}-b")

    def names(**member: str) -> list[str]:
        return [each.name for each in client.groups.list(page_size=1, **member)]  # type: ignore[arg-type]

    assert names(principal=unique) == names(principal=ada.principal_id) == [f"{unique}-a", f"{unique}-b"]
    assert names(group=f"{unique}-b") == [f"{unique}-a"]
    with pytest.raises(PrincipalNotFound):
        names(principal=SOMEBODY)
    with pytest.raises(GroupNotFound):
        names(group=f"{unique}-d")
    with pytest.raises(InvalidArgument):
        names(principal=unique, group=f"{unique}-b")


def test_groups_are_described_listed_and_deleted(client: Client, unique: str) -> None:
    made = client.groups.create(unique)
    described = client.groups.update(unique, description="ours", etag=made.etag)

    assert client.groups.get(unique) == described
    assert described.description == "ours"
    assert unique in {each.name for each in client.groups.list(page_size=1)}
    with pytest.raises(GroupExists):
        client.groups.create(unique)
    client.groups.delete(unique)
    with pytest.raises(GroupNotFound):
        client.groups.get(unique)


def test_a_call_for_no_member_at_all_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="principals must be at least one principal"):
        client.groups.add("team")
    with pytest.raises(PrincipalNotFound):
        client.groups.remove("team", "nobody of this name")


def test_a_server_without_authentication_knows_nobody(client: Client) -> None:
    found = client.whoami()

    assert (found.authenticated, found.token, found.groups) == (False, None, ())
    assert found.principal.principal_id == ""


def test_who_calls_is_told_with_groups_token_and_grants() -> None:
    answer = access.WhoAmIResponse(
        principal=access.Principal(principal_id=SOMEBODY, kind=access.PRINCIPAL_KIND_USER, name="ada"),
        authenticated=True,
        token=access.Token(token_id="t1", hint="wxyz", creator_id=SOMEBODY),
        groups=["team"],
        grants=[access.Grant(place=access.Place(workspace="w"), roles=["reader"], permissions=["runs.read"])],
    )

    with scripted({access.rpcs.WHO_AM_I: [answer]}) as (client, server):
        found = client.whoami("w")

    assert server.requests[0].workspace == "w"
    assert (found.principal.name, found.principal.kind, found.authenticated) == ("ada", "USER", True)
    assert found.token is not None
    assert (found.token.hint, found.token.creator_id, found.groups) == ("wxyz", SOMEBODY, ("team",))
    (grant,) = found.grants
    assert (grant.place.workspace, grant.roles, grant.permissions) == ("w", ("reader",), ("runs.read",))


def test_a_kind_of_the_future_is_shown_by_its_number() -> None:
    answer = access.GetPrincipalResponse(principal=access.Principal(name="hal", kind=9))  # type: ignore[arg-type]

    with scripted({access.rpcs.GET_PRINCIPAL: [answer]}) as (client, _):
        assert client.principals.get("hal").kind == "UNKNOWN(9)"


def test_what_has_the_form_of_an_id_is_sent_as_one() -> None:
    answers = [access.GetPrincipalResponse(), access.GetPrincipalResponse()]

    with scripted({access.rpcs.GET_PRINCIPAL: answers}) as (client, server):
        client.principals.get(SOMEBODY)
        client.principals.get("ada")

    assert [(each.principal_id, each.name) for each in server.requests] == [(SOMEBODY, ""), ("", "ada")]
