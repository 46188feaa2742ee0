"""What anybody may log breaks no command of anybody else: tables, JSON and errors."""

from __future__ import annotations

import json
import time
from array import array
from datetime import UTC, datetime

import pytest

from modelry import Client, MetricColumns
from tests.cli.conftest import Modelry

STEERING = "\x9b31m \u202egnp.exe \u2066\u200b"
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
TIMES = array("q", [-(2**63), -1, 253_402_300_800_000, 2**63 - 1])
VALUES = array("d", [float("nan"), float("inf"), -float("inf"), 1e308])
STEPS = array("q", [-(2**63), -1, 0, 2**63 - 1])


@pytest.fixture
def run_id(client: Client, name: str) -> str:
    """A run with all that the server takes and no calendar, terminal or reader of JSON likes."""
    experiment = client.experiments.create(name, description=STEERING + "\n" + "d" * 50_000, tags={"note": STEERING})
    made = client.runs.create(
        experiment.experiment_id,
        start_time=LAST,
        description=STEERING,
        params={"wide": "x" * 6000, "steering": STEERING},
        tags={"note": STEERING, "long": "t" * 8000, "wide": "数据" * 4000},
    )
    columns = MetricColumns("m", STEPS, TIMES, VALUES, len(VALUES))
    client.metrics.write(made.run_id, {"m": columns}, writer_id="w", batch_number=1)
    return made.run_id


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("form", ["table", "json"])
def test_every_command_that_shows_a_run_takes_whatever_was_logged(
    modelry: Modelry, name: str, run_id: str, zone: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        answers = [
            modelry(*words, "--output", form)
            for words in (
                ("run", "get", run_id),
                ("run", "list", "--experiment", name, "--column", "params.wide", "--column", "tags.note"),
                ("run", "metrics", run_id),
                ("run", "metrics", run_id, "m"),
                ("run", "metrics", run_id, "m", "--plot"),
                ("run", "compare", run_id, run_id),
                ("experiment", "get", name),
                ("experiment", "list"),
            )
        ]
    time.tzset()

    for answer in answers:
        assert answer.code == 0, answer.err
        assert [letter for letter in "\x9b\u202e\u2066\u200b" if letter in answer.out + answer.err] == []
        if form == "json":
            json.loads(answer.out, parse_constant=pytest.fail)


def test_json_reads_back_what_was_logged(modelry: Modelry, run_id: str) -> None:
    got = modelry("run", "get", run_id, "--output", "json").document
    points = modelry("run", "metrics", run_id, "m", "--output", "json").document

    assert got["tags"]["note"] == STEERING
    assert got["start_time"] == "9999-12-31T23:59:59Z"
    assert sorted(zip(points["steps"], points["times_ms"], points["values"], strict=True)) == [
        (-(2**63), -(2**63), "NaN"),
        (-1, -1, "Infinity"),
        (0, 253_402_300_800_000, "-Infinity"),
        (2**63 - 1, 2**63 - 1, 1e308),
    ]


def test_an_error_that_repeats_what_was_logged_neither_steers_nor_floods(
    modelry: Modelry, client: Client, run_id: str
) -> None:
    client.runs.log_batch(run_id, metrics={f"{number:0200d}": 1.0 for number in range(500)})

    answer = modelry("run", "metrics", run_id, "absent\u202e\x9b31m")

    assert answer.code == 1
    assert "absent" in answer.err
    assert len(answer.err) < 5000
    assert [letter for letter in "\x9b\u202e" if letter in answer.err] == []
