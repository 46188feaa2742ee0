"""What fits of scikit-learn log, and to which run."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import importlib.metadata
import io
import pickle
import subprocess
import sys
import threading
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
import sklearn.metrics
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelry
from modelry import Client
from modelry._sdk.autologging import checks
from modelry._sdk.autologging.options import Options
from modelry._sdk.autologging.switch import options_of, switch
from modelry._sdk.recipes.frameworks import FRAMEWORKS
from modelry._sdk.recipes.sklearn_fits import SKLEARN
from modelry.errors import InvalidArgument
from modelry.types import Run

pytestmark = pytest.mark.usefixtures("autologging")


BEGUN, CHANGED = threading.Event(), threading.Event()


class Slow(LinearRegression):  # type: ignore[misc]
    """What asks for its score, in the background, waits for the test."""

    def score(self, *data: Any) -> Any:
        BEGUN.set()
        CHANGED.wait(60)
        return super().score(*data)


COMMON = {name: value for name, value in asdict(Options()).items() if name != "own"}
"""The options that all frameworks have, with their defaults."""


def last() -> Run:
    found = modelry.last_active_run()
    assert found is not None
    return found


def files(client: Client, run: Run) -> set[str]:
    modelry.flush()
    return {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}


def children(run: Run) -> list[Run]:
    modelry.flush()
    return [each for each in modelry.search_runs(output_format="list") if each.parent_run_id == run.run_id]


def test_a_classifier_logs_what_it_is_how_it_does_and_the_model(client: Client, features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_input_examples=True, extra_tags={"team": "rides"})

    fitted = LogisticRegression(C=0.5).fit(features, classes)

    run = last()
    assert run.status is modelry.RunStatus.FINISHED
    assert run.params["C"] == "0.5"
    assert run.params.keys() == fitted.get_params().keys()
    assert run.tags["estimator_name"] == "LogisticRegression"
    assert run.tags["estimator_class"] == "sklearn.linear_model._logistic.LogisticRegression"
    assert (run.tags["mlflow.autologging"], run.tags["team"]) == ("sklearn", "rides")
    names = ("precision_score", "recall_score", "f1_score", "accuracy_score", "log_loss", "roc_auc", "score")
    assert run.metrics.keys() == {f"training_{name}" for name in names}
    assert run.metrics["training_accuracy_score"] == fitted.score(features, classes)
    pictures = {f"training_{name}.png" for name in ("confusion_matrix", "roc_curve", "precision_recall_curve")}
    found = files(client, run)
    assert pictures <= found
    loaded = modelry.sklearn.load_model(f"runs:/{run.run_id}/model")
    assert (loaded.predict(features) == fitted.predict(features)).all()
    assert {"model/MLmodel", "model/input_example.json"} <= found
    assert b"signature" in client.artifacts.read_bytes(f"runs/{run.run_id}", "model/MLmodel")
    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "training_roc_curve.png").startswith(b"\x89PNG")


def test_a_regressor_logs_its_metrics(features: Any) -> None:
    modelry.sklearn.autolog(log_models=False)

    LinearRegression().fit(features, features[:, 0] * 2)

    names = ("mean_squared_error", "mean_absolute_error", "r2_score", "root_mean_squared_error", "score")
    assert last().metrics.keys() == {f"training_{name}" for name in names}


def test_only_the_outermost_fit_logs(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False)
    with modelry.start_run() as outer:
        BaggingClassifier(make_pipeline(StandardScaler(), LogisticRegression()), n_estimators=3).fit(features, classes)
        with importlib.import_module("joblib").parallel_backend("threading", n_jobs=2):
            GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2, n_jobs=2).fit(features, classes)

    assert modelry.get_run(outer.run_id).tags["estimator_name"] == "BaggingClassifier"
    (search,) = children(modelry.get_run(outer.run_id))
    assert search.tags["estimator_name"] == "GridSearchCV"
    assert len(children(search)) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_logs_the_table_of_its_trials_and_the_best_ones(
    client: Client, features: Any, classes: Any, jobs: int
) -> None:
    modelry.sklearn.autolog(max_tuning_runs=2)

    search = GridSearchCV(LogisticRegression(), {"C": [0.001, 1.0, 10.0]}, cv=3, n_jobs=jobs).fit(features, classes)

    run = last()
    assert run.params["best_C"] == str(search.best_params_["C"])
    assert run.metrics["best_cv_score"] == search.best_score_
    table = client.artifacts.read_bytes(f"runs/{run.run_id}", "cv_results.csv").decode()
    assert [row["param_C"] for row in csv.DictReader(io.StringIO(table))] == ["0.001", "1.0", "10.0"]
    trials = children(run)
    assert {trial.metrics["rank_test_score"] for trial in trials} <= {1.0, 2.0}
    assert len(trials) == 2
    assert trials[0].params["solver"] == "lbfgs"
    assert isinstance(modelry.sklearn.load_model(f"runs:/{run.run_id}/model"), LogisticRegression)


def test_successive_halving_is_a_search(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False, max_tuning_runs=1)

    search = HalvingGridSearchCV(LogisticRegression(), {"C": [0.001, 1.0, 10.0]}, cv=3).fit(features, classes)

    (best,) = children(last())
    assert best.params["C"] == str(search.best_params_["C"])


def test_a_cross_validation_is_one_run(client: Client, features: Any, classes: Any) -> None:
    modelry.sklearn.autolog()

    scores = cross_val_score(LogisticRegression(), features, classes, cv=4)

    run = last()
    assert run.tags["estimator_name"] == "LogisticRegression"
    assert run.metrics["mean_test_score"] == pytest.approx(scores.mean())
    assert files(client, run) == {"cv_results.csv"}


def test_a_second_fit_in_a_run_gets_a_child_run(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False)

    with modelry.start_run() as run:
        LogisticRegression(C=1).fit(features, classes)
        LogisticRegression(C=2).fit(features, classes)

    assert modelry.get_run(run.run_id).params["C"] == "1"
    (child,) = children(modelry.get_run(run.run_id))
    assert (child.params["C"], child.name, child.status) == ("2", "LogisticRegression", modelry.RunStatus.FINISHED)


def test_fits_in_threads_each_log_to_a_run_of_their_own(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False)
    together = threading.Barrier(3)

    class Own(LogisticRegression):  # type: ignore[misc]
        pass

    def work(c: float) -> None:
        together.wait(30)
        Own(C=c).fit(features, classes)

    threads = [threading.Thread(target=work, args=(c,)) for c in (1.5, 2.5, 3.5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    modelry.flush()

    runs = [
        run for run in modelry.search_runs(output_format="list") if run.tags.get("estimator_class") == f"{__name__}.Own"
    ]
    assert sorted(run.params["C"] for run in runs) == ["1.5", "2.5", "3.5"]
    assert {run.parent_run_id for run in runs} == {""}


def test_a_fit_that_raises_ends_its_run_as_failed_and_the_exception_passes(features: Any) -> None:
    modelry.sklearn.autolog()

    with pytest.raises(ValueError, match="inconsistent numbers of samples") as raised:
        LogisticRegression().fit(features, [0, 1])

    assert "modelry" not in str(raised.value)
    assert last().status is modelry.RunStatus.FAILED
    assert last().tags["modelry.exit.error"].startswith("ValueError: Found input variables with inconsistent numbers")
    assert modelry.active_run() is None


def test_off_means_off(features: Any, classes: Any) -> None:
    before = LogisticRegression.fit, GridSearchCV.fit
    filters = list(warnings.filters)
    validate = cross_val_score

    modelry.sklearn.autolog()
    assert LogisticRegression.fit is not before[0]
    assert sys.modules[__name__].cross_val_score is not validate
    LogisticRegression().fit(features, classes)
    modelry.sklearn.autolog(disable=True)

    assert (LogisticRegression.fit, GridSearchCV.fit) == before
    assert sys.modules[__name__].cross_val_score is validate
    assert list(warnings.filters) == filters
    assert not [hook for hook in sys.meta_path if type(hook).__module__.startswith("modelry")]


def test_a_fit_is_as_without_it(features: Any, classes: Any) -> None:
    def numbers() -> list[float]:
        np.random.seed(7)
        DummyClassifier(strategy="stratified").fit(features, classes)
        forest = RandomForestClassifier(5).fit(features, classes)
        return [*np.random.random(3), *forest.predict_proba(features)[:, 0]]

    expected = numbers()
    modelry.sklearn.autolog()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert numbers() == expected
        modelry.flush()

    assert told == []


def test_estimators_are_pickled_and_cloned_as_ever(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False)
    fitted = LogisticRegression().fit(features, classes)

    again = pickle.loads(pickle.dumps(fitted))

    assert (again.coef_ == fitted.coef_).all()
    assert clone(fitted).get_params() == fitted.get_params()
    assert pickle.loads(pickle.dumps(LogisticRegression.fit)) is LogisticRegression.fit


def test_what_is_logged_is_the_model_as_the_fit_left_it(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog()
    model = SGDClassifier(loss="log_loss", random_state=1).fit(features, classes)
    expected = model.coef_ @ features.T + model.intercept_[:, None] > 0

    model.partial_fit(features, 1 - classes)
    model.coef_[:] = 0

    uri = f"runs:/{last().run_id}/model"
    assert (modelry.sklearn.load_model(uri).predict(features) == expected[0]).all()


@pytest.mark.parametrize("kind", ["array", "table", "list", "sparse"])
def test_what_is_logged_is_the_data_as_the_fit_saw_it(features: Any, kind: str) -> None:
    modelry.sklearn.autolog(log_models=False)
    makers: dict[str, Any] = {
        "array": np.array,
        "table": pd.DataFrame,
        "list": lambda rows: rows.tolist(),
        "sparse": importlib.import_module("scipy.sparse").csr_matrix,
    }
    data, same, targets = makers[kind](features), makers[kind](features), features[:, 0].copy()

    LinearRegression().fit(data, targets)
    if kind == "list":
        data[0][0] = 99.0
    elif kind == "table":
        data.iloc[0, 0] = 99.0
    else:
        data[0, 0] = 99.0
    targets[:] = 0

    (used,) = last().datasets
    if kind == "table":
        assert used.dataset.digest == modelry.data.from_pandas(same).digest
    else:
        assert used.dataset.digest == modelry.data.from_numpy(same, targets=features[:, 0]).digest
    assert last().metrics["training_r2_score"] == pytest.approx(1.0)


def test_large_data_that_is_changed_before_it_is_read_is_told(
    features: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.sklearn.autolog(log_models=False)
    monkeypatch.setattr(importlib.import_module("modelry._sdk.autologging.inputs"), "_COPIED_BYTES", 0)
    BEGUN.clear()
    CHANGED.clear()
    data = features.copy()

    Slow().fit(data, features[:, 0])
    BEGUN.wait(60)
    data *= 2
    CHANGED.set()

    assert last().datasets == ()
    assert "the dataset 'train' was not logged: ValueError: the data of the fit was changed in place" in caplog.text


@pytest.mark.parametrize("value", ["x" * 7000, object(), None])
def test_an_odd_param_breaks_no_fit(features: Any, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    modelry.sklearn.autolog(log_models=False)

    class Odd(LinearRegression):  # type: ignore[misc]
        def __init__(self, *, odd: Any = None) -> None:
            self.odd = odd
            super().__init__()

    Odd(odd=value).fit(features, features[:, 0])

    assert last().params["odd"][:5] == str(value)[:5]
    assert len(last().params["odd"]) <= 6000
    assert ("is too long and is cut" in caplog.text) == (value == "x" * 7000)


def test_a_model_that_cant_be_pickled_is_told(features: Any, caplog: pytest.LogCaptureFixture) -> None:
    modelry.sklearn.autolog()
    model = KMeans(2, random_state=1)
    model.lock = threading.Lock()

    model.fit(features)

    assert last().status is modelry.RunStatus.FINISHED
    assert "cannot pickle '_thread.lock' object" in caplog.text


def test_a_server_that_refuses_stops_no_fit(features: Any, unique: str, caplog: pytest.LogCaptureFixture) -> None:
    experiment = modelry.set_experiment(unique)
    assert experiment is not None
    modelry.Client().experiments.delete(experiment.experiment_id)
    modelry.sklearn.autolog()

    assert KMeans(2).fit(features).cluster_centers_.shape == (2, 3)

    assert "autologging of sklearn: a fit is not logged: ExperimentDeleted" in caplog.text


def test_preparing_data_is_no_training(features: Any) -> None:
    modelry.sklearn.autolog()
    before = len(modelry.search_runs(output_format="list"))

    StandardScaler().fit_transform(features)

    assert len(modelry.search_runs(output_format="list")) == before


def test_exclusive_leaves_fits_in_a_run_of_the_user_alone(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(exclusive=True, log_models=False)

    with modelry.start_run() as run:
        LogisticRegression().fit(features, classes)

    assert modelry.get_run(run.run_id).params == {}


def test_an_unknown_option_says_which_are_known() -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'log_models'"):
        modelry.autolog(log_model=True)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument, match="no flavor 'sklern'; did you mean 'sklearn'"):
        modelry.autolog(exclude_flavors=["sklern"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"extra_tags": 5},
            r"extra_tags must be a mapping of keys to values, such as \{'team': 'rides'\}, or None",
        ),
        ({"log_models": "no"}, "log_models must be True or False, not 'no'"),
        ({"registered_model_name": 3}, "registered_model_name must be the name of a registered model: .* not 3"),
        ({"exclude_flavors": 5}, "exclude_flavors must be a text, or a list of texts, not 5"),
        ({"exclude_flavors": ["sklearn", 5]}, "exclude_flavors must be a text, or a list of texts, not 5"),
        ({"disable": "yes"}, "disable must be True or False, not 'yes'"),
        ({"disable": True, "silent": 1}, "silent must be True or False, not 1"),
    ],
)
def test_a_value_that_an_option_can_not_have_is_refused_where_it_is_given(given: dict[str, Any], said: str) -> None:
    modelry.autolog(log_models=False)
    before = options_of("sklearn")()

    with pytest.raises(InvalidArgument, match=said):
        modelry.autolog(**given)

    assert options_of("sklearn")() is before


@pytest.mark.parametrize(
    ("flavor", "given", "said"),
    [
        ("sklearn", {"max_tuning_runs": -1}, "max_tuning_runs must be a whole number from 0, or None for all trials"),
        ("xgboost", {"importance_types": ["wait"]}, "importance_types must be a list of 'weight', 'gain', 'cover'"),
        ("lightgbm", {"importance_types": "gain"}, "importance_types must be a list of 'split', 'gain', not 'gain'"),
        ("pytorch", {"log_every_n_step": 0}, "log_every_n_step must be a whole number of steps from 1"),
        ("pytorch", {"log_every_n_epoch": None}, "log_every_n_epoch must be a whole number of epochs from 1, not None"),
        ("keras", {"log_every_n_steps": 2.5}, "log_every_n_steps must be a whole number of batches from 1"),
        ("transformers", {"log_checkpoints": "all"}, "log_checkpoints must be True or False, not 'all'"),
    ],
)
def test_a_value_that_an_option_of_a_framework_can_not_have_is_refused(
    flavor: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        switch(FRAMEWORKS[flavor], given)


def test_the_defaults_of_all_options_may_be_given() -> None:
    for framework in FRAMEWORKS.values():
        checks.check(framework.name, {**COMMON, **framework.own})


def test_an_estimator_of_ones_own_logs_nothing_but_what_it_fits(features: Any, classes: Any) -> None:
    modelry.sklearn.autolog(log_models=False)

    class Own(BaseEstimator):  # type: ignore[misc]
        def fit(self, rows: Any, targets: Any) -> Own:
            self.inner_ = sklearn.linear_model.LogisticRegression().fit(rows, targets)
            return self

    Own().fit(features, classes)

    assert last().tags["estimator_name"] == "LogisticRegression"


def test_what_is_imported_later_is_observed_and_nothing_is_imported() -> None:
    code = (
        "import sys, modelry; modelry.autolog(log_models=False); print([m for m in sys.modules if m == 'sklearn']);"
        "from sklearn.linear_model import LinearRegression;"
        "from importlib.machinery import SourceFileLoader as L;"
        "m = sys.modules['sklearn.linear_model._base'];"
        "print(hasattr(LinearRegression.fit, '__wrapped__'), type(m.__loader__) is L, vars(m.__loader__).keys());"
        "modelry.autolog(disable=True);"
        "print(LinearRegression.fit.__code__.co_filename.endswith('sklearn/base.py'), sys.meta_path[0])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    lines = done.stdout.splitlines()
    assert lines[0] == "[]"
    assert lines[1] == "True True dict_keys(['name', 'path'])"
    assert lines[2].startswith("True ")
    assert "modelry" not in lines[2]


def test_a_method_that_only_some_pipelines_have_is_observed(features: Any) -> None:
    modelry.sklearn.autolog(log_models=False)
    pipeline = make_pipeline(StandardScaler(), KMeans(2, random_state=1))

    labels = pipeline.fit_predict(features)

    assert labels.shape == (80,)
    assert last().tags["estimator_name"] == "Pipeline"
    assert not hasattr(make_pipeline(StandardScaler(), LogisticRegression()), "fit_predict")


def test_a_process_that_ends_at_once_has_logged_all(client: Client, features: Any, unique: str) -> None:
    code = (
        "import modelry; modelry.sklearn.autolog(extra_tags={'mark': '" + unique + "'})\n"
        "from sklearn.cluster import KMeans\n"
        "KMeans(2).fit([[0.0], [1.0], [2.0]])"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)

    (run,) = client.runs.search(["0"], f"tags.mark = '{unique}'")
    assert run.status is modelry.RunStatus.FINISHED
    assert "model/MLmodel" in files(client, run)


def test_a_version_that_is_not_tested_is_told_and_left_alone_if_asked(caplog: pytest.LogCaptureFixture) -> None:
    assert importlib.metadata.version("scikit-learn").startswith(f"{SKLEARN.tested}.")
    original = LogisticRegression.fit

    switch(dataclasses.replace(SKLEARN, tested="99.1"), {"disable_for_unsupported_versions": True})

    assert LogisticRegression.fit is original
    assert "autologging of sklearn is tested with version 99.1, and" in caplog.text
