"""A connection that is nobody else's, and the process behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psutil

from modelry.api.artifacts import v1 as artifacts
from tests.parts.deployment import Deployment


def process_of(platform: Deployment, room: str) -> psutil.Process:
    """The process that runs a service."""
    return psutil.Process(platform.process("all" if platform.name == "all" else room).pid)


@contextmanager
def connection(platform: Deployment, room: str = "tracking") -> Iterator[grpc.Channel]:
    """A connection to a service that is nobody else's."""
    with grpc.insecure_channel(platform.addresses[room], [("grpc.use_local_subchannel_pool", 1)]) as channel:
        grpc.channel_ready_future(channel).result(20)
        yield channel


def write_file(channel: grpc.Channel, run_id: str, path: str) -> None:
    """Uploads a small file."""
    header = artifacts.ArtifactHeader(path=path, size_bytes=1)
    requests = [
        artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id)),
        artifacts.WriteArtifactsRequest(header=header),
        artifacts.WriteArtifactsRequest(content=b"x"),
        artifacts.WriteArtifactsRequest(sha256=hashlib.sha256(b"x").hexdigest()),
        artifacts.WriteArtifactsRequest(sent_file_count=1),
    ]
    artifacts.ArtifactServiceStub(channel).WriteArtifacts(iter(requests), timeout=10)
