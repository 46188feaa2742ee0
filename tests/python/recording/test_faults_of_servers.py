"""Only a refusal of this very content drops it. What else a server answers is repeated, or kept where it is told."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from modelry._sdk.spooling import kept
from modelry._sdk.spooling.queued import LOG_BATCH, WRITE_METRICS, QueuedRequest, start_run
from modelry._sdk.spooling.spool import Spool, left_in
from modelry.api.tracking import v1 as tracking
from modelry.api.tracking.v1.rpcs import CREATE_EXPERIMENT
from modelry.errors import RunNotFound
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.faulty_server import FaultyServer, faulty, none
from tests.python.recording.scripts import PATIENCE_S

INTERNAL = grpc.StatusCode.INTERNAL
NO_MESSAGE = b"\xff"


@pytest.fixture
def between(own_on_sqlite: Deployment) -> Iterator[FaultyServer]:
    """A server before the platform, for this process."""
    with faulty(own_on_sqlite.address) as server:
        modelry.set_tracking_uri(server.address)
        yield server


@pytest.fixture
def reader(own_on_sqlite: Deployment) -> Client:
    return Client(own_on_sqlite.address)


@pytest.mark.parametrize(
    "code",
    [INTERNAL, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED],
    ids=lambda code: code.name,
)
def test_a_server_that_fails_at_everything_for_a_while_costs_nothing(
    between: FaultyServer, reader: Client, spool: Path, code: grpc.StatusCode
) -> None:
    """As a database that is read-only for a while, or a proxy that answers in place of the server."""
    failed = []

    def fail(method: str, request: bytes) -> grpc.StatusCode:
        failed.append(method)
        return code

    with modelry.start_run() as run:
        between.rule = fail
        for step in range(3000):
            modelry.log_metric("m", 0.5, step=step)
        modelry.log_param("p", 1)
        eventually(lambda: not modelry.flush(0.5) and len(failed) > 8)
        between.rule = none
        complete = modelry.flush(PATIENCE_S)
        nothing_left = left_in(spool) == []

    stored = reader.runs.get(run.id)
    assert (complete, nothing_left) == (True, True)
    assert (stored.summaries["m"].point_count, stored.params, stored.status) == (3000, {"p": "1"}, "FINISHED")


def test_an_answer_that_does_not_say_that_a_batch_is_durable_is_none(
    between: FaultyServer, reader: Client, spool: Path
) -> None:
    with modelry.start_run() as run:
        modelry.log_metric("m", 0.5, step=0)
        assert modelry.flush(PATIENCE_S)
        stale = tracking.WriteMetricsResponse(durable_batch_number=1)
        between.answers = {WRITE_METRICS: stale.SerializeToString()}
        modelry.log_metric("m", 0.5, step=1)
        with_stale_answer = modelry.flush(1.0)
        between.answers = {}
        complete = modelry.flush(PATIENCE_S)

    assert (with_stale_answer, complete, left_in(spool)) == (False, True, [])
    assert list(reader.metrics.read(run.id, "m").steps) == [0, 1]


def test_an_answer_that_is_no_message_is_a_fault_like_others(
    between: FaultyServer, reader: Client, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with modelry.start_run() as run, caplog.at_level(logging.WARNING, "modelry"):
        between.answers = {WRITE_METRICS: NO_MESSAGE}
        modelry.log_metric("m", 0.5)
        modelry.log_param("p", 1)
        eventually(lambda: not modelry.flush(0.5) and reader.runs.get(run.id).params == {"p": "1"})
        between.answers = {}
        complete = modelry.flush(PATIENCE_S)

    run.recorder.close(5)
    report = sync.deliver(folder=spool)

    assert complete
    assert [text for text in caplog.messages if "set aside in" in text]
    assert not [record for record in caplog.records if record.exc_info]
    assert (report.points_delivered, report.problems) == (1, ())
    assert reader.runs.get(run.id).metrics == {"m": 0.5}


def test_an_answer_that_is_no_message_holds_up_nothing_for_another_server(
    between: FaultyServer, own_on_sqlite: Deployment, reader: Client, spool: Path
) -> None:
    known, own = reader.runs.create().run_id, "1" * 32
    between.answers = {WRITE_METRICS: NO_MESSAGE, CREATE_EXPERIMENT.path: NO_MESSAGE}
    points = tracking.WriteMetricsRequest(run_id=known, writer_id=own, batch_number=1)
    points.metrics.add(key="m", steps=[0], times_ms=[1], values=[0.5])
    experiment = tracking.CreateExperimentRequest(workspace="default", name="new")
    start = tracking.CreateRunRequest(run_id=own)
    tags = tracking.LogBatchRequest(run_id=known, tags={"a": "b"})
    for name, address, request in (
        ("1-1-a", between.address, QueuedRequest(WRITE_METRICS, points.SerializeToString(), points=1)),
        ("2-2-b", between.address, start_run(experiment.SerializeToString(), start.SerializeToString())),
        ("3-3-c", own_on_sqlite.address, QueuedRequest(LOG_BATCH, tags.SerializeToString())),
    ):
        made = Spool.create(spool, {"address": address, "workspace": "default"}, name=name)
        made.append([request])
        made.close()

    report = sync.deliver(folder=spool)
    between.answers = {}
    again = sync.deliver(folder=spool)

    assert reader.runs.get(known).tags["a"] == "b"
    assert (report.files_delivered, report.files_left, len(report.problems)) == (1, 2, 2)
    assert "the server sent 1 bytes that are no WriteMetricsResponse" in report.problems[0]
    assert (again.files_delivered, again.problems) == (2, ())


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
        (INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Received http2 header with status: 500"),
        (grpc.StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404"),
    ],
)
def test_a_server_that_takes_one_call_in_five_for_a_while_costs_nothing(
    between: FaultyServer, reader: Client, spool: Path, caplog: pytest.LogCaptureFixture, code: Any, says: str
) -> None:
    """As under more load than it can bear, or behind proxies of which most are starting."""
    chance = random.Random(1)
    counted: Counter[bool] = Counter()

    def refuse_most(method: str, request: bytes) -> grpc.StatusCode | None:
        refused = chance.random() < 0.8
        counted[refused] += 1
        return code if refused else None

    with modelry.start_run() as run, caplog.at_level(logging.WARNING, "modelry"):
        between.says, between.rule = says, refuse_most
        for step in range(20):
            modelry.log_metric(f"m{step}", 0.5, step=step)
            modelry.log_param(f"p{step}", step)
            modelry.set_tag(f"t{step}", "yes")
            modelry.flush(0.2)
        between.rule = none
        complete = modelry.flush(PATIENCE_S)
        nothing_left = left_in(spool) == []

    stored = reader.runs.get(run.id)
    assert counted[True] > 2 * counted[False] > 0
    assert (complete, nothing_left) == (True, True)
    assert stored.metrics == {f"m{step}": 0.5 for step in range(20)}
    assert stored.params == {f"p{step}": str(step) for step in range(20)}
    assert {key for key in stored.tags if key.startswith("t")} == {f"t{step}" for step in range(20)}
    assert not [text for text in caplog.messages if "set aside" in text]


def test_a_message_that_is_too_large_for_a_proxy_is_set_aside_and_told(
    own_on_sqlite: Deployment, reader: Client, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with faulty(own_on_sqlite.address, max_receive_message_length=2000) as small:
        modelry.set_tracking_uri(small.address)
        with modelry.start_run() as run, caplog.at_level(logging.WARNING, "modelry"):
            modelry.log_param("long", "x" * 3000)
            modelry.log_param("short", "x")
            eventually(lambda: modelry.flush(1.0) or "short" in reader.runs.get(run.id).params, within_s=PATIENCE_S)
            modelry.log_metric("m", 1.0)
            eventually(lambda: modelry.flush(1.0) or "set aside in" in caplog.text, within_s=PATIENCE_S)
        run.recorder.close(5)
    report = sync.deliver(own_on_sqlite.address, folder=spool)

    assert [text for text in caplog.messages if "larger than max" in text and "set aside in" in text]
    assert report.requests_delivered == 1
    stored = reader.runs.get(run.id)
    assert (stored.params, stored.metrics) == ({"long": "x" * 3000, "short": "x"}, {"m": 1.0})


def test_one_request_at_which_the_server_fails_is_set_aside_and_sent_by_a_later_sync(
    between: FaultyServer, reader: Client, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    between.rule = lambda method, request: INTERNAL if b"poison" in request else None
    with modelry.start_run() as run, caplog.at_level(logging.WARNING, "modelry"):
        modelry.log_metrics({"poison": 1.0, "good": 1.0})
        modelry.log_params({"poison": 1, "fine": 2})
        modelry.log_metric("later", 3.0)
        eventually(lambda: modelry.flush(1.0) or "later" in reader.runs.get(run.id).metrics, within_s=PATIENCE_S)
        modelry.log_metric("later", 4.0, step=1)
        eventually(lambda: reader.runs.get(run.id).metrics.get("later") == 4.0, within_s=PATIENCE_S)
        eventually(lambda: modelry.flush(PATIENCE_S) or modelry.flush(PATIENCE_S), within_s=PATIENCE_S)
    before = reader.runs.get(run.id)
    modelry.flush(PATIENCE_S)
    told = [text for text in caplog.messages if "set aside in" in text]
    run.recorder.close(5)
    while_failing = sync.deliver(folder=spool)
    between.rule = none
    report = sync.deliver(folder=spool)

    after = reader.runs.get(run.id)
    assert (before.metrics, before.params) == ({"good": 1.0, "later": 4.0}, {"fine": "2"})
    assert before.status == "FINISHED"
    assert len(told) == 2
    assert while_failing.requests_left == 2
    assert (report.requests_delivered, report.requests_left, report.problems) == (2, 0, ())
    assert after.metrics == {"good": 1.0, "later": 4.0, "poison": 1.0}
    assert after.summaries["good"].point_count == 1
    assert after.summaries["later"].point_count == 2
    assert after.params == {"fine": "2", "poison": "1"}


def test_a_run_that_the_server_cant_create_holds_up_no_other_run(
    between: FaultyServer, reader: Client, spool: Path
) -> None:
    between.rule = lambda method, request: grpc.StatusCode.UNAVAILABLE
    with modelry.start_run(run_name="poison") as bad:
        modelry.log_metric("m", 1.0)
    with modelry.start_run(run_name="good") as good:
        modelry.log_metric("m", 2.0)
    between.rule = lambda method, request: INTERNAL if bad.id.encode() in request else None
    eventually(lambda: modelry.flush(1.0) or _status(reader, good.id) == "FINISHED", within_s=PATIENCE_S)
    eventually(lambda: modelry.flush(PATIENCE_S) or modelry.flush(PATIENCE_S), within_s=PATIENCE_S)
    good.recorder.close(5)
    between.rule = none
    report = sync.deliver(folder=spool)

    stored = reader.runs.get(bad.id)
    assert reader.runs.get(good.id).metrics == {"m": 2.0}
    assert report.problems == ()
    assert (stored.metrics, stored.status) == ({"m": 1.0}, "FINISHED")


def _status(reader: Client, run_id: str) -> str:
    try:
        return str(reader.runs.get(run_id).status)
    except RunNotFound:
        return ""


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, INTERNAL],
    ids=lambda code: code.name,
)
def test_an_upload_that_the_server_cant_take_now_is_never_raised_and_holds_up_no_metrics(
    between: FaultyServer, reader: Client, spool: Path, code: grpc.StatusCode
) -> None:
    """As of a server that shuts down, or has as many streams open as it may."""
    run = modelry.start_run()
    between.rule = lambda method, request: code if method.endswith("/WriteArtifacts") else None
    modelry.log_text("first", "a.txt")
    modelry.log_text("second", "a.txt")
    modelry.log_metric("m", 1.0)
    eventually(lambda: reader.runs.get(run.id).metrics == {"m": 1.0})
    while_away = modelry.flush(0.1)
    with modelry.start_run(nested=True) as other:
        pass
    online = _status(reader, other.id)
    between.rule = none
    complete = modelry.flush(PATIENCE_S)
    modelry.end_run()

    assert (while_away, complete) == (False, True)
    assert online == "FINISHED"
    assert reader.artifacts.read_bytes(f"runs/{run.id}", "a.txt") == b"second"
    assert kept.left_in(spool) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.ABORTED, "the stream has broken off"),
        (grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8"),
    ],
)
def test_an_upload_that_is_cut_off_each_time_holds_up_no_other_upload(
    between: FaultyServer, reader: Client, spool: Path, code: Any, says: str
) -> None:
    """As one that takes longer than a proxy allows."""
    with modelry.start_run() as long:
        long_id = long.id.encode()
        between.says = says
        between.rule = lambda method, request: (
            code if method.endswith("/WriteArtifacts") and long_id in request else None
        )
        modelry.log_text("long", "a.txt")
        with modelry.start_run(nested=True) as short:
            modelry.log_text("short", "b.txt")
            eventually(lambda: reader.artifacts.list(f"runs/{short.id}"), within_s=PATIENCE_S)
        before = list(reader.artifacts.list(f"runs/{long.id}"))
        between.rule = none
        complete = modelry.flush(PATIENCE_S)

    assert (before, complete) == ([], True)
    assert reader.artifacts.read_bytes(f"runs/{long.id}", "a.txt") == b"long"
    assert kept.left_in(spool) == []


def test_a_server_that_stands_still_blocks_a_file_for_the_start_timeout_only(
    between: FaultyServer, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_START_TIMEOUT", "1s")
    run = modelry.start_run()
    between.stands_still.set()
    begin = time.monotonic()
    modelry.log_text("first", "a.txt")
    waited = time.monotonic() - begin
    modelry.log_text("second", "b.txt")
    waited_again = time.monotonic() - begin - waited
    modelry.log_metric("m", 1.0)
    eventually(lambda: reader.runs.get(run.id).metrics == {"m": 1.0})
    between.stands_still.clear()
    complete = modelry.flush(PATIENCE_S)
    modelry.end_run()

    assert 0.9 < waited < 4
    assert waited_again < 0.5
    assert complete
    assert [each.path for each in reader.artifacts.list(f"runs/{run.id}")] == ["a.txt", "b.txt"]
