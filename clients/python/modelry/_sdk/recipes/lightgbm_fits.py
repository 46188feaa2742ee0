"""LightGBM: `lightgbm.train`, and the models of its scikit-learn interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from modelry._sdk.autologging import models
from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.switch import Framework
from modelry._sdk.flavors.lightgbm import save_model
from modelry._sdk.recipes import boosting, sklearn_fits
from modelry._sdk.recipes.boosting import Progress

_NOT_PARAMS = ("params", "train_set", "valid_sets", "valid_names", "feval", "init_model", "callbacks")
_EARLY = ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change")


class Training:
    """What `lightgbm.train` logs."""

    flavor = "lightgbm"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the parameters of the booster and of the call, and listens to the iterations."""
        given = call.arguments
        defaults = {name: each.default for name, each in inspect.signature(call.function).parameters.items()}
        fit.log_params(boosting.without({**defaults, **given}, *_NOT_PARAMS))
        fit.log_params(dict(given.get("params") or {}))
        # The data is kept before: the training may free it.
        train = given["train_set"]
        others = [each for each in _listed(given.get("valid_sets")) if each is not train]
        fit.notes["data"] = [(context, *_data_of(each)) for context, each in _named(train, others)]
        listen(fit, call)

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the best iteration, the importances and the model."""
        kept = Snapshot(fit, result)
        stops_early = _stops_early(call.arguments.get("params"), call.arguments.get("callbacks"))
        log_booster(fit, result, kept, lambda copy: copy, stops_early)
        data = fit.notes.get("data") or [("train", None, None)]
        models.log_model(fit, kept, data[0][1], lambda model, rows: model.predict(rows))
        for context, features, labels in data:
            models.log_dataset(fit, features, labels, context)


class EstimatorFit(sklearn_fits.EstimatorFit):
    """What a fit of the scikit-learn interface logs: what an estimator of scikit-learn does, and the iterations."""

    flavor = "lightgbm"
    save_model = staticmethod(save_model)

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the best iteration and the importances too."""
        super().after(fit, call, result)
        stops_early = _stops_early(call.model.get_params(), call.arguments.get("callbacks"))
        log_booster(fit, call.model.booster_, fit.notes["kept"], lambda copy: copy.booster_, stops_early)


def listen(fit: Fit, call: Call) -> None:
    """Adds a callback to a call of `train` that logs the metrics of each iteration."""
    progress = fit.notes["progress"] = Progress(fit)

    def listener(state: Any) -> None:
        values = {boosting.name_of(each[0], each[1]): float(each[2]) for each in state.evaluation_result_list or ()}
        progress.add(state.iteration, values)

    listener.order = 15  # type: ignore[attr-defined]  # after LightGBM's own, and before the one that may end it (30)
    call.give("callbacks", [*(call.arguments.get("callbacks") or ()), listener])


def log_booster(fit: Fit, booster: Any, kept: Snapshot | None, part: Callable[[Any], Any], stops_early: bool) -> None:
    """Logs the best iteration, and in the background the importances that the booster of a copy, its part, has."""
    progress: Progress | None = fit.notes.get("progress")
    if stops_early and progress is not None and booster.best_iteration > 0:
        progress.log_best(booster.best_iteration - 1)
    kinds = list(fit.options.own.get("importance_types") or ())

    def scores_of(copy: Any, kind: str) -> dict[str, float]:
        return dict(zip(copy.feature_name(), copy.feature_importance(kind), strict=True))

    if kept is not None:
        boosting.log_importances(fit, kinds, lambda kind: scores_of(part(kept.model), kind))


def _stops_early(params: Any, callbacks: Any) -> bool:
    asked = any((params or {}).get(name) for name in _EARLY)
    return asked or any(type(each).__name__ == "_EarlyStoppingCallback" for each in callbacks or ())


def _listed(sets: Any) -> list[Any]:
    return list(sets) if isinstance(sets, list | tuple) else [] if sets is None else [sets]


def _named(train: Any, others: list[Any]) -> list[tuple[str, Any]]:
    return [("train", train), *(("eval", each) for each in others)]


def _data_of(data: Any) -> tuple[Kept | None, Kept | None]:
    """The features and labels of a Dataset. None for those that it has freed, and for a file."""
    features = data.data
    rows = hasattr(features, "shape") or isinstance(features, list)
    return (Kept(features), Kept(data.label)) if rows else (None, None)


LIGHTGBM = Framework(
    "lightgbm",
    ("lightgbm",),
    boosting.wanted("lightgbm", "lightgbm.engine", Training(), EstimatorFit(), listen),
    {"importance_types": ["split", "gain"], "pos_label": None},
    distribution="lightgbm",
    tested="4.7",
)
