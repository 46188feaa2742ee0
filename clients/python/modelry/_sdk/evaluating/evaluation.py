"""The call: `modelry.evaluate`. It imports NumPy and the rest only when it is called."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelry._sdk.evaluating import custom
from modelry._sdk.evaluating.options import Options, with_config
from modelry._sdk.evaluating.unpacking import unpacked
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.result import EvaluationResult

log = logging.getLogger("modelry")


def evaluate(
    model: Any = None,
    data: Any = None,
    targets: Any = None,
    *,
    model_type: str | None = None,
    predictions: str | None = None,
    probabilities: str | Sequence[str] | None = None,
    name: str = "default",
    version: str | None = None,
    feature_names: Sequence[str] | None = None,
    weights: Any = None,
    slices: Iterable[str] | Mapping[str, Any] | None = None,
    confidence: float | None = None,
    samples: int = 1000,
    seed: int = 0,
    baseline: Any = None,
    thresholds: Mapping[str, Any] | None = None,
    validate: str = "record",
    extra_metrics: Sequence[Any] | None = None,
    label_list: Sequence[Any] | None = None,
    pos_label: Any = None,
    average: str = "weighted",
    group: str | None = None,
    k: int | Sequence[int] = 10,
    metric_prefix: str | None = None,
    dataset_name: str | None = None,
    batch_rows: int | None = None,
    inference_params: Mapping[str, Any] | None = None,
    explain: bool | int = False,
    evaluators: str | Sequence[str] | None = None,
    evaluator_config: Mapping[str, Any] | None = None,
    client: Client | None = None,
) -> EvaluationResult:
    """Evaluates a model on data, and logs what was found to the active run, or to a run of its own.

    `model` is `runs:/…`, `models:/…`, a folder, a pyfunc model, a fitted estimator, or a function of the features.
    None: the column `predictions` of the data has its predictions, and `probabilities` its probabilities, in one column
    for the positive class or in one for each of `label_list`. `data` is a table of pandas, Polars or Arrow, an array,
    a mapping of columns, or a dataset of `modelry.data` or MLflow, which may have its targets; `targets` and `weights`
    (of rows, 0 or more) are columns of it or arrays. `feature_names` are the columns that the model gets. Default: all
    without those that have another use; the targets and predictions that a dataset names are never features.
    `batch_rows` is the most rows that it gets at once.

    `model_type` is `classifier`, `regressor`, `ranker` (rows with the same value in the column `group` are one query;
    metrics at the ranks `k`), or None with `extra_metrics` only: functions, `make_metric(...)`, or MLflow's. Of two
    classes `pos_label` is positive (default: the last one, sorted); of more, `average` is `weighted`, `macro` or
    `micro`.

    `slices` are columns, or a mapping of columns to a number of bins or their edges. With `confidence`, such as 0.95,
    metrics get intervals: percentile bootstrap with `samples` samples from `seed`; for those of your own the function
    is called for each sample, for at most 30 s. `baseline` is another model, whose
    predictions on the same data are compared. `thresholds` maps metrics to `Threshold(min=…, max=…, min_change=…)`; the
    verdicts are recorded, and with `validate="raise"` a failed one raises ThresholdsNotMet, after everything is
    logged.

    A version (`models:/…`, or named by `version` for a model object) gets the result as its evaluation `name`. The
    newest of a name counts; those before stay in the list. `metric_prefix` stands before the names of metrics of the
    run; the default is empty, or `<name>.` in a run that was active, if a name is given. If that run has metrics of an
    evaluation with these names, or was started by another process, the evaluation gets a child run, so that nothing is
    overwritten. `explain` adds SHAP values of 200 rows, or of so many as it says, if shap is installed; after 60 s no
    further row is begun. `evaluators` and `evaluator_config` are MLflow's.

    A metric that can't be computed is left out, with the reason in `left_out`. What was computed is returned in any
    case: if a run or the version can't take it, a warning says so, and `result.link()` links it later. Raises
    InvalidArgument for arguments that don't fit, DatasetEmpty for data without rows, what loading the model raises, and
    what the model itself raises.
    """
    options = Options(
        model=model,
        data=data,
        targets=targets,
        model_type=model_type,
        predictions=predictions,
        probabilities=probabilities,
        name=name,
        version=version,
        feature_names=feature_names,
        weights=weights,
        slices=slices,
        confidence=confidence,
        samples=samples,
        seed=seed,
        baseline=baseline,
        thresholds=thresholds,
        validate=validate,
        extra_metrics=custom.listed(extra_metrics),
        label_list=label_list,
        pos_label=pos_label,
        average=average,
        group=group,
        k=k,
        metric_prefix=metric_prefix,
        dataset_name=dataset_name,
        batch_rows=batch_rows,
        inference_params=inference_params,
        explain=explain,
        client=client,
    )
    if evaluators not in (None, "default", ["default"], ("default",)):
        raise InvalidArgument(
            f"evaluators={evaluators!r}: there is only 'default'; use extra_metrics for metrics of your own"
        )
    return _evaluated(unpacked(with_config(options, evaluator_config or {})))


def _evaluated(options: Options) -> EvaluationResult:
    """Evaluates and logs. Fits of the model's own code don't log meanwhile."""
    from modelry._sdk.autologging import fits
    from modelry._sdk.evaluating import recording, thresholds, work

    asked = thresholds.given(options.thresholds)
    work.check(options, asked)
    with fits.working():
        at_work = work.Work(options, asked)
        dataset = recording.dataset_of(at_work)
        result = recording.recorded(at_work, at_work.found(), dataset)
    if failed := [each for each in result.verdicts if not each.passed]:
        for each in failed:
            log.warning("evaluation %s: %s", options.name, each)
        if options.validate == "raise":
            metadata = {"run_id": result.run_id, "evaluation": options.name}
            thresholds.check(result.verdicts, f"evaluation {options.name!r}", metadata)
    return result
