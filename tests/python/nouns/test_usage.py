from __future__ import annotations

import pytest

from modelry import Client
from modelry.errors import QuotaExceeded, WorkspaceNotFound
from modelry.types import Used
from tests.parts.deployment import Deployment
from tests.parts.quotas import set_quotas, workspace_with


def test_the_usage_of_a_workspace_is_that_of_all_services_with_its_quotas(
    client: Client, deployment: Deployment
) -> None:
    name = workspace_with(deployment, run_count=4, stored_bytes=1000)
    team = Client(client._connection.address.uri, workspace=name)
    run = team.runs.create(experiment_id=team.experiments.create("training").experiment_id)
    team.artifacts.upload_bytes(f"runs/{run.run_id}", "model/MLmodel", b"flavors: {}\n")
    team.models.create("fraud")
    team.versions.create("fraud", f"runs:/{run.run_id}/model")

    usage = team.workspaces.usage()

    assert (usage.workspace, usage.file_count) == (name, 2)
    assert (usage.runs, usage.versions, usage.stored_bytes) == (Used(1, 4), Used(1, None), Used(24, 1000))
    assert (usage.runs.share, usage.versions.share) == (0.25, None)
    assert client.workspaces.usage(name) == usage


def test_a_quota_of_0_is_no_missing_one(client: Client, deployment: Deployment) -> None:
    usage = client.workspaces.usage(workspace_with(deployment, run_count=0))

    assert (usage.runs, usage.versions, usage.stored_bytes) == (Used(0, 0), Used(0, None), Used(0, None))
    assert (usage.runs.share, usage.versions.share) == (1.0, None)


def test_the_usage_of_no_workspace_is_refused(client: Client) -> None:
    with pytest.raises(WorkspaceNotFound):
        client.workspaces.usage("nowhere")


def test_what_is_over_a_quota_is_refused_once_with_the_numbers(client: Client, deployment: Deployment) -> None:
    name = workspace_with(deployment, run_count=1)
    team = Client(client._connection.address.uri, workspace=name)
    experiment = team.experiments.create("training").experiment_id
    team.runs.create(experiment_id=experiment)

    with pytest.raises(QuotaExceeded) as refusal:
        team.runs.create(experiment_id=experiment)
    set_quotas(deployment, name)

    assert refusal.value.metadata == {"workspace": name, "quota": "run_count", "used": "1", "limit": "1"}
    assert team.workspaces.usage().runs == Used(1, None)
