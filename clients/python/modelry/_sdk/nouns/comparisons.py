"""Two versions of a model side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelry._sdk.values.directions import is_better_when_greater

if TYPE_CHECKING:
    from modelry._sdk.nouns.evaluations import Evaluation
    from modelry._sdk.nouns.runs import Run
    from modelry._sdk.nouns.signatures import Signature

RUN = "run"


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    """A metric of two versions. `source` is `run`, or `evaluation.<name>`.

    A value is None if a version has none, and then the difference (second minus first) too. `better` is the number of
    the better version; None if they are equal, if a value is missing, or if it is not known which way is better.
    `same_data` says of evaluations whether their datasets have one digest.
    """

    source: str
    metric: str
    first: float | None
    second: float | None
    difference: float | None
    better: int | None
    same_data: bool | None = None


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Two versions of a model side by side. `first` and `second` are their numbers.

    `params` and `tags` have the pairs of values that differ; a value is None if a version has none. The params are
    those of the runs. `same_signature` is None if one of the versions has no signature.
    """

    model_name: str
    first: int
    second: int
    metrics: tuple[ComparedMetric, ...]
    params: Mapping[str, tuple[str | None, str | None]]
    tags: Mapping[str, tuple[str | None, str | None]]
    same_signature: bool | None
    same_files: bool


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared of a version. `run` is None if it was deleted for good; then it has no metrics and params."""

    version_number: int
    run: Run | None
    evaluations: Mapping[str, Evaluation]
    tags: Mapping[str, str]
    signature: Signature | None
    manifest_sha256: str


def compared(model_name: str, first: Side, second: Side) -> VersionComparison:
    """Compares two versions of a model."""
    numbers = first.version_number, second.version_number
    rows = list(_of_runs((first.run, second.run), numbers))
    for each in sorted({*first.evaluations, *second.evaluations}):
        rows += _of_evaluations(each, first.evaluations.get(each), second.evaluations.get(each), numbers)
    own, other = (dict(side.run.params) if side.run else {} for side in (first, second))
    is_known = first.signature is not None and second.signature is not None
    return VersionComparison(
        model_name=model_name,
        first=numbers[0],
        second=numbers[1],
        metrics=tuple(rows),
        params=_apart(own, other),
        tags=_apart(first.tags, second.tags),
        same_signature=first.signature == second.signature if is_known else None,
        same_files=first.manifest_sha256 == second.manifest_sha256,
    )


def _of_runs(runs: tuple[Run | None, Run | None], numbers: tuple[int, int]) -> Iterator[ComparedMetric]:
    first, second = (dict(run.metrics) if run else {} for run in runs)
    for metric in sorted({*first, *second}):
        yield _row(RUN, metric, first.get(metric), second.get(metric), numbers)


def _of_evaluations(
    name: str, first: Evaluation | None, second: Evaluation | None, numbers: tuple[int, int]
) -> Iterator[ComparedMetric]:
    same = None if first is None or second is None else first.dataset_digest == second.dataset_digest
    own, other = (dict(each.metrics) if each else {} for each in (first, second))
    for metric in sorted({*own, *other}):
        yield _row(f"evaluation.{name}", metric, own.get(metric), other.get(metric), numbers, same)


def _row(
    source: str,
    metric: str,
    first: float | None,
    second: float | None,
    numbers: tuple[int, int],
    same_data: bool | None = None,
) -> ComparedMetric:
    difference = None if first is None or second is None else second - first
    greater = is_better_when_greater(metric)
    better = None
    if difference is not None and greater is not None and (difference > 0 or difference < 0):
        better = numbers[1] if (difference > 0) == greater else numbers[0]
    return ComparedMetric(source, metric, first, second, difference, better, same_data)


def _apart(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {
        key: (first.get(key), second.get(key)) for key in sorted({*first, *second}) if first.get(key) != second.get(key)
    }
