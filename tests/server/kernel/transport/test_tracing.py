"""Traces: a parent and its children across two services with an SDK, and valid ids that travel without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import grpc
import pytest

from modelry.api.access import v1 as access
from modelry_server.kernel import caller
from modelry_server.kernel.transport import tracing
from modelry_server.kernel.transport.channel import Neighbour
from tests.parts.deployment import REPOSITORY
from tests.server.kernel.stage import KEY, SERVICE, ask, staged

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
RPC = f"{SERVICE}/GetWorkspace"


def traced(parent: str, *names: str) -> dict[str, Any]:
    """What a process with an SDK recorded of some calls."""
    program = [sys.executable, "-m", "tests.server.kernel.transport.traced", parent, *names]
    sources = [str(REPOSITORY / each) for each in ("clients/python", "services", ".")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sources)}
    ended = subprocess.run(
        program, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_call_through_two_services_is_one_trace_of_three_spans_each_the_child_of_the_one_before() -> None:
    found = traced(PARENT, "x")

    server, client, other = sorted(found["spans"], key=lambda span: span["start_time"])
    assert [span["name"] for span in (server, client, other)] == [RPC] * 3
    assert [span["kind"] for span in (server, client, other)] == [
        "SpanKind.SERVER",
        "SpanKind.CLIENT",
        "SpanKind.SERVER",
    ]
    assert {span["context"]["trace_id"] for span in found["spans"]} == {f"0x{TRACE}"}
    assert server["parent_id"] == f"0x{SPAN}"
    assert client["parent_id"] == server["context"]["span_id"]
    assert other["parent_id"] == client["context"]["span_id"]
    assert found["callers"] == [TRACE, TRACE]


def test_a_call_without_a_parent_begins_a_trace_of_its_own() -> None:
    found = traced("", "x", "y")

    traces = {span["context"]["trace_id"] for span in found["spans"]}
    assert (len(found["spans"]), len(traces)) == (6, 2)
    assert traces == {f"0x{each}" for each in found["callers"]}


@pytest.mark.parametrize(("name", "code", "server"), [("gone", 5, "UNSET"), ("broken", 13, "ERROR"), ("x", 0, "UNSET")])
def test_a_span_says_how_its_call_ended(name: str, code: int, server: str) -> None:
    spans = traced(PARENT, name)["spans"]

    assert {span["attributes"]["rpc.grpc.status_code"] for span in spans} == {code}
    assert {span["status"]["status_code"] for span in spans if "SERVER" in span["kind"]} == {server}
    assert {span["status"]["status_code"] for span in spans if "CLIENT" in span["kind"]} == {
        "ERROR" if code else "UNSET"
    }
    for span in spans:
        assert (span["attributes"]["rpc.service"], span["attributes"]["rpc.method"]) == tuple(RPC.split("/"))


@pytest.mark.parametrize("parent", ["", "00-x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01"])
def test_without_a_parent_and_an_sdk_the_ids_are_random_valid_and_the_same_in_both_services(parent: str) -> None:
    seen: list[str] = []

    def last(name: str) -> str:
        seen.append(caller.current().trace_id)
        return name

    with staged(last) as second:
        neighbour = Neighbour("access", second.internal, key=KEY)
        get = neighbour.stub(access.WorkspaceServiceStub).GetWorkspace

        def first(name: str) -> str:
            seen.append(caller.current().trace_id)
            found: str = neighbour.call(get, access.GetWorkspaceRequest(name=name)).workspace.name
            return found

        with staged(first) as one, grpc.insecure_channel(one.address) as channel:
            for _ in range(2):
                ask(channel, "x", metadata=(("traceparent", parent),) if parent else ())
        neighbour.close()

    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert all(re.fullmatch("[0-9a-f]{32}", each) and each.strip("0") for each in seen)


def test_without_an_sdk_the_parent_of_a_call_travels_on() -> None:
    metadata: dict[str, str] = {}

    with tracing.using(tracing.answered(f"/{RPC}", {"traceparent": PARENT, "tracestate": "a=b"})):
        tracing.made(f"/{RPC}", metadata)

    assert metadata == {"traceparent": PARENT, "tracestate": "a=b"}


def test_outside_of_a_call_nothing_that_is_invalid_is_sent() -> None:
    metadata: dict[str, str] = {}

    tracing.made(f"/{RPC}", metadata)

    assert metadata == {}
