"""VersionService: contract in, contract out."""

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.versions import Versions
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Stage, Version
from modelry_server.registry.rpc.models import changes

_CHANGEABLE = ("description",)
_STAGES: dict[int, Stage] = {
    api.STAGE_NONE: Stage.NONE,
    api.STAGE_STAGING: Stage.STAGING,
    api.STAGE_PRODUCTION: Stage.PRODUCTION,
    api.STAGE_ARCHIVED: Stage.ARCHIVED,
}
NUMBERS: dict[Stage, api.Stage.ValueType] = {known: api.Stage.ValueType(number) for number, known in _STAGES.items()}
"""The stages as the contract numbers them."""


class VersionService(api.VersionServiceServicer):
    """Answers calls about versions."""

    def __init__(self, versions: Versions, pager: Pager) -> None:
        self._versions = versions
        self._pager = pager

    def CreateVersion(
        self, request: api.CreateVersionRequest, context: grpc.ServicerContext
    ) -> api.CreateVersionResponse:
        """Makes the next version of a model."""
        version = self._versions.create(
            request.workspace or DEFAULT_WORKSPACE,
            request.model,
            request.source,
            description=request.description,
            tags=dict(request.tags),
            reason=request.reason,
            request=idempotency.request(request),
        )
        return api.CreateVersionResponse(version=message(version))

    def GetVersion(self, request: api.GetVersionRequest, context: grpc.ServicerContext) -> api.GetVersionResponse:
        """Reads one version."""
        version = self._versions.get(request.workspace or DEFAULT_WORKSPACE, request.model, request.number)
        return api.GetVersionResponse(version=message(version))

    def UpdateVersion(
        self, request: api.UpdateVersionRequest, context: grpc.ServicerContext
    ) -> api.UpdateVersionResponse:
        """Changes the description."""
        given = request.version
        version = self._versions.describe(
            given.workspace or DEFAULT_WORKSPACE,
            given.model,
            given.number,
            changes(given, request.update_mask.paths, _CHANGEABLE),
            etag=given.etag,
            reason=request.reason,
        )
        return api.UpdateVersionResponse(version=message(version))

    def DeleteVersion(
        self, request: api.DeleteVersionRequest, context: grpc.ServicerContext
    ) -> api.DeleteVersionResponse:
        """Deletes a version."""
        self._versions.delete(
            request.workspace or DEFAULT_WORKSPACE, request.model, request.number, reason=request.reason
        )
        return api.DeleteVersionResponse()

    def SearchVersions(
        self, request: api.SearchVersionsRequest, context: grpc.ServicerContext
    ) -> api.SearchVersionsResponse:
        """Finds versions."""
        workspace = request.workspace or DEFAULT_WORKSPACE
        scope = ("SearchVersions", workspace, request.filter, *request.order_by)
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._versions.search(
            workspace, request.filter, request.order_by, after=page.after, limit=page.size + 1
        )
        versions = fitting((message(version) for version, _ in found), page.size)
        token = self._pager.token(scope, found[len(versions) - 1][1]) if len(found) > len(versions) else ""
        return api.SearchVersionsResponse(versions=versions, next_page_token=token)

    def ListLatestVersions(
        self, request: api.ListLatestVersionsRequest, context: grpc.ServicerContext
    ) -> api.ListLatestVersionsResponse:
        """Lists the newest version of each stage."""
        stages = [stage(f"stages[{index}]", number) for index, number in enumerate(request.stages)]
        found = self._versions.latest(request.workspace or DEFAULT_WORKSPACE, request.model, stages)
        return api.ListLatestVersionsResponse(versions=map(message, found))

    def SetVersionTags(
        self, request: api.SetVersionTagsRequest, context: grpc.ServicerContext
    ) -> api.SetVersionTagsResponse:
        """Sets tags."""
        version = self._versions.set_tags(
            request.workspace or DEFAULT_WORKSPACE, request.model, request.number, dict(request.tags)
        )
        return api.SetVersionTagsResponse(version=message(version))

    def DeleteVersionTags(
        self, request: api.DeleteVersionTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteVersionTagsResponse:
        """Removes tags."""
        version = self._versions.delete_tags(
            request.workspace or DEFAULT_WORKSPACE, request.model, request.number, list(request.keys)
        )
        return api.DeleteVersionTagsResponse(version=message(version))


def stage(path: str, number: int) -> Stage:
    """The stage that a field names. Raises FieldInvalid with those that there are."""
    if number not in _STAGES:
        given = "is required" if number == api.STAGE_UNSPECIFIED else f"{number} is not a stage"
        names = ", ".join(f"{api.Stage.Name(known)} ({int(known)})" for known in NUMBERS.values())
        raise FieldInvalid({path: f"{given}: use {names}"}, stage=number)
    return _STAGES[number]


def message(version: Version) -> api.Version:
    """The version as the contract has it."""
    result = api.Version(
        workspace=version.workspace,
        model=version.model,
        number=version.number,
        version_id=version.version_id,
        stage=NUMBERS[version.stage],
        aliases=version.aliases,
        state=api.VERSION_STATE_READY,
        run_id=version.run_id,
        source=version.source,
        description=version.description,
        tags=version.tags,
        user=version.user,
        manifest_sha256=version.files.manifest_sha256,
        file_count=version.files.file_count,
        size_bytes=version.files.size_bytes,
        etag=version.etag,
    )
    result.create_time.FromMilliseconds(version.create_time)
    result.update_time.FromMilliseconds(version.update_time)
    return result
