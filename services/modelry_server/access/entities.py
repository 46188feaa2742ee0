"""The entities of access. Times are milliseconds since the epoch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace, which separates the things of one team from those of others."""

    name: str
    description: str
    create_time: int
    update_time: int
    revision: int = 1

    @property
    def etag(self) -> str:
        """A text that differs after each change."""
        return str(self.revision)
