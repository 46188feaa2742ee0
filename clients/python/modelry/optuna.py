"""Studies of Optuna: each as a run, with its trials as child runs.

    with modelry.optuna.ModelryCallback() as callback:
        study.optimize(objective, n_trials=20, callbacks=[callback])

The study keeps whatever storage it has.
"""

from __future__ import annotations

from modelry._sdk.recipes.optuna_studies import ModelryCallback

__all__ = ["ModelryCallback"]
