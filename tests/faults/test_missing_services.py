"""One of the four services is killed: the others answer, and what needs it names it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from modelry_server.targets import ROOMS
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.refusal import Refusal, refused, unpacked

CONTENT = b"flavors: {}\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Four processes, of which each test may kill one as long as it starts it again."""
    with deployments.running("split", tmp_path_factory.mktemp("platform")) as running:
        yield running


class Things:
    """Something of every kind, made while everybody was there."""

    def __init__(self, platform: Deployment) -> None:
        self.platform = platform
        self.workspace = f"team-{new_id()}"
        self.model = f"model-{new_id()}"
        stub = platform.stub
        stub(access.WorkspaceServiceStub).CreateWorkspace(access.CreateWorkspaceRequest(name=self.workspace))
        self.run = stub(tracking.RunServiceStub).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        files = stub(artifacts.ArtifactServiceStub)
        # Whoever was away before is found again by each neighbour at its own time.
        eventually(lambda: _answered(lambda: files.WriteArtifacts(_file(self.run), timeout=20)))
        stub(registry.ModelServiceStub).CreateModel(registry.CreateModelRequest(workspace="default", name=self.model))
        eventually(lambda: _answered(self.version))

    def version(self) -> registry.Version:
        return self.platform.stub(registry.VersionServiceStub).CreateVersion(self._of_run(), timeout=20).version

    def _of_run(self) -> registry.CreateVersionRequest:
        source = registry.VersionSource(run=registry.RunFiles(run_id=self.run, path="model"))
        return registry.CreateVersionRequest(workspace="default", model_name=self.model, source=source)

    def asked(self, room: str) -> Any:
        """What a room answers out of what is its own."""
        stub = self.platform.stub
        options: dict[str, Any] = {"timeout": 20}
        if room == "access":
            request = access.GetWorkspaceRequest(name=self.workspace)
            return stub(access.WorkspaceServiceStub).GetWorkspace(request, **options)
        if room == "tracking":
            return stub(tracking.RunServiceStub).GetRun(tracking.GetRunRequest(run_id=self.run), **options)
        if room == "artifacts":
            folder = artifacts.ListArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=self.run))
            return stub(artifacts.ArtifactServiceStub).ListArtifacts(folder, **options)
        return stub(registry.ModelServiceStub).GetModel(
            registry.GetModelRequest(workspace="default", model_name=self.model), **options
        )

    def needing(self, room: str) -> list[tuple[Callable[..., Any], Any]]:
        """Calls to other rooms that can't be answered without a room."""
        stub = self.platform.stub
        version = self._of_run()
        experiment = tracking.CreateExperimentRequest(name=new_id(), workspace=f"team-{new_id()}")
        model = registry.CreateModelRequest(name=new_id(), workspace=f"team-{new_id()}")
        calls: dict[str, list[tuple[Callable[..., Any], Any]]] = {
            "access": [
                (stub(tracking.ExperimentServiceStub).CreateExperiment, experiment),
                (stub(registry.ModelServiceStub).CreateModel, model),
            ],
            "tracking": [
                (stub(registry.VersionServiceStub).CreateVersion, version),
                (
                    lambda request, **options: stub(artifacts.ArtifactServiceStub).WriteArtifacts(
                        _file(request), **options
                    ),
                    self.run,
                ),
            ],
            "artifacts": [(stub(registry.VersionServiceStub).CreateVersion, version)],
            "registry": [],
        }
        return calls[room]


def _file(run: str) -> Iterator[artifacts.WriteArtifactsRequest]:
    digest = hashlib.sha256(CONTENT).hexdigest()
    yield artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run))
    yield artifacts.WriteArtifactsRequest(
        header=artifacts.ArtifactHeader(path="model/MLmodel", size_bytes=len(CONTENT))
    )
    yield artifacts.WriteArtifactsRequest(content=CONTENT)
    yield artifacts.WriteArtifactsRequest(sha256=digest)
    yield artifacts.WriteArtifactsRequest(sent_file_count=1)


@pytest.mark.parametrize("missing", ROOMS)
def test_without_one_service_the_others_answer_and_what_needs_it_names_it(platform: Deployment, missing: str) -> None:
    things = Things(platform)

    platform.kill(missing)

    for room in ROOMS:
        if room != missing:
            assert things.asked(room)
    for method, request in things.needing(missing):
        refusal = refused(method, request)
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        assert (refusal.metadata["service"], refusal.retry) == (missing, True)
        assert missing in refusal.message
    with pytest.raises(grpc.RpcError) as caught:
        things.asked(missing)
    assert unpacked(caught.value).code == "UNAVAILABLE"

    platform.start(missing)
    assert eventually(lambda: _answered(lambda: things.asked(missing)))
    version = eventually(lambda: _answered(things.version))
    assert version.version_number >= 2


def _answered(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except grpc.RpcError as error:
        said: Refusal = unpacked(error)
        assert said.code == "UNAVAILABLE", said
        return None
