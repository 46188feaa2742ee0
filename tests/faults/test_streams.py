"""Too many streams: the next one is told so at once, and everything else goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry._sdk.transport.connection import connect
from modelry.api.artifacts import v1 as api
from modelry.errors import Cancelled
from tests.contract.artifacts.conftest import Client, refused
from tests.parts import deployment as deployments
from tests.parts.eventually import eventually

LIMIT = 8
BIG = bytes(32 << 20)  # more than a connection holds of what nobody reads


def test_q08_a_stream_beyond_the_limit_is_refused_at_once_and_unary_calls_go_on(tmp_path: Path) -> None:
    settings = {"server.streams": str(2 * LIMIT)}  # one connection has half of them
    with deployments.running("all", tmp_path / "platform", settings=settings) as platform:
        client = Client(platform)
        run = client.new_run()
        client.write(run, {"big": BIG})
        request = api.ReadArtifactsRequest(owner=run, path="big")
        open_streams = [client.artifacts.ReadArtifacts(request) for _ in range(LIMIT)]
        for stream in open_streams:
            next(stream)

        answers = [refused(lambda: client.read(run)) for _ in range(3 * LIMIT)]

        assert {(answer.code, answer.reason) for answer in answers} == {("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")}
        assert client.list(run) == ["big"]
        for stream in open_streams:
            assert sum(len(step.content) for step in stream) == len(BIG)
        assert client.read(run) == {"big": BIG}


def test_a_stream_that_the_server_gives_up_says_why_to_who_reads_it_slowly(tmp_path: Path) -> None:
    with deployments.running("all", tmp_path / "platform", settings={"server.idle-limit": "1s"}) as platform:
        client = Client(platform)
        run = client.new_run()
        client.write(run, {"big": BIG})
        connection = connect(platform.address)

        read = connection.read(api.rpcs.READ_ARTIFACTS, api.ReadArtifactsRequest(owner=run, path="big"))
        next(read)
        eventually(lambda: "rpc.waited_too_long" in platform.log("all"))
        with pytest.raises(Cancelled, match=f"{platform.address} ended the call: this program read or sent nothing"):
            list(read)
        connection.close()
