"""scikit-learn: the outermost fit of an estimator, a pipeline, a search or a cross-validation logs itself."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models, plots
from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.sklearn import save_model
from modelry._sdk.recipes import sklearn_after, sklearn_metrics, sklearn_searches
from modelry._sdk.recipes.sklearn_metrics import Predictions
from modelry._sdk.values import signals

_METHODS = ("fit", "fit_predict", "fit_transform")
_STEPS_ONLY = (
    "sklearn.preprocessing",
    "sklearn.impute",
    "sklearn.feature_extraction",
    "sklearn.feature_selection",
    "sklearn.compose._column_transformer",
)
"""Modules of what prepares data: its fit alone is no training."""
_VALIDATIONS = ("cross_validate", "cross_val_score")
_SILENT = ("cross_val_predict", "learning_curve", "validation_curve", "permutation_test_score")
"""Functions that fit an estimator many times without a result that is a model or a score of it."""


class EstimatorFit:
    """What a fit of an estimator logs."""

    flavor = "sklearn"
    save_model: Callable[..., None] = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the parameters of the estimator, of all parts unless it is a search, and what it is."""
        estimator = call.model
        fit.run.set_tags(sklearn_searches.described(estimator))
        fit.log_params(estimator.get_params(deep=not sklearn_searches.is_search(estimator)))
        fit.notes["data"] = fit.attempt("the training data was", lambda: tuple(map(Kept, _data(call))))

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs metrics of the training data, the model and pictures."""
        estimator = call.model
        kept = fit.attempt("the model and metrics of the training data were", lambda: Snapshot(fit, estimator))
        fit.notes["kept"] = kept
        is_search = sklearn_searches.is_search(estimator)
        sklearn_after.remember(fit, estimator, call.arguments.get("X"))
        if is_search:
            sklearn_searches.log_search(fit, estimator)
        if kept is None or fit.notes.get("data") is None:
            return
        features, targets, weights = fit.notes["data"]
        if features.now is None:
            return
        log_training(fit, estimator, kept, features, targets, weights)
        if not is_search:
            models.log_model(fit, kept, features, _predict_or_transform)
        elif hasattr(estimator, "best_estimator_"):
            models.log_model(fit, kept, features, _predict_or_transform, lambda search: search.best_estimator_)
        models.log_dataset(fit, features, targets)


def log_training(fit: Fit, estimator: Any, kept: Snapshot, features: Kept, targets: Kept, weights: Kept) -> None:
    """Logs how a fitted model does on its training data, and the pictures of a classifier."""
    is_classifier, is_regressor = _kind_of(estimator)
    if targets.now is None or not (is_classifier or is_regressor) or not hasattr(estimator, "predict"):
        return
    ask = _asked if is_classifier else _predicted
    classes = getattr(estimator, "classes_", None)

    def log_all() -> None:
        deadline = models.Deadline(fit)
        labels, shares = features.read(lambda rows: models.answers(deadline, kept.to_ask, rows, ask))
        given = targets.read(lambda true: Predictions(true, labels, shares, classes, weights.now))
        if is_classifier:
            found = dict(sklearn_metrics.of_classifier(given, fit.options.own.get("pos_label")))
            score = found["accuracy_score"]
        else:
            found = dict(sklearn_metrics.of_regressor(given))
            score = found["r2_score"]
        if (own := _own_score(estimator, kept, features, targets, weights)) is not None:
            score = own
        sklearn_metrics.log_metrics(fit, {**found, "score": score}, deadline)
        if is_classifier and fit.options.log_plots and plots.can_draw():
            sklearn_metrics.log_pictures(fit, given, deadline)

    fit.later("metrics of the training data were", log_all, files=sklearn_metrics.PICTURES if is_classifier else ())


def _own_score(estimator: Any, kept: Snapshot, features: Kept, targets: Kept, weights: Kept) -> Any:
    """The score of an estimator that has another one than accuracy or R²; None if it has that."""
    score = getattr(type(estimator), "score", None)
    if score is None or score.__qualname__ in {"ClassifierMixin.score", "RegressorMixin.score"}:
        return None
    if hasattr(estimator, "steps"):
        return _own_score(estimator.steps[-1][1], kept, features, targets, weights) and (
            lambda: features.read(lambda rows: kept.to_ask.score(rows, targets.now))
        )
    more = (
        {}
        if weights.now is None or "sample_weight" not in inspect.signature(score).parameters
        else {"sample_weight": weights.now}
    )
    return lambda: features.read(lambda rows: kept.to_ask.score(rows, targets.now, **more))


def _data(call: Call) -> tuple[Any, Any, Any]:
    """Features, targets and weights."""
    given = call.arguments
    return given.get("X"), given.get("y", given.get("Y")), given.get("sample_weight")


def _kind_of(estimator: Any) -> tuple[bool, bool]:
    known: Any = sys.modules["sklearn.base"]
    return known.is_classifier(estimator), known.is_regressor(estimator)


def _predicted(model: Any, rows: Any) -> tuple[Any, Any]:
    return model.predict(rows), None


def _asked(model: Any, rows: Any) -> tuple[Any, Any]:
    shares = None
    if hasattr(model, "predict_proba"):
        try:
            shares = model.predict_proba(rows)
        except Exception as problem:  # such as of a search without a refit
            signals.pass_on(problem)
    return model.predict(rows), shares if getattr(shares, "ndim", 0) == 2 else None


def _predict_or_transform(model: Any, rows: Any) -> Any:
    for method in ("predict", "transform"):
        if hasattr(model, method):
            return getattr(model, method)(rows)
    return None


class _Available:
    """Wraps a method that an estimator has only if its parts have it, such as `fit_predict` of a pipeline."""

    def __init__(self, original: Any, wrap: Callable[[Any], Any]) -> None:
        self._original, self._wrap = original, wrap

    def __get__(self, model: Any, kind: Any = None) -> Any:
        found = self._original.__get__(model, kind)  # raises AttributeError if the estimator does not have it
        if model is None:
            return found

        def bound(_: Any, *args: Any, **kwargs: Any) -> Any:
            return found(*args, **kwargs)

        bound.__name__ = found.__name__
        bound.__signature__ = inspect.signature(getattr(type(model), found.__name__))  # type: ignore[attr-defined]
        return functools.wraps(found)(functools.partial(self._wrap(bound), model))


def _observe(original: Any) -> Any:
    observed = fits.observed(EstimatorFit(), options_of("sklearn"))(original)

    @functools.wraps(original)
    def fit(*args: Any, **kwargs: Any) -> Any:
        # The class of the object counts, which may have been derived from the one whose method this is.
        if args and type(args[0]).__module__.startswith(_STEPS_ONLY):
            return original(*args, **kwargs)
        return observed(*args, **kwargs)

    return fit


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    if module.__name__ == "joblib.parallel":
        yield Replacement(vars(module)["Parallel"], "__call__", _told_of_the_fit)
    if module.__name__ == "sklearn.model_selection._validation":
        recipe = sklearn_searches.Validation()
        for name in _VALIDATIONS:
            yield Replacement(module, name, fits.observed(recipe, options_of("sklearn")))
        for name in _SILENT:
            yield Replacement(module, name, fits.unobserved)
    if module.__name__.startswith("sklearn.metrics."):
        yield from sklearn_after.metrics_of(module)
    if module.__name__.startswith("sklearn.") and ".tests" not in module.__name__:
        yield from _methods(module)


def _methods(module: ModuleType) -> Iterable[Replacement]:
    estimators: Any = sys.modules.get("sklearn.base")
    if not hasattr(estimators, "BaseEstimator"):
        return
    for kind in list(vars(module).values()):
        if not isinstance(kind, type) or kind.__module__ != module.__name__:
            continue
        is_estimator = issubclass(kind, estimators.BaseEstimator)
        if is_estimator and not module.__name__.startswith(_STEPS_ONLY):
            yield from _wrapped(kind, _METHODS, _observe)
        if is_estimator or kind.__name__.endswith("Mixin"):
            yield from _wrapped(kind, sklearn_after.METHODS, sklearn_after.asked)


def _wrapped(kind: type, names: Iterable[str], wrap: Callable[[Any], Any]) -> Iterable[Replacement]:
    for name in names:
        original = vars(kind).get(name)
        if isinstance(original, FunctionType):
            yield Replacement(kind, name, wrap)
        elif hasattr(original, "__get__"):
            yield Replacement(kind, name, functools.partial(_Available, wrap=wrap))


def _told_of_the_fit(original: Any) -> Any:
    """Wraps the call of joblib's Parallel: jobs in other threads learn that they are part of a fit."""

    @functools.wraps(original)
    def parallel(self: Any, iterable: Any) -> Any:
        fit = fits.current()
        if fit is None:
            return original(self, iterable)
        return original(self, ((_Job(function, fit), args, kwargs) for function, args, kwargs in iterable))

    return parallel


class _Job:
    """A function that is part of a fit. In another process, where nothing is observed, it is the function itself."""

    def __init__(self, function: Any, fit: Fit) -> None:
        self._function, self._fit = function, fit

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with fits.within(self._fit):
            return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial, (self._function,)


SKLEARN = Framework(
    "sklearn",
    ("sklearn", "joblib"),
    _wanted,
    {"max_tuning_runs": 5, "pos_label": None, "log_post_training_metrics": True},
    distribution="scikit-learn",
    tested="1.9",
)
