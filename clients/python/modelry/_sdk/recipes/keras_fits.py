"""Keras 3: `Model.fit`, with each backend. TensorFlow's Keras is the same."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.inputs import Kept
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.keras import save_model

_NOT_PARAMS = ("self", "x", "y", "verbose", "callbacks", "validation_data", "sample_weight", "class_weight")
_BATCH_SIZE = 32
"""Keras' own, for arrays."""
_OF_STOPPING = ("monitor", "min_delta", "patience", "baseline", "restore_best_weights")


class ModelFit:
    """What a fit logs."""

    flavor = "keras"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs the arguments, the optimizer and early stopping, and adds a callback. Data is not looked at."""
        model, given = call.model, call.arguments
        kind = type(model)
        fit.run.set_tags({"model_name": kind.__name__, "model_class": f"{kind.__module__}.{kind.__name__}"})
        defaults = {name: each.default for name, each in inspect.signature(call.function).parameters.items()}
        params = {key: value for key, value in {**defaults, **given}.items() if key not in _NOT_PARAMS}
        if params["batch_size"] is None and _is_array(given.get("x")):
            params["batch_size"] = _BATCH_SIZE
        if (optimizer := getattr(model, "optimizer", None)) is not None:
            params |= {f"optimizer_{key}": value for key, value in optimizer.get_config().items()}
            params["optimizer_name"] = type(optimizer).__name__  # its own is numbered, such as `sgd_1`
        for each in _stopping(given.get("callbacks")):
            params |= {name: getattr(each, name, None) for name in _OF_STOPPING}
        fit.log_params(params)
        call.give("callbacks", _with(_listener(fit), given.get("callbacks"), model))

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs how early stopping ended, the summary, and the model, which is saved at once and uploaded later.

        A copy for the background would not do: Keras draws Python's random numbers while it loads a model.
        """
        model, given = call.model, call.arguments
        for each in _stopping(given.get("callbacks")):
            if each.stopped_epoch:
                fit.run.log_metric("stopped_epoch", each.stopped_epoch)
            if each.restore_best_weights and each.best_epoch is not None:
                fit.run.log_metric("restored_epoch", each.best_epoch)
        summary = fit.attempt("the summary of the model was", lambda: _summary(model))
        if summary:
            fit.later(
                "the summary of the model was",
                lambda: fit.run.log_text(summary, models.SUMMARY),
                files=[models.SUMMARY],
            )
        features = given.get("x") if _is_array(given.get("x")) else None
        models.log_model_at_once(fit, model, features, _answer)
        models.log_dataset(fit, _kept(features), _kept(given.get("y")))
        validation = given.get("validation_data")
        if isinstance(validation, tuple | list) and validation and _is_array(validation[0]):
            answers = validation[1] if len(validation) > 1 else None
            models.log_dataset(fit, _kept(validation[0]), _kept(answers), "eval")


def _kept(data: Any) -> Kept | None:
    return None if data is None else Kept(data)


def _is_array(given: Any) -> bool:
    """Whether it is an array of NumPy or a table of pandas, which can be read without being used up."""
    return any(
        (kind := getattr(sys.modules.get(package), name, None)) is not None and isinstance(given, kind)
        for package, name in (("numpy", "ndarray"), ("pandas", "DataFrame"))
    )


def _stopping(callbacks: Any) -> list[Any]:
    """The callbacks that stop early, of what the caller gave: None, a callback, a list of them, or a CallbackList."""
    kind = importlib.import_module("keras").callbacks.EarlyStopping
    return [each for each in _flat(callbacks) if isinstance(each, kind)]


def _flat(callbacks: Any) -> Iterator[Any]:
    given = getattr(callbacks, "callbacks", callbacks)
    if isinstance(given, list | tuple):
        for each in given:
            yield from _flat(each)
    elif given is not None:
        yield given


def _with(listener: Any, callbacks: Any, model: Any) -> Any:
    """What the caller gave and our callback, as an object of its own. Ours is the last, and so sees what others add."""
    if callbacks is None:
        return [listener]
    if not hasattr(callbacks, "callbacks"):
        return [callbacks, listener]
    both = copy.copy(callbacks)  # a CallbackList, which Keras takes as it is
    both.callbacks = [*callbacks.callbacks, listener]
    listener.set_model(model)
    listener.set_params(getattr(callbacks, "params", None) or {})
    return both


def _listener(fit: Fit) -> Any:
    """A callback of Keras that logs metrics: of each epoch, or every `log_every_n_steps` batches."""
    keras: Any = importlib.import_module("keras")
    every: int = fit.options.own.get("log_every_n_steps") or 0
    before = batches = logged = 0  # batches before this epoch, until now, and when metrics were logged

    class OfEpochs(keras.callbacks.Callback):  # type: ignore[misc]
        """Logs the metrics of each epoch."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            fit.attempt("metrics of an epoch were", lambda: self.log_epoch(epoch, logs or {}))

        def log_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
            fit.run.log_metrics(_metrics(logs), step=epoch)

    class OfBatches(OfEpochs):
        """Logs the metrics of the training every so many batches, and those of validations at the batch they follow."""

        async_safe = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            nonlocal batches, logged
            batches = before + batch + 1  # with `steps_per_execution` not each batch is told
            if batches // every > logged // every:
                logged = batches
                fit.attempt("metrics of a batch were", lambda: fit.run.log_metrics(_metrics(logs or {}), step=batches))

        def log_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
            nonlocal before
            before = batches
            found = {key: value for key, value in _metrics(logs).items() if key.startswith("validation_")}
            fit.run.log_metrics(found, step=batches)

    return OfBatches() if every else OfEpochs()


def _metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that Keras reports, with MLflow's names: `validation_loss` for `val_loss`."""
    names = {key: f"validation_{key[4:]}" if key.startswith("val_") else key for key in logs}
    return {names[key]: float(value) for key, value in logs.items() if hasattr(value, "__float__")}


def _summary(model: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lambda line, *_, **__: lines.append(line), line_length=120)
    return "\n".join(lines)


def _answer(model: Any, rows: Any) -> Any:
    return importlib.import_module("keras").ops.convert_to_numpy(model(rows, training=False))


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    if module.__name__.startswith("keras.src.backend.") and module.__name__.endswith(".trainer"):
        make = fits.observed(ModelFit(), options_of("keras"))
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == module.__name__ and "fit" in vars(kind):
                yield Replacement(kind, "fit", make)


KERAS = Framework("keras", ("keras",), _wanted, {"log_every_n_steps": None})
