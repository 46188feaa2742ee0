"""ModelService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.updates import changes
from modelry_server.registry.domain.models import CHANGEABLE, Models
from modelry_server.registry.entities import Model


class ModelService(api.ModelServiceServicer):
    """Answers calls about models."""

    def __init__(self, models: Models, pager: Pager) -> None:
        self._models = models
        self._pager = pager

    def CreateModel(self, request: api.CreateModelRequest, context: grpc.ServicerContext) -> api.CreateModelResponse:
        """Creates a model."""
        model = self._models.create(
            request.workspace,
            request.name,
            description=request.description,
            tags=dict(request.tags),
            allow_existing=request.allow_existing,
            request=idempotency.request(request),
        )
        return api.CreateModelResponse(model=message(model))

    def GetModel(self, request: api.GetModelRequest, context: grpc.ServicerContext) -> api.GetModelResponse:
        """Reads a model."""
        model = self._models.get(workspace=request.workspace, model_name=request.model_name, model_id=request.model_id)
        return api.GetModelResponse(model=message(model))

    def UpdateModel(self, request: api.UpdateModelRequest, context: grpc.ServicerContext) -> api.UpdateModelResponse:
        """Changes the name or the description."""
        given = request.model
        model = self._models.update(
            given.model_id,
            lambda: changes(given, request.update_mask, CHANGEABLE),
            etag=given.etag,
            reason=request.reason,
        )
        return api.UpdateModelResponse(model=message(model))

    def DeleteModel(self, request: api.DeleteModelRequest, context: grpc.ServicerContext) -> api.DeleteModelResponse:
        """Deletes a model."""
        self._models.delete(request.workspace, request.model_name, reason=request.reason)
        return api.DeleteModelResponse()

    def SearchModels(self, request: api.SearchModelsRequest, context: grpc.ServicerContext) -> api.SearchModelsResponse:
        """Finds models."""
        search = partial(self._models.search, request.workspace, request.filter, request.order_by)
        models, token = self._pager.answer(request, search, message)
        return api.SearchModelsResponse(models=models, next_page_token=token)

    def SetModelTags(self, request: api.SetModelTagsRequest, context: grpc.ServicerContext) -> api.SetModelTagsResponse:
        """Sets tags."""
        model = self._models.set_tags(request.workspace, request.model_name, dict(request.tags))
        return api.SetModelTagsResponse(model=message(model))

    def DeleteModelTags(
        self, request: api.DeleteModelTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteModelTagsResponse:
        """Removes tags."""
        model = self._models.delete_tags(request.workspace, request.model_name, list(request.keys))
        return api.DeleteModelTagsResponse(model=message(model))


def message(model: Model) -> api.Model:
    """The model as the contract has it."""
    result = api.Model(
        model_id=model.model_id,
        workspace=model.workspace,
        name=model.name,
        description=model.description,
        tags=model.tags,
        aliases=model.aliases,
        last_version_number=model.last_version_number,
        creator=model.creator,
        etag=model.etag,
    )
    result.create_time.FromMilliseconds(model.create_time)
    result.update_time.FromMilliseconds(model.update_time)
    return result
