"""Settings of tracking."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, Duration, setting


@dataclass(frozen=True, slots=True)
class TrackingConfig:
    """Experiments, runs, metrics and datasets."""

    address: Address = setting("127.0.0.1:5102", "Where clients reach tracking, as `host:port`.", least=1)
    internal_address: Address = setting(
        "127.0.0.1:5202", "Where other services reach tracking, as `host:port`, if each has its process.", least=1
    )
    database_url: str = setting(
        "", "SQLAlchemy URL of its database. Empty: `tracking.db` in the data folder.", secret=True
    )
    sqlite_synchronous: str = setting(
        "normal",
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
    group_points: int = setting(200_000, "How many points one transaction takes at most.", least=1)
    gap_wait: Duration = setting(
        Duration(1.0), "How long a numbered batch waits for its predecessor.", least=0, most=30
    )
    merge_interval: Duration = setting(5.0, "How often small chunks are merged into big ones.", least=0.05)
    merge_chunks: int = setting(128, "From how many small chunks on a series is merged.", least=2)
    chunk_points: int = setting(16_384, "How many points a merged chunk holds.", least=128, most=1_000_000)
