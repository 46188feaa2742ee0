"""ModelService: contract in, contract out."""

from collections.abc import Collection, Iterable
from typing import Any

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.registry.domain.models import Models
from modelry_server.registry.entities import DEFAULT_WORKSPACE, Model

_CHANGEABLE = ("name", "description")


class ModelService(api.ModelServiceServicer):
    """Answers calls about models."""

    def __init__(self, models: Models, pager: Pager) -> None:
        self._models = models
        self._pager = pager

    def CreateModel(self, request: api.CreateModelRequest, context: grpc.ServicerContext) -> api.CreateModelResponse:
        """Makes a model."""
        model = self._models.create(
            request.workspace or DEFAULT_WORKSPACE,
            request.name,
            description=request.description,
            tags=dict(request.tags),
            allow_existing=request.allow_existing,
            request=idempotency.request(request),
        )
        return api.CreateModelResponse(model=message(model))

    def GetModel(self, request: api.GetModelRequest, context: grpc.ServicerContext) -> api.GetModelResponse:
        """Reads one model."""
        model = self._models.get(request.workspace or DEFAULT_WORKSPACE, request.name)
        return api.GetModelResponse(model=message(model))

    def UpdateModel(self, request: api.UpdateModelRequest, context: grpc.ServicerContext) -> api.UpdateModelResponse:
        """Changes name or description."""
        model = self._models.describe(
            request.workspace or DEFAULT_WORKSPACE,
            request.name,
            changes(request.model, request.update_mask.paths, _CHANGEABLE),
            etag=request.model.etag,
            reason=request.reason,
        )
        return api.UpdateModelResponse(model=message(model))

    def DeleteModel(self, request: api.DeleteModelRequest, context: grpc.ServicerContext) -> api.DeleteModelResponse:
        """Deletes a model."""
        self._models.delete(request.workspace or DEFAULT_WORKSPACE, request.name, reason=request.reason)
        return api.DeleteModelResponse()

    def SearchModels(self, request: api.SearchModelsRequest, context: grpc.ServicerContext) -> api.SearchModelsResponse:
        """Finds models."""
        workspace = request.workspace or DEFAULT_WORKSPACE
        scope = ("SearchModels", workspace, request.filter, *request.order_by)
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._models.search(workspace, request.filter, request.order_by, after=page.after, limit=page.size + 1)
        models = fitting((message(model) for model, _ in found), page.size)
        token = self._pager.token(scope, found[len(models) - 1][1]) if len(found) > len(models) else ""
        return api.SearchModelsResponse(models=models, next_page_token=token)

    def SetModelTags(self, request: api.SetModelTagsRequest, context: grpc.ServicerContext) -> api.SetModelTagsResponse:
        """Sets tags."""
        model = self._models.set_tags(request.workspace or DEFAULT_WORKSPACE, request.name, dict(request.tags))
        return api.SetModelTagsResponse(model=message(model))

    def DeleteModelTags(
        self, request: api.DeleteModelTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteModelTagsResponse:
        """Removes tags."""
        model = self._models.delete_tags(request.workspace or DEFAULT_WORKSPACE, request.name, list(request.keys))
        return api.DeleteModelTagsResponse(model=message(model))


def changes(given: Any, paths: Collection[str], changeable: Iterable[str]) -> dict[str, str]:
    """The values of the fields that a mask names, or of those that are set if it names none. Raises FieldInvalid."""
    allowed = tuple(changeable)
    with Fields() as fields:
        fields.mask("update_mask", paths, allowed)
    return {name: getattr(given, name) for name in allowed if name in paths or (not paths and getattr(given, name))}


def message(model: Model) -> api.Model:
    """The model as the contract has it."""
    result = api.Model(
        workspace=model.workspace,
        name=model.name,
        description=model.description,
        tags=model.tags,
        aliases=model.aliases,
        last_version=model.last_version,
        etag=model.etag,
        model_id=model.model_id,
    )
    result.create_time.FromMilliseconds(model.create_time)
    result.update_time.FromMilliseconds(model.update_time)
    return result
