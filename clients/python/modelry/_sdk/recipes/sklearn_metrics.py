"""Metrics of the training data with scikit-learn, by MLflow's names, and the pictures of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelry._sdk.autologging import plots
from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.models import Deadline

PREFIX = "training_"
_CONFUSION = f"{PREFIX}confusion_matrix.png"
_ROC = f"{PREFIX}roc_curve.png"
_PRECISION_RECALL = f"{PREFIX}precision_recall_curve.png"
PICTURES = (_CONFUSION, _ROC, _PRECISION_RECALL)
"""The files of the pictures."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of the training data. `probabilities` has a column for each of `classes`, None without them."""

    targets: Any
    labels: Any
    probabilities: Any
    classes: Any
    weights: Any


def of_classifier(given: Predictions, pos_label: Any) -> Mapping[str, Callable[[], float]]:
    """The metrics of a classifier: averages over the classes by weight, or of the class `pos_label`."""
    from sklearn import metrics

    true, said, weights = given.targets, given.labels, given.weights
    average: dict[str, Any] = {"average": "weighted"} if pos_label is None else {"pos_label": pos_label}
    options = {**average, "sample_weight": weights, "zero_division": 0}
    found: dict[str, Callable[[], float]] = {
        "precision_score": lambda: metrics.precision_score(true, said, **options),
        "recall_score": lambda: metrics.recall_score(true, said, **options),
        "f1_score": lambda: metrics.f1_score(true, said, **options),
        "accuracy_score": lambda: metrics.accuracy_score(true, said, sample_weight=weights),
    }
    shares = given.probabilities
    if shares is not None:
        found["log_loss"] = lambda: metrics.log_loss(true, shares, labels=given.classes, sample_weight=weights)
        by_class = {} if shares.shape[1] == 2 else {"multi_class": "ovr", "average": "weighted"}
        scores = shares[:, 1] if shares.shape[1] == 2 else shares
        found["roc_auc"] = lambda: metrics.roc_auc_score(true, scores, sample_weight=weights, **by_class)
    return found


def of_regressor(given: Predictions) -> Mapping[str, Callable[[], float]]:
    """The metrics of a regressor."""
    from sklearn import metrics

    pair, weight = (given.targets, given.labels), {"sample_weight": given.weights}
    return {
        "mean_squared_error": lambda: metrics.mean_squared_error(*pair, **weight),
        "mean_absolute_error": lambda: metrics.mean_absolute_error(*pair, **weight),
        "r2_score": lambda: metrics.r2_score(*pair, **weight),
        "root_mean_squared_error": lambda: metrics.mean_squared_error(*pair, **weight) ** 0.5,
    }


def log_metrics(fit: Fit, found: Mapping[str, Callable[[], float]], deadline: Deadline) -> None:
    """Logs those metrics that can be computed, such as no ROC AUC of a single class, until the deadline."""
    names = list(found)
    for name, compute in found.items():
        if deadline.left <= 0:
            raise TimeoutError(f"there was no time for {', '.join(names[names.index(name) :])}")
        value = fit.attempt(f"{PREFIX}{name} was", compute)
        if value is not None and value == value:
            fit.run.log_metric(PREFIX + name, value)


def log_pictures(fit: Fit, given: Predictions, deadline: Deadline) -> None:
    """Draws the confusion matrix, and for two classes with probabilities the ROC and precision-recall curves."""
    from sklearn import metrics

    if deadline.left <= 0:
        raise TimeoutError("there was no time for pictures")

    labels = given.classes if given.classes is not None else sorted(set(given.targets))
    counts = metrics.confusion_matrix(given.targets, given.labels, labels=labels, sample_weight=given.weights)
    fit.run.log_figure(plots.confusion_matrix(counts, labels), _CONFUSION)
    if given.probabilities is None or len(labels) != 2:
        return
    scores, weights = given.probabilities[:, 1], given.weights
    area = metrics.roc_auc_score(given.targets, scores, sample_weight=weights)
    fall_out, hits, _ = metrics.roc_curve(given.targets, scores, pos_label=labels[1], sample_weight=weights)
    figure = plots.curve(
        *(fall_out, hits),
        xlabel="false positive rate",
        ylabel="true positive rate",
        title=f"ROC of the training data, AUC {area:.4f}",
        diagonal=True,
    )
    fit.run.log_figure(figure, _ROC)
    precision, recall, _ = metrics.precision_recall_curve(
        given.targets, scores, pos_label=labels[1], sample_weight=weights
    )
    mean = metrics.average_precision_score(given.targets, scores, pos_label=labels[1], sample_weight=weights)
    title = f"Precision and recall of the training data, AP {mean:.4f}"
    figure = plots.curve(recall, precision, xlabel="recall", ylabel="precision", title=title)
    fit.run.log_figure(figure, _PRECISION_RECALL)
