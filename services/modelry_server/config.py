"""The root configuration: one field for the process and one for each room, nothing else."""

from dataclasses import dataclass, field
from pathlib import Path

from modelry_server.access.config import AccessConfig
from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.kernel.config import Address, Duration, setting
from modelry_server.registry.config import RegistryConfig
from modelry_server.tracking.config import TrackingConfig


def _home() -> str:
    return str(Path.home() / ".local" / "share" / "modelry")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What every process needs, whichever rooms it runs."""

    listen: Address = setting(
        "",
        "Where to listen, as `host:port`; with the port 0 at any free one. Empty: `127.0.0.1:5100` for all rooms, the "
        "room's own `address` for one.",
        least=0,
    )
    data_folder: str = setting("", "Where SQLite files and local blobs lie. Empty: `~/.local/share/modelry`.")
    log_level: str = setting("info", "What is logged.", choices=("debug", "info", "warning", "error"))
    workers: int = setting(16, "Threads that answer unary calls, for each listener.", least=2, most=256)
    streams: int = setting(64, "Streams that may be open at once, for each listener.", least=2, most=4096)
    drain: Duration = setting(10.0, "How long calls in flight may take at shutdown.", least=0)
    metrics_port: int = setting(
        0, "Port for Prometheus metrics over HTTP, on the server's host. 0: none.", least=0, most=65535
    )

    def folder(self) -> Path:
        """The data folder, with the default filled in."""
        return Path(self.data_folder or _home()).expanduser()


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, by section."""

    server: ServerConfig = field(default_factory=ServerConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    artifacts: ArtifactsConfig = field(default_factory=ArtifactsConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
