"""Pictures, tables and sound of the libraries that people draw, compute and listen with."""

from __future__ import annotations

import io
import json
from typing import Any

import altair
import jax.numpy
import numpy as np
import plotly.graph_objects
import polars
import pytest
import seaborn
import seaborn.objects
import soundfile
from matplotlib.figure import Figure
from PIL import Image

import modelry
from modelry import Client
from modelry._sdk.files.audio import of_audio
from modelry._sdk.files.figures import of_figure
from modelry._sdk.files.images import of_image
from modelry.errors import InvalidArgument

FRAME = polars.DataFrame({"a": [1, 2, 3, 4], "b": [4.0, 3.0, 2.0, 1.0], "c": ["x", "y", "x", "y"]})


@pytest.mark.filterwarnings("ignore:The copy keyword is deprecated")  # seaborn, of pandas 3
@pytest.mark.parametrize(
    "draw",
    [
        lambda frame: seaborn.FacetGrid(frame, col="c").map(seaborn.scatterplot, "a", "b"),
        lambda frame: seaborn.JointGrid(frame, x="a", y="b").plot(seaborn.scatterplot, seaborn.histplot),
        lambda frame: seaborn.PairGrid(frame[["a", "b"]]).map(seaborn.scatterplot),
        lambda frame: seaborn.scatterplot(frame, x="a", y="b", ax=Figure().subplots()),
        lambda frame: seaborn.objects.Plot(frame, x="a", y="b").add(seaborn.objects.Dot()),
    ],
    ids=["FacetGrid", "JointGrid", "PairGrid", "axes", "Plot"],
)
def test_what_seaborn_draws_is_not_blank(draw: Any) -> None:

    content, note = of_figure(draw(FRAME.to_pandas()), "a.png")

    assert len(np.unique(np.asarray(Image.open(io.BytesIO(content))))) > 10
    assert note == ""


def test_plotly_is_a_page_or_json_and_says_what_a_picture_needs() -> None:
    figure = plotly.graph_objects.Figure(plotly.graph_objects.Scatter(x=[1, 2], y=[3, 4]))

    page, _ = of_figure(figure, "a.html")
    alone, _ = of_figure(figure, "a.html", include_plotlyjs=True)

    assert b"cdn.plot.ly" in page
    assert len(alone) > 10**6 > len(page)
    assert json.loads(of_figure(figure, "a.json")[0])["data"][0]["type"] == "scatter"
    with pytest.raises(InvalidArgument, match="pip install kaleido"):
        of_figure(figure, "a.png")


def test_altair_is_a_page_or_json_and_says_what_a_picture_needs() -> None:
    chart = altair.Chart(FRAME).mark_point().encode(x="a", y="b")

    for given in (chart, chart | chart, chart + chart):
        assert b"vega" in of_figure(given, "a.html")[0]
        assert "$schema" in json.loads(of_figure(given, "a.json")[0])
    with pytest.raises(InvalidArgument, match="vl-convert-python"):
        of_figure(chart, "a.png")


@pytest.mark.parametrize(
    "kind", ["bool_", "uint8", "int8", "uint16", "int32", "float16", "bfloat16", "float32", "float8_e4m3fn", "int4"]
)
def test_tensors_of_jax_of_any_type_are_pictures(kind: str) -> None:
    ramp = np.arange(8).reshape(2, 4)
    given = jax.numpy.asarray(ramp / 7 if "float" in kind else ramp, getattr(jax.numpy, kind))

    pixels = np.asarray(Image.open(io.BytesIO(of_image(given, "a.png")[0])))

    expected = {"bool_": (ramp > 0) * 255}.get(kind, ramp / 7 * 255 if "float" in kind else ramp)
    assert np.abs(pixels - expected).max() <= (9 if kind == "float8_e4m3fn" else 1)


@pytest.mark.parametrize("ending", ["flac", "ogg"])
def test_sound_in_other_formats_is_heard_again(ending: str) -> None:
    tone = np.stack([np.sin(np.arange(8000) / 10), np.cos(np.arange(8000) / 20)], axis=1) / 2

    samples, rate = soundfile.read(io.BytesIO(of_audio(tone, f"a.{ending}", 8000)[0]))

    assert (samples.shape, rate) == (tone.shape, 8000)
    assert np.abs(samples - tone).max() < (0.001 if ending == "flac" else 0.2)
    assert np.array_equal(soundfile.read(io.BytesIO(of_audio(tone.T, "a.wav", 8000)[0]))[0].shape, tone.shape)


def test_a_format_that_soundfile_does_not_know_is_told() -> None:
    with pytest.raises(InvalidArgument, match="can't be written as 'xyz'"):
        of_audio(np.zeros(10), "a.xyz", 8000)


@pytest.mark.usefixtures("fluent")
def test_tables_of_polars_and_arrow_are_tables(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.log_table(FRAME, "t.json")
        modelry.log_table(FRAME.to_arrow(), "t.json")

    assert client.artifacts.read_table(f"runs/{run.run_id}", "t.json")["c"].tolist() == ["x", "y"] * 4
