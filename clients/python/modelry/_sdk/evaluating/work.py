"""The steps of an evaluation: read, predict, score, judge, and log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.evaluating import custom, pictures, thresholds
from modelry._sdk.evaluating.intervals import Sampling, intervals, of_own
from modelry._sdk.evaluating.subject import subject_of
from modelry._sdk.nouns.evaluations import DATASET_NAME_LENGTH, METRIC_LENGTH, MOST_VERDICTS, NAME, Interval
from modelry._sdk.scoring import explaining, given, kinds, predicting, slices
from modelry._sdk.scoring.classifying import Classified
from modelry._sdk.scoring.predicting import Predictions
from modelry._sdk.scoring.scoring import COUNTS
from modelry._sdk.values.directions import is_better_when_greater
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.evaluating.options import Options
    from modelry._sdk.evaluating.thresholds import Verdict
    from modelry._sdk.scoring.explaining import Explained
    from modelry._sdk.scoring.scoring import Floats, Scorer
    from modelry._sdk.scoring.slices import Slice

log = logging.getLogger("modelry")

_SAMPLE_ROWS = 100


@dataclass
class Found:
    """What an evaluation has found so far."""

    metrics: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    baseline: dict[str, float] | None = None
    difference_intervals: dict[str, Interval] = field(default_factory=dict)
    intervals_left_out: dict[str, str] = field(default_factory=dict)
    explained: Explained | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def differences(self) -> dict[str, float]:
        """Own minus the baseline's, of the metrics that both have."""
        before = self.baseline or {}
        return {
            name: value - before[name]
            for name, value in self.metrics.items()
            if name in before and name not in ("example_count", "query_count")
        }


def check(options: Options, asked: Mapping[str, thresholds.Threshold]) -> None:
    """Raises InvalidArgument for arguments that don't fit each other."""
    if options.model_type not in (None, *kinds.MODEL_TYPES):
        raise InvalidArgument(
            f"model_type={options.model_type!r} must be one of {', '.join(kinds.MODEL_TYPES)}, or None with "
            "extra_metrics"
        )
    if options.model_type is None and not options.extra_metrics:
        raise InvalidArgument(f"evaluate needs model_type ({', '.join(kinds.MODEL_TYPES)}) or extra_metrics")
    if options.model_type is not None and options.targets is None:
        raise InvalidArgument(f"a {options.model_type} needs targets: a column of the data, or an array")
    if options.model_type == "ranker" and options.group is None:
        raise InvalidArgument("a ranker needs group: the column that says which query a row belongs to")
    if (options.model is None) == (options.predictions is None and options.probabilities is None):
        raise InvalidArgument("evaluate needs either a model, or predictions: the column of the data that has them")
    if not isinstance(options.name, str) or not NAME.match(options.name):
        raise InvalidArgument(
            f"name={options.name!r} of an evaluation needs 1 to 100 letters, digits, '_' and '-', a letter first"
        )
    if (length := len(str(options.dataset_name or ""))) > DATASET_NAME_LENGTH:
        raise InvalidArgument(f"dataset_name has {length} characters, at most {DATASET_NAME_LENGTH} are allowed")
    if options.validate not in ("record", "raise"):
        raise InvalidArgument(f"validate={options.validate!r} must be 'record' or 'raise'")
    if options.confidence is not None and not 0 < options.confidence < 1:
        raise InvalidArgument(f"confidence={options.confidence!r} must be between 0 and 1, such as 0.95")
    if not 10 <= options.samples <= 1_000_000:
        raise InvalidArgument(f"samples={options.samples!r} must be from 10 to 1000000")
    if not isinstance(options.explain, bool | int) or not 0 <= options.explain <= explaining.MOST_ROWS:
        raise InvalidArgument(
            f"explain={options.explain!r} must be True, False, or how many rows to explain, at most "
            f"{explaining.MOST_ROWS}"
        )
    for metric, each in asked.items():
        if not 0 < len(metric) <= METRIC_LENGTH:
            raise InvalidArgument(
                f"the threshold of {metric[:40]!r}: a metric has a name of 1 to {METRIC_LENGTH} characters"
            )
        if each.needs_baseline and options.baseline is None:
            raise InvalidArgument(f"the threshold of {metric!r} compares with a baseline; give baseline=...")


class Work:
    """An evaluation at work. `subject` is the model that it is about."""

    def __init__(self, options: Options, asked: Mapping[str, thresholds.Threshold]) -> None:
        self.options = options
        self.asked = asked
        self.subject = subject_of(options)
        if self.subject.version is not None and len(asked) > MOST_VERDICTS:
            raise InvalidArgument(
                f"thresholds has {len(asked)} entries; an evaluation of a version has at most {MOST_VERDICTS}"
            )
        self.metrics = custom.given(options.extra_metrics)
        self.slices = slices.wanted(options.slices)
        self._shares = options.probabilities
        own = [options.group, options.predictions, *self._share_columns]
        self.given = given.read(
            options.data,
            options.targets,
            weights=options.weights,
            feature_names=options.feature_names,
            apart=[name for name in own if name is not None],
            answers=options.answers,
        )
        self.weights: Floats = np.ones(self.given.rows) if self.given.weights is None else self.given.weights

    @cached_property
    def predicted(self) -> Predictions:
        """What the model said."""
        if self.options.model is None:
            return self._predictions()
        try:
            return self._ask(self.subject.model)
        except Exception as problem:
            if advice := self.given.advice(getattr(self.subject.model, "feature_names_in_", None)):
                problem.add_note(advice)
            raise

    @cached_property
    def scorer(self) -> Scorer | None:
        """The scorer of the model, None without a type."""
        return self._scorer(self.predicted)

    def found(self) -> Found:
        """Scores, compares and judges."""
        found = Found()
        found.metrics, found.left_out = self._scored(self.scorer, self.predicted)
        other = self._compare(found) if self.options.baseline is not None else None
        if self.options.confidence is not None:
            self._add_intervals(found, other)
        better = {name: is_better_when_greater(name) for name in found.metrics}
        better |= {each.name: each.greater_is_better for each in self.metrics if each.greater_is_better is not None}
        found.verdicts = thresholds.verdicts(
            self.asked, found.metrics, found.baseline, better=better, left_out=found.left_out
        )
        found.tables = self._tables()
        if self.options.explain:
            self._explain(found)
        return found

    @property
    def _share_columns(self) -> list[str]:
        if self._shares is None:
            return []
        return [self._shares] if isinstance(self._shares, str) else list(self._shares)

    @property
    def _sampling(self) -> Sampling:
        assert self.options.confidence is not None
        return Sampling(self.options.confidence, self.options.samples, self.options.seed)

    def _ask(self, model: Any) -> Predictions:
        return predicting.predictions_of(
            model,
            self.given.features,
            with_shares=self.options.model_type == "classifier",
            batch_rows=self.options.batch_rows,
            params=self.options.inference_params,
        )

    def _predictions(self) -> Predictions:
        """The predictions that the data has."""
        said = None
        if self.options.predictions is not None:
            said = given.one_column(self.given.column(self.options.predictions, "predictions"), "predictions")
        found = Predictions(said, why_none="the data has no column of probabilities; name it with probabilities=...")
        columns = [given.numbers(self.given.column(name, "probabilities"), name) for name in self._share_columns]
        if len(columns) == 1:
            labels = self.options.label_list or self._two_labels(said)
            positive = self.options.pos_label if self.options.pos_label is not None else labels[-1]
            others = [label for label in labels if label != positive]
            found.shares, found.classes = np.column_stack([1 - columns[0], columns[0]]), [*others, positive]
        elif columns:
            found.shares, found.classes = np.column_stack(columns), self.options.label_list
        return found

    def _two_labels(self, said: Any) -> Sequence[Any]:
        assert self.given.targets is not None
        labels = kinds.labels_of(self.given.targets, said)
        if len(labels) != 2:
            raise InvalidArgument(
                f"probabilities is one column, for two classes, and there are {len(labels)}: {labels[:10]}; give a "
                "column for each of label_list"
            )
        return labels

    def _scorer(self, predicted: Predictions) -> Scorer | None:
        options, targets = self.options, self.given.targets
        if options.model_type is None or targets is None:
            return None
        if options.model_type == "regressor":
            return kinds.regressed(targets, predicted, self.weights)
        if options.model_type == "ranker":
            queries = given.one_column(self.given.column(str(options.group), "group"), "group")
            return kinds.ranked(targets, predicted, self.weights, queries, k=options.k, seed=options.seed)
        return kinds.classified(
            targets,
            predicted,
            self.weights,
            label_list=options.label_list,
            pos_label=options.pos_label,
            average=options.average,
        )

    def _scored(
        self, scorer: Scorer | None, predicted: Predictions, rows: Any = None
    ) -> tuple[dict[str, float], dict[str, str]]:
        """The metrics of all rows, or of those of a mask, and why some are left out."""
        count = self.given.rows if rows is None else int(rows.sum())
        metrics: dict[str, float] = {"example_count": float(count)}
        left_out: dict[str, str] = {}
        if scorer is not None:
            if self.options.model_type == "ranker":
                metrics["query_count"] = float(scorer.units)
            metrics |= scorer.score(scorer.weights)
            left_out = {name: why for name, why in scorer.missing().items() if name not in metrics}
        if self.metrics:
            more, failed = custom.scored(self.metrics, self._known(predicted, rows), metrics)
            metrics |= more
            left_out |= failed
        return metrics, left_out

    def _known(self, predicted: Predictions, rows: Any) -> dict[str, Any]:
        """What a metric of one's own can ask for."""
        table = self.given.table
        known: dict[str, Any] = {str(name): self.given.column(name, "data") for name in self.given.columns}
        known |= {"data": table, "predictions": predicted.said, "probabilities": predicted.shares}
        if self.given.targets is not None:
            known["targets"] = self.given.targets
        known["weights"] = self.weights
        if rows is None:
            return known
        return {name: given.at_rows(value, np.flatnonzero(rows)) for name, value in known.items()}

    def _compare(self, found: Found) -> tuple[Predictions, Scorer | None]:
        """The metrics of the baseline on the same rows, and the differences."""
        other = predicting.loaded(self.options.baseline, self.options.client)
        try:
            predicted = self._ask(other)
        except Exception as problem:
            problem.add_note("the baseline failed, and not the model; it must take the same features")
            raise
        scorer = self._scorer(predicted)
        found.baseline, _ = self._scored(scorer, predicted)
        return predicted, scorer

    def _add_intervals(self, found: Found, other: tuple[Predictions, Scorer | None] | None) -> None:
        """The intervals of the metrics and of their differences from those of a baseline, and why some have none."""
        if self.scorer is not None:
            before = None if other is None else other[1]
            found.intervals, found.difference_intervals = intervals(self.scorer, self._sampling, before)
            found.intervals_left_out = {
                name: "it was not defined in half of the samples or more"
                for name in self.scorer.score(self.scorer.weights)
                if name not in found.intervals and name not in COUNTS
            }
        if self.options.model_type == "ranker":
            why = "samples are of queries, and the function takes rows"
            found.intervals_left_out |= {metric.name: why for metric in self.metrics}
        else:
            known = self._known(self.predicted, None)
            own, differences, left_out = of_own(
                self.metrics, known, self._sampling, None if other is None else self._known(other[0], None)
            )
            found.intervals |= {name: each for name, each in own.items() if name in found.metrics}
            found.difference_intervals |= {name: each for name, each in differences.items() if name in found.metrics}
            found.intervals_left_out |= left_out

    def _explain(self, found: Found) -> None:
        """The SHAP values of some rows, or why there are none."""
        wanted = explaining.ROWS if self.options.explain is True else int(self.options.explain)
        if self.options.model is None:
            found.left_out["explanations"] = "there is no model, only predictions"
            return
        found.explained, why = explaining.explained(
            self.subject.model, self.given.features, self.scorer, wanted, self.options.seed
        )
        if found.explained is None:
            found.left_out["explanations"] = why
            log.warning("evaluation %s: the explanations are left out: %s", self.options.name, why)
        else:
            found.tables["explanations"] = found.explained.table()

    def _tables(self) -> dict[str, list[dict[str, Any]]]:
        tables: dict[str, list[dict[str, Any]]] = {}
        if isinstance(self.scorer, Classified):
            tables["per_class_metrics"] = self.scorer.per_class()
            tables["lift_and_gain"] = pictures.gains(self.scorer)
        if self.slices:
            tables["slices"] = [self._of_slice(each) for each in slices.slices_of(self.given, self.slices)]
        tables["predictions"] = self._sample()
        return tables

    def _of_slice(self, part: Slice) -> dict[str, Any]:
        row: dict[str, Any] = {
            "column": part.column,
            "slice": part.name,
            "rows": part.count,
            "share": part.count / self.given.rows,
            "is_small": part.is_small,
        }
        scorer = None if self.scorer is None else self.scorer.part(part.rows)
        metrics, _ = self._scored(scorer, self.predicted, part.rows)
        row |= {name: value for name, value in metrics.items() if name not in ("example_count", *COUNTS)}
        if self.options.confidence is not None and scorer is not None:
            bounds, _ = intervals(scorer, self._sampling)
            for name, each in bounds.items():
                row |= {f"{name}_low": each.low, f"{name}_high": each.high}
        return row

    def _sample(self) -> list[dict[str, Any]]:
        """Rows by chance, in their order, with what was true and what was predicted."""
        count = min(self.given.rows, _SAMPLE_ROWS)
        chosen = np.sort(np.random.default_rng(self.options.seed).choice(self.given.rows, count, replace=False))
        predicted, rows = self.predicted, []
        said = predicted.said
        if said is None and isinstance(self.scorer, Classified):
            said = np.array(self.scorer.labels, dtype=object)[self.scorer.said]
        for at in chosen.tolist():
            row: dict[str, Any] = {"row": at}
            if self.given.targets is not None:
                row["target"] = _plain(self.given.targets[at])
            if said is not None:
                row["prediction"] = _plain(said[at])
            if isinstance(self.scorer, Classified) and self.scorer.shares is not None:
                for label, share in list(zip(self.scorer.labels, self.scorer.shares[at], strict=True))[:20]:
                    row[f"probability of {label}"] = float(share)
            rows.append(row)
        return rows


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
