"""What the frameworks for boosting have in common: what is observed, metrics, early stopping, importances."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from modelry._sdk.autologging import fits, plots
from modelry._sdk.autologging.fits import Call, Fit, Recipe
from modelry._sdk.autologging.patching import Replacement
from modelry._sdk.autologging.switch import options_of


def wanted(
    flavor: str, engine: str, training: Recipe, estimator: Recipe, listen: Callable[[Fit, Call], None]
) -> Callable[[ModuleType], Iterator[Replacement]]:
    """What is replaced: `train` of the module `engine`, and `fit` of each model of the scikit-learn interface.

    That `fit` calls `train`: there `listen` adds what logs the metrics of each iteration.
    """

    def join(fit: Fit, call: Call) -> None:
        if fit.flavor == flavor and "progress" not in fit.notes:
            listen(fit, call)

    def replacements(module: ModuleType) -> Iterator[Replacement]:
        if module.__name__ == engine:
            yield Replacement(module, "train", fits.observed(training, options_of(flavor), inner=join))
        if module.__name__ == f"{flavor}.sklearn":
            make = fits.observed(estimator, options_of(flavor))
            for kind in list(vars(module).values()):
                if isinstance(kind, type) and kind.__module__ == module.__name__ and "fit" in vars(kind):
                    yield Replacement(kind, "fit", make)

    return replacements


def name_of(data: str, metric: str) -> str:
    """The key of a metric of an evaluation set, such as `eval-logloss`. The `@` of `ndcg@5` becomes `_at_`."""
    return f"{data}-{metric}".replace("@", "_at_")


class Progress:
    """The metrics of each iteration, which are logged as they come."""

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.last: dict[str, float] = {}
        self.iterations = 0
        self._history: dict[str, list[float]] = {}

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Logs the metrics of an iteration, counted from 0. It raises nothing into the training."""
        self.fit.attempt("metrics of an iteration were", lambda: self._add(iteration, values))

    def _add(self, iteration: int, values: Mapping[str, float]) -> None:
        self.iterations = iteration + 1
        self.fit.run.log_metrics(values, step=iteration)
        for key, value in values.items():
            self._history.setdefault(key, []).append(value)

    def log_best(self, best: int) -> None:
        """Logs where the training stopped early, and the metrics of the best iteration at one step beyond the last."""
        self.fit.run.log_metrics({"stopped_iteration": self.iterations - 1, "best_iteration": best})
        at_best = {key: values[best] for key, values in self._history.items() if 0 <= best < len(values)}
        self.fit.run.log_metrics(at_best, step=self.iterations)


def log_importances(fit: Fit, kinds: Iterable[str], scores_of: Callable[[str], Mapping[str, float]]) -> None:
    """Logs `feature_importance_<kind>.json` and a picture of it for each kind of importance."""

    def log_kind(kind: str, table: str, picture: str) -> None:
        scores = {str(name): float(score) for name, score in scores_of(kind).items()}
        fit.run.log_dict(scores, table)
        if scores and fit.options.log_plots and plots.can_draw():
            figure = plots.importances(scores, f"Feature importance ({kind})")
            fit.run.log_figure(figure, picture)

    for kind in kinds:
        files = [f"feature_importance_{kind}.{ending}" for ending in ("json", "png")]
        fit.later(f"the importance {kind!r} of features was", functools.partial(log_kind, kind, *files), files=files)


def without(arguments: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Arguments that are settings and not data."""
    return {key: value for key, value in arguments.items() if key not in names}
