"""Pictures of an evaluation, drawn with Matplotlib's objects: no state of pyplot has a part in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.autologging import plots
from modelry._sdk.scoring.classifying import Classified
from modelry._sdk.scoring.regressing import Regressed

if TYPE_CHECKING:
    from modelry._sdk.scoring.explaining import Explained
    from modelry._sdk.scoring.ranking_curves import Ordered
    from modelry._sdk.scoring.scoring import Floats, Scorer

_MOST_CURVES = 10
_MOST_FEATURES = 20
_MOST_POINTS = 1000
_BINS = 10
_STEPS = 20


def pictures(scorer: Scorer | None, explained: Explained | None = None) -> Iterator[tuple[str, Any]]:
    """The pictures of a kind of model, by the names of files; MLflow's names where it has the picture."""
    if explained is not None:
        yield from _of_explanations(explained)
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


def _of_explanations(found: Explained) -> Iterator[tuple[str, Any]]:
    """The importances as bars, and for each output the SHAP values of the rows, a line of points for each feature."""
    means = {row["feature"]: row["mean_abs_shap_value"] for row in found.table()}
    yield "shap_feature_importance_plot.png", plots.importances(means, f"Mean size of SHAP values of the {found.of}")
    for at, name in enumerate(found.outputs):
        suffix = f"_{at}" if len(found.outputs) > 1 else ""
        yield f"shap_beeswarm_plot{suffix}.png", _swarm(found, found.values[:, :, at], name)


def _swarm(found: Explained, values: Floats, output: str) -> Any:
    """A line of points for each feature, spread where many are at a place. Color is the value, grey a missing one."""
    import matplotlib

    best = np.argsort(np.abs(values).mean(axis=0), kind="stable")[-_MOST_FEATURES:]
    names = [plots.shortened(found.names[each], 40) for each in best]
    title = f"SHAP values{f' of {output[:30]}' if output else ''}"
    figure, axes = plots.frame(5.5 + 0.085 * max(map(len, names)), max(2.5, 1.5 + 0.3 * len(best)), title)
    axes.axvline(0, color="grey", linewidth=1)
    span = float(np.ptp(values[:, best])) or 1.0
    colors, drawn = matplotlib.colormaps["coolwarm"].with_extremes(bad="grey"), None
    for line, feature in enumerate(best.tolist()):
        own = found.features[:, feature]
        known = own[np.isfinite(own)]
        low, high = np.quantile(known, [0.05, 0.95]) if len(known) else (0.0, 1.0)
        color = np.clip((own - low) / ((high - low) or 1.0), 0, 1)
        drawn = axes.scatter(
            values[:, feature],
            line + _spread(values[:, feature], span / 100),
            c=color,
            cmap=colors,
            vmin=0,
            vmax=1,
            s=9,
            plotnonfinite=True,
        )
    axes.set_yticks(range(len(best)), names)
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 1], aspect=40)
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("value of the feature")
    axes.set(xlabel=f"SHAP value ({found.of})")
    return figure


def _spread(values: Floats, width: float) -> Floats:
    """How far points of about the same value lie from their line: by turns above and below it, at most 0.4."""
    places = np.round(values / width).astype(np.int64)
    _, group, counts = np.unique(places, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    rank = np.empty(len(values))
    rank[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    steps = np.ceil(rank / 2) * np.where(rank % 2 == 0, 1, -1)
    spread: Floats = 0.8 * steps / max(int(counts.max()), 10)
    return spread


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= _MOST_POINTS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).astype(int))
    return x[kept], y[kept]
