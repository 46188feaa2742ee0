"""An upload lasts as long as the server takes something."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from modelry import Client
from modelry._sdk.files import local_files, transfer
from modelry._sdk.transport.connection import Connection, connect, within
from modelry.errors import CallTooLong, DeadlineExceeded
from tests.parts.deployment import Deployment
from tests.parts.faulty_server import faulty
from tests.parts.slow_link import slow_link

OWNER = f"runs/{'0' * 32}"


@contextmanager
def serving(write: Callable[[Iterator[bytes], grpc.ServicerContext], bytes]) -> Iterator[Connection]:
    """A connection to a server that answers every call so."""

    class Server(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            return grpc.stream_unary_rpc_method_handler(write)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Server()], options=[("grpc.http2.bdp_probe", 0)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection = connect(f"127.0.0.1:{port}")
    yield connection
    connection.close()
    server.stop(None).wait()


def test_an_upload_has_no_deadline_while_it_moves() -> None:
    """However slow the network is: the server ends an upload that takes too long for it."""
    left: list[float] = []

    def write(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        left.append(context.time_remaining())
        list(requests)
        return b""

    with serving(write) as connection:
        transfer.upload_content(connection, OWNER, "a.txt", b"text", "")
        with within(5.0):
            transfer.upload_content(connection, OWNER, "a.txt", b"text", "")

    assert min(left) > 1e9


def test_an_upload_that_stands_still_ends_soon_however_long_it_has_moved() -> None:
    stopped: list[float] = []
    end = threading.Event()

    def write(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            next(requests)
            end.wait(0.1)
        stopped.append(time.monotonic())
        end.wait(60)
        return b""

    with serving(write) as connection, within(0.3):
        with pytest.raises(DeadlineExceeded, match="has taken nothing for"):
            transfer.upload_content(connection, OWNER, "large", bytes(64 << 20), "")
        waited = time.monotonic() - stopped[0]
        end.set()

    assert waited < 2.5


def test_a_server_that_has_all_content_may_take_as_long_as_before_to_store_it() -> None:
    def write(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        for _ in requests:
            threading.Event().wait(0.2)
        threading.Event().wait(1.0)
        return b""

    with serving(write) as connection, within(0.5):
        transfer.upload_content(connection, OWNER, "large", bytes(8 << 20), "")


def test_an_upload_that_somebody_ends_while_it_moves_is_told_so(platform: Deployment) -> None:
    run_id = Client(platform.address).runs.create().run_id
    with faulty(platform.address) as between:
        between.rule = lambda method, request: grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(CallTooLong, match=r"was ended after .* s, by .* while content was being taken"):
            Client(between.address).artifacts.upload_bytes(f"runs/{run_id}", "a.txt", b"text")


def test_an_upload_ends_when_the_time_for_it_is_up(platform: Deployment, tmp_path: Path) -> None:
    run_id = Client(platform.address).runs.create().run_id
    (tmp_path / "large.bin").write_bytes(os.urandom(3 << 20))
    found = local_files.found(tmp_path / "large.bin", "")
    with slow_link(platform.addresses["artifacts"], 2e5) as address:
        began = time.monotonic()
        with within(30.0, until=began + 0.5), pytest.raises(DeadlineExceeded, match="the time for the delivery is up"):
            transfer.upload_files(connect(address), f"runs/{run_id}", found, None)

    assert time.monotonic() - began < 10
