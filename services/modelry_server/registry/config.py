"""Settings of the registry."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, setting


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Models, versions, stages, aliases, audit records and events."""

    address: Address = setting("127.0.0.1:5104", "Where clients reach the registry, as `host:port`.", least=1)
    internal_address: Address = setting(
        "127.0.0.1:5204", "Where other services reach the registry, as `host:port`, if each has its process.", least=1
    )
    database_url: str = setting(
        "", "SQLAlchemy URL of its database. Empty: `registry.db` in the data folder.", secret=True
    )
    sqlite_synchronous: str = setting(
        "full",
        "Whether SQLite waits for the disk at each commit (`full`) or leaves that to the system (`normal`): "
        "a killed process loses nothing either way, a power cut may take the last commits of `normal`.",
        choices=("full", "normal"),
    )
    postgres_prepared: str = setting(
        "auto",
        "Whether PostgreSQL keeps the plans of statements, for about half the time of a small call. `auto`: unless a "
        "pooler stands in between; behind one that knows of prepared statements, `always` is quicker.",
        choices=("auto", "always", "never"),
    )
