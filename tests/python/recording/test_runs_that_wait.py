"""What is refused because of the run waits until the cause is gone, whether the run was created or continued."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import delivery, sync
from modelry._sdk.spooling.spool import left_in
from modelry.errors import FieldInvalid, InvalidArgument
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import PATIENCE_S, run_script, start_again, use

NOBODY = "127.0.0.1:9"
OFFLINE = """
import modelry
with modelry.start_run() as run:
    for step in range(100):
        modelry.log_metric("m", 0.5, step=step)
    modelry.log_param("p", 1)
    modelry.log_text("text", "note.txt")
print(run.run_id)
"""


@dataclass
class Case:
    """A run that is logged offline: what the environment says, and what is done before and after the first sync."""

    environment: dict[str, str]
    before: Callable[[str], object]
    cure: Callable[[str], object]


def continued_deleted(client: Client) -> Case:
    run_id = client.runs.create(name="given").run_id
    return Case({"MODELRY_RUN_ID": run_id}, client.runs.delete, client.runs.restore)


def continued_unknown(client: Client) -> Case:
    run_id = "0" * 31 + "7"
    return Case({"MODELRY_RUN_ID": run_id}, lambda _: None, lambda _: client.runs.create(run_id=run_id))


def created_deleted(client: Client) -> Case:
    def make_and_delete(run_id: str) -> None:
        client.runs.create(run_id=run_id)
        client.runs.delete(run_id)

    return Case({}, make_and_delete, client.runs.restore)


def created_in_deleted_experiment(client: Client) -> Case:
    experiment_id = client.experiments.create("gone").experiment_id
    return Case(
        {"MODELRY_EXPERIMENT_ID": experiment_id},
        lambda _: client.experiments.delete(experiment_id),
        lambda _: client.experiments.restore(experiment_id),
    )


def created_in_experiment_that_is_deleted_by_name(client: Client) -> Case:
    experiment_id = client.experiments.create("gone").experiment_id
    return Case(
        {"MODELRY_EXPERIMENT_NAME": "gone"},
        lambda _: client.experiments.delete(experiment_id),
        lambda _: client.experiments.restore(experiment_id),
    )


def created_in_unknown_experiment(client: Client) -> Case:
    next_id = str(int(client.experiments.create("last").experiment_id) + 1)
    return Case({"MODELRY_EXPERIMENT_ID": next_id}, lambda _: None, lambda _: client.experiments.create("just then"))


def created_in_unknown_workspace(client: Client) -> Case:
    return Case({"MODELRY_WORKSPACE": "moon"}, lambda _: None, lambda _: client.workspaces.create("moon"))


@pytest.mark.parametrize(
    "case",
    [
        continued_deleted,
        continued_unknown,
        created_deleted,
        created_in_deleted_experiment,
        created_in_experiment_that_is_deleted_by_name,
        created_in_unknown_experiment,
        created_in_unknown_workspace,
    ],
    ids=lambda case: case.__name__,
)
def test_what_was_logged_offline_is_delivered_once_the_cause_is_gone(
    own_on_sqlite: Deployment, spool: Path, case: Callable[[Client], Case]
) -> None:
    client = Client(own_on_sqlite.address)
    given = case(client)
    ended = run_script(
        OFFLINE, NOBODY, spool, MODELRY_START_TIMEOUT="100ms", MODELRY_EXIT_TIMEOUT="0s", **given.environment
    )
    run_id = ended.stdout.strip()
    given.before(run_id)

    refused = [sync.deliver(own_on_sqlite.address, folder=spool) for _ in range(2)]
    given.cure(run_id)
    cured = sync.deliver(own_on_sqlite.address, folder=spool)

    assert [(each.requests_refused, each.points_left, each.points_delivered) for each in refused] == [(0, 100, 0)] * 2
    assert all(each.problems for each in refused)
    assert (cured.requests_left, cured.requests_refused, cured.problems) == (0, 0, ())
    stored = client.runs.get(run_id)
    assert (stored.summaries["m"].point_count, stored.params, stored.status) == (100, {"p": "1"}, "FINISHED")
    assert [entry.path for entry in client.artifacts.list(f"runs/{run_id}")] == ["note.txt"]


def test_a_refused_metric_of_a_continued_run_costs_only_itself(own_on_sqlite: Deployment, spool: Path) -> None:
    client = Client(own_on_sqlite.address)
    run_id = client.runs.create(name="given").run_id
    code = "import modelry\nwith modelry.start_run():\n    modelry.log_metrics({'bad\\x07': 1.0, 'good': 1.0})\n"
    run_script(code, NOBODY, spool, MODELRY_START_TIMEOUT="100ms", MODELRY_EXIT_TIMEOUT="0s", MODELRY_RUN_ID=run_id)

    report = sync.deliver(own_on_sqlite.address, folder=spool)

    assert (report.requests_refused, report.requests_left, len(report.problems)) == (1, 0, 1)
    assert "bad" in report.problems[0]
    assert client.runs.get(run_id).metrics == {"good": 1.0}


def test_a_run_that_is_deleted_while_it_is_logged_goes_on_when_it_is_restored(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = use(own_on_sqlite)
    run = modelry.start_run()
    modelry.log_metric("m", 1.0, step=0)
    modelry.flush(PATIENCE_S)
    client.runs.delete(run.run_id)

    modelry.log_metric("m", 1.0, step=1)
    modelry.log_text("text", "note.txt")
    while_deleted = modelry.flush(1)
    kept = left_in(spool)
    client.runs.restore(run.run_id)
    restored = modelry.flush(PATIENCE_S)
    modelry.end_run()

    assert (while_deleted, restored) == (False, True)
    assert len(kept) == 1
    assert client.runs.get(run.run_id).summaries["m"].point_count == 2
    assert [entry.path for entry in client.artifacts.list(f"runs/{run.run_id}")] == ["note.txt"]


@pytest.mark.parametrize("most", [1000, 5])
def test_a_deleted_run_holds_up_no_other_run_and_is_kept(
    own_on_sqlite: Deployment, spool: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Also if more is logged to it than is kept in memory while others are tried."""
    monkeypatch.setattr(delivery, "_MOST_PASSED", most)
    client = use(own_on_sqlite)
    given = client.runs.create(name="given").run_id
    own_on_sqlite.kill()
    with caplog.at_level(logging.WARNING, "modelry"):
        gone = modelry.start_run(run_id=given)
        for step in range(20):
            modelry.log_metric("m", 1.0, step=step)
            modelry.flush(0.01)
        with modelry.start_run(nested=True) as other:
            for step in range(20):
                modelry.log_metric("n", 1.0, step=step)
                modelry.log_metric("m", 1.0, step=20 + step, run_id=given)
                modelry.flush(0.01)
        start_again(own_on_sqlite)
        client.runs.delete(given)
        complete = modelry.flush(5)
        modelry.log_metric("m", 1.0, step=40)
        later = modelry.flush(5)
    arrived = client.runs.get(other.run_id)
    gone.end()
    gone.recorder.close(5)
    client.runs.restore(given)
    report = sync.deliver(folder=spool)

    assert (complete, later) == (False, False)
    assert (arrived.summaries["n"].point_count, arrived.status) == (20, "FINISHED")
    assert any(f"run {given} is deleted" in text and "set aside" in text for text in caplog.messages)
    assert report.problems == ()
    stored = client.runs.get(given)
    assert (stored.summaries["m"].point_count, stored.status) == (41, "FINISHED")
    assert left_in(spool) == []


BAD = {
    "upper case": {"run_id": "A" * 32},
    "white space": {"run_id": "a" * 32 + " "},
    "a word": {"run_id": "abc"},
    "a parent": {"parent_run_id": "abc"},
    "an experiment": {"experiment_id": "abc"},
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_an_id_that_cant_be_one_is_refused_before_a_run_begins_offline(
    spool: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str]
) -> None:
    modelry.set_tracking_uri(NOBODY)
    monkeypatch.setenv("MODELRY_START_TIMEOUT", "100ms")

    with pytest.raises(FieldInvalid) as caught:
        modelry.start_run(**arguments)  # type: ignore[arg-type]

    [argument] = arguments
    assert [*caught.value.fields] == [argument]
    assert argument in caught.value.message
    assert modelry.active_run() is None


@pytest.mark.parametrize(("variable", "value"), [("MODELRY_RUN_ID", "A" * 32), ("MODELRY_EXPERIMENT_ID", "abc")])
def test_an_id_in_the_environment_that_cant_be_one_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    modelry.set_tracking_uri(NOBODY)
    monkeypatch.setenv("MODELRY_START_TIMEOUT", "100ms")
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidArgument, match=f"{variable}='{value}' is not valid; write the id of") as caught:
        modelry.start_run()

    assert caught.value.reason == "SETTING_INVALID"


def test_white_space_around_an_id_in_the_environment_does_no_harm(
    own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(own_on_sqlite)
    given = client.runs.create(name="given").run_id
    monkeypatch.setenv("MODELRY_RUN_ID", f"{given}\n")

    with modelry.start_run() as run:
        pass

    assert run.run_id == given


def test_what_is_logged_to_an_id_that_cant_be_one_is_told_and_holds_up_nothing(
    own_on_sqlite: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    client = use(own_on_sqlite)
    with modelry.start_run() as run, caplog.at_level(logging.WARNING, "modelry"):
        modelry.log_metric("m", 1.0, run_id="abc")
        modelry.log_text("text", "note.txt", run_id="abc")
        modelry.log_metric("m", 2.0)
        first, second = modelry.flush(PATIENCE_S), modelry.flush(PATIENCE_S)

    assert (first, second) == (False, True)
    assert client.runs.get(run.run_id).metrics == {"m": 2.0}
    assert [text for text in caplog.messages if "'abc', which is not the id of a run" in text]
