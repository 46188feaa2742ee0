"""The numbers are those of scikit-learn and of MLflow."""

from __future__ import annotations

import warnings
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.linear_model import LinearRegression, LogisticRegression

from modelry._sdk.scoring import kinds
from modelry._sdk.scoring.predicting import Predictions

CHANCE = np.random.default_rng(7)
ROWS = 300
WEIGHTS = [np.ones(ROWS), CHANCE.integers(0, 4, ROWS).astype(float), CHANCE.random(ROWS)]


def shares_of(classes: int, ties: bool) -> np.ndarray:
    raw = CHANCE.random((ROWS, classes)) + 0.05
    raw = np.round(raw, 1) if ties else raw
    return np.asarray(raw / raw.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_have_the_metrics_of_scikit_learn(weights: np.ndarray, ties: bool) -> None:
    shares = shares_of(2, ties)
    true = np.where(CHANCE.random(ROWS) < 0.3 + 0.4 * shares[:, 1], "yes", "no")
    said = np.where(shares[:, 1] > 0.45, "yes", "no")

    found = kinds.classified(true, Predictions(said, shares, ["no", "yes"]), weights).score(weights)

    options: dict[str, Any] = {"sample_weight": weights}
    matrix = metrics.confusion_matrix(true, said, **options)
    assert found == pytest.approx(
        {
            "true_negatives": matrix[0, 0],
            "false_positives": matrix[0, 1],
            "false_negatives": matrix[1, 0],
            "true_positives": matrix[1, 1],
            "accuracy_score": metrics.accuracy_score(true, said, **options),
            "recall_score": metrics.recall_score(true, said, pos_label="yes", **options),
            "precision_score": metrics.precision_score(true, said, pos_label="yes", **options),
            "f1_score": metrics.f1_score(true, said, pos_label="yes", **options),
            "log_loss": metrics.log_loss(true, shares, **options),
            "roc_auc": metrics.roc_auc_score(true, shares[:, 1], **options),
            "precision_recall_auc": metrics.average_precision_score(true, shares[:, 1], pos_label="yes", **options),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("average", ["weighted", "macro", "micro"])
def test_more_classes_have_the_averages_of_scikit_learn(weights: np.ndarray, average: str) -> None:
    shares = shares_of(4, ties=False)
    said = shares.argmax(axis=1)
    true = np.where(CHANCE.random(ROWS) < 0.5, said, CHANCE.integers(0, 4, ROWS))

    scorer = kinds.classified(true, Predictions(said, shares, [0, 1, 2, 3]), weights, average=average)
    found = scorer.score(weights)

    options: dict[str, Any] = {"sample_weight": weights}
    expected = {
        "accuracy_score": metrics.accuracy_score(true, said, **options),
        "recall_score": metrics.recall_score(true, said, average=average, **options),
        "precision_score": metrics.precision_score(true, said, average=average, **options),
        "f1_score": metrics.f1_score(true, said, average=average, **options),
        "log_loss": metrics.log_loss(true, shares, **options),
    }
    if average != "micro":
        expected["roc_auc"] = metrics.roc_auc_score(true, shares, multi_class="ovr", average=average, **options)
        ones = np.eye(4)[true]
        expected["precision_recall_auc"] = metrics.average_precision_score(ones, shares, average=average, **options)
    assert found == pytest.approx(expected, rel=1e-9)
    assert ("roc_auc" in scorer.missing()) == (average == "micro")


def test_a_row_of_a_class_has_the_metrics_of_scikit_learn() -> None:
    shares = shares_of(3, ties=True)
    true, said = CHANCE.integers(0, 3, ROWS), shares.argmax(axis=1)

    rows = kinds.classified(true, Predictions(said, shares, [0, 1, 2]), np.ones(ROWS)).per_class()

    precision, recall, f1, support = metrics.precision_recall_fscore_support(true, said)
    for each, row in enumerate(rows):
        assert row["class"] == str(each)
        assert row["roc_auc"] == pytest.approx(metrics.roc_auc_score(true == each, shares[:, each]))
        found = [row[name] for name in ("precision_score", "recall_score", "f1_score", "support")]
        assert found == pytest.approx([precision[each], recall[each], f1[each], support[each]])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_regressor_has_the_metrics_of_scikit_learn(weights: np.ndarray) -> None:
    true = CHANCE.normal(size=ROWS)
    said = true + CHANCE.normal(size=ROWS)

    found = kinds.regressed(true, Predictions(said), weights).score(weights)

    options: dict[str, Any] = {"sample_weight": weights}
    assert found == pytest.approx(
        {
            "mean_absolute_error": metrics.mean_absolute_error(true, said, **options),
            "mean_squared_error": metrics.mean_squared_error(true, said, **options),
            "root_mean_squared_error": metrics.root_mean_squared_error(true, said, **options),
            "max_error": metrics.max_error(true[weights > 0], said[weights > 0]),
            "mean_absolute_percentage_error": metrics.mean_absolute_percentage_error(true, said, **options),
            "r2_score": metrics.r2_score(true, said, **options),
            "sum_on_target": (true * weights).sum(),
            "mean_on_target": np.average(true, weights=weights),
        },
        rel=1e-9,
    )


def test_a_ranker_has_the_ndcg_of_scikit_learn_and_the_other_metrics_by_their_definition() -> None:
    queries = np.repeat(np.arange(40), 9)
    chosen = CHANCE.permutation(len(queries))
    relevance, scores = CHANCE.integers(0, 3, len(queries)).astype(float), CHANCE.random(len(queries))
    relevance[queries == 0] = 0

    scorer = kinds.ranked(
        relevance[chosen], Predictions(scores[chosen]), np.ones(len(queries)), queries[chosen], k=[3, 20], seed=0
    )
    found = scorer.score(scorer.weights)

    expected: dict[str, list[float]] = {name: [] for name in found}
    for query in range(1, 40):
        true, said = relevance[queries == query], scores[queries == query]
        hits = true[np.argsort(-said)] > 0
        expected["mrr"].append(1 / (1 + int(np.argmax(hits))))
        for k in (3, 20):
            near = hits[:k]
            at = [near[: place + 1].mean() for place in np.flatnonzero(near)]
            expected[f"ndcg_at_{k}"].append(metrics.ndcg_score([true], [said], k=k))
            expected[f"map_at_{k}"].append(sum(at) / min(k, hits.sum()))
            expected[f"precision_at_{k}"].append(near.sum() / k)
            expected[f"recall_at_{k}"].append(near.sum() / hits.sum())
    assert found == pytest.approx({name: np.mean(values) for name, values in expected.items()})
    assert scorer.without_relevant == 1


def test_rows_of_a_query_with_equal_scores_get_no_order_from_the_data() -> None:
    relevance = np.tile([1.0] + [0.0] * 9, 2000)
    queries = np.repeat(np.arange(2000), 10)

    scorer = kinds.ranked(relevance, Predictions(np.zeros(20_000)), np.ones(20_000), queries, k=1, seed=3)

    assert scorer.score(scorer.weights)["precision_at_1"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_has_the_metrics_of_mlflow(tmp_path: Any, classes: int) -> None:
    features = pd.DataFrame(CHANCE.normal(size=(200, 3)), columns=["a", "b", "c"])
    target = np.digitize(features["a"] + 0.3 * CHANCE.normal(size=200), [0, 1][: classes - 1])
    model = LogisticRegression().fit(features, target)
    theirs = of_mlflow(model, features.assign(label=target), "classifier", tmp_path)

    predicted = Predictions(model.predict(features), model.predict_proba(features), list(model.classes_))
    found = kinds.classified(target, predicted, np.ones(200)).score(np.ones(200))

    both = found.keys() & theirs.keys()
    assert {name: found[name] for name in both} == pytest.approx({name: theirs[name] for name in both})
    assert theirs.keys() - both == {"example_count", "score"}


def test_a_regressor_has_the_metrics_of_mlflow(tmp_path: Any) -> None:
    features = pd.DataFrame(CHANCE.normal(size=(200, 3)), columns=["a", "b", "c"])
    target = features["a"].to_numpy() + 0.3 * CHANCE.normal(size=200)
    model = LinearRegression().fit(features, target)
    theirs = of_mlflow(model, features.assign(label=target), "regressor", tmp_path)

    found = kinds.regressed(target, Predictions(model.predict(features)), np.ones(200)).score(np.ones(200))

    both = found.keys() & theirs.keys()
    assert found == pytest.approx({name: theirs[name] for name in both})
    assert theirs.keys() - both == {"example_count", "score"}


MLFLOW_EVALUATE: Any = mlflow.models.evaluate


def of_mlflow(model: Any, frame: pd.DataFrame, kind: str, folder: Any) -> dict[str, float]:
    """What MLflow's own evaluate finds, in a store of its own."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.set_experiment(experiment_id=mlflow.create_experiment("e", str(folder / "a")))
            with mlflow.start_run():
                uri = mlflow.sklearn.log_model(model, name="model", pip_requirements=[]).model_uri
                config = {"log_model_explainability": False}
                found = MLFLOW_EVALUATE(uri, frame, targets="label", model_type=kind, evaluator_config=config)
    finally:
        mlflow.set_tracking_uri(before)
    return dict(found.metrics)
