"""Shutting down: what has begun may end, what comes is refused, streams that stay open end with a reason."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.errors import Draining
from modelry_server.kernel.transport.channel import Neighbour
from modelry_server.kernel.transport.drain import Drain, Incoming
from modelry_server.kernel.transport.server import Room, Server
from modelry_server.permissions import PERMISSIONS
from tests.parts import free_port
from tests.parts.eventually import eventually
from tests.parts.refusal import Refusal, refused, unpacked
from tests.parts.vouched import vouched
from tests.server.kernel.stage import KEY, SERVICE, Actor, ask, limits_with, staged

PATIENT = limits_with(workers=4, streams=3, drain_s=20.0, share=1)
HASTY = limits_with(workers=4, streams=3, drain_s=0.2, share=1)
ENDED_S = 20


class Held:
    """What a servicer does when it is told to wait: it begins, and ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def act(self, name: str) -> str:
        """Waits for `end` if the name says so."""
        if name == "held":
            self.begun.set()
            assert self.end.wait(ENDED_S)
        return name


@contextmanager
def draining(server: Server) -> Iterator[Future[None]]:
    """The server as it drains, and what tells of the end."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(server.stop)


def refusal_of_new(channel: grpc.Channel, **options: Any) -> Refusal | None:
    """Why a new call is refused; None as long as it isn't."""
    try:
        ask(channel, "new", **options)
    except grpc.RpcError as error:
        return unpacked(error)
    return None


def test_a_call_in_flight_is_answered_while_new_ones_are_refused_on_every_listener() -> None:
    held = Held()
    with (
        staged(held.act, limits=PATIENT) as stage,
        grpc.insecure_channel(stage.address) as public,
        grpc.insecure_channel(stage.internal) as inside,
        ThreadPoolExecutor(1) as pool,
    ):
        ask(inside, "x", metadata=vouched(KEY, "access"))
        call = pool.submit(ask, public, "held")
        assert held.begun.wait(ENDED_S)
        with draining(stage.server) as ended:
            refusals = [
                eventually(lambda: refusal_of_new(public)),
                eventually(lambda: refusal_of_new(inside, metadata=vouched(KEY, "access"))),
            ]
            is_over_too_early = ended.done()
            held.end.set()
            ended.result(ENDED_S)

    assert {(each.code, each.reason, each.retry) for each in refusals if each} == {("UNAVAILABLE", "DRAINING", True)}
    assert not is_over_too_early
    assert call.result(ENDED_S) == "held"


def test_a_stream_that_outlasts_the_drain_ends_with_draining_after_what_it_gave() -> None:
    with staged(play=itertools.count, limits=HASTY) as stage, grpc.insecure_channel(stage.address) as channel:
        stream: Any = tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest(), timeout=ENDED_S)
        found = [next(stream).point_count]
        with draining(stage.server) as ended:
            with pytest.raises(grpc.RpcError) as caught:
                found += (each.point_count for each in stream)
            ended.result(ENDED_S)

    refusal = unpacked(caught.value)
    assert (refusal.code, refusal.reason, refusal.retry) == ("UNAVAILABLE", "DRAINING", True)
    assert found[0] == 0


def test_a_stream_that_ends_within_the_drain_comes_to_its_end() -> None:
    held = threading.Event()

    def play() -> Iterator[int]:
        yield 1
        assert held.wait(ENDED_S)
        yield 2

    with staged(play=play, limits=PATIENT) as stage, grpc.insecure_channel(stage.address) as channel:
        stream: Any = tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest(), timeout=ENDED_S)
        next(stream)
        with draining(stage.server) as ended:
            eventually(lambda: refusal_of_new(channel))
            held.set()
            rest = [each.point_count for each in stream]
            ended.result(ENDED_S)

    assert rest == [2]


class Taker(artifacts.ArtifactServiceServicer):
    """Takes an upload, notes what came and whether it looked complete, and works on it until `end`."""

    ReadArtifacts = ListArtifacts = GetArtifact = DeleteArtifact = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.count, self.is_complete = 0, False
        self.left, self.end = threading.Event(), threading.Event()

    def WriteArtifacts(self, request_iterator: Iterator[Any], context: Any) -> artifacts.WriteArtifactsResponse:
        """Takes."""
        try:
            for _ in request_iterator:
                self.count += 1
            self.is_complete = True
        finally:
            self.left.set()
        assert self.end.wait(ENDED_S)
        return artifacts.WriteArtifactsResponse(file_count=self.count)


@contextmanager
def taking(taker: Taker) -> Iterator[Server]:
    """A server that gives uploads to the taker, and has hardly any time to drain."""
    room = Room(
        "artifacts",
        ("modelry.api.artifacts.v1.ArtifactService",),
        lambda server: artifacts.add_ArtifactServiceServicer_to_server(taker, server),
    )
    server = Server([room], address="127.0.0.1:0", internal={}, key=KEY, permissions=PERMISSIONS, limits=HASTY)
    server.start()
    yield server
    server.stop()


def test_an_upload_whose_client_is_silent_ends_with_draining_and_never_looks_complete() -> None:
    taker, silent = Taker(), threading.Event()

    def messages() -> Iterator[artifacts.WriteArtifactsRequest]:
        yield artifacts.WriteArtifactsRequest()
        silent.wait(ENDED_S)

    with taking(taker) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = artifacts.ArtifactServiceStub(channel).WriteArtifacts.future(messages(), timeout=ENDED_S)
        eventually(lambda: taker.count)
        server.stop()
        refusal = unpacked(call.exception(ENDED_S))
        silent.set()

    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DRAINING")
    assert taker.left.wait(ENDED_S)
    assert not taker.is_complete


def test_an_upload_all_of_whose_messages_came_before_the_end_of_the_drain_is_answered_with_what_became_of_it() -> None:
    taker = Taker()
    with (
        taking(taker) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        steps = iter([artifacts.WriteArtifactsRequest()])
        call = artifacts.ArtifactServiceStub(channel).WriteArtifacts.future(steps, timeout=ENDED_S)
        assert taker.left.wait(ENDED_S)
        ended = pool.submit(server.stop)
        with pytest.raises(grpc.FutureTimeoutError):
            call.exception(HASTY.drain_s + 0.5)
        taker.end.set()
        count = call.result(ENDED_S).file_count
        ended.result(ENDED_S)

    assert count == 1


def test_in_one_process_a_call_in_flight_still_reaches_the_service_that_it_needs() -> None:
    held, address = Held(), f"127.0.0.1:{free_port()}"
    other = Neighbour("artifacts", address, key=KEY)
    get = other.stub(internal.SnapshotServiceStub).GetSnapshot

    def act(name: str) -> str:
        held.act(name)
        version_id: str = other.call(get, internal.GetSnapshotRequest(version_id=name)).snapshot.version_id
        return version_id

    class Freezer(internal.SnapshotServiceServicer):
        CreateSnapshot = DeleteSnapshot = None  # type: ignore[assignment]

        def GetSnapshot(self, request: Any, context: Any) -> internal.GetSnapshotResponse:
            return internal.GetSnapshotResponse(snapshot=internal.Snapshot(version_id=f"of {request.version_id}"))

    rooms = [
        Room("access", (SERVICE,), lambda server: access.add_WorkspaceServiceServicer_to_server(Actor(act), server)),
        Room(
            "artifacts",
            (),
            lambda server: None,
            internal_services=("modelry.internal.artifacts.v1.SnapshotService",),
            register_internal=lambda server: internal.add_SnapshotServiceServicer_to_server(Freezer(), server),
        ),
    ]
    server = Server(
        rooms,
        address="127.0.0.1:0",
        internal={"artifacts": address},
        key=KEY,
        permissions=PERMISSIONS,
        limits=PATIENT,
    )
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, channel, "held")
        assert held.begun.wait(ENDED_S)
        with draining(server) as ended:
            eventually(lambda: refusal_of_new(channel))
            held.end.set()
            ended.result(ENDED_S)
        answer = call.result(ENDED_S)
    other.close()

    assert answer == "of held"


def test_a_server_without_calls_ends_at_once() -> None:
    with (
        staged(limits=limits_with(drain_s=3600.0)) as stage,
        draining(stage.server) as ended,
    ):
        ended.result(ENDED_S)


def test_calls_are_counted_until_they_end_and_refused_once_the_drain_has_begun() -> None:
    drain = Drain()

    with drain:
        drain.begin()
        with pytest.raises(Draining), drain:
            raise AssertionError("was not refused")
        drain.check()
        drain.end()
        with pytest.raises(Draining):
            drain.check()

    drain.wait(until=0.0)


def test_the_messages_of_a_stream_end_with_draining_although_grpc_ends_them_as_if_all_had_come() -> None:
    drain = Drain()
    messages = iter(Incoming(iter([1]), drain))

    assert next(messages) == 1
    drain.end()
    with pytest.raises(Draining):
        next(messages)


def test_after_the_drain_nobody_is_answered() -> None:
    with staged() as stage, grpc.insecure_channel(stage.address) as channel:
        ask(channel, "x")
        stage.server.stop()
        refusal = refused(access.WorkspaceServiceStub(channel).GetWorkspace, access.GetWorkspaceRequest(name="x"))

    assert refusal.code == "UNAVAILABLE"
