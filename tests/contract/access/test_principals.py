"""Principals: who calls, who is known, and what becomes of who has left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.access.conftest import UNKNOWN, World, masked, unique
from tests.parts.deployment import Deployment, running
from tests.parts.locked import NOBODY, bearing
from tests.parts.refusal import refused

USER, SERVICE_ACCOUNT = api.PRINCIPAL_KIND_USER, api.PRINCIPAL_KIND_SERVICE_ACCOUNT
BOOTSTRAP = "bootstrap.token"


def of(principal: api.Principal, *paths: str, **fields: Any) -> api.UpdatePrincipalRequest:
    """A request that changes a principal."""
    given = api.Principal(principal_id=principal.principal_id, **fields)
    found: api.UpdatePrincipalRequest = masked(api.UpdatePrincipalRequest(principal=given), *paths)
    return found


def test_a_principal_that_was_made_is_found_by_its_id_and_its_name(world: World) -> None:
    made = world.principal(kind=USER, name=unique("Ada Ł"), display_name="Ada Lovelace")

    by_id = world.ask(api.GetPrincipalRequest(principal_id=made.principal_id)).principal
    by_name = world.ask(api.GetPrincipalRequest(name=made.name)).principal

    assert by_id == by_name == made
    assert (made.kind, made.display_name, made.disabled, len(made.principal_id)) == (USER, "Ada Lovelace", False, 32)
    assert made.create_time == made.update_time
    assert made.etag


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": 0}, "kind"),
        ({"kind": 9}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "x" * 251}, "name"),
        ({"name": " ada"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"display_name": "x" * 251}, "display_name"),
        ({"issuer": "https://unknown.example", "external_id": "1"}, "issuer"),
        ({"issuer": "certificate"}, "external_id"),
        ({"issuer": "certificate", "external_id": "x" * 251}, "external_id"),
        ({"external_id": "1"}, "external_id"),
        ({"owner_id": "ada"}, "owner_id"),
        ({"kind": USER, "owner_id": "0" * 32}, "owner_id"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_a_principal_can_not_be_is_refused_by_its_path(world: World, fields: dict[str, Any], path: str) -> None:
    given: dict[str, Any] = {"kind": SERVICE_ACCOUNT, "name": unique("job"), **fields}

    refusal = world.refused(api.CreatePrincipalRequest(**given))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", [path])


def test_a_taken_name_is_refused(world: World) -> None:
    made = world.principal()

    refusal = world.refused(api.CreatePrincipalRequest(kind=USER, name=made.name))

    assert (refusal.code, refusal.reason, refusal.metadata) == (
        "ALREADY_EXISTS",
        "PRINCIPAL_EXISTS",
        {"name": made.name},
    )


def test_an_issuer_vouches_once_for_an_id(world: World) -> None:
    fields: Any = {"issuer": "certificate", "external_id": unique("spiffe://jobs")}
    made = world.principal(**fields)

    refusal = world.refused(api.CreatePrincipalRequest(kind=SERVICE_ACCOUNT, name=unique("job"), **fields))

    assert (refusal.reason, refusal.metadata) == ("PRINCIPAL_EXISTS", {"name": made.name, **fields})


def test_the_owner_of_a_service_account_must_exist(world: World) -> None:
    refusal = world.refused(
        api.CreatePrincipalRequest(kind=SERVICE_ACCOUNT, name=unique("job"), owner_id=(absent := new_id()))
    )

    assert (refusal.code, refusal.reason, refusal.resource) == (
        "NOT_FOUND",
        "PRINCIPAL_NOT_FOUND",
        ("principal", absent),
    )


def test_a_repeated_request_answers_with_the_same_principal_as_it_is_now(world: World) -> None:
    request = api.CreatePrincipalRequest(kind=USER, name=unique("ada"), request_id=new_id())
    made = world.ask(request).principal
    changed = world.ask(of(made, display_name="Ada")).principal

    assert world.ask(request).principal == changed
    other = api.CreatePrincipalRequest(kind=USER, name=unique("eve"), request_id=request.request_id)
    assert world.refused(other).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("fields", [{}, {"principal_id": "0" * 32, "name": "ada"}, {"principal_id": "ada"}])
def test_a_principal_is_named_in_one_way(world: World, fields: dict[str, str]) -> None:
    assert list(world.refused(api.GetPrincipalRequest(**fields)).violations) == ["principal_id"]


@pytest.mark.parametrize("fields", [{"principal_id": "0" * 32}, {"name": "nobody at all"}])
def test_a_principal_that_is_not_there_is_not_found(world: World, fields: dict[str, str]) -> None:
    refusal = world.refused(api.GetPrincipalRequest(**fields))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PRINCIPAL_NOT_FOUND")
    assert refusal.resource == ("principal", next(iter(fields.values())))


def test_everybody_learns_who_an_id_is_and_no_more(world: World) -> None:
    somebody = world.locked.somebody()
    made = world.principal(kind=USER, display_name="Ada", issuer="certificate", external_id=unique("ada"))

    seen = world.ask(api.GetPrincipalRequest(principal_id=made.principal_id), somebody).principal

    assert seen == api.Principal(principal_id=made.principal_id, kind=USER, name=made.name, display_name="Ada")
    assert world.refused(api.GetPrincipalRequest(name=made.name), somebody).reason == "PRINCIPAL_NOT_FOUND"


def test_who_may_add_members_reads_all_principals(world: World) -> None:
    made, place = world.principal(), api.Place(workspace=world.locked.workspace())
    member, reader = world.locked.somebody("admin", place), world.locked.somebody("reader", place)

    assert world.ask(api.GetPrincipalRequest(name=made.name), member).principal == made
    assert made in world.pages(api.ListPrincipalsRequest(page_size=1000), "principals", member)
    assert [each.name for each in world.ask(api.ListPrincipalsRequest(), reader).principals] == [reader.name]


def test_others_list_themselves_and_the_service_accounts_that_they_own(world: World) -> None:
    owner = world.locked.somebody("reader")
    owned = world.principal(owner_id=owner.principal_id)
    world.principal()

    listed = world.ask(api.ListPrincipalsRequest(), owner).principals

    assert [each.name for each in listed] == sorted([owned.name, owner.name])
    assert world.ask(api.GetPrincipalRequest(name=owned.name), owner).principal == owned


def test_principals_are_listed_by_name_page_by_page_and_by_kind(world: World) -> None:
    made = [world.principal(kind=kind).name for kind in (USER, SERVICE_ACCOUNT, USER)]

    everybody = [each.name for each in world.pages(api.ListPrincipalsRequest(page_size=7), "principals")]
    people = world.pages(api.ListPrincipalsRequest(page_size=2, kind=USER), "principals")

    assert everybody == sorted(set(everybody))
    assert set(made) <= set(everybody)
    assert {made[0], made[2]} <= {each.name for each in people}
    assert {each.kind for each in people} == {USER}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("zOE", {"Zoe L. Łuk", "zoe 100%"}),
        ("L. Łuk", {"Zoe L. Łuk"}),
        ("l. Łuk", {"Zoe L. Łuk"}),
        ("łuk", {"łuk_asz"}),  # of letters beyond A to Z the case counts
        ("ŁUK", {"Zoe L. Łuk"}),
        ("0%", {"zoe 100%"}),
        ("%", {"zoe 100%"}),
        ("_", {"łuk_asz"}),
        ("k_a", {"łuk_asz"}),
        ("*", {"a*[b]?\\c"}),
        ("[b]?\\", {"a*[b]?\\c"}),
        ("[ab]", set()),
        ("a%L", set()),
        ("' OR 1=1 --", set()),
    ],
)
def test_people_are_found_by_a_part_of_their_display_name(world: World, text: str, found: set[str]) -> None:
    mark = unique("q")
    for number, shown in enumerate(["Zoe L. Łuk", "zoe 100%", "łuk_asz", "a*[b]?\\c", ""]):
        world.principal(name=f"{mark}-{number}", display_name=shown)

    listed = world.pages(api.ListPrincipalsRequest(name_contains=text, page_size=100), "principals")

    assert {each.display_name for each in listed if each.name.startswith(mark)} == found


def test_people_are_found_by_a_part_of_their_name_page_by_page(world: World) -> None:
    mark = unique("Mark")
    made = [
        world.principal(name=f"{number}.{mark}@lab", kind=kind)
        for number, kind in enumerate([USER, USER, SERVICE_ACCOUNT])
    ]

    def names(**fields: Any) -> list[str]:
        request = api.ListPrincipalsRequest(page_size=1, **fields)
        return [each.name for each in world.pages(request, "principals")]

    assert names(name_contains=mark.upper()) == [each.name for each in made]
    assert names(name_contains=mark.lower(), kind=SERVICE_ACCOUNT) == [made[2].name]
    assert names(name_contains=f"1.{mark}") == [made[1].name]
    token = world.ask(api.ListPrincipalsRequest(page_size=1, name_contains=mark)).next_page_token
    for text in (mark.upper(), ""):
        request = api.ListPrincipalsRequest(page_size=1, name_contains=text, page_token=token)
        assert world.refused(request).reason == "PAGE_TOKEN_INVALID"


def test_who_reads_only_itself_finds_nobody_else_by_name(world: World) -> None:
    mark = unique("mark")
    owner = world.locked.somebody("reader")
    owned = world.principal(name=f"{mark}-owned", owner_id=owner.principal_id)
    world.principal(name=f"{mark}-other")

    listed = world.ask(api.ListPrincipalsRequest(name_contains=mark), owner).principals

    assert [each.name for each in listed] == [owned.name]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (api.ListPrincipalsRequest(name_contains="x" * 251), "FIELD_INVALID"),
        (api.ListPrincipalsRequest(name_contains="a\nb"), "FIELD_INVALID"),
        (api.ListPrincipalsRequest(page_size=-1), "FIELD_INVALID"),
        (api.ListPrincipalsRequest(kind=9), "FIELD_INVALID"),  # type: ignore[arg-type]
        (api.ListPrincipalsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
    ],
    ids=["long", "controls", "size", "kind", "token"],
)
def test_a_page_that_can_not_be_given_is_refused(
    world: World, request_: api.ListPrincipalsRequest, reason: str
) -> None:
    assert world.refused(request_).reason == reason


def test_the_page_token_of_somebody_else_is_refused(world: World) -> None:
    token = world.ask(api.ListPrincipalsRequest(page_size=1)).next_page_token
    other = world.locked.somebody("admin")

    assert world.refused(api.ListPrincipalsRequest(page_size=1, page_token=token), other).reason == "PAGE_TOKEN_INVALID"


def test_a_principal_changes_by_a_mask_and_an_old_etag_is_refused(world: World) -> None:
    made, owner = world.principal(display_name="Old"), world.locked.somebody()

    named = world.ask(of(made, display_name="New", etag=made.etag)).principal
    owned = world.ask(of(made, "owner_id", owner_id=owner.principal_id, display_name="left alone")).principal
    cleared = world.ask(of(made, "*")).principal

    assert (named.display_name, named.etag != made.etag) == ("New", True)
    assert (owned.display_name, owned.owner_id) == ("New", owner.principal_id)
    assert (cleared.display_name, cleared.owner_id, cleared.disabled) == ("", "", False)
    refusal = world.refused(of(made, display_name="Newer", etag=made.etag))
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", cleared.etag)


def test_an_update_that_changes_nothing_leaves_the_etag(world: World) -> None:
    made = world.principal(display_name="Same")

    assert world.ask(of(made, display_name="Same")).principal == made


@pytest.mark.parametrize(
    ("paths", "fields", "path"),
    [
        (["name"], {"name": "other"}, "update_mask"),
        (["kind"], {}, "update_mask"),
        ([], {"display_name": "x" * 251}, "principal.display_name"),
        ([], {"owner_id": "ada"}, "principal.owner_id"),
    ],
)
def test_what_can_not_change_is_refused(world: World, paths: list[str], fields: dict[str, Any], path: str) -> None:
    assert list(world.refused(of(world.principal(), *paths, **fields)).violations) == [path]


def test_a_person_has_no_owner_and_nobody_owns_itself(world: World) -> None:
    person, job = world.principal(kind=USER), world.principal()

    for made, owner in ((person, job), (job, job)):
        assert list(world.refused(of(made, owner_id=owner.principal_id)).violations) == ["principal.owner_id"]
    assert world.refused(of(job, owner_id=new_id())).reason == "PRINCIPAL_NOT_FOUND"
    assert world.refused(of(api.Principal(principal_id=new_id()), display_name="x")).reason == "PRINCIPAL_NOT_FOUND"


def test_nobody_gets_more_by_owning_an_account_that_may_do_more(world: World) -> None:
    keeper = world.locked.somebody(world.role("principals.write"))
    mighty, weak = world.principal(), world.principal()
    world.locked.bind(mighty.principal_id, "admin")

    refusal = world.refused(of(mighty, owner_id=keeper.principal_id), keeper)

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_TOO_WIDE")
    assert "runs.delete" in refusal.metadata["permissions"]
    assert world.ask(of(weak, owner_id=keeper.principal_id), keeper).principal.owner_id == keeper.principal_id


def test_a_disabled_principal_is_refused_until_it_is_enabled(world: World) -> None:
    somebody = world.locked.somebody("reader")
    other = world.locked.token_of(somebody.principal_id)
    request = api.ListWorkspacesRequest()
    world.ask(request, somebody)

    world.locked.disable(somebody)

    refusal = world.soon_refused(request, somebody)
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
    assert world.soon_refused(request, other).reason == "CREDENTIAL_INVALID"
    assert somebody.name not in refusal.message
    world.ask(of(api.Principal(principal_id=somebody.principal_id), "disabled"))
    assert world.soon(request, somebody).workspaces


def test_who_am_i_says_who_calls_by_what_and_what_it_may_do(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    me = world.locked.somebody("reader", api.Place(workspace=here), description="laptop")
    outer = world.group(groups=[inner := world.group(me.principal_id)])
    world.bind_group(outer, "approver", api.Place(workspace=there))

    found = world.ask(api.WhoAmIRequest(), me)
    in_one = world.ask(api.WhoAmIRequest(workspace=here), me)

    assert found.authenticated
    assert (found.principal.name, found.token.token_id, found.token.description) == (me.name, me.token_id, "laptop")
    assert list(found.groups) == sorted([outer, inner])
    assert {each.place.workspace: list(each.roles) for each in found.grants} == {here: ["reader"], there: ["approver"]}
    assert [each.place.workspace for each in in_one.grants] == [here]
    assert sorted(in_one.grants[0].permissions) == ["audit.read", "files.read", "models.read", "runs.read"]
    assert list(world.refused(api.WhoAmIRequest(workspace="A B"), me).violations) == ["workspace"]


def test_who_am_i_pages_what_the_caller_may_do(world: World) -> None:
    places = [api.Place(workspace=world.locked.workspace()) for _ in range(3)]
    me = world.locked.somebody("reader", places[0])
    for place in places[1:]:
        world.ask(api.CreateRoleBindingRequest(role="writer", principal_id=me.principal_id, place=place))

    first = world.ask(api.WhoAmIRequest(page_size=2), me)
    rest = world.ask(api.WhoAmIRequest(page_size=2, page_token=first.next_page_token), me)

    assert (len(first.grants), len(rest.grants), rest.next_page_token) == (2, 1, "")
    found = {each.place.workspace for each in [*first.grants, *rest.grants]}
    assert found == {place.workspace for place in places}
    with_other = api.WhoAmIRequest(workspace=places[0].workspace, page_token=first.next_page_token)
    assert world.refused(with_other, me).reason == "PAGE_TOKEN_INVALID"


def test_who_am_i_leaves_out_what_the_caps_of_the_token_take_off(world: World) -> None:
    here, there = world.locked.workspace(), world.locked.workspace()
    capped = world.locked.somebody("admin", role_cap="reader", workspaces=[here])

    found = world.ask(api.WhoAmIRequest(), capped)

    assert [each.place.workspace for each in found.grants] == [here]
    assert sorted(found.grants[0].permissions) == ["audit.read", "files.read", "models.read", "runs.read"]
    assert world.refused(api.GetWorkspaceRequest(name=there), capped).reason == "WORKSPACE_NOT_FOUND"


def test_a_role_in_a_workspace_gives_nothing_that_is_of_the_installation(world: World) -> None:
    here = world.locked.workspace()
    me = world.locked.somebody("admin", api.Place(workspace=here))

    [grant] = world.ask(api.WhoAmIRequest(), me).grants

    assert {"bindings.write", "workspaces.write"} <= set(grant.permissions)
    assert not {"roles.write", "principals.write", "access.audit"} & set(grant.permissions)


def test_without_a_credential_nobody_is_answered(world: World) -> None:
    refusal = world.refused(api.WhoAmIRequest(), NOBODY)

    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "CREDENTIAL_MISSING")


def test_only_the_bootstrap_token_makes_the_first_administrator(world: World) -> None:
    refusal = world.refused(api.CreateAdministratorRequest(name=unique("root")))

    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")


def test_the_bootstrap_token_makes_one_administrator_and_does_nothing_else(tmp_path: Path) -> None:
    with running("all", tmp_path, settings={"server.authentication": "required"}) as deployment:
        principals = deployment.stub(api.PrincipalServiceStub)
        metadata = bearing((tmp_path / BOOTSTRAP).read_text().strip())
        workspaces = deployment.stub(api.WorkspaceServiceStub)
        other = refused(workspaces.CreateWorkspace, api.CreateWorkspaceRequest(name="early"), metadata=metadata)
        for name in ("", " root", "x" * 251):
            bad = api.CreateAdministratorRequest(name=name)
            assert list(refused(principals.CreateAdministrator, bad, metadata=metadata).violations) == ["name"]
        later = api.CreateAdministratorRequest.FromString(
            api.CreateAdministratorRequest(name="root").SerializeToString() + UNKNOWN
        )
        assert list(refused(principals.CreateAdministrator, later, metadata=metadata).violations) == ["500"]

        made = principals.CreateAdministrator(
            api.CreateAdministratorRequest(name="root", display_name="The root"), metadata=metadata
        )

        again = refused(principals.CreateAdministrator, api.CreateAdministratorRequest(name="two"), metadata=metadata)
        found = principals.WhoAmI(api.WhoAmIRequest(), metadata=bearing(made.secret))
        assert (other.code, other.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
        assert "can do nothing else" in other.message
        assert (made.principal.name, made.principal.display_name, made.principal.kind) == ("root", "The root", USER)
        assert (found.principal, found.token.token_id) == (made.principal, made.token.token_id)
        assert made.token.creator_id == ""
        assert [(each.place, list(each.roles)) for each in found.grants] == [(api.Place(everywhere=True), ["admin"])]
        assert (again.code, again.reason) == ("UNAUTHENTICATED", "CREDENTIAL_INVALID")
        assert not (tmp_path / BOOTSTRAP).exists()
        deployment.stop()
        deployment.start()
        assert not (tmp_path / BOOTSTRAP).exists()


def test_a_server_that_knows_nobody_says_so(deployment: Deployment) -> None:
    principals = deployment.stub(api.PrincipalServiceStub)

    found = principals.WhoAmI(api.WhoAmIRequest(), metadata=(("modelry-subject", "ann"),))

    assert (found.authenticated, found.principal) == (False, api.Principal(name="ann"))
    with pytest.raises(grpc.RpcError):
        deployment.stub(api.TokenServiceStub).CreateToken(api.CreateTokenRequest())
