from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest

from modelry import Client, MetricColumns
from tests.cli.conftest import Modelry

Read = Callable[..., Any]


@pytest.fixture
def run_id(read: Read, name: str) -> str:
    read("experiment", "create", name)
    made = read("run", "create", "--experiment", name, "--name", "first", "--param", "lr=0.1", "--tag", "a=1")
    return str(made["run_id"])


def test_a_shell_script_can_track_a_run(read: Read, modelry: Modelry, run_id: str) -> None:
    for step, loss in enumerate((0.5, 0.25)):
        modelry("run", "log", run_id, "--metric", f"loss={loss}", "--step", step)
    modelry("run", "log", run_id, "--param", "seed=7", "--tag", "b=2", "--metric", "odd=nan", "--metric", "big=-inf")

    finished = read("run", "finish", run_id)
    seen = read("run", "get", run_id)

    assert finished["status"] == seen["status"] == "FINISHED"
    assert seen["params"] == {"lr": "0.1", "seed": "7"}
    assert (seen["tags"]["a"], seen["tags"]["b"]) == ("1", "2")
    assert seen["metrics"]["loss"]["last_value"] == 0.25
    assert (seen["metrics"]["loss"]["last_step"], seen["metrics"]["loss"]["point_count"]) == (1, 2)
    assert (seen["metrics"]["odd"]["last_value"], seen["metrics"]["big"]["last_value"]) == ("NaN", "-Infinity")
    assert seen["start_time"].endswith("Z")


def test_a_run_is_renamed_deleted_and_restored(read: Read, modelry: Modelry, run_id: str, name: str) -> None:
    described = read("run", "update", run_id, "--name", "second", "--description", "again")
    read("run", "delete", run_id)

    gone = read("run", "list", "--experiment", name)
    deleted = read("run", "list", "--experiment", name, "--deleted")
    restored = read("run", "restore", run_id)

    assert described["description"] == "again"
    assert gone == []
    assert [each["name"] for each in deleted] == ["second"]
    assert restored["lifecycle"] == "ACTIVE"


def test_a_list_is_filtered_ordered_and_limited(read: Read, modelry: Modelry, client: Client, name: str) -> None:
    experiment = client.experiments.create(name)
    for acc in (0.7, 0.9, 0.8):
        client.runs.create(experiment.experiment_id, name=f"acc {acc}", metrics={"acc": acc}, params={"k": "v"})
    words = ("run", "list", "--experiment", name, "--order-by", "metrics.acc DESC")

    best = read(*words, "--filter", "metrics.acc > 0.75")
    table = modelry(*words, "--limit", 1)
    chosen = modelry(*words, "--column", "params.k")

    assert [each["name"] for each in best] == ["acc 0.9", "acc 0.8"]
    assert "acc 0.9" in table.out
    assert "acc 0.8" not in table.out
    assert "Only the first is shown; --limit shows more" in table.err
    assert "params.k" in chosen.out.splitlines()[0]
    assert best[0]["run_id"] in table.out, "ids are shown whole"


def test_a_list_shows_no_metrics_of_the_machine_unless_asked(modelry: Modelry, client: Client, name: str) -> None:
    experiment = client.experiments.create(name)
    client.runs.create(experiment.experiment_id, metrics={"acc": 0.9, "system/cpu_utilization_percentage": 50})
    words = ("run", "list", "--experiment", name)

    table = modelry(*words).out.splitlines()[0]
    chosen = modelry(*words, "--column", "metrics.system/cpu_utilization_percentage").out.splitlines()[0]

    assert "acc" in table
    assert "system/" not in table
    assert "system/cpu_utilization_percentage" in chosen


def test_a_point_of_any_time_is_shown(modelry: Modelry, client: Client, run_id: str) -> None:
    columns = MetricColumns(
        "t", array("q", [1, 2, 3]), array("q", [0, 253402300799999, 2**63 - 1]), array("d", [1] * 3), 3
    )
    client.runs.log_metrics(run_id, {"t": columns})

    answer = modelry("run", "metrics", run_id, "t")

    assert answer.code == 0
    assert "1970-01-01" in answer.out
    assert f"{2**63 - 1} ms" in answer.out


def test_a_filter_that_can_not_be_read_is_refused_where_it_is_wrong(modelry: Modelry) -> None:
    answer = modelry("run", "list", "--filter", "metrics.acc >")

    assert answer.code == 1
    assert "column 14" in answer.err


def test_what_a_server_sends_can_not_steer_the_terminal(modelry: Modelry, run_id: str) -> None:
    modelry("run", "log", run_id, "--tag", "evil=\x1b[2J[red]\u202ex")

    answer = modelry("run", "get", run_id)

    assert "\x1b" not in answer.out
    assert "\\x1b[2J[red]\\u202ex" in answer.out


def test_json_keeps_the_same_characters(read: Read, modelry: Modelry, run_id: str) -> None:
    modelry("run", "log", run_id, "--tag", "evil=\x1b[2J[red]")

    assert read("run", "get", run_id)["tags"]["evil"] == "\x1b[2J[red]"


def test_runs_are_compared_side_by_side(read: Read, modelry: Modelry, client: Client, name: str) -> None:
    experiment = client.experiments.create(name).experiment_id
    one = client.runs.create(experiment, name="one", params={"lr": "0.1", "seed": "7"}, metrics={"acc": 0.5})
    two = client.runs.create(experiment, name="two", params={"lr": "0.2", "seed": "7"})

    compared = read("run", "compare", one.run_id, two.run_id)
    table = modelry("run", "compare", one.run_id, two.run_id, "--differing")

    assert compared["params"]["lr"] == {one.run_id: "0.1", two.run_id: "0.2"}
    assert compared["metrics"] == {"acc": {one.run_id: 0.5}}
    assert "params.lr" in table.out
    assert "params.seed" not in table.out
    assert "status" not in table.out
    assert "lasted" not in table.out
    modelry("run", "finish", two.run_id)
    assert "status" in modelry("run", "compare", one.run_id, two.run_id, "--differing").out


def test_a_series_is_shown_as_points_as_a_curve_and_as_columns(
    read: Read, modelry: Modelry, client: Client, run_id: str
) -> None:
    client.runs.log_batch(run_id, metrics=[("loss", 1 / (step + 1), 1_700_000_000_000, step) for step in range(100)])

    columns = read("run", "metrics", run_id, "loss")
    points = modelry("run", "metrics", run_id, "loss")
    curve = modelry("run", "metrics", run_id, "loss", "--plot")
    overview = modelry("run", "metrics", run_id)

    assert columns["steps"] == list(range(100))
    assert columns["values"][1] == 0.5
    assert points.out.splitlines()[0].split() == ["STEP", "TIME", "loss"]
    assert "100 points" in points.err
    assert "loss: 100 points" in curve.out
    assert "step 99" in curve.out
    assert "█" in overview.out


def test_a_single_point_is_not_told_in_the_plural(modelry: Modelry, client: Client, run_id: str) -> None:
    client.runs.log_batch(run_id, metrics=[("loss", 0.5, 1_700_000_000_000, 0)])

    assert "loss: 1 point\n" in modelry("run", "metrics", run_id, "loss", "--plot").out


def test_a_metric_that_is_not_there_is_refused_and_those_that_are_are_named(modelry: Modelry, run_id: str) -> None:
    modelry("run", "log", run_id, "--metric", "loss=1")

    answer = modelry("run", "metrics", run_id, "lost")

    assert answer.code == 1
    assert "no metric 'lost'; it has: loss" in answer.err


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("log", "--metric", "loss=1", "--step", "99999999999999999999"), "99999999999999999999"),
        (("log", "--metric", "loss=1e400"), "1e400"),
        (("metrics", "loss", "--max-points", "9999999999"), "9999999999"),
    ],
)
def test_a_number_that_is_too_big_is_wrong_use_and_changes_nothing(
    modelry: Modelry, read: Read, run_id: str, words: tuple[str, ...], value: str
) -> None:
    verb, *rest = words

    answer = modelry("run", verb, run_id, *rest)

    assert answer.code == 2
    assert value in answer.err
    assert read("run", "get", run_id)["metrics"] == {}


def test_a_run_without_an_experiment_is_one_of_the_default_one(read: Read) -> None:
    made = read("run", "create")

    assert read("experiment", "get", made["experiment_id"])["name"] == "Default"


@pytest.mark.parametrize("words", [("log",), ("update",)])
def test_a_command_with_nothing_to_do_is_wrong_use(modelry: Modelry, run_id: str, words: tuple[str, ...]) -> None:
    answer = modelry("run", *words, run_id)

    assert answer.code == 2
    assert "nothing to" in answer.err


def test_a_shell_script_can_say_that_its_runs_are_alive(modelry: Modelry, read: Read, run_id: str) -> None:
    ended = str(read("run", "create")["run_id"])
    modelry("run", "finish", ended)

    said = read("run", "heartbeat", run_id, ended, "0" * 32, "--period", "3600")
    refused = modelry("run", "heartbeat", run_id, "--period", "0.5")

    assert said["noted"] == 1
    assert said["ignored"] == {ended: "not running", "0" * 32: "there is no such run"}
    assert refused.code != 0
    assert "must be from 1 to 3600 seconds" in " ".join(refused.err.split())


def test_the_console_of_a_run_is_shown_searched_and_escaped(modelry: Modelry, client: Client, run_id: str) -> None:
    written = (
        b"2027-01-02T03:04:05.600Z stdout F loss 0.5\n"
        b"2027-01-02T03:04:06.600Z stderr F careful \x1b[2J\n"
        b"2027-01-02T03:04:07.600Z stdout P 10%\n"
    )
    client.artifacts.upload_bytes(f"runs/{run_id}", "modelry/console/20270102T030405Z-ab12-0001.log", written)
    modelry("run", "finish", run_id)

    plain = modelry("run", "logs", run_id, "--follow")
    found = modelry("run", "logs", run_id, "--grep", "^loss", "--output", "json")
    timed = modelry("run", "logs", run_id, "--times", "--grep", "careful")
    wrong = modelry("run", "logs", run_id, "--grep", "(")

    assert plain.out == "loss 0.5\ncareful \\x1b[2J\n10%\n"
    assert found.document["text"] == "loss 0.5"
    assert found.document["time"] == "2027-01-02T03:04:05.600000Z"
    assert " stderr careful" in timed.out
    assert (wrong.code, "not a regular expression" in wrong.err) == (1, True)
