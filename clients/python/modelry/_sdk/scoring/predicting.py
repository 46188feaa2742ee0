"""What a model says of data: labels or numbers, and probabilities where it has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.scoring.given import one_column
from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.texts import said_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.scoring.scoring import Array, Floats


@dataclass
class Predictions:
    """What a model said of each row. `shares` are probabilities with a column for each of `classes`, if it gives any.

    `classes` is None if the model does not name them. `why_none` says why there are no probabilities.
    """

    said: Array | None
    shares: Floats | None = None
    classes: Sequence[Any] | None = None
    why_none: str = ""


def loaded(model: Any, client: Client | None) -> Any:
    """The model of a URI or a folder; what is none of these is returned as it is."""
    if not isinstance(model, str | os.PathLike):
        return model
    from modelry._sdk.packaging.flavor import PYTHON_FUNCTION, FlavorShell

    return FlavorShell("mlflow.pyfunc", PYTHON_FUNCTION).load(model, dst_path=None, client=client)


def predictions_of(
    model: Any, features: Any, *, with_shares: bool, batch_rows: int | None = None, params: Any = None
) -> Predictions:
    """Asks a model: a pyfunc, a fitted estimator, or a function of the features.

    With `with_shares` its probabilities are asked for too. `batch_rows` bounds how many rows it gets at once. Raises
    InvalidArgument for what can't predict, or gives other than a prediction for each row.
    """
    predict = getattr(model, "predict", None) or model
    if not callable(predict):
        raise InvalidArgument(
            f"a {type(model).__name__} can't predict; give a URI, a model with predict, or a function"
        )
    rows = _count(features)
    options = {} if params is None else {"params": params}
    said = _batched(lambda part: predict(part, **options), features, batch_rows)
    if not with_shares:
        return Predictions(_of_rows(one_column(said, "predictions"), rows))
    found = _told_apart(said, rows)
    if found.shares is None:
        _add_shares(found, model, features, batch_rows, rows)
    return found


def _told_apart(said: Any, rows: int) -> Predictions:
    """Labels, or a table of probabilities, whose columns may name the classes."""
    array = array_of(said)
    if array.ndim == 2 and array.shape[1] > 1:
        names = list(said.columns) if hasattr(said, "columns") else None
        return Predictions(None, _shares(_of_rows(array, rows)), names)
    return Predictions(_of_rows(one_column(said, "predictions"), rows))


def _add_shares(found: Predictions, model: Any, features: Any, batch_rows: int | None, rows: int) -> None:
    asked = with_probabilities(model)
    if asked is None:
        found.why_none = f"{type(model).__name__} has no predict_proba"
        return
    try:
        shares = array_of(_batched(asked.predict_proba, features, batch_rows))
        if shares.ndim != 2:
            raise InvalidArgument(f"predict_proba gave the shape {shares.shape}")
        found.shares = _shares(_of_rows(shares, rows))
        found.classes = list(asked.classes_) if hasattr(asked, "classes_") else None
    except Exception as problem:  # It is the code of the model, which may raise anything.
        signals.pass_on(problem)
        found.shares = None
        found.why_none = f"predict_proba failed: {type(problem).__name__}: {said_of(problem)}"


def with_probabilities(model: Any) -> Any:
    """The model, or the one inside a pyfunc, if it gives probabilities; else None."""
    if hasattr(model, "predict_proba"):
        return model
    inside = getattr(model, "get_raw_model", None)
    if inside is None:
        return None
    try:
        raw = inside()
    except Exception as problem:  # MLflow raises several kinds for models that have none.
        signals.pass_on(problem)
        return None
    return raw if hasattr(raw, "predict_proba") else None


def _shares(array: Array) -> Floats:
    """Probabilities. Raises InvalidArgument for what can't be any."""
    try:
        shares = array.astype(np.float64 if array.dtype.kind != "f" else array.dtype)
    except (TypeError, ValueError):
        raise InvalidArgument(f"the probabilities are no numbers: {array[0]!r}") from None
    low, high = float(shares.min()), float(shares.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InvalidArgument(
            f"probabilities must be from 0 to 1, and these go from {low:g} to {high:g}; apply softmax or sigmoid first"
        )
    return shares


def _batched(predict: Any, features: Any, batch_rows: int | None) -> Any:
    rows = _count(features)
    if batch_rows is None or batch_rows >= rows:
        return predict(features)
    if batch_rows < 1:
        raise InvalidArgument(f"batch_rows={batch_rows} must be 1 or more")
    parts = [predict(_cut(features, begin, begin + batch_rows)) for begin in range(0, rows, batch_rows)]
    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts)
    return np.concatenate([array_of(part) for part in parts])


def _cut(features: Any, begin: int, end: int) -> Any:
    if isinstance(features, dict):
        return {name: values[begin:end] for name, values in features.items()}
    return features.iloc[begin:end] if hasattr(features, "iloc") else features[begin:end]


def _count(features: Any) -> int:
    if isinstance(features, dict):
        return len(next(iter(features.values()), ()))
    return int(features.shape[0])


def _of_rows(array: Array, rows: int) -> Array:
    if len(array) != rows:
        raise InvalidArgument(f"the model gave {len(array)} predictions for {rows} rows; it must give one for each row")
    return array
