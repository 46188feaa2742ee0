"""Rooms in one process with hardly any threads: who waits for a neighbour does not hold what the neighbour needs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelry.api.access import v1 as access
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All rooms in one process, two threads for each listener."""
    folder: Path = tmp_path_factory.mktemp("narrow")
    with deployments.running("all", folder, settings={"server.workers": "2", "server.streams": "2"}) as running:
        yield running


def test_q08_many_calls_that_need_a_neighbour_at_once_are_all_answered(narrow: Deployment) -> None:
    workspaces, experiments = narrow.stub(access.WorkspaceServiceStub), narrow.stub(tracking.ExperimentServiceStub)
    models = narrow.stub(registry.ModelServiceStub)
    names = [f"team-{new_id()}" for _ in range(12)]
    for name in names:
        workspaces.CreateWorkspace(access.CreateWorkspaceRequest(name=name))

    def make(name: str) -> str:
        made = experiments.CreateExperiment(tracking.CreateExperimentRequest(name="e", workspace=name), timeout=20)
        models.CreateModel(registry.CreateModelRequest(name=f"m-{name}", workspace=name), timeout=20)
        return made.experiment.workspace

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(make, names))

    assert answers == names


def test_many_calls_that_a_neighbour_refuses_at_once_are_all_answered(narrow: Deployment) -> None:
    experiments = narrow.stub(tracking.ExperimentServiceStub)

    def ask(number: int) -> str:
        request = tracking.CreateExperimentRequest(name="e", workspace=f"missing-{number}")
        return refused(experiments.CreateExperiment, request).reason

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(60))) == {"WORKSPACE_NOT_FOUND"}
