"""A model that changes before its copy is made is left out with a warning, wherever in it the change is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelry
from modelry._sdk.autologging import copies, looks
from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.options import Options
from modelry._sdk.recipes.sklearn_fits import EstimatorFit

pytestmark = pytest.mark.usefixtures("autologging")

RETURNED = threading.Event()
WARNING = "the model was not logged: ValueError: the model was changed before its copy was made"


class Late(LinearRegression):  # type: ignore[misc]
    """Can't be copied before the test says so."""

    def __getstate__(self) -> Any:
        assert RETURNED.wait(60)
        return super().__getstate__()


class LateForest(RandomForestRegressor):  # type: ignore[misc]
    """A forest that can't be copied before the test says so."""

    def __getstate__(self) -> Any:
        assert not _is_fitted(self) or RETURNED.wait(60)
        return super().__getstate__()


def _is_fitted(forest: Any) -> bool:
    return hasattr(forest, "estimators_")


def _forest(rows: Any, **params: Any) -> Any:
    return LateForest(8, max_depth=2, random_state=0, **params).fit(rows, rows[:, 0])


def _search(rows: Any) -> Any:
    forest = LateForest(max_depth=2, random_state=0, warm_start=True)
    return GridSearchCV(forest, {"n_estimators": [4]}, cv=2).fit(rows, rows[:, 0])


def _prune(forest: Any) -> None:
    del forest.estimators_[2:]


def _cut(forest: Any) -> None:
    forest.estimators_[7].tree_.children_left[0] = -1


def _scale(model: Any) -> None:
    model.coef_ *= 1000


def _grow(search: Any) -> None:
    modelry.sklearn.autolog(disable=True)
    rows = np.random.default_rng(2).normal(size=(80, 3))
    search.best_estimator_.set_params(n_estimators=6).fit(rows, rows[:, 0])


def _move(pipeline: Any) -> None:
    pipeline[0].mean_[1] += 1


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], None]]] = {
    "a pruned forest": (_forest, _prune),
    "a tree that is cut": (_forest, _cut),
    "coefficients in place": (lambda rows: Late().fit(rows, rows[:, 0]), _scale),
    "a warm start of the best estimator": (_search, _grow),
    "a pruned best estimator": (_search, lambda search: _prune(search.best_estimator_)),
    "a step of a pipeline": (lambda rows: make_pipeline(StandardScaler(), Late()).fit(rows, rows[:, 0]), _move),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_changes_before_its_copy_is_made_is_left_out(
    features: np.ndarray, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(copies, "_LOOK_SECONDS", 60)  # however busy the machine is
    RETURNED.clear()
    fit, make_it_other = CHANGES[change]
    modelry.sklearn.autolog(log_plots=False)
    with modelry.start_run() as run:
        make_it_other(fit(features))
        RETURNED.set()

    assert WARNING in caplog.text
    assert not [key for key in modelry.get_run(run.run_id).metrics if key.startswith("training_")]
    assert "model" not in [file.path for file in modelry.Client().artifacts.list(f"runs/{run.run_id}")]


@pytest.mark.parametrize("fit", [_forest, _search])
def test_a_late_copy_of_what_stays_as_it_is_is_kept(features: np.ndarray, fit: Callable[[Any], Any]) -> None:
    RETURNED.clear()
    modelry.sklearn.autolog(log_plots=False)
    with modelry.start_run() as run:
        model = fit(features)
        model.predict(features)
        RETURNED.set()

    loaded = modelry.sklearn.load_model(f"runs:/{run.run_id}/model")
    assert loaded.predict(features) == pytest.approx(model.predict(features))


def test_an_array_that_is_shared_and_changes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_COPIED_BYTES", 0)
    model = SimpleNamespace(first=np.zeros(100_000), second=np.ones(100_000))
    kept = copies.Snapshot(Fit(Options(), None, False, EstimatorFit()), model)
    assert kept.model.second.tolist() == [1.0] * 100_000

    kept = copies.Snapshot(Fit(Options(), None, False, EstimatorFit()), model)
    model.second *= 2

    with pytest.raises(ValueError, match="the model was changed"):
        _ = kept.model


def _set(model: Any) -> None:
    model["array"][3, 1] = 7


CONTENT: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "array": (lambda: {"array": np.zeros((5, 2))}, _set),
    "array by columns": (lambda: {"array": np.zeros((5, 2), order="F")}, _set),
    "array with gaps": (lambda: {"array": np.zeros((20, 6))[::2, ::3]}, _set),
    "array of objects": (lambda: {"array": np.full((5, 2), None)}, _set),
    "dates": (lambda: {"array": np.zeros((5, 2), "datetime64[s]")}, _set),
    "large array": (lambda: {"array": np.zeros((500_000, 2))}, lambda model: model["array"].fill(1)),
    "sparse matrix": (lambda: [sparse.eye(5, format="csr")], lambda model: model[0].data.fill(2)),
    "key": (lambda: {"a": 1}, lambda model: model.update(b=2)),
    "value": (lambda: {"a": "x"}, lambda model: model.update(a="y")),
    "set": (lambda: [{1}], lambda model: model[0].add(2)),
    "long list": (lambda: [list(range(100_000))], lambda model: model[0].append(1)),
    "long dictionary": (lambda: dict.fromkeys(range(100_000)), lambda model: model.update(a=1)),
    "attribute": (lambda: SimpleNamespace(part=SimpleNamespace(a=1)), lambda model: setattr(model.part, "a", 2)),
}


@pytest.mark.parametrize("content", CONTENT)
def test_a_look_sees_what_has_changed(content: str) -> None:
    make, change = CONTENT[content]
    model = make()
    look = looks.Look(model, 60)

    assert look.is_same()
    change(model)
    assert not look.is_same()


def test_a_look_takes_no_longer_than_it_may_and_sees_what_is_near() -> None:
    model = [[[object() for _ in range(100)] for _ in range(100)] for _ in range(100)]
    look = looks.Look(model, 0.001)

    assert len(look._noted) < 5000
    model.append([])
    assert not look.is_same()


def test_a_look_does_not_mind_what_raises_leads_back_or_is_kept_to_be_quicker() -> None:
    class Raises:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError

    model = SimpleNamespace(odd=Raises(), empty=np.zeros(0), number=np.array(3.0), _cache={})
    model.itself = model
    look = looks.Look(model, 60)

    model._cache["summary"] = 1
    assert look.is_same()
