"""ArtifactService: contract in, contract out."""

from collections.abc import Iterator

import grpc

from modelry.api.artifacts import v1 as api
from modelry_server.artifacts.domain.artifacts import Artifacts
from modelry_server.artifacts.domain.incoming import IncomingFile, announced
from modelry_server.artifacts.domain.paths import ArtifactPath, folder
from modelry_server.artifacts.domain.writing import FileWriter, Replaced
from modelry_server.artifacts.entities import Artifact, Owner
from modelry_server.artifacts.errors import UploadBrokenOff
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Found, Pager, SortValue

CONTENT_BYTES = 1 << 20
"""The most content that one message may hold, in bytes."""
MOST_REPLACED_WITH = 100
"""The most files that one stream may name, with which others were written that it replaces."""


class ArtifactService(api.ArtifactServiceServicer):
    """Answers calls about files and folders."""

    def __init__(self, artifacts: Artifacts, writer: FileWriter, pager: Pager) -> None:
        self._artifacts = artifacts
        self._writer = writer
        self._pager = pager

    def WriteArtifacts(
        self, request_iterator: Iterator[api.WriteArtifactsRequest], context: grpc.ServicerContext
    ) -> api.WriteArtifactsResponse:
        steps = _Steps(request_iterator)
        first = steps.begin()
        count, size = self._writer.write(
            owner_of(first.owner), steps.files(), context.is_active, replaces=_replaced(first)
        )
        return api.WriteArtifactsResponse(file_count=count, size_bytes=size)

    def ReadArtifacts(
        self, request: api.ReadArtifactsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.ReadArtifactsResponse]:
        found = self._artifacts.read(owner_of(request.owner), folder(request.path), request.offset_bytes)
        for artifact, pieces in found:
            yield api.ReadArtifactsResponse(artifact=_message(artifact))
            for piece in pieces:
                yield api.ReadArtifactsResponse(content=piece)

    def ListArtifacts(
        self, request: api.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> api.ListArtifactsResponse:
        owner, path = owner_of(request.owner), folder(request.path)

        def search(*, after: tuple[SortValue, ...] | None, limit: int) -> list[Found[Artifact]]:
            return self._artifacts.search(owner, path, after=after, limit=limit, recursive=request.recursive)

        artifacts, token = self._pager.answer(request, search, _message)
        return api.ListArtifactsResponse(artifacts=artifacts, next_page_token=token)

    def GetArtifact(self, request: api.GetArtifactRequest, context: grpc.ServicerContext) -> api.GetArtifactResponse:
        artifact = self._artifacts.get(owner_of(request.owner), folder(request.path))
        return api.GetArtifactResponse(artifact=_message(artifact))

    def DeleteArtifact(
        self, request: api.DeleteArtifactRequest, context: grpc.ServicerContext
    ) -> api.DeleteArtifactResponse:
        count = self._artifacts.delete(owner_of(request.owner), ArtifactPath(request.path))
        return api.DeleteArtifactResponse(file_count=count)


def owner_of(message: api.ArtifactOwner, field: str = "owner") -> Owner:
    """The owner that a message names; `field` is the field that holds it. Raises FieldInvalid."""
    kind = message.WhichOneof("owner")
    with Fields() as fields:
        if kind is None:
            fields.refuse(field, "is required: a run_id or a version_id")
        else:
            fields.id(f"{field}.{kind}", getattr(message, kind))
    return Owner.version(message.version_id) if kind == "version_id" else Owner.run(message.run_id)


def owner_message(owner: Owner) -> api.ArtifactOwner:
    """The message of an owner."""
    return api.ArtifactOwner(version_id=owner.id) if owner.is_version else api.ArtifactOwner(run_id=owner.id)


def _replaced(first: api.WriteArtifactsRequest) -> Replaced | None:
    replaced = folder(first.replaced_folder, "replaced_folder")
    if replaced is None:
        if first.replaced_with:
            raise FieldInvalid({"replaced_with": "needs replaced_folder"})
        return None
    if len(first.replaced_with) > MOST_REPLACED_WITH:
        raise FieldInvalid({"replaced_with": f"has {len(first.replaced_with)} paths, at most {MOST_REPLACED_WITH}"})
    return Replaced(replaced.text, tuple(first.replaced_with))


class _Steps:
    """The steps of a stream: the owner, for each file its header, content and SHA-256, and how many were sent."""

    def __init__(self, requests: Iterator[api.WriteArtifactsRequest]) -> None:
        self._requests = requests
        self._sha256 = ""

    def begin(self) -> api.WriteArtifactsRequest:
        """The first message, which has the owner, and what is replaced.

        Raises FieldInvalid, and UploadBrokenOff for a stream without a step.
        """
        first = self._received()
        if first is None:
            raise UploadBrokenOff
        if first.WhichOneof("step") != "owner":
            raise FieldInvalid({"owner": "is required in the first message of the stream"})
        return first

    def files(self) -> Iterator[IncomingFile]:
        """The files, up to the end of the stream. The content of one must be read before the next is asked for."""
        count = 0
        while (step := self._next()).WhichOneof("step") == "header":
            header = step.header
            checked = announced(header.path, header.size_bytes, header.content_type, field="header")
            yield IncomingFile(checked, self._content(), lambda: self._sha256)
            count += 1
        if step.WhichOneof("step") != "sent_file_count":
            raise _out_of_order(step, "comes before a header; each file begins with a header")
        if step.sent_file_count != count:
            problem = f"is {step.sent_file_count}, but the number of headers in the stream is {count}"
            raise FieldInvalid({"sent_file_count": problem})
        if (more := self._received()) is not None:
            raise _out_of_order(more, "comes after sent_file_count, which ends the stream")

    def _content(self) -> Iterator[bytes]:
        """The content up to the SHA-256 that ends the file."""
        while (step := self._next()).WhichOneof("step") == "content":
            content = step.content  # a copy of it, each time
            if len(content) > CONTENT_BYTES:
                problem = f"has {len(content)} bytes, at most {CONTENT_BYTES} are allowed in one message"
                raise FieldInvalid({"content": problem})
            yield content
        if step.WhichOneof("step") != "sha256":
            raise _out_of_order(step, "comes before sha256, which ends each file")
        self._sha256 = step.sha256

    def _next(self) -> api.WriteArtifactsRequest:
        """The next step of a stream that must not end yet. Raises UploadBrokenOff if it does."""
        step = self._received()
        if step is None:
            raise UploadBrokenOff
        if step.replaced_folder or step.replaced_with:
            raise FieldInvalid({"replaced_folder": "is allowed in the first message only"})
        return step

    def _received(self) -> api.WriteArtifactsRequest | None:
        try:
            return next(self._requests, None)
        except grpc.RpcError as error:
            raise UploadBrokenOff from error


def _out_of_order(step: api.WriteArtifactsRequest, problem: str) -> FieldInvalid:
    kind = step.WhichOneof("step")
    if kind == "owner":
        problem = "is allowed in the first message only"
    return FieldInvalid({kind: problem} if kind else {"step": "is empty"})


def _message(artifact: Artifact) -> api.Artifact:
    message = api.Artifact(
        owner=owner_message(artifact.owner),
        path=artifact.path,
        kind=api.ARTIFACT_KIND_FOLDER if artifact.is_folder else api.ARTIFACT_KIND_FILE,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        content_type=artifact.content_type,
        file_count=artifact.file_count,
    )
    if not artifact.is_folder:
        message.create_time.FromMilliseconds(artifact.create_time)
    return message
