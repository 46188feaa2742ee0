"""CatBoost: the fit of its models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models
from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.catboost import save_model
from modelry._sdk.recipes import boosting

_NOT_PARAMS = (
    "self",
    "X",
    "y",
    "eval_set",
    "sample_weight",
    "baseline",
    "pairs",
    "group_id",
    "callbacks",
    "init_model",
)


class ModelFit:
    """What a fit logs."""

    flavor = "catboost"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the parameters of the model and of the call, and what the model is."""
        model = call.model
        kind = type(model)
        fit.run.set_tags({"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__name__}"})
        fit.log_params(model.get_params())
        fit.log_params(boosting.without(call.arguments, *_NOT_PARAMS))
        features = call.arguments.get("X")  # perhaps a Pool, which has no rows to show
        if (
            hasattr(features, "shape")
            and hasattr(features, "__getitem__")
            and not hasattr(features, "get_feature_names")
        ):
            fit.notes["data"] = Kept(features), Kept(call.arguments.get("y"))

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the metrics of all iterations, the best one, importances and the model.

        CatBoost keeps the metrics itself. A callback would not do: it can't be used on a GPU.
        """
        model, given = call.model, call.arguments
        series = {
            boosting.name_of(data, metric): values
            for data, metrics in model.get_evals_result().items()
            for metric, values in metrics.items()
        }
        fit.later("metrics of the iterations were", lambda: _log_series(fit, series), files=())
        if given.get("eval_set") is not None and model.get_best_iteration() is not None:
            fit.run.log_metrics(
                {
                    "stopped_iteration": max(map(len, series.values()), default=0) - 1,
                    "best_iteration": model.get_best_iteration(),
                }
            )
        rows, targets = fit.notes.get("data", (None, None))
        kept = Snapshot(fit, model)
        boosting.log_importances(
            fit,
            ("prediction_values_change",),
            lambda _: dict(zip(_names_of(kept.model), kept.model.feature_importances_, strict=True)),
        )
        models.log_model(fit, kept, rows, lambda copy, few: copy.predict(few))
        models.log_dataset(fit, rows, targets)


def _log_series(fit: Fit, series: Mapping[str, Sequence[float]]) -> None:
    for key, values in series.items():
        for step, value in enumerate(values):
            if math.isfinite(value):
                fit.run.log_metric(key, value, step=step)


def _names_of(model: Any) -> list[str]:
    """The names of the features."""
    return [str(name) for name in model.feature_names_]


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    if module.__name__ == "catboost.core":
        make = fits.observed(ModelFit(), options_of("catboost"))
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == module.__name__ and "fit" in vars(kind):
                yield Replacement(kind, "fit", make)


CATBOOST = Framework("catboost", ("catboost",), _wanted, distribution="catboost", tested="1.2")
