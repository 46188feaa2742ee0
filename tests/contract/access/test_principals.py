"""What clients can observe of principals."""

from __future__ import annotations

import secrets

import grpc
import pytest

from modelry.api.access import v1 as api
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, code_of

SERVICE = "access.v1.PrincipalService"


def test_the_first_administrator_is_told_who_it_is(site: Locked) -> None:
    who = site.ask(f"{SERVICE}/WhoAmI", api.WhoAmIRequest())

    assert who.authenticated
    assert (who.principal.principal_id, who.token.token_id) == (site.admin.principal_id, site.admin.token_id)
    assert [(grant.place.workspace, list(grant.roles)) for grant in who.grants] == [("", ["admin"])]
    assert not (site.deployment.folder / "bootstrap.token").exists()


def test_nobody_makes_another_first_administrator(site: Locked) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        site.ask(f"{SERVICE}/CreateAdministrator", api.CreateAdministratorRequest(name="eve"))

    assert code_of(refusal.value) == "PERMISSION_DENIED"


def test_a_stranger_sees_itself_and_of_others_who_they_are(site: Locked) -> None:
    ada, eve = site.somebody(), site.somebody()

    listed = site.ask(f"{SERVICE}/ListPrincipals", api.ListPrincipalsRequest(), eve.metadata).principals
    seen = site.ask(f"{SERVICE}/GetPrincipal", api.GetPrincipalRequest(principal_id=ada.principal_id), eve.metadata)
    with pytest.raises(grpc.RpcError) as refusal:
        site.ask(f"{SERVICE}/GetPrincipal", api.GetPrincipalRequest(name=ada.name), eve.metadata)

    assert [each.principal_id for each in listed] == [eve.principal_id]
    assert (seen.principal.name, seen.principal.etag) == (ada.name, "")
    assert code_of(refusal.value) == "NOT_FOUND"


def test_who_is_disabled_is_refused_within_five_seconds(site: Locked) -> None:
    eve = site.somebody("reader")
    site.ask(f"{SERVICE}/WhoAmI", api.WhoAmIRequest(), eve.metadata)

    def is_refused() -> bool:
        try:
            site.ask(f"{SERVICE}/WhoAmI", api.WhoAmIRequest(), eve.metadata)
        except grpc.RpcError as error:
            return code_of(error) == "UNAUTHENTICATED"
        return False

    site.disable(eve)

    eventually(is_refused, within_s=5)


def test_a_request_that_is_repeated_makes_one_principal(site: Locked) -> None:
    request = api.CreatePrincipalRequest(
        kind=api.PRINCIPAL_KIND_USER, name=f"ada-{secrets.token_hex(6)}", request_id=secrets.token_hex(8)
    )

    first, again = (site.ask(f"{SERVICE}/CreatePrincipal", request) for _ in range(2))

    assert first == again
