"""The frameworks that can be observed, one module each and one line here, and `modelry.autolog` for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelry._sdk.autologging.switch import switch_all
from modelry._sdk.nouns import arguments
from modelry._sdk.recipes import (
    catboost_fits,
    keras_fits,
    lightgbm_fits,
    lightning_fits,
    sklearn_fits,
    statsmodels_fits,
    transformers_fits,
    xgboost_fits,
)

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions

FRAMEWORKS = {
    each.name: each
    for each in (
        sklearn_fits.SKLEARN,
        xgboost_fits.XGBOOST,
        lightgbm_fits.LIGHTGBM,
        catboost_fits.CATBOOST,
        statsmodels_fits.STATSMODELS,
        lightning_fits.LIGHTNING,
        keras_fits.KERAS,
        transformers_fits.TRANSFORMERS,
    )
}


def autolog(
    *, disable: bool = False, exclude_flavors: Iterable[str] | None = None, **options: Unpack[AutologOptions]
) -> None:
    """Has each fit of the frameworks that are installed log itself to the active run, or to a run of its own.

    Nothing is imported for it: a framework is observed from when your code imports it. `exclude_flavors` are left out,
    and frameworks whose own `autolog` was called keep their options. `disable=True` turns everything off and puts the
    original functions back. For the other options see `AutologOptions` and docs/autologging.md. Raises InvalidArgument
    for an option or a flavor that is not there, and for a value that an option can't have; then nothing is changed.
    """
    excluded = arguments.listed("exclude_flavors", exclude_flavors)
    switch_all(FRAMEWORKS.values(), options, disable=disable, excluded=excluded)
