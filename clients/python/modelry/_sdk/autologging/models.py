"""The fitted model: a copy that nothing changes any more, its predictions, and how it is logged."""

from __future__ import annotations

import functools
import importlib
import pickle
import time
from collections.abc import Callable
from typing import Any

from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.inputs import Kept

_COPIED_BYTES = 64 << 20
"""So much of the arrays of a model is copied. What is beyond is shared: a further fit makes new arrays."""
_SMALL_BYTES = 1 << 16
EXAMPLE_ROWS = 5
_PROBE_ROWS = 100


class Snapshot:
    """A fitted model as it was when this was made: a further fit of the same object does not change it.

    Raises what pickling raises.
    """

    def __init__(self, model: Any) -> None:
        self._buffers: list[pickle.PickleBuffer] = []
        self._room = _COPIED_BYTES
        try:
            self._content = pickle.dumps(model, protocol=5, buffer_callback=self._is_copied)
        except (pickle.PicklingError, AttributeError, TypeError):  # such as a lambda
            import cloudpickle

            self._buffers.clear()
            self._room = _COPIED_BYTES
            self._content = cloudpickle.dumps(model, protocol=5, buffer_callback=self._is_copied)

    @functools.cached_property
    def model(self) -> Any:
        """A copy of the model, to be logged."""
        return pickle.loads(self._content, buffers=self._buffers)

    @functools.cached_property
    def to_ask(self) -> Any:
        """A copy of the model for predictions. It draws no random numbers that the training code would have drawn."""
        copy = pickle.loads(self._content, buffers=self._buffers)
        parts: tuple[Any, ...] = (copy, getattr(copy, "best_estimator_", None))
        for part in parts:
            if hasattr(part, "get_params") and hasattr(part, "set_params"):
                params = part.get_params()
                draws = [key for key, value in params.items() if key.endswith("random_state") and value is None]
                if draws:
                    part.set_params(**dict.fromkeys(draws, 0))
        return copy

    def _is_copied(self, buffer: pickle.PickleBuffer) -> bool:
        size = buffer.raw().nbytes
        if size <= max(_SMALL_BYTES, self._room):
            self._room -= size
            return True
        self._buffers.append(buffer)
        return False


def log_model(
    fit: Fit,
    kept: Snapshot,
    features: Kept | None,
    predict: Callable[[Any, Any], Any] | None,
    part: Callable[[Any], Any] = lambda model: model,
) -> None:
    """Logs a model in the background, if the options say so, to the folder `model` of the run.

    `features` is the input of the training, None if it is not known. `predict(model, rows)` makes the output of the
    signature. What is logged is `part(model)`.
    """
    options = fit.options
    if not options.log_models:
        return
    rows = first_rows(features.now, EXAMPLE_ROWS) if features is not None else None

    def log_it() -> None:
        from modelry._sdk.packaging import logged

        model = part(kept.model)
        ask = (lambda: predict(part(kept.to_ask), rows)) if predict is not None else None
        signed = (lambda answer: features.read(lambda all: _signature(all, answer))) if features is not None else None
        logged.log(*_packed(fit, model, rows, ask, signed))

    fit.later("the model was", log_it)


def log_model_at_once(fit: Fit, model: Any, features: Any, predict: Callable[[Any, Any], Any]) -> None:
    """Saves a model that can't be copied in the thread of the fit, and logs it in the background; see `log_model`."""
    if not fit.options.log_models:
        return
    rows = first_rows(features, EXAMPLE_ROWS) if features is not None else None
    signed = (lambda answer: _signature(features, answer)) if features is not None else None

    def save_it() -> Callable[[], object]:
        from modelry._sdk.packaging import logged

        return logged.saved(*_packed(fit, model, rows, lambda: predict(model, rows), signed))

    if (log_it := fit.attempt("the model was", save_it)) is not None:
        fit.later("the model was", log_it)


def _packed(
    fit: Fit, model: Any, rows: Any, ask: Callable[[], Any] | None, signed: Callable[[Any], Any] | None
) -> tuple[Any, Any]:
    """What `logged.log` needs: a function that saves the model with its signature, and the destination.

    `ask` makes the output for the example rows, and `signed` the signature with an output.
    """
    from modelry._sdk.packaging import logged

    options = fit.options
    signature = None
    if options.log_model_signatures and ask is not None and signed is not None:
        answer = fit.attempt("signature was", ask)
        if answer is not None:
            signature = fit.attempt("signature was", lambda: signed(answer))
    # Flavors are public modules above this one: what `modelry.<flavor>.save_model` is, only they know.
    save = importlib.import_module(f"modelry.{fit.flavor}").save_model
    example = rows if options.log_input_examples else None

    def save_to(folder: str, metadata: Any) -> None:
        save(model, folder, mlflow_model=metadata, signature=signature, input_example=example)

    return save_to, logged.Destination(
        run=fit.run, registered_model_name=options.registered_model_name, on_unregistered=fit.tell_unregistered
    )


def log_dataset(fit: Fit, features: Kept | None, targets: Kept | None, context: str = "train") -> None:
    """Records the data of the training in the background, if the options say so. Of a table the features alone."""
    if not fit.options.log_datasets or features is None:
        return
    answers = targets or Kept(None)
    fit.later(
        f"the dataset {context!r} was",
        lambda: fit.run.log_input(features.read(lambda rows: answers.read(lambda y: described(rows, y))), context),
    )


def described(features: Any, targets: Any) -> Any:
    """The dataset of features and targets: a table of the features alone, or arrays of both."""
    datasets: Any = importlib.import_module("modelry.datasets")
    if hasattr(features, "iloc") or hasattr(features, "to_pandas"):
        return datasets.from_pandas(features)
    return datasets.from_numpy(features, targets=targets)


def first_rows(features: Any, count: int) -> Any:
    """The first rows of a table, an array, a sparse matrix or a list. Those of a table or an array are a copy."""
    rows = features.iloc[:count] if hasattr(features, "iloc") else features[:count]
    return rows.copy() if hasattr(rows, "copy") else rows


def length_of(features: Any) -> int:
    """How many rows there are."""
    shape = getattr(features, "shape", None)
    return int(shape[0]) if shape else len(features)


def soon(fit: Fit, model: Any, kept: Snapshot, data: Kept, ask: Callable[[Any, Any], Any]) -> Any:
    """A function that answers with `ask(model, data)`, which is done at once if that is quick compared to the fit.

    Otherwise it is done in the background, with a copy of the model and the same features. How long it takes is
    estimated from some rows; quick is 1 % of the time of the fit, and at least 10 ms.
    """
    features = data.now
    count = length_of(features)
    limit = max(0.01, 0.01 * fit.seconds)
    if count > 2 * _PROBE_ROWS:
        rows = first_rows(features, _PROBE_ROWS)
        began = time.perf_counter()
        ask(model, rows)
        once = time.perf_counter() - began
        if once * (count / _PROBE_ROWS) > limit:
            # Calling it has costs of its own, so that more rows may take hardly longer: try with more of them.
            more = first_rows(features, min(count, 10 * _PROBE_ROWS))
            began = time.perf_counter()
            ask(model, more)
            longer = max(0.0, time.perf_counter() - began - once)
            if once + longer * count / (9 * _PROBE_ROWS) > limit:
                return lambda: data.read(lambda rows: ask(kept.to_ask, rows))
    answer = data.read(lambda rows: ask(model, rows))
    return lambda: answer


def _signature(features: Any, answers: Any) -> Any:
    from modelry._sdk.schemas.borrowed import mlflow_module

    return mlflow_module("mlflow.models.signature").infer_signature(features, answers)
