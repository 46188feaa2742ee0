"""What is not recorded is told for each run, kind and key, without flooding the log."""

from __future__ import annotations

import logging

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
