"""Health as clients see it: checks, watches, and services that are not there."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from modelry.api.tracking import v1 as tracking
from tests.parts.refusal import refused
from tests.server.kernel.stage import SERVICE, served

States = health_pb2.HealthCheckResponse


def test_a_check_says_whether_a_service_answers_and_not_found_if_it_is_unknown() -> None:
    with served() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        known = [stub.Check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", SERVICE)]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="x.Y"))

    assert known == [States.SERVING] * 2
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "there is no service 'x.Y' here",
    )


def test_a_watch_of_an_unknown_service_goes_on() -> None:
    with served() as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="x.Y"))

        assert next(watch).status == States.SERVICE_UNKNOWN
        assert watch.is_active()
        watch.cancel()


def test_watches_leave_the_places_of_streams_alone_and_give_back_their_own() -> None:
    with served(play=lambda: iter((1, 2))) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for _ in range(5):
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(60)]
            states = {next(watch).status for watch in watches}
            played = list(tracking.MetricServiceStub(channel).ReadMetrics(tracking.ReadMetricsRequest()))
            for watch in watches:
                watch.cancel()

    assert (states, len(played)) == ({States.SERVING}, 2)


def test_requests_of_health_and_reflection_are_small_and_so_are_their_refusals() -> None:
    long = "é" * 2100
    with served() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        check = health_pb2.HealthCheckRequest(service=long)
        question = reflection_pb2.ServerReflectionRequest(file_containing_symbol=long)

        refusals = [refused(method, check) for method in (health.Check, health.Watch)]
        refusals.append(refused(reflection.ServerReflectionInfo, iter([question])))
        unknown = refused(health.Check, health_pb2.HealthCheckRequest(service="é" * 2000))

    assert {each.code for each in refusals} == {"INVALID_ARGUMENT"}
    assert all("at most 4096" in each.violations["message"] for each in refusals)
    assert unknown.code == "NOT_FOUND"
    assert len(unknown.message) < 200
