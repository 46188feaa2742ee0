"""What is not of the kind that a log function takes is told with the reason and with what would be right, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import modelry
from modelry import Client

pytestmark = pytest.mark.usefixtures("fluent")

PICTURE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
MASKED = np.ma.masked_array(PICTURE, PICTURE > 100)
SOUND = np.sin(np.arange(800.0))
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20) + b"data" + bytes(8)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "image, step is a text": (lambda: modelry.log_image(PICTURE, key="k", step="x"), "the step is 'x'; give a whole"),  # type: ignore[arg-type]
    "image, step is NaN": (lambda: modelry.log_image(PICTURE, key="k", step=float("nan")), "the step is nan"),  # type: ignore[arg-type]
    "image, step is a fraction": (lambda: modelry.log_image(PICTURE, key="k", step=1.5), "the step is 1.5"),  # type: ignore[arg-type]
    "image, step is huge": (lambda: modelry.log_image(PICTURE, key="k", step=2**70), "give a whole number"),
    "image, step is a list": (lambda: modelry.log_image(PICTURE, key="k", step=[1]), "the step is [1]"),  # type: ignore[arg-type]
    "image is masked": (lambda: modelry.log_image(MASKED, "a.png"), "6 of 12 are masked; say what they are"),
    "image is None": (lambda: modelry.log_image(None, "a.png"), "has the shape (height, width)"),
    "image is a number": (lambda: modelry.log_image(5, "a.png"), "has the shape (height, width)"),
    "image has no dimension": (lambda: modelry.log_image(np.array(5), "a.png"), "has the shape (height, width)"),
    "image is a dictionary": (lambda: modelry.log_image({"a": 1}, "a.png"), "has the shape (height, width)"),
    "image has texts": (lambda: modelry.log_image(np.array([["a"]]), "a.png"), "an image array holds numbers, not <U1"),
    "image is ragged": (lambda: modelry.log_image([[1, 2], [3]], "a.png"), "can't be read as an image array"),
    "sound has a header only": (
        lambda: modelry.log_audio(b"RIFFxx", "a.wav"),
        "begins as a WAV file, and has no sound",
    ),
    "sound of a key has a header only": (
        lambda: modelry.log_audio(b"fLaC", key="k"),
        "begins as FLAC, and ends after 4",
    ),
    "sound is empty": (lambda: modelry.log_audio(b"", "a.wav"), "it is empty; give samples"),
    "sound is of another format": (lambda: modelry.log_audio(WAV, "a.mp3"), "it is WAV; give samples"),
    "sound is any file": (lambda: modelry.log_audio(__file__, "a.wav"), "it begins otherwise; give samples"),
    "sound is masked": (
        lambda: modelry.log_audio(np.ma.masked_greater(SOUND, 0), "a.wav", sample_rate=8000),
        "are masked",
    ),
    "sound, step is a text": (lambda: modelry.log_audio(SOUND, key="k", step="x", sample_rate=8000), "the step is 'x'"),  # type: ignore[arg-type]
    "sound is None": (lambda: modelry.log_audio(None, "a.wav", sample_rate=8000), "samples have the shape"),
    "figure is None": (lambda: modelry.log_figure(None, "a.png"), "figure must be a figure or axes of Matplotlib"),
    "figure is a number": (lambda: modelry.log_figure(5, "a.png"), "not int; log an array with log_image"),
    "text is None": (lambda: modelry.log_text(None, "a.txt"), "the text is None; give a text"),  # type: ignore[arg-type]
    "dictionary is None": (lambda: modelry.log_dict(None, "a.json"), "None of type NoneType is no dictionary or list"),
    "dictionary is a number": (lambda: modelry.log_dict(5, "a.json"), "5 of type int is no dictionary or list"),
    "dictionary is a text": (lambda: modelry.log_dict("x", "a.yaml"), "write a text with log_text"),
    "dictionary is any object": (
        lambda: modelry.log_dict(object(), "a.json"),
        "of type object is no dictionary or list",
    ),
    "table is None": (lambda: modelry.log_table(None, "a.json"), "a table is a dictionary of columns"),
    "table is a number": (lambda: modelry.log_table(5, "a.json"), "not int"),
    "table is a text": (lambda: modelry.log_table("abc", "a.json"), "not str"),
    "table is a list of numbers": (lambda: modelry.log_table([1, 2], "a.json"), "not list"),
    "table is an array": (lambda: modelry.log_table(np.ones((2, 2)), "a.json"), "not ndarray"),
    "table is ragged": (lambda: modelry.log_table({"a": [1, 2], "b": [1]}, "a.json"), "same length"),
    "input is a number": (lambda: modelry.log_input(5), "int is not a dataset"),
    "input is None": (lambda: modelry.log_input(None), "NoneType is not a dataset"),
    "input is a dictionary": (lambda: modelry.log_input({}), "create one with modelry.data.from_pandas"),
    "input is not there": (lambda: modelry.log_input("/nowhere/at/all"), "No such file or directory"),
    "metric, step is a text": (lambda: modelry.log_metric("m", 1, step="x"), "at step 'x'"),  # type: ignore[arg-type]
    "metric, step is NaN": (lambda: modelry.log_metric("m", 1, step=float("nan")), "at a whole number as step"),  # type: ignore[arg-type]
    "metric, step is huge": (lambda: modelry.log_metric("m", 1, step=2**70), "at a whole number as step"),
    "metric is None": (lambda: modelry.log_metric("m", None), "with value None"),  # type: ignore[arg-type]
    "metrics are a number": (lambda: modelry.log_metrics(5), "must be a mapping from keys to values"),  # type: ignore[arg-type]
    "params are a number": (lambda: modelry.log_params(5), "must be a mapping from keys to values"),  # type: ignore[arg-type]
}

ACCEPTED: dict[str, Callable[[], Any]] = {
    "images/k-step--1-": lambda: modelry.log_image(PICTURE, key="k", step=-1),
    "images/k-step-3-": lambda: modelry.log_image(PICTURE, key="k", step=np.int64(3)),  # type: ignore[arg-type]
    "images/k-step-4-": lambda: modelry.log_image(PICTURE, key="k", step=4.0),  # type: ignore[arg-type]
    "images/5-step-0-": lambda: modelry.log_image(PICTURE, key=5),  # type: ignore[arg-type]
    "unmasked.png": lambda: modelry.log_image(np.ma.masked_array(PICTURE), "unmasked.png"),
    "whole.wav": lambda: modelry.log_audio(WAV, "whole.wav"),
    "any.m4a": lambda: modelry.log_audio(b"of a format that nobody knows here", "any.m4a"),
    "number.txt": lambda: modelry.log_text(5, "number.txt"),  # type: ignore[arg-type]
    "empty.txt": lambda: modelry.log_text("", "empty.txt"),
    "set.json": lambda: modelry.log_dict(set(), "set.json"),
    "rows.json": lambda: modelry.log_table([], "rows.json"),
}


def test_what_is_of_another_kind_is_told_and_leaves_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {}
    for name, (log, said) in REFUSED.items():
        with modelry.start_run() as run:
            caplog.clear()
            log()
            modelry.flush(10)
        told = [each.getMessage() for each in caplog.records if "not recorded: " in each.getMessage()]
        kept = client.runs.get(run.run_id)
        files = [
            each.path for each in client.artifacts.list(f"runs/{run.run_id}") if not each.path.startswith("modelry")
        ]
        if len(told) != 1 or said not in told[0] or kept.metrics or kept.params or files:
            wrong[name] = (told, kept.metrics, kept.params, files)

    assert not wrong


def test_what_can_be_read_as_the_kind_is_taken(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with modelry.start_run() as run:
        for log in ACCEPTED.values():
            log()
        modelry.flush(30)

    owner = f"runs/{run.run_id}"
    found = [each.path for each in client.artifacts.list(owner)]
    found += [each.path for each in client.artifacts.list(owner, "images")]
    assert [begin for begin in ACCEPTED if not any(path.startswith(begin) for path in found)] == []
    assert "not recorded" not in caplog.text
