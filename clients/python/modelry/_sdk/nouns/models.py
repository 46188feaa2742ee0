"""Registered models: names under which versions are numbered."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.mlflow_names import ModelNames
from modelry._sdk.nouns.sorting import tell_unsorted
from modelry._sdk.nouns.times import time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.registry import v1 as registry


@dataclass(frozen=True, slots=True)
class Model(ModelNames):
    """A registered model as it was when it was read.

    `aliases` has the version number that each alias points at. `last_version_number` is the highest number that was
    ever given, 0 before the first version.
    """

    model_id: str
    workspace: str
    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    last_version_number: int
    creator: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@arguments.texts_checked
class Models:
    """Creates, reads, changes, deletes and finds registered models of a workspace."""

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
        """Creates a registered model. A retry after a lost answer creates no second one.

        With `allow_existing` it returns the model that has the name already, unchanged. Raises ModelExists otherwise,
        and FieldInvalid for a name, tag or description that exceeds the limits.
        """
        request = registry.CreateModelRequest(
            workspace=self._workspace,
            name=name,
            description=description,
            tags=arguments.texts(tags),
            allow_existing=allow_existing,
            request_id=uuid.uuid4().hex,
        )
        return model_of(self._connection.call(registry.rpcs.CREATE_MODEL, request).model)

    def get(self, name: str = "", *, model_id: str = "") -> Model:
        """Reads a model, by its name or by its id. Raises ModelNotFound."""
        request = registry.GetModelRequest(model_id=model_id)
        if not model_id:
            request.workspace, request.model_name = self._workspace, name
        return model_of(self._connection.call(registry.rpcs.GET_MODEL, request).model)

    def update(self, name: str, *, description: str, etag: str = "", reason: str = "") -> Model:
        """Changes the description.

        With an `etag` it raises EtagMismatch if somebody else has changed the model. `reason` goes into the audit
        record. Raises ModelNotFound.
        """
        return self._update(name, registry.Model(description=description, etag=etag), "description", reason)

    def rename(self, name: str, new_name: str, *, etag: str = "", reason: str = "") -> Model:
        """Renames a model. The old name is free afterwards. Raises ModelNotFound or ModelExists."""
        return self._update(name, registry.Model(name=new_name, etag=etag), "name", reason)

    def delete(self, name: str, *, reason: str = "") -> None:
        """Deletes a model with its versions. Its audit records stay.

        Raises ModelNotFound, or ModelInUse while a version is in a serving stage, such as Staging or Production.
        """
        request = registry.DeleteModelRequest(workspace=self._workspace, model_name=name, reason=reason)
        self._connection.call(registry.rpcs.DELETE_MODEL, request)

    def search(
        self,
        filter: str = "",
        *,
        order_by: str | Iterable[str] = (),
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Model]:
        """Finds models. Default order: by name. Raises FilterSyntax when the list is read."""
        request = registry.SearchModelsRequest(
            workspace=self._workspace, filter=filter, order_by=arguments.listed("order_by", order_by)
        )

        def fetch(size: int, token: str) -> tuple[list[Model], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(registry.rpcs.SEARCH_MODELS, request)
            if not token:
                tell_unsorted(
                    request, page.models, lambda probe: self._connection.call(registry.rpcs.SEARCH_MODELS, probe).models
                )
            return [model_of(message) for message in page.models], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def set_tags(self, name: str, tags: Mapping[str, object]) -> Model:
        """Sets tags, all or none. Tags with the same keys are replaced, others stay. Raises ModelNotFound."""
        request = registry.SetModelTagsRequest(workspace=self._workspace, model_name=name, tags=arguments.texts(tags))
        return model_of(self._connection.call(registry.rpcs.SET_MODEL_TAGS, request).model)

    def delete_tags(self, name: str, keys: str | Iterable[str]) -> Model:
        """Removes tags, all or none. Raises ModelNotFound or TagNotFound."""
        request = registry.DeleteModelTagsRequest(
            workspace=self._workspace, model_name=name, keys=arguments.listed("keys", keys)
        )
        return model_of(self._connection.call(registry.rpcs.DELETE_MODEL_TAGS, request).model)

    def _update(self, name: str, changed: registry.Model, field: str, reason: str) -> Model:
        changed.model_id = self.get(name).model_id
        request = registry.UpdateModelRequest(model=changed, reason=reason)
        request.update_mask.paths.append(field)
        return model_of(self._connection.call(registry.rpcs.UPDATE_MODEL, request).model)


def model_of(message: registry.Model) -> Model:
    """The model that a message holds."""
    return Model(
        model_id=message.model_id,
        workspace=message.workspace,
        name=message.name,
        description=message.description,
        tags=dict(message.tags),
        aliases=dict(message.aliases),
        last_version_number=message.last_version_number,
        creator=message.creator,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )
