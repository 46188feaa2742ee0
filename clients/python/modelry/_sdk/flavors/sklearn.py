"""How models of scikit-learn are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes
from modelry._sdk.requiring import pickling

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions

    class _Sklearn(SaveOptions, total=False):
        pyfunc_predict_fn: str
        skops_trusted_types: list[str] | None


DEFAULT_FORMAT = "cloudpickle"
_TAKES = Takes(
    "sk_model",
    "an estimator, transformer or pipeline",
    methods=("fit", "predict", "transform", "fit_predict", "fit_transform"),
)
_FORMATS = Formats("serialization_format", ("cloudpickle", "pickle", "skops"))
FLAVOR = FlavorShell("mlflow.sklearn", "sklearn", "sklearn", _TAKES, _FORMATS)


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
    FLAVOR.require(sk_model)
    given = {"sk_model": sk_model, "serialization_format": serialization_format, **options}
    if serialization_format == "pickle":
        pickling.require_importable(sk_model)
    packages = ["scikit-learn", *({serialization_format} & {"cloudpickle", "skops"})]
    FLAVOR.save(path, given, inspected=sk_model, packages=packages)
