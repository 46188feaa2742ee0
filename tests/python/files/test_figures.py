"""What belongs to a figure is logged as this figure; what can't be drawn is told."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from modelry._sdk.files.figures import of_figure
from modelry.errors import InvalidArgument


def drawn() -> tuple[Figure, Any]:
    figure = Figure()
    axes = figure.subplots(2, 2)
    axes[0, 0].plot([1, 2, 3])
    return figure, axes


def test_whatever_belongs_to_a_figure_is_this_figure() -> None:
    figure, axes = drawn()
    given = [
        *(figure, axes, axes[0, 0], axes[0], list(axes.flat), (figure, axes), {"a": axes[0, 0], "b": axes[1, 1]}),
        axes[0, 0].lines[0],
        axes[0, 0].lines,
    ]

    pictures = [np.asarray(Image.open(io.BytesIO(of_figure(each, "a.png")[0]))) for each in given]

    assert all(np.array_equal(pictures[0], each) for each in pictures)
    assert len(np.unique(pictures[0])) > 10


def test_axes_of_a_figure_in_a_figure_are_of_the_outer_one() -> None:
    figure = Figure()
    inner: Any = figure.subfigures(1, 2)

    content, _ = of_figure(inner[0].subplots(), "a.png")

    assert content == of_figure(figure, "a.png")[0]


def test_a_display_of_scikit_learn_is_its_figure() -> None:
    from sklearn.metrics import ConfusionMatrixDisplay

    shown = ConfusionMatrixDisplay(np.eye(2)).plot(ax=Figure().subplots())

    assert of_figure(shown, "a.svg")[0].startswith(b"<?xml")


def test_a_figure_on_which_nothing_is_drawn_is_told() -> None:
    assert "before plt.show" in of_figure(Figure(), "a.png")[1]
    assert of_figure(drawn()[0], "a.png")[1] == ""


def test_axes_of_several_figures_and_removed_ones_are_refused() -> None:
    removed = Figure().subplots()
    removed.remove()

    with pytest.raises(InvalidArgument, match="2 figures; log each"):
        of_figure([drawn()[1], drawn()[1]], "a.png")
    with pytest.raises(InvalidArgument, match="belong to no figure"):
        of_figure(removed, "a.png")


@pytest.mark.parametrize("given", [np.zeros((5, 5)), None, "a.png", [], {}, object(), [1, 2]])
def test_what_is_no_figure_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="a figure or axes of Matplotlib"):
        of_figure(given, "a.png")


def test_an_extension_that_matplotlib_does_not_know_is_told_with_those_that_it_knows() -> None:
    with pytest.raises(ValueError, match="png"):
        of_figure(drawn()[0], "a.xyz")
