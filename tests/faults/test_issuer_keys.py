"""An issuer that signs with new keys: its tokens are accepted half a minute later at most, also if it dies then."""

from __future__ import annotations

from pathlib import Path

import grpc

from modelry.api.access import v1 as access
from modelry_server.access.domain.oidc.jwks import REFETCH_S
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, bearing, code_of, locked
from tests.parts.oidc_provider import OidcProvider


def answer(platform: Locked, token: str) -> str:
    """Who calls with a token, or why it is refused."""
    try:
        return str(
            platform.ask("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), bearing(token)).principal.name
        )
    except grpc.RpcError as error:
        return code_of(error)


def test_new_keys_of_an_issuer_are_read_and_its_death_ends_nobody(
    own_oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    provider = own_oidc_provider
    (tmp_path / "issuers.toml").write_text(
        f'[[issuer]]\nname = "company"\nurl = "{provider.issuer}"\naudiences = ["modelry"]\n'
    )
    settings = {"access.issuers-file": str(tmp_path / "issuers.toml")}
    with locked("split", tmp_path / "platform", settings) as platform:
        old = provider.token("ada")
        assert answer(platform, old) == "ada"

        provider.rotate_keys()
        new = provider.token("bob")

        eventually(lambda: answer(platform, new) == "bob", within_s=REFETCH_S + 5)
        assert answer(platform, old) == "ada"
        provider.rotate_keys()
        unread = provider.token("cid")
        provider.stop()
        assert (answer(platform, old), answer(platform, new)) == ("ada", "bob")
        eventually(lambda: answer(platform, unread) == "UNAVAILABLE", within_s=REFETCH_S + 5)
        assert (answer(platform, old), answer(platform, new)) == ("ada", "bob")
        assert answer(platform, platform.admin.secret) == "root"
