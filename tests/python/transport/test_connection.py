from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.transport.connection import NOT_REPEATABLE, connect
from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry.errors import DeadlineExceeded, FieldInvalid, RunNotFound, Unavailable
from tests.parts import free_port
from tests.parts.deployment import Deployment

SDK = Path(__file__).parents[2] / "clients" / "python" / "modelry" / "_sdk"
REPEATABLE_VERBS = ("Get", "List", "Search", "Read", "Create", "Log", "Finish", "Restore", "Set")
REPEATABLE = {"WriteMetrics", "DeleteRun", "DeleteExperiment", "DeleteSnapshot"}


def rpcs() -> set[str]:
    services = {
        service
        for room in (access, tracking, artifacts, registry)
        for message in vars(room).values()
        if hasattr(message, "DESCRIPTOR") and hasattr(message.DESCRIPTOR, "file")
        for service in message.DESCRIPTOR.file.services_by_name.values()
    }
    return {f"{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_each_call_of_the_sdk_is_in_the_contract() -> None:
    text = "\n".join(path.read_text() for path in SDK.rglob("*.py"))
    named = set(re.findall(r'"(modelry\.api\.[a-z]+\.v1\.\w+/\w+)"', text))
    short = set(re.findall(r'\{_SERVICE\}/(\w+)"', text))

    assert named - rpcs() == set()
    assert short - {rpc.rpartition("/")[2] for rpc in rpcs()} == set()
    assert len(short) > 30


def test_a_call_is_repeated_only_where_it_may_be() -> None:
    once = {f"{service}/{name}" for service, names in NOT_REPEATABLE.items() for name in names}
    names = {rpc: rpc.rpartition("/")[2] for rpc in rpcs()}
    repeated = {rpc for rpc, name in names.items() if name.startswith(REPEATABLE_VERBS) or name in REPEATABLE}

    assert once - rpcs() == set()
    assert rpcs() - once - repeated == set(), "say of a new rpc whether it may be sent again"
    assert once & repeated == set()


def test_where_no_server_answers_the_error_says_where_and_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(Unavailable, match=rf"no answer from {address}: .*refused.*modelry up"):
        Client(address).runs.get("0" * 32)


def test_a_process_has_one_connection_for_each_address() -> None:
    assert connect("127.0.0.1:7") is connect("grpc://127.0.0.1:7")
    assert connect("127.0.0.1:7") is not connect("127.0.0.1:8")


def test_a_closed_connection_opens_again_with_the_next_call(client: Client) -> None:
    connection = client._connection
    before = client.experiments.get("0")
    connection.close()

    assert client.experiments.get("0") == before


def test_an_error_of_the_server_comes_as_its_class_with_all_that_it_says(client: Client) -> None:
    with pytest.raises(RunNotFound, match=r"f{32}") as missing:
        client.runs.get("f" * 32)
    with pytest.raises(FieldInvalid) as refused:
        client.runs.get("nonsense")

    assert missing.value.reason == "RUN_NOT_FOUND"
    assert missing.value.metadata["run_id"] == "f" * 32
    assert list(refused.value.fields) == ["run_id"]


def test_a_deadline_that_passes_is_raised_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        connection = connect(f"127.0.0.1:{deaf.getsockname()[1]}")

        with pytest.raises(DeadlineExceeded, match="no answer from 127"):
            connection.call(
                "modelry.api.tracking.v1.ExperimentService/GetExperiment",
                tracking.GetExperimentRequest(experiment_id="0"),
                tracking.GetExperimentResponse,
                timeout=0.2,
            )


def test_plain_text_where_tls_is_spoken_is_said(platform: Deployment) -> None:
    client = Client(f"dns:///{platform.address.removeprefix('grpc://')}")

    with pytest.raises(Unavailable, match="set MODELRY_INSECURE=1"):
        client.runs.delete_tags("0" * 32, "a")
