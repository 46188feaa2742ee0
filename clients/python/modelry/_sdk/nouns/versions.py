"""Versions of registered models."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import name_of_stage, number_of_stage, version_number
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.promoting import PROMOTE, promotion
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry
from modelry.errors import FieldInvalid

_SERVICE = "modelry.api.registry.v1.VersionService"
_STATES = ("PENDING", "READY", "FAILED")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model as it was when it was read.

    `number` counts from 1 without gaps; `stage` is None, Staging, Production or Archived, as text; `state` is READY
    when its files are there, else PENDING or FAILED. Its files belong to `owner` and never change. Who comes from
    MLflow finds `name`, `version` and `current_stage` too.
    """

    model: str
    number: int
    version_id: str
    workspace: str
    stage: str
    aliases: tuple[str, ...]
    state: str
    run_id: str
    source: str
    description: str
    tags: Mapping[str, str]
    user: str
    manifest_sha256: str
    file_count: int
    size_bytes: int
    create_time: datetime | None
    update_time: datetime | None
    etag: str

    @property
    def version(self) -> int:
        """The number."""
        return self.number

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.model

    @property
    def current_stage(self) -> str:
        """The stage."""
        return self.stage

    @property
    def owner(self) -> str:
        """Whose its files are: `versions/<version_id>`."""
        return f"versions/{self.version_id}"


class Versions:
    """Makes, reads, changes, deletes and finds versions of models of a workspace.

    A version is named by the model's name and its number, as a number or as digits.
    """

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        name: str,
        source: str,
        *,
        run_id: str = "",
        description: str = "",
        tags: Mapping[str, object] | None = None,
        reason: str = "",
    ) -> Version:
        """Makes the next version of a model from `runs:/<run_id>/<path>` or `models:/<name>/<version>`.

        The files are frozen: deleting the run later does not break the version. Sending it again after a lost answer
        makes no second version. Raises ModelNotFound, RunNotFound, RunDeleted, SourceEmpty, PathInvalid or
        FieldInvalid, the last also where `run_id` is given and is not the run of the source.
        """
        if run_id and not source.startswith(f"runs:/{run_id}/"):
            problem = f"{run_id!r} is not the run of the source {source!r}; leave it out, the source says it"
            metadata = {"run_id": run_id, "source": source}
            raise FieldInvalid(f"run_id: {problem}", metadata=metadata, fields={"run_id": problem})
        request = registry.CreateVersionRequest(
            workspace=self._workspace,
            model=name,
            source=source,
            description=description,
            tags=arguments.texts(tags),
            request_id=uuid.uuid4().hex,
            reason=reason,
        )
        answer = self._connection.call(f"{_SERVICE}/CreateVersion", request, registry.CreateVersionResponse)
        return version_of(answer.version)

    def get(self, name: str, version: int | str) -> Version:
        """Reads a version. Raises ModelNotFound or VersionNotFound."""
        request = registry.GetVersionRequest(workspace=self._workspace, model=name, number=version_number(version))
        return version_of(self._connection.call(f"{_SERVICE}/GetVersion", request, registry.GetVersionResponse).version)

    def update(self, name: str, version: int | str, *, description: str, etag: str = "", reason: str = "") -> Version:
        """Changes the description.

        With an `etag` it raises EtagMismatch where somebody else changed the version since. `reason` goes into the
        audit record. Raises ModelNotFound or VersionNotFound.
        """
        changed = registry.Version(
            workspace=self._workspace, model=name, number=version_number(version), description=description, etag=etag
        )
        request = registry.UpdateVersionRequest(version=changed, reason=reason)
        request.update_mask.paths.append("description")
        answer = self._connection.call(f"{_SERVICE}/UpdateVersion", request, registry.UpdateVersionResponse)
        return version_of(answer.version)

    def delete(self, name: str, version: int | str, *, reason: str = "") -> None:
        """Deletes a version; its number is never given again, and its audit records stay.

        Raises ModelNotFound, VersionNotFound, or VersionInUse while it is in Staging or Production or has an alias.
        """
        request = registry.DeleteVersionRequest(
            workspace=self._workspace, model=name, number=version_number(version), reason=reason
        )
        self._connection.call(f"{_SERVICE}/DeleteVersion", request, registry.DeleteVersionResponse)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Version]:
        """Finds versions of all models, the newest first unless `order_by` says otherwise.

        `search("name = 'bikes'", order_by=["version_number DESC"])` lists those of one model. Raises FilterSyntax when
        the list is read.
        """

        def fetch(size: int, token: str) -> tuple[list[Version], str]:
            request = registry.SearchVersionsRequest(
                workspace=self._workspace,
                filter=filter,
                order_by=order_by,
                page_size=size,
                page_token=token,
            )
            page = self._connection.call(f"{_SERVICE}/SearchVersions", request, registry.SearchVersionsResponse)
            return [version_of(message) for message in page.versions], page.next_page_token

        order_by = arguments.listed("order_by", order_by)
        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))

    def latest(self, name: str, stages: str | Iterable[str] = ()) -> list[Version]:
        """Lists the newest version of each stage, or of the stages named. Raises ModelNotFound or FieldInvalid."""
        request = registry.ListLatestVersionsRequest(workspace=self._workspace, model=name)
        request.stages.extend(number_of_stage(stage) for stage in arguments.listed("stages", stages))  # type: ignore[misc]
        page = self._connection.call(f"{_SERVICE}/ListLatestVersions", request, registry.ListLatestVersionsResponse)
        return [version_of(message) for message in page.versions]

    def promote(
        self,
        name: str,
        version: int | str,
        stage: str,
        *,
        archive_existing: bool = False,
        reason: str = "",
        etag: str = "",
    ) -> Version:
        """Moves a version to None, Staging, Production or Archived, written in any letter case.

        With `archive_existing` the versions that stand in Staging or Production leave it for Archived in the same
        transaction; `client.promotions.promote` says which. Raises ModelNotFound, VersionNotFound, FieldInvalid or
        EtagMismatch.
        """
        request = promotion(
            self._workspace, name, version, stage, archive_existing=archive_existing, reason=reason, etag=etag
        )
        return version_of(self._connection.call(PROMOTE, request, registry.PromoteVersionResponse).version)

    def set_tags(self, name: str, version: int | str, tags: Mapping[str, object]) -> Version:
        """Sets tags, all or none; tags of the same keys are replaced, others stay.

        Raises ModelNotFound or VersionNotFound.
        """
        request = registry.SetVersionTagsRequest(
            workspace=self._workspace, model=name, number=version_number(version), tags=arguments.texts(tags)
        )
        answer = self._connection.call(f"{_SERVICE}/SetVersionTags", request, registry.SetVersionTagsResponse)
        return version_of(answer.version)

    def delete_tags(self, name: str, version: int | str, keys: str | Iterable[str]) -> Version:
        """Removes tags, all or none. Raises ModelNotFound, VersionNotFound or TagNotFound."""
        request = registry.DeleteVersionTagsRequest(
            workspace=self._workspace, model=name, number=version_number(version), keys=arguments.listed("keys", keys)
        )
        answer = self._connection.call(f"{_SERVICE}/DeleteVersionTags", request, registry.DeleteVersionTagsResponse)
        return version_of(answer.version)


def version_of(message: registry.Version) -> Version:
    """The version that a message holds."""
    return Version(
        model=message.model,
        number=message.number,
        version_id=message.version_id,
        workspace=message.workspace,
        stage=name_of_stage(message.stage),
        aliases=tuple(message.aliases),
        state=_STATES[message.state - 1] if 0 < message.state <= len(_STATES) else "UNSPECIFIED",
        run_id=message.run_id,
        source=message.source,
        description=message.description,
        tags=dict(message.tags),
        user=message.user,
        manifest_sha256=message.manifest_sha256,
        file_count=message.file_count,
        size_bytes=message.size_bytes,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
