"""scikit-learn: what the training code finds out about a fitted model is logged to the run of its fit.

A prediction of such a model is remembered by weak references, with the name of the data that it was made for. A metric
of scikit-learn that takes the prediction, or a column of it, is logged as `<metric>_<data>`.
"""

from __future__ import annotations

import functools
import inspect
import numbers
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType, FunctionType, ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models
from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import options_of
from modelry._sdk.recording import afterwork

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score")
_METRICS = ("_score", "_loss", "_error", "_deviance", "_corrcoef")
"""The ends of the names of functions that compute a metric."""
_OPTION = "log_post_training_metrics"
_UNKNOWN = "unknown_dataset"
_SEARCHED = 1000
"""The data is looked for in variables that are dictionaries of at most so many."""


@dataclass(eq=False)
class _Fitted:
    """The fit of a model, and which metrics were logged since, with the calls that made them."""

    fit: Fit
    calls: dict[str, str] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    """How often each metric was logged."""
    is_waiting: bool = False
    """Whether a job waits that logs the calls."""
    lock: Any = field(default_factory=threading.Lock)
    seen: list[Callable[[], Any]] = field(default_factory=list)
    """The data that is recorded, by weak references."""


@dataclass(eq=False)
class _Prediction:
    fitted: _Fitted
    name: str
    data: Callable[[], Any]


class _Remembered:
    """Objects by identity, for as long as they live."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def put(self, key: Any, value: Any) -> None:
        number = id(key)
        try:
            self._known[number] = weakref.ref(key, lambda _: self._known.pop(number, None)), value
        except TypeError:  # such as a list, which has no weak references
            return

    def get(self, key: Any) -> Any:
        found = self._known.get(id(key))
        return found[1] if found is not None and found[0]() is key else None


_models, _predictions = _Remembered(), _Remembered()


def remember(fit: Fit, model: Any, features: Any) -> None:
    """Has metrics of a fitted model logged from now on, also those of the best one that a search found."""
    if not fit.options.own.get(_OPTION):
        return
    fitted = _Fitted(fit)
    fitted.seen.append(_weakly(features))
    _models.put(model, fitted)
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        _models.put(best, fitted)


def asked(original: Any) -> Any:
    """Makes the wrapper of a method of an estimator that predicts or scores."""

    @functools.wraps(original)
    def ask(*args: Any, **kwargs: Any) -> Any:
        fitted = _models.get(args[0]) if args else None
        if fitted is None or fits.is_part() or not _is_wanted():
            return original(*args, **kwargs)
        with fits.working():
            answer = original(*args, **kwargs)
        data = args[1] if len(args) > 1 else kwargs.get("X")
        caller = inspect.currentframe()
        fitted.fit.attempt(
            "a prediction was", lambda: _note(fitted, original, args[0], data, answer, caller and caller.f_back)
        )
        return answer

    return ask


def _is_wanted() -> bool:
    options = options_of("sklearn")()
    return options is not None and bool(options.own.get(_OPTION))


def _note(fitted: _Fitted, method: Any, model: Any, data: Any, answer: Any, caller: FrameType | None) -> None:
    prediction = _Prediction(fitted, _name_of(data, caller), _weakly(data))
    if method.__name__ != "score":
        _predictions.put(answer, prediction)
    elif isinstance(answer, numbers.Real):
        kind = type(model).__name__
        _log(prediction, f"{kind}_score", float(answer), f"{kind}.score(X={prediction.name})")


def measured(original: Any) -> Any:
    """Makes the wrapper of a function that computes a metric."""

    @functools.wraps(original)
    def measure(*args: Any, **kwargs: Any) -> Any:
        if fits.is_part():
            return original(*args, **kwargs)
        found = next((each for each in map(_prediction_of, (*args, *kwargs.values())) if each is not None), None)
        if found is None:
            return original(*args, **kwargs)
        with fits.working():
            answer = original(*args, **kwargs)
        if isinstance(answer, numbers.Real):
            said = [f"{key}={value!r:.50}" for key, value in kwargs.items() if isinstance(value, str | int | float)]
            call = f"{original.__name__}({', '.join([f'<predictions for {found.name}>', *said])})"
            value = float(answer)
            found.fitted.fit.attempt("a metric was", lambda: _log(found, original.__name__, value, call))
        return answer

    return measure


def _prediction_of(given: Any) -> _Prediction | None:
    """The prediction that an argument is, or is a view of, such as a column."""
    found: _Prediction | None = _predictions.get(given)
    base = getattr(given, "base", None)
    return found if found is not None or base is None else _predictions.get(base)


def _log(prediction: _Prediction, metric: str, value: float, call: str) -> None:
    fitted, run = prediction.fitted, prediction.fitted.fit.run
    key = f"{metric}_{prediction.name}"
    with fitted.lock:
        while True:
            fitted.numbers[key] += 1
            name = key if fitted.numbers[key] == 1 else f"{key}-{fitted.numbers[key]}"
            if name not in fitted.calls:
                break
        fitted.calls[name] = call
        is_first, fitted.is_waiting = not fitted.is_waiting, True
    if value == value:
        run.log_metric(name, value)
    data = prediction.data()
    is_new = data is not None and all(each() is not data for each in fitted.seen)
    if is_new:
        fitted.seen.append(prediction.data)
    kept = Kept(data) if is_new and fitted.fit.options.log_datasets else None

    def log_rest() -> None:
        with fits.working():
            if is_first:
                fitted.fit.attempt("metric_info.json was", lambda: _log_calls(fitted))
            if kept is not None:
                record = functools.partial(kept.read, lambda rows: run.log_input(models.described(rows, None), "eval"))
                fitted.fit.attempt("the dataset 'eval' was", record)

    if is_first or kept is not None:  # in a loop many metrics are computed before one job is done
        afterwork.give(run.run_id, log_rest, files=["metric_info.json"] if is_first else ())


def _log_calls(fitted: _Fitted) -> None:
    with fitted.lock:
        calls, fitted.is_waiting = dict(fitted.calls), False
    fitted.fit.run.log_dict(calls, "metric_info.json")


def _weakly(data: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(data)
    except TypeError:
        return lambda: None


def _name_of(data: Any, caller: FrameType | None) -> str:
    """The name of the variable of the caller that has the data, or of its dictionary with the key."""
    variables = [] if caller is None else [caller.f_locals, caller.f_globals]
    for names in variables:
        for name, value in names.items():
            if value is data:
                return str(name)
    for names in variables:
        for name, value in names.items():
            if isinstance(value, dict) and len(value) <= _SEARCHED:
                for key, each in value.items():
                    if each is data and isinstance(key, str):
                        return f"{name}_{key}"
    return _UNKNOWN


def metrics_of(module: ModuleType) -> Iterator[Replacement]:
    """The functions of scikit-learn in a module that compute a metric."""
    for name, function in list(vars(module).items()):
        is_own = isinstance(function, FunctionType) and function.__module__ == module.__name__
        if is_own and not name.startswith("_") and name.endswith(_METRICS):
            yield Replacement(module, name, measured)
