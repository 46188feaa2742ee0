"""ArtifactService: contract in, contract out."""

from collections.abc import Iterator

import grpc

from modelry.api.artifacts import v1 as api
from modelry_server.artifacts.domain import owners
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.paths import ArtifactPath, folder
from modelry_server.artifacts.domain.staging import Incoming
from modelry_server.artifacts.domain.uploads import Uploads
from modelry_server.artifacts.entities import Artifact
from modelry_server.artifacts.errors import UploadBrokenOff
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.paging import Pager

CONTENT_BYTES = 1 << 20
"""The most that one message of content may hold."""


class ArtifactService(api.ArtifactServiceServicer):
    """Answers calls about files and folders."""

    def __init__(self, artifacts: Artifacts, uploads: Uploads, pager: Pager) -> None:
        self._artifacts = artifacts
        self._uploads = uploads
        self._pager = pager

    def WriteArtifacts(
        self, request_iterator: Iterator[api.WriteArtifactsRequest], context: grpc.ServicerContext
    ) -> api.WriteArtifactsResponse:
        steps = _Steps(request_iterator)
        owner = owners.parse(steps.owner())
        count, size = self._uploads.write(owner, steps.files(), context.is_active)
        return api.WriteArtifactsResponse(file_count=count, size_bytes=size)

    def ReadArtifacts(
        self, request: api.ReadArtifactsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.ReadArtifactsResponse]:
        found = self._artifacts.read(owners.parse(request.owner), folder(request.path), request.offset_bytes)
        for artifact, pieces in found:
            yield api.ReadArtifactsResponse(artifact=_message(artifact))
            for piece in pieces:
                yield api.ReadArtifactsResponse(content=piece)

    def ListArtifacts(
        self, request: api.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> api.ListArtifactsResponse:
        owner, path = owners.parse(request.owner), folder(request.path)
        scope = ("ListArtifacts", request.owner, request.path, str(request.recursive))
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        after = str(page.after[0]) if page.after else ""
        found = self._artifacts.page(owner, path, after, page.size + 1, recursive=request.recursive)
        token = self._pager.token(scope, (found[page.size - 1].path,)) if len(found) > page.size else ""
        return api.ListArtifactsResponse(artifacts=map(_message, found[: page.size]), next_page_token=token)

    def GetArtifact(self, request: api.GetArtifactRequest, context: grpc.ServicerContext) -> api.GetArtifactResponse:
        return api.GetArtifactResponse(
            artifact=_message(self._artifacts.get(owners.parse(request.owner), folder(request.path)))
        )

    def DeleteArtifact(
        self, request: api.DeleteArtifactRequest, context: grpc.ServicerContext
    ) -> api.DeleteArtifactResponse:
        count = self._artifacts.delete(owners.parse(request.owner), ArtifactPath(request.path))
        return api.DeleteArtifactResponse(file_count=count)


class _Steps:
    """The steps of a stream of files: the owner, then for each file its header and its content."""

    def __init__(self, requests: Iterator[api.WriteArtifactsRequest]) -> None:
        self._requests = requests
        self._header: api.ArtifactHeader | None = None

    def owner(self) -> str:
        """The owner, which is the first step. Raises FieldInvalid."""
        first = self._next()
        if first is None or first.WhichOneof("step") != "owner":
            raise FieldInvalid({"owner": "is required, as the first message of the stream"})
        return first.owner

    def files(self) -> Iterator[Incoming]:
        """The files, one after the other; the content of one is to be read before the next is asked for."""
        for _ in self._content():
            raise FieldInvalid({"content": "comes before the first header; each file begins with a header"})
        while (header := self._header) is not None:
            path = ArtifactPath(header.path, "header.path")
            yield Incoming(path, header.size_bytes, header.sha256, header.content_type, self._content())

    def _content(self) -> Iterator[bytes]:
        """The content up to the next header."""
        self._header = None
        while (step := self._next()) is not None:
            kind = step.WhichOneof("step")
            if kind == "content":
                if len(step.content) > CONTENT_BYTES:
                    problem = f"has {len(step.content)} bytes, at most {CONTENT_BYTES} are allowed in one message"
                    raise FieldInvalid({"content": problem})
                yield step.content
            elif kind == "header":
                self._header = step.header
                return
            else:
                problem = "comes again; it is given first and once" if kind == "owner" else "is empty"
                raise FieldInvalid({kind or "step": problem})

    def _next(self) -> api.WriteArtifactsRequest | None:
        try:
            return next(self._requests, None)
        except grpc.RpcError as error:
            raise UploadBrokenOff from error


def _message(artifact: Artifact) -> api.Artifact:
    kind = api.ARTIFACT_KIND_FOLDER if artifact.is_folder else api.ARTIFACT_KIND_FILE
    message = api.Artifact(
        owner=artifact.owner,
        path=artifact.path,
        kind=kind,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        content_type=artifact.content_type,
        file_count=artifact.file_count,
    )
    if not artifact.is_folder:
        message.create_time.FromMilliseconds(artifact.create_time)
    return message
