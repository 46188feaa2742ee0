"""The root configuration: one section for the process and one for each service, nothing else."""

from dataclasses import dataclass, field
from typing import ClassVar

from modelry_server.access.config import AccessConfig
from modelry_server.artifacts.config import ArtifactsConfig
from modelry_server.kernel.transport.config import ServerConfig
from modelry_server.registry.config import RegistryConfig
from modelry_server.tracking.config import TrackingConfig


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, by section."""

    OTHERS: ClassVar[frozenset[str]] = frozenset(
        {"MODELRY_TRACKING_URI", "MODELRY_ARTIFACTS_URI", "MODELRY_REGISTRY_URI", "MODELRY_ACCESS_URI"}
    )
    """Variables of the SDK and the command line that look like settings of a section."""

    server: ServerConfig = field(default_factory=ServerConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    artifacts: ArtifactsConfig = field(default_factory=ArtifactsConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
