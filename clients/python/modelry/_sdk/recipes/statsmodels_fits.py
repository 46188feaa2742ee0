"""statsmodels: the fit of every model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models
from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.statsmodels import save_model

_METRICS = (
    *("aic", "bic", "centered_tss", "condition_number", "df_model", "df_resid", "ess", "f_pvalue", "fvalue", "llf"),
    *("mse_model", "mse_resid", "mse_total", "rsquared", "rsquared_adj", "scale", "ssr", "uncentered_tss"),
)


class ModelFit:
    """What a fit logs."""

    flavor = "statsmodels"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the arguments of the fit and what the model is."""
        kind = type(call.model)
        fit.run.set_tags({"model_name": kind.__name__, "model_class": f"{kind.__module__}.{kind.__name__}"})
        known = list(inspect.signature(call.function).parameters.values())
        defaults = {each.name: each.default for each in known if each.default is not each.empty}
        fit.log_params({key: value for key, value in {**defaults, **call.arguments}.items() if key != known[0].name})

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the figures of the results, their summary and the results themselves."""
        kept = Snapshot(fit, result)

        def log_figures() -> None:
            results = kept.model
            for name in _METRICS:
                value = _number(results, name)
                if value is not None:
                    fit.run.log_metric(name, value)

        fit.later("the figures of the results were", log_figures, files=())
        fit.later(
            "the summary was",
            lambda: fit.run.log_text(kept.model.summary().as_text(), models.SUMMARY),
            files=[models.SUMMARY],
        )
        models.log_model(fit, kept, None, None)


def _number(results: Any, name: str) -> float | None:
    try:
        value = float(getattr(results, name))
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # these results do not have it
        return None
    return value if value == value else None


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    make = fits.observed(ModelFit(), options_of("statsmodels"))
    for kind in list(vars(module).values()):
        is_own = isinstance(kind, type) and kind.__module__ == module.__name__
        if is_own and _is_model(kind) and isinstance(vars(kind).get("fit"), FunctionType):
            yield Replacement(kind, "fit", make)


def _is_model(kind: type) -> bool:
    return any((each.__module__, each.__name__) == ("statsmodels.base.model", "Model") for each in kind.__mro__)


STATSMODELS = Framework("statsmodels", ("statsmodels",), _wanted, distribution="statsmodels", tested="0.15")
