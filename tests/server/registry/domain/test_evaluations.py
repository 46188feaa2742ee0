"""What holds for evaluations before tracking is asked; the contract's tests have the rest."""

import pytest

from modelry_server.kernel.errors import FieldInvalid, ServiceUnavailable
from modelry_server.kernel.ids import new_id
from modelry_server.registry.domain.evaluations import MOST_METRICS, Draft
from modelry_server.registry.entities import EvaluationMetric, Interval, Verdict
from modelry_server.registry.errors import ModelNotFound, VersionNotFound
from tests.server.registry.conftest import ONCE, Registry


@pytest.fixture(autouse=True)
def _version(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")


def refused(registry: Registry, draft: Draft) -> set[str]:
    with pytest.raises(FieldInvalid) as raised:
        registry.evaluations.create("default", "fraud", draft, request=ONCE)
    return set(raised.value.violations)


def test_every_bad_field_is_named_before_tracking_is_asked(registry: Registry) -> None:
    long = Verdict("m" * 251, passed=True, explanation="x" * 1001)
    metrics = tuple(EvaluationMetric(str(at), 1.0) for at in range(MOST_METRICS + 1))
    bad = EvaluationMetric("", 1.0, Interval(float("-inf"), 1.0, 0.9))

    assert refused(registry, Draft(1, "1st", "x", verdicts=(long,), dataset_digest="d" * 129)) == {
        *("name", "run_id", "verdicts[0].metric", "verdicts[0].explanation", "dataset_digest"),
    }
    assert refused(registry, Draft(1, "n", new_id(), metrics=metrics)) == {"metrics"}
    assert refused(registry, Draft(1, "n", new_id(), metrics=(bad,))) == {"metrics[0].name", "metrics[0].interval.low"}
    assert refused(registry, Draft(0, "n", new_id())) == {"version_number"}


def test_a_model_and_a_version_must_be_there(registry: Registry) -> None:
    with pytest.raises(ModelNotFound):
        registry.evaluations.create("default", "none", Draft(1, "n", new_id()), request=ONCE)
    with pytest.raises(VersionNotFound):
        registry.evaluations.create("default", "fraud", Draft(2, "n", new_id()), request=ONCE)


def test_nothing_is_recorded_while_tracking_does_not_answer(registry: Registry) -> None:
    with pytest.raises(ServiceUnavailable):
        registry.evaluations.create("default", "fraud", Draft(1, "n", new_id()), request=ONCE)

    assert list(registry.evaluations.page("default", "fraud", 0, "", False, after=None, limit=9)) == []
