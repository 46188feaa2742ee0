"""Around every call: who calls, what is allowed, how much at once, and what a caller hears when it goes wrong."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import prometheus_client
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry._sdk.transport.retries import service_config
from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel import caller, telemetry
from modelry_server.kernel.errors import NotFound, QuotaExceeded, ResourceExhausted
from modelry_server.kernel.transport import call, interceptors
from tests.architecture.tree import rpcs
from tests.parts.eventually import eventually
from tests.parts.refusal import refused
from tests.server.kernel.stage import SERVICE, ask, limits_with, served, staged

GET = f"/{SERVICE}/GetWorkspace"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


def test_what_nobody_expected_is_internal_without_its_text_and_in_the_log_under_the_id_told() -> None:
    log = io.StringIO()
    telemetry.start_logging("info", log)

    def act(name: str) -> str:
        raise RuntimeError("the password is swordfish")

    with served(act) as channel:
        stub = access.WorkspaceServiceStub(channel)
        refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="x"))

    assert (refusal.code, refusal.reason) == ("INTERNAL", "INTERNAL")
    assert "swordfish" not in str(refusal)
    [line] = [json.loads(line) for line in log.getvalue().splitlines() if "rpc.failed" in line]
    assert line["correlation_id"] == refusal.metadata["correlation_id"]
    assert "swordfish" in line["exception"]
    assert len(line["trace_id"]) == 32


def test_what_is_over_a_quota_is_not_sent_again_by_the_grpc_of_a_client() -> None:
    asked: list[str] = []

    def act(name: str) -> str:
        asked.append(name)
        if name == "full":
            raise QuotaExceeded("red", "thing_count", 1, 1)
        raise ResourceExhausted("try again")

    options = [("grpc.service_config", service_config()), ("grpc.enable_retries", 1)]
    with staged(act) as stage, grpc.insecure_channel(stage.address, options=options) as channel:
        stub = access.WorkspaceServiceStub(channel)
        refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="full"))
        refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="busy"))

    assert (refusal.reason, refusal.retry) == ("QUOTA_EXCEEDED", False)
    assert asked == ["full", *["busy"] * 4]


def test_an_error_of_a_room_reaches_the_caller_with_its_details() -> None:
    def act(name: str) -> str:
        raise NotFound(f"there is no {name}", kind="workspace", name=name, workspace=name)

    with served(act) as channel:
        stub = access.WorkspaceServiceStub(channel)
        refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="x"))

    assert (refusal.code, refusal.message, refusal.domain) == ("NOT_FOUND", "there is no x", "modelry.dev")
    assert (refusal.resource, refusal.metadata) == (("workspace", "x"), {"workspace": "x"})


def test_a_caller_is_known_by_subject_trace_and_time_left() -> None:
    seen: list[caller.Caller] = []

    def act(name: str) -> str:
        seen.append(caller.current())
        return name

    trace = "0af7651916cd43dd8448eb211c80319c"
    with served(act) as channel:
        ask(channel, "a", metadata=(("modelry-subject", "ann"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")))
        access.WorkspaceServiceStub(channel).GetWorkspace(access.GetWorkspaceRequest(name="b"))
        ask(channel, "c", metadata=(("modelry-subject", "x" * 251),), timeout=5)

    assert [each.subject for each in seen] == ["ann", "anonymous", "anonymous"]
    assert (seen[0].trace_id, len(seen[1].trace_id)) == (trace, 32)
    assert seen[1].trace_id != seen[2].trace_id
    limit, own = (each.time_left() for each in seen[1:])
    assert own is not None
    assert own < 5
    assert limit is not None
    assert 5 < limit <= 60
    assert caller.current() is caller.NOBODY


@pytest.mark.parametrize(
    ("written", "subject"),
    [
        ("%E7%8E%8B%E6%98%8E", "王明"),
        ("Ann%20Lee 50%25", "Ann Lee 50%"),
        ("%e7%8e%8b" * 250, "王" * 250),
        ("%e7%8e%8b" * 251, "anonymous"),
        ("50%", "anonymous"),
        ("%zz", "anonymous"),
        ("%E7%8E", "anonymous"),
        ("%ED%A0%80", "anonymous"),
        ("ann%0A", "anonymous"),
        ("ann%00", "anonymous"),
        ("ann%E2%80%AE", "anonymous"),
        ("%", "anonymous"),
    ],
)
def test_a_subject_is_utf_8_in_percent_encoding(written: str, subject: str) -> None:
    seen: list[str] = []

    def act(name: str) -> str:
        seen.append(caller.current().subject)
        return name

    with served(act) as channel:
        ask(channel, "a", metadata=(("modelry-subject", written),))

    assert seen == [subject]


def test_open_streams_leave_unary_calls_alone_and_one_too_many_is_refused_at_once() -> None:
    end = threading.Event()

    def play() -> Iterator[int]:
        yield 1
        end.wait(30)
        yield 2

    with served(play=play, limits=limits_with(workers=4, streams=3, drain_s=1.0, share=1)) as channel:
        metrics = tracking.MetricServiceStub(channel)
        streams = [metrics.ReadMetrics(tracking.ReadMetricsRequest()) for _ in range(3)]
        assert [next(stream).point_count for stream in streams] == [1, 1, 1]

        answers = [ask(channel, str(number)) for number in range(20)]
        refusal = refused(metrics.ReadMetrics, tracking.ReadMetricsRequest())
        end.set()
        rest = [[each.point_count for each in stream] for stream in streams]
        again = eventually(lambda: _played(metrics))

    assert answers == [str(number) for number in range(20)]
    assert (refusal.code, refusal.reason, refusal.retry) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS", True)
    assert refusal.metadata["limit"] == "3"
    assert rest == [[2], [2], [2]]
    assert again == [1, 2]


def test_a_stream_that_its_caller_leaves_gives_its_place_back() -> None:
    def play() -> Iterator[int]:
        yield from range(1_000_000)

    with served(play=play, limits=limits_with(workers=2, streams=1, drain_s=1.0, share=1)) as channel:
        metrics = tracking.MetricServiceStub(channel)

        for _ in range(3):
            stream = eventually(lambda: _begun(metrics))
            stream.cancel()


def test_a_stream_that_fails_in_the_middle_says_so_after_what_it_gave() -> None:
    def play() -> Iterator[int]:
        yield 1
        raise NotFound("gone", kind="run", name="r")

    with served(play=play) as channel:
        stream = tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest())
        first = next(stream).point_count
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)

    assert first == 1
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_more_calls_than_threads_are_all_answered() -> None:
    with served() as channel, ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: ask(channel, str(number)), range(200)))

    assert answers == [str(number) for number in range(200)]


def test_what_is_left_of_a_call_whose_time_has_run_out_is_not_begun() -> None:
    acted: list[str] = []
    blocked, end = threading.Event(), threading.Event()

    def act(name: str) -> str:
        acted.append(name)
        if name == "blocks":
            blocked.set()
            end.wait(20)
        return name

    with (
        served(act, limits=limits_with(workers=1, streams=1, drain_s=1.0, share=1)) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        blocking = pool.submit(ask, channel, "blocks")
        assert blocked.wait(20)
        late = refused(
            access.WorkspaceServiceStub(channel).GetWorkspace, access.GetWorkspaceRequest(name="late"), timeout=0.2
        )
        end.set()
        blocking.result(20)
        ask(channel, "after")

    assert late.code == "DEADLINE_EXCEEDED"
    assert acted == ["blocks", "after"]


def test_a_call_that_takes_as_long_as_the_server_allows_fails_with_the_limit() -> None:
    blocked, end = threading.Event(), threading.Event()

    def act(name: str) -> str:
        blocked.set()
        end.wait(20)
        return name

    def ended() -> float:
        return prometheus_client.REGISTRY.get_sample_value("modelry_rpc_ended_total", {"kind": "call"}) or 0.0

    before = ended()
    with (
        served(act, limits=limits_with(workers=1, streams=1, drain_s=1.0, call_s=0.2, share=1)) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        blocking = pool.submit(ask, channel, "blocks")
        assert blocked.wait(20)
        stub = access.WorkspaceServiceStub(channel)
        late = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="late"))
        own = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="own"), timeout=0.1)
        end.set()
        blocking.result(20)

    assert (late.code, late.reason, late.metadata) == ("DEADLINE_EXCEEDED", "CALL_TOO_LONG", {"limit_s": "0.2"})
    assert "server.call_limit" in late.message
    assert (own.code, own.metadata) == ("DEADLINE_EXCEEDED", {})
    assert ended() - before == 1


def test_the_searches_are_known_by_their_filters() -> None:
    searches = {rpc.rpartition("/")[2] for rpc, _ in rpcs() if interceptors.may_search(rpc)}

    assert searches == {"SearchRuns", "SearchExperiments", "SearchDatasets", "SearchModels", "SearchVersions"}


def test_calls_are_counted_by_method_and_code() -> None:
    def count(code: str) -> float:
        return float(call.calls_total.labels(GET, code)._value.get())

    def act(name: str) -> str:
        if name == "gone":
            raise NotFound("gone")
        return name

    before = (count("OK"), count("NOT_FOUND"))
    with served(act) as channel:
        ask(channel, "x")
        refused(access.WorkspaceServiceStub(channel).GetWorkspace, access.GetWorkspaceRequest(name="gone"))

    assert (count("OK"), count("NOT_FOUND")) == (before[0] + 1, before[1] + 1)


def test_what_clients_hold_and_what_is_refused_for_it_is_shown() -> None:
    release = threading.Event()

    def act(name: str) -> str:
        release.wait(20)
        return name

    def play() -> Iterator[int]:
        yield 1
        release.wait(20)

    def held(kind: str, what: str = "held") -> float | None:
        labels = {"listener": "public", "kind": kind}
        return prometheus_client.REGISTRY.get_sample_value(f"modelry_rpc_{what}", labels)

    def refused_streams() -> float:
        return prometheus_client.REGISTRY.get_sample_value("modelry_rpc_ended_total", {"kind": "stream"}) or 0.0

    limits = limits_with(workers=2, streams=2, drain_s=1.0, share=1)
    with served(act, play, limits=limits) as channel, ThreadPoolExecutor(3) as pool:
        before = refused_streams()
        metrics = tracking.MetricServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        streams = [metrics.ReadMetrics(tracking.ReadMetricsRequest()) for _ in range(2)]
        assert [next(stream).point_count for stream in streams] == [1, 1]
        watch = health.Watch(health_pb2.HealthCheckRequest())
        next(watch)
        refused(metrics.ReadMetrics, tracking.ReadMetricsRequest())
        asked = [pool.submit(ask, channel, "a") for _ in range(3)]
        expected = {"stream": 2, "watch": 1, "work": 2, "work_waiting": 1, "search": 0, "message": 0}
        eventually(lambda: {kind: held(kind) for kind in expected} == expected)
        most = {kind: held(kind, "limit") for kind in (*expected, "reader_bytes")}
        release.set()
        answers = [each.result(20) for each in asked]
        watch.cancel()
        after = refused_streams()

    assert (answers, after - before) == (["a"] * 3, 1)
    assert most == {
        "stream": 2,
        "watch": 256,
        "work": 2,
        "work_waiting": 768,
        "search": 1,
        "message": 256,
        "reader_bytes": 512 << 20,
    }


def _played(metrics: tracking.MetricServiceStub) -> list[int]:
    try:
        return [each.point_count for each in metrics.ReadMetrics(tracking.ReadMetricsRequest())]
    except grpc.RpcError:
        return []


def _begun(metrics: tracking.MetricServiceStub) -> Any:
    stream: Any = metrics.ReadMetrics(tracking.ReadMetricsRequest())
    try:
        next(stream)
    except grpc.RpcError:
        return None
    return stream


def test_a_call_without_a_message_hears_that_it_needs_one() -> None:
    with served() as channel:
        for method in (GET, CHECK, WATCH):
            with pytest.raises(grpc.RpcError) as caught:
                list(channel.stream_stream(method)(iter(())))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert caught.value.details() == f'"{method}" requires exactly one request message.'


def test_only_the_first_message_of_a_call_counts() -> None:
    with served() as channel:
        messages = [access.GetWorkspaceRequest(name=name).SerializeToString() for name in ("a", "b")]
        method: Any = channel.stream_unary(GET)
        answer = method(iter(messages), timeout=20)

    assert access.GetWorkspaceResponse.FromString(answer).workspace.name == "a"
