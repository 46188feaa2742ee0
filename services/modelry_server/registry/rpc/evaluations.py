"""EvaluationService: contract in, contract out."""

from functools import partial

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.requests import idempotency
from modelry_server.kernel.requests.paging import Pager
from modelry_server.registry.domain.evaluations import Draft, Evaluations
from modelry_server.registry.entities import Evaluation, EvaluationMetric, Interval, Verdict


class EvaluationService(api.EvaluationServiceServicer):
    """Answers calls about evaluations."""

    def __init__(self, evaluations: Evaluations, pager: Pager) -> None:
        self._evaluations = evaluations
        self._pager = pager

    def CreateEvaluation(
        self, request: api.CreateEvaluationRequest, context: grpc.ServicerContext
    ) -> api.CreateEvaluationResponse:
        """Records an evaluation of a version."""
        draft = Draft(
            version_number=request.version_number,
            name=request.name,
            run_id=request.run_id,
            artifact_path=request.artifact_path,
            metrics=tuple(_metric(each) for each in request.metrics),
            verdicts=tuple(Verdict(each.metric, each.passed, each.explanation) for each in request.verdicts),
            dataset_name=request.dataset_name,
            dataset_digest=request.dataset_digest,
        )
        made = self._evaluations.create(
            request.workspace, request.model_name, draft, request=idempotency.request(request)
        )
        return api.CreateEvaluationResponse(evaluation=message(made))

    def GetEvaluation(
        self, request: api.GetEvaluationRequest, context: grpc.ServicerContext
    ) -> api.GetEvaluationResponse:
        """Reads an evaluation."""
        return api.GetEvaluationResponse(evaluation=message(self._evaluations.get(request.evaluation_id)))

    def ListEvaluations(
        self, request: api.ListEvaluationsRequest, context: grpc.ServicerContext
    ) -> api.ListEvaluationsResponse:
        """Lists evaluations, the newest first."""
        search = partial(
            self._evaluations.page,
            request.workspace,
            request.model_name,
            request.version_number,
            request.name,
            request.latest_only,
        )
        evaluations, token = self._pager.answer(request, search, message)
        return api.ListEvaluationsResponse(evaluations=evaluations, next_page_token=token)


def message(evaluation: Evaluation) -> api.Evaluation:
    """The evaluation as the contract has it."""
    result = api.Evaluation(
        evaluation_id=evaluation.evaluation_id,
        workspace=evaluation.workspace,
        model_name=evaluation.model_name,
        version_number=evaluation.version_number,
        name=evaluation.name,
        run_id=evaluation.run_id,
        artifact_path=evaluation.artifact_path,
        metrics=[_metric_message(each) for each in evaluation.metrics],
        verdicts=[
            api.Verdict(metric=each.metric, passed=each.passed, explanation=each.explanation)
            for each in evaluation.verdicts
        ],
        dataset_name=evaluation.dataset_name,
        dataset_digest=evaluation.dataset_digest,
        creator=evaluation.creator,
    )
    result.create_time.FromMilliseconds(evaluation.create_time)
    return result


def _metric(message: api.EvaluationMetric) -> EvaluationMetric:
    given = message.interval
    interval = Interval(given.low, given.high, given.confidence) if message.HasField("interval") else None
    return EvaluationMetric(message.name, message.value, interval)


def _metric_message(metric: EvaluationMetric) -> api.EvaluationMetric:
    made = api.EvaluationMetric(name=metric.name, value=metric.value)
    if (own := metric.interval) is not None:
        made.interval.low, made.interval.high, made.interval.confidence = own.low, own.high, own.confidence
    return made
