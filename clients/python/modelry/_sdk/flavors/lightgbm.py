"""How models of LightGBM are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes(
    "lgb_model", "a Booster or a model of LightGBM's scikit-learn interface", ("lightgbm.Booster", "lightgbm.LGBMModel")
)
_FORMATS = Formats("serialization_format", ("cloudpickle", "pickle", "skops"))
FLAVOR = FlavorShell("mlflow.lightgbm", "lightgbm", "lightgbm", _TAKES, _FORMATS)


def save_model(
    lgb_model: Any,
    path: str | os.PathLike[str],
    *,
    serialization_format: str = "cloudpickle",
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `lgb_model` is a Booster, or a model of LightGBM's scikit-learn interface. Only for the latter is
    `serialization_format`: `cloudpickle`, `pickle`, or `skops`, whose types are named in the model.

    Raises MlflowException for what can't be saved.
    """
    FLAVOR.require(lgb_model)
    given = {"lgb_model": lgb_model, "serialization_format": serialization_format, **options}
    FLAVOR.save(path, given, inspected=lgb_model, packages=["lightgbm", *_format_of(lgb_model, serialization_format)])


def _format_of(model: Any, serialization_format: str) -> set[str]:
    is_booster = any(each.__name__ == "Booster" for each in type(model).__mro__)
    return set() if is_booster else {serialization_format} & {"cloudpickle", "skops"}
