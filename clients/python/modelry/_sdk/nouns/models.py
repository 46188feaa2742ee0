"""Registered models: names under which versions are numbered."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.paging import paged
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry

_SERVICE = "modelry.api.registry.v1.ModelService"


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model as it was when it was read.

    `aliases` says which version number each alias points at; `last_version` is the number of the newest version that
    was ever made, 0 before the first.
    """

    name: str
    workspace: str
    model_id: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    last_version: int
    create_time: datetime | None
    update_time: datetime | None
    etag: str


class Models:
    """Makes, reads, changes, deletes and finds registered models of a workspace."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection
        self._workspace = workspace

    def create(
        self,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, object] | None = None,
        allow_existing: bool = False,
    ) -> Model:
        """Makes a registered model; sending it again after a lost answer makes no second one.

        With `allow_existing` it answers with the model of that name where there is one, unchanged. Raises ModelExists
        otherwise, and FieldInvalid for a name, tag or description over the limits.
        """
        request = registry.CreateModelRequest(
            workspace=self._workspace,
            name=name,
            description=description,
            tags=arguments.texts(tags),
            allow_existing=allow_existing,
            request_id=uuid.uuid4().hex,
        )
        answer = self._connection.call(f"{_SERVICE}/CreateModel", request, registry.CreateModelResponse)
        return model_of(answer.model)

    def get(self, name: str) -> Model:
        """Reads a model. Raises ModelNotFound."""
        request = registry.GetModelRequest(workspace=self._workspace, name=name)
        return model_of(self._connection.call(f"{_SERVICE}/GetModel", request, registry.GetModelResponse).model)

    def update(self, name: str, *, description: str, etag: str = "", reason: str = "") -> Model:
        """Changes the description.

        With an `etag` it raises EtagMismatch where somebody else changed the model since. `reason` goes into the audit
        record. Raises ModelNotFound.
        """
        return self._update(name, registry.Model(description=description, etag=etag), "description", reason)

    def rename(self, name: str, new_name: str, *, etag: str = "", reason: str = "") -> Model:
        """Gives a model another name; the old one is free afterwards. Raises ModelNotFound or ModelExists."""
        return self._update(name, registry.Model(name=new_name, etag=etag), "name", reason)

    def delete(self, name: str, *, reason: str = "") -> None:
        """Deletes a model with its versions; its audit records stay.

        Raises ModelNotFound, or ModelInUse while a version is in Staging or Production.
        """
        request = registry.DeleteModelRequest(workspace=self._workspace, name=name, reason=reason)
        self._connection.call(f"{_SERVICE}/DeleteModel", request, registry.DeleteModelResponse)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Model]:
        """Finds models, by name unless `order_by` says otherwise. Raises FilterSyntax when the list is read."""

        def fetch(size: int, token: str) -> tuple[list[Model], str]:
            request = registry.SearchModelsRequest(
                workspace=self._workspace,
                filter=filter,
                order_by=order_by,
                page_size=size,
                page_token=token,
            )
            page = self._connection.call(f"{_SERVICE}/SearchModels", request, registry.SearchModelsResponse)
            return [model_of(message) for message in page.models], page.next_page_token

        order_by = arguments.listed("order_by", order_by)
        return LazyList(paged(fetch, max_results=max_results, page_size=page_size))

    def set_tags(self, name: str, tags: Mapping[str, object]) -> Model:
        """Sets tags, all or none; tags of the same keys are replaced, others stay. Raises ModelNotFound."""
        request = registry.SetModelTagsRequest(workspace=self._workspace, name=name, tags=arguments.texts(tags))
        return model_of(self._connection.call(f"{_SERVICE}/SetModelTags", request, registry.SetModelTagsResponse).model)

    def delete_tags(self, name: str, keys: str | Iterable[str]) -> Model:
        """Removes tags, all or none. Raises ModelNotFound or TagNotFound."""
        request = registry.DeleteModelTagsRequest(
            workspace=self._workspace, name=name, keys=arguments.listed("keys", keys)
        )
        answer = self._connection.call(f"{_SERVICE}/DeleteModelTags", request, registry.DeleteModelTagsResponse)
        return model_of(answer.model)

    def _update(self, name: str, changed: registry.Model, field: str, reason: str) -> Model:
        request = registry.UpdateModelRequest(workspace=self._workspace, name=name, model=changed, reason=reason)
        request.update_mask.paths.append(field)
        return model_of(self._connection.call(f"{_SERVICE}/UpdateModel", request, registry.UpdateModelResponse).model)


def model_of(message: registry.Model) -> Model:
    """The model that a message holds."""
    return Model(
        name=message.name,
        workspace=message.workspace,
        model_id=message.model_id,
        description=message.description,
        tags=dict(message.tags),
        aliases=dict(message.aliases),
        last_version=message.last_version,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
