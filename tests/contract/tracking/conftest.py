"""Tracking through its stubs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.parts.deployment import Deployment

Point = tuple[int, int, int]
"""Step, time, and the bits of the value as a signed number."""


@dataclass
class Tracking:
    """Stubs, and what a test needs before it can begin."""

    experiments: api.ExperimentServiceStub
    runs: api.RunServiceStub
    metrics: api.MetricServiceStub
    datasets: api.DatasetServiceStub
    workspaces: access.WorkspaceServiceStub

    def an_experiment(self, workspace: str = "default") -> str:
        """The id of a new experiment."""
        request = api.CreateExperimentRequest(name=f"experiment {new_id()}", workspace=workspace)
        return self.experiments.CreateExperiment(request).experiment.experiment_id

    def a_run(self, experiment_id: str = "0", **fields: object) -> str:
        """The id of a new run."""
        request = api.CreateRunRequest(experiment_id=experiment_id, **fields)  # type: ignore[arg-type]
        return self.runs.CreateRun(request).run.run_id

    def a_workspace(self) -> str:
        """The name of a new workspace."""
        request = access.CreateWorkspaceRequest(name=f"team-{new_id()}")
        return self.workspaces.CreateWorkspace(request).workspace.name

    def run(self, run_id: str) -> api.Run:
        """A run with all its parts."""
        return self.runs.GetRun(api.GetRunRequest(run_id=run_id)).run

    def points(self, run_id: str, key: str) -> list[Point]:
        """The points of a series."""
        found: list[Point] = []
        for answer in self.metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id], keys=[key])):
            found += points_of(answer.columns)
        return found


def columns(key: str, points: Iterable[Point]) -> api.MetricColumns:
    """Points as columns, in the order given."""
    steps, times, bits = zip(*points, strict=True)
    return api.MetricColumns(key=key, steps=steps, times_ms=times, values=map(value_of, bits))


def points_of(series: api.MetricColumns) -> list[Point]:
    """Columns as points."""
    return list(zip(series.steps, series.times_ms, map(bits_of, series.values), strict=True))


def line(key: str, steps: Sequence[int]) -> api.MetricColumns:
    """A series whose values are its steps."""
    return columns(key, [(step, 0, bits_of(float(step))) for step in steps])


def bits_of(value: float) -> int:
    """The bits of a value, as a signed number."""
    number: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return number


def value_of(bits: int) -> float:
    """The value of bits."""
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value


@pytest.fixture(scope="session")
def tracking(deployment: Deployment) -> Tracking:
    """Tracking at work; use names of your own in it."""
    return Tracking(
        deployment.stub(api.ExperimentServiceStub),
        deployment.stub(api.RunServiceStub),
        deployment.stub(api.MetricServiceStub),
        deployment.stub(api.DatasetServiceStub),
        deployment.stub(access.WorkspaceServiceStub),
    )
