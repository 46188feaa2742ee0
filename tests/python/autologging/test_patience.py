"""A fit does not wait for what autologging does, however long that takes."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

import modelry
from modelry._sdk.autologging import copies, inputs, models, params
from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.options import Options
from modelry._sdk.recipes import sklearn_metrics
from modelry._sdk.recipes.sklearn_fits import EstimatorFit
from modelry.types import Run

pytestmark = pytest.mark.usefixtures("autologging")

RETURNED = threading.Event()
"""Set by the test when its fit has returned."""
LONG = 60


@pytest.fixture(autouse=True)
def nothing_returned() -> None:
    RETURNED.clear()


class SlowToAsk(LinearRegression):  # type: ignore[misc]
    """Answers nobody before its fit has returned."""

    def predict(self, rows: Any) -> Any:
        assert RETURNED.wait(LONG)
        return super().predict(rows)


class SlowToCopy(LinearRegression):  # type: ignore[misc]
    """Can't be copied before its fit has returned."""

    def __getstate__(self) -> Any:
        assert RETURNED.wait(LONG)
        return super().__getstate__()


class SlowToShow:
    """A param that can't be shown before its fit has returned."""

    def __str__(self) -> str:
        assert RETURNED.wait(LONG)
        return "shown"


class Odd(LinearRegression):  # type: ignore[misc]
    """Has params that take 10 ms each to show."""

    def __init__(self, *, first: Any = None, second: Any = None, third: float = 3.0) -> None:
        self.first, self.second, self.third = first, second, third
        super().__init__()


class Busy:
    """A param that takes longer to show than a fit has time for."""

    def __str__(self) -> str:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
        return "busy"


class Costly(LinearRegression):  # type: ignore[misc]
    """Takes 20 ms for each row that it is asked."""

    asked = 0

    def predict(self, rows: Any) -> Any:
        Costly.asked += len(rows)
        threading.Event().wait(0.02 * len(rows))
        return super().predict(rows)


def last() -> Run:
    found = modelry.last_active_run()
    assert found is not None
    return found


def a_fit(seconds: float = 0.0) -> Fit:
    return Fit(Options(), None, False, EstimatorFit(), seconds)


@pytest.mark.parametrize("kind", [SlowToAsk, SlowToCopy])
def test_a_fit_returns_before_a_slow_model_is_copied_and_asked(kind: Any, features: Any) -> None:
    modelry.sklearn.autolog()

    began = time.perf_counter()
    fitted = kind().fit(features, features[:, 0])
    took = time.perf_counter() - began
    RETURNED.set()

    run = last()
    assert took < LONG / 2
    assert run.metrics["training_r2_score"] == pytest.approx(1)
    loaded = modelry.sklearn.load_model(f"runs:/{run.run_id}/model")
    assert loaded.coef_ == pytest.approx(fitted.coef_)


def test_a_model_that_changes_before_it_could_be_copied_is_left_out_with_a_warning(
    features: Any, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.sklearn.autolog()

    model = SlowToCopy().fit(features, features[:, 0])
    model.coef_ = np.zeros(3)
    RETURNED.set()

    assert "training_r2_score" not in last().metrics
    assert "the model was not logged: ValueError: the model was changed before its copy was made" in caplog.text


def test_metrics_that_would_take_too_long_are_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "_SECONDS", 1.0)
    modelry.sklearn.autolog(log_models=False)
    Costly.asked = 0
    rows = np.random.default_rng(1).normal(size=(1000, 2))

    Costly().fit(rows, rows[:, 0])

    assert not any(key.startswith("training_") for key in last().metrics)
    assert "metrics of the training data were not logged: TimeoutError: it would take about 2" in caplog.text
    assert Costly.asked < 50


def test_metrics_after_the_deadline_are_left_out_and_named() -> None:
    with modelry.start_run() as run:
        fit = Fit(Options(), run, False, EstimatorFit())
        deadline = models.Deadline(fit)

        def second() -> float:
            deadline._until = 0
            return 2.0

        found = {"first": lambda: 1.0, "second": second, "third": lambda: 3.0, "fourth": lambda: 4.0}
        with pytest.raises(TimeoutError, match="there was no time for third, fourth"):
            sklearn_metrics.log_metrics(fit, found, deadline)

    assert last().metrics == {"training_first": 1.0, "training_second": 2.0}


def test_a_call_with_costs_of_its_own_is_not_taken_for_one_that_is_slow_by_row() -> None:
    asked: list[int] = []

    def ask(_: Any, rows: Any) -> int:
        asked.append(len(rows))
        threading.Event().wait(0.05)  # whatever the number of rows
        return len(rows)

    rows = np.zeros((100_000, 1))
    assert models.answers(models.Deadline(a_fit()), None, rows, ask) == 100_000
    assert asked[0] == 2


def test_params_that_are_slow_to_show_are_logged_in_the_background(features: Any) -> None:
    modelry.sklearn.autolog(log_models=False)
    modelry.start_run()

    Odd(first=Busy(), second=SlowToShow()).fit(features, features[:, 0])
    RETURNED.set()
    modelry.end_run()

    logged = last().params
    assert (logged["first"], logged["second"], logged["third"]) == ("busy", "shown", "3.0")


def test_a_run_of_a_fit_ends_after_its_params_also_if_the_fit_raises() -> None:
    modelry.sklearn.autolog(log_models=False)

    with pytest.raises(ValueError, match="Expected 2D array"):
        Odd(first=Busy(), second=Busy()).fit([1.0], [1.0])

    run = last()
    assert run.params["second"] == "busy"
    assert run.status is modelry.RunStatus.FAILED


@pytest.mark.parametrize(
    "value", [list(range(10_000)), tuple(range(10_000)), {number: number for number in range(10_000)}]
)
def test_only_what_is_logged_of_a_long_param_is_shown(value: Any) -> None:
    assert params.text_of_value(value) == f"{str(value)[:5997]}..."
    assert len(params._start_of(value)) < len(value)  # type: ignore[arg-type]


def test_a_long_list_of_long_rows_is_not_copied() -> None:
    few, many = [["a"]] * 10, ["x" * 1_000_000 for _ in range(5)]

    assert inputs.Kept(few).now is not few
    assert inputs.Kept(many).now is many


def test_a_large_model_is_kept_in_a_file_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_IN_MEMORY", 1 << 10)
    words = {f"word {number}": np.asfortranarray(np.full((2, 3), number)) for number in range(1000)}

    kept = copies.Snapshot(a_fit(), words)

    assert kept._pickled.result()._rolled
    assert kept.model["word 7"].tolist() == words["word 7"].tolist()


def test_all_trials_of_a_search_become_child_runs_after_the_fit(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False, max_tuning_runs=None)

    GridSearchCV(LinearRegression(), {"fit_intercept": [True, False]}, cv=2).fit(features, classes)

    run = last()
    found = [each for each in modelry.search_runs(output_format="list") if each.parent_run_id == run.run_id]
    assert sorted(each.params["fit_intercept"] for each in found) == ["False", "True"]
    assert all("mean_test_score" in each.metrics for each in found)
