"""What other services can observe of who callers are."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as api
from modelry.internal.access import v1 as internal
from tests.parts.locked import Locked, code_of
from tests.parts.vouched import vouched

SERVICE = "/modelry.internal.access.v1.IdentityService"


def test_a_credential_comes_with_who_has_it_and_what_they_may_do(site: Locked) -> None:
    eve = site.somebody("reader", api.Place(workspace="default"), role_cap="reader", workspaces=["default"])

    answer = site.call(f"{SERVICE}/GetIdentity", internal.GetIdentityRequest(bearer=eve.secret), ())
    grants = site.call(f"{SERVICE}/GetGrants", internal.GetGrantsRequest(principal_id=eve.principal_id), ())

    identity = answer.identity
    assert (identity.principal_id, identity.name, identity.credential_id) == (eve.principal_id, eve.name, eve.token_id)
    assert identity.capped
    assert list(identity.workspace_cap) == ["default"]
    assert answer.grants == grants.grants
    assert [grant.place.workspace for grant in grants.grants] == ["default"]


def test_what_is_no_credential_is_refused(site: Locked) -> None:
    for bearer in ("", "x", "a.b.c", site.admin.secret[:-1], site.admin.secret * 2):
        with pytest.raises(grpc.RpcError) as refusal:
            site.call(f"{SERVICE}/GetIdentity", internal.GetIdentityRequest(bearer=bearer), ())
        assert code_of(refusal.value) == "UNAUTHENTICATED"


def test_clients_can_not_ask(site: Locked) -> None:
    request = internal.GetIdentityRequest(bearer=site.admin.secret)
    channel = site.deployment.channel("access")
    ask: Any = channel.unary_unary(
        f"{SERVICE}/GetIdentity", request_serializer=lambda message: message.SerializeToString()
    )

    with pytest.raises(grpc.RpcError) as refusal:
        ask(request, metadata=site.admin.metadata)

    assert code_of(refusal.value) in {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}


def test_the_stream_of_changes_tells_that_a_token_was_revoked(site: Locked) -> None:
    eve = site.somebody()
    stub = site.deployment.stub(internal.IdentityServiceStub)
    stream = stub.WatchChanges(
        internal.WatchChangesRequest(), timeout=30, metadata=vouched(site.deployment.service_key, "access")
    )
    first = next(stream)

    site.revoke(eve)
    heard = [change.credential_id for _ in range(3) for change in next(stream).changes]
    stream.cancel()

    assert first.revision > 0
    assert eve.token_id in heard
