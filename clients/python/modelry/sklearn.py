"""Scikit-learn models in MLflow's format: save them to a folder, log them to a run, load them back.

Loading a model runs code that its author chose: a pickle can do anything when it is read. Load only what you trust, or
save with `serialization_format="skops"` and load with a program that trusts only the types that it knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.sklearn import DEFAULT_FORMAT, FLAVOR, save_model

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

    class _Autolog(AutologOptions, total=False):
        max_tuning_runs: int | None
        log_post_training_metrics: bool
        pos_label: Any

    class _LoggedSklearn(LogOptions, total=False):
        pyfunc_predict_fn: str
        skops_trusted_types: list[str] | None


__all__ = ["autolog", "load_model", "log_model", "save_model"]

load_model = FLAVOR.load_model


def log_model(
    sk_model: Any,
    artifact_path: str | None = None,
    *,
    serialization_format: str = DEFAULT_FORMAT,
    **options: Unpack[_LoggedSklearn],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"sk_model": sk_model, "serialization_format": serialization_format}
    return FLAVOR.log_model(save_model, model, artifact_path, options)


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
