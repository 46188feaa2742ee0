"""Searches and cross-validations of scikit-learn: their tables, and the best trials as child runs."""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Mapping
from typing import Any

from modelry._sdk.autologging.fits import Call, Fit
from modelry._sdk.flavors.sklearn import save_model
from modelry._sdk.values.texts import text_of

_TABLE = "cv_results.csv"


def described(estimator: Any) -> dict[str, str]:
    """The tags that name an estimator."""
    kind = type(estimator)
    return {"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__name__}"}


def is_search(estimator: Any) -> bool:
    """Whether it is a search over parameters, also by successive halving."""
    searches: Any = sys.modules.get("sklearn.model_selection._search")
    return searches is not None and isinstance(estimator, searches.BaseSearchCV)


def log_search(fit: Fit, search: Any) -> None:
    """Logs the best result, the table of all trials, and the best ones as child runs."""
    found: Mapping[str, Any] = dict(search.cv_results_)
    if hasattr(search, "best_params_"):
        fit.log_params({f"best_{key}": value for key, value in search.best_params_.items()})
    if hasattr(search, "best_score_"):
        fit.run.log_metric("best_cv_score", search.best_score_)
    fit.later("the table of trials was", lambda: fit.run.log_text(table_of(found), _TABLE), files=[_TABLE])
    most = fit.options.own.get("max_tuning_runs")
    tags = described(search.estimator)
    base = search.estimator.get_params(deep=True)

    def log_trials() -> None:
        for index in _best_first(found)[: None if most is None else max(0, most)]:
            params = {**base, **found["params"][index]}
            fit.attempt("a trial was", functools.partial(_log_trial, fit, found, index, params, tags))

    fit.later("trials were", log_trials, files=())


def table_of(columns: Mapping[str, Any]) -> str:
    """Columns of the same length as CSV, with their names in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _best_first(found: Mapping[str, Any]) -> list[int]:
    """The numbers of the trials by rank, and with halving those of its last round first."""
    rank = next((found[key] for key in sorted(found) if key.startswith("rank_test_")), None)
    rounds = found.get("iter")
    numbers = range(len(found["params"]))
    return sorted(
        numbers, key=lambda i: (-int(rounds[i]) if rounds is not None else 0, int(rank[i]) if rank is not None else 0)
    )


def _log_trial(fit: Fit, found: Mapping[str, Any], index: int, params: dict[str, Any], tags: dict[str, str]) -> None:
    from modelry._sdk.fluent import starting

    parent = fit.run
    run = starting.start(
        parent.client,
        starting.ExperimentChoice(parent.experiment_id),
        name=f"trial {index}",
        parent_run_id=parent.run_id,
        tags={"mlflow.autologging": fit.flavor, **tags, **(fit.options.extra_tags or {})},
    )
    trial = Fit(fit.options, run, True, fit.recipe)
    trial.log_params(params)
    for key, values in found.items():
        if key.startswith(("mean_", "std_", "rank_")) or key in {"iter", "n_resources"}:
            run.log_metric(text_of(key), float(values[index]))
    run.end_soon("FINISHED")


class Validation:
    """What a cross-validation logs: the estimator's parameters, the mean of each score, and the table of folds."""

    flavor = "sklearn"
    save_model = staticmethod(save_model)

    def before(self, fit: Fit, call: Call) -> None:
        """Logs what is validated."""
        estimator = call.arguments["estimator"]
        fit.run.set_tags(described(estimator))
        fit.log_params(estimator.get_params(deep=True))

    def after(self, fit: Fit, call: Call, result: Any) -> None:
        """Logs the scores, as a search names them."""
        columns = result if isinstance(result, Mapping) else {"test_score": result}
        numbers = {
            key: values for key, values in columns.items() if getattr(getattr(values, "dtype", None), "kind", "") == "f"
        }
        for key, values in numbers.items():
            fit.run.log_metrics({f"mean_{key}": values.mean(), f"std_{key}": values.std()})
        fit.later("the table of folds was", lambda: fit.run.log_text(table_of(numbers), _TABLE), files=[_TABLE])
