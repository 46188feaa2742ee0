"""ExperimentService: contract in, contract out."""

import grpc

from modelry.api.tracking import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.fields import Fields
from modelry_server.kernel.requests.paging import Pager, fitting
from modelry_server.tracking.domain.experiments import Experiments
from modelry_server.tracking.entities import Experiment, Lifecycle

DEFAULT_WORKSPACE = "default"
_CHANGEABLE = ("name",)


class ExperimentService(api.ExperimentServiceServicer):
    """Answers calls about experiments."""

    def __init__(self, experiments: Experiments, pager: Pager) -> None:
        self._experiments = experiments
        self._pager = pager

    def CreateExperiment(
        self, request: api.CreateExperimentRequest, context: grpc.ServicerContext
    ) -> api.CreateExperimentResponse:
        """Makes an experiment."""
        made = self._experiments.create(
            request.workspace or DEFAULT_WORKSPACE,
            request.name,
            dict(request.tags),
            idempotency.request(request),
            allow_existing=request.allow_existing,
        )
        return api.CreateExperimentResponse(experiment=message(made))

    def GetExperiment(
        self, request: api.GetExperimentRequest, context: grpc.ServicerContext
    ) -> api.GetExperimentResponse:
        """Reads one experiment."""
        return api.GetExperimentResponse(experiment=message(self._experiments.get(request.experiment_id)))

    def GetExperimentByName(
        self, request: api.GetExperimentByNameRequest, context: grpc.ServicerContext
    ) -> api.GetExperimentByNameResponse:
        """Reads the experiment of a name."""
        found = self._experiments.get_by_name(request.workspace or DEFAULT_WORKSPACE, request.name)
        return api.GetExperimentByNameResponse(experiment=message(found))

    def UpdateExperiment(
        self, request: api.UpdateExperimentRequest, context: grpc.ServicerContext
    ) -> api.UpdateExperimentResponse:
        """Renames an experiment."""
        with Fields() as fields:
            fields.mask("update_mask", request.update_mask.paths, _CHANGEABLE)
        given = request.experiment
        changed = self._experiments.rename(given.experiment_id, given.name, given.etag)
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
        workspace, wanted = request.workspace or DEFAULT_WORKSPACE, lifecycle(request.lifecycle)
        scope = ("SearchExperiments", workspace, wanted.name, request.filter, *request.order_by)
        page = self._pager.page(request.page_size, request.page_token, scope=scope)
        found = self._experiments.search(
            workspace, request.filter, list(request.order_by), wanted, page.after, page.size + 1
        )
        messages = fitting((message(experiment) for experiment, _ in found), page.size)
        token = self._pager.token(scope, found[len(messages) - 1][1]) if len(found) > len(messages) else ""
        return api.SearchExperimentsResponse(experiments=messages, next_page_token=token)

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


def lifecycle(number: int) -> Lifecycle:
    """Which things a search is for; active ones unless it says otherwise. Raises FieldInvalid."""
    if number in Lifecycle.__members__.values():
        return Lifecycle(number)
    with Fields() as fields:
        if number:
            fields.refuse("lifecycle", f"{number} is not a lifecycle: use active, deleted or any")
    return Lifecycle.ACTIVE


def message(experiment: Experiment) -> api.Experiment:
    """The experiment as the contract has it."""
    result = api.Experiment(
        experiment_id=experiment.experiment_id,
        workspace=experiment.workspace,
        name=experiment.name,
        lifecycle=api.Lifecycle.ValueType(experiment.lifecycle),
        tags=experiment.tags,
        etag=experiment.etag,
    )
    result.create_time.FromMilliseconds(experiment.create_time)
    result.update_time.FromMilliseconds(experiment.update_time)
    if experiment.delete_time is not None:
        result.delete_time.FromMilliseconds(experiment.delete_time)
    return result
