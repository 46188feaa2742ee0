"""VersionService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.updates import changes
from modelry_server.registry.domain.drafts import Draft, Drafts
from modelry_server.registry.domain.versions import CHANGEABLE, Versions
from modelry_server.registry.entities import Flavor, RunFiles, Signature, Source, Version, VersionCopy


class VersionService(api.VersionServiceServicer):
    """Answers calls about versions."""

    def __init__(self, versions: Versions, drafts: Drafts, pager: Pager) -> None:
        self._versions = versions
        self._drafts = drafts
        self._pager = pager

    def CreateVersion(
        self, request: api.CreateVersionRequest, context: grpc.ServicerContext
    ) -> api.CreateVersionResponse:
        """Creates the next version of a model."""
        draft = Draft(
            source=_source(request.source),
            description=request.description,
            tags=dict(request.tags),
            signature=_signature(request.signature) if request.HasField("signature") else None,
            flavors=tuple(Flavor(flavor.name, flavor.library_version) for flavor in request.flavors),
            reason=request.reason,
        )
        version = self._drafts.create(
            request.workspace, request.model_name, draft, request=idempotency.request(request)
        )
        return api.CreateVersionResponse(version=message(version))

    def GetVersion(self, request: api.GetVersionRequest, context: grpc.ServicerContext) -> api.GetVersionResponse:
        """Reads a version."""
        version = self._versions.get(
            workspace=request.workspace,
            model_name=request.model_name,
            version_number=request.version_number,
            version_id=request.version_id,
        )
        return api.GetVersionResponse(version=message(version))

    def UpdateVersion(
        self, request: api.UpdateVersionRequest, context: grpc.ServicerContext
    ) -> api.UpdateVersionResponse:
        """Changes the description."""
        given = request.version
        version = self._versions.update(
            given.version_id,
            lambda: changes(given, request.update_mask, CHANGEABLE),
            etag=given.etag,
            reason=request.reason,
        )
        return api.UpdateVersionResponse(version=message(version))

    def DeleteVersion(
        self, request: api.DeleteVersionRequest, context: grpc.ServicerContext
    ) -> api.DeleteVersionResponse:
        """Deletes a version."""
        self._versions.delete(request.workspace, request.model_name, request.version_number, reason=request.reason)
        return api.DeleteVersionResponse()

    def SearchVersions(
        self, request: api.SearchVersionsRequest, context: grpc.ServicerContext
    ) -> api.SearchVersionsResponse:
        """Finds versions."""
        search = partial(self._versions.search, request.workspace, request.filter, request.order_by)
        versions, token = self._pager.answer(request, search, message)
        return api.SearchVersionsResponse(versions=versions, next_page_token=token)

    def ListLatestVersions(
        self, request: api.ListLatestVersionsRequest, context: grpc.ServicerContext
    ) -> api.ListLatestVersionsResponse:
        """Lists the newest version in each stage."""
        found = self._versions.latest(request.workspace, request.model_name, request.stages)
        return api.ListLatestVersionsResponse(versions=map(message, found))

    def SetVersionTags(
        self, request: api.SetVersionTagsRequest, context: grpc.ServicerContext
    ) -> api.SetVersionTagsResponse:
        """Sets tags."""
        version = self._versions.set_tags(
            request.workspace, request.model_name, request.version_number, dict(request.tags)
        )
        return api.SetVersionTagsResponse(version=message(version))

    def DeleteVersionTags(
        self, request: api.DeleteVersionTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteVersionTagsResponse:
        """Removes tags."""
        version = self._versions.delete_tags(
            request.workspace, request.model_name, request.version_number, list(request.keys)
        )
        return api.DeleteVersionTagsResponse(version=message(version))


def _source(given: api.VersionSource) -> Source | None:
    match given.WhichOneof("source"):
        case "run":
            return RunFiles(given.run.run_id, given.run.path)
        case "version":
            return VersionCopy(given.version.model_name, given.version.version_number)  # its id is found, not given
    return None


def _signature(given: api.Signature) -> Signature:
    return Signature(given.inputs, given.outputs, given.params)


def message(version: Version) -> api.Version:
    """The version as the contract has it."""
    source, signature = version.source, version.signature
    result = api.Version(
        version_id=version.version_id,
        workspace=version.workspace,
        model_id=version.model_id,
        model_name=version.model_name,
        version_number=version.version_number,
        stage=version.stage,
        state=api.VERSION_STATE_READY,
        aliases=version.aliases,
        description=version.description,
        tags=version.tags,
        run_id=version.run_id,
        creator=version.creator,
        flavors=[api.Flavor(name=each.name, library_version=each.library_version) for each in version.flavors],
        manifest_sha256=version.files.manifest_sha256,
        file_count=version.files.file_count,
        size_bytes=version.files.size_bytes,
        etag=version.etag,
    )
    if isinstance(source, RunFiles):
        result.source.run.run_id, result.source.run.path = source.run_id, source.path
    else:
        copy = result.source.version
        copy.model_name, copy.version_number = source.model_name, source.version_number
        copy.version_id = source.version_id
    if signature is not None:
        result.signature.SetInParent()
        given = result.signature
        given.inputs, given.outputs, given.params = signature.inputs, signature.outputs, signature.params
    result.create_time.FromMilliseconds(version.create_time)
    result.update_time.FromMilliseconds(version.update_time)
    return result
