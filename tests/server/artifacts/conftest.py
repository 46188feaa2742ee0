"""The domain of artifacts on a real database, a real folder and a tracking service that answers over gRPC."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_status import rpc_status

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as tracking
from modelry_server.artifacts.clients import Runs, Workspaces
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.garbage import Garbage
from modelry_server.artifacts.domain.incoming import IncomingFile, announced
from modelry_server.artifacts.domain.owners import Owners
from modelry_server.artifacts.domain.paths import ArtifactPath, folder
from modelry_server.artifacts.domain.snapshots import Snapshots
from modelry_server.artifacts.domain.usage import Usage
from modelry_server.artifacts.domain.writing import FileWriter, Replaced
from modelry_server.artifacts.entities import Owner, Snapshot
from modelry_server.artifacts.store.blobs.local import LocalBlobs
from modelry_server.databases import migrations
from modelry_server.kernel.access import Access, Judge, Place
from modelry_server.kernel.clock import Clock
from modelry_server.kernel.errors import NotFound
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.transport import status
from modelry_server.kernel.transport.channel import Neighbour
from tests.parts.clock import HeldClock
from tests.parts.judge import HeldJudge

GRACE_S = 3600
WORKSPACE = "team"
MODEL = new_id()
NOBODY_THERE = "127.0.0.1:1"
"""An address at which nobody listens: there are no quotas."""


class RunNotFound(NotFound):
    """What tracking answers for a run that it does not know."""

    reason = "RUN_NOT_FOUND"


class Tracking:
    """A tracking service that knows runs of any workspace, and counts how often it is asked.

    The contract tests run with the real one.
    """

    def __init__(self) -> None:
        self._runs: dict[str, tracking.Run] = {}
        self.asked = 0
        get_run = grpc.unary_unary_rpc_method_handler(
            self._get_run, tracking.GetRunRequest.FromString, tracking.GetRunResponse.SerializeToString
        )
        service = "modelry.api.tracking.v1.RunService"
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"GetRun": get_run})])
        self.neighbour = Neighbour("tracking", f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}")
        self._server.start()

    def _get_run(self, request: tracking.GetRunRequest, context: grpc.ServicerContext) -> tracking.GetRunResponse:
        self.asked += 1
        run = self._runs.get(request.run_id)
        if run is None:
            error = RunNotFound(f"there is no run {request.run_id}")
            context.abort_with_status(rpc_status.to_status(status.to_status(error)))
        answer = tracking.GetRunResponse()
        request.read_mask.MergeMessage(run, answer.run)
        return answer

    def new_run(self, workspace: str = WORKSPACE) -> Owner:
        """Adds a run; it can own files."""
        run_id = new_id()
        self._runs[run_id] = tracking.Run(
            run_id=run_id,
            workspace=workspace,
            experiment_id="7",
            name="not asked for",
            lifecycle=common.LIFECYCLE_ACTIVE,
        )
        return Owner.run(run_id)

    def delete(self, owner: Owner) -> None:
        """Deletes a run."""
        self._runs[owner.id].lifecycle = common.LIFECYCLE_DELETED

    def close(self) -> None:
        """Closes everything."""
        self.neighbour.close()
        self._server.stop(None).wait()


@pytest.fixture(scope="session")
def neighbour() -> Iterator[Tracking]:
    """The tracking service."""
    service = Tracking()
    yield service
    service.close()


def incoming(path: str, content: bytes, *, sha256: str = "", size: int | None = None, kind: str = "") -> IncomingFile:
    """A file as it arrives, with its true size and SHA-256 unless told otherwise."""
    pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
    size = len(content) if size is None else size
    header = announced(path, size, kind, field="header")
    return IncomingFile(header, pieces, lambda: sha256 or hashlib.sha256(content).hexdigest())


class Files:
    """The domain of artifacts, put together, with short ways to write and read."""

    def __init__(
        self, url: str, blobs: LocalBlobs, neighbour: Tracking, clock: Clock, access: str = NOBODY_THERE
    ) -> None:
        self.db = Database(url, room="artifacts", migrations=migrations("artifacts"))
        self.db.upgrade()
        self.blobs = blobs
        self.neighbour = neighbour
        self.clock = clock
        self.pool = ThreadPoolExecutor(8)
        self.judge = HeldJudge()
        self.access = Neighbour("access", access)
        self.garbage = Garbage(self.db, blobs, clock, pool=self.pool, grace_s=GRACE_S)
        self._build(neighbour.neighbour, self.judge)

    def _build(self, tracking: Neighbour, judge: Judge, most_files: int = 100_000, limit_s: float = 600) -> None:
        access = Access(judge)
        self.usage = Usage(self.db, access, Workspaces(self.access))
        self.owners = Owners(self.db, Runs(tracking), access)
        self.writer = FileWriter(
            self.db,
            self.blobs,
            self.owners,
            self.clock,
            usage=self.usage,
            pool=self.pool,
            most_files=most_files,
            limit_s=limit_s,
        )
        self.artifacts = Artifacts(self.db, self.blobs, self.owners, self.clock, pool=self.pool)
        self.snapshots = Snapshots(self.db, access, self.owners, self.clock, usage=self.usage)

    def rebuild(self, *, address: str = "", most_files: int = 100_000, limit_s: float = 600) -> None:
        """Builds the domain anew, as another server on the same data; `address` is where its tracking is."""
        tracking = Neighbour("tracking", address) if address else self.neighbour.neighbour
        self._build(tracking, self.judge, most_files, limit_s)

    def new_run(self, workspace: str = WORKSPACE) -> Owner:
        """A run without files."""
        return self.neighbour.new_run(workspace)

    def new_version(self) -> Owner:
        """A version without files."""
        return Owner.version(new_id())

    def freeze(
        self, version: Owner, source: Owner, path: str = "", *, workspace: str = WORKSPACE, model: str = MODEL
    ) -> Snapshot:
        """Makes a snapshot for a version."""
        return self.snapshots.create(version.id, Place(workspace, model_id=model), source, folder(path))

    def write(
        self,
        owner: Owner,
        files: dict[str, bytes],
        is_wanted: Callable[[], bool] = lambda: True,
        replaces: str = "",
        together_with: Sequence[str] = (),
    ) -> tuple[int, int]:
        """Writes files by path; `replaces` is the folder that they replace, see `Replaced`."""
        stream = (incoming(path, content) for path, content in files.items())
        place = folder(replaces)
        replaced = Replaced(place.text, together_with) if place else None
        return self.writer.write(owner, stream, is_wanted, replaces=replaced)

    def take(
        self, owner: Owner, files: Iterable[IncomingFile], is_wanted: Callable[[], bool] = lambda: True
    ) -> tuple[int, int]:
        """Writes files as they arrive."""
        return self.writer.write(owner, files, is_wanted)

    def read(self, owner: Owner, path: str = "", offset: int = 0) -> dict[str, bytes]:
        """Files with their content, by path."""
        found = self.artifacts.read(owner, folder(path), offset)
        return {artifact.path: b"".join(pieces) for artifact, pieces in found}

    def list(self, owner: Owner, path: str = "", *, recursive: bool = False) -> list[str]:
        """The paths in a folder; folders end with a slash."""
        found = self.artifacts.search(owner, folder(path), after=None, limit=1000, recursive=recursive)
        return [f"{each.item.path}/" if each.item.is_folder else each.item.path for each in found]

    def delete(self, owner: Owner, path: str) -> int:
        """Deletes a file or folder."""
        return self.artifacts.delete(owner, ArtifactPath(path))

    def stored(self) -> int:
        """How many objects the store holds."""
        return sum(1 for _ in self.blobs.stored())

    def close(self) -> None:
        """Closes everything."""
        self.pool.shutdown()
        self.access.close()
        self.db.close()


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
