"""Settings of tracking."""

from dataclasses import dataclass

from modelry_server.kernel.config import Address, Duration, setting
from modelry_server.kernel.sql.settings import DatabaseSettings, synchronous


@dataclass(frozen=True, slots=True)
class TrackingConfig(DatabaseSettings):
    """Experiments, runs, metrics and datasets."""

    address: Address = setting("127.0.0.1:5102", "Where clients reach tracking, as `host:port`.", least=1)
    internal_address: Address = setting(
        "",
        "Where other services reach tracking. Empty: a Unix socket in the data folder, which no other user of the "
        "machine can reach. `host:port` is for services on several machines and needs `server.service_key`.",
        least=1,
    )
    sqlite_synchronous: str = synchronous("normal")
    group_points: int = setting(200_000, "How many points one transaction takes at most.", least=1)
    gap_wait: Duration = setting(
        Duration(1.0), "How long a numbered batch waits for the batch before it.", least=0, most=30
    )
    lost_interval: Duration = setting(
        5.0, "How often the service looks for runs whose processes have gone silent.", least=0.05
    )
    merge_interval: Duration = setting(5.0, "How often small chunks are merged into big ones.", least=0.05)
    merge_chunks: int = setting(128, "How many small chunks a series must have to be merged.", least=2)
    chunk_points: int = setting(16_384, "How many points a merged chunk holds.", least=128, most=1_000_000)
