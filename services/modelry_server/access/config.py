"""Settings of access."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class AccessConfig(DatabaseSettings):
    """Workspaces."""

    address: Address = setting("127.0.0.1:5101", "Where clients reach access, as `host:port`.", least=1)
    internal_address: Address = setting(
        "127.0.0.1:5201", "Where other services reach access, as `host:port`, if each has its process.", least=1
    )
