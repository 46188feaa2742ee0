"""What is not recorded is told for each run, kind and key, without flooding the log."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import modelry
from modelry._sdk.recording.refusals import Refusals
from tests.parts.deployment import Deployment

WHY = "there would be too many params"


def told(refusals: Refusals, caplog: pytest.LogCaptureFixture, run_id: str, keys: list[str]) -> list[str]:
    before = len(caplog.messages)
    with caplog.at_level(logging.WARNING, "modelry"):
        for key in keys:
            refusals.warn("param", key, WHY, run_id=run_id)
    return caplog.messages[before:]


def test_one_sentence_about_many_keys_is_said_once_with_its_run_and_then_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()

    first, more = told(refusals, caplog, "r1", [f"p{number}" for number in range(1000)])
    with caplog.at_level(logging.WARNING, "modelry"):
        refusals.summarize("r1")

    assert first.startswith(f"not recorded: p0: {WHY} (run r1; later cases")
    assert more.startswith(f"not recorded: more than 20, such as p0, p1, p2: {WHY} (run r1;")
    assert caplog.messages[-1].startswith("not recorded in total, param of run r1: p0 1 time, p1 1 time,")
    assert caplog.messages[-1].endswith("others 980 times")


def test_each_run_and_each_kind_is_told_on_its_own(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    told(refusals, caplog, "r1", [f"p{number}" for number in range(1000)])

    (later,) = told(refusals, caplog, "r2", ["p0"])

    assert later.startswith(f"not recorded: p0: {WHY} (run r2; later cases")


def test_what_was_told_in_full_is_not_summarized(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    told(refusals, caplog, "r1", ["p0"])

    before = len(caplog.messages)
    refusals.summarize()

    assert len(caplog.messages) == before


def test_the_refused_tags_of_a_later_run_are_told_when_it_ends(
    platform: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(platform.address)
    with caplog.at_level(logging.WARNING, "modelry"):
        for _ in range(2):
            with modelry.start_run() as run:
                modelry.set_tags({f"t{number:03}" + "k" * 200: "v" * 6000 for number in range(200)})
                assert modelry.flush(60) is False

    of_last = [text for text in caplog.messages if run.id in text]
    assert len(of_last) == 3
    assert of_last[0].startswith("not recorded: 't")
    assert of_last[1].startswith("not recorded: more than 20, such as 't")
    assert of_last[2].startswith("not recorded in total, param or tag (LIMIT_REACHED) of run")


def test_another_reason_at_the_same_key_is_told_and_the_same_one_with_other_numbers_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals()

    with caplog.at_level(logging.WARNING, "modelry"):
        for text in (
            "no picture",
            "its shape is (4, 16)",
            "its shape is (8, 32)",
            "a value is -1.5e-3",
            "no picture",
        ):
            refusals.warn("file", "x1.png", f"file x1.png: {text}", run_id="r1")
        refusals.summarize("r1")

    assert [text.partition(" (run")[0] for text in caplog.messages] == [
        "not recorded: file x1.png: no picture",
        "not recorded: file x1.png: its shape is (4, 16)",
        "not recorded: file x1.png: a value is -1.5e-3",
        "not recorded in total, file of run r1: x1.png 5 times",
    ]


def test_ever_new_reasons_at_one_key_are_told_five_times_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()

    with caplog.at_level(logging.WARNING, "modelry"):
        for letter in "abcdefghijklmnopqrstuvwxyz":
            refusals.warn("metric", "loss", f"the value is {letter}", run_id="r1")
        refusals.summarize("r1")

    assert len(caplog.messages) == 6
    assert caplog.messages[-1] == "not recorded in total, metric of run r1: loss 26 times"


def test_every_mistake_at_one_path_of_pictures_and_sounds_is_told(
    platform: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(platform.address)
    numbers = np.random.default_rng(0)

    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run():
        modelry.log_image("cat.png", "x.png")
        modelry.log_image(numbers.random((4, 16, 16, 3)), "x.png")
        modelry.log_image(numbers.random((16, 16, 2)), "x.png")
        modelry.log_audio(numbers.random(100), "a.wav")
        modelry.log_audio("nofile.wav", "a.wav")

    told = [text for text in caplog.messages if "in total" not in text]
    assert sum("x.png" in text for text in told) == 3
    assert sum("a.wav" in text for text in told) == 2
