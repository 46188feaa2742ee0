"""What clients can observe of API tokens."""

from __future__ import annotations

import grpc
import pytest

from modelry.api.access import v1 as api
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, Who, bearing, code_of

SERVICE = "access.v1.TokenService"


def is_refused(site: Locked, secret: str) -> bool:
    """Whether the platform does not know who calls."""
    try:
        site.ask("access.v1.PrincipalService/WhoAmI", api.WhoAmIRequest(), bearing(secret))
    except grpc.RpcError as error:
        return code_of(error) == "UNAUTHENTICATED"
    return False


@pytest.fixture
def eve(site: Locked) -> Who:
    return site.somebody()


def test_a_token_of_a_capped_token_does_no_more(site: Locked) -> None:
    capped = site.somebody("admin", role_cap="reader")

    with pytest.raises(grpc.RpcError) as refusal:
        site.ask(f"{SERVICE}/CreateToken", api.CreateTokenRequest(), capped.metadata)
    made = site.ask(f"{SERVICE}/CreateToken", api.CreateTokenRequest(role_cap="reader"), capped.metadata)

    assert code_of(refusal.value) == "PERMISSION_DENIED"
    assert not is_refused(site, made.secret)


def test_both_texts_of_a_rotated_token_are_accepted_for_a_while(site: Locked, eve: Who) -> None:
    rotated = site.ask(f"{SERVICE}/RotateToken", api.RotateTokenRequest(), eve.metadata)

    assert rotated.token.token_id == eve.token_id
    assert not is_refused(site, rotated.secret)
    assert not is_refused(site, eve.secret)


def test_a_revoked_token_is_refused_within_five_seconds(site: Locked, eve: Who) -> None:
    assert not is_refused(site, eve.secret)

    revoked = site.ask(f"{SERVICE}/RevokeToken", api.RevokeTokenRequest(), eve.metadata)

    assert revoked.token.HasField("revoke_time")
    eventually(lambda: is_refused(site, eve.secret), within_s=5)


def test_a_stranger_finds_no_token_of_others(site: Locked, eve: Who) -> None:
    for rpc, request in (
        ("GetToken", api.GetTokenRequest(token_id=site.admin.token_id)),
        ("RevokeToken", api.RevokeTokenRequest(token_id=site.admin.token_id)),
        ("ListTokens", api.ListTokensRequest(principal_id=site.admin.principal_id)),
        ("RevokeTokens", api.RevokeTokensRequest(principal_id=site.admin.principal_id)),
    ):
        with pytest.raises(grpc.RpcError) as refusal:
            site.ask(f"{SERVICE}/{rpc}", request, eve.metadata)
        assert code_of(refusal.value) == "NOT_FOUND"


def test_tokens_are_listed_without_their_texts(site: Locked, eve: Who) -> None:
    listed = site.ask(f"{SERVICE}/ListTokens", api.ListTokensRequest(), eve.metadata)

    assert [each.token_id for each in listed.tokens] == [eve.token_id]
    assert listed.tokens[0].hint == eve.secret[-4:]
    assert eve.secret not in str(listed)
