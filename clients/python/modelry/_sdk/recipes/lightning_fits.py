"""PyTorch Lightning: `Trainer.fit` of the packages `lightning` and `pytorch_lightning`."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from modelry._sdk.autologging import fits, models
from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import Framework, options_of
from modelry._sdk.flavors.pytorch import save_model

_TRAINERS = {
    "lightning.pytorch.trainer.trainer": "lightning.pytorch",
    "pytorch_lightning.trainer.trainer": "pytorch_lightning",
}
"""The module of each trainer, and the package that has its callbacks."""
_SHARED = "MODELRY_RUN_ID"
"""Tells the other ranks, which run the same script from its beginning, which run their first `start_run` continues."""
_OF_TRAINER = ("precision", "accumulate_grad_batches", "gradient_clip_val")
_OF_STOPPING = ("monitor", "mode", "patience", "min_delta")


class Training:
    """What a fit of a trainer logs."""

    flavor = "pytorch"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Names the model, and adds a callback. The caller's list of callbacks stays as it is."""
        trainer, model = call.model, call.arguments["model"]
        kind = type(model)
        fit.run.set_tags({"model_name": kind.__name__, "model_class": f"{kind.__module__}.{kind.__name__}"})
        if _starts_scripts(trainer):
            os.environ.setdefault(_SHARED, fit.run.run_id)
        package = next(_TRAINERS[each.__module__] for each in type(trainer).__mro__ if each.__module__ in _TRAINERS)
        trainer.callbacks = [_listener(package, Progress(fit)), *trainer.callbacks]

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs how early stopping ended, the best checkpoint, the summary of the model and the model."""
        trainer, model = call.model, call.arguments["model"]
        model = getattr(model, "_orig_mod", model)  # of torch.compile
        for each in _named(trainer.callbacks, "EarlyStopping"):
            fit.attempt("early stopping was", functools.partial(_log_stopping, fit, each))
        if fit.options.own.get("checkpoint"):
            fit.attempt("the best checkpoint was", lambda: _log_checkpoint(fit, trainer))
        summary = fit.attempt("the summary of the model was", lambda: _summary(model))
        if summary:
            fit.later(
                "the summary of the model was",
                lambda: fit.run.log_text(summary, models.SUMMARY),
                files=[models.SUMMARY],
            )
        example: Any = getattr(model, "example_input_array", None)
        rows = example.detach().cpu().numpy() if hasattr(example, "detach") else None
        models.log_model_at_once(fit, model, rows, _answer)


class Progress:
    """The metrics of a training as it goes: those of steps by the step of the optimizer, those of epochs by the epoch.

    A metric is new if its tensor is another one than before: the trainer keeps those of former epochs.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._seen: dict[str, Any] = {}
        self._of_steps: set[str] = set()
        self._of_validation: set[str] = set()
        self._epoch: int | None = None
        self._step = 0

    def begin(self, trainer: Any) -> None:
        """Logs the params of the trainer, the optimizers and the model."""
        self._attempt("params were", trainer, lambda: self._fit.log_params(_params(trainer)))

    def end_step(self, trainer: Any) -> None:
        """Logs the metrics of a step, each n-th and at the end of an epoch."""
        step = trainer.global_step
        every = self._fit.options.own.get("log_every_n_step") or trainer.log_every_n_steps
        if every and step != self._step and (step % every == 0 or trainer.is_last_batch):
            self._step = step
            self._attempt("metrics of a step were", trainer, lambda: self._log_step(trainer, step))

    def begin_validation(self, trainer: Any) -> None:
        """Notes the metrics of the training, which are not those of the validation."""
        self._attempt("metrics of a validation were", trainer, lambda: self._new(trainer.callback_metrics))

    def end_validation(self, trainer: Any) -> None:
        """Logs the metrics of a validation."""
        if not trainer.sanity_checking:
            self._attempt("metrics of a validation were", trainer, lambda: self._log_validation(trainer))

    def end_epoch(self, trainer: Any) -> None:
        """Notes that an epoch is over. What the model logs at its end comes after this."""
        self._epoch = trainer.current_epoch

    def finish_epoch(self, trainer: Any) -> None:
        """Logs the metrics of the last epoch that is over."""
        epoch, self._epoch = self._epoch, None
        every = self._fit.options.own.get("log_every_n_epoch") or 1
        if epoch is not None and (epoch + 1) % every == 0:
            self._attempt("metrics of an epoch were", trainer, lambda: self._log_epoch(trainer, epoch))

    def _attempt(self, what: str, trainer: Any, action: Callable[[], Any]) -> None:
        if trainer.is_global_zero:
            self._fit.attempt(what, action)

    def _log_step(self, trainer: Any, step: int) -> None:
        found = self._new(trainer.logged_metrics)
        self._of_steps |= found.keys()
        self._fit.run.log_metrics(found, step=step)

    def _log_validation(self, trainer: Any) -> None:
        found = self._new(trainer.callback_metrics)
        self._of_validation |= found.keys()
        several = trainer.val_check_batch is None or trainer.val_check_batch < trainer.num_training_batches
        self._fit.run.log_metrics(found, step=trainer.global_step if several else trainer.current_epoch)

    def _log_epoch(self, trainer: Any, epoch: int) -> None:
        found = self._new({**trainer.callback_metrics, **trainer.logged_metrics})
        others = self._of_steps | self._of_validation
        self._fit.run.log_metrics({key: value for key, value in found.items() if key not in others}, step=epoch)

    def _new(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        found = {key: value for key, value in metrics.items() if self._seen.get(key) is not value}
        self._seen.update(found)
        return {key: float(value) for key, value in found.items()}


def _listener(package: str, progress: Progress) -> Any:
    """A callback of Lightning that tells `progress` what happens."""
    callbacks: Any = importlib.import_module(f"{package}.callbacks")

    class Listener(callbacks.Callback):  # type: ignore[misc]
        """Logs what the trainer knows."""

        of_autologging = True

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            progress.begin(trainer)

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            progress.finish_epoch(trainer)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any, **more: Any) -> None:
            progress.end_step(trainer)

        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            progress.begin_validation(trainer)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            progress.end_validation(trainer)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            progress.end_epoch(trainer)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            progress.finish_epoch(trainer)

        def __reduce__(self) -> Any:
            """For a training in processes that this one starts: the first of them logs."""
            return _listener, (package, progress)

    return Listener()


def _params(trainer: Any) -> dict[str, Any]:
    """The hyperparameters of the model, and with MLflow's names those of the trainer and its optimizers."""
    params: dict[str, Any] = dict(getattr(trainer.lightning_module, "hparams", None) or {})
    params |= {name: getattr(trainer, name) for name in _OF_TRAINER if getattr(trainer, name, None) is not None}
    params["epochs"] = trainer.max_epochs
    if trainer.max_steps not in (None, -1):
        params["max_steps"] = trainer.max_steps
    for number, optimizer in enumerate(trainer.optimizers, 1):
        prefix = "" if number == 1 else f"optimizer_{number}_"
        optimizer = getattr(optimizer, "optimizer", optimizer)
        params[f"{prefix}optimizer_name" if number == 1 else f"{prefix}name"] = type(optimizer).__name__
        params |= {f"{prefix}{key}": value for key, value in optimizer.defaults.items()}
    for each in _named(trainer.callbacks, "EarlyStopping"):
        params |= {name: getattr(each, name) for name in _OF_STOPPING if hasattr(each, name)}
    return params


def _log_stopping(fit: Fit, stopping: Any) -> None:
    values = {"stopped_epoch": stopping.stopped_epoch, "wait_count": stopping.wait_count}
    if stopping.stopped_epoch:
        fit.run.log_metrics({**values, "best_score": float(stopping.best_score)})


def _log_checkpoint(fit: Fit, trainer: Any) -> None:
    """Uploads the best checkpoint of each callback that has one, to the folder `checkpoints`."""
    paths = []
    for each in _named(trainer.callbacks, "ModelCheckpoint"):
        if each.best_model_score is not None:
            fit.run.log_metric("best_model_score", float(each.best_model_score))
        paths.append(each.best_model_path)
    for path in {each: None for each in paths if each}:
        log_it = functools.partial(fit.run.log_artifact, path, "checkpoints")
        fit.later("the best checkpoint was", log_it, files=["checkpoints"])


def _named(callbacks: Any, kind: str) -> list[Any]:
    """The callbacks of a class of Lightning, or of one derived from it."""
    return [each for each in callbacks if any(base.__name__ == kind for base in type(each).__mro__)]


def _summary(model: Any) -> str:
    """The layers of a model with their numbers of weights."""
    package = next(
        each.__module__.partition(".core")[0] for each in type(model).__mro__ if each.__name__ == "LightningModule"
    )
    example = model.example_input_array
    model.example_input_array = None  # with one the summary would run the model, to learn the shapes
    try:
        return str(importlib.import_module(f"{package}.utilities.model_summary").ModelSummary(model, max_depth=-1))
    finally:
        model.example_input_array = example


def _answer(model: Any, rows: Any) -> Any:
    """What a model answers in evaluation. It is afterwards as it was, and so are PyTorch's random numbers."""
    import torch

    parts = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return model(torch.as_tensor(rows, device=model.device)).cpu().numpy()
    finally:
        for part, was_training in parts:
            part.training = was_training


def _observe(original: Any) -> Any:
    observed = fits.observed(Training(), options_of("pytorch"))(original)

    @functools.wraps(original)
    def fit(*args: Any, **kwargs: Any) -> Any:
        trainer = args[0] if args else None
        if not getattr(trainer, "is_global_zero", True):  # another rank of the same training
            with fits.working():
                return original(*args, **kwargs)
        before, shared = getattr(trainer, "callbacks", None), os.environ.get(_SHARED)
        try:
            return observed(*args, **kwargs)
        finally:
            _take_away(trainer, before)
            if shared is None:
                os.environ.pop(_SHARED, None)

    return fit


def _starts_scripts(trainer: Any) -> bool:
    """Whether the trainer starts the script once more for each other rank, as its strategy `ddp` does."""
    launcher = getattr(getattr(trainer, "strategy", None), "launcher", None)
    return type(launcher).__name__ == "_SubprocessScriptLauncher"


def _take_away(trainer: Any, before: Any) -> None:
    """Takes our callback away: from then on the trainer has the caller's list again, unless the fit has changed it."""
    now = getattr(trainer, "callbacks", None)
    if now is None or now is before:
        return
    rest = [each for each in now if not getattr(each, "of_autologging", False)]
    trainer.callbacks = before if rest == before else rest


def _wanted(module: ModuleType) -> Iterator[Replacement]:
    if module.__name__ in _TRAINERS:
        yield Replacement(vars(module)["Trainer"], "fit", _observe)


LIGHTNING = Framework(
    "pytorch",
    ("lightning", "pytorch_lightning"),
    _wanted,
    {"log_every_n_epoch": 1, "log_every_n_step": None, "checkpoint": True},
)
