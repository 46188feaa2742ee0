"""The nouns of artifacts. Times are milliseconds since the epoch; owners are `runs/<id>` or `versions/<id>`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or a folder of an owner. A folder has no digest; the root is the folder with the empty path."""

    owner: str
    path: str
    size_bytes: int
    file_count: int
    sha256: str = ""
    content_type: str = ""
    create_time: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return not self.sha256


@dataclass(frozen=True, slots=True)
class Blob:
    """Content in the object store: the key that it lies under, and what it is."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen copy of a folder: whose it is now, and where it came from."""

    owner: str
    source_owner: str
    source_path: str
    manifest_sha256: str
    file_count: int
    size_bytes: int
    create_time: int
