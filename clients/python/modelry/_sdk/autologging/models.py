"""How a fitted model and the data of its training are logged, and how it answers for that data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from modelry._sdk.autologging.copies import Snapshot
from modelry._sdk.autologging.fits import Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.datasets import arrays, tables

EXAMPLE_ROWS = 5
SUMMARY = "model_summary.txt"
"""The file of the summary of a model."""
_SECONDS = 10.0
"""So long may predictions and metrics for the training data take, or as long as the fit: they compete with what the
training code does."""
_FEW, _MORE = 2, 8
"""How many rows are tried first, and how many times more next."""
_SURE = 0.02
"""Some rows tell how long all of them take if they take this share of the time that there is."""


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

    from modelry._sdk.packaging import logged

    def log_it() -> None:
        model = part(kept.model)
        ask = (lambda: predict(part(kept.to_ask), rows)) if predict is not None else None
        signed = (lambda answer: features.read(lambda all: _signature(all, answer))) if features is not None else None
        logged.log(*_packed(fit, model, rows, ask, signed))

    fit.later("the model was", log_it, files=[logged.DEFAULT_PATH])


def log_model_at_once(fit: Fit, model: Any, features: Any, predict: Callable[[Any, Any], Any]) -> None:
    """Saves a model that can't be copied in the thread of the fit, and logs it in the background; see `log_model`."""
    if not fit.options.log_models:
        return
    rows = first_rows(features, EXAMPLE_ROWS) if features is not None else None
    signed = (lambda answer: _signature(features, answer)) if features is not None else None

    from modelry._sdk.packaging import logged

    def save_it() -> Callable[[], object]:
        return logged.saved(*_packed(fit, model, rows, lambda: predict(model, rows), signed))

    if (log_it := fit.attempt("the model was", save_it)) is not None:
        fit.later("the model was", log_it, files=[logged.DEFAULT_PATH])


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
    save = fit.recipe.save_model
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
        files=(),
    )


def described(features: Any, targets: Any) -> Any:
    """The dataset of features and targets: a table of the features alone, or arrays of both."""
    if hasattr(features, "iloc") or hasattr(features, "to_pandas"):
        return tables.from_pandas(features)
    return arrays.from_numpy(features, targets=targets)


def first_rows(features: Any, count: int) -> Any:
    """The first rows of a table, an array, a sparse matrix or a list. Those of a table or an array are a copy."""
    rows = features.iloc[:count] if hasattr(features, "iloc") else features[:count]
    return rows.copy() if hasattr(rows, "copy") else rows


def length_of(features: Any) -> int:
    """How many rows there are."""
    shape = getattr(features, "shape", None)
    return int(shape[0]) if shape else len(features)


class Deadline:
    """When the metrics of the training data must be done: 10 s, or as long as the fit took, after this was made."""

    def __init__(self, fit: Fit) -> None:
        self.seconds = max(_SECONDS, fit.seconds)
        self._until = time.perf_counter() + self.seconds

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return self._until - time.perf_counter()


def answers(deadline: Deadline, model: Any, rows: Any, ask: Callable[[Any, Any], Any]) -> Any:
    """What `ask(model, rows)` gives. Raises TimeoutError if it would not be done by the deadline.

    How long it takes is estimated from two rows, then from more and more of them, as long as these are quick.
    """
    count, few = length_of(rows), _FEW
    first: float | None = None
    while few * _MORE < count:
        began = time.perf_counter()
        ask(model, first_rows(rows, few))
        took = time.perf_counter() - began
        # A call has costs of its own, which the first one shows: with more rows it may take hardly longer.
        expected = took * count / few if first is None else first + (took - first) * count / (few - _FEW)
        is_sure = first is not None and took > max(_SURE * deadline.seconds, 2 * first)
        if is_sure or took * _MORE > deadline.left:
            if expected > deadline.left:
                limit = deadline.seconds
                raise TimeoutError(f"it would take about {expected:.0f} s in the background, of at most {limit:.0f} s")
            break
        first = took if first is None else first
        few *= _MORE
    return ask(model, rows)


def _signature(features: Any, answers: Any) -> Any:
    from modelry._sdk.schemas.borrowed import mlflow_module

    return mlflow_module("mlflow.models.signature").infer_signature(features, answers)
