"""How many versions a workspace has, and may have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import Platform, of_run, unique
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.quotas import set_quotas, workspace_with
from tests.parts.refusal import refused, unpacked


class Team:
    """A workspace with a model, and a run that versions are made from."""

    def __init__(self, deployment: Deployment, **quotas: int) -> None:
        self.platform = Platform.of(deployment)
        self.workspace = workspace_with(deployment, **quotas)
        self.model = self.platform.a_model(unique("fraud"), workspace=self.workspace).name
        new = tracking.CreateExperimentRequest(workspace=self.workspace, name="training")
        experiment = deployment.stub(tracking.ExperimentServiceStub).CreateExperiment(new).experiment
        self.run = self.platform.a_run({"model/MLmodel": bytes(600)}, experiment.experiment_id)
        self._usage = deployment.stub(registry.UsageServiceStub)
        self._stored = deployment.stub(artifacts.UsageServiceStub)

    def draft(self, **fields: str) -> registry.CreateVersionRequest:
        """A request for a new version."""
        of_model = {"workspace": self.workspace, "model_name": self.model, "source": of_run(self.run)}
        return registry.CreateVersionRequest(**of_model, **fields)  # type: ignore[arg-type]

    def version(self, **fields: str) -> registry.Version:
        """A new version."""
        return self.platform.versions.CreateVersion(self.draft(**fields)).version

    def made(self) -> bool:
        """Makes a version; False if the quota is used up."""
        try:
            self.version()
        except grpc.RpcError as error:
            if unpacked(error).reason != "QUOTA_EXCEEDED":
                raise
            return False
        return True

    def delete(self, version: registry.Version) -> None:
        """Deletes a version."""
        of_version = {"model_name": version.model_name, "version_number": version.version_number}
        self.platform.versions.DeleteVersion(
            registry.DeleteVersionRequest(workspace=self.workspace, **of_version)  # type: ignore[arg-type]
        )

    def usage(self) -> int:
        """How many versions the workspace has."""
        return self._usage.GetUsage(registry.GetUsageRequest(workspace=self.workspace)).usage.version_count

    def stored(self) -> int:
        """What its files take."""
        return self._stored.GetUsage(artifacts.GetUsageRequest(workspace=self.workspace)).usage.stored_bytes


@pytest.fixture
def team(deployment: Deployment) -> Callable[..., Team]:
    """Makes teams, whose workspaces have quotas."""
    return lambda **quotas: Team(deployment, **quotas)


def test_the_versions_of_a_workspace_are_counted_until_they_are_deleted(team: Callable[..., Team]) -> None:
    risk = team()
    first = risk.version()
    risk.version()
    before = risk.usage()

    risk.delete(first)

    assert (before, risk.usage(), team().usage()) == (2, 1, 0)


def test_the_usage_of_no_workspace_is_refused(deployment: Deployment) -> None:
    stub = deployment.stub(registry.UsageServiceStub)

    missing = refused(stub.GetUsage, registry.GetUsageRequest(workspace="nowhere"))
    unnamed = refused(stub.GetUsage, registry.GetUsageRequest())

    assert (missing.code, missing.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert (unnamed.code, unnamed.violations) == ("INVALID_ARGUMENT", {"workspace": "is required"})


def test_a_version_more_than_the_quota_is_refused_with_the_numbers_and_leaves_nothing(
    team: Callable[..., Team],
) -> None:
    risk = team(version_count=1)
    risk.version()
    stored = risk.stored()

    refusal = refused(risk.platform.versions.CreateVersion, risk.draft())

    assert (refusal.code, refusal.reason, refusal.retry) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", False)
    assert refusal.metadata == {"workspace": risk.workspace, "quota": "version_count", "used": "1", "limit": "1"}
    assert list(refusal.exceeded) == [f"workspace:{risk.workspace}"]
    assert "delete versions, or ask an administrator" in refusal.message
    assert (risk.usage(), risk.stored()) == (1, stored)


def test_a_quota_of_0_lets_no_version_in(team: Callable[..., Team]) -> None:
    risk = team(version_count=0)

    refusal = refused(risk.platform.versions.CreateVersion, risk.draft())

    assert refusal.metadata == {"workspace": risk.workspace, "quota": "version_count", "used": "0", "limit": "0"}
    assert "takes nothing more" in refusal.message
    assert "delete versions" not in refusal.message
    assert (risk.usage(), risk.stored()) == (0, 600)


def test_a_version_whose_files_have_no_room_is_refused_as_artifacts_says(team: Callable[..., Team]) -> None:
    risk = team(stored_bytes=1000)

    refusal = refused(risk.platform.versions.CreateVersion, risk.draft())

    assert (refusal.code, refusal.reason, refusal.retry) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", False)
    assert refusal.metadata == {"workspace": risk.workspace, "quota": "stored_bytes", "used": "600", "limit": "1000"}
    assert list(refusal.exceeded) == [f"workspace:{risk.workspace}"]
    assert (risk.usage(), risk.stored()) == (0, 600)


def test_a_call_that_is_sent_again_is_answered_although_the_quota_is_used_up(team: Callable[..., Team]) -> None:
    risk, request_id = team(version_count=1), new_id()
    first = risk.version(request_id=request_id)

    assert risk.version(request_id=request_id) == first


def test_fewer_versions_or_a_higher_quota_let_the_next_one_in(
    deployment: Deployment, team: Callable[..., Team]
) -> None:
    risk = team(version_count=1)
    first = risk.version()
    assert not risk.made()

    risk.delete(first)
    eventually(risk.made)
    set_quotas(deployment, risk.workspace, version_count=2)
    eventually(risk.made)

    assert risk.usage() == 2


def test_of_many_who_make_versions_at_once_as_many_get_one_as_the_quota_has_room_for(
    team: Callable[..., Team],
) -> None:
    risk = team(version_count=5)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: risk.made(), range(16)))

    assert sum(made) == risk.usage() == 5
