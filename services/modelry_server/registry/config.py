"""Settings of the registry."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class RegistryConfig(DatabaseSettings):
    """Models, versions, stages, aliases, audit records and events."""

    address: Address = setting("127.0.0.1:5104", "Where clients reach the registry, as `host:port`.", least=1)
    internal_address: Address = setting(
        "127.0.0.1:5204", "Where other services reach the registry, as `host:port`, if each has its process.", least=1
    )
