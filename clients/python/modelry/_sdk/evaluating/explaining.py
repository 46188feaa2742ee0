"""Explanations: how much each feature moves the predictions, by SHAP (Lundberg and Lee, 2017)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np

from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.texts import said_of

_BACKGROUND_ROWS, _EXPLAINED_ROWS = 100, 200


def mean_shap_values(model: Any, features: Any, seed: int) -> tuple[list[dict[str, Any]], str]:
    """The mean size of the SHAP values of each feature over at most 200 rows, the largest first; or why there are none.

    Rows are drawn by `seed`, others stand for the background. Features must be numbers. Of a classifier the
    probabilities are explained, over all classes.
    """
    if importlib.util.find_spec("shap") is None:
        return [], "shap is not installed: pip install shap"
    try:
        raw = getattr(model, "get_raw_model", lambda: model)()
        asked = getattr(raw, "predict_proba", None) or getattr(raw, "predict", None) or raw
        names = [str(name) for name in getattr(features, "columns", range(np.shape(features)[1]))]
        array = array_of(features).astype(np.float64)
        rows = np.random.default_rng(seed).permutation(len(array))
        background, explained = array[rows[:_BACKGROUND_ROWS]], array[rows[-_EXPLAINED_ROWS:]]

        def ask(part: Any) -> Any:
            if not hasattr(features, "columns"):
                return asked(part)
            return asked(type(features)(part, columns=features.columns))

        values = np.abs(
            array_of(importlib.import_module("shap").Explainer(ask, background, seed=seed)(explained).values)
        )
    except Exception as problem:  # It calls SHAP and the model, which may raise anything.
        signals.pass_on(problem)
        return [], f"{type(problem).__name__}: {said_of(problem)}"
    means = values.mean(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
    order = np.argsort(-means)
    return [{"feature": names[at], "mean_shap_value": float(means[at])} for at in order], ""
