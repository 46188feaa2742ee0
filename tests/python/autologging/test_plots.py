"""Pictures of fits: each name stands where its class or feature is, and nothing is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from modelry._sdk.autologging import plots

LONG = [f"a class with a rather long name, number {number}" for number in range(12)]


def drawn(figure: Any) -> Any:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return figure.axes[0]


def named(axis: Any) -> dict[float, Any]:
    """The labels of an axis by their places, without those that lie beyond its ends."""
    low, high = sorted(axis.get_view_interval())
    return {
        at: label for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if low <= at <= high
    }


@pytest.mark.parametrize("classes", [[0, 1], list(range(101, 141)), [f"c{number}" for number in range(95)], LONG])
def test_each_class_that_is_named_stands_at_its_cell(classes: list[Any]) -> None:
    axes = drawn(plots.confusion_matrix(np.eye(len(classes)), classes))

    for axis in (axes.xaxis, axes.yaxis):
        texts = {round(at): label.get_text() for at, label in named(axis).items()}
        assert texts == {at: plots.shortened(str(classes[at]), 30) for at in texts}
        assert 1 < len(texts) <= 30


def test_a_count_is_dark_by_its_size_and_not_by_that_of_the_others() -> None:
    axes = drawn(plots.confusion_matrix(np.array([[15_029.0, 15_030.0], [15_030.0, 15_031.0]]), ["a", "b"]))

    assert axes.images[0].get_clim() == (0, 15_031)


@pytest.mark.parametrize(
    "figure",
    [
        plots.confusion_matrix(np.eye(2), ["a", "b"]),
        plots.confusion_matrix(np.eye(12), LONG),
        plots.importances({name: 1.0 for name in LONG}, "Mean size of SHAP values of the output of the model"),
        plots.curve([0, 1], [0, 1], xlabel="x", ylabel="y", title="A title of many words about what the curve says"),
    ],
)
def test_titles_and_names_are_within_the_picture(figure: Any) -> None:
    axes = drawn(figure)

    labels = [*named(axes.xaxis).values(), *named(axes.yaxis).values(), axes.xaxis.label, axes.yaxis.label]
    texts = [figure._suptitle, *labels]
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_features_with_the_same_beginning_are_told_apart() -> None:
    axes = drawn(plots.importances({name: 1.0 for name in LONG}, "Importances"))

    assert len({label.get_text() for label in axes.get_yticklabels()}) == len(LONG)
