"""Scikit-learn models in MLflow's format: save them to a folder, log them to a run, load them back.

Loading a model runs code that its author chose: a pickle can do anything when it is read. Load only what you trust, or
save with `serialization_format="skops"` and load with a program that trusts only the types that it knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes
from modelry._sdk.requiring import pickling

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

    class _Sklearn(SaveOptions, total=False):
        pyfunc_predict_fn: str
        skops_trusted_types: list[str] | None

    from modelry._sdk.autologging.options import AutologOptions

    class _Autolog(AutologOptions, total=False):
        max_tuning_runs: int | None
        log_post_training_metrics: bool
        pos_label: Any

    class _LoggedSklearn(LogOptions, total=False):
        pyfunc_predict_fn: str
        skops_trusted_types: list[str] | None


__all__ = ["autolog", "load_model", "log_model", "save_model"]

DEFAULT_FORMAT = "cloudpickle"
_TAKES = Takes(
    "sk_model",
    "an estimator, transformer or pipeline",
    methods=("fit", "predict", "transform", "fit_predict", "fit_transform"),
)
_FORMATS = Formats("serialization_format", ("cloudpickle", "pickle", "skops"))
_FLAVOR = FlavorShell("mlflow.sklearn", "sklearn", "sklearn", _TAKES, _FORMATS)
load_model = _FLAVOR.load_model


def save_model(
    sk_model: Any,
    path: str | os.PathLike[str],
    *,
    serialization_format: str = DEFAULT_FORMAT,
    **options: Unpack[_Sklearn],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `serialization_format` is `cloudpickle` or `pickle` (a file `model.pkl`), or `skops` (`model.skops`, without code;
    types that it does not know, such as those of trees, must be named in `skops_trusted_types`). `pyfunc_predict_fn`
    is the method that `predict` of `modelry.pyfunc` calls. Default: `predict`.

    Raises InvalidArgument for another format, and where it names what can't be pickled; ModuleNotFoundError without the
    package skops; and MlflowException for what else can't be saved.
    """
    _FLAVOR.require(sk_model)
    given = {"sk_model": sk_model, "serialization_format": serialization_format, **options}
    if serialization_format == "pickle":
        pickling.require_importable(sk_model)
    packages = ["scikit-learn", *({serialization_format} & {"cloudpickle", "skops"})]
    _FLAVOR.save(path, given, inspected=sk_model, packages=packages)


def log_model(
    sk_model: Any,
    artifact_path: str | None = None,
    *,
    serialization_format: str = DEFAULT_FORMAT,
    **options: Unpack[_LoggedSklearn],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"sk_model": sk_model, "serialization_format": serialization_format}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each outermost fit of scikit-learn log itself: params, metrics of the training data, model, pictures.

    A search also logs the table of its trials, and the best `max_tuning_runs` (5, None for all) as child runs. With
    `pos_label` precision, recall and F1 are those of that class. With `log_post_training_metrics` (True) the metrics of
    scikit-learn that you compute from predictions of a fitted model are logged to the run of its fit. For the other
    options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises InvalidArgument for an
    option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.sklearn_fits import SKLEARN

    switch(SKLEARN, options, disable=disable)
