"""Writes what an evaluation found to its run, and to the version."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from modelry._sdk.autologging import plots
from modelry._sdk.datasets.arrays import from_numpy
from modelry._sdk.datasets.dataset import Dataset
from modelry._sdk.datasets.tables import from_pandas
from modelry._sdk.evaluating import places
from modelry._sdk.evaluating.intervals import METHOD
from modelry._sdk.evaluating.pictures import calibration, pictures
from modelry._sdk.evaluating.result import EvaluationResult, linked
from modelry._sdk.evaluating.subject import uri_of
from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.scoring.classifying import Classified
from modelry._sdk.transport import settings
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of
from modelry.errors import ModelryError

if TYPE_CHECKING:
    from modelry._sdk.evaluating.places import Place
    from modelry._sdk.evaluating.work import Found, Work
    from modelry._sdk.fluent.active_run import ActiveRun

log = logging.getLogger("modelry")


def recorded(work: Work, found: Found, dataset: Dataset) -> EvaluationResult:
    """Logs the result to the active run, or to a run that is started for it and ended, and links it to the version.

    What is refused, or can't be reached, is told by a warning: the result is returned in any case.
    """
    result = _result(work, found, dataset)
    try:
        place = places.place_for(work.options)
    except ModelryError as problem:
        log.warning("evaluation %s: it is in no run and linked to no version: %s", result.name, problem)
        return result
    run = place.run
    try:
        result = replace(
            result,
            run_id=run.run_id,
            artifact_path=place.folder,
            artifacts=_written(work, found, dataset, place),
        )
    except BaseException:
        if place.is_ours:
            run.end(RunStatus.FAILED)
        raise
    if place.is_ours:
        run.end()
    else:
        run.flush(settings.usable().start_timeout)
    return _linked(work, result)


def dataset_of(work: Work) -> Dataset:
    """What is recorded of the data, with its digest."""
    options, table = work.options, work.given.table
    if options.dataset is not None:
        return options.dataset
    name = options.dataset_name or "evaluation"
    if hasattr(table, "iloc"):
        return from_pandas(table, targets=options.targets if isinstance(options.targets, str) else None, name=name)
    return from_numpy(table, targets=work.given.targets, name=name)


def _result(work: Work, found: Found, dataset: Dataset) -> EvaluationResult:
    """What was found, before any run or version has it."""
    version = work.subject.version
    return EvaluationResult(
        name=work.options.name,
        model_type=work.options.model_type or "",
        run_id="",
        metrics=found.metrics,
        left_out=found.left_out,
        intervals=found.intervals,
        baseline_metrics=found.baseline or {},
        differences=found.differences,
        difference_intervals=found.difference_intervals,
        intervals_left_out=found.intervals_left_out,
        verdicts=tuple(found.verdicts),
        tables=found.tables,
        dataset_name=dataset.name,
        dataset_digest=dataset.digest,
        version="" if version is None else uri_of(version),
    )


def _written(work: Work, found: Found, dataset: Dataset, place: Place) -> tuple[str, ...]:
    """Logs everything to the run. Returns the paths of the files."""
    run, folder = place.run, place.folder
    run.set_tags({place.tag: work.subject.text})
    run.log_input(dataset, work.options.name)
    run.log_metrics({f"{place.prefix}{metric}": value for metric, value in found.metrics.items()})
    report = f"{folder}/report.json"
    run.log_dict(_report(work, found, dataset), report)
    return (report, *_tables(work, found, run, folder), *_pictures(work, found, run, folder))


def _linked(work: Work, result: EvaluationResult) -> EvaluationResult:
    """Records the evaluation of the version, if the model is one, once the server has the run."""
    if (version := work.subject.version) is None:
        return result
    try:
        return linked(result, version, work.options.client)
    except ModelryError as problem:
        log.warning(
            "evaluation %s: run %s has it, but it is not linked to %s: %s; link it later with result.link(), or with "
            "client.evaluations.create(...) and %s of the run",
            *(result.name, result.run_id, result.version, problem, result.artifacts[0]),
        )
        return result


def _report(work: Work, found: Found, dataset: Dataset) -> dict[str, Any]:
    """Everything as one document."""
    options = work.options
    report: dict[str, Any] = {
        "evaluation": options.name,
        "model": work.subject.text,
        "model_type": options.model_type,
        "dataset": {"name": dataset.name, "digest": dataset.digest, "rows": work.given.rows},
        "metrics": found.metrics,
        "left_out": found.left_out,
    }
    if options.confidence is not None:
        sampled = {"confidence": options.confidence, "samples": options.samples, "seed": options.seed}
        report["intervals"] = {
            "method": METHOD,
            **sampled,
            "metrics": {name: [each.low, each.high] for name, each in found.intervals.items()},
            "left_out": found.intervals_left_out,
        }
    if found.explained is not None:
        report["explanations"] = found.explained.told()
    if found.baseline is not None:
        report["baseline"] = {
            "model": str(options.baseline) if isinstance(options.baseline, str) else type(options.baseline).__name__,
            "metrics": found.baseline,
            "differences": found.differences,
            "intervals": {name: [each.low, each.high] for name, each in found.difference_intervals.items()},
        }
    if found.verdicts:
        report["verdicts"] = [asdict(each) for each in found.verdicts]
    if isinstance(work.scorer, Classified):
        report["labels"] = [str(each) for each in work.scorer.labels]
        report["confusion_matrix"] = work.scorer.matrix(work.scorer.weights).tolist()
        report["calibration"] = calibration(work.scorer)
    return report


def _tables(work: Work, found: Found, run: ActiveRun, folder: str) -> list[str]:
    """Tables need pandas; without it they are files of JSON."""
    import importlib.util

    paths = []
    for name, rows in found.tables.items():
        if not rows:
            continue
        path = f"{folder}/{name}.json"
        if importlib.util.find_spec("pandas") is not None:
            run.log_table({key: [row.get(key) for row in rows] for key in _keys(rows)}, path)
        else:
            run.log_dict({"rows": rows}, path)
        paths.append(path)
    return paths


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _pictures(work: Work, found: Found, run: ActiveRun, folder: str) -> list[str]:
    """A picture that can't be drawn is told, and stops nothing."""
    if not plots.can_draw():
        return []
    paths = []
    try:
        for name, figure in pictures(work.scorer, found.explained):
            run.log_figure(figure, f"{folder}/{name}")
            paths.append(f"{folder}/{name}")
    except Exception as problem:  # It calls Matplotlib, which may raise anything.
        signals.pass_on(problem)
        log.warning(
            "evaluation %s: a picture is left out: %s: %s", work.options.name, type(problem).__name__, said_of(problem)
        )
    return paths
