"""Tracking is killed while many write to it: what was acknowledged is there, and nothing is there twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.tracking.conftest import bits_of, columns, points_of
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually

WRITERS, ROUNDS = 8, 30


class Load:
    """Writers that send what they have until it is acknowledged, and note what was."""

    def __init__(self, deployment: Deployment) -> None:
        self.runs = deployment.stub(api.RunServiceStub)
        self.metrics = deployment.stub(api.MetricServiceStub)
        self.run_id = self.runs.CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
        self.acknowledged = 0
        self.cut = 0
        self._changed = threading.Condition()

    def wait_for(self, count: int) -> None:
        """Waits until so many calls were acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.acknowledged >= count, 60)

    def write(self, writer: int) -> list[str]:
        """Everything that one writer has to say; the ids of the runs that it made."""
        made: list[str] = []
        for number in range(1, ROUNDS + 1):
            points = [(number * 3 + n, writer, bits_of(number / 7)) for n in range(3)]
            self._send(
                self.metrics.WriteMetrics,
                api.WriteMetricsRequest(
                    run_id=self.run_id,
                    writer_id=f"writer {writer}",
                    batch_number=number,
                    metrics=[columns("numbered", points)],
                ),
            )
            self._send(
                self.runs.LogBatch,
                api.LogBatchRequest(
                    run_id=self.run_id,
                    metrics=[columns("batched", points)],
                    params={f"{writer}/{number}": "p"},
                    tags={f"{writer}/{number}": "t"},
                ),
            )
            request = api.CreateRunRequest(
                experiment_id="0", name=f"run of writer {writer}", parent_run_id=self.run_id, request_id=new_id()
            )
            made.append(self._send(self.runs.CreateRun, request).run.run_id)
        return made

    def _send(self, method: Callable[..., Any], request: Any) -> Any:
        def attempt() -> Any:
            try:
                return method(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                self.cut += 1
                return None

        answer = eventually(attempt, within_s=60)
        with self._changed:
            self.acknowledged += 1
            self._changed.notify_all()
        return answer


def test_what_was_acknowledged_before_a_kill_is_there_after_it_and_once(mortal: Deployment) -> None:
    load, victim = Load(mortal), mortal.target_of("tracking")

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(load.write, writer) for writer in range(WRITERS)]
        for count in (60, 240):
            load.wait_for(count)
            mortal.kill(victim)
            mortal.start(victim)
        made = [run_id for each in writing for run_id in each.result(90)]

    assert load.cut > 0
    sent = sorted(
        (number * 3 + n, writer, bits_of(number / 7))
        for writer in range(WRITERS)
        for number in range(1, ROUNDS + 1)
        for n in range(3)
    )
    run = load.runs.GetRun(api.GetRunRequest(run_id=load.run_id)).run
    for key in ("numbered", "batched"):
        answers = load.metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[load.run_id], keys=[key]))
        assert [point for each in answers for point in points_of(each.columns)] == sent
    counts = {each.key: each.point_count for each in run.metrics}
    assert counts["numbered"] == len(sent)
    assert counts["batched"] >= len(sent)
    names = {f"{writer}/{number}" for writer in range(WRITERS) for number in range(1, ROUNDS + 1)}
    assert (set(run.params), set(run.tags)) == (names, names)
    nested = api.SearchRunsRequest(workspace="default", filter=f"parent_run_id = '{load.run_id}'", page_size=1000)
    assert sorted(each.run_id for each in load.runs.SearchRuns(nested).runs) == sorted(made)
    assert len(set(made)) == WRITERS * ROUNDS


def test_a_batch_is_there_whole_or_not_at_all_when_its_server_is_killed(mortal: Deployment) -> None:
    runs, victim = mortal.stub(api.RunServiceStub), mortal.target_of("tracking")
    run_id = runs.CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    begun = threading.Event()

    def batch(number: int) -> api.LogBatchRequest:
        metrics = [columns(f"{number}/{key}", [(step, 0, bits_of(1.0)) for step in range(50)]) for key in range(20)]
        names = {f"{number}/{key}": "x" for key in range(50)}
        return api.LogBatchRequest(run_id=run_id, metrics=metrics, params=names, tags=names)

    def log() -> list[int]:
        acknowledged: list[int] = []
        for number in range(10_000):
            try:
                runs.LogBatch(batch(number), timeout=20)
            except grpc.RpcError:
                break
            acknowledged.append(number)
            if len(acknowledged) == 10:
                begun.set()
        return acknowledged

    with ThreadPoolExecutor(1) as pool:
        logging = pool.submit(log)
        assert begun.wait(60)
        mortal.kill(victim)
        acknowledged = logging.result(60)
    mortal.start(victim)

    run = eventually(lambda: _read(runs, run_id))
    assert run
    present = {int(name.split("/")[0]) for name in run.params}
    assert present - set(acknowledged) <= {len(acknowledged)}
    assert set(acknowledged) <= present
    assert sorted(run.params) == sorted(run.tags) == sorted(f"{n}/{key}" for n in present for key in range(50))
    assert {each.key: each.point_count for each in run.metrics} == {
        f"{n}/{key}": 50 for n in present for key in range(20)
    }


def _read(runs: api.RunServiceStub, run_id: str) -> api.Run | None:
    try:
        return runs.GetRun(api.GetRunRequest(run_id=run_id), wait_for_ready=True, timeout=20).run
    except grpc.RpcError:
        return None
