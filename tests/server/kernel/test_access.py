"""What a caller may do, and what one hears who may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import ALL, INSTALLATION, Access, Kind, Open, Place, Within, WorkspaceNotFound
from modelry_server.kernel.authority import Authority, Grants, Known
from modelry_server.kernel.caller import NOBODY, Caller, Credential, Identity
from modelry_server.kernel.errors import NotFound, PermissionMissing

READ, WRITE = "runs.read", "runs.write"
IDENTITY = Identity("a" * 32, "ann", Credential.API_TOKEN, "t" * 32)
ANN = Caller("ann", "ab" * 16, credential=Credential.API_TOKEN, identity=IDENTITY, permission=WRITE)
RISK = Place("risk", experiment_id="7")


class Book:
    """Access, which knows ann only."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    def identity(self, bearer: str) -> Known:
        return Known(IDENTITY, self._grants)

    def of_open_call(self, token_id: str, issuer_token: str) -> Known:
        return Known(IDENTITY, self._grants)

    def certificate(self, names: tuple[str, ...], fingerprint: str, expire_time: float) -> Known:
        return Known(IDENTITY, self._grants)

    def grants(self, principal_id: str, groups: frozenset[str]) -> Grants:
        return self._grants


def access_with(**grants: object) -> Access:
    """An access by which ann has these grants."""
    return Access(Authority(Book(Grants(**grants))))  # type: ignore[arg-type]


def test_who_has_the_permission_of_the_rpc_goes_on() -> None:
    access = access_with(workspaces={"risk": frozenset({WRITE})})

    with caller.using(ANN):
        access.require(RISK)
        access.require(Place("risk"))


def test_a_second_permission_can_be_asked_for() -> None:
    access = access_with(workspaces={"risk": frozenset({WRITE})})

    with caller.using(ANN), pytest.raises(PermissionMissing) as caught:
        access.require(RISK, permission=READ)

    assert caught.value.metadata == {"permission": READ, "subject": "ann", "workspace": "risk"}


def test_who_has_no_role_hears_what_one_hears_of_a_thing_that_is_not_there() -> None:
    access = access_with(workspaces={"other": frozenset({WRITE})}, experiments={("risk", "8"): frozenset({WRITE})})

    with caller.using(ANN), pytest.raises(NotFound) as caught:
        access.require(RISK, unseen=lambda: NotFound("there is no run 'x'", kind="run", name="x"))

    assert str(caught.value) == "there is no run 'x'"


def test_without_more_said_it_is_the_workspace_that_is_not_there() -> None:
    access = access_with()

    with caller.using(ANN), pytest.raises(WorkspaceNotFound) as caught:
        access.require(RISK)

    assert (caught.value.message, caught.value.metadata) == ("there is no workspace 'risk'", {"workspace": "risk"})


def test_who_has_a_role_there_is_told_what_is_missing() -> None:
    access = access_with(experiments={("risk", "7"): frozenset({READ})})

    with caller.using(ANN), pytest.raises(PermissionMissing) as caught:
        access.require(RISK, unseen=lambda: NotFound("there is no run 'x'"))

    assert caught.value.message == f"'ann' does not have the permission '{WRITE}' in the workspace 'risk'"
    assert caught.value.metadata == {"permission": WRITE, "subject": "ann", "workspace": "risk"}


@pytest.mark.parametrize(
    ("cap", "place", "said"),
    [
        ({"permission_cap": frozenset({READ})}, RISK, "permissions"),
        ({"workspace_cap": frozenset({"risk"})}, INSTALLATION, "workspaces"),
        ({"permission_cap": frozenset({WRITE}), "workspace_cap": frozenset({"risk"})}, RISK, None),
    ],
)
def test_whose_credential_is_capped_is_told_if_the_cap_forbids_it(
    cap: dict[str, frozenset[str]], place: Place, said: str | None
) -> None:
    capped = replace(ANN, identity=replace(IDENTITY, **cap))  # type: ignore[arg-type]
    access = access_with(workspaces={"risk": frozenset({READ})}, everywhere=frozenset())

    with caller.using(capped), pytest.raises(PermissionMissing) as caught:
        access.require(place)

    assert caught.value.metadata.get("cap") == said
    assert ("the credential of the call is limited to" in caught.value.message) == (said is not None)


@pytest.mark.parametrize("permission", [READ, WRITE])
def test_that_there_is_an_installation_is_no_secret(permission: str) -> None:
    access = access_with()

    with caller.using(ANN), pytest.raises(PermissionMissing, match="for the whole installation"):
        access.require(INSTALLATION, permission=permission)


def test_a_binding_at_an_experiment_of_another_workspace_gives_nothing() -> None:
    access = access_with(experiments={("other", "7"): frozenset({READ, WRITE})})

    with caller.using(ANN):
        assert not access.sees(RISK)
        assert not access.allows(RISK)


def test_a_list_shows_all_of_a_workspace_or_the_parts_where_the_permission_is() -> None:
    parts = {("risk", "7"): frozenset({READ}), ("risk", "8"): frozenset({WRITE}), ("other", "9"): frozenset({WRITE})}

    with caller.using(ANN):
        assert access_with(workspaces={"risk": frozenset({WRITE})}).within("risk") == ALL
        assert access_with(everywhere=frozenset({WRITE})).within("risk") == ALL
        assert access_with(experiments=parts).within("risk") == Within(False, frozenset({"8"}), frozenset())
        assert access_with(models={("risk", "m"): frozenset({READ})}).within("risk") == Within(is_all=False)


def test_a_list_is_refused_to_whom_has_no_role_or_none_that_may_read_it() -> None:
    with caller.using(ANN), pytest.raises(WorkspaceNotFound):
        access_with(workspaces={"other": frozenset({WRITE})}).within("risk")
    with caller.using(ANN), pytest.raises(PermissionMissing):
        access_with(workspaces={"risk": frozenset({READ})}).within("risk")


def test_the_caps_of_a_credential_hold_whatever_its_principal_may() -> None:
    access = access_with(everywhere=frozenset({READ, WRITE}))
    only_reads = replace(ANN, identity=replace(IDENTITY, permission_cap=frozenset({READ})))
    only_risk = replace(ANN, identity=replace(IDENTITY, workspace_cap=frozenset({"risk"})))

    with caller.using(only_reads):
        assert access.allows(RISK, permission=READ)
        assert not access.allows(RISK)
    with caller.using(only_risk):
        assert access.allows(RISK)
        assert not access.sees(Place("other"))
        assert not access.allows(INSTALLATION)
        assert access.workspaces() == frozenset({"risk"})


def test_the_server_itself_may_do_everything() -> None:
    access = access_with()

    access.require(RISK, permission=WRITE)
    assert access.workspaces() is None


@pytest.mark.parametrize("name", ["x" * 101, "x" * 100_000])
def test_a_name_is_cut_in_the_message(name: str) -> None:
    assert WorkspaceNotFound(name).message == f"there is no workspace {'x' * 100!r}"


@pytest.mark.parametrize("permission", [READ, WRITE, *Kind])
def test_without_authentication_everybody_may_do_all_but_what_only_services_may(permission: str) -> None:
    stranger = Caller("ann", "ab" * 16)
    service = Caller("ann", "ab" * 16, is_service=True)
    claims = Caller("ann", "ab" * 16, credential=Credential.SERVICE)
    may = Open().may

    is_for_all = permission != Kind.SERVICE
    assert may(stranger, permission, RISK) == may(claims, permission, RISK) == is_for_all
    assert may(service, permission, RISK)
    assert may(NOBODY, permission, RISK)


def test_who_only_claims_to_be_a_service_may_nothing_where_callers_are_known() -> None:
    access = access_with(everywhere=frozenset({READ, WRITE}))

    with caller.using(Caller("modelry", "ab" * 16, credential=Credential.SERVICE, permission=WRITE)):
        assert not access.allows(RISK)
        assert not access.sees(RISK)
    with caller.using(Caller("modelry", "ab" * 16, is_service=True, permission=WRITE)):
        assert not access.allows(RISK)
