"""How models of statsmodels are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes(
    "statsmodels_model", "the results of a fit of statsmodels", ("statsmodels.Results", "statsmodels.ResultsWrapper")
)
FLAVOR = FlavorShell("mlflow.statsmodels", "statsmodels", "statsmodels", _TAKES)


def save_model(
    statsmodels_model: Any,
    path: str | os.PathLike[str],
    *,
    remove_data: bool = False,
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `statsmodels_model` are fitted results. `remove_data` leaves out the data that they were fitted to, and with it what
    can only be computed from it, such as residuals.

    Raises MlflowException for what can't be saved.
    """
    FLAVOR.require(statsmodels_model)
    given = {"statsmodels_model": statsmodels_model, "remove_data": remove_data, **options}
    FLAVOR.save(path, given, inspected=statsmodels_model, packages=["statsmodels"])
