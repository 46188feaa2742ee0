"""DatasetService: contract in, contract out."""

from dataclasses import replace

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.tracking.domain.datasets import Datasets
from modelry_server.tracking.entities import Dataset, DatasetInput

_DEFAULT_WORKSPACE = "default"


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
        """Reads one dataset."""
        return api.GetDatasetResponse(dataset=message(self._datasets.get(request.dataset_id)))

    def SearchDatasets(
        self, request: api.SearchDatasetsRequest, context: grpc.ServicerContext
    ) -> api.SearchDatasetsResponse:
        """Finds datasets."""
        workspace = request.workspace or _DEFAULT_WORKSPACE
        scope = ("SearchDatasets", workspace, request.filter)
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._datasets.search(workspace, request.filter, page.after, page.size + 1)
        messages = fitting((message(dataset) for dataset, _ in found), page.size)
        token = self._pager.token(scope, found[len(messages) - 1][1]) if len(found) > len(messages) else ""
        return api.SearchDatasetsResponse(datasets=messages, next_page_token=token)


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
    return Dataset("", "", given.name, given.digest, given.source_type, given.source, given.schema, given.profile)
