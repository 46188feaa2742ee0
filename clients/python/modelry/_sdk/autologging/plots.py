"""Pictures of a fit, drawn with Matplotlib's objects: no state of pyplot, and no window system, has a part in them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

_MOST_CLASSES = 30
_MOST_BARS = 30


def can_draw() -> bool:
    """Whether Matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def confusion_matrix(counts: Any, labels: Sequence[Any], title: str = "Confusion matrix of the training data") -> Any:
    """A confusion matrix with a row for each true class. `counts` has the shape (classes, classes)."""
    size = max(4.0, min(12.0, 1.5 + 0.6 * len(labels)))
    figure, axes = frame(size, size)
    image = axes.imshow(counts, cmap="Blues")
    figure.colorbar(image, ax=axes, shrink=0.8)
    ticks = range(len(labels))
    if len(labels) <= _MOST_CLASSES:
        axes.set_xticks(ticks, [str(each) for each in labels], rotation=45, ha="right")
        axes.set_yticks(ticks, [str(each) for each in labels])
        half = counts.max() / 2
        for row in ticks:
            for column in ticks:
                color = "white" if counts[row, column] > half else "black"
                axes.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=color)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return figure


def curve(x: Any, y: Any, *, xlabel: str, ylabel: str, title: str, diagonal: bool = False) -> Any:
    """A curve in the unit square, such as ROC."""
    figure, axes = frame(5, 5)
    if diagonal:
        axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    axes.plot(x, y, drawstyle="steps-post" if not diagonal else "default")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel, title=title)
    return figure


def importances(values: dict[str, float], title: str) -> Any:
    """The features with the highest importances, at most 30, as bars."""
    best = sorted(values.items(), key=lambda each: each[1])[-_MOST_BARS:]
    figure, axes = frame(7, max(2.0, 0.8 + 0.28 * len(best)))
    axes.barh([name[:60] for name, _ in best], [value for _, value in best])
    left_out = len(values) - len(best)
    axes.set(title=title, xlabel="importance" + (f" ({left_out} further features left out)" if left_out else ""))
    return figure


def frame(width: float, height: float) -> tuple[Any, Any]:
    """A figure of a size in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
