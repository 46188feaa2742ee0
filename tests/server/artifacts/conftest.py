"""The domain of artifacts on a real database, a real folder and a real tracking."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from modelry.api.tracking import v1 as tracking
from modelry_server import targets
from modelry_server.artifacts.clients import Runs
from modelry_server.artifacts.domain import owners
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.artifacts.domain.owners import Owner, Owners
from modelry_server.artifacts.domain.paths import ArtifactPath, folder
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.domain.staging import Incoming
from modelry_server.artifacts.domain.uploads import Uploads
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.config import Config
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.config import load
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from tests.parts import free_port
from tests.parts.clock import HeldClock

GRACE_S = 3600
MIGRATIONS = Path(targets.__file__).parent / "artifacts" / "migrations"


@dataclass
class Tracking:
    """A tracking service at work."""

    address: str
    runs: tracking.RunServiceStub

    def new_run(self) -> Owner:
        """Starts a run; it can own files."""
        return Owner("runs", self.runs.CreateRun(tracking.CreateRunRequest()).run.run_id)

    def deleted_run(self) -> Owner:
        """A run that was deleted."""
        owner = self.new_run()
        self.runs.DeleteRun(tracking.DeleteRunRequest(run_id=owner.id))
        return owner


@pytest.fixture(scope="session")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """Tracking, with the access that it asks."""
    flags = {f"{room}.address": f"127.0.0.1:{free_port()}" for room in ("access", "tracking")}
    flags["server.data-folder"] = str(tmp_path_factory.mktemp("tracking"))
    config = load(Config, environment={}, flags=flags)
    servers = []
    for room in ("access", "tracking"):
        db = targets.database(config, room)
        db.upgrade()
        db.close()
        servers.append(targets.build(room, config))
        servers[-1].start()
    channel = grpc.insecure_channel(config.tracking.address)
    yield Tracking(config.tracking.address, tracking.RunServiceStub(channel))
    channel.close()
    for server in reversed(servers):
        server.stop()


def incoming(path: str, content: bytes, *, sha256: str = "", size: int | None = None, kind: str = "") -> Incoming:
    """A file as it comes, announced rightly unless told otherwise."""
    pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
    announced = len(content) if size is None else size
    return Incoming(ArtifactPath(path), announced, sha256 or hashlib.sha256(content).hexdigest(), kind, pieces)


class Files:
    """The domain of artifacts, put together, with short ways to write and read."""

    def __init__(self, url: str, blobs: LocalBlobs, neighbour: Tracking, clock: Clock) -> None:
        self.db = Database(url, room="artifacts", migrations=MIGRATIONS)
        self.db.upgrade()
        self.blobs = blobs
        self.neighbour = neighbour
        self.clock = clock
        self.pool = ThreadPoolExecutor(8)
        self._runs = Runs(neighbour.address)
        self.owners = Owners(self._runs)
        self.uploads = Uploads(self.db, blobs, self.owners, clock, pool=self.pool, limit_s=600)
        self.artifacts = Artifacts(self.db, blobs, self.owners, clock, pool=self.pool)
        self.snapshots = Snapshots(self.db, self.owners, clock)
        self.garbage = Garbage(self.db, blobs, clock, pool=self.pool, grace_s=GRACE_S)

    def new_run(self) -> Owner:
        """A run without files."""
        return self.neighbour.new_run()

    def new_version(self) -> Owner:
        """A version without files."""
        return owners.parse(f"versions/{new_id()}")

    def write(
        self, owner: Owner, files: dict[str, bytes], is_wanted: Callable[[], bool] = lambda: True
    ) -> tuple[int, int]:
        """Writes files by path."""
        return self.take(owner, (incoming(path, content) for path, content in files.items()), is_wanted)

    def take(
        self, owner: Owner, files: Iterable[Incoming], is_wanted: Callable[[], bool] = lambda: True
    ) -> tuple[int, int]:
        """Writes files as they come."""
        return self.uploads.write(owner, files, is_wanted)

    def read(self, owner: Owner, path: str = "", offset: int = 0) -> dict[str, bytes]:
        """Files with their content, by path."""
        found = self.artifacts.read(owner, folder(path), offset)
        return {artifact.path: b"".join(pieces) for artifact, pieces in found}

    def list(self, owner: Owner, path: str = "", *, recursive: bool = False) -> list[str]:
        """The paths in a folder; folders end with a slash."""
        found = self.artifacts.page(owner, folder(path), "", 1000, recursive=recursive)
        return [f"{each.path}/" if each.is_folder else each.path for each in found]

    def delete(self, owner: Owner, path: str) -> int:
        """Deletes a file or folder."""
        return self.artifacts.delete(owner, ArtifactPath(path))

    def stored(self) -> int:
        """How many objects the store holds."""
        return sum(1 for _ in self.blobs.stored())

    def close(self) -> None:
        """Closes everything."""
        self.pool.shutdown()
        self.db.close()
        self._runs.close()


@pytest.fixture
def clock() -> HeldClock:
    """A clock that stands at the present time until it is moved."""
    return HeldClock(time.time_ns() // 1_000_000)


@pytest.fixture
def files(database_url: str, tmp_path: Path, neighbour: Tracking, clock: HeldClock) -> Iterator[Files]:
    """The domain on an empty store, for each database."""
    blobs = LocalBlobs(tmp_path / "blobs")
    parts = Files(database_url, blobs, neighbour, clock)
    yield parts
    parts.close()
    blobs.close()


@pytest.fixture
def run(files: Files) -> Owner:
    """A run without files."""
    return files.new_run()
