"""Runs that are refused as a whole hold up no other run, however many they are, and are delivered once they may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from modelry._sdk.spooling import queued
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import Spool, left_in
from modelry.api.tracking import v1 as tracking
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import run_script, use

Logged = list[tuple[str, QueuedRequest]]
"""What is logged, each with its run."""


@dataclass
class Refused:
    """Runs that are refused, their starts as far as they have one, and what ends that."""

    run_ids: list[str]
    starts: Logged
    cure: Callable[[], object]


def _ids(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(1, 1 + count)]


def deleted(client: Client, count: int) -> Refused:
    run_ids = [client.runs.create().run_id for _ in range(count)]
    for run_id in run_ids:
        client.runs.delete(run_id)
    return Refused(run_ids, [], lambda: [client.runs.restore(run_id) for run_id in run_ids])


def not_there(client: Client, count: int) -> Refused:
    run_ids = _ids(count)
    return Refused(run_ids, [], lambda: [client.runs.create(run_id=run_id) for run_id in run_ids])


def of_a_deleted_experiment(client: Client, count: int) -> Refused:
    gone = client.experiments.create("gone").experiment_id
    client.experiments.delete(gone)
    requests = [(each, tracking.CreateRunRequest(experiment_id=gone, run_id=each)) for each in _ids(count)]
    starts = [(each, QueuedRequest(queued.CREATE_RUN, request.SerializeToString())) for each, request in requests]
    return Refused(_ids(count), starts, lambda: client.experiments.restore(gone))


def of_an_unknown_workspace(client: Client, count: int) -> Refused:
    make = tracking.CreateExperimentRequest(workspace="moon", name="first", allow_existing=True).SerializeToString()
    requests = [(each, tracking.CreateRunRequest(run_id=each).SerializeToString()) for each in _ids(count)]
    starts = [(each, queued.start_run(make, request)) for each, request in requests]
    return Refused(_ids(count), starts, lambda: client.workspaces.create("moon"))


def _params(run_id: str) -> QueuedRequest:
    return QueuedRequest(
        queued.LOG_BATCH, tracking.LogBatchRequest(run_id=run_id, params={"p": "1"}).SerializeToString()
    )


def _leave(spool: Path, deployment: Deployment, *requests: QueuedRequest) -> None:
    made = Spool.create(spool, {"address": deployment.address, "workspace": "default"})
    made.append(requests)
    made.close()


def _by_a_living_recorder(deployment: Deployment, spool: Path, logged: Logged) -> None:
    use(deployment)
    with modelry.start_run() as run:
        for run_id, request in logged:
            run.recorder.buffer(run_id).add(request)
        modelry.flush(5)
    run.recorder.close(5)


def _by_sync(deployment: Deployment, spool: Path, logged: Logged) -> None:
    _leave(spool, deployment, *(request for _, request in logged))
    sync.deliver(folder=spool)


FORKS = """
import json, os, sys
import modelry
from modelry._sdk.spooling.queued import QueuedRequest

with modelry.start_run() as run:
    pid = os.fork()
    if pid == 0:
        for run_id, method, content in json.loads(os.environ["LOGGED"]):
            run.recorder.buffer(run_id).add(QueuedRequest(method, bytes.fromhex(content)))
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print(modelry.flush(5))
"""


def _by_the_parent_of_a_forked_child(deployment: Deployment, spool: Path, logged: Logged) -> None:
    told = json.dumps([(run_id, request.method, request.content.hex()) for run_id, request in logged])
    ended = run_script(FORKS, deployment.address, spool, LOGGED=told, MODELRY_EXIT_TIMEOUT="1s")
    assert ended.stdout == "False\n", ended.stderr


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize(
    "deliver", [_by_a_living_recorder, _by_sync, _by_the_parent_of_a_forked_child], ids=lambda deliver: deliver.__name__
)
@pytest.mark.parametrize(
    "refused",
    [deleted, not_there, of_a_deleted_experiment, of_an_unknown_workspace],
    ids=lambda refused: refused.__name__,
)
def test_a_run_behind_refused_ones_arrives_and_they_do_once_the_cause_is_gone(
    own_on_sqlite: Deployment,
    spool: Path,
    refused: Callable[[Client, int], Refused],
    deliver: Callable[[Deployment, Path, Logged], None],
    count: int,
) -> None:
    client = Client(own_on_sqlite.address)
    first = refused(client, count)
    innocent = client.runs.create().run_id
    logged = [*first.starts, *((run_id, _params(run_id)) for run_id in [*first.run_ids, innocent])]

    deliver(own_on_sqlite, spool, logged)
    arrived = client.runs.get(innocent).params
    kept = left_in(spool)
    while_refused = sync.deliver(folder=spool)
    first.cure()
    report = sync.deliver(folder=spool)

    assert arrived == {"p": "1"}
    assert kept
    assert while_refused.requests_left == len(logged) - 1
    assert (report.requests_delivered, report.requests_left, report.problems) == (len(logged) - 1, 0, ())
    assert [client.runs.get(run_id).params for run_id in first.run_ids] == [{"p": "1"}] * count
    assert left_in(spool) == []


def _tagged(run_id: str, value: str) -> QueuedRequest:
    message = tracking.LogBatchRequest(run_id=run_id, tags={"t": value})
    return QueuedRequest(queued.LOG_BATCH, message.SerializeToString())


def test_a_later_file_of_the_same_process_does_not_wait_for_a_refused_run(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = Client(own_on_sqlite.address)
    innocent = client.runs.create().run_id
    [missing] = _ids(1)
    _leave(spool, own_on_sqlite, _params(missing))
    _leave(spool, own_on_sqlite, _params(innocent))

    report = sync.deliver(folder=spool)

    assert client.runs.get(innocent).params == {"p": "1"}
    assert (report.files_delivered, report.files_left) == (1, 1)


def test_what_is_set_aside_keeps_its_place_before_later_files(own_on_sqlite: Deployment, spool: Path) -> None:
    client = Client(own_on_sqlite.address)
    given, innocent = (client.runs.create().run_id for _ in range(2))
    client.runs.delete(given)
    _leave(spool, own_on_sqlite, _tagged(given, "older"), _tagged(innocent, "any"))
    _leave(spool, own_on_sqlite, _tagged(given, "newer"))

    refused = sync.deliver(folder=spool)
    client.runs.restore(given)
    report = sync.deliver(folder=spool)

    assert (refused.requests_left, report.requests_left) == (2, 0)
    assert client.runs.get(given).tags["t"] == "newer"


def test_a_parent_tries_again_what_it_has_set_aside_for_a_child(own_on_sqlite: Deployment, spool: Path) -> None:
    client = Client(own_on_sqlite.address)
    innocent = client.runs.create().run_id
    [missing] = _ids(1)
    logged = [(run_id, _params(run_id)) for run_id in (missing, innocent)]
    told = json.dumps([(run_id, request.method, request.content.hex()) for run_id, request in logged])
    then = f"\nmodelry.Client().runs.create(run_id={missing!r})\nprint(modelry.flush(20), modelry.flush(20))\n"

    ended = run_script(FORKS + then, own_on_sqlite.address, spool, LOGGED=told)

    assert ended.stdout.split() == ["False", "True", "True"], ended.stderr
    assert [client.runs.get(run_id).params for run_id, _ in logged] == [{"p": "1"}] * 2
    assert left_in(spool) == []


def test_a_run_whose_start_is_in_a_later_file_arrives_at_once(own_on_sqlite: Deployment, spool: Path) -> None:
    """As of processes that share a run and a spool, on machines whose clocks differ."""
    client = Client(own_on_sqlite.address)
    [shared] = _ids(1)
    start = tracking.CreateRunRequest(experiment_id="0", run_id=shared).SerializeToString()
    _leave(spool, own_on_sqlite, _params(shared))
    _leave(spool, own_on_sqlite, QueuedRequest(queued.CREATE_RUN, start))

    report = sync.deliver(folder=spool)

    assert client.runs.get(shared).params == {"p": "1"}
    assert (report.files_delivered, report.files_left, report.problems) == (2, 0, ())


def _finished(run_id: str) -> QueuedRequest:
    request = tracking.FinishRunRequest(run_id=run_id, status=tracking.RUN_STATUS_FINISHED)
    return QueuedRequest(queued.FINISH_RUN, request.SerializeToString())


@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "beside another run"])
@pytest.mark.parametrize("has_more", [False, True], ids=["a start", "a start and more"])
def test_nothing_of_a_run_overtakes_what_its_process_logged_before(
    own_on_sqlite: Deployment, spool: Path, is_mixed: bool, has_more: bool
) -> None:
    """Its start is between two files of the process, and in each file may be another run that is taken."""
    client = Client(own_on_sqlite.address)
    [shared] = _ids(1)
    other = client.runs.create().run_id
    running = tracking.UpdateRunRequest(update_mask=FieldMask(paths=["status"]))
    running.run.run_id, running.run.status = shared, tracking.RUN_STATUS_RUNNING
    start = tracking.CreateRunRequest(experiment_id="0", run_id=shared).SerializeToString()
    beside = [_tagged(other, "any")] if is_mixed else []
    more = [_tagged(shared, "middle")] if has_more else []
    update = QueuedRequest(queued.UPDATE_RUN, running.SerializeToString())
    _leave(spool, own_on_sqlite, update, _tagged(shared, "first"), *beside)
    _leave(spool, own_on_sqlite, QueuedRequest(queued.CREATE_RUN, start), *more)
    _leave(spool, own_on_sqlite, _tagged(shared, "last"), *beside, _finished(shared))

    report = sync.deliver(folder=spool)

    run = client.runs.get(shared)
    assert (run.tags["t"], run.status.name) == ("last", "FINISHED")
    assert (report.requests_left, left_in(spool)) == (0, [])
    assert report.requests_delivered == 5 + 2 * is_mixed + has_more
    assert report.problems == ()


def test_no_number_of_a_report_is_negative_and_none_is_counted_before_it_is_certain(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = Client(own_on_sqlite.address)
    [missing] = _ids(1)
    there = client.runs.create().run_id
    bad = tracking.WriteMetricsRequest(run_id=there, writer_id="w", batch_number=1)
    bad.metrics.add(key="k" * 300, steps=[1], times_ms=[1], values=[1.0])
    request = QueuedRequest(queued.WRITE_METRICS, bad.SerializeToString(), points=1)
    _leave(spool, own_on_sqlite, _tagged(missing, "any"), request)

    left = [sync.deliver(folder=spool) for _ in range(2)]
    client.runs.create(run_id=missing)
    last = sync.deliver(folder=spool)

    counts = [(each.requests_delivered, each.requests_refused, each.requests_left) for each in (*left, last)]
    points = [(each.points_delivered, each.points_refused, each.points_left) for each in (*left, last)]
    assert counts == [(0, 0, 2), (0, 0, 2), (1, 1, 0)]
    assert points == [(0, 0, 1), (0, 0, 1), (0, 1, 0)]
