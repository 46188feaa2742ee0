"""Hugging Face Transformers: a callback for the Trainer, and `Trainer.train`, which gets one by itself."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelry._sdk.autologging import fits
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.params import texts_of
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.quietly import quietly
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.transformers import save_model
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of

if TYPE_CHECKING:
    from modelry._sdk.fluent.active_run import ActiveRun
    from modelry._sdk.nouns.runs import Run

log = logging.getLogger("modelry")


class ModelryCallback:
    """A callback for the Trainer of Hugging Face: `Trainer(…, callbacks=[ModelryCallback()])`.

    It logs the training arguments and the configuration of the model as params, and what the Trainer reports as
    metrics, by the step of the training. It logs to `run` (a run, or the id of one, whose status stays as it is), else
    to the active run, else to a run of its own, which ends with the training. With `log_checkpoints` each checkpoint
    that the Trainer saves is uploaded, too. Of the processes of a distributed training only the first logs. It raises
    nothing into the training. Raises InvalidArgument for a `run` that is none.

    The Trainer does not tell its callbacks of an error: start the run yourself, or use `modelry.transformers.autolog`,
    to have it end as FAILED then.
    """

    def __init__(self, run: ActiveRun | Run | str | None = None, *, log_checkpoints: bool = False) -> None:
        from modelry._sdk.fluent import given_runs

        self._given = given_runs.checked(run)
        self._log_checkpoints = log_checkpoints
        self._run: ActiveRun | None = None
        self._is_ours = False
        self._silent = False

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Chooses the run and logs the params."""
        if state.is_world_process_zero:
            self._attempt("a training was", lambda: self._begin(args, model))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Logs metrics at the step of the training."""
        if state.is_world_process_zero and logs:
            self._attempt("metrics were", lambda: self._log(logs, state.global_step))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Copies the checkpoint that was saved, if asked to, and uploads it behind the training."""
        run = self._run
        if self._log_checkpoints and run is not None and state.is_world_process_zero:
            folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
            self._attempt("a checkpoint was", lambda: run.log_artifact(folder, "checkpoints", synchronous=False))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Logs the best metric and checkpoint, and ends the run if it was started here."""
        run = self._run
        if run is None:
            return
        self._attempt("the best checkpoint was", lambda: _log_best(run, state))
        if self._is_ours:
            self._attempt("the end was", lambda: run.end_soon())
        self._run, self._is_ours = None, False

    def __getattr__(self, name: str) -> Any:
        """A function that does nothing for each other event, also for those of later versions of Transformers."""
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _begin(self, args: Any, model: Any) -> None:
        from modelry._sdk.fluent import functions, given_runs

        if self._is_ours and self._run is not None:  # the training before this one raised
            self._run.end_soon("FAILED")
        self._run = given_runs.opened(self._given) or functions.active_run()
        self._is_ours = self._run is None
        if self._run is None:
            self._run = functions.start_run(run_name=args.run_name or None)
        config = getattr(model, "config", None)
        texts, _ = texts_of({**(config.to_dict() if config is not None else {}), **args.to_dict()})
        self._run.log_params(texts)

    def _log(self, logs: Mapping[str, Any], step: int) -> None:
        from modelry._sdk.fluent import functions, given_runs

        # An evaluation after the training is logged too.
        run = self._run or given_runs.opened(self._given) or functions.active_run()
        if run is not None:
            run.log_metrics({key: float(value) for key, value in logs.items() if _is_number(value)}, step=step)

    def _attempt(self, what: str, action: Callable[[], object]) -> None:
        try:
            with fits.working(), quietly():
                action()
        except Exception as problem:  # It calls other libraries, which may raise anything.
            signals.pass_on(problem)
            level = logging.DEBUG if self._silent else logging.WARNING
            log.log(level, "transformers: %s not logged: %s: %.300s", what, type(problem).__name__, said_of(problem))


class Training:
    """What a training logs."""

    flavor = "transformers"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Gives the Trainer a callback."""
        trainer = call.model
        kind = type(trainer.model)
        fit.run.set_tags({"model_name": kind.__name__, "model_class": f"{kind.__module__}.{kind.__name__}"})
        callback = ModelryCallback(fit.run, log_checkpoints=bool(fit.options.own.get("log_checkpoints")))
        callback._silent = fit.options.silent
        trainer.add_callback(callback)

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the model, if it is clear what it does. It is written to a folder at once, and logged later."""
        if fit.options.log_models:
            _log_model(fit, call.model)


def _log_model(fit: Fit, trainer: Any) -> None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    task, processing = _task_of(model), getattr(trainer, "processing_class", None)
    if task is None or processing is None or not hasattr(model, "save_pretrained"):
        fit.tell(
            "autologging of transformers: the model is not logged: %s; log it with modelry.transformers.log_model",
            f"no task is known for a {type(model).__name__}" if task is None else "the Trainer has no processing_class",
        )
        return
    from modelry._sdk.packaging import logged

    folder = tempfile.TemporaryDirectory(prefix="modelry-model-")
    model.save_pretrained(folder.name)
    processing.save_pretrained(folder.name)

    def log_it() -> None:
        def save_to(path: str, metadata: Any) -> None:
            save_model(folder.name, path, task=task, mlflow_model=metadata)

        name = fit.options.registered_model_name
        with folder:
            told = fit.tell_unregistered
            logged.log(save_to, logged.Destination(run=fit.run, registered_model_name=name, on_unregistered=told))

    fit.later("the model was", log_it, files=[logged.DEFAULT_PATH])


def _task_of(model: Any) -> str | None:
    """The task of a pipeline for which Transformers has this class of model."""
    tasks = importlib.import_module("transformers.pipelines").SUPPORTED_TASKS
    for task, described in tasks.items():
        for auto in described.get("pt", ()):
            try:
                kinds = auto._model_mapping[type(model.config)]
            except (AttributeError, KeyError):
                continue
            if type(model) in (kinds if isinstance(kinds, tuple | list) else (kinds,)):
                return str(task)
    return None


def _log_best(run: ActiveRun, state: Any) -> None:
    if state.best_metric is not None:
        run.log_metric("best_metric", float(state.best_metric))
    if state.best_model_checkpoint:
        run.set_tag("best_model_checkpoint", os.path.basename(state.best_model_checkpoint))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or getattr(value, "size", None) == 1 or _is_scalar_tensor(value)


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "numel") and value.numel() == 1


def _nothing(*_: Any, **__: Any) -> None:
    """What is done at an event that is of no interest."""


def _observe(original: Any) -> Any:
    observed = fits.observed(Training(), options_of("transformers"))(original)

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> Any:
        trainer: Any = args[0] if args else None
        before = list(_callbacks(trainer))
        is_told = any(isinstance(each, ModelryCallback) for each in before)  # the caller's own callback logs
        is_first = trainer is None or trainer.is_world_process_zero()
        if is_told or not is_first:
            with fits.working():
                return original(*args, **kwargs)
        try:
            return observed(*args, **kwargs)
        finally:
            for each in list(_callbacks(trainer)):
                if isinstance(each, ModelryCallback):
                    trainer.remove_callback(each)

    return train


def _callbacks(trainer: Any) -> Any:
    return getattr(getattr(trainer, "callback_handler", None), "callbacks", ())


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    if module.__name__ == "transformers.trainer":
        yield Replacement(vars(module)["Trainer"], "train", _observe)


TRANSFORMERS = Framework("transformers", ("transformers",), _wanted, {"log_checkpoints": False})
