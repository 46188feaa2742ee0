"""How many runs a workspace has, and may have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import Tracking
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.quotas import set_quotas, workspace_with
from tests.parts.refusal import refused, unpacked


@pytest.fixture
def usage(deployment: Deployment) -> Callable[[str], int]:
    """Asks how many runs a workspace has."""
    stub = deployment.stub(api.UsageServiceStub)
    return lambda workspace: stub.GetUsage(api.GetUsageRequest(workspace=workspace)).usage.run_count


def test_the_runs_of_a_workspace_are_counted_deleted_ones_among_them(
    tracking: Tracking, usage: Callable[[str], int]
) -> None:
    workspace = tracking.a_workspace()
    first, second = (tracking.an_experiment(workspace) for _ in range(2))
    runs = [tracking.a_run(first), tracking.a_run(first), tracking.a_run(second)]
    before = usage(workspace)

    tracking.runs.DeleteRun(api.DeleteRunRequest(run_id=runs[0]))

    assert (before, usage(workspace)) == (3, 3)
    assert usage(tracking.a_workspace()) == 0


def test_the_usage_of_no_workspace_is_refused(deployment: Deployment) -> None:
    stub = deployment.stub(api.UsageServiceStub)

    missing = refused(stub.GetUsage, api.GetUsageRequest(workspace="nowhere"))
    unnamed = refused(stub.GetUsage, api.GetUsageRequest())

    assert (missing.code, missing.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert (unnamed.code, unnamed.violations) == ("INVALID_ARGUMENT", {"workspace": "is required"})


def test_a_run_more_than_the_quota_is_refused_with_the_numbers(deployment: Deployment, tracking: Tracking) -> None:
    workspace = workspace_with(deployment, run_count=2)
    experiment = tracking.an_experiment(workspace)
    for _ in range(2):
        tracking.a_run(experiment)

    refusal = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=experiment))

    assert (refusal.code, refusal.reason, refusal.retry) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", False)
    assert refusal.metadata == {"workspace": workspace, "quota": "run_count", "used": "2", "limit": "2"}
    assert list(refusal.exceeded) == [f"workspace:{workspace}"]
    assert "its run_count is 2, and the quota is 2" in refusal.message


def test_a_quota_of_0_lets_no_run_in_until_it_is_removed(
    deployment: Deployment, tracking: Tracking, usage: Callable[[str], int]
) -> None:
    workspace = workspace_with(deployment, run_count=0)
    experiment = tracking.an_experiment(workspace)

    refusal = refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=experiment))
    set_quotas(deployment, workspace)

    assert refusal.metadata == {"workspace": workspace, "quota": "run_count", "used": "0", "limit": "0"}
    assert "takes nothing more: its run_count is 0, and the quota is 0; nothing was written; ask" in refusal.message
    assert eventually(lambda: _made(tracking, experiment))
    assert usage(workspace) == 1


def test_a_higher_quota_lets_the_next_run_in(
    deployment: Deployment, tracking: Tracking, usage: Callable[[str], int]
) -> None:
    workspace = workspace_with(deployment, run_count=1)
    experiment = tracking.an_experiment(workspace)
    tracking.a_run(experiment)
    refused(tracking.runs.CreateRun, api.CreateRunRequest(experiment_id=experiment))

    set_quotas(deployment, workspace, run_count=2)

    assert eventually(lambda: _made(tracking, experiment))
    assert usage(workspace) == 2


def test_a_call_that_is_sent_again_is_answered_although_the_quota_is_used_up(
    deployment: Deployment, tracking: Tracking
) -> None:
    experiment = tracking.an_experiment(workspace_with(deployment, run_count=2))
    by_request = api.CreateRunRequest(experiment_id=experiment, request_id=new_id())
    by_id = api.CreateRunRequest(experiment_id=experiment, run_id=new_id())
    first = [tracking.runs.CreateRun(each).run.run_id for each in (by_request, by_id)]

    again = [tracking.runs.CreateRun(each).run.run_id for each in (by_request, by_id)]

    assert again == first


def test_of_many_who_start_runs_at_once_as_many_as_the_quota_has_room_for_get_one(
    deployment: Deployment, tracking: Tracking, usage: Callable[[str], int]
) -> None:
    workspace = workspace_with(deployment, run_count=25)
    experiment = tracking.an_experiment(workspace)

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: _made(tracking, experiment), range(60)))

    assert sum(map(bool, made)) == usage(workspace) == 25


def _made(tracking: Tracking, experiment: str) -> str:
    """The id of a new run; empty if the quota is used up."""
    try:
        return tracking.a_run(experiment)
    except grpc.RpcError as error:
        if unpacked(error).reason != "QUOTA_EXCEEDED":
            raise
        return ""
