"""Short ways to write, read and be refused through the stubs of artifacts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id
from tests.parts.deployment import Deployment

PIECE = 1 << 20
MODEL = new_id()
Step = api.WriteArtifactsRequest
Owner = api.ArtifactOwner


@dataclass
class Refusal:
    """What a refused call was answered with."""

    code: str
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    resource: str = ""


def refused(call: Callable[[], object]) -> Refusal:
    """Makes a call that must be refused, and gives what it was answered with."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error = raised.value
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, f"no status with details: {error}"
    refusal = Refusal(error.code().name, "", status.message)
    for detail in status.details:
        info, bad, resource = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.ResourceInfo(),
        )
        if detail.Unpack(info):
            refusal.reason, refusal.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            refusal.fields = [violation.field for violation in bad.field_violations]
        elif detail.Unpack(resource):
            refusal.resource = resource.resource_type
    return refusal


def file_steps(path: str, content: bytes) -> Iterator[Step]:
    """The steps of one file."""
    yield Step(header=api.ArtifactHeader(path=path, size_bytes=len(content)))
    for at in range(0, len(content), PIECE):
        yield Step(content=content[at : at + PIECE])
    yield Step(sha256=hashlib.sha256(content).hexdigest())


class Client:
    """The stubs of artifacts and of the runs that own them."""

    def __init__(self, deployment: Deployment) -> None:
        self.artifacts = deployment.stub(api.ArtifactServiceStub)
        self.snapshots = deployment.stub(internal.SnapshotServiceStub)
        self.runs = deployment.stub(tracking.RunServiceStub)
        self._experiments = deployment.stub(tracking.ExperimentServiceStub)
        self._workspaces = deployment.stub(access.WorkspaceServiceStub)

    def new_run(self, workspace: str = "default") -> Owner:
        """A new run as an owner, in an experiment of its own unless in the default workspace."""
        experiment_id = "0"
        if workspace != "default":
            wanted = tracking.CreateExperimentRequest(workspace=workspace, name=new_id())
            experiment_id = self._experiments.CreateExperiment(wanted).experiment.experiment_id
        request = tracking.CreateRunRequest(experiment_id=experiment_id)
        return Owner(run_id=self.runs.CreateRun(request).run.run_id)

    def new_workspace(self) -> str:
        """The name of a new workspace."""
        request = access.CreateWorkspaceRequest(name=f"w-{new_id()}")
        return self._workspaces.CreateWorkspace(request).workspace.name

    def write(self, owner: Owner, files: dict[str, bytes], replaced: str = "") -> api.WriteArtifactsResponse:
        """Writes files by path; `replaced` is the folder that they replace."""
        steps = (file_steps(path, content) for path, content in files.items())
        return self.send([Step(owner=owner, replaced_folder=replaced)], *steps, [Step(sent_file_count=len(files))])

    def send(self, *steps: Iterable[Step]) -> api.WriteArtifactsResponse:
        """Sends a stream as it is."""
        return self.artifacts.WriteArtifacts((step for part in steps for step in part), timeout=30)

    def read(self, owner: Owner, path: str = "", offset: int = 0) -> dict[str, bytes]:
        """Files with their content, by path."""
        found: dict[str, bytes] = {}
        request = api.ReadArtifactsRequest(owner=owner, path=path, offset_bytes=offset)
        last = ""
        for step in self.artifacts.ReadArtifacts(request, timeout=30):
            if step.WhichOneof("step") == "artifact":
                last = step.artifact.path
                found[last] = b""
            else:
                assert 0 < len(step.content) <= PIECE
                found[last] += step.content
        return found

    def get(self, owner: Owner, path: str = "") -> api.Artifact:
        """What is known of a file or folder."""
        return self.artifacts.GetArtifact(api.GetArtifactRequest(owner=owner, path=path)).artifact

    def list(self, owner: Owner, path: str = "", **more: object) -> list[str]:
        """The paths on the first page of a folder."""
        request = api.ListArtifactsRequest(owner=owner, path=path, **more)  # type: ignore[arg-type]
        return [artifact.path for artifact in self.artifacts.ListArtifacts(request).artifacts]

    def everything(self, owner: Owner) -> Iterator[api.Artifact]:
        """All files of an owner, page by page."""
        request = api.ListArtifactsRequest(owner=owner, recursive=True, page_size=1000)
        while True:
            page = self.artifacts.ListArtifacts(request)
            yield from page.artifacts
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return

    def delete(self, owner: Owner, path: str) -> int:
        """Deletes a file or folder."""
        return self.artifacts.DeleteArtifact(api.DeleteArtifactRequest(owner=owner, path=path)).file_count

    def freeze(
        self, version_id: str, source: Owner, path: str = "", *, workspace: str = "default", model_id: str = MODEL
    ) -> internal.Snapshot:
        """Makes a snapshot."""
        request = internal.CreateSnapshotRequest(
            version_id=version_id, workspace=workspace, model_id=model_id, source_owner=source, source_path=path
        )
        return self.snapshots.CreateSnapshot(request).snapshot


@pytest.fixture
def client(deployment: Deployment) -> Client:
    """The stubs, for each deployment."""
    return Client(deployment)


@pytest.fixture
def run(client: Client) -> Owner:
    """A run without files."""
    return client.new_run()
