from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from modelry import Client
from modelry._sdk.transport import process
from modelry._sdk.transport.connection import connect
from modelry.api.tracking import v1 as tracking
from modelry.errors import DeadlineExceeded, FieldInvalid, RunNotFound, Unavailable
from tests.parts import free_port
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually


def test_where_no_server_answers_the_error_says_where_and_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(Unavailable, match=rf"no answer from {address}: .*refused.*modelry up"):
        Client(address).runs.get("0" * 32)


@pytest.mark.parametrize(
    ("login", "creator"),
    [("王明", "王明"), ("ann lee", "ann lee"), ("50%", "50%"), ("José\n", "José?"), ("é" * 200, "é" * 128)],
)
def test_the_name_of_the_user_is_the_creator(
    platform: Deployment, unique: str, monkeypatch: pytest.MonkeyPatch, login: str, creator: str
) -> None:
    monkeypatch.setenv("LOGNAME", login)
    process.renew()

    made = Client(platform.address).experiments.create(unique)

    assert made.creator == creator
    assert Client(platform.address).experiments.search(f"name = '{unique}' and creator = '{creator}'")[0] == made


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


@pytest.fixture
def stalling() -> Iterator[tuple[str, threading.Event]]:
    """A server that sends two messages of each stream and then waits for the event."""
    go_on = threading.Event()

    def read(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for step in range(2):
            columns = tracking.MetricColumns(key="m", steps=[step], times_ms=[0], values=[1.0])
            yield tracking.ReadMetricsResponse(run_id="0" * 32, columns=columns).SerializeToString()
        go_on.wait(20)

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "ReadMetrics": grpc.unary_stream_rpc_method_handler(read)
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("modelry.api.tracking.v1.MetricService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", go_on
    go_on.set()
    server.stop(None).wait()


def test_a_stream_that_stalls_ends_after_the_time_out(
    stalling: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = stalling
    monkeypatch.setenv("MODELRY_TIMEOUT", "0.3s")
    begun = time.monotonic()

    with pytest.raises(DeadlineExceeded, match=r"next message.*0\.3 seconds.*MODELRY_TIMEOUT"):
        Client(address).metrics.read("0" * 32, "m")

    assert time.monotonic() - begun < 5


def test_what_the_reader_does_between_two_messages_does_not_count(
    stalling: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, go_on = stalling
    monkeypatch.setenv("MODELRY_TIMEOUT", "0.3s")
    messages = connect(address).read(tracking.rpcs.READ_METRICS, tracking.ReadMetricsRequest())

    next(messages)
    assert not threading.Event().wait(0.8)
    go_on.set()

    assert len(list(messages)) == 1


def test_a_stream_that_was_read_leaves_no_thread(stalling: tuple[str, threading.Event]) -> None:
    address, go_on = stalling
    go_on.set()

    assert len(Client(address).metrics.read("0" * 32, "m")) == 2
    eventually(lambda: not [each for each in threading.enumerate() if each.name == "modelry-streams"])
