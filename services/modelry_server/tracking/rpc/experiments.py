"""ExperimentService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.common import v1 as common
from modelry.api.tracking import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.kernel.requests.updates import changes
from modelry_server.tracking.domain.experiments import CHANGEABLE, Experiments
from modelry_server.tracking.entities import Experiment, Lifecycle, LifecycleFilter

_FILTERS = ", ".join(f"LIFECYCLE_FILTER_{each.name}" for each in LifecycleFilter)


class ExperimentService(api.ExperimentServiceServicer):
    """Answers calls about experiments."""

    def __init__(self, experiments: Experiments, pager: Pager) -> None:
        self._experiments = experiments
        self._pager = pager

    def CreateExperiment(
        self, request: api.CreateExperimentRequest, context: grpc.ServicerContext
    ) -> api.CreateExperimentResponse:
        """Creates an experiment."""
        created = self._experiments.create(
            request.workspace,
            request.name,
            description=request.description,
            tags=dict(request.tags),
            request=idempotency.request(request),
            allow_existing=request.allow_existing,
        )
        return api.CreateExperimentResponse(experiment=message(created))

    def GetExperiment(
        self, request: api.GetExperimentRequest, context: grpc.ServicerContext
    ) -> api.GetExperimentResponse:
        """Reads an experiment."""
        return api.GetExperimentResponse(experiment=message(self._experiments.get(request.experiment_id)))

    def GetExperimentByName(
        self, request: api.GetExperimentByNameRequest, context: grpc.ServicerContext
    ) -> api.GetExperimentByNameResponse:
        """Reads the experiment with a name."""
        found = self._experiments.get_by_name(request.workspace, request.name)
        return api.GetExperimentByNameResponse(experiment=message(found))

    def UpdateExperiment(
        self, request: api.UpdateExperimentRequest, context: grpc.ServicerContext
    ) -> api.UpdateExperimentResponse:
        """Changes the name or the description of an experiment."""
        given = request.experiment
        changed = self._experiments.update(
            given.experiment_id,
            given.etag,
            lambda: changes(given, request.update_mask, CHANGEABLE),
            prefix="experiment.",
        )
        return api.UpdateExperimentResponse(experiment=message(changed))

    def DeleteExperiment(
        self, request: api.DeleteExperimentRequest, context: grpc.ServicerContext
    ) -> api.DeleteExperimentResponse:
        """Deletes an experiment."""
        return api.DeleteExperimentResponse(experiment=message(self._experiments.delete(request.experiment_id)))

    def RestoreExperiment(
        self, request: api.RestoreExperimentRequest, context: grpc.ServicerContext
    ) -> api.RestoreExperimentResponse:
        """Restores an experiment."""
        return api.RestoreExperimentResponse(experiment=message(self._experiments.restore(request.experiment_id)))

    def SearchExperiments(
        self, request: api.SearchExperimentsRequest, context: grpc.ServicerContext
    ) -> api.SearchExperimentsResponse:
        """Finds experiments."""
        search = partial(
            self._experiments.search,
            request.workspace,
            filter=request.filter,
            order_by=list(request.order_by),
            lifecycle=lifecycle_filter(request.lifecycle),
        )
        experiments, next_page_token = self._pager.answer(request, search, message)
        return api.SearchExperimentsResponse(experiments=experiments, next_page_token=next_page_token)

    def SetExperimentTags(
        self, request: api.SetExperimentTagsRequest, context: grpc.ServicerContext
    ) -> api.SetExperimentTagsResponse:
        """Sets tags."""
        changed = self._experiments.set_tags(request.experiment_id, dict(request.tags))
        return api.SetExperimentTagsResponse(experiment=message(changed))

    def DeleteExperimentTags(
        self, request: api.DeleteExperimentTagsRequest, context: grpc.ServicerContext
    ) -> api.DeleteExperimentTagsResponse:
        """Removes tags."""
        changed = self._experiments.delete_tags(request.experiment_id, list(request.keys))
        return api.DeleteExperimentTagsResponse(experiment=message(changed))


def message(experiment: Experiment) -> api.Experiment:
    """The experiment as the contract has it."""
    result = api.Experiment(
        experiment_id=experiment.experiment_id,
        workspace=experiment.workspace,
        name=experiment.name,
        description=experiment.description,
        lifecycle=lifecycle(experiment.lifecycle),
        tags=experiment.tags,
        creator=experiment.creator,
        etag=experiment.etag,
    )
    result.create_time.FromMilliseconds(experiment.create_time)
    result.update_time.FromMilliseconds(experiment.update_time)
    if experiment.delete_time is not None:
        result.delete_time.FromMilliseconds(experiment.delete_time)
    return result


def lifecycle(state: Lifecycle) -> common.Lifecycle.ValueType:
    """The lifecycle as the contract has it."""
    return common.Lifecycle.ValueType(state)


def lifecycle_filter(number: int) -> LifecycleFilter:
    """What a search is for; active things by default. Raises FieldInvalid for a number that is not known."""
    if not number:
        return LifecycleFilter.ACTIVE
    if number in LifecycleFilter.__members__.values():
        return LifecycleFilter(number)
    raise FieldInvalid({"lifecycle": f"{number} is not known to this server; use one of {_FILTERS}"})
