"""API tokens: who makes them, what they may do at most, and how they end."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from modelry.api.access import v1 as api
from modelry.internal.access import v1 as internal
from modelry_server.kernel.ids import new_id
from tests.contract.access.conftest import World, in_seconds, unique
from tests.parts.locked import NOBODY, Who, bearing

WHO = api.WhoAmIRequest()
DAY_S = 86_400


def seconds(time: Timestamp) -> float:
    """A time of an answer, in seconds since 1970."""
    return time.ToMilliseconds() / 1000


def listed(world: World, by: Who, **fields: Any) -> list[str]:
    """The ids of tokens that somebody lists."""
    request = api.ListTokensRequest(**fields)
    return [each.token_id for each in world.pages(request, "tokens", by)]


def test_a_token_is_shown_once_and_known_from_then_on(world: World) -> None:
    me = world.locked.somebody()

    made = world.ask(api.CreateTokenRequest(description="laptop"), me)

    assert re.fullmatch(r"mdy_t_[0-9A-Za-z]{36}", made.secret)
    assert (made.token.principal_id, made.token.description) == (me.principal_id, "laptop")
    assert made.token.hint == made.secret[-4:]
    assert not made.token.HasField("last_use_time")
    assert not made.token.HasField("revoke_time")
    found = world.ask(WHO, bearing(made.secret))
    assert (found.principal.principal_id, found.token.token_id) == (me.principal_id, made.token.token_id)
    read = world.ask(api.GetTokenRequest(token_id=made.token.token_id), me)
    assert read.token == made.token
    assert made.secret not in str(read)
    assert made.secret not in str(world.ask(api.ListTokensRequest(), me))


def test_a_repeated_request_answers_with_the_token_and_without_its_text(world: World) -> None:
    me = world.locked.somebody()
    request = api.CreateTokenRequest(description="job", request_id=new_id())
    first = world.ask(request, me)

    again = world.ask(request, me)

    assert (again.token, again.secret) == (first.token, "")
    other = api.CreateTokenRequest(description="other", request_id=request.request_id)
    assert world.refused(other, me).reason == "REQUEST_ID_REUSED"
    world.ask(api.RevokeTokenRequest(token_id=first.token.token_id), me)
    assert world.ask(request, me).token.HasField("revoke_time")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"description": "x" * 251}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"role_cap": "x" * 64}, "role_cap"),
        ({"workspaces": ["Not A Name"]}, "workspaces[0]"),
        ({"workspaces": [f"w-{number}" for number in range(101)]}, "workspaces"),
        ({"principal_id": "me"}, "principal_id"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_a_token_can_not_be_is_refused_by_its_path(world: World, fields: dict[str, Any], path: str) -> None:
    refusal = world.refused(api.CreateTokenRequest(**fields))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])


@pytest.mark.parametrize("after_s", [-1.0, 366.0 * DAY_S])
def test_a_token_ends_within_a_year_from_now(world: World, after_s: float) -> None:
    for request in (
        api.CreateTokenRequest(expire_time=in_seconds(after_s)),
        api.RotateTokenRequest(token_id=world.locked.somebody().token_id, expire_time=in_seconds(after_s)),
    ):
        assert list(world.refused(request).violations) == ["expire_time"]


def test_a_token_ends_in_ninety_days_and_one_made_by_a_token_not_after_that_one(world: World) -> None:
    made = world.ask(api.GetTokenRequest(token_id=world.admin.token_id)).token
    me = world.locked.somebody(expire_time=(end := in_seconds(3600)))

    usual = world.ask(api.CreateTokenRequest(), me).token

    assert round((seconds(made.expire_time) - seconds(made.create_time)) / DAY_S) == 90
    assert usual.expire_time == end
    refusal = world.refused(api.CreateTokenRequest(expire_time=in_seconds(7200)), me)
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert refusal.metadata["latest"] == end.ToJsonString()


def test_a_token_that_has_ended_is_refused(world: World) -> None:
    me = world.locked.somebody(expire_time=in_seconds(1.5))
    world.ask(WHO, me)

    refusal = world.soon_refused(WHO, me)

    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
    assert me.secret[6:] not in str(refusal)
    assert listed(world, world.admin, principal_id=me.principal_id) == []
    assert listed(world, world.admin, principal_id=me.principal_id, with_ended=True) == [me.token_id]


def test_a_token_may_do_no_more_than_its_cap(world: World) -> None:
    place = api.Place(workspace=world.locked.workspace())
    me = world.locked.somebody("admin", place, role_cap="reader")
    given = api.Workspace(name=place.workspace, description="Words.")

    refusal = world.refused(api.UpdateWorkspaceRequest(workspace=given), me)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert world.ask(api.GetWorkspaceRequest(name=place.workspace), me).workspace.name == place.workspace


def test_a_cap_of_workspaces_hides_all_others_and_what_is_of_the_installation(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    me = world.locked.somebody("admin", workspaces=[here])

    names = [each.name for each in world.ask(api.ListWorkspacesRequest(), me).workspaces]

    assert names == [here]
    assert world.refused(api.GetWorkspaceRequest(name=there), me).reason == "WORKSPACE_NOT_FOUND"
    assert world.refused(api.ListAuditRecordsRequest(), me).reason == "PERMISSION_MISSING"
    assert world.refused(api.CreateWorkspaceRequest(name=unique("w")), me).reason == "PERMISSION_MISSING"


def test_a_cap_on_a_role_that_is_not_there_is_refused(world: World) -> None:
    refusal = world.refused(api.CreateTokenRequest(role_cap="no-such-role"))

    assert (refusal.code, refusal.reason, refusal.resource) == (
        "NOT_FOUND",
        "ROLE_NOT_FOUND",
        ("role", "no-such-role"),
    )


def test_a_capped_token_makes_none_that_may_do_more(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    me = world.locked.somebody("admin", role_cap="writer", workspaces=[here])
    mine: dict[str, Any] = {"role_cap": "writer", "workspaces": [here]}

    wide: list[dict[str, Any]] = [{"role_cap": ""}, {"role_cap": "admin"}, {"workspaces": []}]
    for wider in [*wide, {"workspaces": [here, there]}]:
        refusal = world.refused(api.CreateTokenRequest(**{**mine, **wider}), me)
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert world.ask(api.CreateTokenRequest(**mine), me).secret
    assert world.ask(api.CreateTokenRequest(**{**mine, "role_cap": "reader"}), me).secret


def test_a_token_says_who_made_it_whoever_rotates_or_revokes_it(world: World) -> None:
    owner = world.locked.somebody()
    job = world.owned(owner)
    own, by_owner = api.CreateTokenRequest(), api.CreateTokenRequest(principal_id=job)

    made = [world.ask(own, owner).token, world.ask(by_owner, owner).token, world.ask(by_owner).token]
    by_others = [
        world.ask(api.RotateTokenRequest(token_id=made[1].token_id)).token,
        world.ask(api.RevokeTokenRequest(token_id=made[2].token_id), owner).token,
    ]

    assert [each.creator_id for each in made] == [owner.principal_id, owner.principal_id, world.admin.principal_id]
    assert [each.creator_id for each in by_others] == [owner.principal_id, world.admin.principal_id]
    listed = world.ask(api.ListTokensRequest(principal_id=job, with_ended=True), owner).tokens
    assert {each.token_id: each.creator_id for each in listed} == {each.token_id: each.creator_id for each in by_others}
    assert world.ask(api.GetTokenRequest(token_id=made[0].token_id), owner).token.creator_id == owner.principal_id


def test_the_owner_of_a_service_account_makes_its_tokens_and_others_do_not(world: World) -> None:
    owner, other = world.locked.somebody(), world.locked.somebody()
    job = world.owned(owner, "admin")

    made = world.ask(api.CreateTokenRequest(principal_id=job), owner)

    assert world.ask(WHO, bearing(made.secret)).principal.principal_id == job
    for of_job in (api.CreateTokenRequest, api.ListTokensRequest, api.RevokeTokensRequest):
        refusal = world.refused(of_job(principal_id=job), other)
        assert (refusal.code, refusal.reason, refusal.resource) == (
            "NOT_FOUND",
            "PRINCIPAL_NOT_FOUND",
            ("principal", job),
        )
    for of_token in (api.GetTokenRequest, api.RotateTokenRequest, api.RevokeTokenRequest):
        refusal = world.refused(of_token(token_id=made.token.token_id), other)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "TOKEN_NOT_FOUND")


def test_who_sees_an_account_is_told_which_permission_its_tokens_need(world: World) -> None:
    member = world.locked.somebody("admin", api.Place(workspace=world.locked.workspace()))
    job = world.locked.somebody()

    assert world.ask(api.GetPrincipalRequest(principal_id=job.principal_id), member).principal.name
    for of_job, permission in (
        (api.CreateTokenRequest, "tokens.create"),
        (api.ListTokensRequest, "tokens.read"),
        (api.RevokeTokensRequest, "tokens.revoke"),
    ):
        refusal = world.refused(of_job(principal_id=job.principal_id), member)
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
        assert (refusal.metadata["permission"], refusal.metadata["workspace"]) == (permission, "")
        assert world.refused(of_job(principal_id=new_id()), member).reason == "PRINCIPAL_NOT_FOUND"
    assert world.refused(api.GetTokenRequest(token_id=job.token_id), member).reason == "TOKEN_NOT_FOUND"


def test_nobody_makes_tokens_of_another_person(world: World) -> None:
    person = world.principal(kind=api.PRINCIPAL_KIND_USER)
    invite = api.CreateTokenRequest(principal_id=person.principal_id)
    lost, invitation = world.ask(invite), world.ask(invite)
    invited = bearing(invitation.secret)

    assert (lost.token.invitation, invitation.token.invitation) == (True, True)
    assert world.ask(api.GetTokenRequest(token_id=lost.token.token_id)).token.HasField("revoke_time")
    assert world.refused(api.CreateTokenRequest(), invited).reason == "TOKEN_IS_INVITATION"
    by_another = world.refused(api.RotateTokenRequest(token_id=invitation.token.token_id))
    assert list(by_another.violations) == ["token_id"]
    assert world.ask(api.WhoAmIRequest(), invited).token.invitation
    exchanged = world.ask(api.RotateTokenRequest(), invited)
    assert not exchanged.token.invitation
    assert world.ask(api.CreateTokenRequest(), bearing(exchanged.secret)).secret
    assert list(world.refused(invite).violations) == ["principal_id"]
    assert world.refused(api.CreateTokenRequest(principal_id=new_id())).reason == "PRINCIPAL_NOT_FOUND"


def test_who_makes_tokens_gets_none_of_an_account_that_may_do_more(world: World) -> None:
    keeper = world.locked.somebody(world.role("tokens.create"))
    mighty, weak = world.locked.somebody("admin"), world.locked.somebody()

    refusal = world.refused(api.CreateTokenRequest(principal_id=mighty.principal_id), keeper)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert world.refused(api.RotateTokenRequest(token_id=mighty.token_id), keeper).reason == "GRANT_TOO_WIDE"
    assert world.ask(api.CreateTokenRequest(principal_id=weak.principal_id), keeper).secret


def test_a_disabled_account_gets_no_token(world: World) -> None:
    me = world.locked.somebody()
    world.locked.disable(me)

    refusal = world.refused(api.CreateTokenRequest(principal_id=me.principal_id))

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PRINCIPAL_DISABLED")
    assert world.refused(api.RotateTokenRequest(token_id=me.token_id)).reason == "TOKEN_NOT_FOUND"


def test_a_principal_has_a_hundred_tokens_in_force_at_most(world: World) -> None:
    me = world.locked.somebody()
    last = [world.ask(api.CreateTokenRequest(), me) for _ in range(99)][-1]

    refusal = world.refused(api.CreateTokenRequest(), me)

    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LIMIT_REACHED")
    world.ask(api.RevokeTokenRequest(token_id=last.token.token_id), me)
    assert world.ask(api.CreateTokenRequest(), me).secret


def test_tokens_are_listed_the_newest_first_page_by_page(world: World) -> None:
    me = world.locked.somebody()
    made = [me.token_id, *(world.ask(api.CreateTokenRequest(), me).token.token_id for _ in range(4))]
    world.ask(api.RevokeTokenRequest(token_id=made[2]), me)

    assert listed(world, me, page_size=2, with_ended=True) == made[::-1]
    assert listed(world, me, page_size=2) == [each for each in made[::-1] if each != made[2]]
    assert listed(world, world.admin, principal_id=me.principal_id, with_ended=True) == made[::-1]
    assert world.refused(api.ListTokensRequest(page_size=-1), me).reason == "FIELD_INVALID"
    assert world.refused(api.ListTokensRequest(page_token="x"), me).reason == "PAGE_TOKEN_INVALID"
    assert world.refused(api.ListTokensRequest(principal_id=new_id())).reason == "PRINCIPAL_NOT_FOUND"


def test_a_rotated_token_has_a_new_text_and_its_old_one_for_a_while(world: World) -> None:
    place = api.Place(workspace=world.locked.workspace())
    me = world.locked.somebody("writer", place, role_cap="reader", description="job")
    before = world.ask(api.GetTokenRequest(token_id=me.token_id), me).token

    rotated = world.ask(api.RotateTokenRequest(expire_time=(end := in_seconds(DAY_S))), me)

    assert rotated.secret not in ("", me.secret)
    assert (rotated.token.token_id, rotated.token.role_cap) == (before.token_id, "reader")
    assert (rotated.token.description, rotated.token.expire_time) == ("job", end)
    assert rotated.token.hint == rotated.secret[-4:]
    for secret in (me.secret, rotated.secret):
        assert world.soon(WHO, bearing(secret)).token.token_id == me.token_id
    again = world.ask(api.RotateTokenRequest(), bearing(rotated.secret))
    assert world.soon_refused(WHO, me).reason == "CREDENTIAL_INVALID"
    assert world.soon(WHO, bearing(rotated.secret)).token.token_id == me.token_id
    assert world.soon(WHO, bearing(again.secret)).token.token_id == me.token_id


def test_the_old_text_of_a_rotated_token_ends_when_it_would_have_ended(world: World) -> None:
    me = world.locked.somebody(expire_time=in_seconds(3))
    rotated = world.ask(api.RotateTokenRequest(), me)
    world.ask(WHO, me)
    assert world.ask(WHO, bearing(rotated.secret)).principal.name == me.name

    refusal = world.soon_refused(WHO, me)

    assert refusal.reason == "CREDENTIAL_INVALID"


def test_what_has_ended_is_not_rotated(world: World) -> None:
    me = world.locked.somebody()
    world.locked.revoke(me)

    refusal = world.refused(api.RotateTokenRequest(token_id=me.token_id))

    assert (refusal.code, refusal.reason, refusal.resource) == (
        "NOT_FOUND",
        "TOKEN_NOT_FOUND",
        ("token", me.token_id),
    )
    assert "create another one" in refusal.message


@pytest.mark.parametrize("kind", [api.GetTokenRequest, api.RotateTokenRequest, api.RevokeTokenRequest])
def test_a_token_that_is_not_there_is_not_found(world: World, kind: Any) -> None:
    assert world.refused(kind(token_id=(absent := new_id()))).resource == ("token", absent)
    assert list(world.refused(kind(token_id="x")).violations) == ["token_id"]


def test_a_revoked_token_is_refused_for_ever_with_both_of_its_texts(world: World) -> None:
    me = world.locked.somebody()
    rotated = world.ask(api.RotateTokenRequest(), me)
    world.soon(WHO, bearing(rotated.secret))
    world.ask(WHO, me)

    first = world.ask(api.RevokeTokenRequest(token_id=me.token_id)).token
    again = world.ask(api.RevokeTokenRequest(token_id=me.token_id)).token

    assert first.HasField("revoke_time")
    assert again == first
    for secret in (me.secret, rotated.secret):
        assert world.soon_refused(WHO, bearing(secret)).reason == "CREDENTIAL_INVALID"


def test_a_caller_revokes_the_token_that_it_uses_by_naming_none(world: World) -> None:
    me = world.locked.somebody()

    assert world.ask(api.RevokeTokenRequest(), me).token.token_id == me.token_id
    assert world.soon_refused(WHO, me).code == "UNAUTHENTICATED"


def test_all_tokens_of_a_principal_are_revoked_at_once(world: World) -> None:
    me = world.locked.somebody()
    other = world.locked.token_of(me.principal_id)
    world.ask(api.RevokeTokenRequest(token_id=world.ask(api.CreateTokenRequest(), me).token.token_id), me)

    assert world.ask(api.RevokeTokensRequest(principal_id=me.principal_id)).revoked_count == 2

    assert world.ask(api.RevokeTokensRequest(principal_id=me.principal_id)).revoked_count == 0
    for each in (me, other):
        assert world.soon_refused(WHO, each).reason == "CREDENTIAL_INVALID"
    later = world.locked.token_of(me.principal_id)
    assert world.ask(WHO, later).principal.name == me.name


def test_who_may_only_read_tokens_revokes_none(world: World) -> None:
    auditor = world.locked.somebody(world.role("tokens.read"))
    guard = world.locked.somebody(world.role("tokens.revoke"))
    me = world.locked.somebody()

    assert world.ask(api.GetTokenRequest(token_id=me.token_id), auditor).token.principal_id == me.principal_id
    assert world.refused(api.RevokeTokenRequest(token_id=me.token_id), auditor).reason == "PERMISSION_MISSING"
    assert world.refused(api.RotateTokenRequest(token_id=me.token_id), guard).reason == "PERMISSION_MISSING"
    assert world.ask(api.RevokeTokenRequest(token_id=me.token_id), guard).token.HasField("revoke_time")


def test_the_last_use_of_a_token_is_what_services_tell(world: World) -> None:
    me = world.locked.somebody()
    told = internal.LogTokenUsesRequest(token_ids=[me.token_id, "no token at all"])
    before = world.ask(api.GetTokenRequest(token_id=me.token_id), me).token

    world.locked.call("/modelry.internal.access.v1.IdentityService/LogTokenUses", told, NOBODY)

    after = world.ask(api.GetTokenRequest(token_id=me.token_id), me).token
    assert not before.HasField("last_use_time")
    assert seconds(after.last_use_time) >= seconds(after.create_time)


def test_a_capped_token_gets_no_text_of_a_wider_one(world: World) -> None:
    me = world.locked.somebody("admin")
    capped = world.locked.token_of(me.principal_id, role_cap="reader")

    refusal = world.refused(api.RotateTokenRequest(token_id=me.token_id), capped)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert world.ask(api.RotateTokenRequest(), capped).token.role_cap == "reader"
