"""Writes what an evaluation found to its run, and to the version."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelry._sdk.autologging import plots
from modelry._sdk.datasets.arrays import from_numpy
from modelry._sdk.datasets.dataset import Dataset
from modelry._sdk.datasets.tables import from_pandas
from modelry._sdk.evaluating import places
from modelry._sdk.evaluating.intervals import METHOD
from modelry._sdk.evaluating.pictures import calibration, pictures
from modelry._sdk.evaluating.result import EvaluationResult
from modelry._sdk.evaluating.subject import registry_client, uri_of
from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.scoring.classifying import Classified
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of

if TYPE_CHECKING:
    from modelry._sdk.evaluating.places import Place
    from modelry._sdk.evaluating.work import Found, Work
    from modelry._sdk.fluent.active_run import ActiveRun
    from modelry._sdk.nouns.evaluations import Evaluation

log = logging.getLogger("modelry")


def recorded(work: Work, found: Found) -> EvaluationResult:
    """Logs the result to the active run, or to a run that is started for it and ended."""
    place = places.place_for(work.options)
    run = place.run
    try:
        result = _written(work, found, place)
    except BaseException:
        if place.is_ours:
            run.end(RunStatus.FAILED)
        raise
    if place.is_ours:
        run.end()
    else:
        run.flush()
    return result


def _written(work: Work, found: Found, place: Place) -> EvaluationResult:
    options, run, folder = work.options, place.run, place.folder
    dataset = _dataset(work)
    run.set_tags({place.tag: work.subject.text})
    run.log_input(dataset, options.name)
    run.log_metrics({f"{place.prefix}{metric}": value for metric, value in found.metrics.items()})
    paths = [f"{folder}/report.json"]
    run.log_dict(_report(work, found, dataset), paths[0])
    paths += _tables(work, found, run, folder)
    paths += _pictures(work, found, run, folder)
    made = _linked(work, found, place, dataset)
    return EvaluationResult(
        name=options.name,
        model_type=options.model_type or "",
        run_id=run.run_id,
        artifact_path=folder,
        metrics=found.metrics,
        left_out=found.left_out,
        intervals=found.intervals,
        baseline_metrics=found.baseline or {},
        differences=found.differences,
        difference_intervals=found.difference_intervals,
        intervals_left_out=found.intervals_left_out,
        verdicts=tuple(found.verdicts),
        tables=found.tables,
        artifacts=tuple(paths),
        version="" if work.subject.version is None else uri_of(work.subject.version),
        evaluation_id="" if made is None else made.evaluation_id,
    )


def _linked(work: Work, found: Found, place: Place, dataset: Dataset) -> Evaluation | None:
    """Records the evaluation of the version, once the server has the run. None if the model is no version."""
    version, client = work.subject.version, registry_client(work.options.client)
    if version is None:
        return None
    place.run.flush()
    return client.evaluations.create(
        version.model_name,
        version.version_number,
        work.options.name,
        place.run.run_id,
        artifact_path=place.folder,
        metrics=found.metrics,
        intervals=found.intervals,
        verdicts={each.metric: (each.passed, each.text) for each in found.verdicts},
        dataset_name=dataset.name,
        dataset_digest=dataset.digest,
    )


def _dataset(work: Work) -> Dataset:
    """What is recorded of the data, with its digest."""
    options, table = work.options, work.given.table
    name = options.dataset_name or "evaluation"
    if hasattr(table, "iloc"):
        return from_pandas(table, targets=options.targets if isinstance(options.targets, str) else None, name=name)
    return from_numpy(table, targets=work.given.targets, name=name)


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
