"""Contract in, contract out: what the messages of access say of its nouns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelry.api.access import v1 as api
from modelry.api.common import v1 as common
from modelry.internal.access import v1 as internal
from modelry_server.access.domain.changes import Changes
from modelry_server.access.rpc.audit import AuditService
from modelry_server.access.rpc.identities import IdentityService
from modelry_server.access.rpc.principals import PrincipalService
from modelry_server.access.rpc.tokens import TokenService
from modelry_server.access.rpc.workspaces import WorkspaceService
from modelry_server.identities import _grants, _identity
from modelry_server.kernel import caller
from modelry_server.kernel.access import Access, Kind, Open, Place
from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import CredentialInvalid, DatabaseUnavailable, FieldInvalid, PermissionMissing
from modelry_server.kernel.requests.paging import Pager
from modelry_server.permissions import Permission
from tests.server.access import written
from tests.server.access.conftest import FIRST, ONCE, TRACE, Installation

CONTEXT: Any = None
"""The servicers do not look at it."""
SERVICE = Caller("modelry", TRACE, credential=caller.Credential.SERVICE, is_service=True)


@pytest.fixture
def pager() -> Pager:
    return Pager(b"a secret for tests")


@pytest.fixture
def principals(installation: Installation, pager: Pager) -> PrincipalService:
    return PrincipalService(installation.principals, installation.bootstrap, pager)


@pytest.fixture
def tokens(installation: Installation, pager: Pager) -> TokenService:
    return TokenService(installation.tokens, pager)


@pytest.fixture
def identities(installation: Installation) -> Iterator[IdentityService]:
    """The service, called by another service."""
    changes = Changes(installation.db)
    with caller.using(SERVICE):
        yield IdentityService(installation.identities, changes, installation.tokens, Access(Open()))


def test_the_bootstrap_token_makes_the_first_administrator(
    installation: Installation, principals: PrincipalService
) -> None:
    installation.bootstrap.ensure()
    text = (installation.folder / "bootstrap.token").read_text().strip()

    with installation.by(text, Kind.BOOTSTRAP):
        made = principals.CreateAdministrator(api.CreateAdministratorRequest(name="ada"), CONTEXT)
    with installation.by(made.secret):
        who = principals.WhoAmI(api.WhoAmIRequest(), CONTEXT)

    assert who.principal == made.principal
    assert who.token == made.token
    assert who.token.creator_id == ""
    assert who.authenticated
    assert [(each.place.workspace, list(each.roles)) for each in who.grants] == [("", ["admin"])]
    assert set(who.grants[0].permissions) == set(Permission)


def test_a_server_that_knows_nobody_repeats_what_the_client_says(principals: PrincipalService) -> None:
    with caller.using(Caller("ada", TRACE)):
        who = principals.WhoAmI(api.WhoAmIRequest(), CONTEXT)

    assert who == api.WhoAmIResponse(principal=api.Principal(name="ada"))


def test_a_principal_as_others_see_it_has_no_more_than_its_name(
    installation: Installation, principals: PrincipalService
) -> None:
    ada = installation.principal("ada")
    _, strange = installation.token(installation.principal("eve"))
    _, own = installation.token(ada)

    with installation.by(strange):
        seen = principals.GetPrincipal(api.GetPrincipalRequest(principal_id=ada.principal_id), CONTEXT)
    with installation.by(own):
        whole = principals.GetPrincipal(api.GetPrincipalRequest(name="ada"), CONTEXT)

    assert seen.principal == api.Principal(
        principal_id=ada.principal_id, kind=api.PRINCIPAL_KIND_USER, name="ada", display_name="The ada"
    )
    assert whole.principal.etag == "1"
    assert whole.principal.create_time.ToMilliseconds() == ada.create_time


def test_principals_are_made_changed_and_listed_page_by_page(
    installation: Installation, principals: PrincipalService
) -> None:
    _, text = installation.token(installation.principal("admin", "admin"))

    with installation.by(text, Permission.PRINCIPALS_WRITE):
        for name in ("robot-2", "robot-1"):
            request = api.CreatePrincipalRequest(name=name, kind=api.PRINCIPAL_KIND_SERVICE_ACCOUNT)
            made = principals.CreatePrincipal(request, CONTEXT).principal
        changed = principals.UpdatePrincipal(
            api.UpdatePrincipalRequest(principal=api.Principal(principal_id=made.principal_id, disabled=True)), CONTEXT
        ).principal
        wanted = api.ListPrincipalsRequest(page_size=1, kind=api.PRINCIPAL_KIND_SERVICE_ACCOUNT)
        first = principals.ListPrincipals(wanted, CONTEXT)
        wanted.page_token = first.next_page_token
        second = principals.ListPrincipals(wanted, CONTEXT)

    assert changed.disabled
    assert [each.name for each in (*first.principals, *second.principals)] == ["robot-1", "robot-2"]
    assert first.principals[0] == changed
    assert not second.next_page_token


def test_a_token_goes_through_its_life(installation: Installation, tokens: TokenService) -> None:
    ada = installation.principal("ada", "admin")
    _, text = installation.token(ada)
    request = api.CreateTokenRequest(description="job", role_cap="reader", workspaces=["risk"])
    request.expire_time.FromMilliseconds(installation.clock.now() + 60_000)

    with installation.by(text):
        made = tokens.CreateToken(request, CONTEXT)
        rotated = tokens.RotateToken(api.RotateTokenRequest(token_id=made.token.token_id), CONTEXT)
        listed = tokens.ListTokens(api.ListTokensRequest(page_size=1), CONTEXT)
        revoked = tokens.RevokeToken(api.RevokeTokenRequest(token_id=made.token.token_id), CONTEXT)
        found = tokens.GetToken(api.GetTokenRequest(token_id=made.token.token_id), CONTEXT)
        count = tokens.RevokeTokens(api.RevokeTokensRequest(), CONTEXT).revoked_count

    token = made.token
    assert (token.description, token.role_cap, list(token.workspaces)) == ("job", "reader", ["risk"])
    assert (token.expire_time, token.creator_id) == (request.expire_time, ada.principal_id)
    assert not token.HasField("last_use_time")
    assert not token.HasField("revoke_time")
    assert rotated.secret != made.secret
    assert rotated.token.hint == rotated.secret[-4:]
    assert list(listed.tokens) == [rotated.token]
    assert listed.next_page_token
    assert found.token == revoked.token
    assert revoked.token.HasField("revoke_time")
    assert count == 1


def test_an_identity_comes_to_other_services_as_access_knows_it(
    installation: Installation, tokens: TokenService, identities: IdentityService
) -> None:
    ada = installation.principal("ada", "writer", Place("default"))
    with installation.db.write() as tx:
        written.a_group(tx, "staff", people=[ada.principal_id])
        written.bind(tx, "reader", "staff", Place("risk", model_id="m-1"), is_group=True)
        written.bind(tx, "reader", "staff", Place("risk", experiment_id="7"), is_group=True)
    _, whole = installation.token(ada)
    with installation.by(whole):
        capped = tokens.CreateToken(api.CreateTokenRequest(role_cap="reader", workspaces=["risk"]), CONTEXT).secret

    for text in (whole, capped):
        answer = identities.GetIdentity(internal.GetIdentityRequest(bearer=text), CONTEXT)
        known = installation.identities.identity(text)
        assert _identity(answer.identity) == known.identity
        assert _grants(answer.grants, answer.groups) == known.grants
        assert list(answer.groups) == ["staff"]
    grants = identities.GetGrants(internal.GetGrantsRequest(principal_id=ada.principal_id, groups=["guests"]), CONTEXT)
    assert _grants(grants.grants, grants.groups) == installation.identities.grants(
        ada.principal_id, frozenset({"guests"})
    )


def test_the_bootstrap_token_and_certificates_come_as_what_they_are(
    installation: Installation, identities: IdentityService
) -> None:
    installation.bootstrap.ensure()
    text = (installation.folder / "bootstrap.token").read_text().strip()
    certificate = internal.ClientCertificate(names=["robot.example"], fingerprint="f1")
    certificate.expire_time.FromMilliseconds(installation.clock.now() + 60_000)

    answer = identities.GetIdentity(internal.GetIdentityRequest(bearer=text), CONTEXT)

    assert answer.identity.caps.bootstrap
    assert not answer.grants
    with pytest.raises(CredentialInvalid):
        identities.GetIdentity(internal.GetIdentityRequest(certificate=certificate), CONTEXT)
    with pytest.raises(FieldInvalid):
        identities.GetIdentity(internal.GetIdentityRequest(), CONTEXT)
    with pytest.raises(FieldInvalid):
        identities.GetGrants(internal.GetGrantsRequest(principal_id="no id"), CONTEXT)


def test_only_services_ask_who_callers_are(installation: Installation, identities: IdentityService) -> None:
    with caller.using(Caller("eve", TRACE)):
        asked: list[tuple[Any, object]] = [
            (identities.GetIdentity, internal.GetIdentityRequest(bearer="x")),
            (identities.GetGrants, internal.GetGrantsRequest()),
            (identities.WatchChanges, internal.WatchChangesRequest()),
            (identities.LogTokenUses, internal.LogTokenUsesRequest()),
        ]
        for ask, request in asked:
            with pytest.raises(PermissionMissing):
                ask(request, CONTEXT)


def test_a_stream_tells_changes_and_ends_when_the_database_is_away(
    installation: Installation, identities: IdentityService
) -> None:
    token, text = installation.token(installation.principal("ada"))
    stream: Any = identities.WatchChanges(internal.WatchChangesRequest(), CONTEXT)
    first = next(stream)

    with installation.by(text):
        installation.tokens.revoke("")
    assert stream.wait()
    told = next(stream)
    installation.db.interrupt()

    assert not first.changes
    assert list(told.changes) == [internal.Change(credential_id=token.token_id)]
    assert told.revision == first.revision + 1
    assert stream.wait()
    with pytest.raises(DatabaseUnavailable):
        next(stream)


def test_uses_are_noted(installation: Installation, identities: IdentityService, tokens: TokenService) -> None:
    token, text = installation.token(installation.principal("ada"))

    identities.LogTokenUses(internal.LogTokenUsesRequest(token_ids=[token.token_id, "digest"]), CONTEXT)
    with pytest.raises(FieldInvalid):
        identities.LogTokenUses(internal.LogTokenUsesRequest(token_ids=["x"] * 1001), CONTEXT)

    with installation.by(text):
        found = tokens.GetToken(api.GetTokenRequest(token_id=token.token_id), CONTEXT)
    assert found.token.last_use_time.ToMilliseconds() == installation.clock.now()


def test_quotas_come_back_as_they_were_given(installation: Installation, pager: Pager) -> None:
    workspaces = WorkspaceService(installation.workspaces, pager)
    _, text = installation.token(installation.principal("ada", "admin"))
    quotas = api.WorkspaceQuotas(run_count=10, version_count=0)

    with installation.by(text, Permission.WORKSPACES_CREATE):
        made = workspaces.CreateWorkspace(api.CreateWorkspaceRequest(name="risk", quotas=quotas), CONTEXT).workspace
        plain = workspaces.CreateWorkspace(api.CreateWorkspaceRequest(name="lab"), CONTEXT).workspace
        update = api.UpdateWorkspaceRequest(workspace=api.Workspace(name="risk"))
        update.update_mask.paths.append("quotas")
        changed = workspaces.UpdateWorkspace(update, CONTEXT).workspace

    assert made.quotas == quotas
    assert not plain.HasField("quotas")
    assert not changed.HasField("quotas")


def test_an_audit_record_repeats_what_its_body_says(installation: Installation, pager: Pager) -> None:
    audit = AuditService(installation.audit, pager)
    token, text = installation.token(installation.principal("ada", "admin"))

    with installation.by(text, Permission.ACCESS_AUDIT):
        installation.tokens.create("", FIRST, ONCE)
        request = api.ListAuditRecordsRequest(resource_type="token", page_size=1)
        newest = audit.ListAuditRecords(request, CONTEXT)

    (record,) = newest.records
    assert newest.next_page_token
    assert (record.chain, record.action, record.actor) == ("access", "token.created", token.principal_id)
    assert record.credential_kind == common.CREDENTIAL_KIND_API_TOKEN
    assert record.create_time.ToMilliseconds() == installation.clock.now()
