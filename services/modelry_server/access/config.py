"""Settings of access."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting
from modelry_server.kernel.sql.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class AccessConfig(DatabaseSettings):
    """Workspaces."""

    address: Address = setting("127.0.0.1:5101", "Where other rooms find access, as `host:port`.", least=1)
