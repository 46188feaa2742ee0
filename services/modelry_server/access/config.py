"""Settings of access."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class AccessConfig(DatabaseSettings):
    """Workspaces."""

    address: Address = setting("127.0.0.1:5101", "Where clients reach access, as `host:port`.", least=1)
    internal_address: Address = setting(
        "",
        "Where other services reach access. Empty: a Unix socket in the data folder, which no other user of the "
        "machine can reach. `host:port` is for services on several machines and needs `server.service_key`.",
        least=1,
    )
