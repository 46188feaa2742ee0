from __future__ import annotations

import socket

import pytest

from modelry import Client
from modelry._sdk.transport.connection import connect
from modelry.api.tracking import v1 as tracking
from modelry.errors import DeadlineExceeded, FieldInvalid, RunNotFound, Unavailable
from tests.parts import free_port
from tests.parts.deployment import Deployment


def test_where_no_server_answers_the_error_says_where_and_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(Unavailable, match=rf"no answer from {address}: .*refused.*modelry up"):
        Client(address).runs.get("0" * 32)


def test_a_process_has_one_connection_for_each_address() -> None:
    assert connect("127.0.0.1:7") is connect("grpc://127.0.0.1:7")
    assert connect("127.0.0.1:7") is not connect("127.0.0.1:8")


def test_a_closed_connection_opens_again_with_the_next_call(client: Client, unique: str) -> None:
    made = client.experiments.create(unique)

    connect(client._connection.address.uri).close()

    assert client.experiments.get(made.experiment_id) == made


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
                tracking.rpcs.GET_EXPERIMENT,
                tracking.GetExperimentRequest(experiment_id="0"),
                timeout=0.2,
            )


def test_plain_text_where_tls_is_spoken_is_said(platform: Deployment) -> None:
    client = Client(f"dns:///{platform.address.removeprefix('grpc://')}")

    with pytest.raises(Unavailable, match="set MODELRY_INSECURE=1"):
        client.runs.delete_tags("0" * 32, "a")
