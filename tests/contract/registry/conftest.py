"""The registry through its stubs, with runs and files to make versions from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.parts.deployment import Deployment

FILES = {"model/MLmodel": b"flavors: {}\n", "model/weights.bin": bytes(1000), "notes.txt": b"hello"}


def unique(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{new_id()}"


@dataclass
class Platform:
    """Stubs, and what a test needs before it can begin."""

    models: registry.ModelServiceStub
    versions: registry.VersionServiceStub
    promotions: registry.PromotionServiceStub
    aliases: registry.AliasServiceStub
    audit: registry.AuditServiceStub
    events: registry.EventServiceStub
    runs: tracking.RunServiceStub
    files: artifacts.ArtifactServiceStub
    snapshots: artifacts.SnapshotServiceStub

    @classmethod
    def of(cls, deployment: Deployment) -> Platform:
        """The stubs of a deployment."""
        return cls(
            models=deployment.stub(registry.ModelServiceStub),
            versions=deployment.stub(registry.VersionServiceStub),
            promotions=deployment.stub(registry.PromotionServiceStub),
            aliases=deployment.stub(registry.AliasServiceStub),
            audit=deployment.stub(registry.AuditServiceStub),
            events=deployment.stub(registry.EventServiceStub),
            runs=deployment.stub(tracking.RunServiceStub),
            files=deployment.stub(artifacts.ArtifactServiceStub),
            snapshots=deployment.stub(artifacts.SnapshotServiceStub),
        )

    def a_run(self, files: Mapping[str, bytes] = FILES) -> str:
        """The id of a new run that has logged files."""
        run_id = self.runs.CreateRun(tracking.CreateRunRequest()).run.run_id
        if files:
            self.files.WriteArtifacts(_upload(f"runs/{run_id}", files))
        return run_id

    def a_model(self, name: str = "", **fields: object) -> registry.Model:
        """A new model."""
        request = registry.CreateModelRequest(name=name or unique("fraud"), **fields)  # type: ignore[arg-type]
        return self.models.CreateModel(request).model

    def a_version(self, model: str, run_id: str = "", **fields: object) -> registry.Version:
        """A new version of a model, from a run that has logged files."""
        source = f"runs:/{run_id or self.a_run()}/model"
        request = registry.CreateVersionRequest(model=model, source=source, **fields)  # type: ignore[arg-type]
        return self.versions.CreateVersion(request).version

    def promote(self, version: registry.Version, stage: registry.Stage.ValueType, **fields: object) -> None:
        """Moves a version."""
        request = registry.PromoteVersionRequest(
            model=version.model,
            number=version.number,
            stage=stage,
            **fields,  # type: ignore[arg-type]
        )
        self.promotions.PromoteVersion(request)


def _upload(owner: str, files: Mapping[str, bytes]) -> Iterator[artifacts.WriteArtifactsRequest]:
    yield artifacts.WriteArtifactsRequest(owner=owner)
    for path, content in files.items():
        header = artifacts.ArtifactHeader(
            path=path, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        yield artifacts.WriteArtifactsRequest(header=header)
        yield artifacts.WriteArtifactsRequest(content=content)


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """The platform at work; use names of your own in it."""
    return Platform.of(deployment)
