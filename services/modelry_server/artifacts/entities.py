"""The nouns of artifacts. Times are milliseconds since the epoch."""

from dataclasses import dataclass

from modelry_server.kernel.access import Place

_RUNS, _VERSIONS = "runs", "versions"


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """Whose files: a run or a model version. The files of a version never change. As text: `runs/<id>`."""

    kind: str
    id: str

    @classmethod
    def run(cls, run_id: str) -> "Owner":
        """A run as an owner."""
        return cls(_RUNS, run_id)

    @classmethod
    def version(cls, version_id: str) -> "Owner":
        """A model version as an owner."""
        return cls(_VERSIONS, version_id)

    @classmethod
    def of_text(cls, text: str) -> "Owner":
        """The owner that has this text."""
        kind, _, owner_id = text.partition("/")
        return cls(kind, owner_id)

    @property
    def is_version(self) -> bool:
        """Whether it is a model version."""
        return self.kind == _VERSIONS

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Run:
    """What artifacts needs to know of a run."""

    place: Place
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or a folder of an owner. A folder has no digest; the root is the folder with the empty path."""

    owner: Owner
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
    """Content in the object store: its key there, its digest and its size."""

    key: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What the files of a workspace take, each counted for each run and version that has it."""

    size_bytes: int
    file_count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen list of files of a version, and the files from which it was made."""

    version_id: str
    place: Place
    source: Owner
    source_path: str
    manifest_sha256: str
    file_count: int
    size_bytes: int
    create_time: int
