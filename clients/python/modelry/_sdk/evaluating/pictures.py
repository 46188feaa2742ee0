"""Pictures of an evaluation, drawn with Matplotlib's objects: no state of pyplot has a part in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.autologging import plots
from modelry._sdk.evaluating.classifying import Classified
from modelry._sdk.evaluating.regressing import Regressed

if TYPE_CHECKING:
    from modelry._sdk.evaluating.ranking_curves import Ordered
    from modelry._sdk.evaluating.scoring import Floats, Scorer

_MOST_CURVES = 10
_MOST_POINTS = 1000
_BINS = 10
_STEPS = 20


def pictures(scorer: Scorer) -> Iterator[tuple[str, Any]]:
    """The pictures of a kind of model, by the names of files; MLflow's names where it has the picture."""
    if isinstance(scorer, Classified):
        yield (
            "confusion_matrix.png",
            plots.confusion_matrix(scorer.matrix(scorer.weights), scorer.labels, "Confusion matrix"),
        )
        yield from _of_shares(scorer)
        yield from _of_gains(scorer)
    elif isinstance(scorer, Regressed):
        yield from _of_errors(scorer)


def calibration(scorer: Classified) -> list[dict[str, float]]:
    """How often the positive class came, in ten groups of rows with about equal probabilities; by weights."""
    if scorer.shares is None or scorer.positive is None:
        return []
    shares, true = scorer.shares[:, scorer.positive], scorer.targets == scorer.positive
    edges = np.unique(np.quantile(shares, np.linspace(0, 1, _BINS + 1)))
    group = np.searchsorted(edges[1:-1], shares, side="right")
    total = np.bincount(group, weights=scorer.weights)
    said = np.bincount(group, weights=scorer.weights * shares)
    came = np.bincount(group, weights=scorer.weights * true)
    return [
        {
            "rows_weight": float(total[at]),
            "mean_probability": said[at] / total[at],
            "share_positive": came[at] / total[at],
        }
        for at in np.flatnonzero(total > 0)
    ]


def gains(scorer: Classified) -> list[dict[str, float]]:
    """Gain and lift of the rows with the highest probabilities of the positive class, in steps of 5 % of the rows.

    `gain` is the share of all positive rows that is among them, `lift` how many times as many that is as by chance.
    Rows count by weights; of rows with equal probabilities a part is taken, as if in an order by chance. Empty for more
    than two classes, without probabilities, and for data of one class.
    """
    curve = _of_positive(scorer)
    if curve is None:
        return []
    rows, found = curve.gain(scorer.weights)
    steps = np.arange(1, _STEPS + 1) / _STEPS
    return [
        {"share_of_rows": float(share), "gain": float(gain), "lift": float(gain / share)}
        for share, gain in zip(steps, np.interp(steps, rows, found), strict=True)
    ]


def _of_positive(scorer: Classified) -> Ordered | None:
    """The curve of the positive class, None where there is none."""
    if scorer.positive is None or scorer.shares is None:
        return None
    counted = np.bincount(scorer.targets, weights=scorer.weights, minlength=len(scorer.labels))
    return scorer.curves[scorer.positive] if (counted > 0).all() else None


def _of_gains(scorer: Classified) -> Iterator[tuple[str, Any]]:
    """Lift and gain, for two classes."""
    curve = _of_positive(scorer)
    if curve is None:
        return
    name = str(scorer.labels[scorer.positive or 0])[:30]
    for kind, of, none in (("lift", curve.lift, [1, 1]), ("gain", curve.gain, [0, 1])):
        figure, axes = plots.frame(5.5, 5)
        axes.plot([0, 1], none, linestyle="--", color="grey", linewidth=1, label="by chance")
        axes.plot(*_thinned(*of(scorer.weights)), label=name)
        axes.set(xlabel="share of rows, the most probable first", ylabel=kind, title=kind.capitalize())
        axes.legend(fontsize="small")
        yield f"{kind}_curve_plot.png", figure


def _of_shares(scorer: Classified) -> Iterator[tuple[str, Any]]:
    counted = np.bincount(scorer.targets, weights=scorer.weights, minlength=len(scorer.labels))
    drawn = [(each, curve) for each, curve in scorer.curves.items() if 0 < counted[each] < counted.sum()][:_MOST_CURVES]
    if not drawn:
        return
    figure, axes = plots.frame(5.5, 5)
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    for each, curve in drawn:
        area = curve.areas(scorer.weights)[0]
        axes.plot(*_thinned(*curve.roc(scorer.weights)), label=f"{str(scorer.labels[each])[:30]}, AUC {area:.4f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    axes.legend(loc="lower right", fontsize="small")
    yield "roc_curve_plot.png", figure
    figure, axes = plots.frame(5.5, 5)
    for each, curve in drawn:
        area = curve.areas(scorer.weights)[1]
        axes.plot(
            *_thinned(*curve.precision_recall(scorer.weights)), label=f"{str(scorer.labels[each])[:30]}, AUC {area:.4f}"
        )
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall", ylim=(-0.02, 1.02))
    axes.legend(loc="lower left", fontsize="small")
    yield "precision_recall_curve_plot.png", figure
    if points := calibration(scorer):
        figure, axes = plots.frame(5.5, 5)
        axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
        axes.plot(
            [each["mean_probability"] for each in points], [each["share_positive"] for each in points], marker="o"
        )
        axes.set(xlabel="mean predicted probability", ylabel="share of the positive class", title="Calibration")
        yield "calibration_curve_plot.png", figure


def _of_errors(scorer: Regressed) -> Iterator[tuple[str, Any]]:
    some = slice(None)
    if scorer.units > _MOST_POINTS:
        some = np.random.default_rng(0).choice(scorer.units, _MOST_POINTS, replace=False)  # type: ignore[assignment]
    targets, said = scorer.targets[some], scorer.said[some]
    note = f" ({len(said)} of {scorer.units} rows)" if len(said) < scorer.units else ""
    figure, axes = plots.frame(6, 5)
    axes.scatter(said, targets - said, s=8, alpha=0.5)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(xlabel="predicted", ylabel="residual (true less predicted)", title=f"Residuals{note}")
    yield "residuals_plot.png", figure
    figure, axes = plots.frame(5.5, 5)
    axes.scatter(targets, said, s=8, alpha=0.5)
    ends = [min(targets.min(), said.min()), max(targets.max(), said.max())]
    axes.plot(ends, ends, linestyle="--", color="grey", linewidth=1)
    axes.set(xlabel="true", ylabel="predicted", title=f"Predicted and true values{note}")
    yield "predicted_and_true_plot.png", figure


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= _MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).astype(int))
    return x[kept], y[kept]
