"""Versions of registered models."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from modelry._sdk.nouns import arguments, comparisons, uris
from modelry._sdk.nouns.comparisons import VersionComparison
from modelry._sdk.nouns.enums import name_of, stage_name, version_number
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.mlflow_names import VersionNames
from modelry._sdk.nouns.signatures import (
    AnyFlavors,
    AnySignature,
    Flavor,
    Signature,
    flavor_messages,
    signature_message,
    signature_of,
)
from modelry._sdk.nouns.sorting import tell_unsorted
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport import unfinished
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry
from modelry.errors import FieldInvalid, RunNotFound, VersionNotFound

if TYPE_CHECKING:
    from modelry._sdk.nouns.evaluations import Evaluations
    from modelry._sdk.nouns.runs import Runs


@dataclass(frozen=True, slots=True)
class Version(VersionNames):
    """A version of a registered model as it was when it was read.

    `version_number` counts from 1 without gaps. `state` is READY when its files are there, else PENDING or FAILED.
    `source` is a URI: `runs:/<run_id>/<path>`, or `models:/<name>/<number>` of a version that was copied. Its files
    belong to `owner` and never change. `signature` is None if nothing is known, and for each version of a list
    (`search`, `latest`), because signatures may be long: `get` reads it.
    """

    version_id: str
    workspace: str
    model_id: str
    model_name: str
    version_number: int
    stage: str
    state: str
    aliases: tuple[str, ...]
    description: str
    tags: Mapping[str, str]
    run_id: str
    source: str
    creator: str
    signature: Signature | None
    flavors: tuple[Flavor, ...]
    manifest_sha256: str
    file_count: int
    size_bytes: int
    create_time: datetime | None
    update_time: datetime | None
    etag: str

    @property
    def owner(self) -> str:
        """Who owns its files: `versions/<version_id>`."""
        return f"versions/{self.version_id}"


@arguments.texts_checked
class Versions:
    """Creates, reads, changes, deletes and finds versions of the models of a workspace.

    A version is named by the name of its model and its number, as a number or as digits.
    """

    def __init__(
        self, connection: Connection, workspace: str, neighbours: Callable[[], tuple[Runs, Evaluations]]
    ) -> None:
        self._connection = connection
        self._workspace = workspace
        self._neighbours = neighbours

    def create(
        self,
        name: str,
        source: str,
        *,
        run_id: str = "",
        description: str = "",
        tags: Mapping[str, object] | None = None,
        signature: AnySignature = None,
        flavors: AnyFlavors = (),
        reason: str = "",
    ) -> Version:
        """Creates the next version of a model from `runs:/<run_id>/<path>` or `models:/<name>/<number>`.

        The files are frozen: deleting the run later does not affect the version. A retry after a lost answer creates no
        second version. A copy keeps signature and flavors of the copied version unless they are given.

        `signature` is a `modelry.types.Signature`, what `infer_signature` returns, or a mapping with `inputs`,
        `outputs` and `params` as JSON texts. `flavors` are names, `modelry.types.Flavor`, or pairs or a mapping of name
        and library version. Raises InvalidArgument for others, and ModelNotFound, RunNotFound, RunDeleted, SourceEmpty,
        PathInvalid or FieldInvalid, the last also if `run_id` is given and is not the run of the source.
        """
        made_from = uris.source_message(source)
        if run_id and run_id != made_from.run.run_id:
            problem = f"{run_id!r} is not the run of the source {source!r}; leave it out, the source names the run"
            metadata = {"run_id": run_id, "source": source}
            raise FieldInvalid(f"run_id: {problem}", metadata=metadata, fields={"run_id": problem})
        request = registry.CreateVersionRequest(
            workspace=self._workspace,
            model_name=name,
            source=made_from,
            description=description,
            tags=arguments.texts(tags),
            signature=signature_message(signature),
            flavors=flavor_messages(flavors),
            reason=reason,
            request_id=uuid.uuid4().hex,
        )
        return version_of(self._connection.call(registry.rpcs.CREATE_VERSION, request).version)

    def get(self, name: str = "", version: int | str | None = None, *, version_id: str = "") -> Version:
        """Reads a version, by model and number or by its id. Raises ModelNotFound or VersionNotFound."""
        request = registry.GetVersionRequest(version_id=version_id)
        if not version_id:
            request.workspace, request.model_name = self._workspace, name
            request.version_number = version_number("" if version is None else version)
        return version_of(self._connection.call(registry.rpcs.GET_VERSION, request).version)

    def resolve(self, uri: str) -> Version:
        """Reads the version that a `models:/` URI means at this moment.

        With a stage or `latest` in the URI its `signature` is None, as in lists. Raises ModelNotFound, AliasNotFound,
        VersionNotFound, or InvalidArgument for another URI.
        """
        parsed = uris.parse(uri)
        if not isinstance(parsed, uris.VersionUri):
            raise uris.refused(uri, "is not the URI of a version")
        unfinished.before_reading()
        if parsed.alias:
            by_alias = registry.GetAliasRequest(
                workspace=self._workspace, model_name=parsed.model_name, alias=parsed.alias
            )
            return version_of(self._connection.call(registry.rpcs.GET_ALIAS, by_alias).version)
        if parsed.version_number:
            return self.get(parsed.model_name, parsed.version_number)
        newest = self.latest(parsed.model_name, [parsed.stage] if parsed.stage else ())
        if not newest:
            which = f"version in stage {parsed.stage!r}" if parsed.stage else "versions"
            metadata = {"model_name": parsed.model_name} | ({"stage": parsed.stage} if parsed.stage else {})
            raise VersionNotFound(f"model {parsed.model_name!r} has no {which}", metadata=metadata)
        return max(newest, key=lambda found: found.version_number)

    def update(self, name: str, version: int | str, *, description: str, etag: str = "", reason: str = "") -> Version:
        """Changes the description.

        With an `etag` it raises EtagMismatch if somebody else has changed the version. `reason` goes into the audit
        record. Raises ModelNotFound or VersionNotFound.
        """
        version_id = self.get(name, version).version_id
        changed = registry.Version(version_id=version_id, description=description, etag=etag)
        request = registry.UpdateVersionRequest(version=changed, reason=reason)
        request.update_mask.paths.append("description")
        return version_of(self._connection.call(registry.rpcs.UPDATE_VERSION, request).version)

    def delete(self, name: str, version: int | str, *, reason: str = "") -> None:
        """Deletes a version. Its number is never given again, and its audit records stay.

        Raises ModelNotFound, VersionNotFound, or VersionInUse while it is in a serving stage or has an alias.
        """
        request = registry.DeleteVersionRequest(
            workspace=self._workspace, model_name=name, version_number=version_number(version), reason=reason
        )
        self._connection.call(registry.rpcs.DELETE_VERSION, request)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Version]:
        """Finds versions of all models, without their `signature`. Default order: the newest first.

        `search("model_name = 'bikes'", order_by=["version_number DESC"])` lists those of one model, and
        `search("evaluation.holdout.roc_auc >= 0.8")` those whose newest evaluation of that name is so good. Raises
        FilterSyntax when the list is read.
        """
        request = registry.SearchVersionsRequest(
            workspace=self._workspace, filter=filter, order_by=arguments.listed("order_by", order_by)
        )

        def fetch(size: int, token: str) -> tuple[list[Version], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(registry.rpcs.SEARCH_VERSIONS, request)
            if not token:
                tell_unsorted(
                    request,
                    page.versions,
                    lambda probe: self._connection.call(registry.rpcs.SEARCH_VERSIONS, probe).versions,
                )
            return [version_of(message) for message in page.versions], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def latest(self, name: str, stages: str | Iterable[str] = ()) -> list[Version]:
        """Lists the newest version in each stage, or in the given stages, without their `signature`.

        Raises ModelNotFound or FieldInvalid.
        """
        unfinished.before_reading()
        request = registry.ListLatestVersionsRequest(
            workspace=self._workspace,
            model_name=name,
            stages=[stage_name(stage) for stage in arguments.listed("stages", stages)],
        )
        page = self._connection.call(registry.rpcs.LIST_LATEST_VERSIONS, request)
        return [version_of(message) for message in page.versions]

    def compare(self, name: str, first: int | str, second: int | str) -> VersionComparison:
        """Compares two versions: metrics of their runs and of their newest evaluations, params, tags and signatures.

        Raises ModelNotFound or VersionNotFound.
        """
        own, other = self.get(name, first), self.get(name, second)
        return comparisons.compared(own.model_name, self._side(own), self._side(other))

    def set_tags(self, name: str, version: int | str, tags: Mapping[str, object]) -> Version:
        """Sets tags, all or none. Tags with the same keys are replaced, others stay.

        Raises ModelNotFound or VersionNotFound.
        """
        request = registry.SetVersionTagsRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=version_number(version),
            tags=arguments.texts(tags),
        )
        return version_of(self._connection.call(registry.rpcs.SET_VERSION_TAGS, request).version)

    def delete_tags(self, name: str, version: int | str, keys: str | Iterable[str]) -> Version:
        """Removes tags, all or none. Raises ModelNotFound, VersionNotFound or TagNotFound."""
        request = registry.DeleteVersionTagsRequest(
            workspace=self._workspace,
            model_name=name,
            version_number=version_number(version),
            keys=arguments.listed("keys", keys),
        )
        return version_of(self._connection.call(registry.rpcs.DELETE_VERSION_TAGS, request).version)

    def _side(self, version: Version) -> comparisons.Side:
        runs, evaluations = self._neighbours()
        run = None
        with suppress(RunNotFound):
            run = runs.get(version.run_id)
        return comparisons.Side(
            version_number=version.version_number,
            run=run,
            evaluations=evaluations.latest(version.model_name, version.version_number),
            tags=version.tags,
            signature=version.signature,
            manifest_sha256=version.manifest_sha256,
        )


def version_of(message: registry.Version) -> Version:
    """The version that a message holds."""
    return Version(
        version_id=message.version_id,
        workspace=message.workspace,
        model_id=message.model_id,
        model_name=message.model_name,
        version_number=message.version_number,
        stage=message.stage,
        state=name_of(registry.VersionState, message.state),
        aliases=tuple(message.aliases),
        description=message.description,
        tags=dict(message.tags),
        run_id=message.run_id,
        source=uris.source_text(message.source),
        creator=message.creator,
        signature=signature_of(message.signature) if message.HasField("signature") else None,
        flavors=tuple(Flavor(flavor.name, flavor.library_version) for flavor in message.flavors),
        manifest_sha256=message.manifest_sha256,
        file_count=message.file_count,
        size_bytes=message.size_bytes,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
