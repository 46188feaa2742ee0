"""Pictures of a fit, drawn with Matplotlib's objects: no state of pyplot, and no window system, has a part in them."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Sequence
from typing import Any

_MOST_CLASSES = 30
_MOST_BARS = 30
_LONGEST_CLASS = 30
_LONGEST_FEATURE = 40
_LETTER, _TITLE_LETTER = 0.085, 0.1
"""About the width of a letter, in inches."""


def can_draw() -> bool:
    """Whether Matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def confusion_matrix(counts: Any, labels: Sequence[Any], title: str = "Confusion matrix of the training data") -> Any:
    """A confusion matrix with a row for each true class. `counts` has the shape (classes, classes).

    Of more than 30 classes only some are named, and the cells have no numbers.
    """
    some = range(0, len(labels), math.ceil(len(labels) / _MOST_CLASSES) or 1)
    names = [shortened(str(labels[each]), _LONGEST_CLASS) for each in some]
    side = max(3.0, min(10.0, 0.6 * len(labels)))
    beside = _LETTER * max(map(len, names), default=0)
    figure, axes = frame(side + beside + 1.8, side + beside + 1.0, title)
    image = axes.imshow(counts, cmap="Blues", vmin=0)
    figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xticks(some, names, rotation=45, ha="right")
    axes.set_yticks(some, names)
    if len(some) == len(labels):
        half = counts.max() / 2
        for row in some:
            for column in some:
                color = "white" if counts[row, column] > half else "black"
                axes.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=color)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def curve(x: Any, y: Any, *, xlabel: str, ylabel: str, title: str, diagonal: bool = False) -> Any:
    """A curve in the unit square, such as ROC."""
    figure, axes = frame(5, 5, title)
    if diagonal:
        axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    axes.plot(x, y, drawstyle="steps-post" if not diagonal else "default")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=xlabel, ylabel=ylabel)
    return figure


def importances(values: dict[str, float], title: str) -> Any:
    """The features with the highest importances, at most 30, as bars."""
    best = sorted(values.items(), key=lambda each: each[1])[-_MOST_BARS:]
    names = [shortened(name, _LONGEST_FEATURE) for name, _ in best]
    figure, axes = frame(5 + _LETTER * max(map(len, names), default=0), max(2.0, 1.1 + 0.28 * len(best)), title)
    axes.barh(range(len(best)), [value for _, value in best])
    axes.set_yticks(range(len(best)), names)
    axes.margins(y=0.01)
    left_out = len(values) - len(best)
    axes.set(xlabel="importance" + (f" ({left_out} further features left out)" if left_out else ""))
    return figure


def frame(width: float, height: float, title: str = "") -> tuple[Any, Any]:
    """A figure of a size in inches, with a title above all of it, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(textwrap.fill(title, max(10, int(width / _TITLE_LETTER))))
    return figure, figure.subplots()


def shortened(name: str, longest: int) -> str:
    """A name of a class or feature that fits beside an axis, in one line: its beginning and its end."""
    name, end = " ".join(name.split()), longest // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"
