"""An artifacts server that follows a script, so that it can also answer as no honest server would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from modelry import Client
from modelry._sdk.files import owners
from modelry.api.artifacts import v1 as artifacts

OWNER = "runs/" + "0" * 32


@dataclass(frozen=True)
class BreakOff:
    """Ends a stream, by default as a server does that is stopped during it. Without a reason as gRPC itself does."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    says: str = "the server stops"
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.code.name}-{self.reason or self.says}"

    def end(self, context: grpc.ServicerContext) -> NoReturn:
        """Ends a call."""
        if self.reason:
            status = status_pb2.Status(code=self.code.value[0], message=self.says)
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason=self.reason, domain="modelry.dev"))
            context.abort_with_status(rpc_status.to_status(status))
        context.abort(self.code, self.says)


Step = artifacts.Artifact | bytes | BreakOff


@dataclass
class Script(artifacts.ArtifactServiceServicer):
    """What the server answers: the artifact that GetArtifact asks for, and the content of each ReadArtifacts stream.

    `written` are the uploads that were sent to their end, after so many `refusals`.
    """

    artifact: artifacts.Artifact
    streams: list[Iterable[Step]]
    listed: list[artifacts.Artifact] = field(default_factory=list)
    read: list[artifacts.ReadArtifactsRequest] = field(default_factory=list)
    written: list[list[artifacts.WriteArtifactsRequest]] = field(default_factory=list)
    refusals: int = 0
    refusal: BreakOff = BreakOff()
    next_page_token: str = ""

    def GetArtifact(
        self, request: artifacts.GetArtifactRequest, context: grpc.ServicerContext
    ) -> artifacts.GetArtifactResponse:
        return artifacts.GetArtifactResponse(artifact=self.artifact)

    def ListArtifacts(
        self, request: artifacts.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> artifacts.ListArtifactsResponse:
        return artifacts.ListArtifactsResponse(artifacts=self.listed, next_page_token=self.next_page_token)

    def ReadArtifacts(
        self, request: artifacts.ReadArtifactsRequest, context: grpc.ServicerContext
    ) -> Iterator[artifacts.ReadArtifactsResponse]:
        self.read.append(request)
        for step in self.streams.pop(0):
            if isinstance(step, BreakOff):
                step.end(context)
            elif isinstance(step, bytes):
                yield artifacts.ReadArtifactsResponse(content=step)
            else:
                yield artifacts.ReadArtifactsResponse(artifact=step)

    def WriteArtifacts(
        self, request_iterator: Iterator[artifacts.WriteArtifactsRequest], context: grpc.ServicerContext
    ) -> artifacts.WriteArtifactsResponse:
        steps = list(request_iterator)
        if self.refusals:
            self.refusals -= 1
            self.refusal.end(context)
        if not steps[-1].HasField("sent_file_count"):
            BreakOff(grpc.StatusCode.ABORTED, "the stream ended early", "UPLOAD_BROKEN_OFF").end(context)
        self.written.append(steps)
        return artifacts.WriteArtifactsResponse()

    def DeleteArtifact(
        self, request: artifacts.DeleteArtifactRequest, context: grpc.ServicerContext
    ) -> artifacts.DeleteArtifactResponse:
        return artifacts.DeleteArtifactResponse(file_count=1)


def a_file(path: str, content: bytes) -> artifacts.Artifact:
    """What a server says of a file."""
    return artifacts.Artifact(
        owner=owners.message_of(OWNER),
        path=path,
        kind=artifacts.ARTIFACT_KIND_FILE,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        file_count=1,
    )


def a_folder(path: str, *files: artifacts.Artifact) -> artifacts.Artifact:
    """What a server says of a folder with the files."""
    return artifacts.Artifact(
        owner=owners.message_of(OWNER),
        path=path,
        kind=artifacts.ARTIFACT_KIND_FOLDER,
        size_bytes=sum(file.size_bytes for file in files) if files else 10,
        file_count=len(files) or 1,
    )


@contextmanager
def client_of(script: Script) -> Iterator[Client]:
    """A client of a server that follows the script."""
    server = grpc.server(ThreadPoolExecutor(2))
    artifacts.add_ArtifactServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Client(f"grpc://127.0.0.1:{port}")
    try:
        yield client
    finally:
        client._connection.close()
        server.stop(None).wait()


PASSING = [
    BreakOff(),
    BreakOff(reason="DRAINING"),
    BreakOff(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams", "TOO_MANY_STREAMS"),
    BreakOff(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls", "TOO_MANY_CALLS"),
    BreakOff(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
    BreakOff(grpc.StatusCode.CANCELLED, "Cancelled"),
    BreakOff(grpc.StatusCode.ABORTED, "broken off", "UPLOAD_BROKEN_OFF"),
    BreakOff(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
]
"""How a stream may end that is worth another attempt within seconds."""

LASTING = [
    BreakOff(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (5 vs. 4)"),
    BreakOff(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    BreakOff(grpc.StatusCode.INTERNAL, "an unexpected error occurred", "INTERNAL"),
]
"""How a stream may end that is not."""
