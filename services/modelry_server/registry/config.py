"""Settings of the registry."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class RegistryConfig(DatabaseSettings):
    """Models, versions, stages, aliases, audit records and events."""

    address: Address = setting("127.0.0.1:5104", "Where clients reach the registry, as `host:port`.", least=1)
    internal_address: Address = setting(
        "",
        "Where other services reach the registry. Empty: a Unix socket in the data folder, which no other user of the "
        "machine can reach. `host:port` is for services on several machines and needs `server.service_key`.",
        least=1,
    )
