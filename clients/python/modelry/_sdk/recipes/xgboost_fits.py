"""XGBoost: `xgboost.train`, and the models of its scikit-learn interface."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from modelry._sdk.autologging import models
from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.switch import Framework
from modelry._sdk.flavors.xgboost import save_model
from modelry._sdk.recipes import boosting, sklearn_fits
from modelry._sdk.recipes.boosting import Progress

_NOT_PARAMS = ("params", "dtrain", "evals", "obj", "feval", "custom_metric", "callbacks", "evals_result", "xgb_model")


class Training:
    """What `xgboost.train` logs."""

    flavor = "xgboost"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the parameters of the booster and of the call, and listens to the iterations."""
        given = call.arguments
        defaults = {name: each.default for name, each in inspect.signature(call.function).parameters.items()}
        fit.log_params(boosting.without({**defaults, **given}, *_NOT_PARAMS))
        fit.log_params(dict(given.get("params") or {}))
        listen(fit, call)

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the best iteration, the importances and the model."""
        kept = Snapshot(fit, result)
        log_booster(fit, result, kept, lambda copy: copy)
        matrix = call.arguments.get("dtrain")
        features = None
        if fit.options.log_model_signatures or fit.options.log_input_examples:
            features = fit.attempt("the input example was", lambda: _rows_of(matrix))
        models.log_model(fit, kept, None if features is None else Kept(features), _of_a_matrix)
        log_matrix(fit, matrix, "train")
        for other, _ in call.arguments.get("evals") or ():
            if other is not matrix:
                log_matrix(fit, other, "eval")


class EstimatorFit(sklearn_fits.EstimatorFit):
    """What a fit of the scikit-learn interface logs: what an estimator of scikit-learn does, and the iterations."""

    flavor = "xgboost"
    save_model = staticmethod(save_model)

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the best iteration and the importances too."""
        super().after(fit, call, result)
        log_booster(fit, call.model.get_booster(), fit.notes["kept"], lambda copy: copy.get_booster())


def listen(fit: Fit, call: Call) -> None:
    """Adds a callback to a call of `train` that logs the metrics of each iteration."""
    callbacks: Any = sys.modules["xgboost.callback"]
    progress = fit.notes["progress"] = Progress(fit)

    class Listener(callbacks.TrainingCallback):  # type: ignore[misc]
        """Logs what the booster evaluates."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            progress.add(
                epoch,
                {
                    boosting.name_of(data, metric): _value(values[-1])
                    for data, each in evals_log.items()
                    for metric, values in each.items()
                },
            )
            return False

    # Before the caller's, since one of these may end the training at this iteration.
    call.give("callbacks", [Listener(), *(call.arguments.get("callbacks") or ())])


def log_matrix(fit: Fit, matrix: Any, context: str) -> None:
    """Records the data of a DMatrix, which has a copy of it: a sparse matrix of what is not missing, and the labels."""
    if fit.options.log_datasets:
        labels = matrix.get_label()
        fit.later(
            f"the dataset {context!r} was",
            lambda: fit.run.log_input(models.described(matrix.get_data(), labels if len(labels) else None), context),
            files=(),
        )


def log_booster(fit: Fit, booster: Any, kept: Snapshot | None, part: Callable[[Any], Any]) -> None:
    """Logs the best iteration, and in the background the importances that the booster of a copy, its part, has."""
    progress: Progress | None = fit.notes.get("progress")
    if progress is not None and booster.attr("best_iteration") is not None:  # set by early stopping only
        progress.log_best(booster.best_iteration)
    kinds = fit.options.own.get("importance_types") or ()
    if kept is not None:
        boosting.log_importances(fit, kinds, lambda kind: part(kept.model).get_score(importance_type=kind))


def _value(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def _rows_of(matrix: Any) -> Any:
    import numpy as np

    rows = matrix.slice(list(range(min(models.EXAMPLE_ROWS, matrix.num_row())))).get_data().toarray()
    names = matrix.feature_names
    pandas: Any = sys.modules.get("pandas")
    return pandas.DataFrame(rows, columns=names) if pandas is not None and names else np.asarray(rows)


def _of_a_matrix(model: Any, rows: Any) -> Any:
    import xgboost

    return model.predict(xgboost.DMatrix(rows))


XGBOOST = Framework(
    "xgboost",
    ("xgboost",),
    boosting.wanted("xgboost", "xgboost.training", Training(), EstimatorFit(), listen),
    {"importance_types": ["weight"], "pos_label": None},
    distribution="xgboost",
    tested="3.2",
)
