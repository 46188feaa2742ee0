"""Studies of Optuna as runs, with their trials as child runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import modelry
from modelry import Client, RunStatus
from modelry.optuna import ModelryCallback
from modelry.types import Run

pytestmark = pytest.mark.usefixtures("fluent")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def objective(trial: Any) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    for step in (1, 2):
        trial.report(x * step, step)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ZeroDivisionError
    trial.set_user_attr("kind", "good")
    return float(x**2)


def children(client: Client, study: Any) -> list[Run]:
    modelry.flush()
    parent = study.user_attrs["modelry.run_id"]
    found = [run for run in client.runs.search("0") if run.parent_run_id == parent]
    return sorted(found, key=lambda run: int(run.tags["optuna.trial_number"]))


def test_a_study_is_a_run_and_its_trials_are_child_runs(client: Client) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))

    with ModelryCallback() as callback:
        study.optimize(objective, n_trials=4, callbacks=[callback], catch=(ZeroDivisionError,))

    trials = children(client, study)
    parent = client.runs.get(study.user_attrs["modelry.run_id"])
    expected = [RunStatus.FINISHED, RunStatus.KILLED, RunStatus.FAILED, RunStatus.FINISHED]
    assert [run.status for run in trials] == expected
    assert [float(run.params["x"]) for run in trials] == [trial.params["x"] for trial in study.trials]
    assert trials[0].metrics["value"] == study.trials[0].value
    assert "value" not in trials[1].metrics
    assert list(client.metrics.read(trials[1].run_id, "intermediate_value").steps) == [1, 2]
    assert trials[0].tags["kind"] == "good"
    assert trials[1].tags["optuna.trial_state"] == "PRUNED"
    begun = study.trials[0].datetime_start
    assert begun is not None
    assert trials[0].start_time is not None
    assert abs(trials[0].start_time.timestamp() - begun.timestamp()) < 0.01
    assert (parent.status, parent.name) == (RunStatus.FINISHED, study.study_name)
    assert parent.metrics["best_value"] == study.best_value
    assert parent.tags["optuna.best_trial"] == str(study.best_trial.number)
    assert parent.tags["optuna.best_run_id"] == trials[study.best_trial.number].run_id


def test_a_study_that_is_continued_goes_on_in_its_run(client: Client, tmp_path: Path) -> None:
    where = {"storage": f"sqlite:///{tmp_path}/study.db", "study_name": "mine", "load_if_exists": True}
    study = optuna.create_study(**where)
    with ModelryCallback() as callback:
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, callbacks=[callback])

    again = optuna.create_study(**where)
    with ModelryCallback() as callback:
        again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, callbacks=[callback])

    assert [run.tags["optuna.trial_number"] for run in children(client, again)] == ["0", "1", "2", "3"]
    assert client.runs.get(again.user_attrs["modelry.run_id"]).status is RunStatus.FINISHED


def test_jobs_in_threads_share_the_run(client: Client) -> None:
    study = optuna.create_study()

    with ModelryCallback() as callback:
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=12, n_jobs=4, callbacks=[callback])

    assert [run.tags["optuna.trial_number"] for run in children(client, study)] == [str(n) for n in range(12)]


def test_the_error_that_ends_an_optimization_is_passed_on_and_its_trial_is_failed(client: Client) -> None:
    study = optuna.create_study()

    with pytest.raises(ZeroDivisionError), ModelryCallback() as callback:
        study.optimize(objective, n_trials=4, callbacks=[callback])

    assert [run.status for run in children(client, study)] == [RunStatus.FINISHED, RunStatus.KILLED, RunStatus.FAILED]
    assert client.runs.get(study.user_attrs["modelry.run_id"]).status is RunStatus.FAILED


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")
def test_the_active_run_becomes_that_of_the_study_and_goes_on(client: Client) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.set_metric_names(["loss", "size"])

    with modelry.start_run() as run:
        study.optimize(lambda trial: (1.0, 2.0), n_trials=1, callbacks=[ModelryCallback()])
        assert run.status is RunStatus.RUNNING

    assert study.user_attrs["modelry.run_id"] == run.run_id
    assert children(client, study)[0].metrics == {"loss": 1.0, "size": 2.0}
    assert client.runs.get(run.run_id).params["directions"] == "minimize, maximize"


def test_what_can_not_be_logged_does_not_stop_the_study(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study()

    study.set_user_attr("modelry.run_id", "no id of a run")
    study.optimize(lambda trial: 1.0, n_trials=1, callbacks=[ModelryCallback()])

    assert len(study.trials) == 1
    assert "optuna: a trial was not logged" in caplog.text


def test_a_study_goes_to_the_run_of_an_id_and_the_trials_to_children_of_it(client: Client) -> None:
    with modelry.start_run() as run:
        pass
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))

    with ModelryCallback(run.run_id) as callback:
        study.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0), n_trials=2, callbacks=[callback])

    assert study.user_attrs["modelry.run_id"] == run.run_id
    assert len(children(client, study)) == 2
    assert client.runs.get(run.run_id).status is RunStatus.FINISHED


def test_that_the_run_of_an_id_is_not_there_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))

    study.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0), n_trials=3, callbacks=[ModelryCallback("0" * 32)])

    assert len([text for text in caplog.messages if text.startswith("optuna: a trial was not logged")]) == 1
