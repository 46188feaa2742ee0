"""DatasetService: contract in, contract out."""

from dataclasses import replace
from functools import partial

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.kernel.requests.paging import Pager
from modelry_server.tracking.domain.datasets import Datasets
from modelry_server.tracking.entities import Dataset, DatasetInput


class DatasetService(api.DatasetServiceServicer):
    """Answers calls about datasets."""

    def __init__(self, datasets: Datasets, pager: Pager) -> None:
        self._datasets = datasets
        self._pager = pager

    def LogDatasets(self, request: api.LogDatasetsRequest, context: grpc.ServicerContext) -> api.LogDatasetsResponse:
        """Adds datasets to a run."""
        inputs = [DatasetInput(_entity(each.dataset), each.context) for each in request.inputs]
        return api.LogDatasetsResponse(datasets=map(_brief, self._datasets.log(request.run_id, inputs)))

    def GetDataset(self, request: api.GetDatasetRequest, context: grpc.ServicerContext) -> api.GetDatasetResponse:
        """Reads a dataset."""
        return api.GetDatasetResponse(dataset=message(self._datasets.get(request.dataset_id)))

    def SearchDatasets(
        self, request: api.SearchDatasetsRequest, context: grpc.ServicerContext
    ) -> api.SearchDatasetsResponse:
        """Finds datasets."""
        search = partial(self._datasets.search, request.workspace, filter=request.filter)
        datasets, next_page_token = self._pager.answer(request, search, message)
        return api.SearchDatasetsResponse(datasets=datasets, next_page_token=next_page_token)


def message(dataset: Dataset) -> api.Dataset:
    """The dataset as the contract has it."""
    result = api.Dataset(
        dataset_id=dataset.dataset_id,
        workspace=dataset.workspace,
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
    )
    result.create_time.FromMilliseconds(dataset.create_time)
    return result


def _brief(dataset: Dataset) -> api.Dataset:
    return message(replace(dataset, schema="", profile=""))


def _entity(given: api.Dataset) -> Dataset:
    return Dataset(
        dataset_id="",
        workspace="",
        name=given.name,
        digest=given.digest,
        source_type=given.source_type,
        source=given.source,
        schema=given.schema,
        profile=given.profile,
    )
