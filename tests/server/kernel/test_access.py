"""What a caller may do, and what one hears who may not."""

from __future__ import annotations

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.access import INSTALLATION, Access, Permission, Place, WorkspaceNotFound
from modelry_server.kernel.caller import NOBODY, Caller, Credential
from modelry_server.kernel.errors import NotFound, PermissionMissing
from modelry_server.permissions import may

READ, WRITE, ADMIN, SERVICE = Permission.READ, Permission.WRITE, Permission.ADMIN, Permission.SERVICE
ANN = Caller("ann", "ab" * 16)
RISK = Place("risk", experiment_id="7")


def granting(*permissions: Permission) -> tuple[Access, list[tuple[Caller, Permission, Place]]]:
    """An access that grants some permissions, and what it was asked."""
    asked: list[tuple[Caller, Permission, Place]] = []

    def judge(who: Caller, permission: Permission, place: Place) -> bool:
        asked.append((who, permission, place))
        return permission in permissions

    return Access(judge), asked


def test_who_has_the_permission_goes_on_and_the_judge_is_asked_for_the_current_caller() -> None:
    access, asked = granting(WRITE)

    with caller.using(ANN):
        access.require(WRITE, RISK)

    assert asked == [(ANN, WRITE, RISK)]


@pytest.mark.parametrize("permission", [READ, WRITE, ADMIN, SERVICE])
def test_who_may_not_read_hears_what_one_hears_of_a_thing_that_is_not_there(permission: Permission) -> None:
    access, _ = granting()

    with pytest.raises(NotFound) as caught:
        access.require(permission, RISK, unseen=lambda: NotFound("there is no run 'x'", kind="run", name="x"))

    assert str(caught.value) == "there is no run 'x'"


def test_without_more_said_it_is_the_workspace_that_is_not_there() -> None:
    access, _ = granting()

    with pytest.raises(WorkspaceNotFound) as caught:
        access.require(READ, RISK)

    assert (caught.value.message, caught.value.metadata) == ("there is no workspace 'risk'", {"workspace": "risk"})


@pytest.mark.parametrize("permission", [WRITE, ADMIN, SERVICE])
def test_who_may_read_but_not_do_it_is_told_what_is_missing(permission: Permission) -> None:
    access, _ = granting(READ)

    with caller.using(ANN), pytest.raises(PermissionMissing) as caught:
        access.require(permission, RISK, unseen=lambda: NotFound("there is no run 'x'"))

    assert caught.value.message == f"'ann' does not have the permission '{permission}' in the workspace 'risk'"
    assert caught.value.metadata == {"permission": permission, "subject": "ann", "workspace": "risk"}


@pytest.mark.parametrize("permission", [READ, ADMIN])
def test_that_there_is_an_installation_is_no_secret(permission: Permission) -> None:
    access, _ = granting()

    with caller.using(ANN), pytest.raises(PermissionMissing, match="for the whole installation"):
        access.require(permission, INSTALLATION)


def test_a_list_can_ask_without_being_refused() -> None:
    access, asked = granting(READ)

    with caller.using(ANN):
        assert access.allows(READ, RISK)
        assert not access.allows(WRITE, RISK)

    assert asked == [(ANN, READ, RISK), (ANN, WRITE, RISK)]


@pytest.mark.parametrize("name", ["x" * 101, "x" * 100_000])
def test_a_name_is_cut_in_the_message(name: str) -> None:
    assert WorkspaceNotFound(name).message == f"there is no workspace {'x' * 100!r}"


@pytest.mark.parametrize("permission", list(Permission))
def test_without_authentication_everybody_may_do_all_but_what_only_services_may(permission: Permission) -> None:
    service = Caller("ann", "ab" * 16, is_service=True)
    claims = Caller("ann", "ab" * 16, credential=Credential.SERVICE)

    assert may(ANN, permission, RISK) == may(claims, permission, RISK) == (permission is not SERVICE)
    assert may(service, permission, RISK)
    assert may(NOBODY, permission, RISK)
