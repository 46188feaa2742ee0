"""The registry through its stubs, with runs and files to make versions from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id
from tests.parts.deployment import Deployment

WORKSPACE = "default"
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
    evaluations: registry.EvaluationServiceStub
    audit: registry.AuditServiceStub
    events: registry.EventServiceStub
    runs: tracking.RunServiceStub
    files: artifacts.ArtifactServiceStub
    snapshots: internal.SnapshotServiceStub

    @classmethod
    def of(cls, deployment: Deployment) -> Platform:
        """The stubs of a deployment."""
        return cls(
            models=deployment.stub(registry.ModelServiceStub),
            versions=deployment.stub(registry.VersionServiceStub),
            promotions=deployment.stub(registry.PromotionServiceStub),
            aliases=deployment.stub(registry.AliasServiceStub),
            evaluations=deployment.stub(registry.EvaluationServiceStub),
            audit=deployment.stub(registry.AuditServiceStub),
            events=deployment.stub(registry.EventServiceStub),
            runs=deployment.stub(tracking.RunServiceStub),
            files=deployment.stub(artifacts.ArtifactServiceStub),
            snapshots=deployment.stub(internal.SnapshotServiceStub),
        )

    def a_run(self, files: Mapping[str, bytes] = FILES, experiment_id: str = "0") -> str:
        """The id of a new run that has logged files."""
        request = tracking.CreateRunRequest(experiment_id=experiment_id)
        run_id = self.runs.CreateRun(request).run.run_id
        if files:
            self.files.WriteArtifacts(_upload(artifacts.ArtifactOwner(run_id=run_id), files))
        return run_id

    def a_model(self, name: str = "", **fields: object) -> registry.Model:
        """A new model."""
        values = {"workspace": WORKSPACE, "name": name or unique("fraud"), **fields}
        return self.models.CreateModel(registry.CreateModelRequest(**values)).model  # type: ignore[arg-type]

    def a_version(self, model_name: str, run_id: str = "", path: str = "model", **fields: object) -> registry.Version:
        """A new version of a model, from a run that has logged files."""
        source = of_run(run_id or self.a_run(), path)
        values = {"workspace": WORKSPACE, "model_name": model_name, "source": source, **fields}
        return self.versions.CreateVersion(registry.CreateVersionRequest(**values)).version  # type: ignore[arg-type]

    def promote(self, version: registry.Version, stage: str, **fields: object) -> registry.PromoteVersionResponse:
        """Moves a version."""
        values = {**key_of(version), "stage": stage, **fields}
        request = registry.PromoteVersionRequest(**values)
        return self.promotions.PromoteVersion(request)

    def set_alias(self, version: registry.Version, alias: str) -> None:
        """Points an alias at a version."""
        request = registry.SetAliasRequest(**key_of(version), alias=alias)
        self.aliases.SetAlias(request)


def key_of(version: registry.Version) -> dict[str, Any]:
    """The fields of a request that name a version."""
    return {
        "workspace": version.workspace or WORKSPACE,
        "model_name": version.model_name,
        "version_number": version.version_number,
    }


def of_run(run_id: str, path: str = "model") -> registry.VersionSource:
    """Files of a run, as the source of a version."""
    return registry.VersionSource(run=registry.RunFiles(run_id=run_id, path=path))


def copy_of(model_name: str, version_number: int) -> registry.VersionSource:
    """Another version, as the source of a version."""
    return registry.VersionSource(version=registry.VersionCopy(model_name=model_name, version_number=version_number))


def draft(model_name: str, source: registry.VersionSource, **fields: object) -> registry.CreateVersionRequest:
    """A request for a new version."""
    return registry.CreateVersionRequest(
        workspace=WORKSPACE,
        model_name=model_name,
        source=source,
        **fields,  # type: ignore[arg-type]
    )


def listed(platform: Platform, **owner: str) -> dict[str, int]:
    """The paths and sizes of an owner's files."""
    request = artifacts.ListArtifactsRequest(owner=artifacts.ArtifactOwner(**owner), recursive=True)
    found = platform.files.ListArtifacts(request).artifacts
    return {each.path: each.size_bytes for each in found}


def _upload(owner: artifacts.ArtifactOwner, files: Mapping[str, bytes]) -> Iterator[artifacts.WriteArtifactsRequest]:
    yield artifacts.WriteArtifactsRequest(owner=owner)
    for path, content in files.items():
        header = artifacts.ArtifactHeader(path=path, size_bytes=len(content))
        yield artifacts.WriteArtifactsRequest(header=header)
        yield artifacts.WriteArtifactsRequest(content=content)
        yield artifacts.WriteArtifactsRequest(sha256=hashlib.sha256(content).hexdigest())
    yield artifacts.WriteArtifactsRequest(sent_file_count=len(files))


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """The platform at work; use names of your own in it."""
    return Platform.of(deployment)
