"""Settings of access."""

from collections.abc import Iterator
from dataclasses import dataclass

from modelry_server.kernel.config import Address, Duration, Secret, in_folder, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class AccessConfig(DatabaseSettings):
    """Workspaces, principals, tokens and roles."""

    address: Address = setting("127.0.0.1:5101", "Where clients reach access, as `host:port`.", least=1)
    internal_address: Address = setting(
        "",
        "Where other services reach access. Empty: a Unix socket in the data folder, which no other user of the "
        "machine can reach. `host:port` is for services on several machines and needs `server.service_key`.",
        least=1,
    )
    token_lifetime: Duration = setting(
        Duration(90 * 86_400.0), "How long an API token lives if the request does not say when it ends.", least=1.0
    )
    longest_token_lifetime: Duration = setting(
        Duration(365 * 86_400.0), "How long an API token can live at most. Each token ends.", least=1.0
    )
    bootstrap_token: Secret = setting(
        Secret(""),
        "The bootstrap token, with which the first administrator is made. It counts once, also while there are others: "
        "if none of them can get in, set a new one. Empty: the server makes one while there is none, and writes it to "
        "the file `bootstrap.token` in the data folder. It has a form: `python -c 'from "
        "modelry_server.access.domain.token_texts import *; print(new_text(TextKind.BOOTSTRAP))'` makes one.",
    )
    issuers_file: str = setting(
        "",
        "The OIDC issuers whose tokens are accepted, as TOML; see the page about signing in. Empty: none.",
        anchored=in_folder,
    )

    def mistakes(self) -> Iterator[str]:
        """What can't work together."""
        if self.token_lifetime > self.longest_token_lifetime:
            yield (
                f"access.token_lifetime = {self.token_lifetime:g} s: is longer than access.longest_token_lifetime, "
                f"{self.longest_token_lifetime:g} s"
            )
