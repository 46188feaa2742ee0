"""The nouns of access. Times are milliseconds since the epoch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workspace:
    """What separates teams."""

    name: str
    description: str
    create_time: int
    update_time: int
    revision: int = 1

    @property
    def etag(self) -> str:
        """Changes with each change."""
        return str(self.revision)
