from __future__ import annotations

import json

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, unique
from tests.parts.refusal import refused

METRICS = [
    api.EvaluationMetric(name="roc_auc", value=0.9, interval=api.Interval(low=0.88, high=0.92, confidence=0.95)),
    api.EvaluationMetric(name="n", value=7),
]
DATASET = {"dataset_name": "d", "dataset_digest": "abc"}
VERDICTS = [api.Verdict(metric="roc_auc", passed=False, explanation="0.9, needed at least 0.95")]


def draft(model_name: str, run_id: str, **fields: object) -> api.CreateEvaluationRequest:
    given = {"version_number": 1, "name": "holdout", "metrics": METRICS, "verdicts": VERDICTS, **fields}
    return api.CreateEvaluationRequest(
        workspace=WORKSPACE,
        model_name=model_name,
        run_id=run_id,
        **given,  # type: ignore[arg-type]
    )


def of(model_name: str, **fields: object) -> api.ListEvaluationsRequest:
    return api.ListEvaluationsRequest(workspace=WORKSPACE, model_name=model_name, **fields)  # type: ignore[arg-type]


@pytest.fixture
def model(platform: Platform) -> str:
    """The name of a model with two versions."""
    name, run_id = platform.a_model().name, platform.a_run()
    platform.a_version(name, run_id)
    platform.a_version(name, run_id)
    return name


def test_evaluations_are_recorded_and_listed_the_newest_first(platform: Platform, model: str) -> None:
    run_id = platform.a_run()
    made = [
        platform.evaluations.CreateEvaluation(
            draft(model, run_id, name=name, version_number=number, artifact_path="evaluations/2", **DATASET)
        ).evaluation
        for name, number in (("holdout", 1), ("fresh", 1), ("holdout", 2), ("holdout", 1))
    ]

    found = list(platform.evaluations.ListEvaluations(of(model)).evaluations)

    assert found == made[::-1]
    first = made[0]
    assert (first.workspace, first.model_name, first.name, first.run_id) == (WORKSPACE, model, "holdout", run_id)
    assert first.artifact_path == "evaluations/2"
    assert (list(first.metrics), list(first.verdicts)) == (METRICS, VERDICTS)
    assert (first.dataset_name, first.dataset_digest, first.creator) == ("d", "abc", "anonymous")
    assert first.metrics[0].HasField("interval")
    assert not first.metrics[1].HasField("interval")
    one = platform.evaluations.ListEvaluations(of(model, version_number=1, name="holdout", page_size=1))
    assert list(one.evaluations) == [made[3]]
    assert one.next_page_token
    rest = of(model, version_number=1, name="holdout", page_size=1, page_token=one.next_page_token)
    assert list(platform.evaluations.ListEvaluations(rest).evaluations) == [made[0]]


def test_an_evaluation_has_its_event_and_its_audit_record(platform: Platform, model: str) -> None:
    given = draft(model, platform.a_run(), artifact_path="evaluations/2", **DATASET)
    made = platform.evaluations.CreateEvaluation(given).evaluation

    event = platform.events.ListEvents(
        api.ListEventsRequest(workspace=WORKSPACE, model_name=model, types=[api.EVENT_TYPE_EVALUATION_CREATED])
    ).events[0]
    told = event.evaluation_created
    assert (event.version_number, told.evaluation_id, told.name) == (1, made.evaluation_id, "holdout")
    assert (told.run_id, list(told.failed_metrics)) == (made.run_id, ["roc_auc"])
    records = platform.audit.ListAuditRecords(api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=model))
    assert records.records[0].action == "evaluation.created"
    assert json.loads(records.records[0].after) == {
        "evaluation_id": made.evaluation_id,
        "name": "holdout",
        "run_id": made.run_id,
        "artifact_path": "evaluations/2",
        **DATASET,
        "metrics": {"roc_auc": 0.9, "n": 7},
        "intervals": {"roc_auc": {"low": 0.88, "high": 0.92, "confidence": 0.95}},
        "verdicts": {"roc_auc": False},
    }


def test_versions_are_found_and_sorted_by_the_newest_evaluation_of_a_name(platform: Platform, model: str) -> None:
    run_id = platform.a_run()
    platform.a_version(model, run_id)

    def record(number: int, metrics: dict[str, float], name: str = "holdout") -> None:
        given = [api.EvaluationMetric(name=metric, value=value) for metric, value in metrics.items()]
        platform.evaluations.CreateEvaluation(draft(model, run_id, version_number=number, name=name, metrics=given))

    def found(filter: str, *order_by: str) -> list[int]:
        request = api.SearchVersionsRequest(
            workspace=WORKSPACE, filter=f"model_name = '{model}' AND {filter}", order_by=order_by, page_size=1
        )
        numbers: list[int] = []
        while True:
            page = platform.versions.SearchVersions(request)
            numbers += [each.version_number for each in page.versions]
            if not page.next_page_token:
                return numbers
            request.page_token = page.next_page_token

    record(1, {"roc_auc": 0.7})
    record(1, {"roc_auc": 0.95, "val.loss": 1.0})
    record(1, {"roc_auc": 0.1}, name="fresh")
    record(2, {"roc_auc": 0.9})
    record(2, {"roc_auc": 0.8})

    assert found("evaluation.holdout.roc_auc >= 0.85") == [1]
    assert found("evaluation.holdout.roc_auc IN (0.8, 0.95)", "evaluation.holdout.roc_auc") == [2, 1]
    assert found("version_number > 0", "evaluation.holdout.roc_auc DESC") == [1, 2, 3]
    assert found("evaluation.holdout.roc_auc IS NULL") == [3]
    assert found("evaluation.`holdout.val.loss` = 1") == found("evaluation.fresh.roc_auc < 0.2") == [1]
    record(1, {"roc_auc": 0.5})
    assert found("evaluation.holdout.val.loss IS NOT NULL OR evaluation.holdout.roc_auc > 0.85".join("()")) == []
    platform.versions.DeleteVersion(api.DeleteVersionRequest(workspace=WORKSPACE, model_name=model, version_number=2))
    assert found("evaluation.holdout.roc_auc > 0") == [1]


@pytest.mark.parametrize("filter", ["evaluation.holdout > 1", "evaluation.holdout.a = 'x'", "evaluation.`.a` > 1"])
def test_a_filter_by_no_metric_of_an_evaluation_is_refused(platform: Platform, filter: str) -> None:
    request = api.SearchVersionsRequest(workspace=WORKSPACE, filter=filter)

    refusal = refused(platform.versions.SearchVersions, request)

    assert refusal.reason == "FILTER_SYNTAX"
    models = api.SearchModelsRequest(workspace=WORKSPACE, filter="evaluation.holdout.a > 1")
    assert refused(platform.models.SearchModels, models).reason == "FILTER_SYNTAX"


def test_the_same_request_records_one_evaluation(platform: Platform, model: str) -> None:
    request = draft(model, platform.a_run(), request_id=new_id())

    first, again = (platform.evaluations.CreateEvaluation(request).evaluation for _ in range(2))

    assert first == again
    assert len(platform.evaluations.ListEvaluations(of(model)).evaluations) == 1


def test_evaluations_go_with_their_version_and_with_their_model(platform: Platform, model: str) -> None:
    run_id = platform.a_run()
    for number in (1, 2):
        platform.evaluations.CreateEvaluation(draft(model, run_id, version_number=number))
    version = {"workspace": WORKSPACE, "model_name": model}

    platform.versions.DeleteVersion(api.DeleteVersionRequest(**version, version_number=1))

    assert [each.version_number for each in platform.evaluations.ListEvaluations(of(model)).evaluations] == [2]
    platform.models.DeleteModel(api.DeleteModelRequest(**version))
    assert refused(platform.evaluations.ListEvaluations, of(model)).reason == "MODEL_NOT_FOUND"


def test_what_is_wrong_is_named(platform: Platform, model: str) -> None:
    run_id = platform.a_run()
    create = platform.evaluations.CreateEvaluation
    twice = [api.EvaluationMetric(name="a", value=1), api.EvaluationMetric(name="a", value=float("nan"))]

    assert refused(create, draft(unique("none"), run_id)).reason == "MODEL_NOT_FOUND"
    assert refused(create, draft(model, run_id, version_number=9)).reason == "VERSION_NOT_FOUND"
    assert refused(create, draft(model, new_id())).reason == "RUN_NOT_FOUND"
    assert list(refused(create, draft(model, run_id, name="a.b")).violations) == ["name"]
    assert set(refused(create, draft(model, run_id, metrics=twice)).violations) == {
        "metrics[1].name",
        "metrics[1].value",
    }
    for given, bad in (
        (api.Interval(low=5, high=1, confidence=0.9), {""}),
        (api.Interval(low=0.8), {"", ".confidence"}),
        (api.Interval(low=float("-inf"), high=float("nan"), confidence=1), {".low", ".high", ".confidence"}),
    ):
        metric = api.EvaluationMetric(name="a", value=0.9, interval=given)
        named = set(refused(create, draft(model, run_id, metrics=[metric])).violations)
        assert named == {f"metrics[0].interval{each}" for each in bad}
    many = [api.EvaluationMetric(name=str(at)) for at in range(1001)]
    assert list(refused(create, draft(model, run_id, metrics=many)).violations) == ["metrics"]
    assert list(refused(create, draft(model, run_id, verdicts=VERDICTS * 2)).violations) == ["verdicts[1].metric"]
    assert not platform.evaluations.ListEvaluations(of(model)).evaluations


def test_the_newest_of_each_name_of_each_version_are_listed(platform: Platform, model: str) -> None:
    run_id = platform.a_run()
    asked = (("holdout", 1), ("holdout", 2), ("fresh", 1), ("holdout", 1), ("fresh", 1), ("fresh", 2))
    made = [
        platform.evaluations.CreateEvaluation(draft(model, run_id, name=name, version_number=number)).evaluation
        for name, number in asked
    ]

    def latest(**fields: object) -> list[api.Evaluation]:
        return list(platform.evaluations.ListEvaluations(of(model, latest_only=True, **fields)).evaluations)

    assert latest() == [made[5], made[4], made[3], made[1]]
    assert latest(version_number=1) == [made[4], made[3]]
    assert latest(version_number=1, name="holdout") == [made[3]]
    first = platform.evaluations.ListEvaluations(of(model, latest_only=True, page_size=3))
    rest = of(model, latest_only=True, page_size=3, page_token=first.next_page_token)
    assert list(platform.evaluations.ListEvaluations(rest).evaluations) == [made[1]]


def test_an_evaluation_is_read_by_its_id(platform: Platform, model: str) -> None:
    made = platform.evaluations.CreateEvaluation(draft(model, platform.a_run())).evaluation

    def get(evaluation_id: str) -> api.GetEvaluationRequest:
        return api.GetEvaluationRequest(evaluation_id=evaluation_id)

    assert platform.evaluations.GetEvaluation(get(made.evaluation_id)).evaluation == made
    missing = refused(platform.evaluations.GetEvaluation, get(new_id()))
    assert (missing.code, missing.reason) == ("NOT_FOUND", "EVALUATION_NOT_FOUND")
    assert list(refused(platform.evaluations.GetEvaluation, get("x")).violations) == ["evaluation_id"]
